"""From the best plan of a grid to the bottom of its valley, by the slopes along the frontier.

In one direction (a given size or teacher) the slope's root is bracketed and interpolated; in two,
Newton's method with differences of slopes. Every plan on the way is offered, none is relied upon.
"""

from __future__ import annotations

import numpy as np

from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import Boxes
from planner.optimise.points import Best, Solved, examine

PASSES = 6  # of either method; two or three do where the loss is smooth
PRECISE = 3e-4  # in logarithms: a bracket in which the interpolated root is exact
STEP = 1e-4  # between the points whose slopes give the curvature
FIRST = np.array([-1.0, -0.7, -0.3, 0.0, 0.3, 0.7, 1.0])
LATER = np.array([-1e9, -1.0, -0.03, 0.0, 0.03, 1.0, 1e9])  # with both ends of the bracket


def refine(
    b: Batch, best: Best, tolerance: Array, to_the_end: bool, which: Index | None = None
) -> None:
    """Improve the best plans of these problems (all) in place; without `to_the_end` only as far as
    the proof needs it."""
    wanted = np.full(len(b), which is None)
    wanted[which] = True
    wanted &= np.isfinite(best.loss) & (
        best.loss <= best.least + (np.inf if not best.shared else 1e-3)
    )
    free_y = best.half_y > 0
    free_u = best.half_u > 0
    lines = np.flatnonzero(wanted & (free_y ^ free_u))
    if lines.size:
        _along_line(b, best, lines, tolerance[lines], to_the_end)
    planes = np.flatnonzero(wanted & free_y & free_u)
    if planes.size:
        _in_plane(b, best, planes, tolerance[planes], to_the_end)


def _probe(b: Batch, best: Best, rows: Index, y: Array, u: Array) -> Solved:
    """Plans at points (rows, k) of problems, and slopes there; the best are taken over."""
    k = y.shape[1]
    index = np.repeat(rows, k)
    none = np.zeros(index.size)
    points = Boxes.centred(y.ravel(), u.ravel(), none, none)
    z = np.repeat(best.values["z"][rows], k)
    found = examine(b if len(b) == 1 else b.take(index), points, z)
    half_y, half_u = best.half_y[rows], best.half_u[rows]
    best.offer(index, points, found)
    best.half_y[rows], best.half_u[rows] = half_y, half_u
    return found


def _along_line(b: Batch, best: Best, rows: Index, tolerance: Array, to_the_end: bool) -> None:
    """The root of the slope between the neighbours of the best plan."""
    in_y = best.half_y[rows] > 0
    x = np.where(in_y, best.values["y"][rows], best.values["u"][rows])
    half = np.where(in_y, best.half_y[rows], best.half_u[rows])
    floor = np.where(in_y, best.low[rows], b.u_low[rows])
    roof = np.where(in_y, best.high[rows], b.u_high[rows])
    low, high = np.maximum(x - 2.0 * half, floor), np.minimum(x + 2.0 * half, roof)
    y, u = best.values["y"][rows], best.values["u"][rows]
    spread, guess = FIRST, x
    width = np.maximum(x - low, high - x)
    for _ in range(PASSES if to_the_end else 1):
        at = np.minimum(
            np.maximum(guess[:, None] + width[:, None] * spread, low[:, None]), high[:, None]
        )
        at_y = np.where(in_y[:, None], at, y[:, None])
        at_u = np.where(in_y[:, None], u[:, None], at)
        found = _probe(b, best, rows, at_y, at_u)
        loss = found.loss.reshape(at.shape)
        slope = np.where(
            in_y[:, None], found.slope_y.reshape(at.shape), found.slope_u.reshape(at.shape)
        )
        k = np.argmin(loss, axis=1)
        each = np.arange(rows.size)
        left, right = np.maximum(k - 1, 0), np.minimum(k + 1, at.shape[1] - 1)
        rising = slope[each, k] > 0
        low = np.where(rising, at[each, left], at[each, k])
        high = np.where(rising, at[each, k], at[each, right])
        slopes = (
            np.where(rising, slope[each, left], slope[each, k]),
            np.where(rising, slope[each, k], slope[each, right]),
        )
        third = np.where(rising, right, left)
        guess = _root((low, high, at[each, third]), (*slopes, slope[each, third]))
        whole = np.isfinite(loss[each, left]) & np.isfinite(loss[each, right])
        inside = whole & (guess >= low) & (guess <= high)
        guess = np.where(inside, guess, 0.5 * (low + high))
        width = np.where(inside, 3e-3 * (high - low), 0.5 * (high - low))
        spread = LATER if inside.all() else FIRST
        if np.max(high - low) < PRECISE:
            break
    at_y, at_u = np.where(in_y, guess, y), np.where(in_y, u, guess)
    _probe(b, best, rows, at_y[:, None], at_u[:, None])


