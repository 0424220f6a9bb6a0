"""Is distilling worth it: every scenario's optimum against supervised training over budgets.

A *crossover* is a budget at which the better method changes. Both sides are proven: on one the
certified lower bound of distillation is above the supervised loss, on the other its loss is below.
Differences smaller than the certified gap have no sign, so a curve that merely touches zero, or
rests on it, has no crossover.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner import units
from planner.documents import unwritten
from planner.errors import InfeasibleError, ProblemError
from planner.needs import Spent
from planner.optima import Many, best_supervised, optimum, solve_many
from planner.optimise.batch import Array
from planner.problem import Problem
from planner.questions.base import Answer
from planner.questions.compare.curves import Comparison, Crossover, Curve
from planner.questions.compare.ratios import at_equal_loss
from planner.questions.compare.spread import with_spread
from planner.recipe import cost_of, flops_of
from planner.results import Coefficients, Flops, Law
from planner.scenarios import scenario_of
from planner.second_opinion import other_losses
from planner.verdict import default_caps

PER_DECADE = 8
"""Budgets per decade of a range unless the user says how many."""

PRECISION = 5e-4
"""Largest log-ratio of the two ends of a crossover's bracket: a budget to 0.05%."""

TIGHT = 1e-8  # nats; the tolerance while refining
EVEN = 1e-9  # nats; differences below this are rounding
ROUNDS = 14
CLOSE = 0.02  # nats; turning points closer to zero than this are searched for double crossings


@dataclass(frozen=True, repr=False)
class Comparisons(Answer):
    """Every student over the budgets. second_opinion: the set of the curves' second opinions.
    resources: what every plan and supervised model takes, where an accelerator is named."""

    KIND: ClassVar[str] = "compare-supervised"

    comparisons: tuple[Comparison, ...]
    coefficients: Coefficients
    second_opinion: str | None = None
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What every feasible plan of the curves costs, and every supervised model."""
        found = []
        for each in self.comparisons:
            for k, budget in enumerate(each.budgets):
                pairs = [(c.scenario, _flops(c, k, each.problem, self.law)) for c in each.curves]
                if np.isfinite(each.supervised[k]):
                    asked = replace(each.problem, budget=float(budget))
                    pairs.append(("supervised", best_supervised(asked, self.law).flops))
                found += [(each.name(way, k), flops) for way, flops in pairs if flops is not None]
        return found


ANSWER = Comparisons


def compare_supervised(
    problem: Problem,
    budgets: Sequence[float] | Array,
    students: Sequence[float | None] = (),
    coefficients: CoefficientSet | None = None,
) -> Comparisons:
    """`compare` with what supervised training needs for the same losses, the second opinion and,
    for a set with draws, the spread of every curve."""

    chosen = problem.coefficient_set(coefficients)
    found = with_spread(compare(problem, budgets, students, chosen), chosen)
    full = tuple(
        replace(each, curves=tuple(_judged(curve, each, chosen) for curve in each.curves))
        for each in found
    )
    return Comparisons(full, Coefficients.of(chosen), chosen.second_opinion, law=chosen)


def _flops(curve: Curve, k: int, problem: Problem, law: CoefficientSet) -> Flops | None:
    """What the curve's plan at its k-th budget costs, by term; None where there is none."""
    plans = curve.plans
    if not plans.feasible[k]:
        return None
    forward = planned = None
    if plans.teacher[k] >= 0:
        forward = problem.teachers[plans.teacher[k]].forward_flops
    else:
        planned = float(plans.teacher_tokens[k])
    size = float(plans.teacher_parameters[k])
    known = bool(np.isfinite(size))
    asked = problem.with_charges(*curve.charges)
    student = float(plans.student_parameters[k])
    cost = cost_of(asked, student, size if known else None, law, forward)
    return flops_of(cost, float(plans.student_tokens[k]), planned or 0.0, known)


def _judged(curve: Curve, comparison: Comparison, coefficients: CoefficientSet) -> Curve:
    asked = comparison.problem.with_charges(*curve.charges)
    problems = [replace(asked, budget=float(budget)) for budget in comparison.budgets]
    return replace(
        curve,
        ratios=at_equal_loss(curve.plans, problems, coefficients),
        second_opinion=other_losses(curve.plans, coefficients),
    )


def budget_grid(low: float, high: float, points: int | None, per_decade: int = PER_DECADE) -> Array:
    """Log-spaced budgets with both ends; `per_decade` unless `points` says how many."""
    if points is None:
        points = max(2, 1 + round(per_decade * np.log10(high / low)))
    if points < 2 or low == high:
        return np.array([low])
    grid = np.geomspace(low, high, points)
    grid[0], grid[-1] = low, high
    return np.asarray(grid)


