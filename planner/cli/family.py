"""`family`: one teacher for several students, and whether that pays."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.errors import ProblemError
from planner.reports.sheet import SHEET_FORMATS

if TYPE_CHECKING:
    from planner.analysis.family import Member


@click.command(
    "family",
    short_help="Split one budget over a teacher and several students.",
    epilog="Example: plan family --budget 1e22 --student 300M,1B,3B --cached",
)
@click.option(
    "--budget", metavar="FLOPS", help="Total FLOPs for teacher and students; not with --target."
)
@click.option(
    "--student",
    required=True,
    metavar="SIZE[xCOPIES][,...]",
    help="The students' sizes like 300M,1B,3B; 1Bx8 stands for eight equal students.",
)
@click.option(
    "--weight",
    metavar="W[,...]",
    help="How much each student's loss counts; all alike unless given.",
)
@click.option(
    "--target",
    metavar="LOSS[,...]",
    help="Each student's target loss, nats per token: find the smallest budget instead.",
)
@click.option(
    "--cached", is_flag=True, help="Compute logits once, over the longest run, and store."
)
@click.option(
    "--growth/--no-growth",
    default=True,
    help="Show how the plan changes with the number of students, and the break-even count.",
)
@click.option(
    "--fixed-total",
    is_flag=True,
    help="For that table: all share one budget, rather than each bringing its share of it.",
)
@problem_options(without=("budget", "student", "serving_tokens", "round_to_architecture"))
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def family(
    budget: str | None,
    student: str,
    weight: str | None,
    target: str | None,
    cached: bool,
    growth: bool,
    fixed_total: bool,
    given: dict[str, Any],
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """Split one budget over a teacher and all its students, with a proven bound.

    Minimises the weighted mean of the students' losses, or with --target the budget that brings
    every student to its own target. Says from how many students on a teacher pays.

    \b
    plan family --budget 1e22 --student 300M,1B,3B
    plan family --budget 1e21 --student 500Mx8 --cached --plot family.png
    plan family --student 300M,1B --target 2.5,2.3
    """
    members = read_members(student, weight, target)
    if (budget is None) == (target is None):
        raise ProblemError(
            "give either --budget to split it, or --target to find the smallest one."
        )
    if server is not None:
        server.report(
            "/v1/family",
            {
                **given,
                "budget": budget,
                "students": [asdict(member) for member in members],
                "cached": cached,
                "growth": growth,
                "fixed_total": fixed_total,
            },
            output,
            plot,
        )
        return
    from planner.analysis.family import plan_family
    from planner.analysis.family_growth import family_growth
    from planner.problem import Problem
    from planner.reports.family import sheet, verdict
    from planner.reports.sheet import render

    problem = Problem.from_mapping({**given, "budget": budget or 1e21})
    plan = plan_family(problem, members, cached)
    counts = None
    if growth and target is None and len(problem.teachers) < 2:
        counts = family_growth(problem, members, cached, fixed_total=fixed_total)
    output.write(render(sheet(plan, counts), output.format, output.screen))
    if plot is not None:
        from planner.plots import family as picture
        from planner.plots import style

        style.save(picture.draw(plan, counts), plot, verdict(plan, counts))
        output.remark(f"Wrote {plot}")


def read_members(student: str, weight: str | None, target: str | None) -> list[Member]:
    """Students from the words of the command line."""
    from planner.analysis.family import Member

    sizes = _parts(student, "--student")
    weights = _numbers(weight, "--weight", len(sizes)) or [1.0] * len(sizes)
    targets = _numbers(target, "--target", len(sizes)) or [None] * len(sizes)
    members = []
    for text, each, goal in zip(sizes, weights, targets, strict=True):
        size, cross, copies = text.lower().partition("x")
        if cross and not copies.strip().isdigit():
            raise ProblemError(f"--student '{text}' has no count after the x; write 1Bx8.")
        members.append(
            Member(
                units.parse_count(size.strip(), "student size"),
                float(each if each is not None else 1.0),
                goal,
                int(copies) if cross else 1,
            )
        )
    return members


def _parts(text: str, option: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ProblemError(f"{option} '{text}' has an empty entry; part entries by single commas.")
    return parts


def _numbers(text: str | None, option: str, wanted: int) -> list[float | None]:
    if text is None:
        return []
    parts = _parts(text, option)
    if len(parts) not in (1, wanted):
        raise ProblemError(
            f"{option} has {len(parts)} entries for {wanted} students; give one, or one each."
        )
    numbers: list[float | None] = [units.parse_plain(part, option) for part in parts]
    return numbers * wanted if len(parts) == 1 else numbers
