"""A comparison under the uncertainty of the coefficients: every draw compared on its own.

Differences are taken draw by draw (the draws are paired), each with its own certified optimum. A
crossover's interval is that of the draws' own crossovers in the same direction, each's nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coefficients import CoefficientSet, draws
from planner.optimise.batch import Array
from planner.problem import Problem
from planner.questions.compare.curves import Comparison, Crossover, CrossoverSpread, Curve, Spread
from planner.uncertainty import interval, reoptimise

DRAWS = 48
BUDGETS = 25  # along a range
NEAR, STEPS = 3.0, 13  # about a crossover, between which the draws' own are interpolated


def with_spread(
    found: Sequence[Comparison], coefficients: CoefficientSet, limit: int = DRAWS
) -> list[Comparison]:
    """The comparisons with the spread of every curve; unchanged for a set without draws."""
    if coefficients.draws_path is None:
        return list(found)
    laws = draws.load(coefficients, limit)
    fixed = ("supervised law",) if np.ptp(np.asarray(laws.supervised.A)) == 0 else ()
    return [
        replace(
            each,
            curves=tuple(
                replace(curve, spread=_spread(each, curve, laws, coefficients.name, fixed))
                for curve in each.curves
            ),
        )
        for each in found
    ]


def _spread(
    each: Comparison, curve: Curve, laws: CoefficientSet, source: str, fixed: tuple[str, ...]
) -> Spread:
    take = np.unique(np.linspace(0, each.budgets.size - 1, BUDGETS).round().astype(int))
    budgets = each.budgets[take]
    problem = each.problem.with_charges(*curve.charges)
    table = _differences(problem, budgets, laws)
    spans = [interval(row) if np.all(np.isfinite(row)) else None for row in table]
    return Spread(
        source=source,
        draws=table.shape[1],
        budgets=budgets,
        low=np.array([np.nan if span is None else span.low for span in spans]),
        high=np.array([np.nan if span is None else span.high for span in spans]),
        probability=np.mean(table < 0, axis=1),
        crossovers=tuple(
            _crossing(c, *_with_neighbourhood(c, problem, budgets, table, laws))
            for c in curve.crossovers
        ),
        fixed=fixed,
    )


def _differences(problem: Problem, budgets: Array, laws: CoefficientSet) -> Array:
    """Distilled minus supervised loss, each draw's own optima, (budgets, draws)."""
    many = reoptimise([replace(problem, budget=float(b)) for b in budgets], laws)
    losses = many.cross_entropy.reshape(budgets.size, -1)
    if laws.misfit is not None:
        beyond = laws.misfit.half_width(
            many.student_parameters, many.student_tokens, many.teacher_cross_entropy
        )
        losses = laws.misfit.spread(losses.T, beyond.reshape(losses.shape).T).T
    with np.errstate(invalid="ignore"):
        difference = losses - many.supervised_cross_entropy.reshape(losses.shape)
    return np.asarray(difference)


def _with_neighbourhood(
    found: Crossover, problem: Problem, budgets: Array, table: Array, laws: CoefficientSet
) -> tuple[Array, Array]:
    """Log budgets and differences, denser beside the crossover: steps of the range are too wide."""
    near = found.budget * np.geomspace(1 / NEAR, NEAR, STEPS)
    x = np.log(np.concatenate([budgets, near]))
    order = np.argsort(x, kind="stable")
    return x[order], np.concatenate([table, _differences(problem, near, laws)])[order]


def _crossing(found: Crossover, x: Array, table: Array) -> CrossoverSpread:
    """The draws' own crossings in the direction of this one, the nearest of each draw."""
    upwards = found.better_above == "supervised"  # the difference rises through zero
    nearest = []
    for d in table.T:
        left, right = d[:-1], d[1:]
        change = (left < 0) & (right > 0) if upwards else (left > 0) & (right < 0)
        at = np.flatnonzero(change)
        if at.size:
            crossing = x[at] + (x[at + 1] - x[at]) * left[at] / (left[at] - right[at])
            nearest.append(crossing[np.argmin(np.abs(crossing - np.log(found.budget)))])
    if not nearest:
        return CrossoverSpread(np.nan, np.nan, 0.0)
    span = interval(np.array(nearest))
    return CrossoverSpread(
        float(np.exp(span.low)), float(np.exp(span.high)), len(nearest) / table.shape[1]
    )