def _root(x: tuple[Array, Array, Array], f: tuple[Array, Array, Array]) -> Array:
    """Inverse quadratic interpolation of a root, or the secant's if that leaves the bracket."""
    (a, b, c), (fa, fb, fc) = x, f
    secant = a - fa * (b - a) / (fb - fa)
    curved = (
        a * fb * fc / ((fa - fb) * (fa - fc))
        + b * fa * fc / ((fb - fa) * (fb - fc))
        + c * fa * fb / ((fc - fa) * (fc - fb))
    )
    secant = np.where(fb == fa, a, secant)
    return np.where(np.isfinite(curved) & (curved >= a) & (curved <= b), curved, secant)


def _in_plane(b: Batch, best: Best, rows: Index, tolerance: Array, to_the_end: bool) -> None:
    """Newton's method in (y, u), several lengths of every step tried at once."""
    low_y, high_y, low_u, high_u = best.low, best.high, b.u_low, b.u_high
    y, u = best.values["y"][rows][:, None], best.values["u"][rows][:, None]
    reach_y, reach_u = 2.0 * best.half_y[rows], 2.0 * best.half_u[rows]
    for _ in range(PASSES if to_the_end else 4):
        bounds = [each[rows][:, None] for each in (low_y, high_y, low_u, high_u)]
        # every point with a neighbour in y and one in u, inside the bounds
        step_y = np.where(y + STEP > bounds[1], -STEP, STEP)
        step_u = np.where(u + STEP > bounds[3], -STEP, STEP)
        at_y = np.concatenate([y, y + step_y, y], axis=1)
        at_u = np.concatenate([u, u, u + step_u], axis=1)
        found = _probe(b, best, rows, at_y, at_u)
        n = y.shape[1]
        loss = found.loss.reshape(at_y.shape)
        slope_y, slope_u = (each.reshape(at_y.shape) for each in (found.slope_y, found.slope_u))
        k = np.argmin(loss[:, :n], axis=1)
        each = np.arange(rows.size)
        y0, u0 = y[each, k], u[each, k]
        g_y, g_u = slope_y[each, k], slope_u[each, k]
        h_y, h_u = step_y[each, k], step_u[each, k]
        yy, yu = (slope_y[each, n + k] - g_y) / h_y, (slope_u[each, n + k] - g_u) / h_y
        uy, uu = (slope_y[each, 2 * n + k] - g_y) / h_u, (slope_u[each, 2 * n + k] - g_u) / h_u
        cross = 0.5 * (yu + uy)
        held_y = ((y0 <= low_y[rows]) & (g_y > 0)) | ((y0 >= high_y[rows]) & (g_y < 0))
        held_u = ((u0 <= low_u[rows]) & (g_u > 0)) | ((u0 >= high_u[rows]) & (g_u < 0))
        cross = np.where(held_y | held_u, 0.0, cross)
        determinant = yy * uu - cross**2
        convex = (yy > 0) & (uu > 0) & (determinant > 0)
        move_y = np.where(convex, (cross * g_u - uu * g_y) / determinant, -np.sign(g_y) * reach_y)
        move_u = np.where(convex, (cross * g_y - yy * g_u) / determinant, -np.sign(g_u) * reach_u)
        finite = np.isfinite(move_y) & np.isfinite(move_u)
        move_y = np.where(held_y | ~finite, 0.0, np.clip(move_y, -reach_y, reach_y))
        move_u = np.where(held_u | ~finite, 0.0, np.clip(move_u, -reach_u, reach_u))
        lengths = np.array([1.0, 0.4, 0.1, 0.01])
        y = np.clip(y0[:, None] + move_y[:, None] * lengths, *bounds[:2])
        u = np.clip(u0[:, None] + move_u[:, None] * lengths, *bounds[2:])
        gain = np.abs(g_y * move_y) + np.abs(g_u * move_u)
        if np.all(gain <= (1e-16 if to_the_end else 1e-3 * tolerance)):
            break
    else:
        _probe(b, best, rows, y, u)
