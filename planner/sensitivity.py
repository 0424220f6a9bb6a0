"""Which coefficients move the plan.

Fitted coefficients are correlated, often above 0.99: moving one through its own interval while the
rest stay leaves the region that the runs allow, and overstates its effect up to a hundredfold. So
where a set has draws, a coefficient goes through its interval *with the others as they go with it*:
it shows the plan's mean over the re-optimised draws given the coefficient. Without draws nothing
says how the coefficients go together; each is moved alone by one percent, and reported so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws
from planner.problem import Problem
from planner.results import ALONE, WITH_OTHERS, Pull
from planner.rows import require_distillation
from planner.uncertainty import DRAWS, LEVEL, reoptimise

Array = NDArray[np.float64]

RELATIVE = 0.01
"""How far a coefficient that no draws vary is moved, either way."""

_RECIPE = ("student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens")
_WIDTH = 0.35  # standard deviations over which draws count as having the same coefficient
_STILL = 1e-6  # relative spread below which the draws do not vary a number


def pulls(problem: Problem, coefficients: CoefficientSet) -> tuple[Pull, ...]:
    """The effect of every coefficient: first those that the draws vary, by the share of the
    recipe's variance that goes with them, then the others, by what one percent of each does."""
    named = _named(coefficients)
    varied: list[Pull] = []
    if coefficients.draws_path is not None:
        varied = _with_others(problem, draws.load(coefficients, DRAWS), named)
        names = {pull.coefficient for pull in varied}
        named = {name: value for name, value in named.items() if name not in names}
    return (*varied, *(_alone(problem, coefficients, named) if named else ()))


def _named(coefficients: CoefficientSet) -> dict[str, float]:
    """Every coefficient by its full name; ProblemError without a distillation law."""
    law, form = require_distillation(coefficients), coefficients.supervised
    named = {f"supervised.{name}": float(getattr(form, name)) for name in form.COEFFICIENTS}
    named |= {f"distillation.{name}": float(getattr(law, name)) for name in law.COEFFICIENTS}
    return named


def _value(coefficients: CoefficientSet, key: str) -> Array:
    table, _, name = key.partition(".")
    law = coefficients.supervised if table == "supervised" else coefficients.distillation
    return np.ravel(np.asarray(getattr(law, name), dtype=float))


def _with_others(problem: Problem, laws: CoefficientSet, named: Mapping[str, float]) -> list[Pull]:
    """The re-optimised plan given every coefficient that the draws vary."""
    many = reoptimise(problem, laws)
    feasible = np.isfinite(many.cross_entropy)
    if int(feasible.sum()) < 3:
        return []
    plan = {name: getattr(many, name)[feasible] for name in ("cross_entropy", *_RECIPE)}
    recipe = [np.log(plan[name]) for name in _RECIPE if np.isfinite(plan[name]).all()]
    found = []
    for key in named:
        values = _value(laws, key)[feasible]
        if np.ptp(values) <= _STILL * abs(float(np.median(values))):
            continue
        given = _Given(values)
        low, high = np.percentile(values, _tails())
        found.append(
            Pull(
                key,
                float(low),
                float(high),
                cross_entropy=given.ends(plan["cross_entropy"]),
                student_tokens=given.ends(plan["student_tokens"]),
                teacher_parameters=given.ends(plan["teacher_parameters"]),
                teacher_tokens=given.ends(plan["teacher_tokens"]),
                how=WITH_OTHERS,
                recipe_share=given.share(recipe),
                loss_share=given.share([plan["cross_entropy"]]),
            )
        )
    return sorted(found, key=lambda each: (-(each.recipe_share or 0.0), -(each.loss_share or 0.0)))


def _tails() -> list[float]:
    return [50.0 * (1.0 - LEVEL), 50.0 * (1.0 + LEVEL)]


class _Given:
    """Means over the draws given one coefficient, smoothed over the normal scores of its ranks (so
    that a coefficient and any power of it count the same)."""

    def __init__(self, values: Array) -> None:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - 0.5 * counts) / values.size
        inverse = np.array([NormalDist().inv_cdf(float(share)) for share in middle])
        self.scores = inverse[place.ravel()]

    def mean(self, column: Array, at: Array) -> Array:
        """The mean of a column given each of the scores `at`."""
        apart = (np.asarray(at)[:, None] - self.scores[None]) / _WIDTH
        weights = np.exp(-0.5 * apart**2)
        return np.asarray(weights @ column / weights.sum(axis=1))

    def ends(self, column: Array) -> tuple[float, float]:
        """The (geometric) mean of a column at both ends of the coefficient's interval."""
        if not np.isfinite(column).all():
            return math.nan, math.nan
        end = NormalDist().inv_cdf(0.5 * (1.0 + LEVEL))
        low, high = np.exp(self.mean(np.log(column), np.array([-end, end])))
        return float(low), float(high)

    def share(self, columns: list[Array]) -> float:
        """Share of the columns' summed variance that goes with the coefficient."""
        total = sum(float(column.var()) for column in columns)
        known = sum(float(self.mean(column, self.scores).var()) for column in columns)
        still = _STILL**2 * len(columns)  # rounding of the search is no spread
        return known / total if total > still else 0.0


def _alone(
    problem: Problem, coefficients: CoefficientSet, named: Mapping[str, float]
) -> list[Pull]:
    """Each coefficient one percent down and up while the rest stay: one vectorised solve."""
    every, moved = _named(coefficients), list(named)
    columns = {key: np.full(2 * len(moved), value) for key, value in every.items()}
    for i, key in enumerate(moved):
        columns[key][2 * i : 2 * i + 2] *= (1.0 - RELATIVE, 1.0 + RELATIVE)
    many = reoptimise(problem, _bent(coefficients, columns))

    def pair(values: Array, i: int) -> tuple[float, float]:
        return float(values[2 * i]), float(values[2 * i + 1])

    found = [
        Pull(
            key,
            *pair(columns[key], i),
            cross_entropy=pair(many.cross_entropy, i),
            student_tokens=pair(many.student_tokens, i),
            teacher_parameters=pair(many.teacher_parameters, i),
            teacher_tokens=pair(many.teacher_tokens, i),
            how=ALONE,
        )
        for i, key in enumerate(moved)
    ]
    return sorted(found, key=lambda each: -each.recipe_change)


def _bent(coefficients: CoefficientSet, columns: Mapping[str, Array]) -> CoefficientSet:
    """The set with arrays for coefficients, one element per row."""

    def own(table: str) -> dict[str, Array]:
        prefix = f"{table}."
        return {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}

    law = require_distillation(coefficients)
    supervised = replace(coefficients.supervised, **own("supervised"))
    distillation = replace(law, supervised=supervised, **own("distillation"))
    return replace(coefficients, form=supervised, distillation=distillation)
