"""How sure a plan is, in words and cells: intervals, second opinion, robust recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from planner import units
from planner.plan import (
    ALONE,
    WITH_OTHERS,
    Interval,
    Plan,
    Pull,
    Recipe,
    Robust,
    SecondOpinion,
    Uncertainty,
)
from planner.reports import words
from planner.second_opinion import OtherView

_REOPTIMISED = (
    ("student_parameters", "student"),
    ("student_tokens", "student tokens"),
    ("teacher_parameters", "teacher"),
    ("teacher_tokens", "teacher tokens"),
)
PULLS_SHOWN = 5


def lines(plan: Plan) -> list[str]:
    """Sentences on the uncertainty and the second opinion; empty if there is nothing to say."""
    found = []
    if plan.uncertainty is not None:
        found += uncertainty(plan.uncertainty, plan)
    if plan.second_opinion is not None:
        found.append(second_opinion(plan.second_opinion, plan))
    return found


def uncertainty(spread: Uncertainty, plan: Plan) -> list[str]:
    """Intervals and probability of this recipe, how they were checked, and the optimum's own."""
    level = f"{spread.level:.0%}"
    fixed = f" (the {' and '.join(spread.fixed)} held fixed)" if spread.fixed else ""
    own = (
        f"Over {spread.draws} draws of {spread.source}{fixed}: cross-entropy "
        f"{loss_range(spread.cross_entropy)} ({level}, the law's value; {_new_run(spread)}), "
        "against supervised "
        f"{words.signed(spread.difference.low)} to {words.signed(spread.difference.high)}; "
        f"probability that distilling beats supervised training: {probability(spread)}."
    )
    free = [
        f"{label} {count_range(spread.reoptimised[name])}"
        for name, label in _REOPTIMISED
        if name in spread.reoptimised and _moves(spread.reoptimised[name])
    ]
    if not free:
        return [own, *_checked(spread)]
    best = loss_range(spread.reoptimised["cross_entropy"])
    optimum = f"Each draw's own optimum ({level}): {', '.join(free)}, cross-entropy {best}."
    return [own, *_checked(spread), optimum]


def _new_run(spread: Uncertainty) -> str:
    if spread.new_run is None:
        return "one run scatters beyond it, by how much this set does not say"
    return f"one run of it: {loss_range(spread.new_run)}"


def _checked(spread: Uncertainty) -> list[str]:
    """How often such intervals held runs that the fit had not seen, or nothing."""
    if spread.new_run is None or spread.coverage is None:
        return []
    sizes = ""
    if spread.coverage_sizes is not None:
        sizes = f", {spread.coverage_sizes:.0%} where their whole size was left out"
    return [
        f"Of runs left out of the fit, {spread.coverage:.0%} lay in their {spread.level:.0%} "
        f"intervals for one run{sizes}."
    ]


def probability(spread: Uncertainty) -> str:
    """A share of draws; never more certain than the number of draws allows."""
    if spread.probability >= 1.0 - 0.5 / spread.draws:
        return f"above {1 - 1 / spread.draws:.1%}"
    if spread.probability <= 0.5 / spread.draws:
        return f"below {1 / spread.draws:.1%}"
    return f"{spread.probability:.0%}"


def second_opinion(opinion: SecondOpinion, plan: Plan) -> str:
    """What the other set predicts for this recipe, and what it would do instead."""
    around = f" ({loss_range(opinion.interval)})" if opinion.interval else ""
    gap = opinion.cross_entropy - opinion.supervised
    text = (
        f"Second opinion, {opinion.source}: {units.format_loss(opinion.cross_entropy)}{around} for "
        f"this recipe, {words.signed(gap)} against supervised"
    )
    if opinion.optimum is None or opinion.regret is None:
        return f"{text}; it has no plan of its own here."
    if opinion.regret < 5e-5:
        return f"{text}; its own optimum is this recipe."
    return (
        f"{text}; its own optimum ({on_recipe(opinion.optimum)}) is "
        f"{units.format_loss(opinion.regret)} better."
    )


