"""How good is a recipe somebody already has: its prediction, its cost, and what to change first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from coefficients import CoefficientSet
from planner import units, verdict
from planner.documents import Record, derived, unwritten
from planner.errors import InfeasibleError, ProblemError
from planner.needs import Spent
from planner.optima import optima, supervised
from planner.problem import Problem, Teacher
from planner.questions.base import Answer
from planner.questions.evaluate.rules import RULES, Choice, Setting
from planner.questions.plan.answer import Plan
from planner.questions.target.answer import smallest_budgets
from planner.recipe import Row, cost_of, recipe_of
from planner.results import Baseline, Certificate, Coefficients, Flops, Law, Recipe, Warning
from planner.rows import refuse_constraints, require_distillation
from planner.second_opinion import OtherView, other_view


@dataclass(frozen=True)
class Move(Record):
    """One thing changed at equal cost: the variable's old and new value, and the loss it gives.

    `frees` says what takes up the difference in cost. `recipe` is the certified best such change.
    """

    variable: str
    frees: str
    old: float
    new: float
    recipe: Recipe
    gain: float


@dataclass(frozen=True)
class Scored(Record):
    """A rule of thumb at the recipe's cost; `recipe` None where budget or bounds forbid it."""

    name: str
    summary: str
    recipe: Recipe | None
    excess: float | None
    """Nats above the optimum at the same cost."""


@dataclass(frozen=True, repr=False)
class Evaluation(Answer):
    """Everything about a recipe beside the optimum at the same cost.

    budget_for_loss: the smallest budget that reaches the recipe's own loss; never above its cost.
    best_warnings: where the optimum of equal cost leaves what was measured. second_opinion and
    second_opinion_of_best: what the other coefficient set predicts for both. resources: what the
    recipe, the best one and the supervised model take, where an accelerator is named.
    """

    KIND: ClassVar[str] = "evaluate"

    recipe: Recipe
    best: Recipe
    certificate: Certificate
    budget_for_loss: float
    moves: tuple[Move, ...]
    rules: tuple[Scored, ...]
    warnings: tuple[Warning, ...]
    problem: Problem
    coefficients: Coefficients
    supervised: Baseline | None = None
    best_warnings: tuple[Warning, ...] = ()
    supervised_warnings: tuple[Warning, ...] = ()
    second_opinion: OtherView | None = None
    second_opinion_of_best: OtherView | None = None
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @derived
    def cost(self) -> float:
        """FLOPs that the recipe is charged."""
        return float(self.problem.budget)

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What the recipe, the best one of equal cost and the supervised model cost."""
        pairs = [("your recipe", self.recipe.flops), ("best", self.best.flops)]
        if self.supervised is not None:
            pairs.append(("supervised", self.supervised.flops))
        return pairs

    @derived
    def excess(self) -> float:
        """Nats above the optimum at the same cost."""
        return max(0.0, self.recipe.student.cross_entropy - self.best.student.cross_entropy)

    @derived
    def saved(self) -> float:
        """Share of the compute that the best plan of equal loss would save."""
        return max(0.0, 1.0 - self.budget_for_loss / self.cost)

    @derived
    def first(self) -> Move | None:
        """The single change that gains most, the student's own size aside; None if none gains."""
        usable = [
            move
            for move in self.moves
            if move.variable != "student size" and move.gain > self.problem.tolerance
        ]
        return max(usable, key=lambda move: move.gain, default=None)


def evaluate(
    problem: Problem,
    student_tokens: float,
    teacher: Teacher,
    coefficients: CoefficientSet | None = None,
    teacher_exists: bool | None = None,
) -> Evaluation:
    """Judge a recipe: the problem's student on `student_tokens` under `teacher`.

    The problem's own budget is ignored: the recipe's cost under its charges takes its place, and
    its bounds are widened to hold the recipe. A teacher known by its loss exists already and is
    compared as given; one of size and tokens is part of the plan unless `teacher_exists`.
    """
    chosen = problem.coefficient_set(coefficients)
    require_distillation(chosen)
    refuse_constraints([problem])
    if problem.student is None:
        raise ProblemError("the student's size is missing; give it like --student 1B.")
    exists = teacher.loss is not None if teacher_exists is None else teacher_exists
    asked = _asked(problem, student_tokens, teacher, exists, chosen)
    recipe = _recipe(asked, student_tokens, teacher, chosen)
    best, certificate = optima([asked], chosen)[0].require(chosen)
    if best.student.cross_entropy > recipe.student.cross_entropy:  # within the tolerance
        best = recipe
    needed = smallest_budgets([asked], np.array([recipe.student.cross_entropy]), chosen)
    try:
        direct = supervised(asked, chosen)
    except InfeasibleError:
        direct = None
    rules: tuple[Scored, ...] = ()
    if not exists:
        rules = _rules(Setting(asked, recipe, chosen), best)
    return Evaluation(
        problem=asked,
        recipe=recipe,
        best=best,
        certificate=certificate,
        supervised=direct,
        budget_for_loss=min(float(needed.budget[0]), asked.budget),
        moves=() if exists else _moves(asked, recipe, chosen),
        rules=rules,
        warnings=(
            *verdict.domain_warnings(recipe, chosen),
            *verdict.teacher_warnings(recipe, chosen),
        ),
        best_warnings=verdict.domain_warnings(best, chosen) if chosen.domain.known else (),
        supervised_warnings=verdict.baseline_warnings(direct, chosen) if direct else (),
        coefficients=Coefficients.of(chosen),
        second_opinion=other_view(recipe, chosen),
        second_opinion_of_best=other_view(best, chosen),
        law=chosen,
    )


ANSWER = Evaluation


