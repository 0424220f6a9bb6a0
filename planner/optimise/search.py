"""Certified branch and bound over boxes in (y, u), for all problems of a batch at once.

Per round, every open box is solved at its centre (an incumbent and a supporting plane from
`frontier`), bounded from below (`objective`), and closed if its bound is within the tolerance of
the best known plan, or split otherwise. What remains of the tolerance covers rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.optimise import frontier
from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import (
    Boxes,
    Cap,
    enclose,
    student_loss,
    teacher_loss,
)
from planner.optimise.starts import reach_range, tokens_for_supervised_loss

ROUNDING = 1e-11
"""Margin in nats subtracted from every lower bound. Evaluating the law and its enclosure takes some
hundred double operations on logarithms of size up to about 50, so their errors stay below 1e-12;
tests compare with 40-digit arithmetic."""

MAX_ROUNDS = 200
MAX_BOXES = 2_000_000
POLISH_ROUNDS = 3
POLISH_SHRINK = 8.0


@dataclass(frozen=True)
class Fan:
    """How finely boxes are cut: first into `y` by `u`, then each open one into `split`.

    A call of numpy costs the same for one box and for a hundred, so few problems are cut finely to
    need few rounds, and many coarsely to need few boxes.
    """

    y: int
    u: int
    split: int


FINE, COARSE = Fan(64, 8, 8), Fan(16, 6, 4)
FINE_PROBLEMS = 16


@dataclass(frozen=True)
class Optima:
    """Best plans found and proofs, arrays over problems; NaN and inf where none is feasible."""

    u: Array
    s: Array
    n: Array
    d: Array
    t: Array
    loss: Array
    lower_bound: Array
    boxes: Index

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Where a plan exists."""
        return np.isfinite(self.loss)

    @property
    def gap(self) -> Array:
        """Loss minus its lower bound, nats."""
        return self.loss - self.lower_bound


@dataclass(frozen=True)
class _Points:
    """Plans at box centres; loss is inf where the centre is infeasible."""

    u: Array
    y: Array
    s: Array
    n: Array
    d: Array
    t: Array
    loss: Array
    z: Array


class _Best:
    """The best plan of every problem so far, and the box it was found in."""

    FIELDS = ("u", "y", "s", "n", "d", "t", "loss", "z")

    def __init__(self, problems: int) -> None:
        self.values = {name: np.full(problems, np.nan) for name in self.FIELDS}
        self.values["loss"][:] = np.inf
        self.half_y, self.half_u = np.zeros(problems), np.zeros(problems)

    @property
    def loss(self) -> Array:
        return self.values["loss"]

    def offer(self, index: Index, boxes: Boxes, points: _Points) -> None:
        """Take over every point that beats its problem's best."""
        lowest = self.loss.copy()
        np.minimum.at(lowest, index, points.loss)
        rows = np.flatnonzero((points.loss == lowest[index]) & (points.loss < self.loss[index]))
        target = index[rows]
        for name in self.FIELDS:
            self.values[name][target] = getattr(points, name)[rows]
        self.half_y[target], self.half_u[target] = boxes.half_y[rows], boxes.half_u[rows]


