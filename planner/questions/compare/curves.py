"""What a comparison holds: one student over the budgets, a curve per scenario, its crossovers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from planner import units
from planner.documents import OpenFloat, Record, Values, derived
from planner.optima import Many
from planner.optimise.batch import Array
from planner.problem import Problem
from planner.questions.compare.ratios import Ratios


@dataclass(frozen=True)
class Crossover:
    """Below `low` one method is better, above `high` the other (`better_above`), both proven."""

    budget: float
    low: float
    high: float
    better_above: str
    in_domain: bool


@dataclass(frozen=True)
class CrossoverSpread:
    """Central 90% of a crossover over the draws, and the share of draws that have it at all."""

    low: OpenFloat
    high: OpenFloat
    share: float


@dataclass(frozen=True)
class Spread:
    """One curve over the draws: differences to supervised and chances, arrays over `budgets`.

    low, high: central 90% of the difference in nats. probability: share of draws under which
    distilling is better. crossovers: one entry for each crossover of the curve.
    """

    source: str
    draws: int
    budgets: Annotated[Array, Values()]
    low: Annotated[Array, Values()]
    high: Annotated[Array, Values()]
    probability: Annotated[Array, Values()]
    crossovers: tuple[CrossoverSpread, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Gain:
    """The budget where distilling helps most, and by how many nats."""

    budget: float
    nats: float


@dataclass(frozen=True)
class Curve(Record):
    """One scenario over the budgets, every array of that length; NaN where nothing is feasible.

    difference: distilled minus supervised cross-entropy; sign: -1 where distillation is proven
    better, +1 where supervised training is, 0 where neither is. inside: plans within the measured
    range. held: a default cap on tokens holds the supervised model, so that the methods no longer
    spend the same budget; nothing is found there. ratios: what supervised training needs for the
    same losses. second_opinion: the other set's cross-entropies of the same plans.
    """

    scenario: str
    charge_inference: float
    charge_pretraining: float
    plans: Many
    difference: Annotated[Array, Values()]
    sign: Annotated[NDArray[np.int_], Values()]
    inside: Annotated[NDArray[np.bool_], Values(of="boolean")]
    held: Annotated[NDArray[np.bool_], Values(of="boolean")]
    budgets: Annotated[Array, Values()]
    crossovers: tuple[Crossover, ...] = ()
    ratios: Ratios | None = None
    second_opinion: Annotated[Array, Values()] | None = None
    spread: Spread | None = None

    @property
    def charges(self) -> tuple[float, float]:
        """(charge_inference, charge_pretraining)."""
        return (self.charge_inference, self.charge_pretraining)

    @property
    def found(self) -> NDArray[np.int_]:
        """The signs of the plans that compare the methods: those that exist and no cap holds."""
        return self.sign[np.isfinite(self.difference) & ~self.held]

    @derived
    def held_from(self) -> float | None:
        """The least budget that a cap holds, FLOPs; None where none does."""
        return float(self.budgets[np.argmax(self.held)]) if np.any(self.held) else None

    @derived
    def largest_gain(self) -> Gain | None:
        """Where distillation beats supervised training most; None where it never does."""
        return self._gain(~self.held)

    @derived
    def largest_gain_in_domain(self) -> Gain | None:
        """The same among plans within the measured range."""
        return self._gain(self.inside & ~self.held)

    def _gain(self, among: NDArray[np.bool_]) -> Gain | None:
        usable = (self.sign < 0) & among
        if not np.any(usable):
            return None
        best = int(np.argmin(np.where(usable, self.difference, np.inf)))
        return Gain(float(self.budgets[best]), -float(self.difference[best]))


@dataclass(frozen=True)
class Comparison(Record):
    """One student over the budgets: the supervised losses and a curve per scenario."""

    problem: Problem
    budgets: Annotated[Array, Values()]
    supervised: Annotated[Array, Values()]
    curves: tuple[Curve, ...]

    @derived
    def student(self) -> float | None:
        """Its size, None where the size is planned too."""
        return self.problem.student

    def name(self, way: str, k: int) -> str:
        """How the plan of a way (a scenario or "supervised") at the k-th budget is called."""
        who = "any size" if self.student is None else units.format_count(self.student, 6)
        return f"{who}, {units.format_flops(float(self.budgets[k]), 6)} FLOPs, {way}"

    def curve(self, scenario: str) -> Curve:
        """The curve of that scenario."""
        return next(each for each in self.curves if each.scenario == scenario)
