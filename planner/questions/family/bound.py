"""Lower bounds on a family's weighted cross-entropy over ranges of the teacher's reach.

For teachers of reach ``y' = y +- half`` and any price lambda >= 0 weak duality gives

    sum_k w_k L_k  >=  sum_k min psi_k(s, y')  +  min phi(y')  -  lambda,
    psi_k = w_k (t + S_k(s, t)) + lambda (student's training and its part of the teacher) - e_k y',
    phi   = lambda (the rest of the teacher) + sum_k e_k y',     all costs as parts of the budget,

one student at a time. Where the teacher's training is not charged, its part is linear in the
students' tokens: it is as small as its tokens allow, whatever the students do. Where it is charged,
the cost ``F_T (di T + 3 dp D_T)`` of a teacher of reach y' is bounded from below twice, and the
better bound counts. By a plane: its logarithm is convex in (log T, n, d), log T is convex in s, and
``e^x >= 1 + x``. By chords: for a given reach the cheapest teacher's cost is concave in T. With
stored logits any weights that sum to one may stand for the longest run, which is no shorter than a
mean of all.

Each minimum is bounded on cells of s that grow away from the point's s_k: S falls in s and t and
every factor of its gradient is monotone, so the cell's corners enclose the gradient, and where its
sign is certain the cell's end is the exact minimum. No convexity of S is needed; what the bound
loses where S is not convex shows as a gap. The e_k make every psi_k stationary where the whole is,
so the bound is accurate to second order in `half`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.optimise.batch import Array, Index
from planner.questions.family.costs import (
    Cells,
    Teachers,
    chord,
    first_cells,
    halve,
    least_training,
    teachers,
    theta,
    trained,
)
from planner.questions.family.fleet import Fleet, Points, equation_8, value

GROWTH = 1.3
NO_PRICE = 1e-30  # nats for the whole budget: less than rounding
FIRST_CELL = (1e-4, 0.05)  # in log tokens, following the width of the box
FARTHEST = 60.0  # in log tokens: farther than any two bounds on them
CHUNK = 10_000  # boxes times kinds of student at a time: memory
HALVINGS, FINEST = 13, 1e-3
MOST_CELLS, MOST_AT_ONCE = 40, 20_000  # ranges of a box, of all: its parts need fewer


def lower_bounds(f: Fleet, row: Index, at: Points, half: Array, enough: Array) -> Array:
    """One bound per box, without a margin for rounding; inf where no plan is feasible.

    Where the first bound stays below `enough`, more work goes into a better one.
    """
    found = _bounds(f, row, at, half, teachers(f, row, at, half))
    low = np.flatnonzero(found < enough) if trained(f) else np.array([], dtype=np.intp)
    if low.size == 0:
        return found
    row, at, half, enough = row[low], _take(at, low), half[low], enough[low]
    edge = _stationary(f, row, at, half)
    other = _bounds(f, row, edge, half, teachers(f, row, edge, half))
    found[low] = np.maximum(found[low], other)
    if np.any(f.b.charge_inference > 0):
        for points in (at, edge):
            # without a price the teacher's cost proves nothing, however it is bounded
            hope = np.flatnonzero((found[low] < enough) & (points.price > NO_PRICE))
            hope = hope[~_lost(f, row[hope], _take(points, hope), half[hope], enough[hope])]
            if hope.size:
                more = _by_chords(f, row[hope], _take(points, hope), half[hope], enough[hope])
                found[low[hope]] = np.maximum(found[low[hope]], more)
    return found


def _stationary(f: Fleet, row: Index, at: Points, half: Array) -> Points:
    """The points at the price that makes the whole stationary in y; any price proves a bound.

    Where every student's tokens stand at their bounds, more compute is worth nothing, until the
    teacher of a smaller reach is more than the budget buys. The best plan lies at that edge, where
    the price jumps, and only the one between proves it: under any other a bound lies below by the
    loss's slope times `half`.
    """
    box = teachers(f, row, at, half)
    free = replace(at, price=np.zeros_like(at.price))
    gain = _own_slopes(f, free, f.weight[row], box).sum(axis=1)
    cost = box.fixed_y + np.sum(at.reading * np.exp(at.s), axis=1) * box.token_y[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where((cost < 0) & (gain > 0), -gain / cost, at.price)
    return replace(at, price=price)


def _lost(f: Fleet, row: Index, at: Points, half: Array, enough: Array) -> NDArray[np.bool_]:
    """Boxes that chords cannot save: one range of the tokens fails however often it is halved.

    Follows only the worst range of every box, which costs a few bounds, where `_by_chords` may
    take thousands to find the same.
    """
    lost = np.full(half.shape, False)
    if half.size == 0:
        return lost
    cells = first_cells(f, row, at)
    for _ in range(HALVINGS + 1):
        where = cells.box
        lower = _bounds(f, row[where], _take(at, where), half[where],
                        chord(f, at.y[where], half[where], cells))  # fmt: skip
        order = np.lexsort((lower, where))
        boxes, first = np.unique(where[order], return_index=True)
        worst = order[first]
        failing = lower[worst] < enough[boxes]
        fine = ~_may_halve(cells, half)[worst]
        lost[boxes[failing & fine]] = True
        go = worst[failing & ~fine]
        if go.size == 0:
            break
        keep = np.full(where.shape, False)
        keep[go] = True
        cells = halve(f, row, at.y, cells.take(keep))
    return lost


def _may_halve(cells: Cells, half: Array) -> NDArray[np.bool_]:
    """Whether a range is still coarser than its box."""
    width = np.log(cells.many / np.maximum(cells.few, 1e-3 * cells.many))
    return np.asarray(width > np.maximum(3.0 * half[cells.box], FINEST))


def _by_chords(f: Fleet, row: Index, at: Points, half: Array, enough: Array) -> Array:
    """Lower bounds with the teacher's cost from below by chords.

    For a given reach the cheapest teacher's cost is concave in the tokens it reads, so over a range
    of them it lies above the chord. A box's bound is the least over ranges that cover everything
    from none to more than the budget can train on; ranges that fall short of `enough` are halved,
    as far as that is finer than the box itself.
    """
    bound = np.full(half.shape, np.inf)
    cells = first_cells(f, row, at)
    for halving in range(HALVINGS + 1):
        if cells.box.size == 0:
            break
        where = cells.box
        lower = _bounds(f, row[where], _take(at, where), half[where],
                        chord(f, at.y[where], half[where], cells))  # fmt: skip
        failing = lower < enough[where]
        split = failing & _may_halve(cells, half)
        # a box that no halving can save needs no further work
        lost = np.full(half.shape, False)
        lost[where[failing & ~split]] = True
        many = np.bincount(where[split], minlength=half.size) > MOST_CELLS
        split &= ~(lost | many)[where] & (halving < HALVINGS) & (where.size < MOST_AT_ONCE)
        np.minimum.at(bound, where[~split], lower[~split])
        cells = halve(f, row, at.y, cells.take(split))
    return bound


def _bounds(f: Fleet, row: Index, at: Points, half: Array, box: Teachers) -> Array:
    """Bounds under given teachers' costs, a chunk at a time."""
    out = np.empty(half.shape)
    size = max(1, CHUNK // f.u.size)
    for start in range(0, half.size, size):
        part = slice(start, start + size)
        out[part] = _chunk(f, row[part], _take(at, part), half[part], box.take(part))
    return out


def _chunk(f: Fleet, row: Index, at: Points, half: Array, box: Teachers) -> Array:
    b, weight, copies = f.b, f.weight[row], f.copies[row]
    present = copies > 0
    low, high = f.limits(at.y, half)
    student, _ = b.flops.on_logs(f.u)
    train = 3.0 * student * copies / f.budget[row][:, None]  # parts of the budget, per token
    own = train  # a trained teacher's least cost is set aside instead, below
    if not trained(f):
        own = train + (1.0 if f.cached else copies) * box.per_token[0][:, None]
    left_over = np.maximum(1.0 - least_training(f, row, at.y + half), 1e-300)
    high = np.minimum(
        high, np.log(left_over)[:, None] - np.log(np.where(present, own, 1e-300)) + 1e-9
    )
    cheapest = train + at.reading * box.per_token[0][:, None]
    least = np.sum(np.where(present, cheapest * np.exp(low), 0.0), axis=1)
    logs = box.by_log_tokens[:, None] * theta(f, row, at)
    teacher = box.fixed - half * np.abs(box.fixed_y)
    teacher = teacher + np.sum(np.where(present, logs * (low - at.s), 0.0), axis=1)
    impossible = least + np.maximum(teacher, 0.0) > 1 + 1e-9
    impossible |= np.any(present & (low > high), axis=1)
    high = np.maximum(low, high)

    edges = _edges(at.s, low, high, np.clip(0.5 * half, *FIRST_CELL))
    t0, t1 = (each[:, None, None] for each in box.t)
    t, u = at.t[:, None, None], f.u[None, :, None]
    centre, strong, weak = (value(b, u, edges, each) for each in (t, t0, t1))
    law = equation_8(b)
    planned = np.where(b.existing, 0.0, b.supervised.gamma)
    rise0, rise1 = planned * (t0 - b.supervised.E), planned * (t1 - b.supervised.E)
    w, price = weight[:, :, None], at.price[:, None, None]
    read = at.reading[:, :, None]
    logs = price * logs[:, :, None]
    rates = [train[:, :, None] + read * each[:, None, None] for each in box.per_token]
    tokens = np.exp(edges)
    left, right = tokens[..., :-1], tokens[..., 1:]
    most, least_second = np.exp(strong.log_second[..., :-1]), np.exp(weak.log_second[..., 1:])
    sup_low, sup_high = centre.sup_elasticity[..., 1:], centre.sup_elasticity[..., :-1]
    fall_low = law.c1 * strong.gate[..., :-1] * sup_low + centre.own[..., 1:]
    fall_high = law.c1 * weak.gate[..., 1:] * sup_high + centre.own[..., :-1]
    s_low = price * rates[0] * left + logs - w * most * fall_high
    s_high = price * rates[2] * right + logs - w * least_second * fall_low
    drop_low = least_second * rise0 / t0 * (law.c0 + law.c1 * strong.gate[..., :-1])
    drop_high = most * rise1 / t1 * (law.c0 + law.c1 * weak.gate[..., 1:])

    e, rest = _split_slopes(f, at, weight, box)
    token_y = [price * read * each[:, None, None] for each in box.token_y]
    turns = [each * part for each in token_y for part in (left, right)]
    y_low = w * (rise0 - drop_high) + np.minimum.reduce(turns) - e[:, :, None]
    y_high = w * (rise1 - drop_low) + np.maximum.reduce(turns) - e[:, :, None]

    psi = w * (t + np.exp(centre.log_second)) + price * rates[1] * tokens
    psi = psi + logs * (edges - at.s[:, :, None])
    width = np.diff(edges, axis=-1)
    cells = np.maximum(
        psi[..., :-1] + np.minimum(s_low, 0.0) * width,
        psi[..., 1:] - np.maximum(s_high, 0.0) * width,
    )
    cells = cells - _aside(half[:, None, None], y_low, y_high)
    best = np.sum(np.where(present, np.min(cells, axis=-1), 0.0), axis=1)
    teacher = at.price * box.fixed - half * np.abs(at.price * box.fixed_y + rest)
    return np.where(impossible, np.inf, np.maximum(best + teacher - at.price, box.t[0]))


def _split_slopes(f: Fleet, at: Points, weight: Array, box: Teachers) -> tuple[Array, Array]:
    """e_k, (M, K), and their sum, (M,): a kind gives up its own slope in y but for a share (its
    weight) of the whole's."""
    own = _own_slopes(f, at, weight, box)
    whole = own.sum(axis=1) + at.price * box.fixed_y
    each = own - weight * whole[:, None]
    return each, each.sum(axis=1)


def _own_slopes(f: Fleet, at: Points, weight: Array, box: Teachers) -> Array:
    """The slope of every kind's psi in y before any of it is given up, (M, K)."""
    b, law = f.b, equation_8(f.b)
    here = value(b, f.u, at.s, at.t[:, None])
    rise = np.where(b.existing, 0.0, b.supervised.gamma * (at.t - b.supervised.E))[:, None]
    second = np.exp(here.log_second)
    own = weight * (rise - second * rise / at.t[:, None] * (law.c0 + law.c1 * here.gate))
    return np.asarray(own + at.price[:, None] * at.reading * np.exp(at.s) * box.token_y[1][:, None])


def _aside(half: Array, low: Array, high: Array) -> Array:
    """The most that a function with a slope in [low, high] can fall within `half` of the centre."""
    return half * np.maximum(np.maximum(-low, high), 0.0)


def _edges(s: Array, low: Array, high: Array, first: Array) -> Array:
    """Ends of cells around every s that grow away from it and cover all of [low, high]."""
    reach = float(np.max(np.maximum(high - s, s - low), initial=FIRST_CELL[1]))
    reach = min(reach, FARTHEST)
    steps = int(np.ceil(np.log(reach / float(np.min(first))) / np.log(GROWTH))) + 1
    away = first[:, None] * GROWTH ** np.arange(steps + 1)
    offsets = np.concatenate([-away[:, ::-1], away], axis=1)
    return np.asarray(
        np.clip(s[:, :, None] + offsets[:, None, :], low[:, :, None], high[:, :, None])
    )


def _take(points: Points, part: slice | Index) -> Points:
    return Points(*(getattr(points, name)[part] for name in Points.__dataclass_fields__))
