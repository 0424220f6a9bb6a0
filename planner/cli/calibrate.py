"""`calibrate`: someone else's law moved to your corpus and tokenizer by a few cheap runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import PlannerError, QuantityError

if TYPE_CHECKING:
    from coefficients import CoefficientSet
    from planner.fit.runs import Runs


@click.command(
    "calibrate",
    short_help="Move a known law to your corpus by a few cheap runs.",
    epilog="Example: planner calibrate besiroglu2024 pilots.csv --output mine.toml",
)
@click.argument("law")
@click.argument("pilots", type=click.Path())
@click.option("--supervised-runs", type=click.Path(),
              help="Supervised pilots beside distilled ones.")  # fmt: skip
@click.option("--for", "target", metavar="SIZE:TOKENS",
              help="Run that the next pilots are for.")  # fmt: skip
@click.option("--draws", default=1024, show_default=True, help="Draws of the coefficients.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option("--output", "file", type=click.Path(), metavar="TOML",
              help="Write a coefficient file.")  # fmt: skip
@click.option("--title", default="", help="Title in the coefficient file.")
@click.option("--citation", default="", help="Where the runs come from, for the coefficient file.")
@click.option("--notes", default="", help="What users of the coefficient file should know.")
@click.option("--allow-duplicates", is_flag=True, help="Accept runs that occur twice.")
@output_options(file=False)
def command(law: str, pilots: str, file: str | None, output: Output, **given: Any) -> None:
    """Move LAW, a set's name or file, to the runs of PILOTS, three or more of them.

    Pilots are supervised runs (columns parameters, tokens, cross_entropy) or distillations (with
    teacher_cross_entropy), far cheaper than the runs that the moved law is to predict.
    """
    from coefficients import load
    from planner.calibrate import move, moving_task
    from planner.calibrate.report import calibration, save
    from planner.files import check_folder
    from planner.fit import Provenance

    path = None if file is None else Path(file)
    if path is not None:
        if path.suffix != ".toml":
            raise PlannerError(f"--output '{file}' must end in .toml: it is a coefficient file.")
        check_folder(path)
    target, old = _target(given["target"]), load(law)
    taught, alone = _pilots(old, pilots, given["supervised_runs"], given["allow_duplicates"])
    task = moving_task(
        old, None if alone is None else alone.rows, None if taught is None else taught.rows
    )
    moved = move(old, task, given["draws"], given["seed"])
    data = tuple(each for each in (taught, alone) if each is not None)
    found = calibration(moved, data, target)
    written: tuple[Path, ...] = ()
    if path is not None:
        words = {name: given[name] for name in ("citation", "notes") if given[name]}
        title = given["title"] or f"{old.name}, moved by {found.pilots} pilots"
        own, beside = (taught, alone) if taught is not None else (alone, None)
        written = save(path, moved, Provenance(title, data=own, supervised_data=beside, **words))
    output.answer(found)
    for each in written:
        output.remark(f"Wrote {each}")


def _pilots(
    old: CoefficientSet, pilots: str, beside: str | None, duplicates: bool
) -> tuple[Runs | None, Runs | None]:
    """Distilled and supervised pilots."""
    from planner.fit.runs import read_columns, read_runs

    taught = read_columns(pilots)[0]
    own = read_runs(pilots, taught, duplicates)
    if not taught:
        if beside is not None:
            raise PlannerError(
                "--supervised-runs stands beside distilled pilots; these have no teacher's loss, "
                "so put all supervised runs into one file."
            )
        return None, own
    return own, None if beside is None else read_runs(beside, False, duplicates)


def _target(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    size, colon, tokens = text.partition(":")
    if not colon:
        raise QuantityError(f"--for '{text}': write SIZE:TOKENS, like 7B:140B.")
    return units.parse_count(size, "--for"), units.parse_count(tokens, "--for")