def compare(
    problem: Problem,
    budgets: Sequence[float] | Array,
    students: Sequence[float | None] = (),
    coefficients: CoefficientSet | None = None,
) -> list[Comparison]:
    """Every scenario of every student over the budgets against supervised training.

    `problem` gives everything but budget and student size (its own where `students` is empty).
    Custom charges of the problem are compared beside the four scenarios. Raises ProblemError for
    an empty grid and InfeasibleError where a student has no plan at any budget.
    """
    budgets = np.unique(np.asarray(budgets, dtype=float))
    if budgets.size == 0:
        raise ProblemError("there are no budgets to compare; the grid is empty.")
    chosen = problem.coefficient_set(coefficients)
    sizes = list(students) or [problem.student]
    templates = [replace(problem, student=size) for size in sizes]
    charges = problem.comparable_charges()
    problems = [
        replace(each, budget=float(budget), charge_inference=i, charge_pretraining=p)
        for each in templates
        for i, p in charges
        for budget in budgets
    ]
    plans = solve_many(problems, chosen)
    shape = (len(templates), len(charges), budgets.size)
    found = []
    for row, template in enumerate(templates):
        curves = []
        for column, pair in enumerate(charges):
            first = (row * shape[1] + column) * shape[2]
            part = slice(first, first + shape[2])
            curves.append(_curve(pair, _slice(plans, part), template, budgets, chosen))
        supervised = plans.supervised_cross_entropy[row * shape[1] * shape[2] :][: shape[2]]
        found.append(Comparison(template, budgets, supervised, tuple(curves)))
    for each in found:
        _require_some(each)
    return _with_crossovers(found, chosen)


def signs(difference: Array, gap: Array) -> NDArray[np.int_]:
    """+1 where supervised is proven better, -1 where distillation is, 0 where neither is."""
    with np.errstate(invalid="ignore"):
        worse = difference - gap > EVEN
        better = difference < -EVEN
    return np.asarray(worse.astype(int) - better.astype(int))


def _curve(
    pair: tuple[float, float],
    plans: Many,
    problem: Problem,
    budgets: Array,
    coefficients: CoefficientSet,
) -> Curve:
    difference, gap = _difference(plans)
    return Curve(
        scenario=scenario_of(*pair),
        charge_inference=pair[0],
        charge_pretraining=pair[1],
        plans=plans,
        difference=difference,
        sign=signs(difference, gap),
        inside=plans.inside(coefficients),
        held=held_by_a_cap(plans.supervised_tokens, problem),
        budgets=budgets,
    )


