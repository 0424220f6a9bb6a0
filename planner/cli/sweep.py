"""`sweep`: a whole grid of plans into a file, continued where it was killed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from planner.cli import console
from planner.cli.options import plot_option
from planner.cli.questions import question_options
from planner.questions import QUESTIONS

FORMS = ("csv", "jsonl", "parquet")


@click.command(
    "sweep",
    short_help=QUESTIONS["sweep"].summary,
    epilog="Example: plan sweep --budget 1e19:1e24:50 --student 300M,1B,3B --scenario all "
    "--output sweep.csv",
)
@question_options("sweep")
@click.option(
    "--output", "path", required=True, type=click.Path(), metavar="FILE",
    help="The file to write, .csv, .jsonl or .parquet; a sweep that was killed continues.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMS), help="Instead of FILE's suffix.")
@click.option("--chunk", type=click.IntRange(1, 1_000_000), default=2000, show_default=True,
              help="Points solved at a time; memory grows with it.")  # fmt: skip
@click.option("--restart", is_flag=True, help="Drop what an interrupted sweep left.")
@plot_option()
@click.option("--quiet", is_flag=True, help="No progress and no remarks on stderr.")
def sweep(
    path: str,
    form: str | None,
    chunk: int,
    restart: bool,
    plot: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Solve every combination of budgets, students, scenarios, teachers and charges.

    Each row is a certified plan beside the supervised loss. Progress shows on stderr. A sweep that
    was killed continues where it stopped when the same command is given again.

    \b
    plan sweep --budget 1e19:1e24:200 --student 1B --scenario all --output sweep.parquet
    plan sweep --budget 1e21 --student 300M:10B:40 --teachers catalogue --output teachers.csv
    """
    from planner.questions.sweep import files
    from planner.questions.sweep.question import SweepQuestion

    files.form_of(path, form)
    files.check_folder(path)
    question = SweepQuestion.of({key: value for key, value in given.items() if value})
    grid = question.grid()
    with _bar(len(grid), quiet) as progress:
        outcome = files.run(grid, path, question.coefficient_set(), form, chunk, restart, progress)
    if not quiet:
        earlier = f", {outcome.continued:,} of them from before" if outcome.continued else ""
        console.remark(
            f"Wrote {path}: {outcome.points:,} points{earlier}, {outcome.infeasible:,} without a "
            f"plan, largest certified gap {outcome.largest_gap:.1e} nats"
        )
    if plot is not None:
        from planner.plots import style
        from planner.questions.sweep import curves

        rows = curves.read(path, files.form_of(path, form))
        style.save(curves.draw(rows), plot, f"Sweep {path}")
        if not quiet:
            console.remark(f"Wrote {plot}")


@contextlib.contextmanager
def _bar(points: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet:
        yield lambda done: None
        return
    with click.progressbar(
        length=points, label="Solving", file=sys.stderr, show_pos=True, width=30
    ) as bar:
        yield bar.update
