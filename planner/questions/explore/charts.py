"""The arrays behind the page's charts: everything around one problem in few vectorised solves.

Curves over the budget do not depend on the problem's own budget, nor the map on its student, so
both are remembered while a slider moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import Cost
from planner.optimise.supervised import supervised_optima
from planner.optimum import Many, solve_many
from planner.problem import Problem
from planner.questions.compare.answer import compare
from planner.questions.compare.curves import Curve
from planner.questions.explore.remember import remember
from planner.rows import supervised_batch, teacher_flops
from planner.scenarios import SCENARIOS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

BUDGETS = (1e18, 1e27)
"""The charts' range in FLOPs, widened by whole decades to hold the budget asked about."""

MAP_TOLERANCE = 1e-4
"""Nats; the map shows who wins, its steps of colour are far wider than this."""


@dataclass(frozen=True)
class Grid:
    """How fine the charts are: budgets on the curves, budgets by students on the map."""

    budgets: int = 55
    map_budgets: int = 37
    map_students: int = 25

    @property
    def points(self) -> int:
        """How many problems that is, for the limit on a request."""
        return self.budgets * (len(SCENARIOS) + 1) + self.map_budgets * self.map_students


def curves(problem: Problem, coefficients: CoefficientSet, grid: Grid) -> dict[str, Any]:
    """Losses of all methods and the chosen one's recipe over the budget, and the crossovers."""
    low, high = budget_range(problem.budget)
    return _curves(replace(problem, budget=low), coefficients, grid, high)


def wins(problem: Problem, coefficients: CoefficientSet, grid: Grid) -> dict[str, Any]:
    """Distillation's loss minus the supervised one over budgets (columns) and students (rows)."""
    low, high = budget_range(problem.budget)
    least, most = problem.bounds.student_size
    low_size, high_size = max(least, 1e8), min(most, 1e12)
    if problem.student is not None:
        low_size, high_size = min(low_size, problem.student), max(high_size, problem.student)
    if not low_size < high_size:
        low_size, high_size = least, most
    anchor = replace(problem, budget=low, student=None)
    return _wins(anchor, coefficients, grid, high, (low_size, high_size))


def gap(
    student: float, tokens: float, teacher: float, coefficients: CoefficientSet, points: int = 121
) -> dict[str, Any]:
    """The capacity gap: a student's loss on fixed tokens against its teacher's cross-entropy.

    student: non-embedding parameters; tokens: distilled on; teacher: the recipe's, which the range
    of teachers holds however strange it is. Cross-entropies in nats per token.
    """
    law = coefficients.distillation
    assert law is not None  # the caller solved with it
    alone = float(coefficients.supervised.loss(student, tokens))
    floor = float(coefficients.supervised.E)
    usual = (floor + 0.02, max(3.2, 1.35 * alone))
    teachers = np.linspace(min(usual[0], 0.99 * teacher), max(usual[1], 1.04 * teacher), points)
    losses = law.loss(student, tokens, teachers)
    best = int(np.argmin(losses))
    fine = np.linspace(teachers[max(best - 1, 0)], teachers[min(best + 1, points - 1)], 201)
    fine_losses = law.loss(student, tokens, fine)
    lowest = int(np.argmin(fine_losses))
    measured = coefficients.measured_teachers(student, tokens)
    return {
        "student_parameters": student,
        "student_tokens": tokens,
        "teacher_cross_entropy": _list(teachers),
        "cross_entropy": _list(losses),
        "supervised": alone,
        "best": {
            "teacher_cross_entropy": float(fine[lowest]),
            "cross_entropy": float(fine_losses[lowest]),
        },
        "measured": list(measured) if measured and np.isfinite(measured[1]) else None,
    }


def budget_range(budget: float) -> tuple[float, float]:
    """The charts' budgets: the usual ones, or as many decades as the question needs."""
    low, high = BUDGETS
    if budget < low:
        low = 10.0 ** np.floor(np.log10(budget))
    if budget > high:
        high = 10.0 ** np.ceil(np.log10(budget))
    return float(low), float(high)


def supervised_inside(problem: Problem, coefficients: CoefficientSet, budgets: Array) -> Mask:
    """Where the supervised baseline lies inside the measured sizes and tokens."""
    rows = [replace(problem, budget=float(budget)) for budget in budgets]
    best = supervised_optima(supervised_batch(rows, coefficients))
    alone = {"supervised_parameters": np.exp(best.u), "supervised_tokens": np.exp(best.s)}
    return np.asarray(np.isfinite(best.loss) & coefficients.domain.covers(alone))


