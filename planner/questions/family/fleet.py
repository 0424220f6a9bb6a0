"""Many students under one teacher as arrays: the inner problem of `plan family` at a given teacher.

Legend beyond `planner.optimise.batch`: M boxes (teachers), K kinds of student, P problems. Kind k
stands for `copies` equal students that share one weight; s has shape (M, K).

For a teacher of reach y and shape z the budget is shared among the students' tokens,

    minimise  sum_k w_k S_k(s_k, t)   subject to
    sum_k c_k 3 F_k D_k + di F_T T + 3 dp F_T D_T <= C,

where T is the sum of all tokens, or the longest run if the teacher's logits are stored and every
student reads them. The proof in `fleet_bound` holds at any point; Newton's method here makes it
tight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laws import DistillationLaw
from laws._types import log_sum
from planner.errors import ProblemError
from planner.optimise import frontier
from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import supervised_loss, teacher_loss

Mask = NDArray[np.bool_]
STEPS = 80
ROUNDS = 6  # of who reads the whole store of logits
SETTLED = 1e-10
EDGE = 1e-9
NUDGE = 1e-5


@dataclass(frozen=True)
class Fleet:
    """Problems that differ in copies, weights and budget; `b` is one row: law, charges, bounds.

    u: (K,) log sizes; weight, copies: (P, K), a kind with no copies has weight 0; budget: (P,).
    """

    b: Batch
    u: Array
    weight: Array
    copies: Array
    budget: Array
    cached: bool

    def limits(self, y: Array, half: Array) -> tuple[Array, Array]:
        """Least and most log tokens of every kind for reaches within ``y +- half``: a superset of
        what each single reach allows, exactly that for half = 0. Shapes (M, K)."""
        b = self.b
        low = np.maximum(b.s_low, b.ratio_low + self.u) + 0.0 * y[:, None]
        high = np.minimum(b.s_high, b.ratio_high + self.u) + 0.0 * y[:, None]
        if np.any(np.isfinite(b.rho_high)):
            strongest = teacher_loss(b, y - half)[:, None] / b.rho_high
            high = np.minimum(high, b.supervised.log_tokens_for_loss(self.u, strongest))
        if np.any(b.rho_low > 0):
            weakest = teacher_loss(b, y + half)[:, None] / b.rho_low
            low = np.maximum(low, b.supervised.log_tokens_for_loss(self.u, weakest))
        return low, high


@dataclass(frozen=True)
class Points:
    """Students' tokens under given teachers, with the price that proves how good they are.

    price: lambda, nats that the whole budget is worth at the margin. reading: (M, K), how many
    times a kind's tokens pass through the teacher: its copies, or its part in the longest run,
    which sums to one.
    """

    y: Array
    z: Array
    n: Array
    d: Array
    t: Array
    s: Array
    loss: Array
    price: Array
    reading: Array


@dataclass(frozen=True)
class Value:
    """log S and what falls out of it, at (M, K) or (M, K, J)."""

    log_second: Array
    elasticity: Array  # -d log S / d s
    gate: Array
    sup_elasticity: Array  # -d log Lsup / d s
    own: Array  # gamma' beta' times the share of the data term


def equation_8(b: Batch) -> DistillationLaw:
    """The batch's law, whose terms the bounds on families take apart; ProblemError for another."""
    if not isinstance(b.distillation, DistillationLaw):
        raise ProblemError(
            f"families are planned under Eq. 8 only, not under {type(b.distillation).__name__}; "
            "plan each student by itself."
        )
    return b.distillation


def value(b: Batch, u: Array, s: Array, t: Array) -> Value:
    """The second term of Eq. 8 and its elasticity in the tokens."""
    supervised = supervised_loss(b, u, s)
    log_t = np.log(t)
    law, own_law = equation_8(b), b.supervised
    v = (log_t - np.log(supervised) - law.log_d1) / law.f1
    share, both = log_sum(*law.log_terms(u, s))
    log_second = -law.c0 * log_t - law.c1 * law.f1 * np.logaddexp(0.0, v) + law.gamma * both
    q, _ = log_sum(*own_law.log_terms(u, s))
    gate = np.exp(-np.logaddexp(0.0, -v))
    sup_elasticity = own_law.gamma * own_law.beta * q * (supervised - own_law.E) / supervised
    own = law.gamma * law.beta * share
    return Value(log_second, law.c1 * gate * sup_elasticity + own, gate, sup_elasticity, own)