def other_view(view: OtherView | None, ours: float, what: str) -> str:
    """What the other set predicts for a recipe (`what`: whose); empty if there is none."""
    if view is None:
        return ""
    around = f" ({loss_range(view.interval)})" if view.interval else ""
    text = (
        f"Second opinion, {view.source}: {units.format_loss(view.cross_entropy)}{around} for "
        f"{what}, against {units.format_loss(ours)} here"
    )
    return f"{text}: the coefficients disagree." if view.matters else f"{text}."


def other_document(view: OtherView | None) -> dict[str, Any] | None:
    """The same for machines; None if there is none."""
    return None if view is None else asdict(view)


def risk_head(robust: Robust) -> list[str]:
    """Column heads of the risk table: every view."""
    return ["Recipe", "Student on", "Teacher on", *(view.name for view in robust.views)]


def risk_rows(robust: Robust) -> list[list[str]]:
    """One row per recipe: what it is, its loss under every view, and the regret in brackets."""
    return [
        [
            name,
            words.on_tokens(recipe.student),
            words.on_tokens(recipe.teacher),
            *(
                f"{units.format_loss(view.loss[i])} ({words.signed(view.regret[i])})"
                for view in robust.views
            ),
        ]
        for i, (name, recipe) in enumerate(robust.recipes)
    ]


def robust(found: Robust) -> str:
    """What the robust recipe is and how far from the best possible its criterion can be."""
    return (
        f"Robust ({found.criterion} loss over the draws): {on_recipe(found.recipe)} has "
        f"{found.value:.5f} nats; no recipe can have less than {found.lower_bound:.5f}. In "
        "brackets: regret against the best plan under that view."
    )


def pull_head() -> list[str]:
    """Column heads of the sensitivities."""
    return [
        "Coefficient", "Moved", "Of recipe, loss", "Loss", "D_S", "N_T", "D_T",
    ]  # fmt: skip


def pull_rows(pulls: Sequence[Pull]) -> list[list[str]]:
    """The coefficients that move the recipe most, those of either way of moving them apart: through
    their interval together with the others, or alone."""
    return [
        [
            pull.coefficient,
            _way(pull),
            _shares(pull),
            _ends(pull.cross_entropy, units.format_loss),
            _ends(pull.student_tokens, units.format_count),
            _ends(pull.teacher_parameters, units.format_count),
            _ends(pull.teacher_tokens, units.format_count),
        ]
        for how in (WITH_OTHERS, ALONE)
        for pull in [each for each in pulls if each.how == how][:PULLS_SHOWN]
    ]


def _way(pull: Pull) -> str:
    if pull.how == ALONE:
        return "±1% alone"
    return ", ".join(f"{end:.3g}".replace("e+0", "e") for end in (pull.low, pull.high))


def pull_note() -> str:
    """How the sensitivities are to be read."""
    return (
        "Sensitivity: a coefficient goes through its 90% interval with the others as they go with "
        "it in the draws; shown are both ends of the plan, and the shares of the recipe's variance "
        "and the loss's that go with it (correlated coefficients share theirs). Coefficients "
        "that no draws vary are moved alone, by 1% down and up."
    )


def _shares(pull: Pull) -> str:
    if pull.recipe_share is None or pull.loss_share is None:
        return words.NOTHING
    return f"{pull.recipe_share:.0%}, {pull.loss_share:.0%}"


def on_recipe(recipe: Recipe) -> str:
    """``1B on 42B tokens from 1.6B on 47B``."""
    return f"{words.on_tokens(recipe.student)} from {words.on_tokens(recipe.teacher)}"


def loss_range(spread: Interval) -> str:
    """``2.3008 to 2.3035``."""
    return f"{units.format_loss(spread.low)} to {units.format_loss(spread.high)}"


def count_range(spread: Interval) -> str:
    """``43.4B to 44.1B``."""
    return f"{units.format_count(spread.low)} to {units.format_count(spread.high)}"


def _moves(spread: Interval) -> bool:
    return spread.high > spread.low * (1 + 1e-6)


def _ends(pair: tuple[float, float], show: Callable[[float], str]) -> str:
    if any(value != value for value in pair):  # an existing teacher: not the plan's to choose
        return words.NOTHING
    low, high = (show(value) for value in pair)
    return f"{low}, {high}" if low != high else low
