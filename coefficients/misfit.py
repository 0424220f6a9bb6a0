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

    parameters, tokens, flops (N D, without the constant 6), teacher_cross_entropy: the ranges of
    the fitted runs. The rate of each is the half width of the 90% interval of log(truth / law) a
    factor of e outside its range, of teachers' losses where they are lower by a third. splits: how
    many extrapolations the rates were learned from.
    """

    parameters: Range
    tokens: Range
    flops: Range
    parameters_rate: float
    tokens_rate: float
    flops_rate: float
    teacher_cross_entropy: Range | None = None
    teacher_rate: float = 0.0
    splits: int = 0

    def ways(
        self, parameters: Real, tokens: Real, teacher_loss: Real | None = None
    ) -> dict[str, Array]:
        """How far runs lie outside each range, in natural logarithms (three times that of teachers'
        losses); zero inside."""
        found = {
            "parameters": _beyond(parameters, self.parameters),
            "tokens": _beyond(tokens, self.tokens),
            "flops": _beyond(np.multiply(parameters, tokens), self.flops),
        }
        if self.teacher_cross_entropy is not None and teacher_loss is not None:
            found["teacher"] = TEACHER_SCALE * _beyond(teacher_loss, self.teacher_cross_entropy)
        return found

    def half_width(self, parameters: Real, tokens: Real, teacher_loss: Real | None = None) -> Array:
        """Half width of the 90% interval of log(truth / law): the largest that any way asks for."""
        ways = self.ways(parameters, tokens, teacher_loss)
        asked = [getattr(self, f"{name}_rate") * way for name, way in ways.items()]
        return np.asarray(np.max(np.broadcast_arrays(*asked), axis=0))

    def spread(self, losses: Array, half_width: Real) -> Array:
        """Losses of the law under draws to losses with its error beyond its runs, normal in the
        logarithm; the same input, the same output.

        losses: (draws,) or (draws, ...); half_width: one, or one for each.
        """
        place = np.arange(losses.shape[0]) + 0.5
        first, second = (np.mod(place * ratio, 1.0) for ratio in _PLASTIC)
        normal = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
        deviation = normal.reshape(-1, *(1,) * (losses.ndim - 1)) / _NINETY
        return np.asarray(losses * np.exp(deviation * half_width))

    def widen(
        self, low: Array, middle: Real, high: Array, half_width: Array
    ) -> tuple[Array, Array]:
        """An interval of losses about `middle` with the misfit added, as root of squares."""
        below = np.hypot(np.maximum(np.log(middle / low), 0.0), half_width)
        above = np.hypot(np.maximum(np.log(high / middle), 0.0), half_width)
        return np.asarray(middle * np.exp(-below)), np.asarray(middle * np.exp(above))


_PLASTIC = (0.7548776662466927, 0.5698402909980532)  # two steps that fill a square evenly
_NINETY = 1.6448536269514722  # standard deviations of half of a central 90%


def _beyond(value: Real, measured: Range) -> Array:
    log, (low, high) = np.log(value), np.log(measured)
    return np.asarray(np.maximum(np.maximum(low - log, log - high), 0.0))
