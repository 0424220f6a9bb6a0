"""How sure a plan is, in words and cells: intervals, second opinion, robust recipe."""

from __future__ import annotations

from planner import units
from planner.reports import words
from planner.results import (
    Interval,
    Recipe,
    Uncertainty,
)
from planner.second_opinion import OtherView


def probability(spread: Uncertainty) -> str:
    """A share of draws; never more certain than the number of draws allows."""
    if spread.probability >= 1.0 - 0.5 / spread.draws:
        return f"above {1 - 1 / spread.draws:.1%}"
    if spread.probability <= 0.5 / spread.draws:
        return f"below {1 / spread.draws:.1%}"
    return f"{spread.probability:.0%}"


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


def on_recipe(recipe: Recipe) -> str:
    """``1B on 42B tokens from 1.6B on 47B``."""
    return f"{words.on_tokens(recipe.student)} from {words.on_tokens(recipe.teacher)}"


def loss_range(spread: Interval) -> str:
    """``2.3008 to 2.3035``."""
    return f"{units.format_loss(spread.low)} to {units.format_loss(spread.high)}"


def count_range(spread: Interval) -> str:
    """``43.4B to 44.1B``."""
    return f"{units.format_count(spread.low)} to {units.format_count(spread.high)}"
