"""The report of a fit: a typed document, and its tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from coefficients import Misfit
from planner import units
from planner.documents import Unwritten, unwritten
from planner.fit.bootstrap import Bootstrap
from planner.fit.estimate import Fit
from planner.fit.identify import Unidentified
from planner.fit.judge import (
    Bin,
    Coverage,
    Errors,
    Extrapolation,
    FormError,
    Influence,
    Outlier,
    SizeErrors,
)
from planner.reports.report import Report
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING

ERRORS = ("runs", "mean", "worst", "bias")


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of a fit.

    interval: 90%, None for one that is held or not identified, or without resamples. identified:
    None for one that is held.
    """

    value: float
    interval: tuple[float, float] | None
    fixed: bool
    identified: bool | None


@dataclass(frozen=True)
class Analysis(Report):
    """A fit and its judgement; `remarks` are the warnings.

    law, protocol: their names. objective: the minimum found; gradient_norm: largest derivative
    there. starts: how many were fitted from; agreeing: share that ended at this optimum. scale: of
    the scaled protocol. coefficients: by name. errors: on the fitted runs; residuals: the same by
    ranges of each quantity. leave_one_size_out, extrapolation, forms, coverage, coverage_sizes,
    misfit: from refits without some of the runs, absent where there are too few or none were asked
    for. influence: of the outliers. resamples, resample_groups: of the bootstrap.
    """

    KIND: ClassVar[str] = "fit"

    law: str
    protocol: str
    objective: float
    gradient_norm: float
    converged: bool
    starts: int
    grid_points: int
    agreeing: float
    scale: float | None
    coefficients: Mapping[str, Coefficient]
    errors: Errors
    residuals: tuple[Bin, ...]
    outliers: tuple[Outlier, ...]
    influence: Influence | None
    leave_one_size_out: tuple[SizeErrors, ...] = ()
    extrapolation: Extrapolation | None = None
    forms: tuple[FormError, ...] = ()
    coverage: Coverage | None = None
    coverage_sizes: Coverage | None = None
    misfit: Misfit | None = None
    resamples: int | None = None
    resample_groups: int | None = None
    unidentified: tuple[Unidentified, ...] = ()
    remarks: tuple[str, ...] = ()
    point: Annotated[Fit, Unwritten()] = unwritten()
    boot: Annotated[Bootstrap | None, Unwritten()] = unwritten()

    def sheet(self) -> Sheet:
        """Headline, warnings, tables."""
        return _sheet(self)


def _sheet(found: Analysis) -> Sheet:
    """Everything about a fit; its warnings are the analysis's remarks."""
    task = found.point.task
    runs = f"{len(task.rows)} runs"
    if task.supervised_rows is not None:
        runs += f" and {len(task.supervised_rows)} supervised runs"
    grids = [_coefficients(found), _residuals(found)]
    if found.leave_one_size_out:
        lines = tuple(
            (units.format_count(each.parameters), *_errors(each))
            for each in found.leave_one_size_out
        )
        grids.append(Grid("Errors when a size is left out", ("size", *ERRORS), lines))
    if found.extrapolation is not None:
        check = found.extrapolation
        grids.append(
            Grid(
                f"Fit on losses from {check.threshold:.3f} up, prediction of those below",
                ("runs are", *ERRORS),
                (("fitted", *_errors(check.fitted)), ("predicted", *_errors(check.predicted))),
            )
        )
    grids += [*_forms(found), *_coverage(found)]
    return Sheet(
        kind=found.KIND,
        title=f"Law {found.law} ({task.form.summary}) fitted to {runs}",
        verdict=_verdict(found),
        grids=tuple(grids),
        warnings=found.remarks,
        notes=(_optimisation(found),),
        rows=tuple(
            {
                "name": name,
                "value": each.value,
                "low": None if each.interval is None else each.interval[0],
                "high": None if each.interval is None else each.interval[1],
                "fixed": each.fixed,
                "identified": each.identified,
            }
            for name, each in found.coefficients.items()
        ),
        subtitle=found.point.protocol.describe(),
        alarming=not found.converged,
    )


def _verdict(found: Analysis) -> str:
    """Errors on the fitted runs, and what is known of errors on others."""
    own = (
        f"On the fitted runs themselves the mean absolute relative error is "
        f"{_percent(found.errors.mean)}, the worst {_percent(found.errors.worst)}; "
    )
    if found.extrapolation is None:
        return own + "errors on other runs were not measured."
    return (
        f"{own}predicting its lower losses from its higher ones, "
        f"{_percent(found.extrapolation.predicted.mean)} and "
        f"{_percent(found.extrapolation.predicted.worst)}."
    )


def _optimisation(found: Analysis) -> str:
    end = "converged" if found.converged else "NOT CONVERGED"
    grid = f" (chosen from {found.grid_points:,} grid points)" if found.grid_points else ""
    return (
        f"Objective {found.objective:.10g}, largest gradient {found.gradient_norm:.1e} ({end}); "
        f"{found.agreeing:.0%} of {found.starts} starts agree{grid}."
    )


def _coefficients(found: Analysis) -> Grid:
    """Values and intervals; a dash where the runs determine none."""
    lines = []
    for name, each in found.coefficients.items():
        between = ""
        if each.fixed:
            between = "held"
        elif not each.identified:
            between = "not identified"
        elif each.interval is not None:
            between = " to ".join(f"{end:.5g}" for end in each.interval)
        value = NOTHING if each.identified is False else f"{each.value:.6g}"
        lines.append((name, value, between))
    boot = found.boot
    level = "" if boot is None else f"{boot.level:.0%} of {boot.size:,} draws"
    return Grid("Coefficients", ("name", "value", level), tuple(lines), left=(2,))


def _residuals(found: Analysis) -> Grid:
    lines = tuple((each.quantity, _range(each), *_errors(each)) for each in found.residuals)
    return Grid("Residuals on the fitted runs", ("by", "range", *ERRORS), lines, left=(1,))


def _range(each: Bin) -> str:
    low, high = (
        units.format_count(end) if each.high > 1e4 else f"{end:.3g}"
        for end in (each.low, each.high)
    )
    return low if each.low == each.high else f"{low} to {high}"


def _coverage(found: Analysis) -> list[Grid]:
    kinds = {"random fifths": found.coverage, "whole sizes": found.coverage_sizes}
    known = {name: each for name, each in kinds.items() if each is not None}
    if not known:
        return []
    level = next(iter(known.values())).level
    return [
        Grid(
            f"Held-out runs inside their {level:.0%} intervals",
            ("left out", "of the law's value alone", "with the scatter of single runs"),
            tuple((name, f"{c.law:.0%}", f"{c.run:.0%}") for name, c in known.items()),
        )
    ]


def _forms(found: Analysis) -> list[Grid]:
    lines = tuple(
        (
            each.name,
            str(each.coefficients),
            _percent(each.in_sample.mean),
            _percent(each.held_out.mean),
            _percent(each.held_out.worst),
            NOTHING if each.by_size is None else _percent(each.by_size.mean),
        )
        for each in found.forms
    )
    head = ("form", "free", "in sample", "held out", "worst", "sizes left out")
    return [Grid("Forms of the law, mean errors", head, lines)] if lines else []


def _errors(e: Errors) -> tuple[str, ...]:
    return str(e.runs), _percent(e.mean), _percent(e.worst), f"{100 * e.bias:+.2f}%"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"
