"""Plans that hold up when the coefficients are not quite right.

A fixed recipe has a different loss under every draw of the coefficients. The robust recipe has the
best mean (or the best worst case) over the draws. No recipe can do better than the mean (worst) of
the draws' own optima, which is the bound reported with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws
from laws import Cost
from planner.errors import InfeasibleError, ProblemError
from planner.optima import optima
from planner.optimise.frontier import ROUNDOFF
from planner.problem import Problem
from planner.recipe import Row, binding_bounds, existing_teacher, recipe_of
from planner.results import NamedRecipe, Recipe, Robust, View
from planner.rows import to_batches
from planner.uncertainty import recipe_losses, reoptimise
from planner.verdict import leaves_domain

Array = NDArray[np.float64]

CRITERIA: dict[str, Callable[[Array], np.floating[Any]]] = {"expected": np.mean, "worst": np.max}
DRAWS = 256
ROUNDS = 40
SHRINK = 0.7


def robust_plan(
    problem: Problem,
    recipes: Sequence[NamedRecipe],
    coefficients: CoefficientSet,
    criterion: str,
    views: Sequence[CoefficientSet],
) -> Robust:
    """The recipe with the best expected or worst loss over the set's draws, and what others risk.

    recipes: named recipes for the risk table, the first of them a start of the search. views: the
    sets whose point estimates judge all recipes, beside the draws. Raises ProblemError for a set
    without draws.
    """
    if criterion not in CRITERIA:
        raise ProblemError(f"robust is '{criterion}'; choose {' or '.join(CRITERIA)}.")
    if problem.round_to_architecture:
        raise ProblemError(
            "a robust plan has any size; leave out round_to_architecture, or build the nearest "
            "size and check it with 'plan evaluate'."
        )
    if problem.constraints:
        raise ProblemError(
            "robust plans are not searched under constraints; leave out --robust, or bound sizes "
            "and tokens by --max-student-tokens and the like instead of --constraint."
        )
    if coefficients.draws_path is None:
        raise ProblemError(
            f"the coefficient set '{coefficients.name}' has no draws to be robust against; use "
            "the set busbridge2025-refit, or fit your own with 'planner fit'."
        )
    laws = draws.load(coefficients, DRAWS)
    many = reoptimise(problem, laws)
    chosen = _search(problem, recipes[0].recipe, coefficients, laws, criterion)
    rows = (*recipes, NamedRecipe(f"robust ({criterion})", chosen))
    over_draws = [
        View(
            f"{name} over draws",
            tuple(float(reduce(recipe_losses(each.recipe, laws))) for each in rows),
            float(reduce(many.lower_bound)),
        )
        for name, reduce in CRITERIA.items()
    ]
    reduce = CRITERIA[criterion]
    return Robust(
        criterion=criterion,
        recipe=chosen,
        value=float(reduce(recipe_losses(chosen, laws))),
        lower_bound=float(reduce(many.lower_bound)),
        recipes=rows,
        views=(*(_set_view(problem, each, rows) for each in views), *over_draws),
    )


def _set_view(
    problem: Problem, coefficients: CoefficientSet, recipes: Sequence[NamedRecipe]
) -> View:
    """Losses of the recipes under a set's point estimate, against its own optimum."""
    own = optima([replace(problem, stay_in_domain=False)], coefficients)[0].recipe
    losses = tuple(float(recipe_losses(each.recipe, coefficients)[0]) for each in recipes)
    best = own.student.cross_entropy if own is not None else math.nan
    return View(coefficients.name, losses, best)


