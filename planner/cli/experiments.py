"""`experiments`: run plans for a budget, and the next runs from a pool of candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.fit import forms, protocols
from planner.cli.options import OneOf, output_options
from planner.cli.output import Output
from planner.errors import ProblemError

if TYPE_CHECKING:
    from planner.fit import Fit

_SEVERAL = 20


def _designs() -> tuple[str, ...]:
    from planner.experiments.design import PROTOCOLS

    return ("all", *PROTOCOLS)


@click.group(
    "experiments",
    short_help="Design runs, or choose the next ones.",
    epilog="Example: planner experiments design --budget 1e21 --protocol all",
)
def command() -> None:
    """Design runs for a budget, or choose the next ones from a pool of candidates."""


@command.command(
    "design",
    short_help="Run plans for the paper's protocols.",
    epilog="Example: planner experiments design --budget 1e21",
)
@click.option("--budget", required=True, metavar="FLOPS", help="Compute for each protocol's runs.")
@click.option("--protocol", type=OneOf(_designs), default="all",
              help="fixed-m-teachers, isoflop-teachers, fixed-m, all.")  # fmt: skip
@click.option("--coefficients", "name", default="busbridge2025", show_default=True)
@output_options()
def design_command(budget: str, protocol: str, name: str, output: Output) -> None:
    """Write the runs of the paper's experimental protocols, scaled to a compute budget.

    Every model is buildable; costs count student training, teacher training once, and the teacher's
    inference. The csv format lists the students as a pool for `experiments next`.
    """
    from coefficients import load
    from planner.experiments.design import PROTOCOLS, design
    from planner.experiments.report import Designs

    names = PROTOCOLS if protocol == "all" else (protocol,)
    if output.format == "csv" and len(names) > 1:
        raise ProblemError("--format csv writes one pool; choose one with --protocol.")
    flops, chosen = units.parse_flops(budget, "budget"), load(name)
    output.answer(Designs.of(tuple(design(each, flops, chosen) for each in names)))


@command.command(
    "next",
    short_help="The most telling next runs per FLOP.",
    epilog="Example: planner experiments next runs.csv --pool pool.csv --budget 1e21 "
    "--target-sizes 1B:3B --target-tokens 20B:100B --target-teachers 2.0:2.3",
)
@click.argument("runs", type=click.Path())
@click.option("--pool", required=True, type=click.Path(), help="Candidates: runs without losses.")
@click.option("--budget", required=True, metavar="FLOPS", help="Compute for the next runs.")
@click.option("--target-sizes", metavar="LOW:HIGH", help="Student sizes whose loss should sharpen.")
@click.option("--target-tokens", metavar="LOW:HIGH", help="Tokens of the target region.")
@click.option("--target-teachers", metavar="LOW:HIGH", help="Teachers' losses of the region.")
@click.option("--plan-budget", metavar="FLOPS", help="Sharpen this budget's plan instead.")
@click.option("--student", metavar="SIZE", help="The plan's student.")
@click.option("--scenario", metavar="NAME", help="The plan's scenario; full unless given.")
@click.option("--law", type=OneOf(forms), default="distillation",
              help="distillation, supervised, hoffmann or kaplan.")  # fmt: skip
@click.option("--protocol", type=OneOf(protocols), default="plain",
              help="How to fit the finished runs.")  # fmt: skip
@click.option("--base", default="busbridge2025", show_default=True, help="Fixed supervised law.")
@click.option("--criterion", default="variance", help="variance, or determinant (D-optimal).")
@click.option(
    "--most", type=int, default=_SEVERAL, show_default=True, help="At most this many runs."
)
@output_options()
def next_command(runs: str, pool: str, output: Output, **given: Any) -> None:
    """Choose from a pool the runs that most reduce the uncertainty of a target, per FLOP.

    RUNS are finished; the pool has the same columns without losses, and `cost` in FLOPs where the
    student's own training is not all. The target is the loss in a region, or a plan.
    """
    from coefficients import load
    from planner.experiments.next_runs import next_runs
    from planner.experiments.pool import read_pool, without
    from planner.experiments.report import NextRuns
    from planner.fit import FORMS, Task, fit, read_runs
    from planner.fit.rows import implausible

    form, base = FORMS[given["law"]], load(given["base"])
    distilling = form.kind == "distillation"
    if given["most"] < 1:
        raise ProblemError(f"--most is {given['most']}; choose at least one run.")
    budget = units.parse_flops(given["budget"], "budget")
    finished = read_runs(runs, distilling)
    candidates, costs = read_pool(pool, distilling, base.flops)
    new = without(candidates.rows, finished.rows)
    if not new.any():
        raise ProblemError("every candidate of the pool has been run already; add new ones.")
    law = base.supervised if distilling else None
    point = fit(Task(form, finished.rows, law), given["protocol"])
    targets, what = _targets(point, base, given)
    found = next_runs(
        point, candidates.rows.take(new), costs[new], targets, budget, given["criterion"],
        most=given["most"],
    )  # fmt: skip
    if not found.picks:
        cheapest = units.format_flops(float(costs[new].min()))
        raise ProblemError(
            f"the budget pays for no candidate; the cheapest costs {cheapest} FLOPs."
        )
    lines = [line for line, kept in zip(candidates.lines, new, strict=True) if kept]
    output.answer(NextRuns.of(found, lines, what, tuple(implausible(finished.rows))))


def _targets(point: Fit, base: Any, given: dict[str, Any]) -> tuple[Any, str]:
    """The target's points or Jacobian, and its name."""
    from planner.experiments.targets import plan_target, region
    from planner.problem import Problem

    _one_target(given)
    if given["plan_budget"] is not None:
        law = point.distillation
        if law is None:
            raise ProblemError("--plan-budget needs --law distillation.")
        problem = Problem.from_mapping(
            {
                "budget": given["plan_budget"], "student": given["student"],
                "scenario": given["scenario"], "coefficients": given["base"],
            }
        )  # fmt: skip
        goal = plan_target(point.task, point.theta, law, base, problem)
        text = (
            f"the plan of a {units.format_count(problem.student or 0)} student for "
            f"{units.format_flops(problem.budget)} FLOPs ({problem.scenario}), root of its "
            "expected regret in nats"
        )
        return goal, text
    sizes = _range("--target-sizes", given["target_sizes"])
    tokens = _range("--target-tokens", given["target_tokens"])
    teachers = None
    if point.task.form.kind == "distillation":
        teachers = _range("--target-teachers", given["target_teachers"])
    return region(sizes, tokens, teachers), "the relative loss in the target region"


def _one_target(given: dict[str, Any]) -> None:
    """A region and a plan are two targets: half of either would be dropped in silence."""
    region = [f"--target-{n}" for n in ("sizes", "tokens", "teachers") if given[f"target_{n}"]]
    plan = [f"--{name}" for name in ("student", "scenario") if given[name]]
    if given["plan_budget"] is not None and region:
        raise ProblemError(
            f"{', '.join(region)} and --plan-budget are two targets; give the region or the plan."
        )
    if given["plan_budget"] is None and plan:
        raise ProblemError(
            f"{', '.join(plan)} belongs to the plan as a target; add --plan-budget, or leave it "
            "out."
        )


def _range(option: str, text: str | None) -> tuple[float, float]:
    if text is None:
        raise ProblemError(
            f"{option} is missing; give a region (--target-sizes, --target-tokens, "
            "--target-teachers, each LOW:HIGH) or a plan (--plan-budget, --student)."
        )
    low_text, colon, high_text = text.partition(":")
    low = units.parse_count(low_text, option)
    high = units.parse_count(high_text, option) if colon else low
    if low > high:
        raise ProblemError(f"{option} {text}: the low end is above the high end.")
    return low, high
