"""Thousands of problems at once: `solve_many`, all arrays, no words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, load
from planner.baseline import supervised_optima
from planner.errors import ProblemError
from planner.optimise import Batch, minimise
from planner.optimise.ties import charged_cost, cheapest_teachers
from planner.problem import Problem
from planner.translate import to_batches


@dataclass(frozen=True)
class Many:
    """Answers as arrays of shape (problems,); inf and NaN where a problem is infeasible.

    Parameters are non-embedding, cross-entropies nats per token, flops what the budget pays.
    `teacher` is the position of the chosen existing teacher, -1 where a new one is planned.
    """

    student_parameters: NDArray[np.float64]
    student_tokens: NDArray[np.float64]
    teacher_parameters: NDArray[np.float64]
    teacher_tokens: NDArray[np.float64]
    teacher_cross_entropy: NDArray[np.float64]
    cross_entropy: NDArray[np.float64]
    lower_bound: NDArray[np.float64]
    supervised_cross_entropy: NDArray[np.float64]
    flops: NDArray[np.float64]
    teacher: NDArray[np.intp]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Where a plan fits the budget."""
        return np.isfinite(self.cross_entropy)

    @property
    def gap(self) -> NDArray[np.float64]:
        """Certified gap in nats; NaN where a problem is infeasible."""
        with np.errstate(invalid="ignore"):
            return self.cross_entropy - self.lower_bound


def solve_many(
    problems: Sequence[Problem],
    coefficients: CoefficientSet | None = None,
    polish: bool = True,
) -> Many:
    """Certified optima of many problems under one coefficient set (the first problem's by default).

    Infeasible problems do not raise. Without `polish` recipes are anywhere within the tolerance.
    """
    if not problems:
        raise ProblemError("there are no problems to solve; the grid is empty.")
    chosen = coefficients if coefficients is not None else load(problems[0].coefficients)
    batch, counts = to_batches(problems, chosen)
    tolerance = np.repeat([problem.tolerance for problem in problems], counts)
    baseline = None
    if any(problem.stay_in_domain for problem in problems):
        baseline, _ = to_batches([anywhere(problem) for problem in problems], chosen)
    return solve_batch(batch, tolerance, np.asarray(counts, dtype=np.intp), polish, baseline)


def anywhere(problem: Problem) -> Problem:
    """The problem as its supervised baseline sees it: the domain of validity is of distilling."""
    return replace(problem, stay_in_domain=False, teachers=())


def solve_batch(
    batch: Batch,
    tolerance: NDArray[np.float64] | float,
    counts: NDArray[np.intp] | None = None,
    polish: bool = True,
    baseline: Batch | None = None,
) -> Many:
    """The same for a batch built by hand, `counts` rows (candidate teachers) per problem.

    baseline: one row per problem for supervised training, where its bounds are not the plan's.
    """
    counts = np.ones(len(batch), dtype=np.intp) if counts is None else counts
    found, _ = cheapest_teachers(batch, minimise(batch, tolerance, polish))
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(counts.size), counts)
    rows = np.lexsort((found.loss, owner))[first]
    lower = np.full(counts.size, np.inf)
    np.minimum.at(lower, owner, found.lower_bound)
    best = batch.take(rows)
    u, s, n, d = found.u[rows], found.s[rows], found.n[rows], found.d[rows]
    planned = np.where(best.existing, np.nan, 1.0)
    return Many(
        student_parameters=np.exp(u),
        student_tokens=np.exp(s),
        teacher_parameters=np.exp(n) * planned,
        teacher_tokens=np.exp(d) * planned,
        teacher_cross_entropy=found.t[rows],
        cross_entropy=found.loss[rows],
        lower_bound=lower,
        supervised_cross_entropy=supervised_optima(best if baseline is None else baseline).loss,
        flops=charged_cost(best, u, s, n, d),
        teacher=np.where(best.existing, rows - first, -1),
    )
