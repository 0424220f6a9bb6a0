"""The answer to `explore`: the plan, its cells as text, and the arrays of the charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from coefficients import CoefficientSet
from planner.accelerators import Offer
from planner.needs import Setup
from planner.optima import optimum
from planner.problem import Problem
from planner.questions.base import Answer
from planner.questions.explore import charts
from planner.questions.explore.display import NO_OFFER, Display, display
from planner.questions.plan.answer import Plan, solve, with_resources


@dataclass(frozen=True, repr=False)
class Exploration(Answer):
    """The parts asked for, None for the others; losses in nats per token, budgets in FLOPs.

    display: every cell of the plan in the words and digits of the command line. gap: student loss
    against teacher cross-entropy on the recipe's tokens. curves: all methods over the budget, their
    shares of compute and crossovers. map: distilled minus supervised loss over budgets and sizes.
    """

    KIND: ClassVar[str] = "explore"

    plan: Plan | None = None
    display: Display | None = None
    gap: charts.Gap | None = None
    curves: charts.Curves | None = None
    map: charts.Map | None = None


ANSWER = Exploration


def explore(
    problem: Problem,
    parts: tuple[str, ...],
    grid: charts.Grid,
    coefficients: CoefficientSet,
    budget: str | None = None,
    offer: Offer = NO_OFFER,
    setup: Setup | None = None,
) -> Exploration:
    """Everything the page draws around one problem.

    budget: as it was written, to be explained; offer: what it was converted with. setup: the
    devices that the plan is to run on.
    """
    plan = shown = gap = None
    if "plan" in parts:
        plan = with_resources(solve(problem, coefficients), setup)
        shown = display(plan, coefficients, budget, offer)
    if "gap" in parts:
        recipe = plan.recipe if plan is not None else optimum(problem, coefficients)[0]
        gap = charts.gap(recipe, coefficients)
    return Exploration(
        plan,
        shown,
        gap,
        charts.curves(problem, coefficients, grid) if "curves" in parts else None,
        charts.wins(problem, coefficients, grid) if "map" in parts else None,
    )