def solve(f: Fleet, row: Index, y: Array, z: Array | None = None) -> Points:
    """Share the budget of problem `row` among the students of teachers of reach y and shape z;
    without z, of the best shape."""
    budget, weight, copies = f.budget[row], f.weight[row], f.copies[row]
    low, high = f.limits(y, np.zeros_like(y))
    t = teacher_loss(f.b, y)
    student, _ = f.b.flops.on_logs(f.u)
    even = np.log(budget)[:, None] - np.log(student.sum() * 6.0)
    s = np.clip(even + np.zeros_like(low), low, np.maximum(low, high))
    free = z is None
    z = _first_share(f.b, y) if z is None else z
    shared = f.cached and bool(np.all(f.b.charge_inference > 0))
    pooled = np.broadcast_to(copies > 0, s.shape).copy() if shared else np.zeros(s.shape, bool)
    for _ in range(ROUNDS if shared else 1):
        s, z, price = _newton(f, y, t, z, s, low, high, weight, copies, budget, pooled, free)
        if not shared:
            break
        fresh = _pool(f, s, t, z, y, weight, copies, budget, price, pooled)
        if np.array_equal(fresh, pooled):
            break
        pooled = fresh
    c = _costs(f, y, z, copies)
    s, cost = _fit(c, s, low, high, copies, budget, shared)
    capped = np.all((s >= high) | (copies == 0), axis=1)
    price = np.where(capped & (cost < budget * (1 - 1e-6)), 0.0, price)
    reading = copies
    if shared:
        pull = np.maximum(_pull(f, s, t, z, y, weight, copies, budget, price), 0.0) * pooled
        longest = s >= np.max(np.where(copies > 0, s, -np.inf), axis=1, keepdims=True) - EDGE
        some = np.any(pull > 0, axis=1, keepdims=True)
        pull = np.where(some, pull, longest & (copies > 0))
        reading = pull / pull.sum(axis=1, keepdims=True)
    b = f.b
    fits = (cost <= budget * (1 + 1e-12)) & np.all((low <= high) | (copies == 0), axis=1)
    fits &= b.existing | (
        (c.n >= b.n_low - EDGE) & (c.n <= b.n_high + EDGE)
        & (c.d >= b.d_low - EDGE) & (c.d <= b.d_high + EDGE)
    )  # fmt: skip
    second = np.exp(value(b, f.u, s, t[:, None]).log_second)
    loss = np.where(fits, t + np.sum(weight * second, axis=1), np.inf)
    return Points(y, z, c.n, c.d, t, s, loss, price, reading)


@dataclass(frozen=True)
class _Costs:
    """Charged FLOPs: training per token of a kind (all copies), logits per token, fixed, total."""

    training: Array  # (M, K) per token
    logits: Array  # (M,) per token of the teacher
    pretraining: Array  # (M,)
    elasticity: Array  # d log F_T / d n
    n: Array
    d: Array


def _costs(f: Fleet, y: Array, z: Array, copies: Array) -> _Costs:
    b = f.b
    n, d = frontier.teacher(b, y, z)
    planned, elasticity = b.flops.on_logs(n)
    flops = np.where(b.existing, b.teacher_flops, planned)
    charge = np.where(b.existing, 0.0, 3.0 * b.charge_pretraining)
    student, _ = b.flops.on_logs(f.u)
    return _Costs(
        training=3.0 * student * copies,
        logits=b.charge_inference * flops,
        pretraining=charge * planned * np.exp(d),
        elasticity=np.where(b.existing, 0.0, elasticity),
        n=n,
        d=d,
    )


