"""Slow, plain answers to compare with: dense grids over the teacher, the laws, and nothing else."""

from __future__ import annotations

import numpy as np

from coefficients import CoefficientSet, load
from planner.problem import Problem


def law(problem: Problem | None = None) -> CoefficientSet:
    """The problem's set, or the default one."""
    return load() if problem is None else problem.coefficient_set()


def student_tokens(
    problem: Problem, size: np.ndarray | float, tokens: np.ndarray | float
) -> np.ndarray:
    """Tokens the budget pays under teachers of these sizes and tokens (Eq. 9), capped by bounds."""
    forward = law(problem).flops.per_token
    assert problem.student is not None
    rest = problem.budget - 3 * problem.charge_pretraining * forward(size) * tokens
    per_token = 3 * forward(problem.student) + problem.charge_inference * forward(size)
    return np.minimum(rest / per_token, problem.bounds.student_tokens[1])


def losses(problem: Problem, size: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Student losses under these teachers with all tokens the budget pays; inf where it cannot."""
    distillation = law(problem).distillation
    assert distillation is not None and problem.student is not None
    paid = student_tokens(problem, size, tokens)
    teacher = law(problem).supervised.loss(size, tokens)
    ok = paid >= problem.bounds.student_tokens[0]
    found = distillation.loss(problem.student, np.where(ok, paid, 1e9), teacher)
    return np.where(ok, found, np.inf)


def best_loss(problem: Problem, points: int = 160, rounds: int = 5) -> float:
    """The least student loss: a grid over log N_T and log D_T, zoomed into around its best."""
    low = np.log([problem.bounds.teacher_size[0], problem.bounds.teacher_tokens[0]])
    high = np.log([problem.bounds.teacher_size[1], problem.bounds.teacher_tokens[1]])
    floor, ceiling = low.copy(), high.copy()
    best = np.inf
    for _ in range(rounds):
        n, d = (np.linspace(low[k], high[k], points) for k in (0, 1))
        grid = losses(problem, np.exp(n)[:, None], np.exp(d)[None, :])
        i, j = np.unravel_index(int(np.argmin(grid)), grid.shape)
        best = min(best, float(grid[i, j]))
        reach = 3 * (high - low) / points
        at = np.array([n[i], d[j]])
        low, high = np.maximum(floor, at - reach), np.minimum(ceiling, at + reach)
    return best


def supervised_loss(problem: Problem) -> float:
    """The supervised loss of the problem's student: all of the budget in tokens."""
    assert problem.student is not None
    per_token = 3 * float(law(problem).flops.per_token(problem.student))
    tokens = min(problem.budget / per_token, problem.bounds.student_tokens[1])
    return float(law(problem).supervised.loss(problem.student, tokens))
