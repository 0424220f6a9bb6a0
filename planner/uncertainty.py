"""Plans that carry the uncertainty of the coefficients, from the draws stored with a set.

A draw is one resampled fit; index i of every coefficient belongs to the same draw, so differences
between distilling and supervised training are taken draw by draw (unpaired differences would be
several times too wide).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, Misfit, draws
from planner.optima import Many, solve_batch
from planner.optimise import Batch
from planner.problem import Problem
from planner.results import Interval, Recipe, Uncertainty
from planner.rows import refuse_constraints, require_distillation, rows_of, supervised_batch

Array = NDArray[np.float64]

LEVEL = 0.90
DRAWS = 512  # enough for a 90% interval to a few percent of its width, in some 50 ms
TOLERANCE = 1e-5


def assess(
    problem: Problem, recipe: Recipe, coefficients: CoefficientSet, limit: int = DRAWS
) -> Uncertainty | None:
    """Intervals on a recipe, on its difference to supervised training, and on the optimum itself.

    None for a set without draws, and under constraints, which are not re-optimised draw by draw.
    """
    if coefficients.draws_path is None or problem.constraints:
        return None
    batch_of_laws = draws.load(coefficients, limit)
    many = reoptimise(problem, batch_of_laws)
    losses = drawn_losses(recipe, batch_of_laws)
    supervised = many.supervised_cross_entropy
    difference = losses - supervised
    scatter = coefficients.scatter
    return Uncertainty(
        source=coefficients.name,
        draws=losses.size,
        level=LEVEL,
        cross_entropy=interval(losses),
        supervised=interval(supervised),
        difference=interval(difference),
        probability=float(np.mean(difference < 0)),
        reoptimised={
            name: interval(values)
            for name in (
                "student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens",
                "teacher_cross_entropy", "cross_entropy",
            )
            if np.all(np.isfinite(values := getattr(many, name)))
        },
        fixed=("supervised law",) if np.ptp(np.asarray(batch_of_laws.supervised.A)) == 0 else (),
        new_run=None if scatter is None else interval(scatter.spread(losses)),
        misfit=None if coefficients.misfit is None else beyond(recipe, coefficients.misfit),
        coverage=None if scatter is None else scatter.coverage,
        coverage_sizes=None if scatter is None else scatter.coverage_sizes,
    )  # fmt: skip


def reoptimise(problems: Problem | Sequence[Problem], batch_of_laws: CoefficientSet) -> Many:
    """The certified optimum of every problem under every draw, in one vectorised search.

    Arrays of shape (problems * draws,), the draws of a problem side by side.
    """
    asked = [problems] if isinstance(problems, Problem) else list(problems)
    refuse_constraints(asked)
    parts = [_under_draws(problem, batch_of_laws) for problem in asked]
    counts = np.concatenate([counts for _, counts in parts])
    baseline = None
    if any(problem.stay_in_domain for problem in asked):
        baseline = Batch.stack([supervised_batch([each], batch_of_laws) for each in asked])
    return solve_batch(
        Batch.stack([batch for batch, _ in parts]), TOLERANCE, counts, len(asked) == 1, baseline
    )


def _under_draws(problem: Problem, batch_of_laws: CoefficientSet) -> tuple[Batch, NDArray[np.intp]]:
    """Rows of one problem, draw by draw, and how many candidate teachers each draw has."""
    count = np.size(batch_of_laws.supervised.A)
    law = require_distillation(batch_of_laws)
    rows = rows_of(problem, batch_of_laws)
    law = law.take(np.repeat(np.arange(count), len(rows)))
    columns = {
        name: np.concatenate(np.broadcast_arrays(*(np.atleast_1d(row[name]) for row in rows)))
        for name in rows[0]
    }
    wide = {
        name: np.tile(values, count) if values.size == len(rows) else _interleave(values, count)
        for name, values in columns.items()
    }
    batch = Batch.broadcast(law.supervised, law, batch_of_laws.flops, **wide)
    return batch, np.full(count, len(rows), dtype=np.intp)


def _interleave(values: Array, count: int) -> Array:
    """(teachers * draws,) stored teacher by teacher, to draw by draw."""
    return values.reshape(-1, count).T.ravel()


def recipe_losses(recipe: Recipe, batch_of_laws: CoefficientSet) -> Array:
    """The student's cross-entropy of one recipe under every draw, shape (draws,)."""
    law = batch_of_laws.distillation
    assert law is not None
    student, teacher = recipe.student, recipe.teacher
    loss = teacher.cross_entropy
    if not teacher.existing:
        return np.ravel(
            law.loss(
                student.parameters,
                student.tokens,
                batch_of_laws.supervised.loss(teacher.parameters, teacher.tokens),
            )
        )
    return np.ravel(law.loss(student.parameters, student.tokens, loss))


def drawn_losses(recipe: Recipe, batch_of_laws: CoefficientSet) -> Array:
    """`recipe_losses` with the law's error beyond its runs, where the set states it."""
    losses, misfit = recipe_losses(recipe, batch_of_laws), batch_of_laws.misfit
    return losses if misfit is None else misfit.spread(losses, beyond(recipe, misfit))


def beyond(recipe: Recipe, misfit: Misfit) -> float:
    """Half width of the 90% interval of log(truth / law) at a recipe; 0 inside the runs."""
    student = recipe.student
    return float(
        misfit.half_width(student.parameters, student.tokens, recipe.teacher.cross_entropy)
    )


def interval(values: Array, level: float = LEVEL) -> Interval:
    """Central interval and median of values over draws; unsolvable draws count as infinite."""
    ordered, tail = np.sort(values), 0.5 * (1.0 - level)
    return Interval(*(_quantile(ordered, share) for share in (tail, 0.5, 1.0 - tail)))


def _quantile(ordered: Array, share: float) -> float:
    """`np.quantile` of values in order, without the 30 ms of numpy.ma that it imports."""
    place = share * (ordered.size - 1)
    below = int(place)
    part = place - below
    if part == 0.0:
        return float(ordered[below])
    return float((1.0 - part) * ordered[below] + part * ordered[below + 1])
