"""One problem under further constraints: branch and bound over the sizes and the teacher's tokens.

A constraint is ``K(u, s, n, d) <= 0`` with K the logarithm of a sum of monomials in sizes, tokens
and the FLOPs that they cost. It is convex, so at any point its linearisation is below it. Of a
given (u, n, d) the most student tokens follow by Newton's method in s alone. Over a box in
(u, n, d) the law's affine lower bound (`DistillationForm.support`) is minimised subject to the
linearised constraints; any multipliers >= 0 give a valid bound, so what chooses them decides how
tight it is and never whether it holds. A linearisation that is positive all over a box shows that
no plan lies in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laws.distillation import Region
from planner.optimise.batch import Array, Batch
from planner.optimise.frontier import FEASIBLE, teacher
from planner.optimise.search import RELATIVE_ROUNDING, ROUNDING, Optima, minimise
from planner.optimise.supervised import SupervisedOptima, supervised_optima
from planner.optimise.ties import charged_cost, cheapest_teachers

Rule = Sequence[tuple[float, Sequence[float]]]
"""Terms of ``sum <= 1``: the log of a factor, and powers of N_S, D_S, N_T, D_T, ``3 F(N_S) D_S``,
``3 F(N_T) D_T`` and ``F(N_T) D_S``; those of FLOPs are not negative."""

MOST_BOXES = 100_000  # looked at in all; the gap says how far the search came
MOST_ROUNDS = 200
NARROW = 1e-11  # half widths of boxes that are cut no further
GRID = (4, 8, 8)  # boxes at the start along u, n and d
STEPS = 60  # of Newton's method, which is quadratic from above
SLANT = 1e-7  # rates in s that count as none
MARGIN = 1e-12  # of a constraint's logarithm: what a linearisation may be off by rounding
CONTOUR = 400  # teachers of equal loss that are tried
POLISHES = 8


def minimise_constrained(b: Batch, rules: Sequence[Rule], tolerance: float) -> tuple[Optima, bool]:
    """The optimum of a batch of one problem, and whether other teachers would do as well.

    The loss is inf where there is no plan; a bound of -inf says that none was found, and that
    it is not proven that there is none.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        tight = narrowed(b, rules)
        loose, ties = cheapest_teachers(tight, minimise(tight, tolerance))
        if not np.isfinite(loose.loss[0]):
            return loose, False
        every = Limits(tight, rules)
        other = _allowed_teacher(tight, every, loose)
        if other is not None:
            return other, bool(ties[0])
        return _Search(tight, every, tolerance, float(loose.lower_bound[0])).run(), False


def narrowed(b: Batch, rules: Sequence[Rule]) -> Batch:
    """The problem with constraints on one variable turned into bounds."""
    one_size = b.u_low[0] == b.u_high[0]
    for rule in rules:
        free = {k for _, powers in rule for k, power in enumerate(powers) if power}
        if not free:  # of an existing teacher alone
            if np.logaddexp.reduce([factor for factor, _ in rule]) > MARGIN:
                b = replace(b, s_high=np.full_like(b.s_high, -np.inf))
            continue
        if one_size and free <= {0, 1, 4}:
            low, high = _tokens_of(b, rule)
            b = replace(b, s_low=np.maximum(b.s_low, low), s_high=np.minimum(b.s_high, high))
        elif len(rule) == 1 and len(free) == 1 and max(free) < 4:
            [(log_factor, powers)] = rule
            [k] = free
            edge = -log_factor / powers[k]
            name = "usnd"[k]
            end, pick = (
                (f"{name}_high", np.minimum) if powers[k] > 0 else (f"{name}_low", np.maximum)
            )
            b = replace(b, **{end: pick(getattr(b, end), edge)})
    return b


