"""What runs say nothing of: directions of the coefficients along which no prediction moves.

A fit would leave such a direction wherever it began, and every resample with it: an interval of
nearly zero width around a number that nobody measured. So it is refused, with the coefficients to
hold. Directions about which the runs say little, rather than nothing, move freely between resamples
and are the business of `planner.fit.identify`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from laws._types import Array
from planner.errors import PlannerError
from planner.fit.model import Model, natural, prior_width
from planner.fit.rows import implausible
from planner.fit.task import Task
from planner.verdict import MISFIT

LEAST_NOISE = 2e-4
_NOTHING = 1e-3  # a direction whose standard error is a thousand plain priors
_ADDED = ("E", "c0")
_STEP = 1e-3  # of a prior's width, for derivatives
_TAKES_PART = 0.05  # of the largest move of a coefficient along a direction
_STILL = 1e-3  # of the largest move, which is rounding
_ALIKE = 0.02  # sine of the angle between coefficients that move alike

MEASURE = {
    "E": "runs that are large in both parameters and tokens, where the loss nears its floor",
    "A": "runs of several sizes at many tokens per parameter",
    "alpha": "runs over a wider range of sizes at many tokens per parameter",
    "B": "runs with few and many tokens at the same large size",
    "beta": "runs with few and many tokens at the same large size",
    "gamma": "runs where the size term and the data term are equal, and runs far to either side",
    "c0": "teachers of very different loss at the same ratio of teacher's to student's loss",
    "c1": "students under teachers as weak as, and weaker than, the student trained alone",
    "d1": "students under teachers as weak as, and weaker than, the student trained alone",
    "f1": "a fixed student under teachers from much stronger to weaker than itself",
}
"""What to run to pin a coefficient down."""


def measure(name: str) -> str:
    """What to run to pin a coefficient of any law down."""
    every = "runs over a wider range of sizes, tokens and whatever else the law takes"
    return MEASURE.get(name.rpartition(".")[2], every)


_HELD_FIRST = ("c0", "c1", "d1", "f1", "gamma", "beta", "alpha", "E", "B", "A")


class UndeterminedError(PlannerError):
    """The runs are too few, or too alike, for the coefficients that are free."""


def undetermined_error(task: Task, message: str) -> UndeterminedError:
    """The error, with what looks wrong with the runs' columns: often the cause."""
    return UndeterminedError(" ".join((message, *implausible(task.rows))))


def noise_of(residuals: Array, free: int) -> float:
    """Spread of runs about a fit of `free` coefficients: robust, so that outliers do not hide what
    is precise."""
    spread = 1.4826 * np.median(np.abs(residuals - np.median(residuals)))
    # few runs are fitted more closely than they deserve
    freedom = max(1.0 - free / len(residuals), 0.1)
    return float(max(spread / np.sqrt(freedom), LEAST_NOISE))


def require_determined(task: Task, model: Model, theta: Array, resting: NDArray[np.bool_]) -> None:
    """UndeterminedError where the runs say nothing of some direction at a fit theta (P,).

    resting: coordinates on a bound, which are determined by it (E and c0 are not: they move every
    prediction alike wherever they are, and lean on a bound only if nothing holds them). A law
    that does not describe the runs at all is no witness of what they say, and passes.
    """
    predicted, jacobian = model.evaluate(theta[None])
    if float(np.abs(np.expm1(predicted[0] - task.observed)).mean()) > MISFIT:
        return
    noise = noise_of(predicted[0] - task.observed, len(task.free))
    own = [name.rpartition(".")[2] for name in model.names]
    free = np.flatnonzero([not r or name in _ADDED for r, name in zip(resting, own, strict=True)])
    if not free.size:
        return
    prior = np.array([prior_width(own[k]) for k in free])
    told = jacobian[0][free] * prior[:, None] / noise
    # Through the triangular factor: the runs may be many, the directions are few.
    triangle = np.asarray(np.linalg.qr(told.T, mode="r"))
    directions, size, _ = np.linalg.svd(triangle.T, full_matrices=True)
    blind = directions[:, np.pad(size, (0, free.size - size.size)) < _NOTHING]
    if not blind.shape[1]:
        return
    moves = np.zeros((len(task.free), blind.shape[1]))
    for k, direction in enumerate(blind.T):
        step = np.zeros_like(theta)
        step[free] = _STEP * prior * direction
        moves[:, k] = _moves(task, model, theta, step)
    raise undetermined_error(task, _sentence(task.free, moves))


def _moves(task: Task, model: Model, theta: Array, step: Array) -> Array:
    """How each free coefficient changes along a step, as a logarithm; c0 as it is, and A and B by
    what they do to the loss, which is a power gamma of them."""
    ends = [_natural(task, model, theta + sign * step) for sign in (-1.0, 1.0)]
    found = []
    for name in task.free:
        low, high = (float(np.ravel(end[name])[0]) for end in ends)
        linear = name.endswith("c0") or min(low, high) <= 0
        move = high - low if linear else float(np.log(high / low))
        prefix, dot, own = name.rpartition(".")
        gamma = ends[0].get(f"{prefix}{dot}gamma")
        power = 1.0 if gamma is None or own not in ("A", "B") else float(np.ravel(gamma)[0])
        found.append(move * power / (2.0 * _STEP))
    return np.array(found)


def _natural(task: Task, model: Model, theta: Array) -> Mapping[str, Array]:
    return natural(model.decode(theta[None]), task.origin)


def _sentence(names: tuple[str, ...], moves: Array) -> str:
    size = np.abs(moves) / np.abs(moves).max(axis=0)
    involved = [name for name, row in zip(names, size, strict=True) if row.max() >= _TAKES_PART]
    held = _to_hold(names, moves)
    wish = " ".join(f"--fix {name}=VALUE" for name in held)
    measures = dict.fromkeys(measure(name) for name in held)
    together = " together" if len(involved) > 1 else ""
    return (
        f"the runs say nothing of {_and(held)}: {_and(involved)} can change{together} without "
        "moving any prediction of these runs, so a fit would return where it began and call it "
        f"certain; add {'; and '.join(measures)}, or hold {_and(held)} with {wish}."
    )


def _to_hold(names: tuple[str, ...], moves: Array) -> list[str]:
    """As few coefficients as there are blind directions, whose holding leaves none open."""
    own = {name: name.rpartition(".")[2] for name in names}
    order = sorted(names, key=lambda n: _HELD_FIRST.index(own[n]) if own[n] in _HELD_FIRST else -1)
    size = np.linalg.norm(moves, axis=1)
    rows = moves / np.where(size > _STILL * size.max(), size, np.inf)[:, None]
    held: list[str] = []
    for name in order:
        chosen = rows[[names.index(each) for each in (*held, name)]]
        if np.linalg.matrix_rank(chosen, tol=_ALIKE) > len(held):
            held.append(name)
        if len(held) == moves.shape[1]:
            break
    return held


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
