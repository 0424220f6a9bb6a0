"""One problem under further constraints, by the same branch and bound.

A constraint is ``K(u, s, n, d) <= 0`` with K the logarithm of a sum of monomials in sizes, tokens
and the FLOPs that they cost. It is convex, as the budget is, so the most student tokens of a given
student size and teacher reach stay a concave function of the two, with a plane above it at every
point (`interior`). That is all that `search` asks for: `Constrained` is a batch with such planes.

A teacher of reach y may be a stronger one here. Where constraints forbid all weaker teachers and a
weaker one would be better, the bound stays below the best plan, and the certificate says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from laws._types import log_sum
from planner.optimise.batch import Array, Batch
from planner.optimise.frontier import FEASIBLE, Frontier, Penalised, teacher
from planner.optimise.interior import most_tokens
from planner.optimise.search import Optima, minimise
from planner.optimise.supervised import SupervisedOptima, supervised_optima
from planner.optimise.ties import charged_cost, cheapest_teachers

Rule = Sequence[tuple[float, Sequence[float]]]
"""Terms of ``sum <= 1``: the log of a factor, and powers of N_S, D_S, N_T, D_T, ``3 F(N_S) D_S``,
``3 F(N_T) D_T`` and ``F(N_T) D_S``; those of FLOPs are not negative."""

STEPS = 60  # of Newton's method, which is quadratic from above
SLANT = 1e-7  # rates in s that count as none
MARGIN = 1e-12  # of a constraint's logarithm: what a linearisation may be off by rounding
CUTS, ZOOMS = 100, 6  # of grids of teachers
CONTOUR = 400  # teachers of equal loss that are tried


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
        columns = {each.name: getattr(tight, each.name) for each in fields(Batch)}
        found = minimise(Constrained(**columns, limits=every), tolerance)
        lower = np.maximum(found.lower_bound, loose.lower_bound)
        found = replace(found, lower_bound=lower)
        if found.feasible[0] and every.planned and not found.loss[0] - lower[0] <= tolerance:
            found = _other_teachers(tight, every, found)
        return found, False


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
        elif len(rule) == 1 and free == {0, 1} and rule[0][1][0] == -rule[0][1][1]:
            [(log_factor, powers)] = rule  # tokens per parameter
            edge = -log_factor / powers[1]
            if powers[1] > 0:
                b = replace(b, ratio_high=np.minimum(b.ratio_high, edge))
            else:
                b = replace(b, ratio_low=np.maximum(b.ratio_low, edge))
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


def _other_teachers(b: Batch, limits: Limits, found: Optima) -> Optima:
    """The same student under the best teacher of ever finer grids, where that is better."""
    ranges = np.array([[b.n_low[0], b.n_high[0]], [b.d_low[0], b.d_high[0]]])
    low, high = ranges.T
    for _ in range(ZOOMS):
        n, d = (v.ravel() for v in np.meshgrid(*np.linspace(low, high, CUTS).T))
        x = np.stack([found.u + 0 * n, n, d], axis=1)
        s = limits.most_tokens(x, np.full(n.size, b.s_high[0]))
        t = limits.teacher_loss(x)
        loss = np.where(limits.holds(x, s), b.law.loss_on_logs(x[:, 0], s, np.log(t)), np.inf)
        k = [int(np.argmin(loss))]
        if loss[k[0]] < found.loss[0]:
            found = replace(found, s=s[k], n=n[k], d=d[k], t=t[k], loss=loss[k])
        middle, half = np.concatenate([found.n, found.d]), 2.0 * (high - low) / CUTS
        low, high = (np.clip(middle + side * half, *ranges.T) for side in (-1.0, 1.0))
    return found


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
        value, gradient, _, _, _ = self._terms(x, s)
        return value, gradient

    def curved(self, x: Array, s: Array) -> tuple[Array, Array, Array]:
        """The same with Hessians in s, n and d (points, limits, 3, 3)."""
        value, gradient, weight, slopes, rates = self._terms(x, s)
        inner, outer = slopes[..., 1:], gradient[..., 1:]
        hessian = np.einsum("pjt,pjta,pjtb->pjab", weight, inner, inner)
        hessian -= outer[..., :, None] * outer[..., None, :]
        step = 1e-4  # F(N_T) is a sum itself: its elasticity bends
        bend = (self.b.flops.on_logs(x[:, 1] + step)[1] - self.b.flops.on_logs(x[:, 1])[1]) / step
        if self.planned:
            hessian[..., 1, 1] += rates[..., 5] * bend[:, None]
        return value, gradient, hessian

    def _terms(self, x: Array, s: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Values, gradients, the terms' shares and gradients, and rates in the six quantities."""
        student, student_rate = self.b.flops.on_logs(x[:, 0])
        planned, planned_rate = self.b.flops.on_logs(x[:, 1])
        logs = np.stack([x[:, 0], s, x[:, 1], x[:, 2], np.log(student), np.log(planned)], axis=-1)
        terms = self.factor + np.tensordot(logs, self.power, axes=(1, 2))
        top = np.max(terms, axis=-1, keepdims=True)
        weight = np.exp(terms - top)
        total = np.sum(weight, axis=-1, keepdims=True)
        value = (top + np.log(total))[..., 0]
        weight = weight / total
        slopes = np.broadcast_to(self.power[..., :4], (*terms.shape, 4)).copy()
        slopes[..., 0] += self.power[..., 4] * student_rate[:, None, None]
        slopes[..., 2] += self.power[..., 5] * planned_rate[:, None, None]
        if not self.planned:
            slopes[..., 2:] = 0.0
        gradient = np.einsum("pjt,pjta->pja", weight, slopes)
        return value, gradient, weight, slopes, np.einsum("pjt,jta->pja", weight, self.power)

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


