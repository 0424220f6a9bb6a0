"""`predict`: cross-entropies of runs under a coefficient set, with intervals for a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import ProblemError

if TYPE_CHECKING:
    from planner.fit import Rows


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
@output_options()
def command(law: str, output: Output, **given: Any) -> None:
    """Predict runs under LAW, a set's name or file: distilled ones where the teacher's loss is
    known, supervised ones otherwise.

    The csv format gives the runs followed by predicted, low, high (90%, for a single new run) and
    outside (the quantities that leave the measured ranges).
    """
    from coefficients import load
    from planner.fit.prediction import Prediction, predict_runs

    chosen = load(law)
    rows, columns = _runs(given, chosen.distillation is not None)
    found = predict_runs(chosen, rows.parameters, rows.tokens, rows.teacher_loss)
    output.answer(Prediction(chosen.name, tuple(columns), rows, found))


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
