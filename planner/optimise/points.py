"""What one point of a box yields: a plan, a bound over the box, and what is left of the box."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.optimise import frontier
from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import Boxes, Cap, enclose, teacher_loss

INVERTED = 1e-9
"""The inverse of the supervised law loses digits near its floor: what plans may miss a limit on
`L_T / L(N_S, D_S)` by, in log tokens."""


@dataclass(frozen=True)
class Solved:
    """Plans at the points of boxes (loss is inf where infeasible), and lower bounds over the boxes.

    lower is inf where no plan of a box is feasible; rest is the box without strips in which none
    is; slopes and loose as in `bound.Enclosure`.
    """

    u: Array
    y: Array
    s: Array
    n: Array
    d: Array
    log_t: Array
    loss: Array
    z: Array
    lower: Array
    slope_y: Array
    slope_u: Array
    loose: Array
    rest: Boxes

    def put(self, rows: Index, other: Solved) -> None:
        """Overwrite some rows."""
        for name in self.__dataclass_fields__:
            mine, new = getattr(self, name), getattr(other, name)
            if isinstance(mine, Boxes):
                for side in mine.__dataclass_fields__:
                    values = np.array(getattr(mine, side))
                    values[rows] = getattr(new, side)
                    object.__setattr__(mine, side, values)
            else:
                mine[rows] = new


def examine(b: Batch, boxes: Boxes, z: Array | None) -> Solved:
    """Solve every box at its point; `z` are guesses of the teachers' shares.

    Where the budget does not pay for a point but may for other points of its box, the box is solved
    at the end that costs least, the weakest teacher of the smallest student. Planes stand steeply
    over what is not affordable, and say little of the rest.
    """
    found, affordable = _examine(b, boxes, z)
    if isinstance(b, frontier.Penalised):
        return found
    out = np.flatnonzero(
        ~affordable & np.isfinite(found.lower) & ((boxes.half_y > 0) | (boxes.half_u > 0))
    )
    if out.size:
        part = boxes.take(out)
        part = replace(part, at_y=part.y + part.half_y, at_u=part.u - part.half_u)
        other, affordable = _examine(b if len(b) == 1 else b.take(out), part, found.z[out])
        lower = np.where(affordable, other.lower, np.inf)
        found.put(out, replace(other, lower=lower))
    return found


def _examine(b: Batch, boxes: Boxes, z: Array | None) -> tuple[Solved, NDArray[np.bool_]]:
    u, y = boxes.at_u, boxes.at_y
    front = frontier.solve(b, u, y, z)
    zero = np.zeros_like(front.s)
    caps = [(front.height, front.along_y, front.along_u), (b.s_high, zero, zero)]
    most = np.minimum(front.s, b.s_high)
    least = least_in_box = b.s_low
    away_u = np.abs(boxes.u - u) + boxes.half_u
    away_y = np.abs(boxes.y - y) + boxes.half_y
    if np.isfinite(b.ratio_high).any():
        caps.append((b.ratio_high + u, zero, zero + 1.0))
        most = np.minimum(most, b.ratio_high + u)
    if np.isfinite(b.ratio_low).any():
        least = np.maximum(least, b.ratio_low + u)
        least_in_box = np.maximum(least_in_box, b.ratio_low + boxes.u - boxes.half_u)
    plane_reaches = front.height + front.along_y * away_y + np.abs(front.along_u) * away_u
    alive = plane_reaches >= least_in_box - frontier.FEASIBLE
    slack: float | Array = frontier.FEASIBLE
    limited = np.isfinite(b.rho_high) | (b.rho_low > 0)
    if limited.any():
        # L_T <= rho Lsup caps s by a function that falls in y and in u; L_T >= rho Lsup is a floor
        slack = np.where(limited, INVERTED, frontier.FEASIBLE)
        law = b.supervised
        strong, weak = (teacher_loss(b, boxes.y + side * boxes.half_y) for side in (-1.0, 1.0))
        t = np.exp(front.log_t)
        caps.append(
            (law.log_tokens_for_loss(boxes.u - boxes.half_u, strong / b.rho_high), zero, zero)
        )
        most = np.minimum(most, law.log_tokens_for_loss(u, t / b.rho_high))
        least_in_box = np.maximum(
            least_in_box, law.log_tokens_for_loss(boxes.u + boxes.half_u, weak / b.rho_low)
        )
        least = np.maximum(least, law.log_tokens_for_loss(u, t / b.rho_low))
    feasible = front.feasible & (most >= least - slack)
    height, along_y, along_u = caps[0]
    reached = plane_reaches
    for other in caps[1:]:
        lower = other[0] < height
        if lower.any():
            height = np.where(lower, other[0], height)
            along_y = np.where(lower, other[1], along_y)
            along_u = np.where(lower, other[2], along_u)
        reached = np.minimum(reached, other[0] + np.abs(other[2]) * away_u)
    alive &= reached >= least_in_box - slack
    at_s = np.where(feasible, most, np.maximum(height, b.s_low))
    cap = Cap(height, along_y, along_u, b.s_low)
    log_t, loss = front.log_t, None
    if isinstance(
        b, frontier.Penalised
    ):  # the teacher may be stronger than the box's, which is what is bounded
        log_t, loss = np.log(teacher_loss(b, y)), b.law.loss_on_logs(u, most, front.log_t)
    found = enclose(b, boxes, cap, at_s, log_t)
    loss = found.loss if loss is None else loss
    solved = Solved(
        u.copy(), y.copy(), most, front.n, front.d, front.log_t,
        np.where(feasible, loss, np.inf),
        front.z,
        np.where(alive, found.lower, np.inf),
        found.slope_y, found.slope_u, found.loose,
        _contract(b, boxes, caps[0]),
    )  # fmt: skip
    return solved, front.feasible


def _contract(b: Batch, boxes: Boxes, plane: tuple[Array, Array, Array]) -> Boxes:
    """The boxes less the strips in which the plane over the frontier is below the fewest tokens.

    Beside a sliver of feasible plans, nearly all of a box is such a strip.
    """
    height, along_y, along_u = plane
    low_y, high_y = boxes.y - boxes.half_y - boxes.at_y, boxes.y + boxes.half_y - boxes.at_y
    low_u, high_u = boxes.u - boxes.half_u - boxes.at_u, boxes.u + boxes.half_u - boxes.at_u
    floors = [(b.s_low, along_u)]
    if np.isfinite(b.ratio_low).any():
        floors.append((b.ratio_low + boxes.at_u, along_u - 1.0))
    for floor, rise in floors:
        room = height - floor + frontier.FEASIBLE  # feasible: room + along_y dy + rise du >= 0
        most_y = np.maximum(along_y * low_y, along_y * high_y)
        most_u = np.maximum(rise * low_u, rise * high_u)
        least_y = np.minimum(along_y * low_y, along_y * high_y)
        if np.all(room + least_y + np.minimum(rise * low_u, rise * high_u) >= 0):
            continue
        below, above = _where_positive(room + most_u, along_y)
        low_y, high_y = np.maximum(low_y, below), np.minimum(high_y, above)
        below, above = _where_positive(room + most_y, rise)
        low_u, high_u = np.maximum(low_u, below), np.minimum(high_u, above)
    high_y, high_u = np.maximum(low_y, high_y), np.maximum(low_u, high_u)
    return Boxes(
        boxes.at_y + 0.5 * (low_y + high_y),
        boxes.at_u + 0.5 * (low_u + high_u),
        0.5 * (high_y - low_y),
        0.5 * (high_u - low_u),
        boxes.at_y,
        boxes.at_u,
    )


def _where_positive(room: Array, rate: Array) -> tuple[Array, Array]:
    """The ends between which ``room + rate x >= 0``; infinite where rate or room say nothing."""
    known = np.isfinite(room) & (rate != 0)
    edge = -room / np.where(known, rate, 1.0)
    return np.where(known & (rate > 0), edge, -np.inf), np.where(known & (rate < 0), edge, np.inf)


class Best:
    """The best plan of every problem so far, and how far from it the next ones were looked at."""

    FIELDS = ("u", "y", "s", "n", "d", "log_t", "loss", "z", "slope_y", "slope_u")

    def __init__(self, b: Batch, low: Array, high: Array, owner: Index) -> None:
        problems = len(b)
        self.values = {name: np.full(problems, np.nan) for name in self.FIELDS}
        self.values["loss"][:] = np.inf
        self.half_y, self.half_u = np.zeros(problems), np.zeros(problems)
        self.low, self.high, self.owner = low, high, owner
        self.shared = bool(owner[-1] != problems - 1) if problems else False

    @property
    def loss(self) -> Array:
        """Its loss, (problems,)."""
        return self.values["loss"]

    @property
    def least(self) -> Array:
        """The best loss among the rows of one question, (problems,)."""
        if not self.shared:
            return self.loss
        least = np.full(int(self.owner[-1]) + 1, np.inf)
        np.minimum.at(least, self.owner, self.loss)
        return least[self.owner]

    def offer(self, index: Index, boxes: Boxes, found: Solved) -> None:
        """Take over every point that beats its problem's best."""
        if self.loss.size == 1:
            rows = np.array([np.argmin(found.loss)])
            if not found.loss[rows[0]] < self.loss[0]:
                return
        else:
            lowest = self.loss.copy()
            np.minimum.at(lowest, index, found.loss)
            rows = np.flatnonzero((found.loss == lowest[index]) & (found.loss < self.loss[index]))
        target = index[rows]
        for name in self.FIELDS:
            self.values[name][target] = getattr(found, name)[rows]
        self.half_y[target], self.half_u[target] = boxes.half_y[rows], boxes.half_u[rows]

    def plans(self) -> dict[str, Array]:
        """Logarithms of sizes and tokens, the teacher's loss and the student's."""
        plans = {name: self.values[name] for name in ("u", "s", "n", "d", "loss")}
        return {**plans, "t": np.exp(self.values["log_t"])}
