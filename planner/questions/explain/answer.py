"""What the law says around a plan: the capacity gap, the split of the budget, what limits it.

Curves along a teacher's loss or a share of the budget are certified optima with that quantity held;
the curve of the capacity gap itself is the law at the plan's own student and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import Cost
from planner.documents import Record, Values, derived
from planner.optima import Many, solve_batch
from planner.optimise import Batch
from planner.optimise.batch import Array
from planner.problem import Problem, Teacher
from planner.questions.base import Answer
from planner.questions.plan.answer import Plan, solve
from planner.recipe import cost_of, own_flops
from planner.rows import require_distillation, to_batches

POINTS = 81
MORE = 1.10
"""Marginal values are those of ten per cent more."""

LOOSE = 1e-5  # nats: the tolerance of points on a curve


@dataclass(frozen=True)
class LossCurve:
    """Student loss along `x`, arrays of one length; inf where nothing is feasible."""

    x: Annotated[Array, Values()]
    loss: Annotated[Array, Values()]
    inside: Annotated[NDArray[np.bool_], Values(of="boolean")]


@dataclass(frozen=True)
class Marginal(Record):
    """Ten per cent more of one thing: the change of loss, and of FLOPs charged (as a share)."""

    what: str
    loss_change: float
    cost_change: float

    @derived
    def per_compute(self) -> float | None:
        """Nats gained per per cent of the budget; None where it costs nothing."""
        if self.cost_change <= 1e-12:
            return None
        return -self.loss_change / (100 * self.cost_change)


@dataclass(frozen=True)
class Limit:
    """What the student would gain in nats if one thing were without limit, all else the same."""

    what: str
    gain: float


@dataclass(frozen=True)
class Part:
    """One part of the student's cross-entropy, nats; the parts add up."""

    what: str
    nats: float


@dataclass(frozen=True, repr=False)
class Explanation(Answer):
    """Everything around one plan.

    gap: student loss against L_T at the plan's own student size and tokens (the capacity gap).
    along_teacher, along_share: the best plan of the budget against L_T (better teachers cost
    tokens), and against the share of it that trains the student; `share` is the plan's own.
    supervised_loss: L_sup, the plan's student trained on its tokens as data; teachers weaker than
    this make the weak-to-strong region.
    """

    KIND: ClassVar[str] = "explain"

    plan: Plan
    best_teacher_loss: float
    best_student_loss: float
    supervised_loss: float
    share: float
    marginals: tuple[Marginal, ...]
    limits: tuple[Limit, ...]
    parts: tuple[Part, ...]
    gap: LossCurve
    along_teacher: LossCurve
    along_share: LossCurve

    @derived
    def limit(self) -> Limit:
        """What limits the student most now."""
        return max(self.limits, key=lambda each: each.gain)

    @derived
    def teacher_beyond_gap(self) -> bool:
        """Whether the plan's teacher is stronger than the best one for this student and tokens."""
        return self.plan.recipe.teacher.cross_entropy < self.best_teacher_loss - 1e-6


ANSWER = Explanation


def explain(problem: Problem, coefficients: CoefficientSet | None = None) -> Explanation:
    """Solve the problem and look around its plan. Raises as `solve` does."""
    chosen = problem.coefficient_set(coefficients)
    law = require_distillation(chosen)
    plan = solve(problem, chosen)
    student = plan.recipe.student
    size, tokens = student.parameters, student.tokens
    best_teacher = float(law.best_teacher_loss(size, tokens))
    batch = _batch(plan, chosen)
    along_teacher, along_share, share = _along_budget(plan, batch, chosen)
    return Explanation(
        plan=plan,
        gap=_gap_curve(plan, best_teacher, chosen),
        best_teacher_loss=best_teacher,
        best_student_loss=float(law.loss(size, tokens, best_teacher)),
        supervised_loss=float(chosen.supervised.loss(size, tokens)),
        along_teacher=along_teacher,
        along_share=along_share,
        share=share,
        marginals=_marginals(plan, batch, chosen),
        limits=_limits(plan, best_teacher, chosen),
        parts=_parts(plan, chosen),
    )


def _batch(plan: Plan, coefficients: CoefficientSet) -> Batch:
    """The plan's question with its student's size fixed; the chosen teacher where one exists."""
    problem, teacher = plan.problem, plan.recipe.teacher
    if len(problem.teachers) > 1:
        same = [
            each
            for each in problem.teachers
            if (each.name, each.size) == (teacher.name, teacher.parameters)
        ]
        problem = replace(problem, teachers=(same[0],))
    size = plan.recipe.student.parameters
    low, high = problem.bounds.student_size
    bounds = replace(problem.bounds, student_size=(min(low, size), max(high, size)))
    batch, _ = to_batches([replace(problem, student=size, bounds=bounds)], coefficients)
    return batch


def _gap_curve(plan: Plan, best_teacher: float, coefficients: CoefficientSet) -> LossCurve:
    student, teacher = plan.recipe.student, plan.recipe.teacher
    alone = float(coefficients.supervised.loss(student.parameters, student.tokens))
    floor = float(coefficients.supervised.E)
    low = floor + 0.35 * (min(best_teacher, teacher.cross_entropy) - floor)
    high = max(1.22 * alone, 1.1 * teacher.cross_entropy)
    t = np.union1d(np.geomspace(low, high, POINTS), [best_teacher, teacher.cross_entropy])
    law = require_distillation(coefficients)
    loss = np.asarray(law.loss(student.parameters, student.tokens, t))
    quantities = coefficients.quantities(student.parameters, student.tokens, t)
    return LossCurve(t, loss, coefficients.domain.covers(quantities))


