"""Robust nonlinear fits, many at once: one numpy batch holds every start or resample.

A step solves ``(H + lam M) step = -gradient`` where H sums J J^T over runs whose residual lies
within delta (the curvature that Huber's function really has) and M weighs all runs by
min(1, delta / |r|) (the majorising curvature of iteratively reweighted least squares). Large lam is
a safe reweighted step, small lam Newton's step on the active set; both are invariant under linear
changes of coordinates.
Deltas shrink in stages, so that a nearly absolute objective is reached from a nearly quadratic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from laws._types import Array
from planner.fit.objective import huber

_LAM = (1e-4, 1e10)
_RIDGE = 1e-11
_LONGEST = 3.0  # largest move of a coordinate in one step (a factor of 20 in a coefficient)
_NOTHING = 1e-200  # curvature whose scale would overflow
_FLAT = 1e-30  # share of the largest curvature below which a coordinate moves no prediction


class Predictor(Interface):
    """What the solver asks of a model."""

    @property
    def lower(self) -> Array: ...

    @property
    def upper(self) -> Array: ...

    def predict(self, theta: Array) -> Array: ...

    def evaluate(self, theta: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Solution:
    """Where a batch ended: coordinates (B, P), objectives, gradient norms and convergence (B,)."""

    theta: Array
    objective: Array
    gradient_norm: Array
    converged: NDArray[np.bool_]
    iterations: int


def stages(delta: float, widest: float = 3e-2, factor: float = 5.0) -> list[float]:
    """Deltas from `widest` down to the one asked for, each a factor smaller."""
    found = [delta]
    while found[-1] * factor < widest:
        found.append(found[-1] * factor)
    return found[::-1]


def minimise(
    model: Predictor,
    observed: Array,
    start: Array,
    delta: float | Array,
    weights: Array | None = None,
    schedule: list[float] | None = None,
    tolerance: float = 1e-11,
    iterations: int = 200,
    free: NDArray[np.bool_] | None = None,
    between: float = 1e-4,
) -> Solution:
    """Minimise ``sum w Huber_delta(prediction - observed)`` from every row of `start`.

    observed: log cross-entropies (n,). start: (B, P). weights: (B, n), ones if absent. delta: a
    number or (B,). schedule: multiples of delta to pass through, last one 1. free: coordinates that
    may move, (P,). A stage ends for a row when its predicted relative decrease is below tolerance,
    or below `between` for the stages before the last.
    """
    theta = np.clip(np.array(start, dtype=float), model.lower, model.upper)
    batch = theta.shape[0]
    weight = np.ones((batch, observed.size)) if weights is None else weights
    final = np.broadcast_to(np.asarray(delta, dtype=float), (batch,))
    free = np.ones(theta.shape[1], dtype=bool) if free is None else free
    used = 0
    multiples = schedule or [1.0]
    for number, multiple in enumerate(multiples):
        last = number == len(multiples) - 1
        done, count = _stage(
            model, observed, theta, final * multiple, weight, free,
            tolerance if last else max(tolerance, between), iterations if last else 12,
        )  # fmt: skip
        used += count
    objective, gradient = objective_and_gradient(model, observed, theta, final, weight)
    free_gradient = np.where(_movable(model, theta, gradient, free), gradient, 0.0)
    return Solution(theta, objective, np.abs(free_gradient).max(axis=1), done, used)


def objective_and_gradient(
    model: Predictor, observed: Array, theta: Array, delta: Array, weight: Array
) -> tuple[Array, Array]:
    """Objectives (B,) and gradients in the coordinates (B, P)."""
    predicted, jacobian = model.evaluate(theta)
    residual = predicted - observed
    limit = delta[:, None]
    value = (weight * huber(residual, limit)).sum(axis=1)
    gradient = _apply(jacobian, weight * np.clip(residual, -limit, limit))
    return value, gradient


def _stage(
    model: Predictor,
    observed: Array,
    theta: Array,
    delta: Array,
    weight: Array,
    free: NDArray[np.bool_],
    tolerance: float,
    iterations: int,
) -> tuple[NDArray[np.bool_], int]:
    """One delta, in place on theta; rows that have converged leave the batch."""
    batch = theta.shape[0]
    done = np.zeros(batch, dtype=bool)
    rows = np.arange(batch)
    now, w, limit = theta.copy(), weight, delta[:, None]
    predicted, jacobian = model.evaluate(now)
    residual = predicted - observed
    value = (w * huber(residual, limit)).sum(axis=1)
    lam = np.full(batch, 1.0)
    count = 0
    for count in range(1, iterations + 1):
        step, decrease, promised = _step(model, now, jacobian, residual, w, limit, lam, free)
        trial = np.clip(now + step, model.lower, model.upper)
        predicted, trial_jacobian = model.evaluate(trial)
        trial_residual = predicted - observed
        trial_value = (w * huber(trial_residual, limit)).sum(axis=1)
        better = trial_value < value
        quality = (value - trial_value) / np.maximum(decrease, 1e-300)
        lam = np.where(better, np.where(quality > 0.5, lam * 0.2, lam), np.maximum(lam, 1e-2) * 6)
        lam = np.clip(lam, *_LAM)
        finished = (promised <= tolerance * value) | (lam >= _LAM[1])
        now[better], residual[better] = trial[better], trial_residual[better]
        jacobian[better], value = trial_jacobian[better], np.where(better, trial_value, value)
        if finished.any():
            theta[rows[finished]] = now[finished]
            done[rows[finished]] = True
            keep = ~finished
            if not keep.any():
                return done, count
            rows, now, lam, value = rows[keep], now[keep], lam[keep], value[keep]
            residual, jacobian, w, limit = residual[keep], jacobian[keep], w[keep], limit[keep]
    theta[rows] = now
    return done, count


def _step(
    model: Predictor,
    theta: Array,
    jacobian: Array,
    residual: Array,
    weight: Array,
    delta: Array,
    lam: Array,
    free: NDArray[np.bool_],
) -> tuple[Array, Array, Array]:
    """Steps (B, P), and what the quadratic model promises of them and of the uncut steps, (B,)."""
    size = np.abs(residual)
    gradient = _apply(jacobian, weight * np.clip(residual, -delta, delta))
    reweighted = weight * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    curvature = weight * (size <= delta) + lam[:, None] * reweighted
    matrix = (jacobian * curvature[:, None, :]) @ jacobian.transpose(0, 2, 1)
    movable = _movable(model, theta, gradient, free)
    # A coordinate without influence would ask for an endless step, and hold up all the others.
    own = np.einsum("bii->bi", matrix)
    movable &= own > np.maximum(_FLAT * own.max(axis=1, keepdims=True), _NOTHING)
    step = _newton(matrix, gradient, movable, lam)
    # A coordinate on its bound that the others would push outward stays, and they make do without.
    at_low, at_high = theta <= model.lower, theta >= model.upper
    while (again := np.flatnonzero(((at_low & (step < 0)) | (at_high & (step > 0))).any(1))).size:
        outward = at_low[again] & (step[again] < 0) | at_high[again] & (step[again] > 0)
        movable[again] &= ~outward
        step[again] = _newton(matrix[again], gradient[again], movable[again], lam[again])
    longest = np.abs(step).max(axis=1)
    cut = np.minimum(1.0, _LONGEST / np.maximum(longest, 1e-300))
    promised = -0.5 * (gradient * step).sum(axis=1)
    return step * cut[:, None], promised * cut, promised


def _newton(matrix: Array, gradient: Array, movable: NDArray[np.bool_], lam: Array) -> Array:
    """``-matrix^-1 gradient`` over the movable coordinates, (B, P); zero in the others."""
    gradient = np.where(movable, gradient, 0.0)
    matrix = np.where(movable[:, :, None] & movable[:, None, :], matrix, 0.0)
    diagonal = np.einsum("bii->bi", matrix)  # a view into the matrix
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    matrix *= scale[:, :, None] * scale[:, None, :]
    diagonal[...] = np.where(diagonal > 0, diagonal + _RIDGE * (1.0 + lam[:, None]), 1.0)
    solved = np.linalg.solve(matrix, (gradient * scale)[:, :, None])[:, :, 0]
    return np.asarray(-scale * solved)


def _movable(
    model: Predictor, theta: Array, gradient: Array, free: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Free coordinates that do not press against a bound."""
    at_low = (theta <= model.lower) & (gradient > 0)
    at_high = (theta >= model.upper) & (gradient < 0)
    return np.asarray(free & ~at_low & ~at_high)


def _apply(jacobian: Array, rows: Array) -> Array:
    return np.asarray((jacobian @ rows[:, :, None])[:, :, 0])
