"""A second opinion: what another coefficient set says of the same recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws, load
from planner.optima import Many
from planner.results import Baseline, Interval, Recipe, SecondOpinion
from planner.rows import require_distillation
from planner.uncertainty import DRAWS, drawn_losses, interval, recipe_losses

Array = NDArray[np.float64]

ALARM = 0.01
"""Relative disagreement (the law's own claimed error), or regret in nats, that changes a bet."""


def second_opinion(
    recipe: Recipe, baseline: Baseline, own: Recipe | None, coefficients: CoefficientSet
) -> SecondOpinion | None:
    """The view of the set that this one names as its second opinion; None if it names none.

    own: that set's optimum of the same problem, if it has one.
    """
    if coefficients.second_opinion is None:
        return None
    other = load(coefficients.second_opinion)
    view = other_view(recipe, coefficients)
    assert view is not None
    theirs, spread = view.cross_entropy, view.interval
    model = baseline.model
    return SecondOpinion(
        source=other.name,
        cross_entropy=theirs,
        interval=spread,
        supervised=float(other.supervised.loss(model.parameters, model.tokens)),
        optimum=own,
        regret=None if own is None else theirs - own.student.cross_entropy,
        disagrees=view.disagrees,
    )


def other_set(coefficients: CoefficientSet) -> CoefficientSet | None:
    """The set that this one names as its second opinion, counting FLOPs as this one does.

    None if it names none.
    """
    if coefficients.second_opinion is None:
        return None
    return replace(load(coefficients.second_opinion), flops=coefficients.flops)


@dataclass(frozen=True)
class OtherView:
    """What the set's second opinion predicts for a recipe, without an optimum of its own.

    `disagrees`: by more than the intervals. `matters`: and by more than the law's own error.
    """

    source: str
    cross_entropy: float
    disagrees: bool
    matters: bool
    interval: Interval | None = None


def other_view(recipe: Recipe, coefficients: CoefficientSet) -> OtherView | None:
    """The other set's prediction for any recipe; None if the set names no second opinion."""
    if coefficients.second_opinion is None:
        return None
    other = load(coefficients.second_opinion)
    ours, theirs = recipe.student.cross_entropy, float(recipe_losses(recipe, other)[0])
    spread = _interval(recipe, other)
    apart = _apart(ours, _interval(recipe, coefficients), theirs, spread)
    large = abs(theirs - ours) > ALARM * ours
    return OtherView(other.name, theirs, apart, apart and large, spread)


def other_losses(plans: Many, coefficients: CoefficientSet) -> Array | None:
    """The other set's cross-entropies of many plans, NaN where there is none; None without one."""
    if coefficients.second_opinion is None:
        return None
    other = load(coefficients.second_opinion)
    law = require_distillation(other)
    with np.errstate(invalid="ignore"):
        planned = other.supervised.loss(plans.teacher_parameters, plans.teacher_tokens)
        teacher = np.where(plans.teacher >= 0, plans.teacher_cross_entropy, planned)
        found = law.loss(plans.student_parameters, plans.student_tokens, teacher)
    return np.where(plans.feasible, found, np.nan)


def _interval(recipe: Recipe, coefficients: CoefficientSet) -> Interval | None:
    if coefficients.draws_path is None:
        return None
    return interval(drawn_losses(recipe, draws.load(coefficients, DRAWS)))


def _apart(ours: float, a: Interval | None, theirs: float, b: Interval | None) -> bool:
    """Whether the intervals do not touch; a set without draws has a point for an interval."""
    low_a, high_a = (a.low, a.high) if a else (ours, ours)
    low_b, high_b = (b.low, b.high) if b else (theirs, theirs)
    return low_a > high_b or low_b > high_a
