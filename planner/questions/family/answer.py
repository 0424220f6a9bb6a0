"""One teacher for several students: how to split one budget over all of them.

The question is a Problem (budget, charges, bounds, existing teachers) with several students in the
place of one. Its answer minimises the weighted mean of the students' cross-entropies, or, where
every student has a target, the budget. `docs/families.md` tells what is proven.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from coefficients import CoefficientSet
from planner import units, verdict
from planner.documents import OpenFloat, derived, unwritten
from planner.errors import InfeasibleError, UnreachableError
from planner.needs import Spent
from planner.optimise.batch import Array
from planner.problem import Problem
from planner.questions.base import Answer
from planner.questions.family.growth import Growth
from planner.questions.family.members import Member, check, fleet_of, planned_teacher
from planner.questions.family.search import minimise
from planner.questions.family.smallest_budget import cheapest
from planner.questions.family.supervised import split_directly
from planner.recipe import cost_of, flops_of, own_flops, snap
from planner.results import AnyModel, Coefficients, Flops, Law, Model, Recipe, Warning

TARGET_TOLERANCE = 1e-4
"""Relative gap of the smallest budget that reaches all targets."""


@dataclass(frozen=True)
class Student:
    """A student in the plan. `direct`: the supervised model of the same size when the same budget
    trains all students directly. `flops`: its training, all copies."""

    member: Member
    model: Model
    direct: Model | None
    flops: float


@dataclass(frozen=True, repr=False)
class FamilyPlan(Answer):
    """The split. `objective` is the weighted mean cross-entropy, or FLOPs where targets are given;
    no plan gets below `lower_bound`. `direct` is the same without a teacher. growth: how
    the plan changes with the number of students, where it was asked for. resources: what it takes
    with and without the teacher, where an accelerator is named."""

    KIND: ClassVar[str] = "family"

    problem: Problem
    cached: bool
    students: tuple[Student, ...]
    teacher: AnyModel
    flops: Flops
    by_targets: bool
    objective: float
    lower_bound: float
    tolerance: float
    direct: OpenFloat
    boxes: int
    coefficients: Coefficients
    warnings: tuple[Warning, ...] = ()
    growth: Growth | None = None
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @derived
    def gap(self) -> float:
        """Objective minus its proven lower bound; relative for a budget."""
        gap = self.objective - self.lower_bound
        return gap / self.objective if self.by_targets else gap

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What the plan costs, and training every student without a teacher where that is
        possible."""
        pairs, alone = [("one teacher", self.flops)], 0.0
        for each in self.students:
            if each.direct is None:
                return pairs
            training = self.law.flops.training(each.direct.parameters, each.direct.tokens)
            alone += each.member.copies * float(training)
        return [*pairs, ("supervised", Flops(alone))]

    @derived
    def proven(self) -> bool:
        """Whether the gap is within the tolerance."""
        return self.gap <= self.tolerance

    @derived
    def count(self) -> int:
        """How many students are trained."""
        return sum(student.member.copies for student in self.students)

    @derived
    def worth_it(self) -> bool:
        """Whether the teacher beats training every student directly."""
        return self.objective < self.direct


ANSWER = FamilyPlan


def plan_family(
    problem: Problem,
    members: Sequence[Member],
    cached: bool = False,
    coefficients: CoefficientSet | None = None,
) -> FamilyPlan:
    """Split the budget over the teacher and all students.

    With `cached`, logits are computed once over the longest run and stored for all. With targets
    (all students or none), the budget of `problem` is ignored and the smallest one found. Raises
    ProblemError, InfeasibleError or UnreachableError.
    """
    chosen = problem.coefficient_set(coefficients)
    check(problem, members)
    if members[0].target is not None:
        return _by_targets(problem, members, cached, chosen)
    options = _options(problem)
    plans = [_by_weights(each, members, cached, chosen) for each in options]
    found = [plan for plan in plans if plan is not None]
    if not found:
        raise InfeasibleError(
            f"a budget of {units.format_flops(problem.budget)} FLOPs is too small for "
            f"{len(members)} students within the bounds; raise --budget or lower the least tokens."
        )
    best = min(found, key=lambda plan: plan.objective)
    return replace(best, lower_bound=min(plan.lower_bound for plan in found))


def _options(problem: Problem) -> list[Problem]:
    if not problem.teachers:
        return [problem]
    return [replace(problem, teachers=(teacher,)) for teacher in problem.teachers]


def _by_weights(
    problem: Problem, members: Sequence[Member], cached: bool, chosen: CoefficientSet
) -> FamilyPlan | None:
    copies = np.array([[float(member.copies) for member in members]])
    f = fleet_of(problem, members, copies, np.array([problem.budget]), cached, chosen)
    found = minimise(f, problem.tolerance)
    if not np.isfinite(found.loss[0]):
        return None
    direct = split_directly(f)
    plan = _assemble(
        problem, members, cached, chosen, np.exp(found.s[0]), float(found.n[0]), float(found.d[0]),
        np.exp(direct.s[0]),
    )  # fmt: skip
    weights = f.weight[0]
    objective = float(weights @ [student.model.cross_entropy for student in plan.students])
    return replace(
        plan,
        objective=objective,
        lower_bound=float(found.lower_bound[0]),
        tolerance=problem.tolerance,
        direct=float(direct.loss[0]),
        boxes=int(found.boxes[0]),
    )