def _tokens_of(b: Batch, rule: Rule) -> tuple[float, float]:
    """The interval of s that a constraint on a student of given size allows; empty: low > high."""
    limit = Limits(b, [rule], alone=True)

    def value(s: float) -> tuple[float, float]:
        values, slopes = limit.at(np.array([[b.u_low[0], 0.0, 0.0]]), np.array([s]))
        return float(values[0, 0]), float(slopes[0, 0, 1])

    ends = []
    for start, side in ((float(b.s_low[0]), -1.0), (float(b.s_high[0]), 1.0)):
        s = start
        for _ in range(STEPS):
            k, slope = value(s)
            if k <= 0.0 or (k <= MARGIN and slope != 0.0):
                break
            if slope * side <= 0.0:
                return np.inf, -np.inf
            s -= k / slope
        ends.append(s)
    return ends[0], ends[1]


def _allowed_teacher(b: Batch, limits: Limits, found: Optima) -> Optima | None:
    """The optimum without the constraints, if it or a teacher of the same loss keeps to them."""
    u, s, n, d = (getattr(found, name) for name in "usnd")
    x = np.stack([u, n, d], axis=1)
    if limits.holds(x, s)[0]:
        return found
    if b.existing[0]:
        return None
    log_p, log_q = b.supervised.log_terms(n, d)
    y = np.logaddexp(log_p, log_q)
    z = np.concatenate(
        [np.linspace(-30.0, 30.0, CONTOUR), np.linspace(-1, 1, CONTOUR) + (log_p - log_q)]
    )
    n, d = teacher(b, y, z)
    inside = (n >= b.n_low) & (n <= b.n_high) & (d >= b.d_low) & (d <= b.d_high)
    if not inside.any():
        return None
    n, d = n[inside], d[inside]
    x = np.stack([u + 0 * n, n, d], axis=1)
    ok = limits.holds(x, s + 0 * n)
    if not ok.any():
        return None
    paid = charged_cost(b, u, s, n, d)
    if b.charge_inference[0] == 0 == b.charge_pretraining[0]:
        paid = b.flops.on_logs(n)[0] * np.exp(d)
    k = int(np.argmin(np.where(ok, paid, np.inf)))
    return replace(found, n=n[[k]], d=d[[k]])


