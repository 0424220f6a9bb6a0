"""A recipe among its alternatives: the loss of each at the same cost, best first."""

from __future__ import annotations

from typing import Any

from planner import units
from planner.plots import style
from planner.questions.evaluate.answer import Evaluation
from planner.questions.evaluate.sheet import change, headline, title, verdict
from planner.reports import words
from planner.verdict import LAW_ERROR

OWN, BEST, MOVE, RULE = "#D55E00", "#009E73", "#0072B2", "#8a8a8a"


def caption(found: Evaluation) -> str:
    """The finding, as words under the picture."""
    return verdict(found)


def draw(found: Evaluation) -> Any:
    """Dots on one scale of loss, a line from the best plan to each; best on top."""
    rows = _rows(found)
    rows.sort(key=lambda row: row[1])
    with style.drawing():
        made, axes = style.figure(12.5, 2.4 + 0.5 * len(rows))
        best = found.best.student.cross_entropy
        losses = [row[1] for row in rows]
        span = max(max(losses) - min(losses), 1e-3)
        axes.set_xlim(min(losses) - 0.2 * span, max(losses) + 0.16 * span)
        axes.set_ylim(len(rows) - 0.4, -0.9)
        axes.axvspan(
            best, min(best * (1 + LAW_ERROR), axes.get_xlim()[1]), color="#f0f0f0", lw=0, zorder=0
        )
        axes.annotate(
            "within the law's own error of the best", (best, -0.62), (6, 0),
            textcoords="offset points", fontsize=9.5, color=style.FAINT, va="center",
        )  # fmt: skip
        axes.axvline(best, color=BEST, lw=1.6, zorder=1)
        for height, (_, loss, colour, details) in enumerate(rows):
            own = colour == OWN
            axes.plot([best, loss], [height, height], color=colour, lw=2.0, alpha=0.55, zorder=2)
            axes.plot(
                [loss], [height], "o", ms=13 if own else 9.5, color="white" if own else colour,
                mec=colour, mew=3.0 if own else 0, zorder=3,
            )  # fmt: skip
            left = loss < best - 1e-9
            axes.annotate(
                f"{loss:.4f}", (loss, height), (-12 if left else 12, 0),
                textcoords="offset points", va="center", ha="right" if left else "left",
                fontsize=11, color=colour, fontweight="bold" if own else "normal",
            )  # fmt: skip
            axes.annotate(
                details, (1.02, height), xycoords=("axes fraction", "data"), fontsize=10,
                color=style.FAINT, va="center", ha="left", annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(row[2])
            tick.set_fontweight("bold" if row[2] in (OWN, BEST) else "normal")
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Predicted student loss, nats per token (left is better)")
        small = f"{title(found)}. All at {units.format_flops(found.cost)} FLOPs. Law: "
        style.figure_title(made, _headline(found), small + found.coefficients.name)
        return made


def _headline(found: Evaluation) -> str:
    """The finding in a few words, behind its qualification."""
    told = headline(found)
    return f"{told}. {_finding(found)}" if told else _finding(found)


def _finding(found: Evaluation) -> str:
    if found.excess <= found.problem.tolerance:
        return "No plan of the same cost beats this recipe"
    text = f"The same loss for {100 * found.saved:.0f}% less compute"
    first = found.first
    if first is not None:
        text += f"; change first: {first.variable} {change(first)}"
    return text


def _rows(found: Evaluation) -> list[tuple[str, float, str, str]]:
    """Name, loss, colour and details of every alternative."""

    def details(recipe: Any) -> str:
        teacher = words.on_tokens(recipe.teacher)
        return f"student on {words.count(recipe.student.tokens)}, teacher {teacher}"

    rows = [
        ("best plan", found.best.student.cross_entropy, BEST, details(found.best)),
        ("your recipe", found.recipe.student.cross_entropy, OWN, details(found.recipe)),
    ]
    rows += [
        (f"change {m.variable}", m.recipe.student.cross_entropy, MOVE, details(m.recipe))
        for m in found.moves
        if m.variable != "student size"
    ]
    rows += [
        (r.name, r.recipe.student.cross_entropy, RULE, details(r.recipe))
        for r in found.rules
        if r.recipe is not None
    ]
    direct = found.supervised
    if direct is not None:
        tokens = words.count(direct.model.tokens)
        rows.append(("supervised", direct.model.cross_entropy, style.SUPERVISED, f"on {tokens}"))
    return rows
