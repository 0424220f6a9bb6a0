"""`near-optimal`: all recipes almost as good as the best one."""

from __future__ import annotations

from typing import Any

import click

from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.errors import ProblemError
from planner.reports.sheet import SHEET_FORMATS
from planner.units import parse_share


@click.command(
    "near-optimal",
    short_help="Show the ranges of all recipes almost as good as the best.",
    epilog="Example: plan near-optimal --budget 1e21 --student 1B --within 0.5%",
)
@problem_options(without=("round_to_architecture",))
@click.option("--within", metavar="SHARE", help="How far above the best loss; 0.5% unless given.")
@click.option(
    "--compute", metavar="SHARE", help="Instead: recipes that waste at most this share of compute."
)
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def near_optimal(
    given: dict[str, Any],
    within: str | None,
    compute: str | None,
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """The valley is flat: how far each quantity may move before the loss is worse than a ceiling,
    the cheapest teacher among all those recipes, and the buildable models.

    \b
    plan near-optimal --budget 1e21 --student 1B
    plan near-optimal --budget 1e21 --student 1B --compute 10%
    """
    if within is not None and compute is not None:
        raise ProblemError("give --within or --compute, not both.")
    share = parse_share(within) if within is not None else None
    waste = parse_share(compute) if compute is not None else None
    if server is not None:
        asked = {**given, "within": share, "compute": waste}
        server.report("/v1/near-optimal", asked, output, plot)
        return
    from coefficients import load
    from planner.analysis import near_optimal as analysis
    from planner.problem import Problem
    from planner.reports.near import sheet
    from planner.reports.sheet import render

    problem = Problem.from_mapping(given)
    coefficients = load(problem.coefficients)
    found = analysis.near_optimal(problem, share or analysis.WITHIN, waste, coefficients)
    output.write(render(sheet(found, coefficients), output.format, output.screen))
    if plot is not None:
        from planner.plots import near, style

        style.save(near.draw(found, coefficients), plot, near.caption(found, coefficients))
        output.remark(f"Wrote {plot}")
