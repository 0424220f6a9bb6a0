"""Problems through the optimiser: all rows of all problems in one batch, answers as recipes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coefficients import CoefficientSet
from planner import units
from planner.assemble import Row, recipe_of
from planner.errors import InfeasibleError
from planner.optimise import Batch, minimise
from planner.optimise.batch import Array, Index
from planner.optimise.frontier import smallest_budget
from planner.optimise.starts import reach_range
from planner.optimise.ties import cheapest_teachers
from planner.problem import Problem
from planner.result import Certificate, Recipe
from planner.translate import to_batches

BUDGET_MARGIN = 1e-5
"""A smallest budget is rounded up by this, so that it is feasible itself."""

MOST_TIMES, PROBES = 1e6, 25
"""How far above the least cost a plan inside the domain is looked for, and by how many budgets."""

LOOSE = 1e-2
"""Nats: whether any plan exists does not depend on how good it is."""


@dataclass(frozen=True)
class Answer:
    """The optimum of one problem, or the smallest budget (FLOPs) that would have one."""

    problem: Problem
    recipe: Recipe | None
    certificate: Certificate | None
    smallest_budget: float

    def require(self, coefficients: CoefficientSet) -> tuple[Recipe, Certificate]:
        """Recipe and certificate; InfeasibleError where there is none."""
        if self.recipe is None or self.certificate is None:
            raise infeasible(self.problem, self.smallest_budget, coefficients)
        return self.recipe, self.certificate


def answers(problems: Sequence[Problem], coefficients: CoefficientSet) -> list[Answer]:
    """Certified optima of all problems under one coefficient set, in one vectorised search.

    A problem with several existing teachers has a row for each; the best row wins, and its lower
    bound is the lowest of all rows.
    """
    batch, counts = to_batches(problems, coefficients)
    tolerance = np.repeat([problem.tolerance for problem in problems], counts)
    found, ties = cheapest_teachers(batch, minimise(batch, tolerance))
    least = _least(batch)
    result, start = [], 0
    for problem, count in zip(problems, counts, strict=True):
        rows = slice(start, start + count)
        start += count
        best = rows.start + int(np.argmin(found.loss[rows]))
        smallest = float(np.min(least[rows])) * (1 + BUDGET_MARGIN)
        if not math.isfinite(found.loss[best]):
            result.append(Answer(problem, None, None, smallest))
            continue
        u, s, n, d = (float(getattr(found, name)[best]) for name in "usnd")
        row = Row(u, s, n, d, tie=bool(ties[best]), teacher=best - rows.start)
        recipe = recipe_of(row, problem, coefficients)
        bound = float(np.min(found.lower_bound[rows]))
        certificate = Certificate(
            lower_bound=bound,
            gap=recipe.student.cross_entropy - bound,
            tolerance=problem.tolerance,
            boxes=int(np.sum(found.boxes[rows])),
        )
        result.append(Answer(problem, recipe, certificate, smallest))
    return result


def _least(batch: Batch) -> Array:
    """FLOPs below which a row has no plan; inf where bounds exclude each other."""
    low, high = reach_range(batch)
    sane = low <= high
    return np.where(sane, smallest_budget(batch, np.where(sane, high, 0.0)), np.inf)


def smallest_budgets(problems: Sequence[Problem], coefficients: CoefficientSet) -> Array:
    """The budget below which each problem has no plan, without solving any."""
    batch, counts = to_batches(problems, coefficients)
    least = np.minimum.reduceat(_least(batch), _firsts(counts))
    return np.asarray(least * (1 + BUDGET_MARGIN))


def _firsts(counts: Sequence[int]) -> Index:
    """The first row of every problem."""
    each = np.asarray(counts, dtype=np.intp)
    return np.asarray(np.cumsum(each) - each, dtype=np.intp)


def smallest_inside(problem: Problem, smallest: float, coefficients: CoefficientSet) -> float:
    """The smallest budget of a plan inside the domain; inf where no budget gives one.

    `smallest` pays for the least sizes and tokens, but the domain also ties the teacher's loss to
    the student's own: whether a plan exists is asked of the solver, for many budgets at once.
    """
    low = math.log(smallest)
    high, steps = low + math.log(MOST_TIMES), np.linspace(0.0, 1.0, PROBES)
    while True:
        budgets = np.exp(low + (high - low) * steps)
        asked = [replace(problem, budget=float(b), tolerance=LOOSE) for b in budgets]
        batch, counts = to_batches(asked, coefficients)
        loss = minimise(batch, LOOSE, polish=False).loss
        fits = np.isfinite(np.minimum.reduceat(loss, _firsts(counts)))
        if not np.any(fits):
            return math.inf
        first = int(np.argmax(fits))
        if first == 0 or high - low < PROBES * BUDGET_MARGIN:
            return float(budgets[first])
        low, high = math.log(budgets[first - 1]), math.log(budgets[first])


def infeasible(problem: Problem, smallest: float, coefficients: CoefficientSet) -> InfeasibleError:
    """The error for a problem without a plan: the budget that would be enough, or why none is."""
    if problem.stay_in_domain and math.isfinite(smallest):
        smallest = smallest_inside(problem, smallest, coefficients)
    return too_small(problem, smallest, coefficients)


def too_small(problem: Problem, smallest: float, coefficients: CoefficientSet) -> InfeasibleError:
    """The same for a smallest budget that is known to have a plan."""
    where = " inside the law's domain of validity" if problem.stay_in_domain else ""
    if problem.stay_in_domain and (reason := outside_reason(problem, coefficients)):
        return InfeasibleError(f"no plan exists{where}: {reason}.")
    if not math.isfinite(smallest) or smallest <= problem.budget:
        return InfeasibleError(
            f"no plan exists{where} at {units.format_flops(problem.budget)} FLOPs: the bounds on "
            "sizes, tokens and cross-entropies exclude each other; widen one of them."
        )
    return InfeasibleError(
        f"a budget of {units.format_flops(problem.budget)} FLOPs is too small{where}: the cheapest "
        f"plan within the bounds needs {_round_up(smallest)} FLOPs; raise --budget, or lower the "
        "least sizes and tokens or the serving tokens.",
        smallest,
    )


def outside_reason(problem: Problem, coefficients: CoefficientSet) -> str:
    """Why no budget at all gives a plan inside the domain; empty if a budget could."""
    domain = coefficients.domain
    if not domain.known:
        return f"the coefficient set '{coefficients.name}' does not state one"
    size = domain.of("student_parameters")
    if problem.student is not None and size and not size[0] <= problem.student <= size[1]:
        return (
            f"a student of {units.format_count(problem.student)} parameters is outside the "
            f"measured sizes {units.format_count(size[0])} to {units.format_count(size[1])}"
        )
    return ""


def _round_up(flops: float) -> str:
    """Four digits, rounded up so that typing them back in is enough."""
    scale = 10.0 ** (math.floor(math.log10(flops)) - 3)
    return units.format_flops(math.ceil(flops / scale) * scale, 4)
