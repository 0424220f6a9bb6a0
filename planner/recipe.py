"""An optimiser's row becomes a Recipe, with losses and FLOPs recomputed from the laws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from coefficients import CoefficientSet
from laws import Cost
from laws._types import Real
from planner import units
from planner.problem import Problem, Range, Teacher
from planner.results import AnyModel, Baseline, ExistingTeacher, Flops, Model, Recipe
from planner.rows import teacher_loss

SNAP = 1e-11  # a value this close to a bound is on it: exp(log(x)) is not always x

EDGE = 1e-6
"""A quantity this close to the edge of the domain rests on it: the search stops that close."""


@dataclass(frozen=True)
class Row:
    """One optimum as logarithms; `tie` where other teachers would do as well, `teacher` which."""

    u: float
    s: float
    n: float
    d: float
    tie: bool = False
    teacher: int = 0


def recipe_of(row: Row, problem: Problem, coefficients: CoefficientSet) -> Recipe:
    """The recipe of a row: losses and FLOPs come from the laws, not from the optimiser."""
    law, bounds = coefficients.distillation, problem.bounds
    assert law is not None
    size = problem.student or snap(math.exp(row.u), bounds.student_size)
    tokens = snap(math.exp(row.s), bounds.student_tokens)
    teacher = _teacher(row, problem, coefficients)
    pretrained = 0.0 if teacher.existing else teacher.tokens or 0.0
    cost = cost_of(problem, size, teacher.parameters, coefficients, own_flops(teacher))
    tokens = min(tokens, float(cost.student_tokens(problem.budget, pretrained)))
    costs = flops_of(cost, tokens, pretrained, known=teacher.parameters is not None)
    student = Model(
        size,
        tokens,
        float(law.loss(size, tokens, teacher.cross_entropy)),
        coefficients.architectures.nearest(size),
    )
    recipe = Recipe(student, teacher, costs)
    binding = binding_bounds(recipe, problem, coefficients)
    return replace(
        recipe, binding=binding, notes=_notes(recipe, row, problem, binding, coefficients)
    )


def baseline_of(u: float, s: float, problem: Problem, coefficients: CoefficientSet) -> Baseline:
    """The supervised model of these logarithms with its cost."""
    bounds = problem.bounds
    size = problem.student or snap(math.exp(u), bounds.student_size)
    tokens = snap(math.exp(s), bounds.student_tokens)
    cost = Cost.of(coefficients.flops, size, serving_tokens=problem.serving_tokens)
    tokens = min(tokens, float(cost.student_tokens(problem.budget)))
    model = Model(
        size,
        tokens,
        float(coefficients.supervised.loss(size, tokens)),
        coefficients.architectures.nearest(size),
    )
    binding = _at_bounds("student-tokens", tokens, bounds.student_tokens)
    if problem.student is None:
        binding += _at_bounds("student-size", size, bounds.student_size)
    return Baseline(model, flops_of(cost, tokens), binding)


def cost_of(
    problem: Problem,
    student: Real,
    teacher: Real | None,
    coefficients: CoefficientSet,
    teacher_flops: float | None = None,
) -> Cost:
    """Eq. 9 with the problem's charges for models of these sizes; teacher: None if not known.

    The training of an existing teacher is not charged. teacher_flops: per token, where they are
    not F(N) of its size.
    """
    cost = Cost.of(
        coefficients.flops,
        student,
        teacher,
        problem.charge_inference,
        0.0 if problem.teachers else problem.charge_pretraining,
        problem.serving_tokens,
    )
    return cost if teacher_flops is None else replace(cost, teacher=teacher_flops)


def own_flops(teacher: AnyModel) -> float | None:
    """Forward FLOPs per token that a teacher's own architecture says; None where F(N) counts."""
    return teacher.forward_flops if teacher.existing else None


def flops_of(
    cost: Cost, student_tokens: float, teacher_tokens: float = 0.0, known: bool = True
) -> Flops:
    """The terms of Eq. 9 for these tokens; known: whether the teacher's size is.

    teacher_tokens: of a teacher that this plan trains.
    """
    terms = vars(cost.terms(student_tokens, teacher_tokens))
    uncharged = float(cost.uncharged(student_tokens, teacher_tokens)) if known else None
    return Flops(**{name: float(term) for name, term in terms.items()}, uncharged=uncharged)


def snap(value: float, bounds: Range) -> float:
    """The bound itself where the value is on it up to rounding."""
    for bound in bounds:
        if abs(value - bound) <= SNAP * bound:
            return bound
    return value


def _teacher(row: Row, problem: Problem, coefficients: CoefficientSet) -> AnyModel:
    if problem.teachers:
        return existing_teacher(problem.teachers[row.teacher], coefficients)
    size = snap(math.exp(row.n), problem.bounds.teacher_size)
    tokens = snap(math.exp(row.d), problem.bounds.teacher_tokens)
    loss = float(coefficients.supervised.loss(size, tokens))
    return Model(size, tokens, loss, coefficients.architectures.nearest(size))