def minimise(b: Batch, tolerance: Array | float, polish: bool = True) -> Optima:
    """Minimise every problem of the batch to a certified gap of at most `tolerance` nats.

    `polish` moves the answers from somewhere within the tolerance to the optimum itself: valleys
    are flat, so recipes that differ by percents in size can share a loss.
    """
    problems = len(b)
    best = _Best(problems)
    goal = np.broadcast_to(0.9 * np.asarray(tolerance, dtype=float) - 2 * ROUNDING, (problems,))
    bound = np.full(problems, np.inf)
    counted = np.zeros(problems, dtype=np.intp)
    fan = FINE if problems <= FINE_PROBLEMS else COARSE
    index, boxes, z = _roots(b, fan)
    _try_smallest(b, best, index, boxes)
    rounds = 0
    while index.size:
        rounds += 1
        counted += np.bincount(index, minlength=problems)
        local = b.take(index)
        points, cap, alive, shrunk = _centres(local, boxes, z)
        best.offer(index, boxes, points)
        found = enclose(local, boxes, cap)
        lower = np.where(alive, found.lower, np.inf)
        open_ = lower < best.loss[index] - goal[index]
        if rounds >= MAX_ROUNDS or np.count_nonzero(open_) > MAX_BOXES:
            open_[:] = False  # give up honestly: the gap reported is the one reached
        np.minimum.at(bound, index[~open_], lower[~open_])
        index, boxes, z = _split(
            index[open_],
            shrunk.take(open_),
            points.z[open_],
            found.blur_y[open_] >= found.blur_u[open_],
            fan.split,
        )
    if polish:
        _polish(b, best)
    values = {name: best.values[name] for name in _Best.FIELDS if name not in ("y", "z")}
    return Optima(**values, lower_bound=bound - ROUNDING, boxes=counted)


def _try_smallest(b: Batch, best: _Best, index: Index, boxes: Boxes) -> None:
    """Plans of the smallest student allowed: all that there is where the budget barely suffices."""
    free = np.flatnonzero((b.u_low < b.u_high)[index])
    if free.size == 0:
        return
    rows = index[free]
    none = np.zeros(free.size)
    edge = Boxes(boxes.y[free], b.u_low[rows], boxes.half_y[free], none)
    points, *_ = _centres(b.take(rows), edge, None)
    best.offer(rows, edge, points)


