"""`explain`: what the law says around a plan."""

from __future__ import annotations

from typing import Any

import click

from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.reports.sheet import SHEET_FORMATS


@click.command(
    "explain",
    short_help="Show what the law says around a plan: capacity gap, limits, marginal values.",
    epilog="Example: plan explain --budget 1e21 --student 1B --plot why.png",
)
@problem_options()
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def explain(given: dict[str, Any], plot: str | None, output: Output, server: Server | None) -> None:
    """Why the plan is what it is: the student's loss against its teacher's (the capacity gap) and
    against the split of the budget, what ten per cent more would bring, and what limits it now.

    \b
    plan explain --budget 1e21 --student 1B
    plan explain --budget 1e22 --student 3B --scenario teacher-inference --plot why.svg
    """
    if server is not None:
        server.report("/v1/explain", given, output, plot)
        return
    from planner.problem import Problem

    problem = Problem.from_mapping(given)
    from coefficients import load
    from planner.analysis.explain import explain as look
    from planner.reports.explanation import sheet
    from planner.reports.sheet import render

    coefficients = load(problem.coefficients)
    found = look(problem, coefficients)
    output.write(render(sheet(found, coefficients), output.format, output.screen))
    if plot is not None:
        from planner.plots import explanation, style

        style.save(explanation.draw(found, coefficients), plot, explanation.caption(found))
        output.remark(f"Wrote {plot}")