def existing_teacher(teacher: Teacher, coefficients: CoefficientSet) -> ExistingTeacher:
    """An existing teacher as a model; its loss is measured, or the law's estimate."""
    return ExistingTeacher(
        teacher.size,
        teacher.tokens,
        float(teacher_loss(teacher, coefficients)),
        None if teacher.size is None else coefficients.architectures.nearest(teacher.size),
        name=teacher.name,
        forward_flops=teacher.forward_flops,
    )


def _at_bounds(name: str, value: float, bounds: Range, room: float = 1e-9) -> tuple[str, ...]:
    low, high = bounds
    found = []
    if value <= low * (1 + room):
        found.append(f"min-{name}")
    if value >= high * (1 - room):
        found.append(f"max-{name}")
    return tuple(found)


def binding_bounds(
    recipe: Recipe, problem: Problem, coefficients: CoefficientSet
) -> tuple[str, ...]:
    """Names of the bounds that the recipe rests on, such as ``max-teacher-tokens``.

    A plan that was to stay inside the domain of validity may rest on its edges as well, such as
    ``domain-min-teacher-cross-entropy``.
    """
    bounds, student, teacher = problem.bounds, recipe.student, recipe.teacher
    found = _at_bounds("student-tokens", student.tokens, bounds.student_tokens)
    if problem.student is None:
        found += _at_bounds("student-size", student.parameters, bounds.student_size)
    if not teacher.existing:
        found += _at_bounds("teacher-size", teacher.parameters, bounds.teacher_size)
        found += _at_bounds("teacher-tokens", teacher.tokens, bounds.teacher_tokens)
    return found + (_at_edges(recipe, problem, coefficients) if problem.stay_in_domain else ())


def _at_edges(recipe: Recipe, problem: Problem, coefficients: CoefficientSet) -> tuple[str, ...]:
    """The edges of the domain that the recipe rests on in what the plan was free to choose."""
    given: tuple[str, ...] = () if problem.student is None else ("student_parameters",)
    if recipe.teacher.existing:
        given += ("teacher_parameters", "teacher_tokens", "teacher_cross_entropy")
    found: tuple[str, ...] = ()
    for quantity, value in quantities(recipe, coefficients).items():
        measured = coefficients.domain.of(quantity)
        if value is None or measured is None or quantity in given:
            continue
        ends = _at_bounds(quantity.replace("_", "-"), float(value), measured, EDGE)
        found += tuple(f"domain-{end}" for end in ends)
    return found


def quantities(recipe: Recipe, coefficients: CoefficientSet) -> dict[str, Real | None]:
    """Everything the domain of validity is about, as the recipe has it."""
    student, teacher = recipe.student, recipe.teacher
    return coefficients.quantities(
        student.parameters,
        student.tokens,
        teacher.cross_entropy,
        teacher.parameters,
        teacher.tokens,
    )


def _notes(
    recipe: Recipe,
    row: Row,
    problem: Problem,
    binding: tuple[str, ...],
    coefficients: CoefficientSet,
) -> tuple[str, ...]:
    notes = []
    if row.tie:
        notes.append(
            "Every teacher of this cross-entropy gives the same student; shown is the one that "
            f"{_cheapest(problem)}."
        )
    if recipe.teacher.existing:
        notes.append("The teacher exists: its pretraining is sunk and not charged.")
        if problem.teachers[row.teacher].loss is None:
            notes.append(
                "The teacher's cross-entropy is the law's estimate; measure it for a better plan."
            )
    elif "max-teacher-tokens" in binding and problem.charge_pretraining == 0 and not row.tie:
        notes.append(
            "Training the teacher is free here: only --max-teacher-tokens limits its tokens."
        )
    resting: tuple[str, ...] = ()
    if problem.constraints:
        from planner.constraints import resting_on

        resting = resting_on(recipe, problem, coefficients)
    if resting:
        named = " and ".join(f"'{text}'" for text in resting)
        notes.append(f"The plan rests on the constraint{'s' * (len(resting) > 1)} {named}.")
    unspent = problem.budget - recipe.flops.total
    if unspent > 1e-6 * problem.budget:
        limit = "the constraints allow no more" if resting else _limit(binding)
        notes.append(
            f"{units.format_share(unspent / problem.budget)} of the budget stays unspent: "
            f"{limit}, and no other plan of this budget is better."
        )
    return tuple(notes)


def _cheapest(problem: Problem) -> str:
    """By what ties between teachers are broken (`optimise.ties`)."""
    if problem.charge_inference == 0:
        return "costs the fewest FLOPs to train"
    return "the budget pays the fewest FLOPs for"


def _limit(binding: tuple[str, ...]) -> str:
    """What keeps the student from reading more tokens that the budget would pay."""
    if "max-student-tokens" in binding or "domain-max-student-tokens" in binding:
        return "the student's tokens are at their limit"
    return "the student has all the tokens that the bounds allow it"