def _roots(b: Batch, fan: Fan) -> tuple[Index, Boxes, Array | None]:
    """The first boxes: a grid over the teacher's reach and, if free, the student's size."""
    low, high = reach_range(b)
    possible = np.flatnonzero(low <= high)
    in_y = np.where(b.existing[possible] | (low == high)[possible], 1, fan.y)
    in_u = np.where((b.u_low == b.u_high)[possible], 1, fan.u)
    per_problem = in_y * in_u
    index = np.repeat(possible, per_problem)
    first = np.repeat(np.cumsum(per_problem) - per_problem, per_problem)
    position = np.arange(index.size) - first
    rows_y, rows_u = np.repeat(in_y, per_problem), np.repeat(in_u, per_problem)
    half_y = 0.5 * (high - low)[index] / rows_y
    half_u = 0.5 * (b.u_high - b.u_low)[index] / rows_u
    y = low[index] + (2 * (position % rows_y) + 1) * half_y
    u = b.u_low[index] + (2 * (position // rows_y) + 1) * half_u
    return index, Boxes(y, u, half_y, half_u), None


def _centres(
    b: Batch, boxes: Boxes, z: Array | None
) -> tuple[_Points, Cap, NDArray[np.bool_], Boxes]:
    """Plans at the centres, a cap on s over each box, which boxes may hold a feasible plan, and the
    boxes without what cannot."""
    front = frontier.solve(b, boxes.u, boxes.y, z)
    s, u = front.s, boxes.u
    zero = np.zeros_like(s)
    caps = [
        (front.height, front.along_y, front.along_u),
        (b.s_high + zero, zero, zero),
        (b.ratio_high + u, zero, zero + 1.0),
    ]
    most = np.minimum(np.minimum(s, b.s_high), b.ratio_high + u)
    least = np.maximum(b.s_low, b.ratio_low + u)
    least_in_box = np.maximum(b.s_low, b.ratio_low + u - boxes.half_u)
    feasible = front.feasible
    if np.any(np.isfinite(b.rho_high)) or np.any(b.rho_low > 0):
        # L_T <= rho Lsup caps s by a function that falls in y and in u; L_T >= rho Lsup is a floor
        corner = teacher_loss(b, boxes.y - boxes.half_y) / b.rho_high
        caps.append((tokens_for_supervised_loss(b, u - boxes.half_u, corner), zero, zero))
        most = np.minimum(most, tokens_for_supervised_loss(b, u, front.t / b.rho_high))
        with np.errstate(divide="ignore"):
            strongest = teacher_loss(b, boxes.y + boxes.half_y) / b.rho_low
            least_in_box = np.maximum(
                least_in_box, tokens_for_supervised_loss(b, u + boxes.half_u, strongest)
            )
            least = np.maximum(least, tokens_for_supervised_loss(b, u, front.t / b.rho_low))
    feasible = feasible & (most >= least - 1e-12)
    tightest = np.argmin(np.stack([height for height, _, _ in caps]), axis=0)
    rows = np.arange(s.size)
    height, along_y, along_u = (np.stack(part)[tightest, rows] for part in zip(*caps, strict=True))
    cap = Cap(height, along_y, along_u, b.s_low)
    reached = np.min(
        [h + np.abs(m) * boxes.half_y + np.abs(k) * boxes.half_u for h, m, k in caps], axis=0
    )
    # the inverse of the supervised law loses digits near the floor; the other caps do not
    inverted = np.isfinite(b.rho_high) | (b.rho_low > 0)
    alive = reached >= least_in_box - np.where(inverted, 1e-9, 1e-12)
    loss = np.full(s.shape, np.inf)
    value = student_loss(b, u, np.where(feasible, most, 30.0), front.t)
    loss[feasible] = value[feasible]
    points = _Points(u, boxes.y, most, front.n, front.d, front.t, loss, front.z)
    return points, cap, alive, _contract(b, boxes, caps[0])


def _contract(b: Batch, boxes: Boxes, plane: tuple[Array, Array, Array]) -> Boxes:
    """The boxes less the strips in which the plane over the frontier is below the fewest tokens.

    Beside a sliver of feasible plans, nearly all of a box is such a strip.
    """
    height, along_y, along_u = plane
    low_y, high_y, low_u, high_u = -boxes.half_y, boxes.half_y, -boxes.half_u, boxes.half_u
    for floor, rise in ((b.s_low, along_u), (b.ratio_low + boxes.u, along_u - 1.0)):
        room = height - floor + 1e-12  # feasible: room + along_y dy + rise du >= 0
        below, above = _where_positive(room + np.abs(rise) * boxes.half_u, along_y)
        low_y, high_y = np.maximum(low_y, below), np.minimum(high_y, above)
        below, above = _where_positive(room + np.abs(along_y) * boxes.half_y, rise)
        low_u, high_u = np.maximum(low_u, below), np.minimum(high_u, above)
    high_y, high_u = np.maximum(low_y, high_y), np.maximum(low_u, high_u)
    return Boxes(
        boxes.y + 0.5 * (low_y + high_y),
        boxes.u + 0.5 * (low_u + high_u),
        0.5 * (high_y - low_y),
        0.5 * (high_u - low_u),
    )


def _where_positive(room: Array, rate: Array) -> tuple[Array, Array]:
    """The ends between which ``room + rate x >= 0``; infinite where rate or room say nothing."""
    known = np.isfinite(room) & (rate != 0)
    edge = -room / np.where(known, rate, 1.0)
    return np.where(known & (rate > 0), edge, -np.inf), np.where(known & (rate < 0), edge, np.inf)


def _split(
    index: Index, boxes: Boxes, z: Array, along_y: NDArray[np.bool_], split: int
) -> tuple[Index, Boxes, Array]:
    """Cut every box in `split` along the direction that blurs its bound most."""
    offsets = (2.0 * np.arange(split) + 1.0) / split - 1.0
    children = np.tile(offsets, index.size)
    y, u = np.repeat(boxes.y, split), np.repeat(boxes.u, split)
    half_y, half_u = np.repeat(boxes.half_y, split), np.repeat(boxes.half_u, split)
    cut_y = np.repeat(along_y, split)
    y = np.where(cut_y, y + children * half_y, y)
    u = np.where(cut_y, u, u + children * half_u)
    half_y = np.where(cut_y, half_y / split, half_y)
    half_u = np.where(cut_y, half_u, half_u / split)
    return np.repeat(index, split), Boxes(y, u, half_y, half_u), np.repeat(z, split)


def _polish(b: Batch, best: _Best) -> None:
    """Newton steps on a quadratic through a stencil around each incumbent, kept if they improve."""
    rows = np.flatnonzero(np.isfinite(best.loss) & ((best.half_y > 0) | (best.half_u > 0)))
    if rows.size == 0:
        return
    low, high = (edge[rows] for edge in reach_range(b))
    u_low, u_high = b.u_low[rows], b.u_high[rows]
    stencil = _STENCIL_2D if np.any(best.half_u[rows] > 0) else _STENCIL_1D
    wide = b.take(np.repeat(rows, len(stencil)))
    y, u = best.values["y"][rows].copy(), best.values["u"][rows].copy()
    step_y, step_u = best.half_y[rows].copy(), best.half_u[rows].copy()
    spread_y, spread_u = stencil[:, 0], stencil[:, 1]
    for _ in range(POLISH_ROUNDS):
        at_y = np.clip(y[:, None] + step_y[:, None] * spread_y, low[:, None], high[:, None])
        at_u = np.clip(u[:, None] + step_u[:, None] * spread_u, u_low[:, None], u_high[:, None])
        flat = Boxes(at_y.ravel(), at_u.ravel(), *np.zeros((2, at_y.size)))
        points, *_ = _centres(wide, flat, np.repeat(best.values["z"][rows], len(stencil)))
        best.offer(np.repeat(rows, len(stencil)), flat, points)
        loss = points.loss.reshape(at_y.shape)
        move_y, move_u = _newton(loss, stencil)
        lowest = np.argmin(loss, axis=1)
        smooth = np.isfinite(move_y) & np.isfinite(move_u)
        y = y + step_y * np.where(smooth, move_y, spread_y[lowest])
        u = u + step_u * np.where(smooth, move_u, spread_u[lowest])
        y, u = np.clip(y, low, high), np.clip(u, u_low, u_high)
        step_y, step_u = step_y / POLISH_SHRINK, step_u / POLISH_SHRINK


_STENCIL_1D = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
_STENCIL_2D = np.array([[i, j] for i in (-1.0, 0.0, 1.0) for j in (-1.0, 0.0, 1.0)])


def _newton(loss: Array, stencil: Array) -> tuple[Array, Array]:
    """Minimiser of the quadratic through the stencil, at most a step; NaN if not convex."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(stencil) == 3:
            minus, middle, plus = loss.T
            curvature = plus - 2 * middle + minus
            move = -0.5 * (plus - minus) / curvature
            return np.where(curvature > 0, np.clip(move, -1, 1), np.nan), np.zeros_like(move)
        f = loss.reshape(-1, 3, 3)
        g_y, g_u = 0.5 * (f[:, 2, 1] - f[:, 0, 1]), 0.5 * (f[:, 1, 2] - f[:, 1, 0])
        h_y = f[:, 2, 1] - 2 * f[:, 1, 1] + f[:, 0, 1]
        h_u = f[:, 1, 2] - 2 * f[:, 1, 1] + f[:, 1, 0]
        h_yu = 0.25 * (f[:, 2, 2] - f[:, 2, 0] - f[:, 0, 2] + f[:, 0, 0])
        determinant = h_y * h_u - h_yu**2
        convex = (h_y > 0) & (determinant > 0)
        only_u = (h_y == 0) & (h_u > 0)  # an existing teacher: y does not move
        only_y = (h_u == 0) & (h_y > 0)
        move_y = np.where(only_y, -g_y / h_y, (h_yu * g_u - h_u * g_y) / determinant)
        move_u = np.where(only_u, -g_u / h_u, (h_yu * g_y - h_y * g_u) / determinant)
        move_y, move_u = np.where(only_u, 0.0, move_y), np.where(only_y, 0.0, move_u)
        usable = convex | only_u | only_y
        return (
            np.where(usable, np.clip(move_y, -1, 1), np.nan),
            np.where(usable, np.clip(move_u, -1, 1), np.nan),
        )
