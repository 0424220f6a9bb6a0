"""The way to a loss: each method's best loss over the budget, and where it meets the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.plots import style
from planner.questions.compare.answer import budget_grid, compare
from planner.questions.target.answer import Target
from planner.questions.target.sheet import extrapolates, headline, title, verdict

DECADES = 1.3  # shown on either side of the budgets found


def caption(found: Target) -> str:
    """The finding, as words under the picture."""
    return verdict(found)


def draw(found: Target) -> Any:
    """Curves of certified optima, the target as a line, a ring where each method reaches it."""
    coefficients = found.law
    reached = [way for way in found.ways if way.reachable]
    budgets = [way.budget for way in reached]
    low, high = min(budgets) / 10**DECADES, max(budgets) * 10**DECADES
    [curves] = compare(
        found.problem, budget_grid(low, high, 61), [found.problem.student], coefficients
    )
    with style.drawing():
        made, axes = style.figure(11.0, 6.2)
        measured = {curve.scenario: curve.inside for curve in curves.curves}
        lines = {curve.scenario: curve.plans.cross_entropy for curve in curves.curves}
        lines["supervised"] = curves.supervised
        values = np.concatenate([each[np.isfinite(each)] for each in lines.values()])
        room = max(found.loss - float(values.min()), 0.02)
        axes.set_ylim(float(values.min()) - 0.1 * room, found.loss + 1.6 * room)
        style.log_axis(axes.xaxis, low, high, "Budget, FLOPs", style.flops)
        axes.set_ylabel("Student's best loss, nats per token")
        axes.axhline(found.loss, color=style.FAINT, lw=1.4, ls=(0, (4, 3)))
        axes.annotate(
            f"target {units.format_loss(found.loss)}", (0, found.loss), (6, 4),
            xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=11,
            color=style.FAINT, va="bottom",
        )  # fmt: skip
        labels = []
        for name, losses in lines.items():
            colour = style.colour(name)
            known = np.isfinite(losses)
            axes.plot(curves.budgets[known], losses[known], color=colour, lw=2.4)
            if name in measured:
                thick = np.where(measured[name], losses, np.nan)
                axes.plot(curves.budgets, thick, color=colour, lw=6.5, alpha=0.9)
            labels.append(style.Label(high, float(losses[known][-1]), name, colour))
        order = sorted(reached, key=lambda way: way.budget)
        for position, way in enumerate(order):
            colour = style.colour(way.method)
            face = "white" if extrapolates(way, found) else colour
            axes.plot([way.budget], [found.loss], "o", ms=10, mfc=face, mec=colour, mew=2.6,
                      zorder=6)  # fmt: skip
            axes.annotate(
                units.format_flops(way.budget, 2), (way.budget, found.loss),
                (0, 14 + 15 * (position % 2) if position < 2 else -16 - 15 * (position % 2)),
                textcoords="offset points", ha="center", va="center", fontsize=11,
                fontweight="bold", color=colour, zorder=7,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            )  # fmt: skip
        style.label_lines(axes, labels)
        style.title(
            axes,
            headline(found),
            f"{title(found)}; thick and filled: where the law was measured. "
            f"Law: {coefficients.name}",
        )
        return made
