"""`fit`: a scaling law from measured runs, with intervals, judgement and a coefficient file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli import console
from planner.cli.options import plot_option
from planner.errors import PlannerError, QuantityError

if TYPE_CHECKING:
    from pathlib import Path

    from coefficients import CoefficientSet
    from planner.fit import Task
    from planner.fit.runs import Runs


@click.command(
    "fit",
    short_help="Fit a scaling law to measured runs.",
    epilog="Example: planner fit runs.csv --law distillation --output my.toml",
)
@click.argument("runs", type=click.Path())
@click.option("--law", default="distillation", help="distillation, supervised, hoffmann or kaplan.")
@click.option("--protocol", default="paper", help="paper (Huber 1e-4), plain (1e-3), replication.")
@click.option("--delta", type=float, help="Huber's delta, instead of the protocol's own.")
@click.option("--supervised-runs", type=click.Path(), help="Fit the supervised part jointly.")
@click.option(
    "--base", default="busbridge2025", show_default=True,
    help="Set that lends the fixed supervised law and the FLOP convention.",
)  # fmt: skip
@click.option("--fix", multiple=True, metavar="NAME=VALUE", help="Hold a coefficient.")
@click.option("--bound", multiple=True, metavar="NAME=LOW:HIGH", help="Confine a coefficient.")
@click.option("--bootstrap", "resamples", default=4096, show_default=True, help="0 for none.")
@click.option("--bootstrap-by", default="run", show_default=True, help="run, size or group.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--output", type=click.Path(), metavar="TOML", help="Write a coefficient file.")
@click.option("--format", "format_name", default="table", help="table, json or markdown.")
@plot_option("Draw the fit")
@click.option("--title", default="", help="Title in the coefficient file.")
@click.option("--citation", default="", help="Where the runs come from, for the coefficient file.")
@click.option("--location", default="", help="Which part of it, such as a table or figure.")
@click.option("--notes", default="", help="What users of the coefficient file should know.")
@click.option("--allow-duplicates", is_flag=True, help="Accept runs that occur twice.")
@click.option("--quiet", is_flag=True, help="No remarks on stderr.")
@click.option("--no-judgement", is_flag=True, help="Leave out the held-out checks.")
def command(
    runs: str, format_name: str, plot: str | None, output: str | None, **given: Any
) -> None:
    """Fit a scaling law to the runs of a CSV, JSON lines or Parquet file.

    Columns: student_parameters, student_tokens, teacher_cross_entropy, student_cross_entropy;
    without the teacher's column and with parameters, tokens, cross_entropy for supervised laws.
    """
    from pathlib import Path

    from planner.fit import Provenance, bootstrap, fit, read_runs, write
    from planner.fit.analysis import analyse
    from planner.fit.report import FORMATS

    _known("--format", format_name, FORMATS)
    target = _target(output)
    base = _base(given["base"], given["law"])
    data = read_runs(runs, _form(given["law"]).kind == "distillation", given["allow_duplicates"])
    beside = given["supervised_runs"]
    supervised = read_runs(beside, False, given["allow_duplicates"]) if beside else None
    point = fit(_task(data, supervised, base, given), _protocol(given))
    boot = None
    if given["resamples"]:
        partial = None if target is None else target.with_suffix(".partial.npz")
        boot = bootstrap(point, given["resamples"], given["seed"], given["bootstrap_by"], partial)
    found = analyse(point, boot, data, judgement=not given["no_judgement"])
    written: list[Path] = []  # files first: a reader that closes the pipe early must not cost them
    if target is not None:
        words = {
            name: given[name] for name in ("title", "citation", "location", "notes") if given[name]
        }
        origin = Provenance(
            data=data,
            supervised_data=supervised,
            base=base,
            coverage=found.coverage,
            coverage_sizes=found.coverage_sizes,
            misfit=found.misfit,
            **words,
        )
        written += write(target, point, boot, found.open_ones, origin)
    if plot is not None:
        from planner.fit.picture import draw

        draw(found, Path(plot), None if base is None else base.flops)
        written.append(Path(plot))
    console.result(FORMATS[format_name](found))
    for path in [] if given["quiet"] else written:
        console.remark(f"Wrote {path}")


def _form(name: str) -> Any:
    from planner.fit import FORMS

    _known("--law", name, FORMS)
    return FORMS[name]


def _protocol(given: dict[str, Any]) -> Any:
    from dataclasses import replace

    from planner.fit import PROTOCOLS

    _known("--protocol", given["protocol"], PROTOCOLS)
    chosen = PROTOCOLS[given["protocol"]]
    delta = given["delta"]
    if delta is None:
        return chosen
    if not 1e-12 <= delta <= 1e3:
        raise QuantityError(f"--delta is {delta}; choose a number between 1e-12 and 1e3.")
    return replace(chosen, name=f"{chosen.name}, delta {delta:g}", delta=delta)


def _base(name: str, law: str) -> CoefficientSet | None:
    from coefficients import load

    return load(name) if _form(law).kind == "distillation" or name != "busbridge2025" else None


def _task(
    data: Runs, supervised: Runs | None, base: CoefficientSet | None, given: dict[str, Any]
) -> Task:
    from planner.fit import Task
    from planner.fit.wishes import read_bounds, read_fixed

    form = _form(given["law"])
    fixed, bounds = read_fixed(given["fix"]), read_bounds(given["bound"])
    if form.kind != "distillation" and supervised is not None:
        raise PlannerError("--supervised-runs belongs to --law distillation; leave it out.")
    law = None
    if form.kind == "distillation" and supervised is None and base is not None:
        law = base.supervised
    rows = None if supervised is None else supervised.rows
    return Task(form, data.rows, law, rows, fixed, bounds)


def _known(option: str, name: str, known: Any) -> None:
    if name not in known:
        raise PlannerError(f"{option} '{name}' is unknown; known: {', '.join(known)}.")


def _target(output: str | None) -> Path | None:
    from pathlib import Path

    from planner.files import check_folder

    if output is None:
        return None
    path = Path(output)
    if path.suffix != ".toml":
        raise PlannerError(f"--output '{output}' must end in .toml: it is a coefficient file.")
    check_folder(path)
    return path