def _along_budget(
    plan: Plan, batch: Batch, coefficients: CoefficientSet
) -> tuple[LossCurve, LossCurve, float]:
    """The two curves at the plan's budget, in one call of the solver."""
    student, teacher = plan.recipe.student, plan.recipe.teacher
    per_token = float(Cost.of(coefficients.flops, student.parameters).per_token)
    budget = plan.problem.budget
    share = per_token * student.tokens / budget
    shares = np.union1d(np.linspace(0.02, 1.0, POINTS), [share])
    held_tokens = np.log(shares * budget / per_token)
    parts = [Batch.broadcast(**{**vars(batch), "s_low": held_tokens, "s_high": held_tokens})]
    t = np.empty(0)
    if not teacher.existing:
        floor = float(coefficients.supervised.E)
        excess = teacher.cross_entropy - floor
        t = np.union1d(floor + excess * np.geomspace(0.5, 1.6, POINTS), [teacher.cross_entropy])
        parts.append(Batch.broadcast(**{**vars(batch), "t_low": t, "t_high": t}))
    found = solve_batch(Batch.stack(parts), LOOSE, polish=False)
    if teacher.existing:
        own = Teacher(teacher.parameters, teacher.tokens, teacher.cross_entropy)
        found = found.with_teachers([(own,)] * shares.size)
    within = found.inside(coefficients)
    cut = shares.size
    return (
        LossCurve(t, found.cross_entropy[cut:], within[cut:]),
        LossCurve(shares, found.cross_entropy[:cut], within[:cut]),
        share,
    )


def _marginals(plan: Plan, batch: Batch, coefficients: CoefficientSet) -> tuple[Marginal, ...]:
    """Ten per cent more compute, replanned; ten per cent more of each quantity, all else kept."""
    law = require_distillation(coefficients)
    supervised = coefficients.supervised
    student, teacher, problem = plan.recipe.student, plan.recipe.teacher, plan.problem
    size, tokens = student.parameters, student.tokens
    more = Batch.broadcast(**{**vars(batch), "budget": problem.budget * np.array([1.0, MORE])})
    both: Many = solve_batch(more, problem.tolerance)
    change = float(both.cross_entropy[1] - both.cross_entropy[0])
    found = [Marginal("compute, replanned", min(change, 0.0), MORE - 1)]

    def cost(n_s: float, d_s: float, n_t: float | None, d_t: float | None) -> float:
        own = own_flops(teacher)
        return float(cost_of(problem, n_s, n_t, coefficients, own).total(d_s, d_t or 0.0))

    now = cost(size, tokens, teacher.parameters, teacher.tokens)
    here = float(law.loss(size, tokens, teacher.cross_entropy))

    def add(what: str, loss: float, spent: float) -> None:
        found.append(Marginal(what, loss - here, (spent - now) / problem.budget))

    n_t, d_t, t = teacher.parameters, teacher.tokens, teacher.cross_entropy
    add(
        "student tokens",
        float(law.loss(size, MORE * tokens, t)),
        cost(size, MORE * tokens, n_t, d_t),
    )
    add(
        "student size", float(law.loss(MORE * size, tokens, t)), cost(MORE * size, tokens, n_t, d_t)
    )
    if not teacher.existing and n_t is not None and d_t is not None:
        longer = float(supervised.loss(n_t, MORE * d_t))
        larger = float(supervised.loss(MORE * n_t, d_t))
        add(
            "teacher tokens",
            float(law.loss(size, tokens, longer)),
            cost(size, tokens, n_t, MORE * d_t),
        )
        add(
            "teacher size",
            float(law.loss(size, tokens, larger)),
            cost(size, tokens, MORE * n_t, d_t),
        )
    return tuple(found)


def _limits(plan: Plan, best_teacher: float, coefficients: CoefficientSet) -> tuple[Limit, ...]:
    """The gain if one thing had no limit while the others stayed as planned."""
    law = require_distillation(coefficients)
    student, t = plan.recipe.student, plan.recipe.teacher.cross_entropy
    size, tokens = student.parameters, student.tokens
    here = float(law.loss(size, tokens, t))
    unlimited = {
        "student tokens": float(law.floor(size, t)),
        "best teacher": float(law.loss(size, tokens, best_teacher)),
        "student size": float(law.loss(1e60, tokens, t)),
    }
    return tuple(Limit(what, max(0.0, here - loss)) for what, loss in unlimited.items())


def _parts(plan: Plan, coefficients: CoefficientSet) -> tuple[Part, ...]:
    """The student's cross-entropy taken apart: irreducible, its teacher's excess, its own.

    The teacher's excess ``(A / N^alpha + B / D^beta)^gamma`` is shared between its two terms in
    proportion. What the student is behind depends on its size, tokens and capacity gap at once.
    """
    supervised = coefficients.supervised
    student, teacher = plan.recipe.student, plan.recipe.teacher
    floor = float(supervised.E)
    parts = [Part("irreducible", floor)]
    excess = teacher.cross_entropy - floor
    if teacher.parameters is not None and teacher.tokens is not None and not teacher.existing:
        size_term = float(supervised.A / teacher.parameters**supervised.alpha)
        data_term = float(supervised.B / teacher.tokens**supervised.beta)
        of_size = size_term / (size_term + data_term)
        parts += [
            Part("teacher's size", excess * of_size),
            Part("teacher's tokens", excess * (1 - of_size)),
        ]
    else:
        parts.append(Part("teacher", excess))
    behind = student.cross_entropy - teacher.cross_entropy
    return (*parts, Part("student behind its teacher", behind))
