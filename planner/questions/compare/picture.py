"""Distilling against supervised training over budgets: the difference per scenario, per student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planner import units
from planner.errors import ProblemError
from planner.plots import style
from planner.questions.compare.answer import Comparisons
from planner.questions.compare.curves import Comparison
from planner.questions.compare.sheet import headline, student, verdict
from planner.results import Coefficients
from planner.verdict import LAW_ERROR

LINEAR = 0.006  # nats: the scale of losses is linear within this and logarithmic beyond


def caption(answer: Comparisons) -> str:
    """The finding, as words under a picture."""
    return " ".join(verdict(each) for each in answer.comparisons)


def draw(answer: Comparisons) -> Any:
    """One panel per student: loss minus supervised loss over the budget, zero in the middle."""
    found, coefficients = answer.comparisons, answer.coefficients
    if found[0].budgets.size < 3:
        raise ProblemError(
            "a picture needs a range of budgets; give one like --budget 1e19:1e26 with --plot."
        )
    with style.drawing():
        if len(found) == 1:
            made, axes = style.figure(11.0, 6.0)
            _panel(axes, found[0], found, legend=True)
            style.title(axes, headline(answer), _small(found, coefficients))
            return made
        columns = 2 if len(found) in (2, 4) else 3
        rows = -(-len(found) // columns)
        made, grid = style.figures(
            rows, columns, 6.6 * columns if columns == 2 else 16.5, 1.1 + 3.9 * rows, sharey=True
        )
        panels = [axes for row in grid for axes in row]
        for position, (axes, each) in enumerate(zip(panels, found, strict=False)):
            _panel(axes, each, found, legend=position % columns == columns - 1)
            axes.set_title(student(each), loc="left", fontsize=13, fontweight="bold")
            if position % columns:
                axes.yaxis.set_tick_params(labelleft=False)
                axes.set_ylabel("")
        for axes in panels[len(found) :]:
            axes.set_visible(False)
        style.figure_title(made, headline(answer), _small(found, coefficients, True))
        return made


def _small(found: Sequence[Comparison], coefficients: Coefficients, several: bool = False) -> str:
    grey = "grey: within the law's own error; " if several else ""
    if any(each.curves[0].held_from is not None for each in found):
        grey += "hatched: a cap on tokens holds the supervised model, nothing is compared; "
    return (
        f"Student's best cross-entropy minus the supervised one at the same budget; {grey}thick "
        f"where the law was measured. Law: {coefficients.name}"
    )


def _panel(axes: Any, each: Comparison, found: Sequence[Comparison], legend: bool) -> None:
    budgets = each.budgets
    axes.set_yscale("asinh", linear_width=LINEAR)
    low, high = _limits(found)
    axes.set_ylim(low, high)
    style.log_axis(axes.xaxis, float(budgets[0]), float(budgets[-1]), "Budget, FLOPs", style.flops)
    ticks = [
        t
        for t in (-3, -1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1)
        if low <= t <= high
    ]
    axes.set_yticks(ticks, [f"{t:+g}".replace("-", "−") if t else "0" for t in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylabel("Loss minus supervised, nats per token\n(linear near zero, then logarithmic)")
    error = LAW_ERROR * each.supervised
    axes.fill_between(budgets, -error, error, color="#f0f0f0", lw=0, zorder=0)
    if len(found) == 1:
        axes.annotate(
            "within the law's own error", (0.985, -float(error[-1])), (0, 4),
            xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
            va="bottom", fontsize=9.5, color=style.FAINT,
        )  # fmt: skip
    axes.axhline(0, color=style.SUPERVISED, lw=1.6, zorder=2)
    labels = [style.Label(float(budgets[-1]), 0.0, "supervised", style.SUPERVISED)]
    for curve in each.curves:
        colour = style.colour(curve.scenario)
        free = np.where(curve.held, np.nan, curve.difference)
        axes.plot(budgets, free, color=colour, lw=2.0, zorder=3)
        measured = np.where(curve.inside, free, np.nan)
        axes.plot(budgets, measured, color=colour, lw=6.5, alpha=0.9, zorder=4)
        for crossing in curve.crossovers:
            face = colour if crossing.in_domain else "white"
            axes.plot([crossing.budget], [0], "o", ms=8, mfc=face, mec=colour, mew=2.2, zorder=6)
        ends = np.flatnonzero(np.isfinite(free))
        if ends.size:
            end = ends[-1]
            labels.append(
                style.Label(float(budgets[end]), float(free[end]), curve.scenario, colour)
            )
    held = each.curves[0].held_from
    if held is not None:
        axes.axvspan(
            held, float(budgets[-1]), facecolor="none", edgecolor="#d8d8d8", hatch="//", lw=0,
            zorder=1,
        )  # fmt: skip
    _say_sides(axes)
    _name_crossings(axes, each)
    if legend:
        style.label_lines(axes, labels)


def _limits(found: Sequence[Comparison]) -> tuple[float, float]:
    values = np.concatenate([curve.difference for each in found for curve in each.curves])
    values = values[np.isfinite(values)]
    return min(-0.05, 1.6 * float(values.min())), max(0.05, 1.9 * float(values.max()))


def _say_sides(axes: Any) -> None:
    for height, align, text in (
        (0.985, "top", "supervised training is better"),
        (0.015, "bottom", "distilling is better"),
    ):
        axes.text(
            0.985, height, text, transform=axes.transAxes, ha="right", va=align, fontsize=11,
            color=style.FAINT, fontstyle="italic",
        )  # fmt: skip


def _name_crossings(axes: Any, each: Comparison) -> None:
    """Budgets at the crossovers, above and below the zero line in turn so that they stay apart."""
    crossings = sorted(
        ((c.budget, curve.scenario) for curve in each.curves for c in curve.crossovers),
        key=lambda pair: pair[0],
    )
    for position, (budget, scenario) in enumerate(crossings):
        above = position % 2 == 0
        step = 14 + 13 * (position // 2 % 2)
        axes.annotate(
            units.format_flops(budget, 2), (budget, 0), (0, step if above else -step),
            textcoords="offset points", ha="center", va="bottom" if above else "top",
            fontsize=9.5, color=style.colour(scenario), fontweight="bold", zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )  # fmt: skip
