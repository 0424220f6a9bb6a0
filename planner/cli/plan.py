"""`plan`: from a budget to a proven recipe."""

from __future__ import annotations

from typing import Any

import click

from planner.cli.options import output_options, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options


class PlanCommand(click.Command):
    """Its help names the other commands, since `plan --help` is where most people start."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then the other commands."""
        super().format_epilog(ctx, formatter)
        group = ctx.parent.command if ctx.parent is not None else None
        if isinstance(group, click.Group):
            names = [name for name in group.list_commands(ctx) if name != self.name]
            with formatter.section("Other commands"):
                formatter.write_text(f"{', '.join(names)} (try: {group.name} NAME --help)")


@click.command(
    "plan",
    cls=PlanCommand,
    short_help="Find the best recipe for a compute budget and prove it.",
    epilog="Example: plan --budget 1e21 --student 1B --format json --output plan.json",
)
@problem_options()
@click.option(
    "--near-optimal", "within", is_flag=False, flag_value="0.5%", metavar="[SHARE]",
    help="Also show all recipes within this share of the best loss; 0.5% unless given.",
)  # fmt: skip
@click.option(
    "--robust", is_flag=False, flag_value="expected", type=click.Choice(["expected", "worst"]),
    help="Also the recipe with the best expected (or worst) loss over the coefficients' draws.",
)  # fmt: skip
@click.option("--sensitivity", is_flag=True, help="Also what each coefficient does to the plan.")
@server_options()
@output_options()
def plan(
    given: dict[str, Any],
    within: str | None,
    robust: str | None,
    sensitivity: bool,
    output: Output,
    server: Server | None,
) -> None:
    """Find the best distillation recipe for a compute budget and prove that it is the best.

    \b
    plan --budget 1e21 --student 1B
    plan --budget "30 PFLOP-days" --student 1B --scenario teacher-inference
    plan --budget 1e22 --student 3B --teacher size=7B,tokens=140B --teacher size=13B,loss=2.0
    """
    from planner.accelerators import parse_hardware
    from planner.problem import Problem
    from planner.units import format_flops, parse_share

    share = None if within is None else parse_share(within)
    problem = Problem.from_mapping(given)
    if (hardware := parse_hardware(str(given["budget"]))) is not None:
        output.remark(f"Budget: {hardware} = {format_flops(problem.budget)} FLOPs.")
    if server is not None:
        views = {"robust": robust, "sensitivity": sensitivity or None, "near_optimal": share}
        server.plan(given, views, output)
        return
    from planner.solve import solve  # after the problem, so that a mistake is answered at once

    found = solve(problem, robust=robust, sensitivity=sensitivity)
    if share is None:
        output.plan(found)
        return
    from coefficients import load
    from planner.analysis.near_optimal import around
    from planner.reports.near import beside

    coefficients = load(problem.coefficients)
    near = around(found, share, coefficients)
    output.plan(*beside(found, near, coefficients, output.format, output.screen))
