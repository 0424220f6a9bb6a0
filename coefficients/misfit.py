"""How far a fitted law may be off beyond its runs: learned from the fit's own extrapolations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coefficients.domain import Range
from laws._types import Array, Real

TEACHER_SCALE = 3.0
"""A teacher's loss lower by a third is as far away as a size larger by a factor of e."""


@dataclass(frozen=True)
class Misfit:
    """Error of the law itself outside its runs, on top of coefficients and scatter.

    rate: half width of the 90% interval of log(truth / law) at distance 1. parameters,
    tokens, flops (N D, without the constant 6), teacher_cross_entropy: the ranges of the fitted
    runs. splits: how many extrapolations the rate was learned from.
    """

    rate: float
    parameters: Range
    tokens: Range
    flops: Range
    teacher_cross_entropy: Range | None = None
    splits: int = 0

    def distance(self, parameters: Real, tokens: Real, teacher_loss: Real | None = None) -> Array:
        """How far runs lie outside the fitted ones, in natural logarithms; zero inside.

        Root of the summed squares of the ways out of the ranges of N, D, N D and, three times, L_T.
        """
        ways = [
            _beyond(parameters, self.parameters),
            _beyond(tokens, self.tokens),
            _beyond(np.multiply(parameters, tokens), self.flops),
        ]
        if self.teacher_cross_entropy is not None and teacher_loss is not None:
            ways.append(TEACHER_SCALE * _beyond(teacher_loss, self.teacher_cross_entropy))
        return np.asarray(np.sqrt(sum(each**2 for each in ways)))

    def half_width(self, parameters: Real, tokens: Real, teacher_loss: Real | None = None) -> Array:
        """Half width of the 90% interval of log(truth / law)."""
        return np.asarray(self.rate * self.distance(parameters, tokens, teacher_loss))

    def widen(
        self, low: Array, middle: Real, high: Array, half_width: Array
    ) -> tuple[Array, Array]:
        """An interval of losses about `middle` with the misfit added, as root of squares."""
        below = np.hypot(np.maximum(np.log(middle / low), 0.0), half_width)
        above = np.hypot(np.maximum(np.log(high / middle), 0.0), half_width)
        return np.asarray(middle * np.exp(-below)), np.asarray(middle * np.exp(above))


def _beyond(value: Real, measured: Range) -> Array:
    log, (low, high) = np.log(value), np.log(measured)
    return np.asarray(np.maximum(np.maximum(low - log, log - high), 0.0))