def _search(
    problem: Problem,
    recipe: Recipe,
    coefficients: CoefficientSet,
    laws: CoefficientSet,
    criterion: str,
) -> Recipe:
    """Pattern search over (u, n, d) from the point estimate's and several draws' own optima."""
    if recipe.teacher.existing:
        return _best_existing(problem, recipe, coefficients, laws, criterion)
    objective = _Objective(problem, coefficients, laws, criterion)
    spread = reoptimise(problem, draws.load(coefficients, 24))
    found = np.log(
        np.stack([spread.student_parameters, spread.teacher_parameters, spread.teacher_tokens], 1)
    )
    own = (recipe.student.parameters, recipe.teacher.parameters, recipe.teacher.tokens)
    starts = np.concatenate([[np.log(own)], found[np.all(np.isfinite(found), axis=1)]])
    point = starts[int(np.argmin(objective(starts)))]
    directions = np.array(
        [[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=float
    )
    step = 0.5
    for _ in range(ROUNDS):
        around = point + step * directions
        values = objective(around)
        best = int(np.argmin(values))
        moved = np.any(directions[best] != 0)
        point = around[best]
        step = step if moved else step * SHRINK * 0.5
    u, n, d = point
    return recipe_of(Row(u, objective.log_tokens(point[None])[0], n, d), problem, coefficients)


def _best_existing(
    problem: Problem,
    recipe: Recipe,
    coefficients: CoefficientSet,
    laws: CoefficientSet,
    criterion: str,
) -> Recipe:
    """Among existing teachers, each with its own optimum, the one with the best criterion.

    The recipe itself is a candidate where this set's bounds allow it, with this set's losses.
    """
    reduce = CRITERIA[criterion]
    own = _under(recipe, problem, coefficients)
    leaves = problem.stay_in_domain and leaves_domain(own, coefficients)
    candidates = [] if leaves else [own]
    for teacher in problem.teachers:
        answer = optima([replace(problem, teachers=(teacher,))], coefficients)[0]
        if answer.recipe is not None:
            candidates.append(answer.recipe)
    if not candidates:
        raise InfeasibleError(
            f"no robust plan exists inside the domain of '{coefficients.name}', over whose draws "
            "it would be; leave out robust or stay_in_domain."
        )
    return min(candidates, key=lambda each: float(reduce(recipe_losses(each, laws))))


def _under(recipe: Recipe, problem: Problem, coefficients: CoefficientSet) -> Recipe:
    """The same recipe with the losses and bounds of another set."""
    named = next(
        each
        for each in problem.teachers
        if (each.name, each.size, each.tokens)
        == (recipe.teacher.name, recipe.teacher.parameters, recipe.teacher.tokens)
        and each.loss in (None, recipe.teacher.cross_entropy)
    )
    moved = replace(recipe, teacher=existing_teacher(named, coefficients))
    loss = float(recipe_losses(moved, coefficients)[0])
    moved = replace(moved, student=replace(moved.student, cross_entropy=loss))
    return replace(moved, binding=binding_bounds(moved, problem, coefficients))


class _Objective:
    """The criterion over draws for points (u, n, d), each spending the budget on student tokens."""

    def __init__(
        self, problem: Problem, coefficients: CoefficientSet, laws: CoefficientSet, criterion: str
    ) -> None:
        self.batch, _ = to_batches([problem], coefficients)
        self.laws, self.reduce = laws, CRITERIA[criterion]

    def log_tokens(self, points: Array) -> Array:
        """s that the budget leaves, capped by the bounds; NaN where it leaves too few."""
        b = self.batch
        u, n, d = points.T
        student, _ = b.flops.on_logs(u)
        teacher, _ = b.flops.on_logs(n)
        budget = b.budget * (1.0 - ROUNDOFF)  # a logarithm and back costs digits
        cost = Cost(student, teacher, b.charge_inference, b.charge_pretraining, b.serving)
        tokens = cost.student_tokens(budget, np.exp(d))
        with np.errstate(invalid="ignore"):
            s = np.minimum(np.log(tokens), np.minimum(b.s_high, b.ratio_high + u))
        return np.where(s >= np.maximum(b.s_low, b.ratio_low + u), s, np.nan)

    def __call__(self, points: Array) -> Array:
        b = self.batch
        u, n, d = points.T
        s = self.log_tokens(points)
        inside = (u >= b.u_low - 1e-12) & (u <= b.u_high + 1e-12) & np.isfinite(s)
        inside &= (n >= b.n_low) & (n <= b.n_high) & (d >= b.d_low) & (d <= b.d_high)
        losses = np.full(u.shape, np.inf)
        law, supervised = self.laws.distillation, self.laws.supervised
        assert law is not None
        for i in np.flatnonzero(inside):
            teacher = supervised.loss(np.exp(n[i]), np.exp(d[i]))
            losses[i] = self.reduce(law.loss(np.exp(u[i]), np.exp(s[i]), teacher))
        return losses
