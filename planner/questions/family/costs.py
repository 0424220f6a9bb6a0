"""What teachers of a given reach cost a family, from below; the cost side of `fleet_bound`.

For a teacher that is trained for the family the cost ``F_T (di T + 3 dp D_T)`` is bounded by a
plane (its logarithm is convex in log T, n and d) and over ranges of T by chords (the cheapest
teacher's cost is concave in T). Otherwise its cost per token is known from the reach alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laws._types import log_sum
from planner.optimise import frontier
from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import teacher_loss
from planner.questions.family.fleet import Fleet, Points, cheapest_teacher

NODES = (0.3, 1.0, 2.0, 6.0)
"""Ends of the first chords, in multiples of the tokens that the point reads."""


Ends = tuple[Array, Array, Array]
"""Low end, value at the centre, high end; arrays (M,)."""


@dataclass(frozen=True)
class Teachers:
    """What the teachers of a box cost, in parts of the budget.

    per_token: of the students' tokens, with its slope in y. fixed: beside that, with its slope in y
    and per unit of the logarithm of the tokens read.
    """

    t: tuple[Array, Array]
    per_token: Ends
    token_y: Ends
    fixed: Array
    fixed_y: Array
    by_log_tokens: Array

    def take(self, part: slice) -> Teachers:
        """The boxes of a slice."""
        t = (self.t[0][part], self.t[1][part])
        per_token, token_y = (
            (ends[0][part], ends[1][part], ends[2][part]) for ends in (self.per_token, self.token_y)
        )
        rest = (each[part] for each in (self.fixed, self.fixed_y, self.by_log_tokens))
        return Teachers(t, per_token, token_y, *rest)


def teachers(f: Fleet, row: Index, at: Points, half: Array) -> Teachers:
    """Enclosures over the boxes."""
    b, budget = f.b, f.budget[row]
    y0, y1 = at.y - half, at.y + half
    zero = np.zeros_like(half)
    still = (zero, zero, zero)
    t = (teacher_loss(b, y0), teacher_loss(b, y1))
    charge = b.charge_inference / budget
    if np.all(b.existing):
        token = charge * b.teacher_flops
        return Teachers(t, (token, token, token), still, zero, zero, zero)
    if np.all(b.charge_pretraining == 0):
        ys = (y1, at.y, y0)
        zs = [frontier.share_range(b, y)[1] for y in ys]
        ns = [frontier.teacher(b, y, z)[0] for y, z in zip(ys, zs, strict=True)]
        flops, slope = zip(*(_forward(b, n) for n in ns), strict=True)
        steep = [1.0 / (b.supervised.alpha * _share(z)) for z in zs]  # -dn/dy, largest at y0
        flat = [n <= b.n_low + 1e-9 for n in ns]
        steep = [np.where(flat[0], 0.0, steep[0]), np.where(flat[1], 0.0, steep[1]), steep[2]]
        token_y = tuple(-charge * k * g for k, g in zip(slope, steep, strict=True))
        low, centre, high = (charge * each for each in flops)
        return Teachers(t, (low, centre, high), (token_y[2], token_y[1], token_y[0]),
                        zero, zero, zero)  # fmt: skip
    return _planned(f, row, at, t, still)


def _planned(f: Fleet, row: Index, at: Points, t: tuple[Array, Array], still: Ends) -> Teachers:
    """The plane under the cost of a teacher that is trained for the family."""
    read = _tokens_read(f, row, at)
    plane = plane_under(f, row, at.n, at.d, read)
    lag = np.zeros_like(read)  # readers of the store who stop before its end
    if f.cached:
        lag = plane.part * np.sum(at.reading * (at.s - np.log(read)[:, None]), axis=1)
    away = plane.mu * (plane.reach - at.y) + plane.slack + np.minimum(lag, 0.0)
    fixed = plane.cost * (1.0 + away)
    return Teachers(t, still, still, fixed, -plane.cost * plane.mu, plane.cost * plane.part)


@dataclass(frozen=True)
class Cells:
    """Ranges of the tokens that a teacher reads. At both ends its least cost, a part of the budget,
    and how fast that falls along y: ``cost >= at - slope (y' - y)``, a tangent from below."""

    box: Index
    few: Array
    many: Array
    at_few: Array
    at_many: Array
    slope_few: Array
    slope_many: Array

    def take(self, keep: NDArray[np.bool_]) -> Cells:
        return Cells(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def first_cells(f: Fleet, row: Index, at: Points) -> Cells:
    student, _ = f.b.flops.on_logs(f.u)
    smallest = np.min(np.where(f.copies[row] > 0, student, np.inf), axis=1)
    most = f.budget[row] / (3.0 * smallest)
    read = _tokens_read(f, row, at)
    few = np.zeros_like(most)
    cost, slope = _least_cost(f, row, at.y, few)
    parts: list[Cells] = []
    for factor in (*NODES, np.inf):
        many = np.minimum(factor * read, most)
        top, steep = _least_cost(f, row, at.y, many)
        moved = many > few * (1 + 1e-9)
        wide = np.flatnonzero(moved)
        ends = (few, many, cost, top, slope, steep)
        parts.append(Cells(wide, *(each[wide] for each in ends)))
        few, cost, slope = (
            np.where(moved, new, old) for new, old in ((many, few), (top, cost), (steep, slope))
        )
    names = Cells.__dataclass_fields__
    return Cells(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def halve(f: Fleet, row: Index, y: Array, cells: Cells) -> Cells:
    middle = np.sqrt(np.maximum(cells.few, 1e-3 * cells.many) * cells.many)
    cost, slope = _least_cost(f, row[cells.box], y[cells.box], middle)
    left = Cells(cells.box, cells.few, middle, cells.at_few, cost, cells.slope_few, slope)
    right = Cells(cells.box, middle, cells.many, cost, cells.at_many, slope, cells.slope_many)
    names = Cells.__dataclass_fields__
    return Cells(*(np.concatenate([getattr(left, n), getattr(right, n)]) for n in names))


def _least_cost(f: Fleet, row: Index, y: Array, read: Array) -> tuple[Array, Array]:
    """A lower bound on what a teacher of reach y costs that reads so many tokens, and its fall."""
    n, d = cheapest_teacher(f.b, y, read)
    plane = plane_under(f, row, n, d, read)
    away = plane.mu * (plane.reach - y) + plane.slack
    return plane.cost * (1.0 + away), plane.cost * plane.mu


def chord(f: Fleet, y: Array, half: Array, cells: Cells) -> Teachers:
    t = (teacher_loss(f.b, y - half), teacher_loss(f.b, y + half))
    wide = cells.many - cells.few
    rate = (cells.at_many - cells.at_few) / wide
    turn = -(cells.slope_many - cells.slope_few) / wide  # of the rate along y
    ends = (rate - half * np.abs(turn), rate, rate + half * np.abs(turn))
    return Teachers(
        t,
        ends,
        (turn, turn, turn),
        cells.at_few - rate * cells.few,
        -cells.slope_few - turn * cells.few,
        np.zeros_like(y),
    )


def _tokens_read(f: Fleet, row: Index, at: Points) -> Array:
    tokens = np.where(f.copies[row] > 0, np.exp(at.s), 0.0)
    return np.asarray(
        np.max(tokens, axis=1) if f.cached else np.sum(f.copies[row] * tokens, axis=1)
    )


@dataclass(frozen=True)
class Plane:
    """log cost >= log(cost) + part (log T - log T0) - mu (y' - reach) + slack, per row."""

    cost: Array
    part: Array
    mu: Array
    reach: Array
    slack: Array


def plane_under(f: Fleet, row: Index, n: Array, d: Array, read: Array) -> Plane:
    """The plane under the log cost of teachers (n, d) that read `read` tokens."""
    b = f.b
    planned, elasticity = b.flops.on_logs(n)
    logits = b.charge_inference * planned * read
    training = 3.0 * b.charge_pretraining * planned * np.exp(d)
    part = logits / (logits + training)
    law = b.supervised
    q, reach = log_sum(*law.log_terms(n, d))
    h_n, h_d = law.alpha * (1.0 - q), law.beta * q
    mu = _multiplier(b, n, d, elasticity / h_n, (1.0 - part) / h_d)
    slack = _worst(elasticity - mu * h_n, n, b.n_low, b.n_high)
    slack = slack + _worst(1.0 - part - mu * h_d, d, b.d_low, b.d_high)
    return Plane((logits + training) / f.budget[row], part, mu, reach, slack)


def trained(f: Fleet) -> bool:
    """Whether the budget pays for a teacher's training."""
    return bool(np.any(~f.b.existing & (f.b.charge_pretraining > 0)))


def least_training(f: Fleet, row: Index, y: Array) -> Array:
    """The cheapest training of a teacher of reach y, in parts of the budget it is charged to."""
    b = f.b
    if not trained(f):
        return np.zeros_like(y)
    n, d = frontier.teacher(b, y, frontier.cheapest_training(b, y))
    planned, _ = b.flops.on_logs(np.maximum(n, b.n_low))
    cost = 3.0 * b.charge_pretraining * planned * np.exp(np.maximum(d, b.d_low))
    return np.asarray(cost / f.budget[row] * (1 - 1e-9))


def theta(f: Fleet, row: Index, at: Points) -> Array:
    """Weights with ``log T - log T0 >= sum_k theta_k (s_k - s_k0)``, summing to one."""
    if f.cached:
        return at.reading
    copies = f.copies[row]
    tokens = np.where(copies > 0, copies * np.exp(at.s), 0.0)
    return np.asarray(tokens / tokens.sum(axis=1, keepdims=True))


def _multiplier(b: Batch, n: Array, d: Array, by_n: Array, by_d: Array) -> Array:
    """mu of the reach, from whichever of n and d lies strictly inside its bounds."""
    n_inside = (n > b.n_low + 1e-9) & (n < b.n_high - 1e-9)
    d_inside = (d > b.d_low + 1e-9) & (d < b.d_high - 1e-9)
    corner = np.where(n >= b.n_high - 1e-9, np.maximum(by_n, by_d), np.minimum(by_n, by_d))
    return np.where(d_inside, np.where(n_inside, by_n, by_d), np.where(n_inside, by_n, corner))


def _worst(residual: Array, at: Array, low: Array, high: Array) -> Array:
    """The least that a residual of the linearisation can contribute within the bounds."""
    return np.minimum(residual * (low - at), residual * (high - at))


def _forward(b: Batch, n: Array) -> tuple[Array, Array]:
    """F and its slope in log N."""
    total, elasticity = b.flops.on_logs(n)
    return total, total * elasticity


def _share(z: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))
