"""A plan among its alternatives: each one's loss, and what its compute is spent on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner import units
from planner.plots import style
from planner.questions.plan.answer import Plan
from planner.questions.plan.sheet import title
from planner.reports import words
from planner.results import Baseline, Flops, Recipe
from planner.verdict import LAW_ERROR, baseline_warnings, leaves_domain

_TERMS = {
    "student_training": "student training",
    "teacher_inference": "teacher inference",
    "teacher_pretraining": "teacher pretraining",
    "serving": "serving",
}


@dataclass(frozen=True)
class _Row:
    """One way to spend the budget. measured: whether the law was measured there."""

    name: str
    method: str
    loss: float
    details: str
    flops: Flops
    measured: bool
    taken: bool


def caption(plan: Plan) -> str:
    """The verdict, as words under the picture."""
    return f"{plan.verdict.headline}. {plan.verdict.text}"


def draw(plan: Plan) -> Any:
    """One row per alternative, the recommended one on top; hollow where nothing was measured."""
    rows = _rows(plan)
    with style.drawing():
        made, [[losses, shares]] = style.figures(
            1, 2, 13.0, 2.6 + 0.52 * len(rows), sharey=True, width_ratios=(1.5, 1)
        )
        _losses(losses, rows)
        _shares(shares, rows, plan.problem.budget)
        small = f"{title(plan)}; hollow: outside the measured range. Law: {plan.coefficients.name}"
        style.figure_title(made, plan.verdict.headline, small)
        return made


def _rows(plan: Plan) -> list[_Row]:
    """The recommended recipe and its alternative, then the unrestricted ones and the scenarios."""
    law, pair, taken = plan.law, plan.decisive, plan.recommendation
    inside = pair.recipe is not plan.recipe

    def distilled(name: str, method: str, recipe: Recipe, chosen: bool = False) -> _Row:
        details = (
            f"{units.format_count(recipe.student.parameters)} on "
            f"{units.format_count(recipe.student.tokens)}, teacher "
            f"{words.on_tokens(recipe.teacher)}"
        )
        loss, measured = recipe.student.cross_entropy, not leaves_domain(recipe, law)
        return _Row(name, method, loss, details, recipe.flops, measured, chosen)

    def alone(name: str, baseline: Baseline, chosen: bool = False) -> _Row:
        model = baseline.model
        details = f"{units.format_count(model.parameters)} on {units.format_count(model.tokens)}"
        measured = not baseline_warnings(baseline, law)
        return _Row(
            name, "supervised", model.cross_entropy, details, baseline.flops, measured, chosen
        )

    ours = plan.scenario
    first = [
        alone("supervised", pair.supervised, taken.method == "supervised"),
        distilled(ours, ours, pair.recipe, taken.method == "distil"),
    ]
    first.sort(key=lambda row: not row.taken)
    rest = []
    if inside:
        rest = [
            alone("supervised, unrestricted", plan.supervised),
            distilled(f"{ours}, unrestricted", ours, plan.recipe),
        ]
        if plan.supervised.model == pair.supervised.model:
            del rest[0]
    rest += [
        distilled(each.name, each.name, each.recipe)
        for each in plan.scenarios
        if each.recipe is not None and not each.chosen
    ]
    return first + rest


def _losses(axes: Any, rows: list[_Row]) -> None:
    taken = rows[0].loss
    values = [row.loss for row in rows]
    span = max(max(values) - min(values), 2.5 * LAW_ERROR * taken)
    axes.set_xlim(min(values) - 0.3 * span, max(values) + 0.3 * span)
    axes.set_ylim(len(rows) - 0.4, -0.9)
    axes.axvspan(taken * (1 - LAW_ERROR), taken * (1 + LAW_ERROR), color="#f0f0f0", lw=0, zorder=0)
    axes.annotate(
        "within the law's error of the recommended", (taken, -0.68), fontsize=9.5,
        color=style.FAINT, ha="center", va="center",
    )  # fmt: skip
    axes.axvline(taken, color=style.colour(rows[0].method), lw=1.2, zorder=1)
    for height, row in enumerate(rows):
        ink = style.colour(row.method)
        axes.plot(
            [row.loss], [height], "o", ms=13 if row.taken else 9.5,
            mfc=ink if row.measured else "white", mec=ink, mew=2.2, zorder=3,
        )  # fmt: skip
        axes.annotate(
            units.format_loss(row.loss), (row.loss, height), (12, 0), textcoords="offset points",
            va="center", fontsize=11, color=ink, fontweight="bold" if row.taken else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8},
        )  # fmt: skip
    names = [f"recommended: {row.name}" if row.taken else row.name for row in rows]
    axes.set_yticks(
        range(len(rows)),
        [f"{name}\n{row.details}" for name, row in zip(names, rows, strict=True)],
        fontsize=10,
    )
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(style.colour(row.method))
        tick.set_fontweight("bold" if row.taken else "normal")
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Student's loss, nats per token (left is better)")


def _shares(axes: Any, rows: list[_Row], budget: float) -> None:
    """Each term of Eq. 9 over the budget; what is missing to 100% is not spent."""
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    shown: list[str] = []
    for term, name in _TERMS.items():
        parts = [getattr(row.flops, term) / budget for row in rows]
        if not any(part > 0 for part in parts):
            continue
        before = [sum(getattr(row.flops, each) for each in shown) / budget for row in rows]
        axes.barh(
            range(len(rows)), parts, 0.5, left=before, color=style.TERMS[term], label=name, zorder=2
        )
        shown.append(term)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", left=False)
    axes.set_xlabel(f"Share of {units.format_flops(budget)} FLOPs")
    legend = axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(shown), frameon=False, fontsize=10,
        handlelength=0.9, columnspacing=1.1, handletextpad=0.4, borderaxespad=0.2,
    )  # fmt: skip
    legend.set_in_layout(False)  # it may reach over the other panel
