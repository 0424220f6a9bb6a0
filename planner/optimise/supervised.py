"""The supervised model at the same budget: the alternative that every plan is measured against.

A geometric program: ``min A / N^alpha + B / D^beta`` subject to ``3 F(N) D + F(N) T <= C``, in
closed form for a given size. For a free size the objective along the frontier is convex in log N,
so bisection on its derivative finds the optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.optimise.batch import Array, Batch

BISECTIONS = 60  # of logarithms of sizes, a range of about 25: to the last digit


@dataclass(frozen=True)
class SupervisedOptima:
    """Best supervised models, arrays over problems; loss is inf where none fits the budget."""

    u: Array
    s: Array
    loss: Array
    smallest: Array

    def smallest_budget(self) -> float:
        """FLOPs of the smallest model on the fewest tokens (first problem)."""
        return float(self.smallest[0])


def supervised_optima(b: Batch) -> SupervisedOptima:
    """Minimise Eq. 1 over the student's size (within bounds) and tokens for every problem."""
    low, high = b.u_low.copy(), np.minimum(b.u_high, _largest_size(b))
    for _ in range(BISECTIONS if np.any(high > low) else 0):
        middle = 0.5 * (low + high)
        falling = _slope(b, middle) < 0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    u = np.maximum(0.5 * (low + high), b.u_low)
    s = np.minimum(_log_tokens(b, u), b.s_high)
    feasible = (s >= b.s_low - 1e-12) & (high >= b.u_low - 1e-12)
    law = b.supervised
    loss = law.loss_of_reach(law.log_reach(u, np.where(feasible, s, 0.0)))
    loss = np.where(feasible, loss, math.inf)
    smallest = b.flops.on_logs(b.u_low)[0] * (3.0 * np.exp(b.s_low) + b.serving)
    return SupervisedOptima(u, s, loss, smallest)


def _log_tokens(b: Batch, u: Array) -> Array:
    flops, _ = b.flops.on_logs(u)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.maximum(b.budget / flops - b.serving, 0.0) / 3.0)


def _largest_size(b: Batch) -> Array:
    """log N at which the budget pays for the fewest tokens allowed."""
    target = b.budget / (3.0 * np.exp(b.s_low) + b.serving)
    low, high = np.full_like(target, -10.0), np.full_like(target, 200.0)
    for _ in range(BISECTIONS if np.any(b.u_high > b.u_low) else 0):
        middle = 0.5 * (low + high)
        under = b.flops.on_logs(middle)[0] <= target
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.where(b.u_high > b.u_low, low, b.u_high)


def _slope(b: Batch, u: Array) -> Array:
    """Sign of the derivative of log reach along the frontier in u; monotone increasing."""
    flops, elasticity = b.flops.on_logs(u)
    s = _log_tokens(b, u)
    capped = s >= b.s_high
    s = np.minimum(s, b.s_high)
    spend = 3.0 * np.exp(s) * flops
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing is left to train on
        trade = np.where(capped, 0.0, elasticity * (spend + b.serving * flops) / spend)
    size_term, data_term = b.supervised.log_terms(u, s)
    return np.asarray(
        np.exp(data_term) * b.supervised.beta * trade - np.exp(size_term) * b.supervised.alpha
    )
