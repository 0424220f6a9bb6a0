"""What one way of training costs over another at equal loss (Fig. 33, 34; data as in Eq. 34).

Ratios are *distillation over supervised*: below one where distilling needs less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import Cost
from planner.documents import Values
from planner.optima import Many
from planner.optimise.batch import Array
from planner.problem import Problem


@dataclass(frozen=True)
class Ratios:
    """Arrays over plans. Zero where supervised training reaches the loss at no cost at all."""

    compute: Annotated[Array, Values()]
    data: Annotated[Array, Values()]
    supervised_flops: Annotated[Array, Values()]
    supervised_tokens: Annotated[Array, Values()]


def at_equal_loss(
    many: Many,
    problems: Sequence[Problem],
    coefficients: CoefficientSet,
    bounded: bool = True,
) -> Ratios:
    """Each plan's FLOPs and tokens over what supervised training needs for the plan's own loss.

    For a given student size the supervised tokens are the law's inverse, in closed form; a free
    size takes the supervised model that needs the fewest FLOPs. Where supervised training cannot
    reach the loss (with `bounded`: within its token bound; otherwise: at all), its cost is infinite
    and the ratio zero. Data are D_S + delta_pretraining D_T (Eq. 34) of a planned teacher.
    """
    sup_flops, sup_tokens = supervised_cost(many.cross_entropy, problems, coefficients, bounded)
    pretraining = np.array([each.charge_pretraining for each in problems])
    teacher = np.where(many.teacher < 0, many.teacher_tokens, 0.0)
    data = many.student_tokens + np.where(pretraining > 0, pretraining * teacher, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Ratios(many.flops / sup_flops, data / sup_tokens, sup_flops, sup_tokens)


def supervised_cost(
    losses: NDArray[np.float64],
    problems: Sequence[Problem],
    coefficients: CoefficientSet,
    bounded: bool = True,
) -> tuple[Array, Array]:
    """(FLOPs, tokens) of the cheapest supervised model that reaches each loss; inf where none."""
    law = coefficients.supervised
    losses = np.asarray(losses, dtype=float)
    fixed = np.array([each.student if each.student is not None else np.nan for each in problems])
    if np.any(np.isnan(fixed)):
        from planner.questions.target.answer import supervised_targets

        found = supervised_targets(losses, problems, coefficients)
        return found.flops, found.tokens
    tokens = np.where(np.isfinite(losses), law.tokens_for_loss(fixed, losses), np.nan)
    least = np.array([each.bounds.student_tokens[0] for each in problems])
    most = np.array([each.bounds.student_tokens[1] for each in problems])
    tokens = np.maximum(tokens, least)
    if bounded:
        tokens = np.where(tokens > most * (1 + 1e-9), np.inf, tokens)
    serving = np.array([each.serving_tokens for each in problems])
    cost = Cost.of(coefficients.flops, fixed, serving_tokens=serving)
    return np.asarray(cost.total(tokens)), np.asarray(tokens)
