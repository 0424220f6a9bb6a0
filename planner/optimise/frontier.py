"""The inner problem: the most student tokens for a teacher of given quality.

For a student size u and a teacher reach y, choose teacher size n and tokens d to

    maximise s   subject to   G(u, s, n, d) <= log C   and   H(n, d) <= y,

with ``G = log(3 F_S e^s + F_S T + F_T (di e^s + 3 dp e^d))`` and ``H = log(A e^(-alpha n) +
B e^(-beta d))``. Both are logarithms of posynomials, hence convex: a geometric program. Two things
follow that the whole proof of optimality rests on.

1. The set of feasible (u, y, s) is convex, so the most tokens s*(u, y) is a *concave* function and
   any supporting plane bounds it from above.
2. Any point and any multiplier mu >= 0, optimal or not, give such a plane: for feasible points
   ``log C + mu y >= G + mu H >= linearisation of G + mu H``. The plane of `Frontier.plane` adds the
   worst case of the residuals over the bounds of n and d. So the bound does not depend on how well
   Newton's method below converged; convergence only makes it tight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.optimise.batch import Array, Batch, forward_flops

NEWTON_STEPS = 60
ROUNDOFF = 1e-14  # of a logarithm; it matters where the student's share g_s of the cost is tiny
NEWTON_TOLERANCE = 1e-6  # of the last step; the error after it is of the order of its square


@dataclass(frozen=True)
class Frontier:
    """Solutions of the inner problem and a plane over each, arrays of one shape.

    s: log tokens reached, never below the smallest allowed (then `feasible` is False).
    The plane: ``s*(u', y') <= height + along_y (y' - y) + along_u (u' - u)`` for all feasible.
    """

    n: Array
    d: Array
    t: Array
    s: Array
    feasible: NDArray[np.bool_]
    height: Array
    along_y: Array
    along_u: Array
    z: Array


def solve(b: Batch, u: Array, y: Array, start: Array | None = None) -> Frontier:
    """The frontier above (u, y). `start` is a guess of z, the teacher's logit share, per point."""
    student, student_elasticity = forward_flops(b, u)
    rest = b.budget - student * b.serving
    least = np.maximum(b.s_low, b.ratio_low + u)
    least_tokens = np.exp(least)
    z = _teacher_share(b, student, rest, least_tokens, y, start)
    n, d = teacher(b, y, z)
    n, d = np.clip(n, b.n_low, b.n_high), np.clip(d, b.d_low, b.d_high)

    planned, elasticity = forward_flops(b, n)
    flops = np.where(b.existing, b.teacher_flops, planned)
    charge_d = np.where(b.existing, 0.0, b.charge_pretraining)
    training = 3.0 * charge_d * planned * np.exp(d)
    per_token = 3.0 * student + b.charge_inference * flops
    affordable = (rest - training) / per_token
    tokens = np.maximum(affordable, least_tokens)
    s = np.log(tokens)

    log_p, log_q = b.log_a - b.alpha * n, b.log_b - b.beta * d
    reach = np.logaddexp(log_p, log_q)
    p, q = np.exp(log_p - reach), np.exp(log_q - reach)
    cost = per_token * tokens + student * b.serving + training
    planning = ~b.existing
    g_s = per_token * tokens / cost
    g_u = student_elasticity * student * (3.0 * tokens + b.serving) / cost
    g_n = planning * elasticity * (b.charge_inference * flops * tokens + training) / cost
    g_d = planning * training / cost
    h_n, h_d = b.alpha * p, b.beta * q

    def lift(mu: Array) -> Array:
        slack = _worst(g_n - mu * h_n, n, b.n_low, b.n_high, planning)
        slack = slack + _worst(g_d - mu * h_d, d, b.d_low, b.d_high, planning)
        return mu * (y - reach) - slack + ROUNDOFF * (1.0 + mu * (1.0 + np.abs(y)))

    # any mu >= 0 is valid: take the tighter of the two, so that a teacher a hair's breadth off a
    # bound of its size or tokens (Newton stops there) does not get the useless one
    mu_n = planning * g_n / np.maximum(h_n, 1e-300)
    mu_d = planning * g_d / np.maximum(h_d, 1e-300)
    lift_n, lift_d = lift(mu_n), lift(mu_d)
    by_n = lift_n < lift_d
    mu = np.where(by_n, mu_n, mu_d)
    height = s + (np.log(b.budget / cost) + np.where(by_n, lift_n, lift_d)) / g_s
    return Frontier(
        n=n,
        d=d,
        t=np.where(b.existing, b.teacher_loss, b.E + np.exp(b.gamma * reach)),
        s=s,
        feasible=affordable >= least_tokens * (1.0 - 1e-15),
        height=height,
        along_y=mu / g_s,
        along_u=-g_u / g_s,
        z=z,
    )


def share_range(b: Batch, y: Array) -> tuple[Array, Array]:
    """Range of z that keeps the teacher within the bounds of its size and tokens."""
    log_p = b.log_a - b.alpha * np.stack(np.broadcast_arrays(b.n_high, b.n_low)) - y
    log_q = b.log_b - b.beta * np.stack(np.broadcast_arrays(b.d_low, b.d_high)) - y
    by_size, by_tokens = _logit(log_p), -_logit(log_q)
    low = np.maximum(by_size[0], by_tokens[0])
    return low, np.maximum(low, np.minimum(by_size[1], by_tokens[1]))


