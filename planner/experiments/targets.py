"""What the next runs should sharpen: the loss in a region, or the plan itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coefficients import CoefficientSet
from laws import Cost, DistillationForm
from laws._types import Array
from planner.errors import ProblemError
from planner.fit.rows import Rows
from planner.fit.task import Task
from planner.problem import Problem

_TEACHERS = 400
_STEP = 0.01  # in log t, for derivatives along the frontier


@dataclass(frozen=True)
class PlanTarget:
    """How the coordinates move the plan. `jacobian` is scaled so that its variance is the expected
    loss of planning with wrong coefficients (regret, in nats), (1, P)."""

    jacobian: Array
    at: Rows
    """The plan itself: student, tokens, teacher's loss; its own loss is a placeholder."""
    shift: Array
    """d log L_T* / d coordinate, (P,)."""


def region(
    sizes: tuple[float, float],
    tokens: tuple[float, float],
    teachers: tuple[float, float] | None,
    points: int = 4,
) -> Rows:
    """A grid over a region; losses are placeholders that nothing reads."""
    axes = [np.geomspace(*sizes, points), np.geomspace(*tokens, points)]
    if teachers is not None:
        axes.append(np.linspace(*teachers, points))
    mesh = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    return Rows(mesh[0], mesh[1], np.ones_like(mesh[0]), mesh[2] if teachers is not None else None)


def plan_target(
    task: Task, theta: Array, law: DistillationForm, chosen: CoefficientSet, problem: Problem
) -> PlanTarget:
    """The plan of a problem with a given student as a target.

    The plan is one number, the teacher's loss t: everything else follows on the frontier of
    teachers and tokens. With ``g = d log L / d log t`` along it, the optimum moves by
    ``-(dg/dtheta) / (dg/dlog t)`` and planning with wrong coefficients costs half the square of
    that, times the curvature.
    """
    if problem.student is None:
        raise ProblemError("choosing runs for a plan needs --student: whose plan should improve?")
    log_t, tokens = _frontier(chosen, problem)
    losses = law.loss(problem.student, tokens, np.exp(log_t))
    best = int(np.argmin(losses))
    if not 0 < best < len(log_t) - 1:
        raise ProblemError(
            "the plan rests on a bound of its teacher, so no run can move it; give a target region "
            "instead (--target-sizes, --target-tokens, --target-teachers)."
        )
    # Smooth the frontier by a parabola through log D over a few percent of t: it is a maximum over
    # a grid of teachers, and derivatives of a maximum over a grid are steps.
    near = np.abs(log_t - log_t[best]) < 0.05
    fitted = np.polyfit(log_t[near] - log_t[best], np.log(tokens[near]), 2)
    fine = np.linspace(-0.03, 0.03, 6001)
    smooth = law.loss(problem.student, np.exp(np.polyval(fitted, fine)), np.exp(log_t[best] + fine))
    offsets = fine[int(np.argmin(smooth))] + np.array([-_STEP, 0.0, _STEP])
    at = Rows(
        np.full(3, problem.student),
        np.exp(np.polyval(fitted, offsets)),
        np.ones(3),
        np.exp(log_t[best] + offsets),
    )
    predicted, slopes = task.model(at).evaluate(theta[None])
    width = _STEP
    curvature = float((predicted[0, 0] - 2 * predicted[0, 1] + predicted[0, 2]) / width**2)
    by_theta = (slopes[0, :, 2] - slopes[0, :, 0]) / (2 * width)
    if curvature <= 0:
        raise ProblemError("the plan has no interior optimum under this fit; give a target region.")
    loss = float(np.exp(predicted[0, 1]))
    scale = np.sqrt(0.5 * loss / curvature)
    here = at.take(np.array([1]))
    return PlanTarget((scale * by_theta)[None], here, -by_theta / curvature)


def _frontier(chosen: CoefficientSet, problem: Problem) -> tuple[Array, Array]:
    """Teacher losses (log) and the most student tokens the budget leaves under each."""
    assert problem.student is not None
    law, flops = chosen.supervised, chosen.flops
    sizes = np.geomspace(*problem.bounds.teacher_size, _TEACHERS)
    lowest = float(
        np.min(law.loss(problem.bounds.teacher_size[1], problem.bounds.teacher_tokens[1]))
    )
    log_t = np.linspace(np.log(lowest) + 1e-6, np.log(2.0 * law.loss(problem.student, 1e9)), 600)
    needed = law.tokens_for_loss(sizes[:, None], np.exp(log_t)[None])
    low, high = problem.bounds.teacher_tokens
    cost = Cost.of(
        flops,
        problem.student,
        sizes[:, None],
        problem.charge_inference,
        problem.charge_pretraining,
        problem.serving_tokens,
    )
    needed = np.maximum(needed, low)
    with np.errstate(invalid="ignore", over="ignore"):
        left = cost.student_tokens(problem.budget, np.minimum(needed, high))
        tokens = np.where(needed <= high, left, -np.inf).max(axis=0)
    good = tokens > problem.bounds.student_tokens[0]
    if not good.any():
        raise ProblemError("the budget is too small for any plan of this student.")
    return log_t[good], np.minimum(tokens[good], problem.bounds.student_tokens[1])
