"""`sweep`: a whole grid of plans into one file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli import console
from planner.cli.options import plot_option, problem_options
from planner.errors import ProblemError
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS

if TYPE_CHECKING:
    from planner.problem import Teacher

FORMS = ("csv", "jsonl", "parquet")


@click.command(
    "sweep",
    short_help="Solve a whole grid of plans into CSV, JSON lines or Parquet.",
    epilog="Example: plan sweep --budget 1e19:1e24:50 --student 300M,1B,3B --scenario all "
    "--output sweep.csv",
)
@click.option(
    "--budget", required=True, metavar="FLOPS|LOW:HIGH:POINTS[,...]",
    help="Budgets parted by commas, or log-spaced ranges like 1e19:1e24:20 (else 50 points).",
)  # fmt: skip
@click.option(
    "--student", metavar="SIZE|LOW:HIGH:POINTS[,...]",
    help="Student sizes in the same way; left out, sizes are planned.",
)  # fmt: skip
@click.option(
    "--scenario", metavar="NAME[,...]|all",
    help=f"Scenarios parted by commas, or all; {DEFAULT_SCENARIO} unless given.",
)  # fmt: skip
@click.option(
    "--charges", metavar="INFERENCE:PRETRAINING[,...]",
    help="Further shares of the teacher's costs to pay, like 1:0.125,0.5:0.",
)  # fmt: skip
@click.option(
    "--teachers", "source", metavar="FILE|catalogue",
    help="Sweep over existing teachers of a TOML file, or the shipped open models.",
)  # fmt: skip
@problem_options(without=("budget", "student", "scenario", "charge_inference",
                          "charge_pretraining", "round_to_architecture"))  # fmt: skip
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
    budget: str,
    student: str | None,
    scenario: str | None,
    charges: str | None,
    source: str | None,
    given: dict[str, Any],
    path: str,
    form: str | None,
    chunk: int,
    restart: bool,
    plot: str | None,
    quiet: bool,
) -> None:
    """Solve every combination of budgets, students, scenarios, teachers and charges.

    Each row is a certified plan beside the supervised loss. Progress shows on stderr. A sweep that
    was killed continues where it stopped when the same command is given again.

    \b
    plan sweep --budget 1e19:1e24:200 --student 1B --scenario all --output sweep.parquet
    plan sweep --budget 1e21 --student 300M:10B:40 --teachers catalogue --output teachers.csv
    """
    from planner.analysis import parts
    from planner.analysis.sweep import Grid, parse_list

    parts.form_of(path, form)
    parts.check_folder(path)
    from coefficients import load
    from planner.problem import Problem

    budgets = parse_list(budget, units.parse_flops, "budget")
    sizes: tuple[float | None, ...] = (None,)
    if student is not None:
        sizes = parse_list(student, units.parse_count, "student")
    named = given.pop("teacher", ())
    base = Problem.from_mapping({**given, "budget": budgets[0]})
    existing = _teachers(named, source)
    if existing != (None,) and scenario is None and charges is None:
        scenario = "teacher-inference"  # what exists needs no training
    grid = Grid(base, budgets, sizes, read_charges(scenario, charges), existing)
    coefficients = load(base.coefficients)
    with _bar(len(grid), quiet) as progress:
        outcome = parts.run(grid, path, coefficients, form, chunk, restart, progress)
    if not quiet:
        earlier = f", {outcome.continued:,} of them from before" if outcome.continued else ""
        console.remark(
            f"Wrote {path}: {outcome.points:,} points{earlier}, {outcome.infeasible:,} without a "
            f"plan, largest certified gap {outcome.largest_gap:.1e} nats"
        )
    if plot is not None:
        from planner.plots import style
        from planner.plots import sweep as picture

        style.save(
            picture.draw(picture.read(path, parts.form_of(path, form))), plot, f"Sweep {path}"
        )
        if not quiet:
            console.remark(f"Wrote {plot}")


def read_charges(scenario: str | None, charges: str | None) -> tuple[tuple[float, float], ...]:
    """Pairs of charges from scenarios' names and explicit pairs."""
    found: list[tuple[float, float]] = []
    if scenario is None and charges is None:
        scenario = DEFAULT_SCENARIO
    for name in (part.strip() for part in (scenario or "").split(",") if part.strip()):
        if name == "all":
            found += [each.charges for each in SCENARIOS.values()]
        elif name in SCENARIOS:
            found.append(SCENARIOS[name].charges)
        else:
            raise ProblemError(f"unknown scenario '{name}'; known: all, {', '.join(SCENARIOS)}.")
    for pair in (part.strip() for part in (charges or "").split(",") if part.strip()):
        left, colon, right = pair.partition(":")
        if not colon:
            raise ProblemError(f"--charges '{pair}' is not INFERENCE:PRETRAINING, like 1:0.125.")
        found.append((units.parse_plain(left, "charges"), units.parse_plain(right, "charges")))
    return tuple(dict.fromkeys(found))


def _teachers(named: Any, source: str | None) -> tuple[Teacher | None, ...]:
    from planner.analysis.catalogue import load
    from planner.problem import Teacher

    found = [Teacher.parse(text) for text in named]
    if source is not None:
        found += [entry.teacher for entry in load(source)]
    return tuple(found) or (None,)


@contextlib.contextmanager
def _bar(points: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet:
        yield lambda done: None
        return
    with click.progressbar(
        length=points, label="Solving", file=sys.stderr, show_pos=True, width=30
    ) as bar:
        yield bar.update