def held_by_a_cap(supervised_tokens: Array, problem: Problem) -> NDArray[np.bool_]:
    """Where a default bound on tokens, and not the budget, limits the supervised model."""
    if not default_caps(["max-student-tokens"], problem):
        return np.zeros(supervised_tokens.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(supervised_tokens >= problem.bounds.student_tokens[1] * (1 - 1e-9))


def _difference(plans: Many) -> tuple[Array, Array]:
    known = plans.feasible & np.isfinite(plans.supervised_cross_entropy)
    zero = np.zeros(known.shape)
    loss = np.where(known, plans.cross_entropy, zero)
    difference = np.where(
        known, loss - np.where(known, plans.supervised_cross_entropy, zero), np.nan
    )
    gap = np.where(known, loss - np.where(known, plans.lower_bound, zero), np.nan)
    return difference, gap


def _slice(plans: Many, part: slice) -> Many:
    return Many(**{name: values[part] for name, values in vars(plans).items()})


def _require_some(found: Comparison) -> None:
    if any(np.any(np.isfinite(curve.difference)) for curve in found.curves):
        return
    last = replace(found.problem, budget=float(found.budgets[-1]))
    i, p = found.curves[0].charges
    optimum(last.with_charges(i, p))  # raises InfeasibleError with the smallest budget
    raise InfeasibleError(
        f"no budget up to {units.format_flops(last.budget)} FLOPs pays for a supervised model "
        "within the bounds; raise --budget."
    )


# --- crossovers: brackets of proven signs from the grid, refined for all curves at once


@dataclass
class _Bracket:
    """Ends as log budgets with proven signs there and the differences."""

    problem: Problem
    owner: tuple[int, int]
    low: float
    high: float
    d_low: float
    d_high: float
    sign_high: int
    inside: bool = False
    stuck: bool = False


def _with_crossovers(found: list[Comparison], coefficients: CoefficientSet) -> list[Comparison]:
    brackets: list[_Bracket] = []
    extra = _near_touches(found, coefficients)
    for row, comparison in enumerate(found):
        for column, curve in enumerate(comparison.curves):
            x, d = np.log(comparison.budgets), curve.difference
            sign = np.where(curve.held, 0, curve.sign)
            if (row, column) in extra:
                more_x, more_d, more_sign = extra[row, column]
                order = np.argsort(np.concatenate([x, more_x]), kind="stable")
                x = np.concatenate([x, more_x])[order]
                d = np.concatenate([d, more_d])[order]
                sign = np.concatenate([sign, more_sign])[order]
            problem = comparison.problem.with_charges(*curve.charges)
            known = np.flatnonzero(sign != 0)
            for a, b in itertools.pairwise(known):
                if sign[a] != sign[b] and np.all(np.isfinite(d[a : b + 1])):
                    ends = (float(x[a]), float(x[b]), float(d[a]), float(d[b]))
                    brackets.append(_Bracket(problem, (row, column), *ends, int(sign[b])))
    _refine(brackets, coefficients)
    result = []
    for row, comparison in enumerate(found):
        curves = tuple(
            replace(
                curve,
                crossovers=tuple(
                    _crossover(each) for each in brackets if each.owner == (row, column)
                ),
            )
            for column, curve in enumerate(comparison.curves)
        )
        result.append(replace(comparison, curves=curves))
    return result


def _near_touches(
    found: list[Comparison], coefficients: CoefficientSet
) -> dict[tuple[int, int], tuple[Array, Array, NDArray[np.int_]]]:
    """Denser samples around turning points near zero, where two crossings may hide in one step."""
    wanted: list[tuple[tuple[int, int], Problem, float]] = []
    for row, comparison in enumerate(found):
        x = np.log(comparison.budgets)
        for column, curve in enumerate(comparison.curves):
            d, sign = curve.difference, np.where(curve.held, 0, curve.sign)
            for k in range(1, x.size - 1):
                same = sign[k - 1] == sign[k] == sign[k + 1] != 0
                turns = same and abs(d[k]) < min(abs(d[k - 1]), abs(d[k + 1]))
                if turns and abs(d[k]) < CLOSE:
                    problem = comparison.problem.with_charges(*curve.charges)
                    between = np.linspace(x[k - 1], x[k + 1], 34)[1:-1]
                    wanted += [((row, column), problem, float(at)) for at in between]
    if not wanted:
        return {}
    plans = solve_many(
        [replace(p, budget=float(np.exp(at)), tolerance=TIGHT) for _, p, at in wanted],
        coefficients,
        polish=False,
    )
    difference, gap = _difference(plans)
    sign = signs(difference, gap)
    owners = [owner for owner, _, _ in wanted]
    result = {}
    for owner in dict.fromkeys(owners):
        rows = [k for k, each in enumerate(owners) if each == owner]
        at = np.array([wanted[k][2] for k in rows])
        result[owner] = (at, difference[rows], sign[rows])
    return result


def _refine(brackets: list[_Bracket], coefficients: CoefficientSet) -> None:
    """Shrink every bracket to PRECISION, a handful of certified solves per bracket and round."""
    for _ in range(ROUNDS):
        active = [b for b in brackets if b.high - b.low > PRECISION and not b.stuck]
        if not active:
            break
        points = [_probes(b) for b in active]
        problems = [
            replace(b.problem, budget=float(np.exp(x)), tolerance=TIGHT)
            for b, xs in zip(active, points, strict=True)
            for x in xs
        ]
        plans = solve_many(problems, coefficients, polish=False)
        difference, gap = _difference(plans)
        sign = signs(difference, gap)
        first = 0
        for b, xs in zip(active, points, strict=True):
            part = slice(first, first + xs.size)
            first += xs.size
            _shrink(b, xs, difference[part], sign[part])
    if brackets:
        middles = [
            replace(b.problem, budget=float(np.exp(0.5 * (b.low + b.high)))) for b in brackets
        ]
        measured = solve_many(middles, coefficients).inside(coefficients)
        for b, within in zip(brackets, measured, strict=True):
            b.inside = bool(within)


def _probes(b: _Bracket) -> Array:
    """Even points, and points tightly around the straight line's zero."""
    width = b.high - b.low
    zero = b.low + width * b.d_low / (b.d_low - b.d_high)
    near = zero + np.array([-0.03, -0.003, 0.003, 0.03]) * width
    close = zero + np.array([-0.4, 0.4]) * PRECISION
    points = np.concatenate([b.low + width * np.array([0.2, 0.4, 0.6, 0.8]), near, close])
    return np.unique(points[(points > b.low) & (points < b.high)])


def _shrink(b: _Bracket, x: Array, d: Array, sign: NDArray[np.int_]) -> None:
    before = b.high - b.low
    below = np.flatnonzero(sign == -b.sign_high)
    if below.size:
        last = below[-1]
        b.low, b.d_low = float(x[last]), float(d[last])
    above = np.flatnonzero((sign == b.sign_high) & (x > b.low))
    if above.size:
        b.high, b.d_high = float(x[above[0]]), float(d[above[0]])
    b.stuck = b.high - b.low > 0.999 * before


def _crossover(b: _Bracket) -> Crossover:
    better = "supervised" if b.sign_high > 0 else "distil"
    middle = 0.5 * (b.low + b.high)
    budget, low, high = (float(np.exp(at)) for at in (middle, b.low, b.high))
    return Crossover(budget, low, high, better, b.inside)