def _teacher_share(
    b: Batch, student: Array, rest: Array, least_tokens: Array, y: Array, start: Array | None
) -> Array:
    """z = log(p / (1 - p)), p the share of the size term in the teacher's reach, at the optimum.

    Without pretraining charged, the teacher should be as small as its tokens allow: z at its upper
    end. Otherwise the stationary point solves ``z = log(beta / alpha) + log e_F(n) + log(1 + di D /
    (3 dp D_T))``, monotone along the frontier, by Newton's method within a bracket.
    """
    low, high = share_range(b, y)
    search = (b.charge_pretraining > 0) & ~b.existing
    if not np.any(search):
        return np.broadcast_to(high, np.broadcast_shapes(high.shape, y.shape)).astype(float)
    bottom, top = low, high
    offset = np.log(b.beta / b.alpha)
    z = np.clip(offset + 0.0 * y if start is None else start, low, high)
    three_dp = np.where(search, 3.0 * b.charge_pretraining, 1.0)
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-z))
        q = 1.0 - p
        n, d = teacher(b, y, z)
        flops, elasticity = forward_flops(b, n)
        teacher_tokens = np.exp(d)
        training = three_dp * flops * teacher_tokens
        per_token = 3.0 * student + b.charge_inference * flops
        tokens = (rest - training) / per_token
        short = tokens < least_tokens
        tokens = np.where(short, least_tokens, tokens)
        ratio = b.charge_inference * tokens / (three_dp * teacher_tokens)
        value = z - offset - np.log(elasticity) - np.log1p(ratio)
        n_slope, d_slope = -q / b.alpha, p / b.beta
        token_slope = np.where(
            short,
            0.0,
            -training * (elasticity * n_slope + d_slope) / (tokens * per_token)
            - b.charge_inference * flops * elasticity * n_slope / per_token,
        )
        slope = 1.0 - ratio / (1.0 + ratio) * (token_slope - d_slope)
        bottom, top = np.where(value < 0, z, bottom), np.where(value < 0, top, z)
        with np.errstate(invalid="ignore"):  # z is infinite where a bound leaves one term nothing
            step = z - value / slope
        inside = (step > bottom) & (step < top) & (slope > 0)
        # the first step past an end goes to the end itself: the optimum often lies on a bound
        end = np.where((step >= top) & (top == high), high, 0.5 * (bottom + top))
        end = np.where((step <= bottom) & (bottom == low), low, end)
        fresh = np.where(inside, step, end)
        with np.errstate(invalid="ignore"):
            change = np.where(fresh == z, 0.0, np.abs(fresh - z))
        moved = np.max(change, where=search & (np.abs(value) > 0), initial=0.0)
        z = fresh
        if moved < NEWTON_TOLERANCE:
            break
    return np.where(search, z, high)


def teacher(b: Batch, y: Array, z: Array) -> tuple[Array, Array]:
    """(n, d) on the contour H = y with the size term taking the share p = 1 / (1 + e^-z)."""
    n = (b.log_a - y + np.logaddexp(0.0, -z)) / b.alpha
    d = (b.log_b - y + np.logaddexp(0.0, z)) / b.beta
    return n, d


def _worst(
    residual: Array, at: Array, low: Array, high: Array, planning: NDArray[np.bool_]
) -> Array:
    """The least that a residual of the linearisation can contribute within the bounds."""
    return np.where(planning, np.minimum(residual * (low - at), residual * (high - at)), 0.0)


def _logit(log_p: Array) -> Array:
    """``log(p / (1 - p))`` from ``log p``; +inf for p >= 1."""
    log_p = np.minimum(log_p, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(log_p - np.log(-np.expm1(log_p)))


def smallest_budget(b: Batch, y: Array) -> Array:
    """FLOPs below which no plan fits: the smallest student on the fewest tokens under the cheapest
    teacher of reach y (the weakest one allowed)."""
    u = b.u_low
    student, _ = forward_flops(b, u)
    tokens = np.exp(np.maximum(b.s_low, b.ratio_low + u))
    z = _teacher_share(b, student, np.full_like(student, -1.0), tokens, y, None)
    n, d = teacher(b, y, z)
    planned, _ = forward_flops(b, np.clip(n, b.n_low, b.n_high))
    flops = np.where(b.existing, b.teacher_flops, planned)
    pretraining = np.where(b.existing, 0.0, 3.0 * b.charge_pretraining * planned)
    return np.asarray(
        student * (3.0 * tokens + b.serving)
        + b.charge_inference * flops * tokens
        + pretraining * np.exp(np.clip(d, b.d_low, b.d_high))
    )


def cheapest_charged(b: Batch, u: Array, y: Array, s: Array) -> Array:
    """z of the teacher of reach y for which the budget pays least, given the student's tokens."""
    student, _ = forward_flops(b, u)
    nothing_left = np.full_like(student, -1.0)  # so that the tokens stay as they are
    return _teacher_share(b, student, nothing_left, np.exp(s), y, None)


def cheapest_training(b: Batch, y: Array) -> Array:
    """z of the teacher of reach y that costs the fewest FLOPs to train, charged or not."""
    train_only = replace(
        b,
        charge_inference=np.zeros_like(b.budget),
        charge_pretraining=np.ones_like(b.budget),
        teacher_loss=np.full_like(b.budget, np.nan),
    )
    anything = np.ones_like(y)
    return _teacher_share(train_only, anything, -anything, anything, y, None)
