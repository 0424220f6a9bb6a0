"""`target` as a sheet: the smallest budget per way, with its recipe and its proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from planner import units
from planner.questions import resources_sheet
from planner.questions.target.answer import Reached, Target
from planner.reports import trust, words
from planner.reports.sheet import Grid, Sheet
from planner.results import Warning


def sheet(found: Target) -> Sheet:
    """Measured ways first, cheapest first; those that cannot reach the loss come last."""
    ways = sorted(found.ways, key=_order(found))
    best = found.best.budget
    rows = tuple(_row(way, best) for way in ways)
    head = ("Way", "Budget", "vs cheapest", "Student", "Teacher", "Loss")
    return Sheet(
        kind="target",
        title=title(found),
        headline=headline(found),
        verdict=verdict(found),
        method=method(found),
        grids=(Grid("Smallest budget, FLOPs", head, rows), *resources_sheet.grids(found.resources)),
        warnings=_warnings(found),
        details=(*_notes(found), *resources_sheet.notes(found.resources)),
        rows=tuple(
            _flat(way, found) | resources_sheet.cells(found.resources, way.method) for way in ways
        ),
    )


def _order(found: Target) -> Callable[[Reached], tuple[bool, bool, float]]:
    """Ways that reach the loss inside the measured range, then outside it, then those that fail."""
    return lambda way: (not way.reachable, extrapolates(way, found), way.budget)


def extrapolates(way: Reached, found: Target) -> bool:
    """Whether this way's plan leaves the measured range."""
    beyond = any(each.code == "baseline-outside-domain" for each in found.warnings)
    return beyond if way.method == "supervised" else way.outside_domain


def _first(found: Target) -> Reached:
    return min(found.ways, key=_order(found))


def method(found: Target) -> str:
    """The method of the cheapest way; undecided where it extrapolates or the fits disagree."""
    first = _first(found)
    if extrapolates(first, found) or (first.second_opinion and first.second_opinion.matters):
        return "undecided"
    return "supervised" if first.method == "supervised" else "distil"


def headline(found: Target) -> str:
    """The cheapest measured way, or that none was measured."""
    first = _first(found)
    cost = f"{first.method} at {units.format_flops(first.budget)} FLOPs"
    if extrapolates(first, found):
        return f"Not measured here: extrapolated, {cost}"
    if first.second_opinion and first.second_opinion.matters:
        return f"The two fits disagree on {cost}"
    if first is not found.best:
        return f"Inside the measured range: {cost}"
    return f"Cheapest: {cost}"


def title(found: Target) -> str:
    """The loss and the student."""
    who = "a student of any size"
    if found.problem.student is not None:
        who = f"a {units.format_count(found.problem.student)} student"
    like = ""
    if found.like is not None:
        size, tokens = (units.format_count(x) for x in (found.like.size, found.like.tokens))
        like = f", as good as a supervised {size} at {tokens} tokens"
    return f"Reaching {units.format_loss(found.loss)} nats per token with {who}{like}"


def verdict(found: Target) -> str:
    """The cheapest measured way, and what the others would cost beside it."""
    best = _first(found)
    text = f"{_capital(best.method)} takes {units.format_flops(best.budget)} FLOPs"
    others = [
        f"{way.method} needs {_times(way.budget / best.budget)}"
        + " by extrapolation" * extrapolates(way, found)
        for way in sorted(found.ways, key=_order(found))
        if way is not best and way.reachable
    ]
    never = [way.method for way in found.ways if not way.reachable]
    if others:
        text += "; " + ", ".join(others)
    if never:
        text += f"; out of reach: {', '.join(never)}"
    return text + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _times(ratio: float) -> str:
    return "the same" if abs(ratio - 1) < 5e-4 else f"{units.format_ratio(ratio)}×"


def _row(way: Reached, best: float) -> tuple[str, ...]:
    if not way.reachable:
        floor = f"floor {units.format_loss(way.floor)}"
        return (way.method, "out of reach", *[words.NOTHING] * 3, floor)
    ratio = f"{units.format_ratio(way.budget / best)}×"
    if way.baseline is not None:
        model = way.baseline.model
        cells = (words.on_tokens(model), words.NOTHING, units.format_loss(model.cross_entropy))
        return (way.method, units.format_flops(way.budget, 4), ratio, *cells)
    assert way.recipe is not None
    star = "*" if way.outside_domain else ""
    student, teacher = way.recipe.student, way.recipe.teacher
    return (
        way.method + star,
        units.format_flops(way.budget, 4),
        ratio,
        words.on_tokens(student),
        words.on_tokens(teacher),
        units.format_loss(student.cross_entropy),
    )


def _warnings(found: Target) -> tuple[str | Warning, ...]:
    outside = [way.method for way in found.ways if way.outside_domain]
    if not outside:
        return found.warnings
    line = (
        f"The plans marked * ({', '.join(outside)}) lie outside the measured range; "
        "--stay-in-domain asks for plans inside it."
    )
    return (line, *found.warnings)


def _notes(found: Target) -> tuple[str, ...]:
    proven = [
        1 - way.unreachable_below / way.budget
        for way in found.ways
        if way.recipe is not None and way.reachable
    ]
    lines = []
    if proven:
        lines.append(
            f"Proven: no budget more than {100 * max(proven):.3g}% smaller reaches the loss "
            "(certified lower bounds)."
        )
    lines += _opinions(found)
    used = found.coefficients
    lines.append(f"Coefficients: {used.name}. Counted: {used.flop_convention}.")
    return tuple(lines)


def _opinions(found: Target) -> list[str]:
    """The other set's prediction for every way's plan in one line each."""
    lines = [
        trust.other_view(way.second_opinion, found.loss, f"the {way.method} plan")
        for way in found.ways
    ]
    return [line for line in lines if line]


def _flat(way: Reached, found: Target) -> dict[str, Any]:
    model = way.recipe.student if way.recipe else way.baseline.model if way.baseline else None
    teacher = way.recipe.teacher if way.recipe else None
    return {
        "loss": found.loss,
        "method": way.method,
        "reachable": way.reachable,
        "budget": way.budget,
        "unreachable_below": way.unreachable_below,
        "floor": way.floor,
        "student_parameters": model and model.parameters,
        "student_tokens": model and model.tokens,
        "teacher_parameters": teacher and teacher.parameters,
        "teacher_tokens": teacher and teacher.tokens,
        "cross_entropy": model and model.cross_entropy,
    }
