"""The near-optimal set as a sheet: ranges, the cheapest teacher, buildable models."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.questions import resources_sheet
from planner.questions.near_optimal.answer import NearOptimal, Shape, Span
from planner.reports import words
from planner.reports.sheet import Grid, Sheet, first_only, sparkline

NAMES = {
    "student_tokens": "student tokens",
    "student_size": "student size",
    "teacher_size": "teacher size",
    "teacher_tokens": "teacher tokens",
    "teacher_cross_entropy": "teacher cross-entropy",
}


def sheet(found: NearOptimal) -> Sheet:
    """The whole set."""
    return Sheet(
        kind="near-optimal",
        title=title(found),
        verdict=verdict(found),
        warnings=found.warnings,
        grids=(*first_only(grids(found)), *resources_sheet.grids(found.resources)),
        details=(*_notes(found), *resources_sheet.notes(found.resources)),
        rows=tuple(
            _row(span) | resources_sheet.cells(found.resources, "best plan") for span in found.spans
        ),
    )


def grids(found: NearOptimal) -> tuple[Grid, ...]:
    """The ranges, the cheapest teacher and the buildable models."""
    tables = [_spans(found)]
    if found.cheapest_teacher is not None:
        tables.append(_cheapest(found))
    tables += [_shapes(found, role) for role in ("student", "teacher") if _of(found, role)]
    return tuple(tables)


def title(found: NearOptimal) -> str:
    """What is near-optimal here."""
    asked = found.problem
    who = "student of any size"
    if asked.student is not None:
        who = f"{units.format_count(asked.student)} student"
    return (
        f"All recipes within {found.within}: {units.format_flops(asked.budget)} FLOPs, {who}, "
        f"scenario {asked.scenario}"
    )


def verdict(found: NearOptimal) -> str:
    """How flat the valley is, and the saving in it."""
    best = found.best.student.cross_entropy
    text = (
        f"Up to {units.format_loss(found.ceiling)} (best {units.format_loss(best)}): "
        + "; ".join(f"{NAMES[s.variable]} {between(s)}" for s in found.spans)
        + "."
    )
    cheapest = found.cheapest_teacher
    if cheapest is not None and found.cheapest_training and found.best_training:
        ratio = found.cheapest_training / found.best_training
        if ratio < 0.98:
            text += (
                f" The cheapest teacher in it, {words.on_tokens(cheapest.teacher)}, takes "
                f"{units.format_share(1 - ratio)} less compute to train than the best plan's."
            )
    return text


def between(span: Span) -> str:
    """``24.8B to 61.4B``; ≥ or ≤ where the range runs into a bound of the question."""
    low, high = (words.quantity(span.variable, end) for end in (span.low, span.high))
    return f"{low} to {high}" + (" (the bound)" if span.open_high or span.open_low else "")


def _spans(found: NearOptimal) -> Grid:
    rows = [
        (
            NAMES[span.variable],
            words.quantity(span.variable, span.low) + ("*" if span.open_low else ""),
            words.quantity(span.variable, span.best),
            words.quantity(span.variable, span.high) + ("*" if span.open_high else ""),
            f"{units.format_ratio(span.high / span.low)}×",
            spark(span, found),
        )
        for span in found.spans
    ]
    head = ("Variable", "Lowest", "Best", "Highest", "Spread", "Room below the ceiling")
    return Grid(
        "Each variable over all recipes of the set (the others at their best)",
        head, tuple(rows), left=(5,),
    )  # fmt: skip


def spark(span: Span, found: NearOptimal) -> str:
    """The room between the loss and the ceiling along the variable."""
    grid = np.linspace(np.log(span.values[0]), np.log(span.values[-1]), 24)
    losses = np.where(np.isfinite(span.losses), span.losses, 1e9)
    return sparkline(
        [found.ceiling - float(np.interp(x, np.log(span.values), losses)) for x in grid]
    )


def _cheapest(found: NearOptimal) -> Grid:
    assert found.cheapest_teacher is not None
    rows = []
    for name, recipe, training in (
        ("best plan", found.best, found.best_training),
        ("cheapest teacher", found.cheapest_teacher, found.cheapest_training),
    ):
        rows.append(
            (
                name,
                words.on_tokens(recipe.teacher),
                units.format_loss(recipe.teacher.cross_entropy),
                units.format_flops(training or 0.0),
                words.count(recipe.student.tokens),
                units.format_loss(recipe.student.cross_entropy),
            )
        )
    head = ("Recipe", "Teacher", "Its loss", "FLOPs to train it", "Student tokens", "Student loss")
    return Grid("The cheapest teacher to train in the set", head, tuple(rows))


def _of(found: NearOptimal, role: str) -> list[Shape]:
    return [shape for shape in found.shapes if shape.role == role]


def _shapes(found: NearOptimal, role: str) -> Grid:
    shapes = _of(found, role)
    best = min(range(len(shapes)), key=lambda k: shapes[k].cross_entropy)
    shown = sorted({best, *np.linspace(0, len(shapes) - 1, 12).round().astype(int).tolist()})
    rows = tuple(
        (
            str(shapes[k].architecture.layers),
            str(shapes[k].architecture.d_model),
            units.format_count(shapes[k].architecture.parameters, 4),
            units.format_loss(shapes[k].cross_entropy),
            words.count(shapes[k].student_tokens),
            words.count(shapes[k].teacher_tokens),
        )
        for k in shown
    )
    name = f"Buildable {role}s in the set: {len(shapes)}"
    if len(shown) < len(shapes):
        name += f", {len(shown)} shown"
    head = ("Layers", "d_model", "Parameters", "Student loss", "Student tokens", "Teacher tokens")
    return Grid(name, head, rows, strong=(shown.index(best),))


def _notes(found: NearOptimal) -> tuple[str, ...]:
    step = max(span.step for span in found.spans)
    lines = [
        "A range holds for one variable at a time: the others move with it, so that two ends of "
        "two ranges together need not be near-optimal.",
        f"Each point is a certified solve; ranges are scanned in steps of {step:.2f}× and their "
        "ends refined to 0.05%.",
        words.certificate(found.certificate),
    ]
    if any(span.open_low or span.open_high for span in found.spans):
        lines.insert(0, "* the range runs into a bound of the question, not into the ceiling.")
    torn = [NAMES[span.variable] for span in found.spans if span.pieces > 1]
    if torn:
        lines.insert(
            0,
            f"Two valleys: not every value between the ends is near-optimal for {', '.join(torn)}.",
        )
    if found.shapes_left_out:
        lines.append(f"{found.shapes_left_out} further buildable models lie in the ranges.")
    used = found.coefficients
    lines.append(f"Coefficients: {used.name}. Counted: {used.flop_convention}.")
    return tuple(lines)


def _row(span: Span) -> dict[str, Any]:
    return {
        "variable": span.variable,
        "low": span.low,
        "best": span.best,
        "high": span.high,
        "low_is_bound": span.open_low,
        "high_is_bound": span.open_high,
        "pieces": span.pieces,
    }
