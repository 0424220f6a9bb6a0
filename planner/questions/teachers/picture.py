"""Existing teachers: the student's loss against the teacher's, with the capacity gap as a curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from coefficients import CoefficientSet
from laws import Cost
from planner import units
from planner.plots import style
from planner.questions.teachers.answer import Candidate, Ranking
from planner.questions.teachers.sheet import headline, logits, verdict

NAMES = 0.76
"""Height in the picture at which the names start."""


def caption(ranking: Ranking) -> str:
    """The finding, as words under the picture."""
    return verdict(ranking)


def draw(ranking: Ranking) -> Any:
    """One dot per teacher; the curve is what free logits would give at every teacher's loss."""
    chosen = ranking.law
    rows = [each for each in ranking.candidates if each.recipe is not None]
    with style.drawing():
        made, axes = style.figure(11.5, 6.4)
        x = np.array([each.cross_entropy for each in rows])
        y = np.array([each.student_loss for each in rows])
        span = max(float(np.ptp(x)), 0.05)
        low, high = (
            min(x.min(), ranking.ideal) - 0.14 * span,
            max(x.max(), ranking.ideal) + 0.1 * span,
        )
        curve = _free_logits(ranking, chosen, np.linspace(low, high, 200))
        axes.plot(*curve, color=style.colour("best-case"), lw=2, zorder=2)
        main = style.colour(
            "teacher-inference" if ranking.problem.charge_inference else "best-case"
        )
        axes.axhline(ranking.supervised.cross_entropy, color=style.SUPERVISED, lw=1.4)
        shown = np.concatenate([y, [ranking.supervised.cross_entropy], curve[1]])
        bottom, top = float(shown.min()), float(np.sort(shown)[int(0.985 * (shown.size - 1))])
        top = max(top, float(np.quantile(y, 0.9)))
        pad = 0.08 * (top - bottom)
        ceiling = bottom - pad + (top - bottom + 2 * pad) / NAMES  # the names stand above
        axes.set_xlim(low, high)
        axes.set_ylim(bottom - pad, ceiling)
        domain = chosen.domain.of("teacher_cross_entropy")
        if domain is not None:
            style.shade_domain(axes, x=domain, words="")
        faces = ["white" if each.outside else main for each in rows]
        axes.scatter(x, y, s=62, c=faces, zorder=5, edgecolors=main, linewidths=1.6)
        best = ranking.best
        _names(axes, rows, x, y, best, main)
        face = "white" if best.outside else main
        axes.plot([best.cross_entropy], [best.student_loss], "o", ms=13, mfc=face, mec=main,
                  mew=3.2, zorder=10)  # fmt: skip
        axes.axvline(ranking.ideal, 0, 0.7, color=style.FAINT, lw=1.1, ls=(0, (4, 3)), zorder=1)
        axes.annotate(
            "best for the leader's student and tokens", (ranking.ideal, bottom - pad), (5, 6),
            fontsize=10, textcoords="offset points", color=style.FAINT, ha="left",
        )  # fmt: skip
        axes.set_xlabel("Teacher's cross-entropy, nats per token (stronger to the left)")
        axes.set_ylabel("Student's cross-entropy, nats per token")
        style.label_lines(
            axes,
            [
                style.Label(high, ranking.supervised.cross_entropy, "supervised", style.SUPERVISED),
                style.Label(high, float(curve[1][-1]), "free logits", style.colour("best-case")),
            ],
        )
        style.title(axes, headline(ranking), _small(ranking))
        return made


def _small(ranking: Ranking) -> str:
    asked = ranking.problem
    size = "planned size" if asked.student is None else units.format_count(asked.student)
    guessed = any(each.entry.estimated for each in ranking.candidates)
    note = "; teachers' losses are the law's estimates" if guessed else ""
    return (
        f"{units.format_flops(asked.budget)} FLOPs, student {size}, "
        f"{logits(asked.charge_inference)}{note}; shaded: teacher losses that were measured; "
        "hollow: outside the measured range"
    )


def _free_logits(ranking: Ranking, chosen: CoefficientSet, t: Any) -> tuple[Any, Any]:
    """The student's loss over the teacher's when all the budget goes into the student."""
    law = chosen.distillation
    assert law is not None and ranking.best.recipe is not None
    size = ranking.best.recipe.student.parameters
    assert size is not None
    tokens = float(Cost.of(chosen.flops, size).student_tokens(ranking.problem.budget))
    tokens = min(tokens, ranking.problem.bounds.student_tokens[1])
    t = t[t > chosen.supervised.E + 1e-3]
    return t, law.loss(size, tokens, t)


def _names(axes: Any, rows: list[Candidate], x: Any, y: Any, best: Candidate, colour: str) -> None:
    """Every name over the picture, in the dots' order, with a hairline down to its dot."""
    made = axes.get_figure()
    width = made.get_figwidth() * 72 * axes.get_position().width
    low, high = axes.get_xlim()
    wanted = [(px - low) / (high - low) for px in x]
    places = style.spread(wanted, [14.0 / width] * len(wanted))
    for each, place, px, py in zip(rows, places, x, y, strict=True):
        chosen = each is best
        axes.annotate(
            each.entry.name, (px, py), (place, NAMES), xycoords="data",
            textcoords="axes fraction", rotation=62, rotation_mode="anchor", ha="left",
            va="center", fontsize=10.5, fontweight="bold" if chosen else "normal",
            color=colour if chosen else style.FAINT, zorder=3,
            arrowprops={
                "arrowstyle": "-", "color": colour if chosen else style.FAINT, "lw": 0.7,
                "alpha": 0.9 if chosen else 0.45, "shrinkA": 2, "shrinkB": 5, "relpos": (0, 0),
            },
        )  # fmt: skip
