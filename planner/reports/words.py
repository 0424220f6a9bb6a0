"""The words and cells that every report for people shares; formats only arrange them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from planner import units
from planner.plan import Certificate, Flops, InDomain, Model, Plan, Recipe, ScenarioResult
from planner.plan import Warning as PlanWarning
from planner.reports.document import all_scenarios, is_chosen
from planner.scenarios import SCENARIOS, scenario_of

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


class ScenarioLine(NamedTuple):
    """One scenario as cells; `difference` stays a number for bars."""

    name: str
    chosen: bool
    student: str
    teacher: str
    cross_entropy: str
    difference: float | None

    @property
    def difference_text(self) -> str:
        """The difference to supervised with its sign."""
        return signed(self.difference)


def tidy(text: str) -> str:
    """Text on one line, without control characters: names come from files and from users."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def title(plan: Plan) -> str:
    """What was asked, in one line."""
    asked = plan.problem
    student = "student of any size"
    if asked.student is not None:
        student = f"{units.format_count(asked.student)} student"
    return (
        f"Plan for {units.format_flops(asked.budget)} FLOPs, {student}, scenario {scenario(plan)}"
    )


def scenario_summary(plan: Plan) -> str:
    """What the scenario charges, in a line; empty for custom charges, whose title says it."""
    asked = plan.problem
    if not asked.teachers:
        return SCENARIOS[asked.scenario].summary if asked.scenario in SCENARIOS else ""
    subject = "the teacher exists" if len(asked.teachers) == 1 else "the teachers exist"
    if asked.charge_inference == 0:
        return f"{subject}, logits are stored"
    if asked.charge_inference == 1:
        return f"{subject}, its logits are computed".replace("exist, its", "exist, their")
    return f"{subject}, {asked.charge_inference:.4g} of the logits' cost is charged"


def scenario(plan: Plan) -> str:
    """The scenario's name; for custom charges also what they are."""
    asked = plan.problem
    if asked.teachers:
        return scenario_of(asked.charge_inference, 0.0)
    if asked.scenario in SCENARIOS:
        return asked.scenario
    return (
        f"{asked.scenario} (charging {asked.charge_inference:.4g} of the teacher's inference, "
        f"{asked.charge_pretraining:.4g} of its pretraining)"
    )


def model_names(plan: Plan) -> tuple[str, str, str]:
    """Headings of the columns student, teacher, supervised."""
    teacher = plan.recipe.teacher
    free = not teacher.existing and plan.problem.charge_pretraining == 0
    return ("Student", "Teacher" if free else teacher_name(teacher), "Supervised")


def teacher_name(teacher: Model) -> str:
    """ "Teacher", and whether it is to be trained or exists already (under which name)."""
    if not teacher.existing:
        return "Teacher (to train)"
    return f"Teacher ({tidy(teacher.name)})" if teacher.name else "Teacher (existing)"


def model_rows(models: Sequence[Model]) -> list[tuple[str, list[str]]]:
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
    shares = flops.shares()
    return [
        (TERM_WORDS[term], units.format_flops(getattr(flops, term)), shares[term])
        for term in flops.TERMS
        if term != "serving" or flops.serving > 0
    ]


def uncharged(flops: Flops) -> str:
    """What the teacher costs beyond the budget, or nothing."""
    if flops.uncharged is None:
        return "Not charged: the rest of the teacher's cost, unknown without its size."
    if flops.uncharged <= 0:
        return ""
    return f"Not charged: {units.format_flops(flops.uncharged)} FLOPs of the teacher's cost."


def scenario_lines(plan: Plan) -> list[ScenarioLine]:
    """All scenarios side by side."""
    lines = []
    for each in all_scenarios(plan):
        recipe = each.recipe
        lines.append(
            ScenarioLine(
                _scenario_name(each, plan) + OUTSIDE * each.outside_domain,
                is_chosen(each, plan),
                on_tokens(recipe.student) if recipe else "none feasible",
                on_tokens(recipe.teacher) if recipe else NOTHING,
                units.format_loss(recipe.student.cross_entropy) if recipe else NOTHING,
                each.difference,
            )
        )
    return lines


def _scenario_name(each: ScenarioResult, plan: Plan) -> str:
    """Existing teachers are not trained, whatever share of training was to be charged."""
    if not plan.problem.teachers:
        return each.name
    return scenario_of(each.charge_inference, 0.0)


def on_tokens(model: Model) -> str:
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


def warnings_title(warnings: Sequence[PlanWarning]) -> str:
    """The heading over the warnings."""
    if any(leaves_range(each) for each in warnings):
        return "Outside the law's domain of validity"
    return "Warning" if len(warnings) == 1 else "Warnings"


