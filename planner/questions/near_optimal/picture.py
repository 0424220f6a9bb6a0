"""The flat valley: the best loss along each variable, and the part of it under the ceiling."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.plots import style
from planner.questions.near_optimal.answer import NearOptimal, Span
from planner.questions.near_optimal.sheet import NAMES, title, verdict
from planner.reports.sheet import qualified

BAND = "#cfe3f2"


def caption(found: NearOptimal) -> str:
    """The finding, as words under the picture."""
    return verdict(found)


def draw(found: NearOptimal) -> Any:
    """One panel per variable, all with the same scale of loss."""
    spans = found.spans
    columns = 3 if len(spans) > 4 else min(len(spans), 2)
    rows = -(-len(spans) // columns)
    with style.drawing():
        made, grid = style.figures(
            rows,
            columns,
            (5.2 if columns == 3 else 6.4) * columns + 0.2,
            1.1 + 3.4 * rows,
            sharey=True,
        )
        panels = [axes for row in grid for axes in row]
        for position, (axes, span) in enumerate(zip(panels, spans, strict=False)):
            _panel(axes, span, found)
            if position % columns == 0:
                axes.set_ylabel("Student loss, nats per token")
        for axes in panels[len(spans) :]:
            axes.set_visible(False)
        style.figure_title(made, headline(found), f"{title(found)}. Law: {found.coefficients.name}")
        return made


def headline(found: NearOptimal) -> str:
    """How flat the valley is."""
    size = next((s for s in found.spans if s.variable.endswith("size")), found.spans[0])
    low, high = (units.format_count(x) for x in (size.low, size.high))
    text = f"Any {NAMES[size.variable]} from {low} to {high} is within {found.within}"
    return qualified(text, found.warnings)


def _panel(axes: Any, span: Span, found: NearOptimal) -> None:
    best = found.best.student.cross_entropy
    room = found.ceiling - best
    known = np.isfinite(span.losses)
    axes.set_ylim(best - 0.35 * room, best + 4.2 * room)
    low, high = float(span.values[0]), float(span.values[-1])
    label = NAMES[span.variable]
    label = label[:1].upper() + label[1:]
    if span.variable == "teacher_cross_entropy":
        axes.set_xlim(low, high)
        axes.set_xlabel(f"{label}, nats per token")
    else:
        style.log_axis(axes.xaxis, low, high, label)
    names = {"student_size": "student_parameters", "teacher_size": "teacher_parameters"}
    measured = found.law.domain.of(names.get(span.variable, span.variable))
    if measured is not None:
        style.shade_domain(axes, x=measured)
    axes.axvspan(span.low, span.high, ymax=0.33, color=BAND, lw=0, zorder=0.5, alpha=0.75)
    axes.axhline(found.ceiling, color=style.FAINT, lw=1.2, ls=(0, (4, 3)))
    axes.annotate(
        f"{units.format_loss(found.ceiling)}", (1, found.ceiling), (-4, 3),
        xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=10,
        color=style.FAINT, ha="right", va="bottom",
    )  # fmt: skip
    colour = style.colour(found.problem.scenario)
    axes.plot(span.values[known], span.losses[known], color=colour, lw=2.6)
    for end, align, bound in (
        (span.low, "right", span.open_low),
        (span.high, "left", span.open_high),
    ):
        text = style.count(end) if span.variable != "teacher_cross_entropy" else f"{end:.3f}"
        axes.annotate(
            text + (" (bound)" if bound else ""), (end, found.ceiling),
            (-6 if align == "right" else 6, -13), textcoords="offset points", ha=align, va="center",
            fontsize=10.5, fontweight="bold", color=colour,
        )  # fmt: skip
        axes.plot([end], [found.ceiling], "|", ms=12, mew=2.2, color=colour)
    text = style.count(span.best)
    if span.variable == "teacher_cross_entropy":
        text = f"{span.best:.3f}"
    style.mark(axes, span.best, best, f"best {text}", (10, 12))