class Limits:
    """All of a problem's limits as logarithms of posynomials, evaluated with their gradients.

    Points x are (points, 3): u, n, d; gradients in (u, s, n, d). alone: the rules by themselves.
    """

    def __init__(self, b: Batch, rules: Sequence[Rule], alone: bool = False) -> None:
        self.b = b
        self.planned = not bool(b.existing[0])
        three = np.log(3.0)  # training costs 3 F(N) D
        terms = [[(f + three * (p[4] + p[5]), self._powers(p)) for f, p in rule] for rule in rules]
        if not alone:
            terms += self._own(b)
        most = max(len(rule) for rule in terms)
        self.factor = np.full((len(terms), most), -np.inf)
        self.power = np.zeros((len(terms), most, 6))
        for j, rule in enumerate(terms):
            for k, (factor, powers) in enumerate(rule):
                self.factor[j, k], self.power[j, k] = factor, powers

    @staticmethod
    def _powers(of: Sequence[float]) -> list[float]:
        """Powers of a rule as powers of (N_S, D_S, N_T, D_T, F(N_S), F(N_T))."""
        u, s, n, d, own, training, logits = of
        return [u, s + own + logits, n, d + training, own, training + logits]

    @staticmethod
    def _own(b: Batch) -> list[list[tuple[float, list[float]]]]:
        """The budget and the bounds that are convex."""
        budget = float(np.log(b.budget[0]))
        spent = [(np.log(3.0) - budget, [0.0, 1, 0, 0, 1, 0])]
        if b.serving[0] > 0:
            spent.append((np.log(b.serving[0]) - budget, [0.0, 0, 0, 0, 1, 0]))
        if b.charge_inference[0] > 0:
            logits = np.log(b.charge_inference[0]) - budget
            if not b.existing[0]:
                spent.append((logits, [0.0, 1, 0, 0, 0, 1]))
            elif b.teacher_flops[0] > 0:
                spent.append((logits + np.log(b.teacher_flops[0]), [0.0, 1, 0, 0, 0, 0]))
        if b.charge_pretraining[0] > 0 and not b.existing[0]:
            training = np.log(3.0 * b.charge_pretraining[0]) - budget
            spent.append((training, [0.0, 0, 0, 1, 0, 1]))
        own = [
            spent,
            [(-float(b.s_high[0]), [0.0, 1, 0, 0, 0, 0])],
            [(float(b.s_low[0]), [0.0, -1, 0, 0, 0, 0])],
        ]
        if np.isfinite(b.ratio_high[0]):
            own.append([(-float(b.ratio_high[0]), [-1.0, 1, 0, 0, 0, 0])])
        if np.isfinite(b.ratio_low[0]):
            own.append([(float(b.ratio_low[0]), [1.0, -1, 0, 0, 0, 0])])
        if np.isfinite(b.t_high[0]) and not b.existing[0]:
            law = b.supervised
            weakest = float(np.ravel(law.log_reach_of_loss(b.t_high))[0])
            (log_a, alpha), (log_b, beta) = (
                (float(np.ravel(f)[0]), float(np.ravel(p)[0]))
                for f, p in ((law.log_A, law.alpha), (law.log_B, law.beta))
            )
            own.append([(log_a - weakest, [0.0, 0, -alpha, 0, 0, 0]),
                        (log_b - weakest, [0.0, 0, 0, -beta, 0, 0])])  # fmt: skip
        return own

    def at(self, x: Array, s: Array) -> tuple[Array, Array]:
        """Values (points, limits) and gradients (points, limits, 4)."""
        student, student_rate = self.b.flops.on_logs(x[:, 0])
        planned, planned_rate = self.b.flops.on_logs(x[:, 1])
        logs = np.stack([x[:, 0], s, x[:, 1], x[:, 2], np.log(student), np.log(planned)], axis=-1)
        terms = self.factor + np.tensordot(logs, self.power, axes=(1, 2))
        top = np.max(terms, axis=-1, keepdims=True)
        weight = np.exp(terms - top)
        total = np.sum(weight, axis=-1, keepdims=True)
        value = (top + np.log(total))[..., 0]
        rates = np.einsum("pjt,jtv->pjv", weight / total, self.power)
        gradient = rates[..., :4].copy()
        gradient[..., 0] += rates[..., 4] * student_rate[:, None]
        gradient[..., 2] += rates[..., 5] * planned_rate[:, None]
        if not self.planned:
            gradient[..., 2:] = 0.0
        return value, gradient

    def holds(self, x: Array, s: Array) -> NDArray[np.bool_]:
        """Whether all limits hold, also those that are not convex."""
        b = self.b
        ok = np.all(self.at(x, s)[0] <= 10 * FEASIBLE, axis=1)
        t = self.teacher_loss(x)
        own = b.supervised.loss_of_reach(b.supervised.log_reach(x[:, 0], s))
        ok &= (t >= b.t_low * (1 - 1e-12)) & (t <= b.t_high * (1 + 1e-12))
        return np.asarray(
            ok & (t >= b.rho_low * own * (1 - 1e-10)) & (t <= b.rho_high * own * (1 + 1e-10))
        )

    def teacher_loss(self, x: Array) -> Array:
        """L_T of the teachers at x."""
        if not self.planned:
            return np.full(len(x), self.b.teacher_loss[0])
        law = self.b.supervised
        return np.asarray(law.loss_of_reach(law.log_reach(x[:, 1], x[:, 2])))

    def most_tokens(self, x: Array, start: Array) -> Array:
        """From above to the most s that the limits on s from above allow.

        Linearisations are below their limits, so no step passes an allowed s.
        """
        s = start.copy()
        moving = np.arange(s.size)
        for _ in range(STEPS):
            value, gradient = self.at(x[moving], s[moving])
            slope = gradient[..., 1]
            broken = value > 0.0
            step = np.where(broken & (slope > SLANT), value / np.maximum(slope, SLANT), 0.0)
            down = np.max(step, axis=1)
            fresh = np.maximum(s[moving] - down, self.b.s_low[0] - 1.0)
            on = fresh < s[moving] - 1e-15 * np.abs(fresh)
            s[moving] = fresh
            moving = moving[on]
            if moving.size == 0:
                break
        return s


