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

from laws._types import log_sum
from planner.optimise.batch import Array, Batch, Index

NEWTON_STEPS = 60
NEWTON_TOLERANCE = 1e-5  # of the last step; the error after it is of the order of its square
STALLED = 1e-3  # of the equation that it solves
FEW = 64  # points: fewer cost a call of numpy no less
ROUNDOFF = 1e-14  # of a logarithm; it matters where the student's share g_s of the cost is tiny
FEASIBLE = 1e-12
"""The one tolerance of feasibility: plans may miss the fewest tokens allowed by this share, and a
box is given up where the tokens that its plane allows miss them by more."""
_TINY = 1e-300


@dataclass(frozen=True)
class Frontier:
    """Solutions of the inner problem and a plane over each, arrays of one shape.

    s: log tokens reached, never below the smallest allowed (then `feasible` is False); log_t: log
    of the teacher's cross-entropy.
    The plane: ``s*(u', y') <= height + along_y (y' - y) + along_u (u' - u)`` for all feasible.
    """

    n: Array
    d: Array
    log_t: Array
    s: Array
    feasible: NDArray[np.bool_]
    height: Array
    along_y: Array
    along_u: Array
    z: Array

    @property
    def t(self) -> Array:
        """The teacher's cross-entropy."""
        return np.exp(self.log_t)


@dataclass(frozen=True)
class Penalised(Batch):
    """A batch with a frontier of its own, whose planes over points without a plan stand below the
    fewest tokens: limits are missed at a penalty."""

    def frontier(self, u: Array, y: Array) -> Frontier:
        """The frontier above (u, y)."""
        raise NotImplementedError


def solve(b: Batch, u: Array, y: Array, start: Array | None = None) -> Frontier:
    """The frontier above (u, y). `start` is a guess of z, the teacher's logit share, per point."""
    if isinstance(b, Penalised):
        return b.frontier(u, y)
    existing = b.existing
    planning = None if not existing.any() else ~existing
    student, student_elasticity = b.flops.on_logs(u)
    served = student * b.serving
    least = np.maximum(b.s_low, b.ratio_low + u)
    least_tokens = np.exp(least)
    z = _teacher_share(b, student, b.budget - served, least_tokens, y, start)
    n, d = teacher(b, y, z)
    n = np.minimum(np.maximum(n, b.n_low), b.n_high)
    d = np.minimum(np.maximum(d, b.d_low), b.d_high)

    planned, elasticity = b.flops.on_logs(n)
    training = 3.0 * b.charge_pretraining * planned * np.exp(d)
    flops = planned
    if planning is not None:
        training = np.where(planning, training, 0.0)
        flops = np.where(planning, planned, b.teacher_flops)
    logits = b.charge_inference * flops
    per_token = 3.0 * student + logits
    affordable = (b.budget - served - training) / per_token
    tokens = np.maximum(affordable, least_tokens)
    s = np.log(tokens)

    law = b.supervised
    q, reach = log_sum(*law.log_terms(n, d))
    own = per_token * tokens
    cost = own + served + training
    g_s = own / cost
    g_u = student_elasticity * (student * 3.0 * tokens + served) / cost
    g_n = elasticity * (logits * tokens + training) / cost
    g_d = training / cost
    h_n, h_d = law.alpha * (1.0 - q), law.beta * q
    if planning is not None:
        g_n, g_d = g_n * planning, g_d * planning

    # any mu >= 0 is valid: take the tighter of two, each of which leaves nothing of one residual,
    # so that a teacher a hair's breadth off a bound of its size or tokens does not get the useless
    mu_n, mu_d = g_n / np.maximum(h_n, _TINY), g_d / np.maximum(h_d, _TINY)
    room = y - reach
    rounding = ROUNDOFF * (1.0 + np.abs(y))
    lift_n = mu_n * (room + rounding) - _worst(g_d - mu_n * h_d, d, b.d_low, b.d_high)
    lift_d = mu_d * (room + rounding) - _worst(g_n - mu_d * h_n, n, b.n_low, b.n_high)
    mu = np.where(lift_n < lift_d, mu_n, mu_d)
    lift = np.minimum(lift_n, lift_d) + ROUNDOFF
    log_t = np.log(law.loss_of_reach(reach))
    if planning is not None:
        mu, lift = mu * planning, np.where(planning, lift, ROUNDOFF)
        log_t = np.where(planning, log_t, np.log(b.teacher_loss))
    return Frontier(
        n=n,
        d=d,
        log_t=log_t,
        s=s,
        feasible=affordable >= least_tokens * (1.0 - FEASIBLE),
        height=s + (np.log(b.budget / cost) + lift) / g_s,
        along_y=mu / g_s,
        along_u=-g_u / g_s,
        z=z,
    )


