"""The smallest budget at which every student of a family reaches its own target loss.

For a teacher of reach y every student needs a known number of tokens; the budget is what they and
the teacher cost, a function of y alone. Branch and bound over y: over ``y +- half`` a student needs
at least the tokens at which a lower bound of its loss meets the target, and the teacher costs at
least what the weakest of the box costs to read them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.optimise import frontier
from planner.optimise.batch import Array
from planner.optimise.bound import teacher_loss
from planner.optimise.starts import reach_range
from planner.questions.family.costs import plane_under
from planner.questions.family.fleet import Fleet, cheapest_teacher, equation_8, value

ROOTS, SPLIT, ROUNDS, MAX_BOXES, BISECTIONS = 64, 4, 14, 20_000, 70


@dataclass(frozen=True)
class Cheapest:
    """The plan of least cost in FLOPs and a proven lower bound on any; inf where none exists."""

    s: Array
    n: float
    d: float
    t: float
    cost: float
    lower_bound: float
    boxes: int


def cheapest(f: Fleet, targets: Array, tolerance: float) -> Cheapest:
    """Minimise the FLOPs of the first problem's copies; `tolerance` is relative.

    targets: (K,) cross-entropies in nats per token.
    """
    low, high = (float(edge[0]) for edge in reach_range(f.b))
    count = 1 if low >= high else ROOTS
    half = np.full(count, 0.5 * max(high - low, 0.0) / count)
    y = low + (2 * np.arange(count) + 1) * half
    best, found, bound, boxes = np.inf, low, np.inf, 0
    for round_ in range(ROUNDS):
        if y.size == 0:
            break
        boxes += y.size
        s = _tokens(f, y, np.zeros_like(y), targets)
        cost = _cost(f, y, s)[0]
        if np.min(cost) < best:
            best, found = float(np.min(cost)), float(y[np.argmin(cost)])
        lower = _cost(f, y + half, _tokens(f, y, half, targets))[1]
        open_ = lower < best * (1 - 0.9 * tolerance)
        if round_ == ROUNDS - 1 or np.count_nonzero(open_) * SPLIT > MAX_BOXES:
            open_[:] = False
        bound = min(bound, float(np.min(lower[~open_], initial=np.inf)))
        offsets = (2.0 * np.arange(SPLIT) + 1.0) / SPLIT - 1.0
        y = (y[open_][:, None] + offsets * half[open_][:, None]).ravel()
        half = np.repeat(half[open_] / SPLIT, SPLIT)
    at = np.array([found])
    s = _tokens(f, at, np.zeros(1), targets)
    n, d = _teacher(f, at, s)
    bound = best if not np.isfinite(bound) else bound
    t = float(teacher_loss(f.b, at)[0])
    return Cheapest(s[0], float(n[0]), float(d[0]), t, best, bound * (1 - 1e-12), boxes)


def _tokens(f: Fleet, y: Array, half: Array, targets: Array) -> Array:
    """Log tokens below which no teacher within y +- half brings a student to its target, (M, K).

    inf where not even the most tokens allowed are enough.
    """
    low, high = f.limits(y, half)
    low, top = low.copy(), high.copy()
    enough = _least_loss(f, y, half, top) <= targets
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + top)
        above = _least_loss(f, y, half, middle) > targets
        low, top = np.where(above, middle, low), np.where(above, top, middle)
    exact = half[:, None] == 0
    absent = f.copies[:1] == 0
    s = np.where(exact, top, low)
    return np.where(absent, 0.0, np.where(enough & (low <= high), s, np.inf))


def _least_loss(f: Fleet, y: Array, half: Array, s: Array) -> Array:
    """A lower bound of the loss at tokens s over the teachers y +- half; the loss for half = 0."""
    b = f.b
    t, t0, t1 = (teacher_loss(b, y + sign * half)[:, None] for sign in (0.0, -1.0, 1.0))
    here = value(b, f.u, s, t)
    loss = t + np.exp(here.log_second)
    if not np.any(half > 0):
        return np.asarray(loss)
    strong, weak = value(b, f.u, s, t0), value(b, f.u, s, t1)
    most, least = np.exp(strong.log_second), np.exp(weak.log_second)
    law, own = equation_8(b), b.supervised
    rise0, rise1 = (np.where(b.existing, 0.0, own.gamma) * (each - own.E) for each in (t0, t1))
    slope_low = rise0 - most * rise1 / t1 * (law.c0 + law.c1 * weak.gate)
    slope_high = rise1 - least * rise0 / t0 * (law.c0 + law.c1 * strong.gate)
    aside = half[:, None] * np.maximum(np.maximum(-slope_low, slope_high), 0.0)
    return np.asarray(np.maximum(loss - aside, t0 + least))


def _teacher(f: Fleet, y: Array, s: Array) -> tuple[Array, Array]:
    b = f.b
    if np.all(b.existing):
        return np.full_like(y, np.nan), np.full_like(y, np.nan)
    if np.any(b.charge_pretraining > 0):
        return cheapest_teacher(b, y, _read(f, s))
    if np.all(b.charge_inference == 0):  # any teacher of that reach: the cheapest to train
        return frontier.teacher(b, y, frontier.cheapest_training(b, y))
    return frontier.teacher(b, y, frontier.share_range(b, y)[1])


def _read(f: Fleet, s: Array) -> Array:
    tokens = np.where(f.copies[:1] > 0, np.exp(np.minimum(s, 200.0)), 0.0)
    return np.asarray(np.max(tokens, axis=1) if f.cached else np.sum(f.copies[:1] * tokens, axis=1))


def _cost(f: Fleet, y: Array, s: Array) -> tuple[Array, Array]:
    """FLOPs of students on e^s tokens under the cheapest teacher of reach y, and a lower bound that
    holds however well that teacher was found."""
    b = f.b
    possible = np.all(np.isfinite(s), axis=1)
    s = np.where(possible[:, None], s, 0.0)
    student, _ = b.flops.on_logs(f.u)
    tokens = np.where(f.copies[:1] > 0, np.exp(s), 0.0)
    students = np.sum(3.0 * student * f.copies[:1] * tokens, axis=1)
    read = _read(f, s)
    if np.all(b.existing):
        teacher = b.charge_inference * b.teacher_flops * read
        slack = np.zeros_like(read)
    elif np.any(b.charge_pretraining > 0):
        n, d = cheapest_teacher(b, y, read)
        plane = plane_under(f, np.zeros(y.size, dtype=np.intp), n, d, read)
        teacher = plane.cost * f.budget[0]
        slack = plane.mu * np.minimum(plane.reach - y, 0.0) + plane.slack
    else:
        n, _ = _teacher(f, y, s)
        teacher = b.charge_inference * b.flops.on_logs(n)[0] * read
        slack = np.zeros_like(read)
    total = np.where(possible, students + teacher, np.inf)
    lower = np.where(possible, students + teacher * (1.0 + slack), np.inf)
    return np.asarray(total), np.asarray(lower)
