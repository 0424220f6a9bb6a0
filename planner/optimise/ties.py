"""Among teachers that give the student the same loss, the one that is cheapest.

Where the budget does not feel the teacher (best case), or has slack because the student's tokens
are capped, every teacher on a contour of equal loss is optimal. Cheapest is the least that the
budget pays for the teacher, training and logits as they are charged; where it pays for neither, the
least training. Both costs are log-convex along the contour, so a walk from the optimum found
towards the cheapest gets cheaper all the way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.optimise import frontier
from planner.optimise.batch import Array, Batch
from planner.optimise.search import Optima

SLACK = 1e-9  # of the budget; less unspent is rounding
MOST_LOGIT = 700.0  # of a share: beyond it the other term is nothing, and infinity is no place


def charged_cost(b: Batch, u: Array, s: Array, n: Array, d: Array) -> Array:
    """Total FLOPs of Eq. 9 with serving: what the budget pays for a plan."""
    student, _ = b.flops.on_logs(u)
    planned, _ = b.flops.on_logs(n)
    teacher = np.where(b.existing, b.teacher_flops, planned)
    pretraining = np.where(b.existing, 0.0, 3.0 * b.charge_pretraining * planned * np.exp(d))
    tokens = np.exp(s)
    return (
        student * (3.0 * tokens + b.serving) + b.charge_inference * teacher * tokens + pretraining
    )


def cheapest_teachers(
    b: Batch, found: Optima, by_training: bool = False
) -> tuple[Optima, NDArray[np.bool_]]:
    """The same optima under the cheapest teachers, and where there was a choice.

    by_training: cheapest to train, as far as the budget reaches, whatever it pays for.
    """
    cost = charged_cost(b, found.u, found.s, found.n, found.d)
    free = (b.charge_inference == 0) & (b.charge_pretraining == 0)
    with np.errstate(invalid="ignore"):
        slack = free | (cost < b.budget * (1 - SLACK))
    rows = np.flatnonzero(found.feasible & ~b.existing & slack)
    choice = np.zeros(len(b), dtype=bool)
    if rows.size == 0:
        return found, choice
    local = b.take(rows)
    u, s, n, d = (getattr(found, name)[rows] for name in "usnd")
    log_p, log_q = local.supervised.log_terms(n, d)
    y, z_now = np.logaddexp(log_p, log_q), log_p - log_q
    z_best = np.where(
        free[rows] | by_training,
        frontier.cheapest_training(local, y),
        frontier.cheapest_charged(local, u, y, s),
    )
    z_best = np.clip(z_best, -MOST_LOGIT, MOST_LOGIT)
    fits = np.zeros(rows.size)  # how far towards the cheapest teacher the budget reaches
    most = np.ones(rows.size)
    # exp(log(tokens)) may cost a rounding error more than the budget: that is no reason to stay
    limit = np.maximum(local.budget, cost[rows]) * (1 + 1e-15)
    step = most.copy()
    for _ in range(60):
        n_try, d_try = _within(local, y, z_now + step * (z_best - z_now))
        ok = charged_cost(local, u, s, n_try, d_try) <= limit
        fits, most = np.where(ok, step, fits), np.where(ok, most, step)
        if np.all(fits == 1.0):
            break
        step = 0.5 * (fits + most)
    n_new, d_new = _within(local, y, z_now + fits * (z_best - z_now))
    choice[rows] = True
    n_all, d_all = found.n.copy(), found.d.copy()
    n_all[rows], d_all[rows] = n_new, d_new
    return replace(found, n=n_all, d=d_all), choice


def _within(b: Batch, y: Array, z: Array) -> tuple[Array, Array]:
    n, d = frontier.teacher(b, y, z)
    return np.clip(n, b.n_low, b.n_high), np.clip(d, b.d_low, b.d_high)
