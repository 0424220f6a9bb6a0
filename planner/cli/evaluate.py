"""`evaluate`: how good is a recipe that somebody has already."""

from __future__ import annotations

from typing import Any

import click

from planner import units
from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.errors import ProblemError
from planner.reports.sheet import SHEET_FORMATS

_OWN = ("budget", "teacher", "scenario", "round_to_architecture", "stay_in_domain")


@click.command(
    "evaluate",
    short_help="Judge a recipe you already have, and say what to change first.",
    epilog="Example: plan evaluate --student 1B --student-tokens 40B --teacher size=7B,tokens=140B",
)
@click.argument("recipe", required=False, metavar="[FILE]", type=click.Path())
@click.option("--student-tokens", metavar="N", help="Tokens the student is distilled on.")
@click.option(
    "--teacher", metavar="TEACHER",
    help="The recipe's teacher: size=7B,tokens=140B (part of the cost), or size=7B,loss=2.05 "
    "(it exists already).",
)  # fmt: skip
@click.option(
    "--scenario", metavar="NAME", help="Which of the teacher's costs count; full unless given."
)
@problem_options(without=_OWN)
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def evaluate(
    recipe: str | None,
    student_tokens: str | None,
    teacher: str | None,
    scenario: str | None,
    given: dict[str, Any],
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """What the law predicts for a recipe, how far it is from the best plan of the same cost, what
    to change first, and how rules of thumb would do.

    The recipe is a FILE that plan --format toml or json wrote, or it is given by options.

    \b
    plan evaluate --student 1B --student-tokens 40B --teacher size=7B,tokens=140B
    plan evaluate recipe.toml
    """
    from coefficients import load
    from planner.analysis.evaluate import evaluate as judge
    from planner.analysis.evaluate import from_document
    from planner.problem import Problem, Teacher
    from planner.reports.evaluation import sheet
    from planner.reports.sheet import render

    options = [student_tokens, teacher, scenario, *given.values()]
    if recipe is not None:
        if any(each is not None for each in options):
            raise ProblemError(
                f"both the file '{recipe}' and options describe a recipe; give one of them."
            )
        from planner.reports.read import read_recipe

        document = read_recipe(recipe)
        if server is not None:
            server.report("/v1/evaluate", {"recipe": document}, output, plot)
            return
        coefficients = load(document["problem"]["coefficients"])
        found = from_document(document, coefficients)
    else:
        if "student" not in given or student_tokens is None or teacher is None:
            raise ProblemError(
                "a recipe needs --student, --student-tokens and --teacher size=...,tokens=..., or "
                "a file that plan --format toml wrote."
            )
        if server is not None:
            parts = {"student_tokens": student_tokens, "teacher": teacher, "scenario": scenario}
            server.report("/v1/evaluate", {**given, **parts}, output, plot)
            return
        problem = Problem.from_mapping({**given, "scenario": scenario, "budget": 1.0})
        coefficients = load(problem.coefficients)
        tokens = units.parse_count(student_tokens, "student tokens")
        found = judge(problem, tokens, Teacher.parse(teacher), coefficients)
    output.write(render(sheet(found, coefficients), output.format, output.screen))
    if plot is not None:
        from planner.plots import evaluation, style

        style.save(evaluation.draw(found, coefficients), plot, evaluation.caption(found))
        output.remark(f"Wrote {plot}")
