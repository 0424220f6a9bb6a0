"""The inner problems as geometric programs (cvxpy): an oracle of the solver and its constraints.

In log variables F(N) D and ``A / N^alpha + B / D^beta`` are convex (posynomials), so the supervised
optimum, the cheapest teacher of a given loss and the most student tokens beside such a teacher are
geometric programs, and stay so with any further posynomial constraint. They share nothing with the
solver but the laws. Clarabel solves each to about 1e-8 relative.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

from coefficients import CoefficientSet
from laws import ForwardFlops, SupervisedLaw
from planner.errors import InfeasibleError, NoDistillationLawError, ProblemError, UnreachableError
from planner.posynomial import Posynomial as Posynomial
from planner.problem import Bounds, Problem
from planner.recipe import Row, recipe_of
from planner.results import Certificate, Recipe
from tests.oracles.geometric import (
    SLACK,
    BesideTeacher,
    Program,
    forward,
    reach,
    teacher_cost,
    threshold,
)
from tests.oracles.geometric import Optimum as Optimum

MOST_BOXES = 20_000
"""Where constraints forbid weak teachers the bound cannot close; the certificate then says so."""


def supervised_optimum(
    law: SupervisedLaw,
    flops: ForwardFlops,
    budget: float,
    bounds: Bounds | None = None,
    serving_tokens: float = 0.0,
    constraints: Sequence[Posynomial] = (),
) -> Optimum:
    """Size and tokens of the least supervised loss (the objective, nats) for a budget in FLOPs.

    Serving costs F(N) per token. Raises InfeasibleError where nothing fits.
    """
    program = Program(bounds or Bounds(), ("student_size", "student_tokens"))
    size, tokens = program["student_size"], program["student_tokens"]
    cost = 3.0 * forward(flops, size) * tokens
    if serving_tokens:
        cost += serving_tokens * forward(flops, size)
    program.constraints.append(cost / budget <= 1.0)
    program.constrain(constraints)
    least = program.minimise(reach(law, size, tokens))
    if least is None:
        raise InfeasibleError(f"no supervised model fits {budget:g} FLOPs and the constraints.")
    return Optimum(program.values(), float(law.E + least**law.gamma))


def cheapest_teacher(
    law: SupervisedLaw,
    flops: ForwardFlops,
    loss: float,
    student_tokens: float,
    charges: tuple[float, float] = (1.0, 1.0),
    bounds: Bounds | None = None,
    constraints: Sequence[Posynomial] = (),
) -> Optimum:
    """The teacher of at most a given loss with the least charged FLOPs (the objective).

    Cost: ``F(N_T) (charge_inference D_S + 3 charge_pretraining D_T)``; with no charge at all the
    FLOPs of its training. Raises UnreachableError where no teacher reaches the loss.
    """
    program = Program(bounds or Bounds(), ("teacher_size", "teacher_tokens"))
    size, tokens = program["teacher_size"], program["teacher_tokens"]
    program.constraints.append(reach(law, size, tokens) <= threshold(law, loss))
    program.constrain(constraints, {"student_tokens": student_tokens})
    inference, pretraining = charges if any(charges) else (0.0, 1.0)
    cost = teacher_cost(flops, size, tokens, student_tokens, inference, pretraining)
    least = program.minimise(cost)
    if least is None:
        raise UnreachableError(f"no teacher within the constraints reaches {loss:.4f} nats.")
    return Optimum(program.values(), least)


def most_student_tokens(
    law: SupervisedLaw,
    flops: ForwardFlops,
    loss: float,
    student: float,
    budget: float,
    charges: tuple[float, float] = (1.0, 1.0),
    bounds: Bounds | None = None,
    serving_tokens: float = 0.0,
    constraints: Sequence[Posynomial] = (),
) -> Optimum:
    """The most tokens (the objective) for a student beside a teacher of at most the given loss."""
    beside = BesideTeacher(
        law, flops, student, budget, charges, bounds or Bounds(), serving_tokens, constraints
    )
    found = beside.most(loss)
    if found is None:
        raise InfeasibleError(
            f"no teacher of {loss:.4f} nats fits {budget:g} FLOPs and the constraints."
        )
    return found


def minimise_with_constraints(
    problem: Problem,
    coefficients: CoefficientSet,
    constraints: Sequence[Posynomial],
    tolerance: float = 1e-4,
) -> tuple[Recipe, Certificate]:
    """The best recipe under extra constraints, certified to `tolerance` nats (at least 1e-5).

    Searches over the teacher's loss t. The student's most tokens D*(t) rise in t, and ``L_S - t``
    falls in t and in D_S, so on [t0, t1] no plan is below ``t0 + (L_S - t)(t1, D*(t1))``. A
    geometric program gives every D*, raised by SLACK before it enters a bound.

    Raises ProblemError for a free student size or existing teachers, InfeasibleError where no plan
    satisfies everything.
    """
    law = coefficients.distillation
    if law is None:
        raise NoDistillationLawError(
            f"coefficient set '{coefficients.name}' has no distillation law; use busbridge2025."
        )
    student = problem.student
    if student is None or problem.teachers or problem.stay_in_domain:
        raise ProblemError(
            "extra constraints need a given student size and a teacher to be planned, and cannot "
            "be combined with staying in the domain; add --student, drop --teacher."
        )
    if tolerance < 1e-5:
        raise ProblemError(f"tolerance is {tolerance:g}; with extra constraints give 1e-5 or more.")
    beside = BesideTeacher(
        coefficients.supervised,
        coefficients.flops,
        student,
        problem.budget,
        (problem.charge_inference, problem.charge_pretraining),
        problem.bounds,
        problem.serving_tokens,
        constraints,
    )
    lowest = beside.lowest_loss()
    if lowest is None:
        raise InfeasibleError(f"no plan fits {problem.budget:g} FLOPs and the constraints.")

    def excess(loss: float, tokens: float) -> float:
        return float(law.loss(student, tokens, loss)) - loss

    best, bound, boxes = _search(beside, excess, lowest, tolerance)
    n, d, s = (math.log(best.values[name]) for name in BesideTeacher.CHOSEN)
    recipe = recipe_of(Row(math.log(student), s, n, d), problem, coefficients)
    gap = recipe.student.cross_entropy - bound
    return recipe, Certificate(bound, gap, tolerance, boxes)


def _search(
    beside: BesideTeacher,
    excess: Callable[[float, float], float],
    lowest: float,
    tolerance: float,
) -> tuple[Optimum, float, int]:
    """Best plan, proven bound and number of intervals: best first, each halved at its middle."""

    def evaluate(loss: float) -> tuple[float, Optimum | None]:
        """An upper bound on the tokens beside a teacher of at most this loss, and that plan."""
        found = beside.most(loss)
        return (0.0, None) if found is None else (found.objective * (1 + SLACK), found)

    def value(plan: Optimum) -> float:
        loss = beside.teacher_loss(plan)
        return loss + excess(loss, plan.values["student_tokens"])

    highest = beside.highest_loss()
    most, best = evaluate(highest)
    if best is None:
        raise InfeasibleError("no plan fits the budget and the constraints.")
    queue = [(lowest + excess(highest, most), lowest, highest, most)]
    boxes = 1
    while value(best) - queue[0][0] > 0.999 * tolerance and boxes < MOST_BOXES:
        _, t0, t1, most = heapq.heappop(queue)
        middle = 0.5 * (t0 + t1)
        heapq.heappush(queue, (middle + excess(t1, most), middle, t1, most))
        within, plan = evaluate(middle)
        boxes += 2
        if plan is not None:
            heapq.heappush(queue, (t0 + excess(middle, within), t0, middle, within))
            best = min(best, plan, key=value)
    return best, queue[0][0], boxes
