"""Random batches, boxes and feasible points for the tests of the optimiser's parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import load
from planner.optimise import Batch

Array = NDArray[np.float64]


def batch(count: int, rng: np.random.Generator, **fixed: Any) -> Batch:
    """Random problems under the default set: sizes 1e8-3e10, budgets 1e19-1e25, any charges."""
    size = np.log(10 ** rng.uniform(8, 10.5, count))
    values: dict[str, Any] = {
        "budget": 10 ** rng.uniform(19, 25, count),
        "charge_inference": rng.choice([0.0, 1.0, 0.37], count),
        "charge_pretraining": rng.choice([0.0, 1.0, 0.125], count),
        "u_low": size,
        "u_high": size,
        "s_low": np.log(1e6),
        "s_high": np.log(1e17),
        "n_low": np.log(1e6),
        "n_high": np.log(1e17),
        "d_low": np.log(1e6),
        "d_high": np.log(1e17),
    }
    law, flops = load().distillation, load().flops
    assert law is not None
    return Batch.broadcast(law.supervised, law, flops, **{**values, **fixed})


def random_teachers(b: Batch, rng: np.random.Generator) -> tuple[Array, Array]:
    """(n, d) uniformly in the logarithms of the bounds."""
    return rng.uniform(b.n_low, b.n_high), rng.uniform(b.d_low, b.d_high)


def tokens_left(b: Batch, u: Array, n: Array, d: Array) -> Array:
    """s from Eq. 9, written out once more; NaN where the teacher costs more than there is."""

    def flops(x: Array) -> Array:
        size, c = np.exp(x), b.flops
        return c.parameter * size + c.attention * size ** (2 / 3) + c.head * size ** (1 / 3)

    rest = b.budget - 3 * b.charge_pretraining * flops(n) * np.exp(d) - flops(u) * b.serving
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(rest / (3 * flops(u) + b.charge_inference * flops(n)))
