"""`predict`: cross-entropies of runs under a coefficient set, with intervals for a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli import console
from planner.errors import ProblemError

if TYPE_CHECKING:
    from planner.fit import Rows
    from planner.fit.prediction import Predictions
    from planner.reports.sheet import Sheet

_FORMATS = ("table", "json", "markdown", "csv")


@click.command(
    "predict",
    short_help="The cross-entropy of runs under a law, with intervals.",
    epilog="Example: planner predict my.toml --at runs.csv --format csv",
)
@click.argument("law")
@click.option("--at", "runs", type=click.Path(), help="Runs to predict: CSV, JSON lines, Parquet.")
@click.option("--parameters", metavar="SIZE", help="Size of a single run, instead of --at.")
@click.option("--tokens", metavar="TOKENS", help="Its tokens.")
@click.option("--teacher-loss", metavar="NATS", help="Its teacher's cross-entropy, if distilled.")
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True,
    help="How to write the answer.",
)  # fmt: skip
def command(law: str, form: str, **given: Any) -> None:
    """Predict runs under LAW, a set's name or file: distilled ones where the teacher's loss is
    known, supervised ones otherwise.

    The csv format gives the runs followed by predicted, low, high (90%, for a single new run) and
    outside (the quantities that leave the measured ranges).
    """
    from coefficients import load
    from planner.fit.prediction import predict_runs
    from planner.reports import render

    chosen = load(law)
    rows, columns = _runs(given, chosen.distillation is not None)
    found = predict_runs(chosen, rows.parameters, rows.tokens, rows.teacher_loss)
    console.result(render(_sheet(chosen.name, rows, columns, found), form, console.screen()))


def _runs(given: dict[str, Any], distils: bool) -> tuple[Rows, list[dict[str, Any]]]:
    """The runs, and the columns of the input as they were written."""
    import numpy as np

    from planner.fit import Rows
    from planner.fit.runs import read_columns, read_runs

    single = [name for name in ("parameters", "tokens", "teacher_loss") if given[name] is not None]
    if given["runs"] is not None:
        if single:
            raise ProblemError(
                "--at names the runs; leave --parameters, --tokens and the rest out."
            )
        taught, records = read_columns(given["runs"])
        data = read_runs(given["runs"], distils and taught, allow_duplicates=True, measured=False)
        return data.rows, records
    if not {"parameters", "tokens"} <= {*single}:
        raise ProblemError("give the runs with --at FILE, or one with --parameters and --tokens.")
    size = units.parse_count(given["parameters"], "--parameters")
    tokens = units.parse_count(given["tokens"], "--tokens")
    teacher = None
    record: dict[str, Any] = {"parameters": size, "tokens": tokens}
    if given["teacher_loss"] is not None:
        loss = units.parse_plain(given["teacher_loss"], "--teacher-loss")
        units.check_positive(loss, "--teacher-loss", given["teacher_loss"])
        teacher, record["teacher_cross_entropy"] = np.array([loss]), loss
    return Rows(np.array([size]), np.array([tokens]), np.ones(1), teacher), [record]


def _sheet(name: str, rows: Rows, columns: list[dict[str, Any]], found: Predictions) -> Sheet:
    from planner.reports.sheet import Grid, Sheet

    lines = [
        {**record, "predicted": float(p), "low": float(low), "high": float(high),
         "outside": " ".join(out)}
        for record, p, low, high, out in zip(
            columns, found.predicted, found.low, found.high, found.outside, strict=True
        )
    ]  # fmt: skip
    kind = "supervised" if rows.teacher_loss is None else "distilled"
    cells = []
    for k, out in enumerate(found.outside):
        teacher = "" if rows.teacher_loss is None else units.format_loss(rows.teacher_loss[k])
        cells.append(
            (
                units.format_count(float(rows.parameters[k])),
                units.format_count(float(rows.tokens[k])),
                teacher,
                f"{found.predicted[k]:.4f}",
                "" if found.low[k] != found.low[k] else f"{found.low[k]:.4f}",
                "" if found.high[k] != found.high[k] else f"{found.high[k]:.4f}",
                ", ".join(each.replace("_", " ") for each in out),
            )
        )
    beyond = sum(1 for out in found.outside if out)
    warnings = [f"{beyond} of {len(rows)} runs lie outside the measured ranges."] if beyond else []
    if found.missing:
        warnings.append(
            f"The intervals lack {', '.join(found.missing)}, which set '{name}' does not state."
        )
    head = ("parameters", "tokens", "teacher's loss", "predicted", "low", "high", "outside")
    return Sheet(
        kind="prediction",
        title=f"Predicted cross-entropies under {name}",
        verdict=f"{len(rows)} {kind} run(s), nats per token; low and high hold 90% of single runs.",
        grids=(Grid("Runs", head, tuple(cells), left=(6,)),),
        warnings=tuple(warnings),
        data={"coefficients": name, "runs": lines},
        rows=tuple(lines),
    )