@dataclass(frozen=True)
class Constrained(Penalised):
    """A batch of one problem whose most student tokens further limits may lower."""

    limits: Limits

    def frontier(self, u: Array, y: Array) -> Frontier:
        """The most tokens by an interior point method, and the plane of its multipliers."""
        limits, planned = self.limits, self.limits.planned
        sides = [(self.s_low[0], self.s_high[0]), (self.n_low[0], self.n_high[0]),
                 (self.d_low[0], self.d_high[0])]  # fmt: skip
        low, high = np.array(sides if planned else [sides[0], (0.0, 0.0), (0.0, 0.0)]).T
        begin = np.tile(0.5 * (low + high), (u.size, 1))
        w, multipliers = most_tokens(
            lambda w, rows: self._with_reach(u[rows], y[rows], w), begin, low - 1e-9, high + 1e-9
        )
        known = np.all(np.isfinite(multipliers), axis=1)  # no multipliers are valid ones, too
        w, multipliers = np.clip(w, low, high), np.where(known[:, None], multipliers, 0.0)
        s, n, d = w.T
        x = np.stack([u, n, d], axis=1)
        value, gradient = limits.at(x, s)
        own, towards_y = multipliers[:, : value.shape[1]], np.zeros(u.size)
        below = np.sum(own * value, axis=1)
        slope = np.einsum("pj,pja->pa", own, gradient)  # in u, s, n, d
        log_t = np.log(limits.teacher_loss(x))
        if planned:
            law, towards_y = self.supervised, multipliers[:, -1]
            q, reach = log_sum(*law.log_terms(n, d))
            below = below + towards_y * (reach - y)
            slope[:, 2] -= towards_y * law.alpha * (1.0 - q)
            slope[:, 3] -= towards_y * law.beta * q
            for k, (at, a, z) in enumerate(((n, low[1], high[1]), (d, low[2], high[2])), 2):
                below = below + np.minimum(slope[:, k] * (a - at), slope[:, k] * (z - at))
        rounding = MARGIN * (1.0 + np.sum(own, axis=1) + towards_y * (1.0 + np.abs(y)))
        steep = np.maximum(slope[:, 1], 1e-300)
        useful = slope[:, 1] > SLANT
        return Frontier(
            n=n, d=d, log_t=log_t, s=s,
            feasible=np.all(value <= 10 * FEASIBLE, axis=1),
            height=np.where(useful, s + (rounding - below) / steep, self.s_high),
            along_y=np.where(useful, towards_y / steep, 0.0),
            along_u=np.where(useful, -slope[:, 0] / steep, 0.0),
            z=np.zeros_like(s),
        )  # fmt: skip

    def _with_reach(self, u: Array, y: Array, w: Array) -> tuple[Array, Array, Array]:
        """All limits and, last, that of a teacher's reach; in s, n and d."""
        s, n, d = w.T
        value, gradient, hessian = self.limits.curved(np.stack([u, n, d], axis=1), s)
        if not self.limits.planned:
            return value, gradient[..., 1:], hessian
        law = self.supervised
        q, reach = log_sum(*law.log_terms(n, d))
        rate = np.stack([0 * q, -law.alpha * (1.0 - q), -law.beta * q], axis=1)
        turn = np.array([0.0, float(np.ravel(law.alpha)[0]), -float(np.ravel(law.beta)[0])])
        bend = (q * (1.0 - q))[:, None, None] * np.outer(turn, turn)
        return (
            np.concatenate([value, (reach - y)[:, None]], axis=1),
            np.concatenate([gradient[..., 1:], rate[:, None]], axis=1),
            np.concatenate([hessian, bend[:, None]], axis=1),
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