def share_range(b: Batch, y: Array) -> tuple[Array, Array]:
    """Range of z that keeps the teacher within the bounds of its size and tokens."""
    log_p0, log_q0 = b.supervised.log_terms(b.n_low, b.d_low)
    log_p1, log_q1 = b.supervised.log_terms(b.n_high, b.d_high)
    low = np.maximum(_logit(log_p1 - y), -_logit(log_q0 - y))
    high = np.minimum(_logit(log_p0 - y), -_logit(log_q1 - y))
    return low, np.maximum(low, high)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # z may be infinite on a bound
def _teacher_share(
    b: Batch, student: Array, rest: Array, least_tokens: Array, y: Array, start: Array | None
) -> Array:
    """z = log(p / (1 - p)), p the share of the size term in the teacher's reach, at the optimum.

    Without pretraining charged, the teacher should be as small as its tokens allow: z at its upper
    end. Otherwise the stationary point solves ``z = log(beta / alpha) + log e_F(n) + log(1 + di D /
    (3 dp D_T))``, monotone along the frontier, by Newton's method within a bracket. Rows that have
    converged leave.
    """
    low, high = share_range(b, y)
    high = np.broadcast_to(high, np.broadcast_shapes(high.shape, np.shape(y))).astype(float)
    search = (b.charge_pretraining > 0) & ~b.existing
    if not search.any():
        return high
    law = b.supervised
    guess = np.log(law.beta / law.alpha) + np.zeros_like(high) if start is None else start
    z = np.minimum(np.maximum(guess, low), high)
    rows: Index | None = None  # those still moving, None while all do
    if not search.all() and search.size == z.size:
        rows = np.flatnonzero(search)
    result = np.where(search, z, high)
    work = _Newton(b, student, rest, least_tokens, y, low, high, z)
    if rows is not None:
        work = work.take(rows)
    for _ in range(NEWTON_STEPS):
        moving = work.step()
        count = np.count_nonzero(moving)
        if count == 0:
            break
        if count < 0.6 * moving.size and moving.size > FEW:
            if rows is None:
                rows = np.arange(z.size)
            result[rows] = work.z
            still = np.flatnonzero(moving)
            rows, work = rows[still], work.take(still)
    if rows is None:
        return work.z
    result[rows] = work.z
    return result


