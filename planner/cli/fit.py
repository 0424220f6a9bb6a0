"""`fit`: a scaling law from measured runs, with intervals, judgement and a coefficient file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import OneOf, output_options, plot_option
from planner.cli.output import Output
from planner.errors import PlannerError, QuantityError

if TYPE_CHECKING:
    from pathlib import Path

    from coefficients import CoefficientSet
    from planner.fit import Task
    from planner.fit.runs import Runs


def forms() -> Any:
    """Names of the laws that can be fitted."""
    from planner.fit import FORMS

    return FORMS


def protocols() -> Any:
    """Names of the objectives."""
    from planner.fit import PROTOCOLS

    return PROTOCOLS


@click.command(
    "fit",
    short_help="Fit a scaling law to measured runs.",
    epilog="Example: planner fit runs.csv --law distillation --output my.toml",
)
@click.argument("runs", type=click.Path())
@click.option("--law", type=OneOf(forms), default="distillation",
              help="distillation, supervised, hoffmann or kaplan.")  # fmt: skip
@click.option("--protocol", type=OneOf(protocols), default="paper",
              help="paper (Huber 1e-4), plain (1e-3), replication.")  # fmt: skip
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
@click.option("--output", "target", type=click.Path(), metavar="TOML",
              help="Write a coefficient file.")  # fmt: skip
@plot_option("Draw the fit")
@click.option("--title", default="", help="Title in the coefficient file.")
@click.option("--citation", default="", help="Where the runs come from, for the coefficient file.")
@click.option("--location", default="", help="Which part of it, such as a table or figure.")
@click.option("--notes", default="", help="What users of the coefficient file should know.")
@click.option("--allow-duplicates", is_flag=True, help="Accept runs that occur twice.")
@click.option("--no-judgement", is_flag=True, help="Leave out the held-out checks.")
@output_options(file=False)
def command(runs: str, target: str | None, plot: str | None, output: Output, **given: Any) -> None:
    """Fit a scaling law to the runs of a CSV, JSON lines or Parquet file.

    Columns: student_parameters, student_tokens, teacher_cross_entropy, student_cross_entropy;
    without the teacher's column and with parameters, tokens, cross_entropy for supervised laws.
    """
    from pathlib import Path

    from planner.fit import Provenance, bootstrap, fit, read_runs, write
    from planner.fit.analysis import analyse

    file = _file(target)
    base = _base(given["base"], given["law"])
    data = read_runs(runs, _form(given["law"]).kind == "distillation", given["allow_duplicates"])
    beside = given["supervised_runs"]
    supervised = read_runs(beside, False, given["allow_duplicates"]) if beside else None
    point = fit(_task(data, supervised, base, given), _protocol(given))
    boot = None
    if given["resamples"]:
        partial = None if file is None else file.with_suffix(".partial.npz")
        boot = bootstrap(point, given["resamples"], given["seed"], given["bootstrap_by"], partial)
    found = analyse(point, boot, data, judgement=not given["no_judgement"])
    written: list[Path] = []  # files first: a reader that closes the pipe early must not cost them
    if file is not None:
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
        written += write(file, point, boot, found.unidentified, origin)
    if plot is not None:
        from planner.fit.picture import draw

        draw(found, Path(plot), None if base is None else base.flops)
        written.append(Path(plot))
    output.answer(found)
    for path in written:
        output.remark(f"Wrote {path}")


def _form(name: str) -> Any:
    return forms()[name]


def _protocol(given: dict[str, Any]) -> Any:
    from dataclasses import replace

    chosen = protocols()[given["protocol"]]
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
    from planner.fit.task import read_bounds, read_fixed

    form = _form(given["law"])
    fixed, bounds = read_fixed(given["fix"]), read_bounds(given["bound"])
    if form.kind != "distillation" and supervised is not None:
        raise PlannerError("--supervised-runs belongs to --law distillation; leave it out.")
    law = None
    if form.kind == "distillation" and supervised is None and base is not None:
        law = base.supervised
    rows = None if supervised is None else supervised.rows
    return Task(form, data.rows, law, rows, fixed, bounds)


def _file(target: str | None) -> Path | None:
    from pathlib import Path

    from planner.files import check_folder

    if target is None:
        return None
    path = Path(target)
    if path.suffix != ".toml":
        raise PlannerError(f"--output '{target}' must end in .toml: it is a coefficient file.")
    check_folder(path)
    return path
