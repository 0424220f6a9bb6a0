"""From finished runs, a pool and a target to the next runs, with what they are expected to gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._types import Array
from planner.errors import ProblemError
from planner.experiments.choose import Pick, choose, choose_best
from planner.experiments.information import (
    Discrepancy,
    cells_of,
    covariance,
    jacobian,
    natural_slopes,
    prior_precision,
    shares,
    trust,
    with_discrepancy,
)
from planner.experiments.targets import PlanTarget
from planner.fit.determine import noise_of as spread_of
from planner.fit.estimate import Fit
from planner.fit.rows import Rows


@dataclass(frozen=True)
class Choice:
    """The next runs, best first.

    before, deviations: standard deviation of the target from the coefficients' uncertainty, now and
    after each pick (relative loss, or square root of the plan's regret in nats); the law's own
    discrepancy guides the choice but is not counted. sharpens: the coefficients that each pick
    tells most about.
    """

    picks: tuple[Pick, ...]
    pool: Rows
    costs: Array
    before: float
    deviations: tuple[float, ...]
    everything: float
    """The standard deviation if the whole pool were run."""
    sharpens: tuple[tuple[str, ...], ...]

    @property
    def after(self) -> float:
        """The standard deviation after all picks."""
        return self.deviations[-1] if self.deviations else self.before

    @property
    def cost(self) -> float:
        """FLOPs of all picks."""
        return float(sum(pick.cost for pick in self.picks))


def noise_of(point: Fit) -> float:
    """Spread of the runs of the form's kind about the fit."""
    return spread_of(point.residuals[: len(point.task.rows)], len(point.task.free))


def next_runs(
    point: Fit,
    pool: Rows,
    costs: Array,
    targets: Rows | PlanTarget,
    budget: float,
    criterion: str = "variance",
    per_flop: bool | None = None,
    most: int | None = None,
    discrepancy: Discrepancy | None = None,
) -> Choice:
    """Choose from `pool` (losses unread) what to run next after the runs of `point`.

    targets: points of a region, or a plan. per_flop: rank by gain per FLOP, or by gain alone; both
    are tried unless given.
    """
    if len(pool) == 0:
        raise ProblemError("the pool holds no candidate.")
    if np.any(~np.isfinite(costs) | (costs <= 0)):
        raise ProblemError("every candidate needs a positive cost in FLOPs.")
    wide = discrepancy or Discrepancy()
    task, names = point.task, point.model.names
    finished = jacobian(task, point.theta, task.rows)
    candidates = jacobian(task, point.theta, pool)
    precision = prior_precision(names)
    goal = (
        targets.jacobian
        if isinstance(targets, PlanTarget)
        else jacobian(task, point.theta, targets)
    )
    if wide.spread > 0:
        region = targets.at if isinstance(targets, PlanTarget) else targets
        cells = cells_of(task.rows, pool, region)
        finished = with_discrepancy(finished, task.rows, cells, wide)
        candidates = with_discrepancy(candidates, pool, cells, wide)
        finished = finished * trust(task.rows, region)[:, None]
        candidates = candidates * trust(pool, region)[:, None]
        if isinstance(targets, Rows):
            goal = with_discrepancy(goal, targets, cells, wide)
        else:
            goal = np.pad(goal, ((0, 0), (0, len(cells))))
        whole_precision = np.eye(len(names) + len(cells))
        whole_precision[: len(names), : len(names)] = precision
        precision = whole_precision
    noise = noise_of(point)
    cov = covariance(finished, noise, precision)
    if per_flop is None:
        picks = choose_best(candidates, costs, cov, goal, noise, budget, criterion, most)
    else:
        picks = choose(candidates, costs, cov, goal, noise, budget, criterion, per_flop, most)
    whole = covariance(np.concatenate([finished, candidates]), noise, precision)
    known = np.where(np.arange(goal.shape[1]) < len(names), goal, 0.0)
    return Choice(
        picks=tuple(picks),
        pool=pool,
        costs=costs,
        before=_deviation(known, cov),
        deviations=_after_each(candidates, picks, noise, cov, known),
        everything=_deviation(known, whole),
        sharpens=_sharpens(candidates, picks, noise, cov, point),
    )


def _after_each(
    candidates: Array, picks: list[Pick], noise: float, cov: Array, goal: Array
) -> tuple[float, ...]:
    found = []
    for pick in picks:
        row = candidates[pick.index]
        spread = cov @ row
        cov = cov - np.outer(spread, spread) / (noise**2 + row @ spread)
        found.append(_deviation(goal, cov))
    return tuple(found)


def _deviation(goal: Array, cov: Array) -> float:
    return float(np.sqrt(np.einsum("tp,pq,tq->", goal, cov, goal) / len(goal)))


def _sharpens(
    candidates: Array, picks: list[Pick], noise: float, cov: Array, point: Fit
) -> tuple[tuple[str, ...], ...]:
    if not picks:
        return ()
    names, slopes = natural_slopes(point.task, point.theta)
    slopes = np.pad(slopes, ((0, 0), (0, len(cov) - slopes.shape[1])))
    chosen = candidates[[pick.index for pick in picks]]
    order = np.argsort(-shares(chosen, noise, cov, slopes), axis=1, kind="stable")[:, :2]
    return tuple(tuple(names[k] for k in row) for row in order)
