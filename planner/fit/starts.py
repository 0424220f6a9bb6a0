"""Where fits start: the published grids, screened without fitting from each of their points.

All of a grid's points are evaluated on a spread of the runs (the law's two parts combine, so the
216,000 points of the distillation grid cost one logaddexp each); the best of every combination of
exponents is kept, and the best of those are fitted. A few starts scaled to the data join them,
since every published grid is blind to runs in other units of loss or size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from laws import SupervisedLaw
from laws._types import Array
from planner.fit.model import SUPERVISED_PREFIX, Model, internal
from planner.fit.rows import Rows
from planner.fit.solver import huber
from planner.fit.task import FORMS, Form, Task

KEEP = 24
_SCREEN_RUNS = 28
_SCREEN_DELTA = 0.03
_CHUNK = 4096
_POINTS = 6000  # of a law's own grid
_SCALED = 8
_ODDS = (-5.0, -2.5, 0.0, 2.5, 5.0)
_BENDS = (0.3, 0.8, 2.0)

Values = dict[str, Array]


def starts(task: Task, model: Model, density: int = 1) -> tuple[Array, int]:
    """Coordinates to start from, (S, P), and how many grid points they were chosen from.

    density: grid points kept per axis, 1 = all, 2 = every second, ... (for tests of robustness).
    """
    if task.form.plain:
        return _plain(task, model)
    screened, count = screen(task, density)
    data = scaled(task)
    joined = {
        name: np.concatenate([screened[name], data[name]]) if name in screened else data[name]
        for name in data
    }
    return encode(task, model, joined), count


def beside(task: Task, model: Model) -> Array:
    """A few coordinates scaled to the runs, (S, P), to stand beside a start that the user gave."""
    if task.form.plain:
        return _plain(task, model)[0][:_SCALED]
    return encode(task, model, scaled(task))


def _plain(task: Task, model: Model) -> tuple[Array, int]:
    """The best of random points of a law's own grid, evaluated through the law."""
    random, rows = np.random.default_rng(0), task.rows.take(_spread(task.rows))
    names = [each.name for each in model.coordinates]
    points = {name: random.choice(task.form.grid[name], _POINTS) for name in names}
    theta = encode(task, model, points)
    predicted = task.model(rows).predict(theta)
    score = huber(predicted - rows.log_loss, _SCREEN_DELTA).mean(axis=1)
    return theta[np.argsort(score, kind="stable")[: 2 * KEEP]], _POINTS


def encode(task: Task, model: Model, values: Mapping[str, Array]) -> Array:
    """Coordinates (S, P) of coefficients (S,), clipped into the bounds."""
    held = {name: np.asarray(value) for name, value in task.held.items()}
    found = internal({**values, **held}, model.names, task.origin)
    columns = [each.encode(np.clip(found[each.name], *each.bounds)) for each in model.coordinates]
    size = max(np.size(column) for column in columns)
    return np.stack([np.broadcast_to(column, (size,)) for column in columns], axis=1)


def around(model: Model, theta: Array) -> Array:
    """Starts beside a good fit, (S, P): same value and slopes at the centre, other bends.

    Data say least about s and gamma of each power law: that is where valleys hide.
    """
    names, found = model.names, []
    for prefix in ("", SUPERVISED_PREFIX):
        if not {prefix + "s", prefix + "h"} <= {*names}:
            continue
        for odds in _ODDS:
            for gamma in _BENDS if prefix + "gamma" in names else (None,):
                moved = theta.copy()
                moved[names.index(prefix + "s")] = odds
                if gamma is not None:
                    moved[names.index(prefix + "gamma")] = np.log(gamma)
                found.append(moved)
    return np.clip(np.array(found).reshape(-1, theta.size), model.lower, model.upper)


def scaled(task: Task) -> Values:
    """Starts scaled to the runs: four sharpnesses of bend by two irreducible losses."""
    values = _scaled_power(task.rows, task.origin)
    if task.form.kind == "distillation":
        size = values["A"].size
        for name, value in (("c0", 2.0), ("c1", 20.0), ("d1", 1.4), ("f1", 0.15)):
            values[name] = np.full(size, value)
        del values["E"]
        if task.supervised_rows is not None:
            beside = _scaled_power(task.supervised_rows, task.origin)
            values |= {SUPERVISED_PREFIX + name: value for name, value in beside.items()}
    return values


