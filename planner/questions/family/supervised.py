"""The rival of a family: train every student on data, one budget split among them at its best.

``L(N, D)`` of Eq. 1 is convex and decreasing in D for gamma <= 1, so equal marginal gains per FLOP
are the optimum: one price for all, found by bisection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._types import log_sum
from planner.optimise.batch import Array
from planner.optimise.bound import supervised_loss
from planner.questions.family.fleet import Fleet

BISECTIONS = 64


@dataclass(frozen=True)
class Direct:
    """Log tokens (P, K) and weighted mean cross-entropy (P,); inf where the budget is too small."""

    s: Array
    loss: Array


def split_directly(f: Fleet) -> Direct:
    """The best supervised split of every problem's budget among its students."""
    b, law = f.b, f.b.supervised
    student, _ = b.flops.on_logs(f.u)
    per_token = 3.0 * student * f.copies / f.budget[:, None]
    low = np.broadcast_to(b.s_low, per_token.shape).astype(float)
    high = np.broadcast_to(b.s_high, per_token.shape).astype(float)
    present = f.copies > 0

    def tokens(log_price: Array) -> Array:
        """Where a kind's gain per unit of log tokens meets the price of them."""
        bottom, top = low, high
        for _ in range(BISECTIONS):
            s = 0.5 * (bottom + top)
            share, reach = log_sum(*law.log_terms(f.u, s))
            gain = f.weight * law.gamma * law.beta * share * np.exp(law.gamma * reach)
            with np.errstate(divide="ignore", invalid="ignore"):
                worth = np.log(gain) - np.log(per_token) - s > log_price[:, None]
            bottom, top = np.where(worth, s, bottom), np.where(worth, top, s)
        return np.where(present, 0.5 * (bottom + top), low)

    cheap, dear = np.full(f.budget.shape, -200.0), np.full(f.budget.shape, 200.0)
    for _ in range(BISECTIONS):
        price = 0.5 * (cheap + dear)
        cost = np.sum(np.where(present, per_token * np.exp(tokens(price)), 0.0), axis=1)
        over = cost > 1.0
        cheap, dear = np.where(over, price, cheap), np.where(over, dear, price)
    s = tokens(dear)
    cost = np.sum(np.where(present, per_token * np.exp(s), 0.0), axis=1)
    loss = np.sum(f.weight * supervised_loss(b, f.u, s), axis=1)
    return Direct(s, np.where(cost <= 1 + 1e-9, loss, np.inf))
