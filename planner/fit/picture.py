"""Pictures of a fit: predicted against measured, residuals, profiles, IsoFLOP curves with data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laws import ForwardFlops
from laws._types import Array
from laws.flops import two_n
from planner import units
from planner.errors import require
from planner.fit.estimate import Fit
from planner.fit.identify import Profile, profile
from planner.fit.report import Analysis
from planner.fit.rows import Rows
from planner.plots import style

_COLOURS = style.CYCLE
_ISOFLOP_TOLERANCE = 0.12  # runs within this log distance of a budget share its curve
_SAME_TEACHER = 0.003  # log of teachers' losses that count as one teacher
_PROFILE_POINTS = 15
_COARSE_POINTS = 5  # to find how wide it is
_WIDEST_PROFILE = float(np.log(2.0))  # half width of a profile, as a logarithm
_TOP = 20.0  # of a profile's picture
_NARROWINGS = 6
_MOST_PROFILES = 9


def draw(found: Analysis, path: Path, flops: ForwardFlops | None = None) -> None:
    """Write one figure with all panels; the suffix chooses the format."""
    style.check(path)
    names = found.point.task.free[:_MOST_PROFILES]
    rows = 2 + -(-len(names) // 3)
    with style.drawing():
        figure = require("matplotlib.figure", extra="plot").Figure(
            figsize=(15, 4.4 * rows), layout="constrained"
        )
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
        grid = figure.add_gridspec(rows, 3)
        _predicted(figure.add_subplot(grid[0, 0]), found)
        _residuals(figure.add_subplot(grid[0, 1]), found, "parameters")
        _residuals(figure.add_subplot(grid[0, 2]), found, "tokens")
        if found.point.task.rows.teacher_loss is not None:
            _residuals(figure.add_subplot(grid[1, 0]), found, "teacher_loss")
            _isoflop(figure.add_subplot(grid[1, 1:]), found.point, flops or two_n())
        else:
            _isoflop(figure.add_subplot(grid[1, :]), found.point, flops or two_n())
        for index, name in enumerate(names):
            _profile(figure.add_subplot(grid[2 + index // 3, index % 3]), found, name)
        style.figure_title(figure, _headline(found), _what(found))
    style.save(figure, path, _headline(found))


def _headline(found: Analysis) -> str:
    worst = 100 * float(np.abs(np.expm1(found.point.residuals)).max())
    mean = 100 * float(np.abs(np.expm1(found.point.residuals)).mean())
    return f"The fit errs by {mean:.2f}% on average and {worst:.2f}% at worst on its own runs"


def _what(found: Analysis) -> str:
    point = found.point
    return (
        f"{point.task.form.name} law, {len(point.task.rows)} runs, {point.protocol.name} protocol"
    )


def _predicted(axes: Any, found: Analysis) -> None:
    rows = found.point.task.rows
    residuals = found.point.residuals[: len(rows)]
    predicted = rows.loss * np.exp(residuals)
    groups = _groups(rows.parameters)
    for colour, (size, chosen) in zip(_COLOURS[: len(groups)], groups, strict=True):
        axes.plot(predicted[chosen], rows.loss[chosen], ".", color=colour, label=size)
    ends = [rows.loss.min(), rows.loss.max()]
    axes.plot(ends, ends, "-", color="0.6", linewidth=1, zorder=0)
    off = [each.row for each in found.outliers if each.kind == found.point.task.form.kind]
    axes.plot(predicted[off], rows.loss[off], "o", mfc="none", color="red", label="outliers")
    axes.set(
        xlabel="predicted cross-entropy (nats)", ylabel="measured", title="Predicted, measured"
    )
    axes.legend(fontsize=9, frameon=False)


def _residuals(axes: Any, found: Analysis, column: str) -> None:
    rows = found.point.task.rows
    percent = 100 * np.expm1(found.point.residuals[: len(rows)])
    axes.axhline(0.0, color="0.6", linewidth=1)
    axes.plot(getattr(rows, column), percent, ".", color=_COLOURS[0], markersize=4)
    words = {"teacher_loss": "teacher's cross-entropy (nats)"}.get(column, column)
    axes.set(xlabel=words, ylabel="predicted - measured (%)", title=f"Residuals by {words}")
    if column != "teacher_loss":
        values = getattr(rows, column)
        style.log_axis(axes.xaxis, values.min() / 1.3, values.max() * 1.3, words, most=6)


def _profile(axes: Any, found: Analysis, name: str) -> None:
    point = found.point
    if point.values[name] == 0:
        axes.set(title=f"{name} is zero: no profile")
        return
    curve = _fine_profile(point, name)
    axes.plot(curve.values, np.maximum(curve.rise, 0.0), "-", color=_COLOURS[0])
    axes.axhline(2.71, color="0.6", linewidth=1, linestyle="--")
    axes.axvline(point.values[name], color="0.6", linewidth=1)
    axes.set(xlabel=name, ylabel="rise of twice log-likelihood", ylim=(0, _TOP))
    open_ = {each.name for each in found.unidentified}
    said = "not identified" if name in open_ else "dashed: 90%"
    axes.set_title(f"Profile of {name} ({said})")
    axes.locator_params(axis="x", nbins=5)


def _fine_profile(point: Fit, name: str) -> Profile:
    """A profile over the factors where it rises to `_TOP`, so that it is a curve and no spike.

    A coarse profile over a factor of two either way is narrowed until it is seen.
    """
    reach = _WIDEST_PROFILE
    for _ in range(_NARROWINGS):
        coarse = profile(point, name, point.values[name] * _factors(reach, _COARSE_POINTS))
        inside = np.abs(np.log(coarse.values[coarse.rise < _TOP] / point.values[name]))
        seen = float(inside.max()) if inside.size else 0.0
        if seen > 0.4 * reach:
            reach = min(reach, 1.5 * seen)
            break
        reach = max(1.5 * seen, reach / _COARSE_POINTS)
    return profile(point, name, point.values[name] * _factors(reach, _PROFILE_POINTS))


def _factors(reach: float, points: int) -> Array:
    return np.asarray(np.exp(np.linspace(-reach, reach, points)))


def _isoflop(axes: Any, point: Fit, flops: ForwardFlops) -> None:
    """Loss against size at the student's training budgets on which at least three sizes were run.

    Distillations share a curve only if they share a teacher: one loss within `_SAME_TEACHER`.
    """
    rows = point.task.rows
    budgets = flops.training(rows.parameters, rows.tokens)
    curves = _curves(budgets, rows)
    for colour, (centre, teacher, chosen) in zip(_COLOURS, curves, strict=False):
        sizes = np.geomspace(rows.parameters[chosen].min() / 2, rows.parameters[chosen].max() * 2)
        tokens = centre / flops.training(sizes, 1.0)
        label = f"{centre:.1e} FLOPs"
        if teacher is not None and point.distillation is not None:
            losses = point.distillation.loss(sizes, tokens, teacher)
            label += f", teacher {teacher:.3f}"
        else:
            losses = point.form.loss(sizes, tokens)
        axes.plot(sizes, losses, "-", color=colour, label=label)
        axes.plot(rows.parameters[chosen], rows.loss[chosen], ".", color=colour)
    if not curves:
        _teachers(axes, point)
        return
    title = "IsoFLOP curves and runs"
    title += ", each of one teacher" if rows.teacher_loss is not None else ""
    axes.set(ylabel="cross-entropy (nats)", title=f"{title}; forward FLOPs {flops.name}")
    sizes = rows.parameters
    style.log_axis(axes.xaxis, sizes.min() / 2, sizes.max() * 2, "parameters")
    axes.legend(fontsize=9, frameon=False)


def _teachers(axes: Any, point: Fit) -> None:
    """Fixed students under varying teachers, the largest groups of runs."""
    rows = point.task.rows
    axes.set(title="No budget was run at three sizes: no IsoFLOP curve", ylabel="cross-entropy")
    if rows.teacher_loss is None or point.distillation is None:
        return
    students, group, counts = np.unique(
        np.stack([rows.parameters, rows.tokens]), axis=1, return_inverse=True, return_counts=True
    )
    for colour, k in zip(_COLOURS, np.argsort(-counts, kind="stable"), strict=False):
        chosen = group.ravel() == k
        size, tokens = students[:, k]
        teachers = np.linspace(rows.teacher_loss.min(), rows.teacher_loss.max(), 200)
        label = f"{units.format_count(float(size))} on {units.format_count(float(tokens))} tokens"
        axes.plot(teachers, point.distillation.loss(size, tokens, teachers), "-", color=colour)
        axes.plot(rows.teacher_loss[chosen], rows.loss[chosen], ".", color=colour, label=label)
    axes.set(xlabel="teacher's cross-entropy (nats)", ylabel="student's (nats)")
    axes.set_title("No budget was run at three sizes; fixed students under varying teachers")
    axes.legend(fontsize=9, frameon=False)


Curve = tuple[float, float | None, NDArray[np.bool_]]
"""FLOPs, the teacher's loss, and which runs belong to it."""


