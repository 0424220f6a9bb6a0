"""Why a plan is what it is: the U of the capacity gap, the split of the budget, what limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.plots import style
from planner.questions.explain.answer import Explanation, LossCurve
from planner.questions.explain.sheet import verdict
from planner.questions.plan.sheet import title
from planner.reports.sheet import qualified

WEAK = "#fbe9dd"


def caption(found: Explanation) -> str:
    """The finding, as words under the picture."""
    return verdict(found)


def draw(found: Explanation) -> Any:
    """The student's loss against its teacher's, beside the split of the budget."""
    plan = found.plan
    with style.drawing():
        made, [[left, right]] = style.figures(1, 2, 13.5, 6.2, width_ratios=(1.25, 1))
        _gap(left, found)
        _split(right, found)
        style.figure_title(made, headline(found), f"{title(plan)}. Law: {plan.coefficients.name}")
        return made


def headline(found: Explanation) -> str:
    """The finding in a few words."""
    names = {"student tokens": "tokens", "best teacher": "its teacher", "student size": "its size"}
    limit = found.limit
    text = f"What limits the student most is {names[limit.what]}: worth up to {limit.gain:.3f} nats"
    return qualified(text, found.plan.warnings)


def _gap(axes: Any, found: Explanation) -> None:
    plan, gap, along = found.plan, found.gap, found.along_teacher
    teacher, loss = plan.recipe.teacher.cross_entropy, plan.cross_entropy
    colour = style.colour(plan.problem.scenario)
    low, high = float(gap.x[0]), float(gap.x[-1])
    bottom, top = _limits(
        min(found.best_student_loss, loss, found.supervised_loss), max(loss, found.supervised_loss)
    )
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    _domain(axes, gap)
    weak = found.supervised_loss
    if weak < high:
        axes.axvspan(weak, high, color=WEAK, lw=0, zorder=0.5, alpha=0.75)
        axes.annotate(
            "weak-to-strong:\nteacher worse than\nthe student alone", (weak, 0), (6, 6),
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=10,
            color="#a34a12", va="bottom", ha="left",
        )  # fmt: skip
    axes.axhline(weak, color=style.SUPERVISED, lw=1.4, ls=(0, (5, 3)))
    axes.annotate(
        f"student alone (L_sup) {weak:.3f}", (high, weak), (-4, 4),
        textcoords="offset points", fontsize=10, color=style.SUPERVISED, va="bottom", ha="right",
    )  # fmt: skip
    line = np.array([max(low, bottom), min(high, top)])
    axes.plot(line, line, color="#b5b5b5", lw=1.2, ls=":")
    axes.annotate(
        "student = teacher", (line[0], line[0]), (-6, 6), textcoords="offset points",
        fontsize=9.5, color=style.FAINT, ha="right", va="bottom",
    )  # fmt: skip
    _line(axes, gap, "#5c5c5c", 2.4)
    names = [("student tokens as planned", "#5c5c5c")]
    if along.x.size:
        _line(axes, along, colour, 3.0)
        names.append(("best plan of this budget", colour))
    for position, (name, ink) in enumerate(names):
        axes.annotate(
            f"━ {name}", (0.03, 0.965 - 0.055 * position), xycoords="axes fraction", fontsize=11.5,
            color=ink, fontweight="bold", va="top", ha="left",
        )  # fmt: skip
    axes.plot(
        [found.best_teacher_loss], [found.best_student_loss], "D", ms=8, color="#5c5c5c", zorder=6
    )
    axes.annotate(
        f"best teacher {found.best_teacher_loss:.3f}",
        (found.best_teacher_loss, found.best_student_loss), (0, -10), textcoords="offset points",
        ha="center", va="top", fontsize=10.5, color="#5c5c5c",
    )  # fmt: skip
    style.mark(axes, teacher, loss, f"your plan {loss:.3f}", (14, -22), ring=colour)
    axes.set_xlabel("Teacher's cross-entropy, nats per token (stronger to the left)")
    axes.set_ylabel("Student's cross-entropy, nats per token")
    axes.set_title("The capacity gap", loc="left", fontsize=13, fontweight="bold")


def _split(axes: Any, found: Explanation) -> None:
    curve, plan = found.along_share, found.plan
    known = np.isfinite(curve.loss)
    colour = style.colour(plan.problem.scenario)
    best = float(np.min(curve.loss[known]))
    spread = np.max(curve.loss[known]) - best
    bottom, top = _limits(best, best + min(spread, 0.1))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom, top)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    _domain(axes, curve, left=True)
    _line(axes, curve, colour, 3.0)
    style.mark(
        axes, found.share, plan.cross_entropy, f"your plan {100 * found.share:.0f}%", (8, -25),
        ring=colour,
    )  # fmt: skip
    axes.set_xlabel("Share of the budget that trains the student")
    axes.set_title(
        f"The split of {units.format_flops(plan.problem.budget)} FLOPs",
        loc="left", fontsize=13, fontweight="bold",
    )  # fmt: skip


def _domain(axes: Any, curve: LossCurve, left: bool = False) -> None:
    """Where the law was measured, named at an upper corner of the field."""
    style.shade_where(axes, curve.x, curve.inside, "")
    inside = np.flatnonzero(curve.inside)
    if inside.size:
        axes.annotate(
            "law measured here", (curve.x[inside[0 if left else -1]], 1), (5 if left else -5, -5),
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9.5,
            color="#4c7a5c", ha="left" if left else "right", va="top", zorder=1,
        )  # fmt: skip


def _line(axes: Any, curve: LossCurve, colour: str, width: float) -> None:
    known = np.isfinite(curve.loss)
    axes.plot(curve.x[known], curve.loss[known], color=colour, lw=width, zorder=3)


def _limits(low: float, high: float) -> tuple[float, float]:
    room = max(high - low, 0.02)
    return low - 0.35 * room, high + 1.4 * room
