"""Hours, energy and money of any answer, for people: its recipes in total and by phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planner import units
from planner.needs import Spent
from planner.reports import words
from planner.reports.sheet import Grid
from planner.resources import Phase, Resources

MEASURES = ("gpu_hours", "days", "energy_kwh", "co2_kg", "cost")
MOST = 12
"""Recipes whose totals stand in a brief."""


def hours(
    title: str, first: str, rows: Sequence[tuple[str, Phase]], of: Resources, detail: bool = False
) -> Grid:
    """A table of phases or totals, without the columns that nothing is known for."""
    shown: list[tuple[str, Callable[[Phase], str]]] = [
        ("FLOPs", lambda each: units.format_flops(each.flops)),
        ("GPU-hours", lambda each: amount(each.gpu_hours)),
        ("Days", lambda each: amount(each.days)),
        ("kWh", lambda each: amount(each.energy_kwh)),
        ("CO2, kg", lambda each: amount(each.co2_kg)),
        (f"Cost, {of.currency}", lambda each: amount(each.cost)),
    ]
    total = of.total
    absent = (False, False, False, total.energy_kwh is None, total.co2_kg is None,
              total.cost is None)  # fmt: skip
    kept = [each for each, without in zip(shown, absent, strict=True) if not without]
    strong = tuple(i for i, (_, phase) in enumerate(rows) if phase.name == "total")
    return Grid(
        f"{title} on {of.count:g} x {of.accelerator}",
        (first, *(head for head, _ in kept)),
        tuple((name, *(show(phase) for _, show in kept)) for name, phase in rows),
        () if len(strong) == len(rows) else strong,
        detail=detail,
    )


def grids(found: Sequence[Spent]) -> Iterator[Grid]:
    """The totals of all recipes, and as a detail their phases; nothing without an accelerator."""
    if not found:
        return
    totals = [(each.name, each.total) for each in found]
    yield hours("Hours, energy, cost", "Recipe", totals, found[0], detail=len(found) > MOST)
    phases = [(f"{each.name}: {part.name}", part) for each in found for part in each.phases]
    yield hours("By phase", "Phase", phases, found[0], detail=True)


def notes(found: Sequence[Spent]) -> list[str]:
    """What was assumed in all of them, each once."""
    said = dict.fromkeys(line for each in found for line in each.assumptions)
    return [f"Hours and cost: {'; '.join(said)}."] if said else []


def cells(found: Sequence[Spent], name: str) -> dict[str, Any]:
    """Columns of CSV for the recipe of that name: its totals; none without an accelerator."""
    if not found:
        return {}
    total = next((each.total for each in found if each.name == name), None)
    return {
        "accelerator": found[0].accelerator,
        "devices": found[0].count,
        "currency": found[0].currency,
        **{f"total_{key}": None if total is None else getattr(total, key) for key in MEASURES},
    }


def amount(value: float | None) -> str:
    """Three significant digits, thousands parted."""
    if value is None:
        return words.NOTHING
    if value >= 1e9:
        return units.format_flops(value)
    return f"{value:,.0f}" if value >= 100 else units.format_count(value) if value else "0"