def leaves_range(warning: PlanWarning) -> bool:
    """Whether the warning says that the recipe leaves a measured range."""
    return warning.code == "outside-domain" and None not in (warning.range, warning.value)


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


def quantity(name: str, value: float) -> str:
    """A value in the form that suits its name: a loss, a ratio or a count; "any" if infinite."""
    if not math.isfinite(value):
        return "any"
    if "cross_entropy" in name or name.endswith("loss"):
        return units.format_loss(value)
    if "per_parameter" in name or "_to_" in name:
        return units.format_ratio(value)
    return units.format_count(value)


def in_domain(inside: InDomain, plan: Plan) -> str:
    """The best recipe inside the domain in one sentence, or that there is none and why."""
    if inside.recipe is None:
        reason = f": {tidy(inside.reason).rstrip('.')}" if inside.reason else ""
        return f"No recipe exists inside the domain{reason}."
    student, teacher = inside.recipe.student, inside.recipe.teacher
    proof = "" if inside.certificate is None or inside.certificate.proven else ", not proven"
    return (
        f"Best recipe inside the domain: student {on_tokens(student)} tokens, teacher "
        f"{on_tokens(teacher)}{'' if teacher.tokens is None else ' tokens'}, cross-entropy "
        f"{units.format_loss(student.cross_entropy)} "
        f"({signed(student.cross_entropy - plan.cross_entropy)} on the recipe here, "
        f"{signed(student.cross_entropy - plan.supervised.model.cross_entropy)} on "
        f"supervised{proof})."
    )


def binding(recipe: Recipe) -> str:
    """Which bounds the optimum rests on."""
    if not recipe.binding:
        return "Bounds reached: none; the optimum is an interior one."
    return f"Bounds reached: {', '.join(recipe.binding)}; another bound would change the recipe."


def baseline_binding(plan: Plan) -> str:
    """Which bounds the supervised baseline rests on, or nothing."""
    if not plan.supervised.binding:
        return ""
    return f"Bounds the supervised baseline reached: {', '.join(plan.supervised.binding)}."


def considered(plan: Plan) -> str:
    """The existing teachers in the order of the student's loss, or nothing."""
    if len(plan.considered) < 2:
        return ""
    ranked = sorted(plan.considered, key=lambda each: each[1])
    return "Teachers ranked: " + "; ".join(
        f"{tidy(name)} → student {units.format_loss(loss)}" for name, loss in ranked
    )


def counting(plan: Plan) -> str:
    """What counts as a parameter and as a FLOP, and whose coefficients these are."""
    return f"{conventions(plan)} {provenance(plan)}"


def outside(plan: Plan) -> str:
    """What the mark behind a scenario means, or nothing where none is marked."""
    if not any(each.outside_domain for each in plan.scenarios):
        return ""
    return f"{OUTSIDE.strip()} This scenario's recipe leaves the law's domain of validity."


def conventions(plan: Plan) -> str:
    """What counts as a parameter and as a FLOP."""
    used = plan.coefficients
    said = used.parameter_convention.partition(" ")[0] in used.flop_convention
    first = "" if said else f"{used.parameter_convention}; "
    return tidy(f"Counted: {first}{used.flop_convention}.")


def provenance(plan: Plan) -> str:
    """Whose coefficients these are."""
    used = plan.coefficients
    return tidy(f"Coefficients: {used.name} ({used.source}).")


def count(value: float | None) -> str:
    """A number of parameters or tokens, or a dash."""
    return NOTHING if value is None else units.format_count(value)


def ratio(value: float | None) -> str:
    """A ratio, or a dash."""
    return NOTHING if value is None else units.format_ratio(value)


def signed(value: float | None) -> str:
    """A difference of losses with its sign, or a dash."""
    return NOTHING if value is None else f"{value:+.4f}".replace("-", "−")


def _depth_and_width(model: Model) -> str:
    shape = model.architecture
    return f"{shape.layers} × {shape.d_model}" if shape else NOTHING


def _heads_and_ff(model: Model) -> str:
    shape = model.architecture
    return f"{shape.heads}, {shape.d_ff}" if shape else NOTHING


def _buildable(model: Model) -> str:
    if model.architecture is None:
        return NOTHING
    size = units.format_count(model.architecture.parameters, 4)
    if not model.parameters or model.parameters == model.architecture.parameters:
        return size
    change = 100 * (model.architecture.parameters / model.parameters - 1)
    return f"{size} ({change:+.1f}%)".replace("-", "−")
