"""`target` as a sheet: the smallest budget per way, with its recipe and its proof."""

from __future__ import annotations

import math
from typing import Any

from coefficients import CoefficientSet
from planner import units
from planner.analysis.target import Reached, Target
from planner.reports import document, trust, words
from planner.reports.sheet import Grid, Sheet
from planner.second_opinion import other_view
from planner.verdict import baseline_warnings, leaves_domain


def sheet(found: Target, coefficients: CoefficientSet) -> Sheet:
    """Cheapest first; ways that cannot reach the loss come last with their floor."""
    ways = sorted(found.ways, key=lambda each: each.budget)
    best = found.best.budget
    rows = tuple(_row(way, best, coefficients) for way in ways)
    head = ("Way", "Budget", "vs cheapest", "Student", "Teacher", "Loss")
    return Sheet(
        kind="target",
        title=title(found),
        verdict=verdict(found),
        method="supervised" if found.best.method == "supervised" else "distil",
        grids=(Grid("Smallest budget, FLOPs", head, rows),),
        warnings=_warnings(found, coefficients),
        notes=_notes(found, coefficients),
        data={
            "loss": found.loss,
            "like": None if found.like is None else vars(found.like),
            "student": found.problem.student,
            "coefficients": coefficients.name,
            "ways": [_document(way, coefficients) for way in ways],
        },
        rows=tuple(_flat(way, found) for way in ways),
    )


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
    """The cheapest way, and what training directly and training a teacher would cost beside it."""
    best = found.best
    text = f"Cheapest: {best.method} at {units.format_flops(best.budget)} FLOPs"
    others = [
        f"{way.method} needs {_times(way.budget / best.budget)}"
        for way in sorted(found.ways, key=lambda each: each.budget)
        if way is not best and way.reachable
    ]
    never = [way.method for way in found.ways if not way.reachable]
    if others:
        text += "; " + ", ".join(others)
    if never:
        text += f"; out of reach: {', '.join(never)}"
    return text + "."


def _times(ratio: float) -> str:
    return "the same" if ratio < 1.0005 else f"{units.format_ratio(ratio)}×"


def _row(way: Reached, best: float, coefficients: CoefficientSet) -> tuple[str, ...]:
    if not way.reachable:
        floor = f"floor {units.format_loss(way.floor)}"
        return (way.method, "out of reach", *[words.NOTHING] * 3, floor)
    ratio = f"{units.format_ratio(way.budget / best)}×"
    if way.baseline is not None:
        model = way.baseline.model
        cells = (words.on_tokens(model), words.NOTHING, units.format_loss(model.cross_entropy))
        return (way.method, units.format_flops(way.budget, 4), ratio, *cells)
    assert way.recipe is not None
    star = "*" if leaves_domain(way.recipe, coefficients) else ""
    student, teacher = way.recipe.student, way.recipe.teacher
    return (
        way.method + star,
        units.format_flops(way.budget, 4),
        ratio,
        words.on_tokens(student),
        words.on_tokens(teacher),
        units.format_loss(student.cross_entropy),
    )


def _warnings(found: Target, coefficients: CoefficientSet) -> tuple[str, ...]:
    outside = [
        way.method
        for way in found.ways
        if way.recipe is not None and leaves_domain(way.recipe, coefficients)
    ]
    lines = []
    if outside:
        lines.append(
            f"The plans marked * ({', '.join(outside)}) leave the range where the law was "
            "measured; "
            "--stay-in-domain asks for plans inside it."
        )
    direct = found.way("supervised").baseline
    if direct is not None:
        lines += [_capital(each.text) for each in baseline_warnings(direct, coefficients)]
    return tuple(lines)


def _notes(found: Target, coefficients: CoefficientSet) -> tuple[str, ...]:
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
    lines += _opinions(found, coefficients)
    lines.append(f"Coefficients: {coefficients.name}. Counted: {coefficients.flops.convention}.")
    return tuple(lines)


def _opinions(found: Target, coefficients: CoefficientSet) -> list[str]:
    """The other set's prediction for every way's plan in one line each."""
    lines = [
        trust.other_view(other_view(way.recipe, coefficients), found.loss, f"the {way.method} plan")
        for way in found.ways
        if way.recipe is not None
    ]
    return [line for line in lines if line]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _document(way: Reached, coefficients: CoefficientSet) -> dict[str, Any]:
    return {
        "method": way.method,
        "charge_inference": way.charge_inference,
        "charge_pretraining": way.charge_pretraining,
        "reachable": way.reachable,
        "budget": way.budget if math.isfinite(way.budget) else None,
        "unreachable_below": way.unreachable_below,
        "floor": way.floor,
        "recipe": None if way.recipe is None else document.recipe(way.recipe),
        "second_opinion": None
        if way.recipe is None
        else trust.other_document(other_view(way.recipe, coefficients)),
        "supervised": None if way.baseline is None else document.supervised(way.baseline),
    }


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