@remember
def _curves(
    anchor: Problem, coefficients: CoefficientSet, grid: Grid, high: float
) -> dict[str, Any]:
    budgets = np.geomspace(anchor.budget, high, grid.budgets)
    found = compare(anchor, budgets, (), coefficients)[0]
    asked = (anchor.charge_inference, 0.0 if anchor.teachers else anchor.charge_pretraining)
    return {
        "budgets": _list(budgets),
        "supervised": {
            "cross_entropy": _list(found.supervised),
            "inside": supervised_inside(anchor, coefficients, budgets).tolist(),
        },
        "methods": [
            _method(
                curve, anchor.with_charges(*curve.charges), coefficients, curve.charges == asked
            )
            for curve in found.curves
        ],
    }


def _method(
    curve: Curve, variant: Problem, coefficients: CoefficientSet, chosen: bool
) -> dict[str, Any]:
    plans = curve.plans
    return {
        "name": curve.scenario,
        "charge_inference": curve.charge_inference,
        "charge_pretraining": curve.charge_pretraining,
        "chosen": chosen,
        "cross_entropy": _list(plans.cross_entropy),
        "inside": plans.inside(coefficients).tolist(),
        **_spending(plans, variant, coefficients),
        "student_parameters": _list(plans.student_parameters),
        "student_tokens": _list(plans.student_tokens),
        "teacher_parameters": _list(plans.teacher_parameters),
        "teacher_tokens": _list(plans.teacher_tokens),
        "teacher_cross_entropy": _list(plans.teacher_cross_entropy),
        "crossovers": [
            {
                "budget": each.budget,
                "starts_to_win": each.better_above != "supervised",
                "inside": each.in_domain,
            }
            for each in curve.crossovers
        ],
    }


@remember
def _wins(
    anchor: Problem,
    coefficients: CoefficientSet,
    grid: Grid,
    high: float,
    sizes: tuple[float, float],
) -> dict[str, Any]:
    budgets = np.geomspace(anchor.budget, high, grid.map_budgets)
    students = np.geomspace(*sizes, grid.map_students)
    rows = [
        replace(
            anchor,
            budget=float(budget),
            student=min(max(float(student), sizes[0]), sizes[1]),
            tolerance=max(anchor.tolerance, MAP_TOLERANCE),
        )
        for student in students
        for budget in budgets
    ]
    found = solve_many(rows, coefficients, polish=False)
    shape = (students.size, budgets.size)
    with np.errstate(invalid="ignore"):
        difference = (found.cross_entropy - found.supervised_cross_entropy).reshape(shape)
    return {
        "budgets": _list(budgets),
        "students": _list(students),
        "difference": [_list(row) for row in difference],
        "inside": found.inside(coefficients).reshape(shape).tolist(),
        "tolerance": max(anchor.tolerance, MAP_TOLERANCE),
    }


def _spending(part: Many, problem: Problem, coefficients: CoefficientSet) -> dict[str, Any]:
    """`shares`: each term of Eq. 9 over the total, as Flops.shares has it; `spent`: the total,
    which bounds may keep below the budget."""
    forward = coefficients.flops.per_token(np.nan_to_num(part.teacher_parameters))
    if problem.teachers:  # one of unknown size is not charged
        existing = [teacher_flops(each, coefficients) for each in problem.teachers]
        forward = np.array(existing)[np.maximum(part.teacher, 0)]
    cost = Cost(
        coefficients.flops.per_token(part.student_parameters),
        forward,
        problem.charge_inference,
        np.where(part.teacher >= 0, 0.0, problem.charge_pretraining),
        problem.serving_tokens,
    )
    with np.errstate(invalid="ignore"):
        terms = vars(cost.terms(part.student_tokens, np.nan_to_num(part.teacher_tokens)))
        total = np.sum([np.nan_to_num(term) for term in terms.values()], axis=0)
        feasible = np.where(part.feasible, total, np.nan)
        shares = {name: _list(np.nan_to_num(term) / feasible) for name, term in terms.items()}
    return {"shares": shares, "spent": _list(feasible)}


def _list(values: Any) -> list[float | None]:
    """Plain numbers, None where there is none."""
    array = np.asarray(values, dtype=float)
    return [value if np.isfinite(value) else None for value in array.tolist()]
