"""The learning rates of a trial: a few are tried for each class of run, and a parabola chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.trainer.spec import RunRecord
from planner.trial.design import Design

CLASSES = {"supervised": "supervised", "teacher": "supervised", "distilled": "distilled"}
"""Which tuned rate a run of each method is trained with."""


@dataclass(frozen=True)
class Tuned:
    """Peak rates tried for a class of run, held-out losses in nats, and the rate chosen.

    at_edge: the chosen rate is the smallest or largest tried, so the best one may lie beyond.
    """

    kind: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chosen: float
    at_edge: bool


def tune(design: Design, records: Mapping[str, RunRecord]) -> tuple[Tuned, ...]:
    """The rate of every class, from the runs of `design.tuning`."""
    found = []
    for kind in ("supervised", "distilled"):
        runs = [run for run in design.tuning if run.method == kind]
        rates = [run.rate for run in runs if run.rate is not None]
        losses = [records[run.key].cross_entropy for run in runs]
        chosen = best_rate(rates, losses)
        edge = chosen in (min(rates), max(rates))
        found.append(Tuned(kind, tuple(rates), tuple(losses), chosen, edge))
    return tuple(found)


def best_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The minimum over log rate of the parabola through the best rate and its neighbours.

    Rates ascend. At the end of the grid it is the end: nothing is extrapolated.
    """
    best = int(np.argmin(losses))
    middle = min(max(best, 1), len(rates) - 2)
    around = slice(middle - 1, middle + 2)
    x, y = np.log(rates[around]), np.asarray(losses[around])
    curvature, slope, _ = np.polyfit(x - x[1], y, 2)
    if curvature <= 0:
        return float(rates[best])
    vertex = np.clip(x[1] - slope / (2 * curvature), x[0], x[-1])
    return float(np.clip(np.exp(vertex), rates[0], rates[-1]))