def _curves(budgets: Array, rows: Rows) -> list[Curve]:
    """Runs of equal compute and one teacher at three sizes or more: the fullest, by FLOPs."""
    teacher = rows.teacher_loss
    near = np.abs(np.log(budgets[:, None] / budgets[None])) < _ISOFLOP_TOLERANCE
    if teacher is not None:
        near &= np.abs(np.log(teacher[:, None] / teacher[None])) < _SAME_TEACHER
    found: list[Curve] = []
    left = np.ones(budgets.size, dtype=bool)
    while left.any():
        counts = (near & left[:, None] & left[None]).sum(axis=0)
        chosen = near[:, int(counts.argmax())] & left
        if np.unique(rows.parameters[chosen]).size >= 3:
            own = None if teacher is None else float(np.median(teacher[chosen]))
            found.append((float(np.exp(np.log(budgets[chosen]).mean())), own, chosen))
        left &= ~chosen
    largest = sorted(found, key=lambda each: -int(each[2].sum()))[: len(_COLOURS)]
    return sorted(largest, key=lambda each: (each[0], each[1] or 0.0))


def _groups(values: Array) -> list[tuple[str, Array]]:
    sizes = np.unique(values)
    if sizes.size > len(_COLOURS):
        return [("runs", np.ones(values.size, dtype=bool))]
    return [(units.format_count(float(size)), values == size) for size in sizes]
