"""The most student tokens under further constraints: the barrier method for many points.

For a student size u and a teacher of reach y at most, choose s, n and d (and how far limits may be
missed, v) to

    maximise  s - SMALL (n + d) - PENALTY v   subject to  K_j(u, s, n, d) <= v,  H(n, d) <= y + v

with every K_j and H the logarithm of a posynomial, hence convex. The penalty gives every point an
answer, and multipliers that say where plans are. Any multipliers >= 0 give a plane above the most
tokens (`frontier`); those of the optimum give the tightest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from planner.optimise.batch import Array, Index

PENALTY = 1e3  # in log tokens, for a limit missed by 1 in its logarithm
SMALL = 1e-8  # of teachers that leave as many tokens the smaller, on fewer tokens
STEPS = 150
FIRST, SHARPER, LAST = 1e-2, 30.0, 1e9  # the optimum is missed by some ten times 1 / LAST

Limits = Callable[[Array, Index], tuple[Array, Array, Array]]
"""Values (points, limits), gradients (points, limits, 3) and Hessians (points, limits, 3, 3) at
points (points, 3): s, n, d; the rows say which of the given points they belong to."""


def most_tokens(limits: Limits, start: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Optimal points (points, 3) and multipliers of the limits (points, limits).

    start: points (points, 3) with n and d inside their ranges; low, high: (3,) ranges of s, n, d.
    """
    points = len(start)
    moving = np.arange(points)
    value, _, _ = limits(start, moving)
    count = value.shape[1]
    w = np.concatenate([start, np.max(value, axis=1, keepdims=True).clip(0.0) + 1.0], axis=1)
    cost = np.array([-1.0, SMALL, SMALL, PENALTY])
    free = high > low
    # sides: w - high <= 0 and low - w <= 0, and v >= 0
    sides = np.concatenate([np.eye(3, 4)[free], -np.eye(3, 4)[free], [[0.0, 0.0, 0.0, -1.0]]])
    edge = np.concatenate([high[free], -low[free], [0.0]])

    def every(w: Array, rows: Index) -> tuple[Array, Array, Array]:
        value, gradient, hessian = limits(w[:, :3], rows)
        value = np.concatenate([value - w[:, 3:], w @ sides.T - edge], axis=1)
        slope = np.zeros((len(w), value.shape[1], 4))
        slope[:, :count, :3], slope[:, :count, 3] = gradient, -1.0
        slope[:, count:] = sides
        return value, slope, hessian

    value, slope, hessian = every(w, moving)
    sharp = np.full(points, FIRST)  # how much the objective weighs beside the barrier
    result, dual = w.copy(), 1.0 / -value
    for _ in range(STEPS):
        near = 1.0 / -value
        bend = np.einsum("pj,pja,pjb->pab", near**2, slope, slope)
        bend[:, :3, :3] += np.einsum("pj,pjab->pab", near[:, :count], hessian)
        pull = sharp[:, None] * cost + np.einsum("pj,pja->pa", near, slope)
        step = -np.linalg.solve(bend + 1e-12 * np.eye(4), pull[..., None])[..., 0]
        decrement = np.sqrt(np.maximum(-np.sum(pull * step, axis=1), 0.0))
        length = np.where(decrement > 0.5, 1.0 / (1.0 + decrement), 1.0)
        for _ in range(60):  # back until all limits hold
            fresh = w + length[:, None] * step
            value, slope, hessian = every(fresh, moving)
            outside = ~np.all(value < 0.0, axis=1)
            if not outside.any():
                break
            length = np.where(outside, 0.5 * length, length)
        w, good = fresh, ~outside  # one that cannot move stays where it was
        rows = moving[good]
        result[rows] = w[good]
        dual[rows] = _balanced(1.0 / (sharp[good, None] * -value[good]), slope[good], cost)
        central = decrement < 0.5
        on = ~(central & (sharp >= LAST) | outside)
        sharp = np.where(central, np.minimum(sharp * SHARPER, LAST), sharp)
        if not on.any():
            break
        moving, w, sharp = moving[on], w[on], sharp[on]
        value, slope, hessian = value[on], slope[on], hessian[on]
    return result[:, :3], dual[:, :count]


def _balanced(multiplier: Array, slope: Array, cost: Array) -> Array:
    """Multipliers that cancel the objective's gradient.

    Rounding in limits that hold by a hair leaves a residual, which would count over whole ranges of
    n and d; the least relative changes of the multipliers take it away.
    """
    for _ in range(2):
        residual = cost + np.einsum("pj,pja->pa", multiplier, slope)
        scaled = slope * multiplier[..., None]
        gram = np.einsum("pja,pjb->pab", scaled, scaled)
        gram += 1e-14 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(4)
        turn = np.linalg.solve(gram, -residual[..., None])[..., 0]
        multiplier = np.maximum(
            multiplier + multiplier * np.einsum("pja,pa->pj", scaled, turn), 0.0
        )
    return multiplier
