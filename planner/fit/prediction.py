"""Cross-entropies of runs that were not made, with intervals for a single new run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws
from laws._types import Array
from planner import units
from planner.documents import Unwritten, derived, unwritten
from planner.errors import ProblemError
from planner.fit.rows import Rows
from planner.reports.report import Report
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING

LEVEL = 0.9
_DRAWS = 1024
_DISTILLED = ("student_parameters", "student_tokens", "student_tokens_per_parameter",
              "teacher_cross_entropy", "teacher_to_supervised")  # fmt: skip
_TEACHERS = ("teacher_parameters", "teacher_tokens")


@dataclass(frozen=True)
class Predictions:
    """Per run, (n,): cross-entropy in nats per token, its interval, and what leaves the domain.

    low, high: central 90% for a single new run, from the draws, the scatter of runs and the misfit
    that grows with the distance from the fitted runs; NaN where the set has neither of them.
    outside: the quantities outside their measured ranges. missing: parts of an interval that the
    set does not have.
    """

    predicted: Array
    low: Array
    high: Array
    outside: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...] = ()


def predict_runs(
    chosen: CoefficientSet, parameters: Array, tokens: Array, teacher_loss: Array | None = None
) -> Predictions:
    """Predict supervised runs, or distillations where the teachers' losses are given."""
    at: tuple[Array, ...] = (parameters, tokens)
    at += () if teacher_loss is None else (teacher_loss,)
    predicted = _loss(chosen, at)
    # A distillation set's scatter, misfit and students' ranges are those of its distillations.
    own = teacher_loss is not None or chosen.distillation is None
    scatter, misfit = (chosen.scatter, chosen.misfit) if own else (None, None)
    low = high = predicted
    missing = []
    many = predicted[None]
    if chosen.draws_path is not None:
        many = np.atleast_2d(_loss(draws.load(chosen, _DRAWS, trailing=1), at))
    if not np.ptp(many, axis=0).any():  # none, or a law that all of them hold fixed
        missing.append("draws of the coefficients")
    else:
        if scatter is not None:
            many = scatter.spread(many)
        tails = [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0]
        low, high = np.quantile(many, tails, axis=0)
    if scatter is None:
        missing.append("the scatter of single runs")
    if misfit is None:
        missing.append("the misfit beyond the runs")
    else:
        wide = misfit.half_width(*at)
        low, high = misfit.widen(low, predicted, high, wide)
    if len(missing) == 3:
        low = high = np.full(predicted.shape, np.nan)
    return Predictions(predicted, low, high, _outside(chosen, at), tuple(missing))


def _loss(chosen: CoefficientSet, at: tuple[Array, ...]) -> Array:
    if len(at) == 2:
        return np.asarray(chosen.form.loss(*at))
    if chosen.distillation is None:
        raise ProblemError(
            f"set '{chosen.name}' has no distillation law, so teachers' losses mean nothing to it; "
            "leave their column out, or choose a set that has one."
        )
    return np.asarray(chosen.distillation.loss(*at))


def _outside(chosen: CoefficientSet, at: tuple[Array, ...]) -> tuple[tuple[str, ...], ...]:
    teacher = at[2] if len(at) == 3 else np.full(at[0].shape, np.nan)
    every = chosen.quantities(at[0], at[1], teacher, at[0], at[1])
    names = _TEACHERS if len(at) == 2 and chosen.distillation is not None else _DISTILLED
    masks: dict[str, NDArray[np.bool_]] = chosen.domain.outside({n: every[n] for n in names})
    return tuple(
        tuple(name for name, mask in masks.items() if np.broadcast_to(mask, at[0].shape)[k])
        for k in range(at[0].size)
    )


@dataclass(frozen=True)
class Prediction(Report):
    """Predictions beside the columns of the file that named the runs."""

    KIND: ClassVar[str] = "prediction"

    coefficients: str
    columns: tuple[Mapping[str, Any], ...] = unwritten()
    rows: Annotated[Rows, Unwritten()] = unwritten()
    found: Annotated[Predictions, Unwritten()] = unwritten()

    @derived
    def runs(self) -> tuple[dict[str, Any], ...]:
        """Each run's own columns, then predicted, low, high and outside."""
        found = self.found
        return tuple(
            {**record, "predicted": float(p), "low": float(low), "high": float(high),
             "outside": " ".join(out)}
            for record, p, low, high, out in zip(
                self.columns, found.predicted, found.low, found.high, found.outside, strict=True
            )
        )  # fmt: skip

    def sheet(self) -> Sheet:
        """The runs with their intervals, and how many leave the measured ranges."""
        rows, found = self.rows, self.found
        kind = "supervised" if rows.teacher_loss is None else "distilled"
        cells = tuple(
            (
                units.format_count(float(rows.parameters[k])),
                units.format_count(float(rows.tokens[k])),
                NOTHING if rows.teacher_loss is None else units.format_loss(rows.teacher_loss[k]),
                *(
                    NOTHING if np.isnan(each[k]) else f"{each[k]:.4f}"
                    for each in (found.predicted, found.low, found.high)
                ),
                ", ".join(each.replace("_", " ") for each in out),
            )
            for k, out in enumerate(found.outside)
        )
        beyond = sum(1 for out in found.outside if out)
        warnings = []
        if beyond:
            warnings.append(f"{beyond} of {len(rows)} runs lie outside the measured ranges.")
        if found.missing:
            subject = "The intervals are too narrow: they lack"
            if np.isnan(found.low).all():
                subject = "There are no intervals: they would need"
            warnings.append(
                f"{subject} {', '.join(found.missing)}, which set '{self.coefficients}' does not "
                "state."
            )
        noun = "run" if len(rows) == 1 else "runs"
        hold = "" if found.missing else "; low and high hold 90% of single runs"
        head = ("parameters", "tokens", "teacher's loss", "predicted", "low", "high", "outside")
        return Sheet(
            kind=self.KIND,
            title=f"Predicted cross-entropies under {self.coefficients}",
            verdict=f"{len(rows)} {kind} {noun}, nats per token{hold}.",
            grids=(Grid("Runs", head, cells, left=(6,)),),
            warnings=tuple(warnings),
            rows=self.runs,
        )
