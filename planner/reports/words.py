"""The words and cells that every report for people shares; formats only arrange them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner import units
from planner.reports.sheet import leaves_range as leaves_range
from planner.reports.sheet import tidy as tidy
from planner.results import AnyModel, Certificate, Flops, Recipe
from planner.results import Warning as PlanWarning

NOTHING = "–"
OUTSIDE = " †"

TERM_WORDS = {
    "student_training": "Student training",
    "teacher_inference": "Teacher inference",
    "teacher_pretraining": "Teacher pretraining",
    "serving": "Serving",
}

QUANTITY_WORDS = {
    "teacher_cross_entropy": "teacher cross-entropy",
    "teacher_to_supervised": "teacher / supervised loss",
}


def teacher_name(teacher: AnyModel) -> str:
    """ "Teacher", and whether it is to be trained or exists already (under which name)."""
    if not teacher.existing:
        return "Teacher (to train)"
    return f"Teacher ({tidy(teacher.name)})" if teacher.name else "Teacher (existing)"


def model_rows(models: Sequence[AnyModel]) -> list[tuple[str, list[str]]]:
    """Label and one cell per model. Shapes are left out where no model has one."""
    rows = [
        ("Parameters", [count(each.parameters) for each in models]),
        ("Tokens", [count(each.tokens) for each in models]),
        ("Tokens per parameter", [ratio(each.tokens_per_parameter) for each in models]),
        ("Cross-entropy, nats/token", [units.format_loss(each.cross_entropy) for each in models]),
    ]
    if any(each.architecture for each in models):
        rows += [
            ("Layers × d_model", [_depth_and_width(each) for each in models]),
            ("Heads, d_ff", [_heads_and_ff(each) for each in models]),
            ("Nearest buildable size", [_buildable(each) for each in models]),
        ]
    return rows


def flops_rows(flops: Flops) -> list[tuple[str, str, float]]:
    """Label, FLOPs and share of every term; serving only where tokens are served."""
    shares = flops.shares
    return [
        (TERM_WORDS[term], units.format_flops(getattr(flops, term)), shares[term])
        for term in flops.TERMS
        if term != "serving" or flops.serving > 0
    ]


def unknown_cost(flops: Flops) -> str:
    """That the teacher's cost beyond the budget cannot be known, where it cannot."""
    known = flops.uncharged is not None
    return "" if known else "Uncharged teacher cost: unknown without the teacher's size."


def on_tokens(model: AnyModel) -> str:
    """``1.36B on 30B``: parameters on tokens, or what else is known of a teacher."""
    if model.parameters is None:
        return f"loss {units.format_loss(model.cross_entropy)}"
    if model.tokens is None:
        return f"{count(model.parameters)}, loss {units.format_loss(model.cross_entropy)}"
    return f"{count(model.parameters)} on {count(model.tokens)}"


def certificate(proof: Certificate) -> str:
    """What is proven, in one sentence."""
    if proof.proven:
        return (
            f"Proven optimum: no plan gets below {proof.lower_bound:.7f} nats; this one is within "
            f"{proof.gap:.1e} of that (asked for {proof.tolerance:.1e}; {proof.boxes:,} boxes)."
        )
    return (
        f"NOT PROVEN: a plan up to {proof.gap:.1e} nats better may exist (asked for "
        f"{proof.tolerance:.1e}; lower bound {proof.lower_bound:.7f}; {proof.boxes:,} boxes)."
    )


def warnings_title(warnings: Sequence[str | PlanWarning]) -> str:
    """The heading over the warnings."""
    if any(leaves_range(each) for each in warnings):
        return "Outside the measured range"
    return "Warning" if len(warnings) == 1 else "Warnings"


def warning_cells(warning: PlanWarning) -> tuple[str, str, str]:
    """Quantity, value and range of a warning that has them."""
    assert warning.value is not None
    assert warning.range is not None
    low, high = (quantity(warning.quantity, end) for end in warning.range)
    factor = max(warning.range[0] / warning.value, warning.value / warning.range[1])
    times = f", {units.format_ratio(factor)}× outside" if factor >= 1.1 else ""
    return (
        QUANTITY_WORDS.get(warning.quantity, warning.quantity.replace("_", " ")),
        quantity(warning.quantity, warning.value),
        f"measured {low} to {high}{times}",
    )


def left_ranges(warnings: Sequence[PlanWarning], of: str) -> str:
    """``Optimum outside the measured range: student tokens 20T (203x), ...``."""
    parts = []
    for each in warnings:
        name, value, where = warning_cells(each)
        factor = where.partition(", ")[2].removesuffix(" outside")
        parts.append(f"{name} {value}{f' ({factor})' if factor else ''}")
    return f"{of} outside the measured range: {', '.join(parts)}."


def quantity(name: str, value: float) -> str:
    """A value in the form that suits its name: a loss, a ratio or a count; "any" if infinite."""
    if not math.isfinite(value):
        return "any"
    if "cross_entropy" in name or name.endswith("loss"):
        return units.format_loss(value)
    if "per_parameter" in name or "_to_" in name:
        return units.format_ratio(value)
    return units.format_count(value)


def binding(recipe: Recipe) -> str:
    """Which bounds the optimum rests on."""
    if not recipe.binding:
        return "No active bounds."
    return f"Active bounds: {', '.join(recipe.binding)}; relaxing them would change the recipe."


def count(value: float | None) -> str:
    """A number of parameters or tokens, or a dash."""
    return NOTHING if value is None else units.format_count(value)


def ratio(value: float | None) -> str:
    """A ratio, or a dash."""
    return NOTHING if value is None else units.format_ratio(value)


def signed(value: float | None) -> str:
    """A difference of losses with its sign, or a dash."""
    return NOTHING if value is None else units.format_signed(value)


def _depth_and_width(model: AnyModel) -> str:
    shape = model.architecture
    return f"{shape.layers} × {shape.d_model}" if shape else NOTHING


def _heads_and_ff(model: AnyModel) -> str:
    shape = model.architecture
    return f"{shape.heads}, {shape.d_ff}" if shape else NOTHING


def _buildable(model: AnyModel) -> str:
    if model.architecture is None:
        return NOTHING
    size = units.format_count(model.architecture.parameters, 4)
    if not model.parameters or model.parameters == model.architecture.parameters:
        return size
    change = 100 * (model.architecture.parameters / model.parameters - 1)
    return f"{size} ({change:+.1f}%)".replace("-", "−")
