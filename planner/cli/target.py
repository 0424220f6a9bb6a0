"""`target`: the smallest budget that reaches a loss."""

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
    "target",
    short_help="Find the smallest budget that reaches a loss.",
    epilog="Example: plan target --loss 2.2 --student 1B",
)
@click.option("--loss", metavar="NATS", help="Cross-entropy to reach, nats per token.")
@click.option(
    "--like", metavar="MODEL",
    help="Be as good as this supervised model instead: size=3B,tokens=60B.",
)  # fmt: skip
@problem_options(without=("budget", "scenario", "round_to_architecture"))
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def target(
    loss: str | None,
    like: str | None,
    given: dict[str, Any],
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """The smallest budget that reaches a loss, for every scenario and for supervised training.

    Each budget comes with its recipe and a proof that a smaller one is not enough.

    \b
    plan target --loss 2.2 --student 1B
    plan target --like size=3B,tokens=60B --student 1B
    """
    if (loss is None) == (like is None):
        raise ProblemError("give either --loss 2.2 or --like size=3B,tokens=60B.")
    if server is not None:
        server.report("/v1/target", {**given, "loss": loss, "like": like}, output, plot)
        return
    from coefficients import load
    from planner.analysis.target import Like
    from planner.analysis.target import target as find
    from planner.problem import Problem
    from planner.reports.sheet import render
    from planner.reports.target import sheet

    problem = Problem.from_mapping({**given, "budget": 1.0})
    coefficients = load(problem.coefficients)
    model = Like.parse(like) if like is not None else None
    wanted = units.parse_plain(loss, "loss") if loss is not None else 0.0
    if model is not None:
        wanted = model.loss(coefficients)
    found = find(problem, wanted, coefficients, model)
    output.write(render(sheet(found, coefficients), output.format, output.screen))
    if plot is not None:
        from planner.plots import style
        from planner.plots import target as picture

        style.save(picture.draw(found, coefficients), plot, picture.caption(found))
        output.remark(f"Wrote {plot}")