def _scaled_power(rows: Rows, origin: tuple[float, float]) -> Values:
    gamma, floor = (
        axis.ravel() for axis in np.meshgrid([0.3, 0.6, 1.0, 2.0], [0.5, 0.85], indexing="ij")
    )
    irreducible = floor * rows.loss.min()
    power = np.log(np.median(rows.loss) - irreducible)
    slope = 0.15 / gamma * 2.0
    intercept = power / gamma - np.log(2.0)
    return {
        "E": irreducible,
        "gamma": gamma,
        "alpha": slope,
        "beta": slope,
        "A": np.exp(intercept + slope * origin[0]),
        "B": np.exp(intercept + slope * origin[1]),
    }


def screen(task: Task, density: int = 1) -> tuple[Values, int]:
    """The best point of the published grid for every combination of exponents, best first."""
    if task.supervised_rows is None:
        return _screen(task.form, task.rows, task, density)
    # A joint fit: the supervised part is screened on its own runs, the rest under its best point.
    form = FORMS["supervised"]
    alone = Task(form, task.supervised_rows)
    beside, count = _screen(form, task.supervised_rows, alone, density)
    best = {name: float(value[0]) for name, value in beside.items()}
    under = Task(task.form, task.rows, SupervisedLaw(**best))
    found, more = _screen(task.form, task.rows, under, density)
    size = len(found["A"])
    for name, value in beside.items():
        found[SUPERVISED_PREFIX + name] = np.resize(value, size)
    return found, count + more


def _screen(form: Form, rows: Rows, task: Task, density: int) -> tuple[Values, int]:
    few = rows.take(_spread(rows))
    grid = {
        name: np.array([task.held[name]]) if name in task.held else form.grid[name][::density]
        for name in form.coefficients
    }
    power = _mesh(grid, ("alpha", "beta", "gamma", "A", "B"))
    other = _mesh(grid, ("c0", "c1", "d1", "f1") if form.kind == "distillation" else ("E",))
    log_power = _log_power(few, power)
    base, exponent = _other(few, task, other)
    score = np.empty((log_power.shape[0], base.shape[0]))
    for first in range(0, log_power.shape[0], max(1, _CHUNK // base.shape[0])):
        part = slice(first, first + max(1, _CHUNK // base.shape[0]))
        predicted = np.logaddexp(base[None], exponent[None] + log_power[part, None])
        score[part] = huber(predicted - few.log_loss, _SCREEN_DELTA).mean(axis=2)
    cells = int(np.prod([grid[name].size for name in ("alpha", "beta", "gamma")]))
    by_cell = score.reshape(cells, -1)
    winners = by_cell.argmin(axis=1)
    order = np.argsort(by_cell[np.arange(cells), winners], kind="stable")[:KEEP]
    flat = order * by_cell.shape[1] + winners[order]
    at_power, at_other = np.divmod(flat, base.shape[0])
    found = {name: value[at_power] for name, value in power.items()}
    found |= {name: value[at_other] for name, value in other.items()}
    return found, score.size


def _spread(rows: Rows) -> NDArray[np.int64]:
    """Indices of runs that spread over losses."""
    order = np.argsort(rows.loss, kind="stable")
    picks = np.linspace(0, len(order) - 1, min(_SCREEN_RUNS, len(order))).round().astype(int)
    return np.asarray(order[picks])


def _mesh(grid: Mapping[str, Array], names: tuple[str, ...]) -> Values:
    axes = np.meshgrid(*(grid[name] for name in names), indexing="ij")
    return {name: axis.ravel() for name, axis in zip(names, axes, strict=True)}


def _log_power(rows: Rows, p: Values) -> Array:
    by_size = np.log(p["A"])[:, None] - p["alpha"][:, None] * rows.log_parameters
    by_data = np.log(p["B"])[:, None] - p["beta"][:, None] * rows.log_tokens
    return np.asarray(p["gamma"][:, None] * np.logaddexp(by_size, by_data))


def _other(rows: Rows, task: Task, p: Values) -> tuple[Array, Array]:
    """(base, exponent) with log L = logaddexp(base, exponent + log power), (G, n) each."""
    if task.form.kind == "supervised":
        with np.errstate(divide="ignore"):
            base = np.log(p["E"])[:, None] + np.zeros(len(rows))
        return base, np.zeros_like(base)
    assert task.supervised_law is not None
    ratio = rows.log_teacher - np.log(task.supervised_law.loss(rows.parameters, rows.tokens))
    z = (ratio - np.log(p["d1"])[:, None]) / p["f1"][:, None]
    gap = (p["c1"] * p["f1"])[:, None] * np.logaddexp(0.0, z)
    base = np.broadcast_to(rows.log_teacher, gap.shape)
    return base, -p["c0"][:, None] * rows.log_teacher - gap
