"""Robust nonlinear fits in boxes, many at once: one numpy batch holds every start or resample.

A step minimises ``g.s + s.(H + lam M).s / 2`` over the box, where H sums J J^T over runs whose
residual lies within delta (the curvature that Huber's function really has) and M weighs all runs by
min(1, delta / |r|) (the majorising curvature of iteratively reweighted least squares, so that
lam = 1 never overshoots on a linear model). Large lam is a safe reweighted step, small lam Newton's
step on the active set; both are invariant under linear changes of coordinates.
The box belongs to the quadratic problem itself: a Newton step that is clipped afterwards need not
descend, and an active set that only grows rests at points that are no optima.
Deltas shrink in stages, so that a nearly absolute objective is reached from a nearly quadratic one.

What is minimised is Huber's function of log residuals, under named protocols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from laws._types import Array


@dataclass(frozen=True)
class Protocol:
    """``sum_i w_i Huber_delta(log L_pred - log L_obs)``.

    With `scaled`, the negative log-likelihood of Huber's density instead, whose scale is fitted too
    and whose delta is in units of that scale; for small delta that is least absolute deviations.
    """

    name: str
    delta: float
    scaled: bool = False
    citation: str = ""

    def describe(self) -> str:
        """One line for reports and coefficient files."""
        kind = "Huber log-density with fitted scale" if self.scaled else "Huber on log residuals"
        return f"{kind}, delta = {self.delta:g}"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("paper", 1e-4, citation="Busbridge et al. 2025, App. F.1"),
        Protocol("plain", 1e-3, citation="Hoffmann et al. 2022, Approach 3"),
        Protocol("replication", 1e-3, scaled=True, citation="Besiroglu et al. 2024, Sec. 3"),
    )
}


def huber(residual: Array, delta: float | Array) -> Array:
    """Huber's function: ``r^2 / 2`` within delta, ``delta (|r| - delta / 2)`` beyond."""
    size = np.minimum(np.abs(residual), delta)
    return np.asarray(size * (np.abs(residual) - 0.5 * size))


def scaled_objective(residual: Array, weights: Array, delta: float) -> tuple[Array, Array]:
    """Minimum over the scale of the scaled protocol's objective, and that scale, (B,) each.

    ``sum w [Huber_delta(r / s) + log s] + const``. With u = 1/s it is a convex function of u minus
    W log u; its stationary point ``sum w psi(r u) r u = W`` is found by a monotone fixed point:
    where every residual is beyond delta, s is exactly ``delta sum w |r| / W``.
    """
    total = weights.sum(axis=1)
    size = np.abs(residual)
    scale = delta * (weights * size).sum(axis=1) / total
    for _ in range(200):
        x = size / scale[:, None]
        new = scale * (weights * np.minimum(x, delta) * x).sum(axis=1) / total
        if np.all(np.abs(new - scale) <= 1e-14 * scale):
            break
        scale = new
    value = (weights * huber(residual / scale[:, None], delta)).sum(axis=1) + total * np.log(scale)
    normaliser = math.sqrt(2 * math.pi) * math.erf(delta / math.sqrt(2))
    normaliser += 2.0 * math.exp(-0.5 * delta**2) / delta
    return value + total * math.log(normaliser), scale