@dataclass
class _Boxes:
    low: Array
    high: Array
    bound: Array


class _Search:
    """Branch and bound for one problem."""

    def __init__(self, b: Batch, limits: Limits, tolerance: float, known: float) -> None:
        self.b, self.limits, self.tolerance, self.known = b, limits, tolerance, known
        self.best, self.at, self.s = np.inf, np.zeros(3), 0.0
        self.polished, self.last_polished = 0, np.inf
        low = np.array([b.u_low[0], b.n_low[0], b.d_low[0]])
        high = np.array([b.u_high[0], b.n_high[0], b.d_high[0]])
        if not limits.planned:
            low[1:], high[1:] = 0.0, 0.0
        self.low, self.high = low, high

    def run(self) -> Optima:
        """Cut boxes until none can hold a better plan."""
        self.polish(self._feasible_start())
        edges = [
            np.linspace(a, z, count + 1 if z > a else 2)
            for a, z, count in zip(self.low, self.high, GRID, strict=True)
        ]
        low = np.stack(np.meshgrid(*(e[:-1] for e in edges)), axis=-1).reshape(-1, 3)
        high = np.stack(np.meshgrid(*(e[1:] for e in edges)), axis=-1).reshape(-1, 3)
        lowest, count = np.inf, 0
        parent = np.full(len(low), -np.inf)
        for round_ in range(MOST_ROUNDS):
            if not len(low):
                break
            count += len(low)
            bound, low, high = self.examine(low, high)
            bound = np.maximum(bound, parent)
            if self.best < self.last_polished - 0.01 * self.tolerance:
                self.polish(np.append(self.at, self.s))
            goal = self.best - 0.9 * self.tolerance if np.isfinite(self.best) else np.inf
            half = 0.5 * (high - low)
            open_ = bound < goal
            spent = count > MOST_BOXES or round_ == MOST_ROUNDS - 1
            wide = np.max(half, axis=1) > NARROW
            keep = open_ & wide & (not spent)
            lowest = min(lowest, float(np.min(bound[~keep], initial=np.inf)))
            low, high, parent = _halved(low[keep], high[keep], bound[keep])
        margin = ROUNDING + RELATIVE_ROUNDING * abs(lowest) if np.isfinite(lowest) else 0.0
        lower = max(lowest - margin, self.known)
        none = np.array([np.nan])
        boxes = np.array([count], dtype=np.intp)
        if not np.isfinite(self.best):
            lower = np.inf if lowest == np.inf else -np.inf
            return Optima(
                none, none, none, none, none, np.array([np.inf]), np.array([lower]), boxes
            )
        u, n, d = (float(each) for each in self.at)
        t = self.limits.teacher_loss(self.at[None])
        if not self.limits.planned:
            n, d = float(self.b.n_low[0]), float(self.b.d_low[0])
        return Optima(
            np.array([u]), np.array([self.s]), np.array([n]), np.array([d]), t,
            np.array([self.best]), np.array([min(lower, self.best)]), boxes,
        )  # fmt: skip

    def loss(self, x: Array, s: Array) -> Array:
        """L_S of students and teachers."""
        return self.b.law.loss_on_logs(x[:, 0], s, np.log(self.limits.teacher_loss(x)))

    def offer(self, x: Array, s: Array) -> None:
        """Take over the best plan of these that keeps to all limits."""
        ok = self.limits.holds(x, s)
        loss = np.where(ok, self.loss(x, s), np.inf)
        k = int(np.argmin(loss))
        if loss[k] < self.best:
            self.best, self.at, self.s = float(loss[k]), x[k].copy(), float(s[k])

    def examine(self, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Lower bounds over boxes, inf where no plan lies in one, and what is left of each."""
        b, limits = self.b, self.limits
        x = 0.5 * (low + high)
        if np.isfinite(self.best):  # touch the loss at the best plan where the box holds it
            holds = np.all((self.at >= low) & (self.at <= high), axis=1)
            x = np.where(holds[:, None], self.at, x)
        down, up = low - x, high - x
        count = len(x)
        s = limits.most_tokens(x, np.full(count, b.s_high[0]))
        law, t = b.supervised, limits.teacher_loss(x)
        if np.isfinite(b.rho_high[0]):
            capped = np.minimum(s, law.log_tokens_for_loss(x[:, 0], t / b.rho_high) - 1e-10)
            self.offer(x, capped)
        else:
            self.offer(x, s)
        value, gradient = limits.at(x, s)
        value = value - MARGIN * (1.0 + np.abs(s)[:, None])
        rate, flat = gradient[..., 1], gradient[..., [0, 2, 3]]
        # planes above s, and the lowest of them: height + along . dx
        rising = rate > SLANT
        steep = np.where(rising, rate, 1.0)
        heights = np.where(rising, s[:, None] - value / steep, np.inf)
        slopes = -flat / steep[..., None]
        each = np.arange(count)
        first = np.argmin(heights, axis=1)
        height, along = heights[each, first], slopes[each, first]
        # the one that dives most below it inside the box
        apart = slopes - along[:, None, :]
        dive = heights + np.sum(np.minimum(apart * down[:, None], apart * up[:, None]), axis=2)
        second = np.argmin(np.where(rising, dive, np.inf), axis=1)
        second = np.where(dive[each, second] < height, second, first)
        height2, along2 = heights[each, second], slopes[each, second]
        t_strong, t_weak = (limits.teacher_loss(end) for end in (high, low))
        floor = np.full(count, b.s_low[0])
        if np.isfinite(b.rho_high[0]):
            cap = law.log_tokens_for_loss(low[:, 0], np.maximum(t_strong, b.t_low) / b.rho_high)
            lower = cap < height
            height, along = np.where(lower, cap, height), np.where(lower[:, None], 0.0, along)
        if b.rho_low[0] > 0:
            floor = np.maximum(
                floor,
                law.log_tokens_for_loss(high[:, 0], np.minimum(t_weak, b.t_high) / b.rho_low),
            )
        # what keeps plans out of parts of the box: constant + towards . dx <= 0
        cuts = []
        top, lowest = [], []
        falling = [bool(np.any(rate[:, j] < 0.0)) for j in range(value.shape[1])]
        for plane, (h, a) in enumerate(((height, along), (height2, along2))):
            spread_low = np.minimum(a * down, a * up)
            spread_high = np.maximum(a * down, a * up)
            top.append(h + spread_high.sum(axis=1))
            lowest.append(h + spread_low.sum(axis=1))
            cuts.append((floor - MARGIN * (1 + np.abs(floor)) - h, -a))
            for j in range(value.shape[1]):
                if plane and not falling[j]:
                    continue
                pull = rate[:, j]
                falls = pull <= 0.0
                constant = np.where(
                    falls, value[:, j] + pull * (h - s),
                    value[:, j] - pull * np.maximum(s - b.s_low[0], 0.0),
                )  # fmt: skip
                towards = flat[:, j] + np.where(falls, pull, 0.0)[:, None] * a
                used = ~rising[:, j] & np.isfinite(constant)
                if used.any():
                    cuts.append(
                        (np.where(used, constant, -1.0), np.where(used[:, None], towards, 0.0))
                    )
        # log t: below its chord plane, above its tangent plane
        log_t = np.log(t)
        towards_t = np.zeros((count, 3))
        above = np.zeros(count)
        if limits.planned:
            log_p, log_q = law.log_terms(x[:, 1], x[:, 2])
            reach = np.logaddexp(log_p, log_q)
            pace = law.gamma * (1.0 - law.E * np.exp(-log_t))
            share = np.exp(log_p - reach)
            towards_t[:, 1] = -pace * law.alpha * share
            towards_t[:, 2] = -pace * law.beta * (1.0 - share)
            for end_n in (low[:, 1], high[:, 1]):
                for end_d in (low[:, 2], high[:, 2]):
                    corner = np.stack([x[:, 0], end_n, end_d], axis=1)
                    tangent = log_t + np.sum(towards_t * (corner - x), axis=1)
                    above = np.maximum(above, np.log(limits.teacher_loss(corner)) - tangent)
            if b.t_low[0] > 0:  # the teacher may not be stronger
                cuts.append((np.log(b.t_low) - 1e-12 - log_t - above, -towards_t))
        dead = t_weak < b.t_low * (1 - 1e-12)
        dead |= t_strong > b.t_high * (1 + 1e-12)
        most = np.minimum(*top)
        dead |= most < floor - MARGIN * (1 + np.abs(floor))
        for constant, towards in cuts:
            dead |= constant + np.minimum(towards * down, towards * up).sum(axis=1) > MARGIN
        # the law's affine bound over all (u, s) between the planes
        s_high, s_low = np.maximum(*top), np.minimum(*lowest)
        s_high = np.maximum(s_high, floor)
        s_low = np.minimum(np.maximum(s_low, floor), s_high)
        corner_u = np.stack([low[:, 0], low[:, 0], high[:, 0], high[:, 0]])
        corner_s = np.stack([s_low, s_high, s_low, s_high])
        at_s = np.clip(height, s_low, s_high)
        region = Region(corner_u, corner_s, np.log(t_strong), np.log(t_weak))
        found = b.law.support(x[:, 0], at_s, log_t, region)
        falls = found.by_teacher < 0
        start = found.value + np.where(falls, found.by_teacher * above, 0.0)
        start = start + found.by_tokens * (height - at_s)
        slope = found.by_tokens[:, None] * along + found.by_teacher[:, None] * towards_t
        slope[:, 0] += found.by_size
        directions = [(found.by_tokens * (height2 - height),
                       found.by_tokens[:, None] * (along2 - along), 1.0)]  # fmt: skip
        directions += [(constant, towards, np.inf) for constant, towards in cuts]
        bound, start, slope = _ascend(start, slope, directions, down, up)
        bound = np.where(dead, np.inf, np.maximum(bound, found.least))
        bound = np.where(np.isfinite(bound) | dead, bound, -np.inf)
        # strips in which the affine bound is above the best plan hold no better one
        goal = self.best - 0.9 * self.tolerance
        if np.isfinite(goal):
            room = goal - _least(start, slope, down, up)
            room = np.where(room > 0, room, np.inf)  # closed already
            reach = room[:, None] / np.where(slope != 0, np.abs(slope), 1e-300)
            high = np.where(slope > 0, np.minimum(high, low + reach + NARROW), high)
            low = np.where(slope < 0, np.maximum(low, high - reach - NARROW), low)
        return bound, low, high

    def _feasible_start(self) -> Array | None:
        """A point that keeps to the convex limits, or the one that misses them least."""
        start = 0.5 * (self.low + self.high)
        s = float(self.limits.most_tokens(start[None], self.b.s_high[:1])[0])
        x = np.array([start[0], max(s, float(self.b.s_low[0])), start[1], start[2], 0.0])
        x[4] = float(np.max(self.values(x[:4])))

        def limits(x: Array) -> Array:
            return np.asarray(x[4] - self.values(x[:4]))

        def slopes(x: Array) -> Array:
            return np.column_stack([-self.slopes(x[:4]), np.ones(len(self.limits.factor))])

        found = _slsqp(
            lambda x: x[4], lambda x: np.array([0.0, 0, 0, 0, 1.0]), limits, slopes, x,
            [*self.sides(), (-1.0, None)],
        )  # fmt: skip
        return None if found is None else np.array([found[0], found[2], found[3], found[1]])

    def sides(self) -> list[tuple[float, float]]:
        """Bounds of (u, s, n, d)."""
        sides = [(float(a), float(z)) for a, z in zip(self.low, self.high, strict=True)]
        return [sides[0], (float(self.b.s_low[0]), float(self.b.s_high[0])), *sides[1:]]

    def values(self, x: Array) -> Array:
        """The convex limits at (u, s, n, d)."""
        return np.asarray(self.limits.at(x[None, [0, 2, 3]], x[None, 1])[0][0])

    def slopes(self, x: Array) -> Array:
        """Their gradients."""
        return np.asarray(self.limits.at(x[None, [0, 2, 3]], x[None, 1])[1][0])

    def polish(self, start: Array | None) -> None:
        """From (u, n, d, s) to the best plan nearby; what comes out is offered, not relied upon."""
        if start is None or self.polished >= POLISHES:
            return
        self.polished += 1
        first = np.array([start[0], start[3], start[1], start[2]])
        self._offer_near(first)

        def loss(x: Array) -> float:
            return float(self.loss(x[None, [0, 2, 3]], x[None, 1])[0])

        def slope(x: Array) -> Array:
            each = x[None, [0, 2, 3]]
            log_t = np.log(self.limits.teacher_loss(each))
            at = self.b.law.support(x[None, 0], x[None, 1], log_t, None)
            gradient = np.array([at.by_size[0], at.by_tokens[0], 0.0, 0.0])
            if self.limits.planned:
                law = self.b.supervised
                log_p, log_q = (float(np.ravel(v)[0]) for v in law.log_terms(x[2], x[3]))
                share = 1.0 / (1.0 + np.exp(log_q - log_p))
                pace = float(np.ravel(law.gamma * (1.0 - law.E * np.exp(-log_t)))[0])
                alpha, beta = (float(np.ravel(v)[0]) for v in (law.alpha, law.beta))
                gradient[2] = -at.by_teacher[0] * pace * alpha * share
                gradient[3] = -at.by_teacher[0] * pace * beta * (1.0 - share)
            return gradient

        found = _slsqp(
            loss, slope, lambda x: -self.values(x) - 1e-11, lambda x: -self.slopes(x), first,
            self.sides(),
        )  # fmt: skip
        if found is not None:
            self._offer_near(found)
        self.last_polished = self.best

    def _offer_near(self, x: Array) -> None:
        """A point, with the most tokens; and, if it misses a limit, on the way to a plan that does
        not (the convex limits hold between points at which they hold)."""
        many = x[None, [0, 2, 3]]
        if np.isfinite(self.best):
            steps = np.concatenate([[0.0], np.geomspace(1e-12, 1e-2, 31)])[:, None]
            many = (1 - steps) * many + steps * self.at
        s = self.limits.most_tokens(many, np.full(len(many), self.b.s_high[0]))
        self.offer(many, s)
        if np.isfinite(self.b.rho_high[0]):
            t = self.limits.teacher_loss(many)
            cap = self.b.supervised.log_tokens_for_loss(many[:, 0], t / self.b.rho_high)
            self.offer(many, np.minimum(s, cap - 1e-10))


def _slsqp(
    value: Any, gradient: Any, limits: Any, slopes: Any, start: Array, sides: Any
) -> Array | None:
    from scipy.optimize import minimize

    try:
        found = minimize(
            value, start, jac=gradient, method="SLSQP", bounds=sides,
            constraints=[{"type": "ineq", "fun": limits, "jac": slopes}],
            options={"maxiter": 200, "ftol": 1e-15},
        )  # fmt: skip
    except ValueError:  # a start outside its own bounds by rounding
        return None
    x = np.asarray(found.x, dtype=float)
    return x if np.all(np.isfinite(x)) else None


def _ascend(
    start: Array, slope: Array, directions: Sequence[tuple[Array, Array, float]],
    down: Array, up: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Raise ``min over dx of start + slope . dx`` by multipliers of functions that are <= 0.

    Along one multiplier the minimum is concave and piecewise linear: its corners are where a
    component of the slope changes sign.
    """

    bound = _least(start, slope, down, up)
    given = [np.zeros_like(start) for _ in directions]
    for _ in range(2 if len(directions) > 1 else 1):
        for k, (constant, towards, most) in enumerate(directions):
            if not np.any(towards):
                continue
            for i in range(3):
                step = -slope[:, i] / np.where(towards[:, i] != 0, towards[:, i], 1.0)
                step = np.where(towards[:, i] != 0, step, 0.0)
                step = np.clip(step, -given[k], most - given[k])
                fresh, turned = start + step * constant, slope + step[:, None] * towards
                raised = _least(fresh, turned, down, up)
                better = raised > bound
                bound = np.where(better, raised, bound)
                start = np.where(better, fresh, start)
                slope = np.where(better[:, None], turned, slope)
                given[k] = np.where(better, given[k] + step, given[k])
    return bound, start, slope


def _least(start: Array, slope: Array, down: Array, up: Array) -> Array:
    """The least of ``start + slope . dx`` over boxes."""
    return np.asarray(start + np.minimum(slope * down, slope * up).sum(axis=-1))


def _halved(low: Array, high: Array, bound: Array) -> tuple[Array, Array, Array]:
    """Boxes cut in half along their longest side."""
    axis = np.argmax(high - low, axis=1)
    each = np.arange(len(low))
    middle = 0.5 * (low[each, axis] + high[each, axis])
    left_high, right_low = high.copy(), low.copy()
    left_high[each, axis] = middle
    right_low[each, axis] = middle
    return (
        np.concatenate([low, right_low]),
        np.concatenate([left_high, high]),
        np.concatenate([bound, bound]),
    )


def supervised_under(b: Batch, rules: Sequence[Rule]) -> SupervisedOptima:
    """The best supervised model under constraints on the student (a batch of one problem).

    The allowed (u, s) are a convex set and the loss is the image of a convex function, so along u
    the loss of the most tokens is unimodal where there are any: the best of a grid, the ends of
    what is allowed beside it by bisection, and golden section between them.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        b = narrowed(b, rules)
        start = supervised_optima(b)
        limits = Limits(
            replace(b, teacher_loss=np.array([1.0]), charge_inference=np.zeros(1)), rules
        )
        none = SupervisedOptima(start.u, start.s, np.array([np.inf]), start.smallest)

        def tokens(u: Array) -> Array:
            x = np.stack([u, 0 * u, 0 * u], axis=1)
            s = limits.most_tokens(x, np.full(len(u), b.s_high[0]))
            return np.where(np.all(limits.at(x, s)[0] <= 10 * FEASIBLE, axis=1), s, np.nan)

        def loss(u: float) -> float:
            s = tokens(np.array([u]))
            value = float(b.supervised.loss_of_reach(b.supervised.log_reach(u, s))[0])
            return value if np.isfinite(value) else np.inf

        low, high = float(b.u_low[0]), float(b.u_high[0])
        grid = np.linspace(low, high, 4001)
        allowed = np.flatnonzero(np.isfinite(tokens(grid)))
        if low > high or not allowed.size:
            return none
        losses = [loss(float(grid[k])) for k in allowed]
        k = int(allowed[int(np.argmin(losses))])
        best = float(grid[k])
        left, right = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, grid.size - 1)])
        ends = []
        for end in (left, right):  # the neighbours may be beyond what is allowed
            inside, outside = best, end
            for _ in range(60 if not np.isfinite(loss(end)) else 0):
                middle = 0.5 * (inside + outside)
                if np.isfinite(loss(middle)):
                    inside = middle
                else:
                    outside = middle
            ends.append(inside if not np.isfinite(loss(end)) else end)
        left, right = ends
        ratio = 0.5 * (np.sqrt(5.0) - 1.0)
        for _ in range(60):
            a, c = right - ratio * (right - left), left + ratio * (right - left)
            left, right = (left, c) if loss(a) < loss(c) else (a, right)
        candidates = [best, *ends, 0.5 * (left + right)]
        u = min(candidates, key=loss)
        at = np.array([u])
        return SupervisedOptima(at, tokens(at), np.array([loss(u)]), start.smallest)