def _read(s: Array, copies: Array, shared: bool) -> Array:
    """Tokens whose logits the teacher computes, (M,)."""
    tokens = np.where(copies > 0, np.exp(s), 0.0)
    return np.asarray(np.max(tokens, axis=1) if shared else np.sum(copies * tokens, axis=1))


def _newton(
    f: Fleet, y: Array, t: Array, z: Array, s: Array, low: Array, high: Array, weight: Array,
    copies: Array, budget: Array, pooled: Mask, free_shape: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Tokens, the teacher's share z and the price of log cost, from the optimality conditions.

    Pooled kinds all read the whole store: they move as one student.
    """
    b = f.b
    shared = bool(np.any(pooled))
    z_low, z_high = frontier.share_range(b, y)
    planning = free_shape and bool(np.all((b.charge_pretraining > 0) & ~b.existing))
    present = copies > 0
    log_price = np.zeros_like(y)
    for _ in range(STEPS):
        if np.any(pooled):
            top = np.max(np.where(pooled, s, -np.inf), axis=1, keepdims=True)
            s = np.where(pooled, np.clip(top, low, high), s)
        c = _costs(f, y, z, copies)
        tokens = np.exp(s)
        per_token = c.training + (0.0 if shared else c.logits[:, None] * copies)
        spent = per_token * tokens
        store = c.logits * _read(s, copies, shared) if shared else np.zeros_like(y)
        cost = spent.sum(axis=1) + store + c.pretraining
        here, there = (value(b, f.u, s + h, t[:, None]) for h in (0.0, NUDGE))
        gain = weight * np.exp(here.log_second) * here.elasticity
        nudged = weight * np.exp(there.log_second) * there.elasticity
        gain, nudged, spent = _merge(gain, pooled), _merge(nudged, pooled), _merge(spent, pooled)
        spent = spent + np.where(pooled, store[:, None], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            q = np.log(gain / spent * budget[:, None])
            slope = np.minimum(np.log(nudged / gain) / NUDGE - 1.0, -0.05)
        leader = present & (~pooled | (np.cumsum(pooled, axis=1) == 1))
        pinned = ((s <= low) & (q < log_price[:, None])) | ((s >= high) & (q > log_price[:, None]))
        free = leader & ~pinned & np.isfinite(q)
        # all at their most, and too dear together: the price at which the last one gives way
        dearest = np.max(np.where(leader & np.isfinite(q), q, -80.0), axis=1) + NUDGE
        g = np.where(free, spent / cost[:, None], 0.0)
        q, slope = np.where(free, q, 0.0), np.where(free, slope, -1.0)
        weighty = g / slope
        total = weighty.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            fresh = (np.log(budget / cost) + (weighty * q).sum(axis=1)) / total
        before = log_price
        stuck = np.where(cost > budget, dearest, -80.0)
        log_price = np.clip(np.where(total < 0, fresh, stuck), -80.0, 80.0)
        aim = np.where(free, (log_price[:, None] - q) / slope, 0.0)
        step = np.clip(aim, -1.5, 1.5)
        if np.any(pooled):
            lead = np.sum(np.where(pooled & leader, step, 0.0), axis=1, keepdims=True)
            step = np.where(pooled, lead, step)
        moved_s = np.clip(s + step, low, high)
        moved_z = z
        if planning:
            read = _read(moved_s, copies, shared)
            moved_z = np.clip(_shape_step(b, z, c.d, c.elasticity, read), z_low, z_high)
        change = max(
            float(np.max(np.abs(moved_s - s) * present, initial=0.0)),
            float(np.max(np.abs(moved_z - z), initial=0.0)),
            float(np.max(np.abs(log_price - before), initial=0.0)),
        )
        s, z = moved_s, moved_z
        if change < SETTLED:
            break
    return s, z, np.exp(log_price)


def _shape_step(b: Batch, z: Array, d: Array, elasticity: Array, read: Array) -> Array:
    """A step towards the cheapest teacher's ``z = log(beta / alpha) + log e_F + log(1 + di T /
    (3 dp D_T))`` at T tokens read; see `planner.optimise.frontier`."""
    ratio = b.charge_inference * read / (3.0 * b.charge_pretraining * np.exp(d))
    p = 1.0 / (1.0 + np.exp(-z))
    law = b.supervised
    miss = z - np.log(law.beta / law.alpha) - np.log(elasticity) - np.log1p(ratio)
    step = miss / (1.0 + ratio / (1.0 + ratio) * p / law.beta)
    return np.asarray(z - np.clip(step, -2.0, 2.0))


def cheapest_teacher(b: Batch, y: Array, read: Array) -> tuple[Array, Array]:
    """(n, d) of the teacher of reach y that costs least to train and to read T tokens with."""
    low, high = frontier.share_range(b, y)
    z = _first_share(b, y)
    for _ in range(STEPS):
        n, d = frontier.teacher(b, y, z)
        fresh = np.clip(_shape_step(b, z, d, b.flops.on_logs(n)[1], read), low, high)
        settled = np.max(np.abs(fresh - z), initial=0.0) < SETTLED
        z = fresh
        if settled:
            break
    return frontier.teacher(b, y, z)


def _merge(each: Array, pooled: Mask) -> Array:
    total = np.sum(np.where(pooled, each, 0.0), axis=1, keepdims=True)
    return np.where(pooled, total, each)


def _pool(
    f: Fleet, s: Array, t: Array, z: Array, y: Array, weight: Array, copies: Array, budget: Array,
    price: Array, pooled: Mask,
) -> Mask:  # fmt: skip
    """Who reads the whole store: those that gain from a longer one, or read beyond it already."""
    theta = _pull(f, s, t, z, y, weight, copies, budget, price)
    top = np.max(np.where(pooled, s, -np.inf), axis=1, keepdims=True)
    fresh = (copies > 0) & np.where(pooled, theta > 0, s >= top)
    none = ~np.any(fresh, axis=1)
    longest = s >= np.max(np.where(copies > 0, s, -np.inf), axis=1, keepdims=True)
    fresh[none] = (longest & (copies > 0))[none]
    return fresh


def _pull(
    f: Fleet, s: Array, t: Array, z: Array, y: Array, weight: Array, copies: Array, budget: Array,
    price: Array,
) -> Array:  # fmt: skip
    """What a kind would gain from a longer store of logits, beyond paying its own training."""
    here = value(f.b, f.u, s, t[:, None])
    gain = weight * np.exp(here.log_second) * here.elasticity
    c = _costs(f, y, z, copies)
    return gain - price[:, None] * c.training * np.exp(s) / budget[:, None]


def _fit(
    c: _Costs, s: Array, low: Array, high: Array, copies: Array, budget: Array, shared: bool
) -> tuple[Array, Array]:
    """Scale all tokens by one factor until the budget is spent or every bound is reached."""
    per_token = c.training + (0.0 if shared else c.logits[:, None] * copies)

    def cost(tokens: Array) -> Array:
        store = c.logits * np.max(np.where(copies > 0, tokens, 0.0), axis=1) if shared else 0.0
        return np.asarray((per_token * tokens).sum(axis=1) + store + c.pretraining)

    for _ in range(12):
        spent = cost(np.exp(s)) - c.pretraining
        rest = np.maximum(budget - c.pretraining, 1e-300)
        factor = np.log(np.maximum(rest, 1e-300)) - np.log(np.maximum(spent, 1e-300))
        s = np.clip(s + np.clip(factor, -700.0, 700.0)[:, None], low, high)
    total = cost(np.exp(s))
    over = (total > budget) & (total < budget * (1 + 1e-9))
    s = np.where(over[:, None], np.maximum(s - 2e-9 * (total > budget)[:, None], low), s)
    return s, cost(np.exp(s))


def _first_share(b: Batch, y: Array) -> Array:
    """Where the search for z starts; without pretraining charged, its upper end is the answer."""
    low, high = frontier.share_range(b, y)
    search = (b.charge_pretraining > 0) & ~b.existing
    middle = np.log(b.supervised.beta / b.supervised.alpha) + 0.0 * y
    return np.where(search, np.clip(middle, low, high), high)
