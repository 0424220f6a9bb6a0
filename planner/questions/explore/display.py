"""A plan as the page shows it: every cell in the words and digits of the command line's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coefficients import CoefficientSet
from planner import units
from planner.accelerators import Offer, parse_hardware
from planner.needs import PlanResources
from planner.questions.plan import needs_sheet
from planner.questions.plan import sheet as shown
from planner.questions.plan.answer import Plan
from planner.recipe import quantities
from planner.reports import words
from planner.reports.sheet import plain
from planner.results import Model

NO_OFFER = Offer()


@dataclass(frozen=True)
class ModelRow:
    """A quantity of the student, the teacher and the supervised model, in their order."""

    label: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class FlopsRow:
    """A term of the cost: as text, its share as text, and that share as a number, 0 to 1."""

    label: str
    flops: str
    share: str
    fraction: float


@dataclass(frozen=True)
class FlopsTotal:
    """What is spent, and its share of the budget."""

    flops: str
    share: str


@dataclass(frozen=True)
class ScenarioRow:
    """One scenario's optimum; `chosen`: whether the question asks for it."""

    name: str
    chosen: bool
    student: str
    teacher: str
    cross_entropy: str
    difference: str


@dataclass(frozen=True)
class Outside:
    """Whether the recipe and the supervised baseline leave what was measured."""

    recipe: bool
    supervised: bool


@dataclass(frozen=True)
class Table:
    """A table as text, and what was assumed in it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Understood:
    """How the budget and the student of the question were read."""

    budget: str
    student: str


@dataclass(frozen=True)
class Display:
    """A plan's title, cells and sentences as text, for a page that never formats a number of it.

    resources: hours, energy and money of both methods, where an accelerator is named.
    """

    title: str
    verdict: str
    model_names: tuple[str, ...]
    model_rows: tuple[ModelRow, ...]
    flops_rows: tuple[FlopsRow, ...]
    flops_total: FlopsTotal
    scenarios: tuple[ScenarioRow, ...]
    trust: tuple[str, ...]
    certificate: str
    warnings_title: str
    warnings: tuple[str, ...]
    in_domain: str
    remarks: tuple[str, ...]
    outside: Outside
    understood: Understood
    resources: Table | None = None


def display(
    plan: Plan, coefficients: CoefficientSet, budget: Any = None, offer: Offer = NO_OFFER
) -> Display:
    """The text of a plan.

    `budget` is what was asked in people's words: one written as hardware says what it assumes.
    """
    hardware = parse_hardware(budget, offer) if isinstance(budget, str) else None
    recipe, baseline = plan.recipe, plan.supervised
    models = plan.decisive.models
    student = plan.problem.student
    flops = plan.recommendation.flops
    spent = flops.total / plan.problem.budget
    remarks = (
        words.binding(recipe),
        shown.baseline_binding(plan),
        *recipe.notes,
        words.unknown_cost(recipe.flops),
        shown.considered(plan),
        shown.counting(plan),
    )
    return Display(
        title=shown.title(plan),
        verdict=plan.verdict.text,
        model_names=tuple(shown.model_names(plan)),
        model_rows=tuple(
            ModelRow(label, tuple(cells)) for label, cells in words.model_rows(models)
        ),
        flops_rows=tuple(
            FlopsRow(label, cell, units.format_share(share), share)
            for label, cell, share in words.flops_rows(flops)
        ),
        flops_total=FlopsTotal(
            units.format_flops(flops.total), f"{units.format_share(spent)} of the budget"
        ),
        scenarios=tuple(
            ScenarioRow(
                name=each.name + words.OUTSIDE * each.outside_domain,
                chosen=each.chosen,
                student=words.on_tokens(each.recipe.student) if each.recipe else "none feasible",
                teacher=words.on_tokens(each.recipe.teacher) if each.recipe else words.NOTHING,
                cross_entropy=words.NOTHING
                if each.cross_entropy is None
                else units.format_loss(each.cross_entropy),
                difference=words.signed(each.difference),
            )
            for each in plan.scenarios
        ),
        trust=tuple(shown.confidence(plan)),
        certificate=words.certificate(plan.certificate),
        warnings_title=words.warnings_title(plan.warnings) if plan.warnings else "",
        warnings=tuple(warning.text for warning in plan.warnings),
        in_domain=shown.in_domain(plan.in_domain, plan) if plan.in_domain else "",
        remarks=tuple(line for line in remarks if line),
        outside=Outside(
            recipe=not coefficients.domain.covers(quantities(recipe, coefficients)),
            supervised=not _measured(baseline.model, coefficients),
        ),
        understood=Understood(
            budget=f"{units.format_flops(plan.problem.budget)} FLOPs, "
            f"{units.format_ratio(plan.problem.budget / PETAFLOP_DAY)} PFLOP-days"
            + (f": {hardware}" if hardware else ""),
            student="size planned too"
            if student is None
            else f"{units.format_count(student)} non-embedding parameters",
        ),
        resources=None if plan.resources is None else _resources(plan.resources),
    )


def _resources(found: PlanResources) -> Table:
    grid = next(needs_sheet.grids(found))
    rows = tuple(tuple(plain(cell) for cell in row) for row in grid.rows)
    return Table(grid.title, grid.head, rows, needs_sheet.notes(found)[0])


def _measured(model: Model, coefficients: CoefficientSet) -> bool:
    """Whether a supervised model lies inside the measured sizes and tokens."""
    alone = {"supervised_parameters": model.parameters, "supervised_tokens": model.tokens}
    return bool(coefficients.domain.covers(alone))


PETAFLOP_DAY = 1e15 * 86400.0
"""FLOPs of one petaFLOP/s for a day."""
