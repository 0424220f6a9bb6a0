"""Array types and two numerically safe helpers shared by the laws."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Real: TypeAlias = float | Array
"""A number or a float64 array. Every law broadcasts over its arguments *and* its coefficients."""


def log_expm1(x: Real) -> Array:
    """``log(exp(x) - 1)`` for x > 0 without overflow or cancellation; ``-inf`` for x <= 0."""
    x = np.asarray(x, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(x > 0, x + np.log(-np.expm1(-x)), -np.inf)


def log_sub_exp(x: Real, y: Real) -> Array:
    """``log(exp(x) - exp(y))``; ``-inf`` where x <= y."""
    x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(y), x, y + log_expm1(x - y))


def log_sum(x: Real, y: Real) -> tuple[Array, Array]:
    """``exp(y) / (exp(x) + exp(y))`` and ``log(exp(x) + exp(y))``; half the cost of logaddexp."""
    ratio = np.exp(-np.abs(y - x))
    share = np.where(y > x, 1.0, ratio) / (1.0 + ratio)
    return np.asarray(share), np.asarray(np.maximum(x, y) + np.log1p(ratio))