class _Newton:
    """Newton's method for z at many points, within a bracket."""

    ARRAYS = ("student", "rest", "least", "y", "low", "high", "bottom", "top", "z", "di", "dp")

    def __init__(
        self, b: Batch, student: Array, rest: Array, least: Array, y: Array,
        low: Array, high: Array, z: Array,
    ) -> None:  # fmt: skip
        self.law, self.flops = b.supervised, b.flops
        self.student, self.rest, self.least, self.y = 3.0 * student, rest, least, y
        self.low = self.bottom = low
        self.high = self.top = high
        self.z = z
        self.di = b.charge_inference
        self.dp = np.where(b.charge_pretraining > 0, 3.0 * b.charge_pretraining, 1.0)

    def take(self, index: Index) -> _Newton:
        """The points at these positions."""
        part = object.__new__(_Newton)
        part.law, part.flops = self.law.take(index), self.flops.take(index)
        for name in self.ARRAYS:
            value = getattr(self, name)
            setattr(part, name, value[index] if np.size(value) > 1 else value)
        return part

    def step(self) -> NDArray[np.bool_]:
        """One step of every point; returns which are still moving."""
        law, z = self.law, self.z
        p, soft = log_sum(-z, 0.0)
        q = 1.0 - p
        n = (law.log_A - self.y + soft) / law.alpha
        d = (law.log_B - self.y + soft + z) / law.beta
        flops, elasticity = self.flops.on_logs(n)
        trained = np.exp(d)
        training = self.dp * flops * trained
        logits = self.di * flops
        per_token = self.student + logits
        tokens = (self.rest - training) / per_token
        short = tokens < self.least
        tokens = np.maximum(tokens, self.least)
        ratio = self.di * tokens / (self.dp * trained)
        value = z - np.log(law.beta / law.alpha * elasticity * (1.0 + ratio))
        n_slope, d_slope = q / law.alpha, p / law.beta  # of -n and d
        lost = training * (d_slope - elasticity * n_slope) / tokens
        token_slope = np.where(short, 0.0, (logits * elasticity * n_slope - lost) / per_token)
        slope = 1.0 - ratio / (1.0 + ratio) * (token_slope - d_slope)
        below = value < 0
        self.bottom = bottom = np.where(below, z, self.bottom)
        self.top = top = np.where(below, self.top, z)
        fresh = z - value / slope
        inside = (fresh > bottom) & (fresh < top) & (slope > 0)
        if not inside.all():
            # the first step past an end goes to the end itself: the optimum often lies on a bound
            end = np.where((fresh >= top) & (top == self.high), self.high, 0.5 * (bottom + top))
            end = np.where((fresh <= bottom) & (bottom == self.low), self.low, end)
            fresh = np.where(inside, fresh, end)
        self.z = fresh
        change = np.where((fresh == z) | (value == 0), 0.0, np.abs(fresh - z))
        # where nearly all of the budget goes to the teacher steps are small far from the root too
        stalled = (np.abs(value) > STALLED) & (change > 1e-13)
        return np.asarray((change > NEWTON_TOLERANCE) | stalled)


def teacher(b: Batch, y: Array, z: Array) -> tuple[Array, Array]:
    """(n, d) on the contour H = y with the size term taking the share p = 1 / (1 + e^-z)."""
    law, soft = b.supervised, log_sum(-z, 0.0)[1]
    return (law.log_A - y + soft) / law.alpha, (law.log_B - y + soft + z) / law.beta


def _worst(residual: Array, at: Array, low: Array, high: Array) -> Array:
    """The least that a residual of the linearisation can contribute within the bounds."""
    return np.minimum(residual * (low - at), residual * (high - at))


def _logit(log_p: Array) -> Array:
    """``log(p / (1 - p))`` from ``log p``; +inf for p >= 1."""
    log_p = np.minimum(log_p, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(log_p - np.log(-np.expm1(log_p)))


def smallest_budget(b: Batch, y: Array) -> Array:
    """FLOPs below which no plan fits: the smallest student on the fewest tokens under the cheapest
    teacher of reach y (the weakest one allowed)."""
    u = b.u_low
    student, _ = b.flops.on_logs(u)
    tokens = np.exp(np.maximum(b.s_low, b.ratio_low + u))
    z = _teacher_share(b, student, np.full_like(student, -1.0), tokens, y, None)
    n, d = teacher(b, y, z)
    planned, _ = b.flops.on_logs(np.clip(n, b.n_low, b.n_high))
    flops = np.where(b.existing, b.teacher_flops, planned)
    pretraining = np.where(b.existing, 0.0, 3.0 * b.charge_pretraining * planned)
    return np.asarray(
        student * (3.0 * tokens + b.serving)
        + b.charge_inference * flops * tokens
        + pretraining * np.exp(np.clip(d, b.d_low, b.d_high))
    )


def cheapest_charged(b: Batch, u: Array, y: Array, s: Array) -> Array:
    """z of the teacher of reach y for which the budget pays least, given the student's tokens."""
    student, _ = b.flops.on_logs(u)
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
