"""`compare-supervised`: from which budget on is distilling worth it, and by how much."""

from __future__ import annotations

from typing import Any

import click

from planner import units
from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.errors import ProblemError
from planner.reports.sheet import SHEET_FORMATS


@click.command(
    "compare-supervised",
    short_help="Compare distilling with training directly, over budgets and students.",
    epilog="Example: plan compare-supervised --student 300M,1B --budget 1e19:1e26 --plot win.png",
)
@click.option(
    "--budget", required=True, metavar="FLOPS|LOW:HIGH[:POINTS]",
    help="Total FLOPs, or a log-spaced range of them like 1e19:1e26 or 1e19:1e26:200.",
)  # fmt: skip
@click.option(
    "--student", metavar="SIZE[,SIZE...]",
    help="One or several student sizes like 300M,1B,3B; left out, the size is planned too.",
)  # fmt: skip
@problem_options(without=("budget", "student", "scenario", "round_to_architecture"))
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def compare_supervised(
    budget: str,
    student: str | None,
    given: dict[str, Any],
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """Every scenario's best loss against supervised training of the same student and budget.

    Says where the better method changes (crossover budgets), the largest gain, and how much more
    compute and data supervised training needs for the same loss.

    \b
    plan compare-supervised --student 1B --budget 1e21
    plan compare-supervised --student 300M,1B,3B,10B --budget 1e19:1e26
    """
    low, high, points = units.parse_range(budget, units.parse_flops, "budget")
    students = sizes(student)
    if server is not None:
        asked = {**given, "budget": budget, "students": students}
        server.report("/v1/compare", asked, output, plot)
        return
    from coefficients import load
    from planner.analysis.compare import PER_DECADE, budget_grid, compare
    from planner.analysis.spread import with_spread
    from planner.problem import Problem
    from planner.reports.comparison import sheet
    from planner.reports.sheet import render

    problem = Problem.from_mapping({**given, "budget": low})
    coefficients = load(problem.coefficients)
    grid = budget_grid(low, high, points, PER_DECADE if plot is None else 2 * PER_DECADE)
    found = with_spread(compare(problem, grid, students, coefficients), coefficients)
    output.write(render(sheet(found, coefficients), output.format, output.screen))
    if plot is not None:
        from planner.plots import comparison, style

        style.save(comparison.draw(found, coefficients), plot, comparison.caption(found))
        output.remark(f"Wrote {plot}")


def sizes(text: str | None) -> list[float | None]:
    """Sizes parted by commas, each once; an empty list where none is given."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ProblemError(
            f"--student '{text}' has an empty entry; write sizes parted by commas like 300M,1B,3B."
        )
    return list(dict.fromkeys(units.parse_count(part, "student size") for part in parts))