_LAM = (1e-4, 1e10)
_RIDGE = 1e-11
_LONGEST = 3.0  # largest move of a coordinate in one step (a factor of 20 in a coefficient)
_NOTHING = 1e-200  # curvature whose scale would overflow
_FLAT = 1e-30  # share of the largest curvature below which a coordinate moves no prediction
_EXACT = 1e-15  # relative precision of a prediction
_STUCK = 1e-10  # relative decrease that rounding may hide where no step lowers the objective
_HALVINGS = 12  # of a step in search of the least linearised objective along it
_ROUNDS = 4  # rounds of the active set per coordinate


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
    tolerance: float = 1e-15,
    iterations: int = 200,
    free: NDArray[np.bool_] | None = None,
    between: float = 1e-4,
) -> Solution:
    """Minimise ``sum w Huber_delta(prediction - observed)`` from every row of `start`.

    observed: log cross-entropies (n,), or each row's own (B, n). start: (B, P). weights: (B, n),
    ones if absent. delta: a number or (B,). schedule: multiples of delta to pass through, last one
    1. free: coordinates that may move, (P,). A stage ends for a row when its predicted relative
    decrease is below tolerance,
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
    # A gain below this is rounding of the predictions themselves.
    rounding = w.sum(axis=1) * huber(_EXACT * (1.0 + np.abs(observed).max()), delta)
    observed = np.broadcast_to(observed, w.shape)
    lam = np.full(batch, 1.0)
    count = 0
    for count in range(1, iterations + 1):
        step, decrease, promised = _step(model, now, jacobian, residual, w, limit, lam, free)
        trial = np.clip(now + step, model.lower, model.upper)
        predicted, trial_jacobian = model.evaluate(trial)
        trial_residual = predicted - observed
        trial_value = (w * huber(trial_residual, limit)).sum(axis=1)
        settled = promised <= tolerance * value + rounding
        # The last step sharpens the gradient where the objective's digits no longer show it.
        better = (trial_value < value) | (settled & (trial_value <= value * (1.0 + _EXACT)))
        quality = (value - trial_value) / np.maximum(decrease, 1e-300)
        stuck = ~better & (lam >= _LAM[1])
        finished = settled | stuck
        lam = np.where(better, np.where(quality > 0.5, lam * 0.2, lam), np.maximum(lam, 1e-2) * 6)
        lam = np.clip(lam, *_LAM)
        now[better], residual[better] = trial[better], trial_residual[better]
        jacobian[better], value = trial_jacobian[better], np.where(better, trial_value, value)
        if finished.any():
            theta[rows[finished]] = now[finished]
            done[rows[finished]] = (settled | (promised <= _STUCK * value))[finished]
            keep = ~finished
            if not keep.any():
                return done, count
            rows, now, lam, value = rows[keep], now[keep], lam[keep], value[keep]
            residual, jacobian, w, limit = residual[keep], jacobian[keep], w[keep], limit[keep]
            rounding, observed = rounding[keep], observed[keep]
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
    """Steps (B, P), what the quadratic model promises of them, and what it promises at least of the
    best step under M alone, whatever lam (the measure of optimality), (B,)."""
    size = np.abs(residual)
    gradient = _apply(jacobian, weight * np.clip(residual, -delta, delta))
    reweighted = weight * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    curvature = weight * (size <= delta) + lam[:, None] * reweighted
    matrix = (jacobian * curvature[:, None, :]) @ jacobian.transpose(0, 2, 1)
    # A coordinate without influence would ask for an endless step, and hold up all the others.
    own = np.einsum("bii->bi", matrix)
    movable = free & (own > np.maximum(_FLAT * own.max(axis=1, keepdims=True), _NOTHING))
    scale = np.where(movable, 1.0 / np.sqrt(np.where(movable, own, 1.0)), 0.0)
    matrix = matrix * scale[:, :, None] * scale[:, None, :]
    gradient = gradient * scale
    diagonal = np.einsum("bii->bi", matrix)  # a view into the matrix
    diagonal[...] = np.where(movable, diagonal + _RIDGE * (1.0 + lam[:, None]), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(movable, (model.lower - theta) / scale, 0.0)
        high = np.where(movable, (model.upper - theta) / scale, 0.0)
    scaled = _boxed(matrix, gradient, low, high)
    linear = (gradient * scaled).sum(axis=1)
    bent = 0.5 * (scaled * _apply(matrix, scaled)).sum(axis=1)
    step = scaled * scale
    step = np.where(scaled <= low, model.lower - theta, step)
    step = np.where(scaled >= high, model.upper - theta, step)
    step = np.where(movable, step, 0.0)
    cut = np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-300))
    cut *= _along(residual, _apply(jacobian.transpose(0, 2, 1), step * cut[:, None]), weight, delta)
    promised = -(linear + bent)
    # H <= M, so the best decrease under M is at most (1 + lam) times that under H + lam M.
    return step * cut[:, None], -cut * (linear + cut * bent), (1.0 + lam) * promised


def _along(residual: Array, change: Array, weight: Array, delta: Array) -> Array:
    """Shares of steps, at most 1, at which the objective of the linearised model is least, (B,).

    Kinks that a step crosses are not in its quadratic model; the slope along it, a rising function,
    knows them all.
    """
    share = np.ones(residual.shape[0])
    rows = np.flatnonzero(_slope(residual + change, change, weight, delta) > 0)
    if not rows.size:
        return share
    r, d, w, limit = residual[rows], change[rows], weight[rows], delta[rows]
    low, high = np.zeros(rows.size), np.ones(rows.size)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        beyond = _slope(r + middle[:, None] * d, d, w, limit) > 0
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    share[rows] = high
    return share


def _slope(residual: Array, change: Array, weight: Array, delta: Array) -> Array:
    return np.asarray((weight * np.clip(residual, -delta, delta) * change).sum(axis=1))


def _boxed(matrix: Array, gradient: Array, low: Array, high: Array) -> Array:
    """Minimisers of ``g.s + s.Q.s / 2`` over boxes that hold zero, (B, P): a primal active set.

    matrix: positive definite with a unit diagonal, nearly. Every round either walks towards the
    minimum over the free coordinates as far as the box allows, or, once there, frees the held
    coordinate that presses hardest into the box; both lower the objective, so no set comes twice.
    """
    batch, size = gradient.shape
    step = np.zeros_like(gradient)
    held = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0)) | (low >= high)
    rows = np.arange(batch)
    pressing = 1e-14 * np.abs(gradient).max(axis=1)
    for _ in range(_ROUNDS * size):
        now, stay = step[rows], held[rows]
        q, least, most = matrix[rows], low[rows], high[rows]
        slope = gradient[rows] + _apply(q, now)
        moving = ~stay
        inner = q * (moving[:, :, None] & moving[:, None, :])
        np.einsum("bii->bi", inner)[stay] = 1.0
        ahead = -np.linalg.solve(inner, np.where(moving, slope, 0.0)[:, :, None])[:, :, 0]
        ahead = np.where(moving, ahead, 0.0)
        room = np.where(ahead < 0, least - now, most - now)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(ahead != 0, room / ahead, np.inf)
        along = np.minimum(1.0, reach.min(axis=1))
        blocked = (reach <= along[:, None]) & (along < 1.0)[:, None]
        now = np.clip(now + along[:, None] * ahead, least, most)
        now = np.where(blocked, np.where(ahead < 0, least, most), now)
        stay = stay | blocked
        slope = gradient[rows] + _apply(q, now)
        into = np.where(now <= least, -slope, 0.0) + np.where(now >= most, slope, 0.0)
        into = np.where(stay & (least < most), into, 0.0)
        worst = into.argmax(axis=1)
        there = along >= 1.0
        wrong = there & (into[np.arange(rows.size), worst] > pressing[rows])
        stay[wrong, worst[wrong]] = False
        step[rows], held[rows] = now, stay
        rows = rows[~there | wrong]
        if not rows.size:
            break
    return step


def _movable(
    model: Predictor, theta: Array, gradient: Array, free: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Free coordinates that do not press against a bound."""
    at_low = (theta <= model.lower) & (gradient > 0)
    at_high = (theta >= model.upper) & (gradient < 0)
    return np.asarray(free & ~at_low & ~at_high)


def _apply(jacobian: Array, rows: Array) -> Array:
    return np.asarray((jacobian @ rows[:, :, None])[:, :, 0])