def _by_targets(
    problem: Problem, members: Sequence[Member], cached: bool, chosen: CoefficientSet
) -> FamilyPlan:
    targets = np.array([float(member.target or 0.0) for member in members])
    copies = np.array([[float(member.copies) for member in members]])
    tolerance = max(TARGET_TOLERANCE, problem.tolerance)
    plans = []
    for option in _options(problem):
        f = fleet_of(option, members, copies, np.array([option.budget]), cached, chosen)
        found = cheapest(f, targets, tolerance)
        if math.isfinite(found.cost):
            spent = replace(option, budget=found.cost)
            tokens = _direct_tokens(members, targets, option, chosen)
            plan = _assemble(
                spent, members, cached, chosen, np.exp(found.s), found.n, found.d, tokens
            )
            direct = sum(
                member.copies * float(chosen.flops.training(member.size, t))
                for member, t in zip(members, tokens, strict=True)
            )
            plans.append(
                replace(plan, by_targets=True, objective=found.cost, tolerance=tolerance,
                        lower_bound=found.lower_bound, direct=direct, boxes=found.boxes)
            )  # fmt: skip
    if not plans:
        raise _unreachable(problem, members, chosen)
    best = min(plans, key=lambda plan: plan.objective)
    return replace(best, lower_bound=min(plan.lower_bound for plan in plans))


def _direct_tokens(
    members: Sequence[Member], targets: Array, problem: Problem, chosen: CoefficientSet
) -> Array:
    """Tokens at which supervised training meets the targets; inf beyond the bounds."""
    sizes = np.array([member.size for member in members])
    tokens = np.asarray(chosen.supervised.tokens_for_loss(sizes, targets))
    low, high = problem.bounds.student_tokens
    return np.where(tokens <= high, np.maximum(tokens, low), np.inf)


def _unreachable(
    problem: Problem, members: Sequence[Member], chosen: CoefficientSet
) -> UnreachableError:
    law = chosen.distillation
    assert law is not None
    high = problem.bounds.student_tokens[1]
    worst, floor = members[0], 0.0
    for member in members:
        teacher = law.best_teacher_loss(member.size, high)
        best = float(law.loss(member.size, high, teacher))
        if member.target is not None and best > member.target:
            worst, floor = member, best
    if floor == 0.0:
        return UnreachableError(
            "no single teacher within the bounds brings every student to its target; raise the "
            "lowest targets, or plan the students apart."
        )
    return UnreachableError(
        f"a student of {units.format_count(worst.size)} cannot reach {worst.target:g}: with the "
        f"best teacher and {units.format_count(high)} tokens it gets to {floor:.4f} nats; raise "
        "its target or its size.",
        floor,
    )


def _assemble(
    problem: Problem,
    members: Sequence[Member],
    cached: bool,
    chosen: CoefficientSet,
    tokens: Array,
    n: float,
    d: float,
    direct: Array,
) -> FamilyPlan:
    """Everything recomputed from the laws."""
    law = chosen.distillation
    assert law is not None
    teacher = planned_teacher(problem, n, d, chosen)
    students = []
    for member, count, alone in zip(members, tokens, direct, strict=True):
        count = snap(float(count), problem.bounds.student_tokens)
        loss = float(law.loss(member.size, count, teacher.cross_entropy))
        shape = chosen.architectures.nearest(member.size)
        rival = None
        if math.isfinite(alone):
            direct_loss = float(chosen.supervised.loss(member.size, alone))
            rival = Model(member.size, float(alone), direct_loss, shape)
        training = member.copies * float(chosen.flops.training(member.size, count))
        students.append(Student(member, Model(member.size, count, loss, shape), rival, training))
    read = [each.model.tokens or 0.0 for each in students]
    copies = [each.member.copies for each in students]
    logits = max(read) if cached else sum(c * r for c, r in zip(copies, read, strict=True))
    pretrained = 0.0 if teacher.existing else teacher.tokens or 0.0
    cost = cost_of(problem, 0.0, teacher.parameters, chosen, own_flops(teacher))
    flops = replace(
        flops_of(cost, logits, pretrained), student_training=sum(each.flops for each in students)
    )
    warnings = _warnings(students, teacher, flops, chosen)
    return FamilyPlan(
        problem,
        cached,
        tuple(students),
        teacher,
        flops,
        False,
        0.0,
        0.0,
        0.0,
        0.0,
        0,
        Coefficients.of(chosen),
        warnings,
        law=chosen,
    )


def _warnings(
    students: Sequence[Student], teacher: AnyModel, flops: Flops, chosen: CoefficientSet
) -> tuple[Warning, ...]:
    """The domain's warnings of every student, the teacher's own only once."""
    found: dict[str, Warning] = {}
    for student in students:
        recipe = Recipe(student.model, teacher, flops)
        for warning in verdict.domain_warnings(recipe, chosen):
            named = f"{units.format_count(student.member.size)} student: {warning.text}"
            about_teacher = warning.quantity.startswith("teacher_") and (
                warning.quantity != "teacher_to_supervised"
            )
            text = warning.text if about_teacher or not warning.quantity else named
            found.setdefault(text, replace(warning, text=text))
    return tuple(found.values())