def evaluate_plan(plan: Plan, coefficients: CoefficientSet | None = None) -> Evaluation:
    """Judge the recipe of a plan."""
    student, given = plan.recipe.student, plan.recipe.teacher
    teacher = Teacher(
        size=given.parameters,
        tokens=given.tokens,
        loss=given.cross_entropy if given.existing else None,
        name=given.name,
    )
    problem = replace(
        plan.problem,
        student=student.parameters,
        teachers=(),
        bounds=_hold(plan.problem, "student_size", student.parameters),
        round_to_architecture=False,
    )
    return evaluate(problem, student.tokens, teacher, coefficients, given.existing)


def _asked(
    problem: Problem,
    student_tokens: float,
    teacher: Teacher,
    exists: bool,
    coefficients: CoefficientSet,
) -> Problem:
    """The question that the recipe answers, with its own cost as the budget."""
    problem = replace(problem, bounds=_hold(problem, "student_tokens", student_tokens))
    size = teacher.size
    if size is None and not exists:
        raise ProblemError("the teacher's size is missing; write it like size=2B,tokens=40B.")
    if exists:
        problem = replace(problem, teachers=(teacher,), charge_pretraining=0.0)
    else:
        assert size is not None and teacher.tokens is not None
        problem = replace(problem, teachers=(), bounds=_hold(problem, "teacher_size", size))
        problem = replace(problem, bounds=_hold(problem, "teacher_tokens", teacher.tokens))
    assert problem.student is not None
    cost = cost_of(problem, problem.student, size, coefficients, teacher.forward_flops)
    return replace(problem, budget=float(cost.total(student_tokens, teacher.tokens or 0.0)))


def _hold(problem: Problem, variable: str, value: float) -> Any:
    units.check_positive(value, variable.replace("_", " "))
    low, high = getattr(problem.bounds, variable)
    return replace(problem.bounds, **{variable: (min(low, value), max(high, value))})


def _recipe(
    asked: Problem, student_tokens: float, teacher: Teacher, coefficients: CoefficientSet
) -> Recipe:
    assert asked.student is not None
    row = Row(
        u=math.log(asked.student),
        s=math.log(student_tokens),
        n=math.log(teacher.size or 1.0),
        d=math.log(teacher.tokens or 1.0),
    )
    return recipe_of(row, replace(asked, budget=asked.budget * (1 + 1e-12)), coefficients)


def _moves(asked: Problem, recipe: Recipe, coefficients: CoefficientSet) -> tuple[Move, ...]:
    """Every variable moved alone to its best value, the student's tokens balancing the cost."""
    student, teacher = recipe.student, recipe.teacher
    assert teacher.parameters is not None and teacher.tokens is not None
    size, tokens = (teacher.parameters,) * 2, (teacher.tokens,) * 2
    bounds = asked.bounds
    questions = {
        "teacher tokens": replace(asked, bounds=replace(bounds, teacher_size=size)),
        "teacher size": replace(asked, bounds=replace(bounds, teacher_tokens=tokens)),
        "teacher size and tokens": replace(
            asked, bounds=replace(bounds, student_tokens=(student.tokens * (1 - 1e-9),) * 2)
        ),
        "student size": replace(
            asked, student=None, bounds=replace(bounds, teacher_size=size, teacher_tokens=tokens)
        ),
    }
    frees = {
        "teacher tokens": "student tokens",
        "teacher size": "student tokens",
        "teacher size and tokens": "nothing: the student keeps its tokens",
        "student size": "student tokens",
    }
    values = {
        "teacher tokens": lambda r: r.teacher.tokens,
        "teacher size": lambda r: r.teacher.parameters,
        "teacher size and tokens": lambda r: r.teacher.parameters,
        "student size": lambda r: r.student.parameters,
    }
    found = []
    asked_now = list(questions.values())
    for name, answer in zip(questions, optima(asked_now, coefficients), strict=True):
        if answer.recipe is None:
            continue
        gain = student.cross_entropy - answer.recipe.student.cross_entropy
        old, new = values[name](recipe), values[name](answer.recipe)
        found.append(Move(name, frees[name], old, new, answer.recipe, gain))
    return tuple(sorted(found, key=lambda move: -move.gain))


def _rules(setting: Setting, best: Recipe) -> tuple[Scored, ...]:
    scored = []
    for rule in RULES:
        choice = rule.choose(setting)
        recipe = None if choice is None else _of_choice(setting, choice)
        excess = None
        if recipe is not None:
            excess = recipe.student.cross_entropy - best.student.cross_entropy
        scored.append(Scored(rule.name, rule.summary, recipe, excess))
    return tuple(scored)


def _of_choice(setting: Setting, choice: Choice) -> Recipe | None:
    """The rule's recipe; None where the budget cannot pay for it or the bounds forbid it."""
    asked, bounds = setting.problem, setting.problem.bounds
    affordable = setting.affordable(choice.teacher_size, choice.teacher_tokens)
    tokens = choice.student_tokens
    if tokens is None:
        tokens = min(affordable, bounds.student_tokens[1])
    allowed = (
        _within(bounds.student_tokens, tokens)
        and _within(bounds.teacher_size, choice.teacher_size)
        and _within(bounds.teacher_tokens, choice.teacher_tokens)
    )
    if not allowed or tokens > affordable * (1 + 1e-9):
        return None
    teacher = Teacher(size=choice.teacher_size, tokens=choice.teacher_tokens)
    problem = replace(asked, budget=asked.budget * (1 + 1e-9))
    return _recipe(problem, tokens, teacher, setting.coefficients)


def _within(ends: tuple[float, float], value: float) -> bool:
    return ends[0] * (1 - 1e-9) <= value <= ends[1] * (1 + 1e-9)
