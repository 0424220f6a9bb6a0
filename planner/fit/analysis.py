"""A fit with everything a careful person would ask of it, gathered for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from coefficients import Misfit
from planner import units
from planner.fit import plausible
from planner.fit.bootstrap import Bootstrap, group_labels
from planner.fit.estimate import Fit
from planner.fit.identify import Unidentified, unidentified
from planner.fit.judge import (
    Bin,
    Coverage,
    Errors,
    Extrapolation,
    FormError,
    Influence,
    Outlier,
    bins,
    by_size,
    compare_forms,
    coverage,
    extrapolation,
    in_sample,
    influence,
    outliers,
)
from planner.fit.misfit import misfit
from planner.fit.runs import Runs
from planner.verdict import FEW_GROUPS, MISFIT, RUNS_PER_COEFFICIENT

_INFLUENCE_SHARE = 0.25  # more outliers than this share of the runs are a trend, not outliers

WORSE = 2.0
"""Error of an extrapolation over that on the fitted runs from which the report says so."""
ONE_SIDED = 1.5  # a size's mean error over that of all runs, if all its errors have one sign
BELOW_TEACHER = 0.05  # measured students beat their teachers by 1%, and no more


@dataclass(frozen=True)
class Analysis:
    """A fit and its judgement; `remarks` is what the user must know before using it."""

    point: Fit
    boot: Bootstrap | None
    runs: Runs | None
    open_ones: tuple[Unidentified, ...]
    errors: Errors
    bins: tuple[Bin, ...]
    outliers: tuple[Outlier, ...]
    influence: Influence | None
    sizes: Mapping[float, Errors] = field(default_factory=dict)
    extrapolation: Extrapolation | None = None
    forms: tuple[FormError, ...] = ()
    coverage: Coverage | None = None
    coverage_sizes: Coverage | None = None
    misfit: Misfit | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings, one sentence each."""
        point, found = self.point, list(self._input_remarks())
        if not point.converged:
            found.append(
                "The fit stopped before it converged (largest gradient "
                f"{point.gradient_norm:.2g}); do not use it before you know why."
            )
        found += self._misfit_remarks()
        if point.agreeing < 0.05:
            found.append(
                f"Only {point.agreeing:.0%} of {point.starts} starts reached this optimum: there "
                "are several valleys, so treat the coefficients with care."
            )
        resting = [n for n in point.at_bounds if n not in {each.name for each in self.open_ones}]
        if resting:
            found.append(f"The optimum rests on a bound of {', '.join(resting)}.")
        found += [str(replace(each, instead="")) for each in self.open_ones]
        found += list(dict.fromkeys(each.instead for each in self.open_ones if each.instead))
        if self.boot is not None and self.boot.converged < 0.99:
            found.append(f"{1 - self.boot.converged:.1%} of the resamples did not converge.")
        found += self._group_remarks()
        found += self._extrapolation_remarks()
        found += self._outlier_remarks()
        return tuple(found)

    def _input_remarks(self) -> tuple[str, ...]:
        rows = [self.point.task.rows]
        if self.point.task.supervised_rows is not None:
            rows.append(self.point.task.supervised_rows)
        read = () if self.runs is None else self.runs.remarks
        found = [*(text for each in rows for text in plausible.remarks(each)), *read]
        return tuple(dict.fromkeys(found))

    def _misfit_remarks(self) -> list[str]:
        """Where the law as a whole does not describe the runs."""
        rows, found = self.point.task.rows, []
        errors = np.expm1(self.point.residuals[: len(rows)])
        if (mean := float(np.abs(errors).mean())) > MISFIT:
            found.append(
                f"The law misses these runs by {mean:.1%} on average: it does not describe them; "
                "check units, columns and the tokenizer before you use it."
            )
        for size in np.unique(rows.parameters):
            own = errors[rows.parameters == size]
            sided = abs(float(np.sign(own).sum())) == own.size >= 8
            if sided and abs(float(own.mean())) > ONE_SIDED * mean:
                found.append(
                    f"All {own.size} runs of {units.format_count(float(size))} lie on one side of "
                    f"the law ({own.mean():+.2%} on average): the form misses that size, and "
                    "intervals do not know it."
                )
        if rows.teacher_loss is not None:
            below = int(np.sum(rows.loss < rows.teacher_loss * (1 - BELOW_TEACHER)))
            if below:
                found.append(
                    f"{below} student(s) beat their teacher by over {BELOW_TEACHER:.0%}, which "
                    "Eq. 8 cannot describe; are the two losses' columns the right way round?"
                )
        return found

    def _extrapolation_remarks(self) -> list[str]:
        """What the fit's own extrapolation says of plans beyond the runs."""
        check = self.extrapolation
        if check is None or check.predicted.mean <= WORSE * check.fitted.mean:
            return []
        return [
            f"Fitted to the losses above {check.threshold:.3f} alone, the law misses those below "
            f"by {check.predicted.mean:.2%} on average ({check.predicted.bias:+.2%} bias), "
            f"{check.predicted.mean / check.fitted.mean:.1f} times its error on the fitted runs "
            f"({check.fitted.mean:.2%}): expect errors of that kind from plans beyond the runs."
        ]

    def _group_remarks(self) -> list[str]:
        boot, task = self.boot, self.point.task
        if boot is None:
            return []
        fitted = len([name for name in task.free if "." not in name])
        if len(task.rows) < RUNS_PER_COEFFICIENT * fitted:
            return [
                f"{len(task.rows)} runs for {fitted} coefficients: the intervals are too narrow, "
                f"and the fit may follow noise; run more (at least {3 * fitted}), or hold some "
                "with --fix."
            ]
        if boot.groups >= FEW_GROUPS:
            return []
        what = "runs" if boot.by == "run" else f"groups of runs (by {boot.by})"
        return [
            f"The bootstrap draws from only {boot.groups} {what}: its intervals are too narrow, "
            "like any from fewer than about ten; collect more runs, or read the intervals as lower "
            "bounds on the uncertainty."
        ]

    def _outlier_remarks(self) -> list[str]:
        if not self.outliers:
            return []
        lines = [
            f"{len(self.outliers)} run(s) lie more than 5 robust standard deviations off and are "
            "kept: " + ", ".join(self.where(each) for each in self.outliers[:8])
            + (" ..." if len(self.outliers) > 8 else "") + "."
        ]  # fmt: skip
        if self.influence is not None:
            moved = _largest_move(self.influence)
            lines.append(
                f"They carry {self.influence.objective_share:.0%} of the objective; without them "
                f"{moved}."
            )
        return lines

    def where(self, outlier: Outlier) -> str:
        """The row of an outlier in the user's file, with the guess at what is wrong."""
        own = self.runs is not None and outlier.kind == self.point.task.form.kind
        line = self.runs.lines[outlier.row] if own and self.runs else outlier.row + 1
        remark = f" ({outlier.remark})" if outlier.remark else ""
        return f"row {line}, {outlier.deviations:+.0f} sd{remark}"

    def to_dict(self) -> dict[str, Any]:
        """The document of `--format json`."""
        point = self.point
        return {
            "schema": "planner-fit/1",
            "law": point.task.form.name,
            "protocol": point.protocol.name,
            "objective": point.objective,
            "gradient_norm": point.gradient_norm,
            "converged": point.converged,
            "starts": point.starts,
            "grid_points": point.grid_points,
            "agreeing": point.agreeing,
            "scale": point.scale,
            "coefficients": {name: self._coefficient(name) for name in point.task.coefficients},
            "errors": vars(self.errors),
            "leave_one_size_out": [
                {"parameters": size, **vars(errors)} for size, errors in self.sizes.items()
            ],
            "extrapolation": None
            if self.extrapolation is None
            else {
                "threshold": self.extrapolation.threshold,
                "fitted": vars(self.extrapolation.fitted),
                "predicted": vars(self.extrapolation.predicted),
            },
            "forms": [
                {
                    "name": each.name,
                    "coefficients": each.coefficients,
                    "in_sample": vars(each.in_sample),
                    "held_out": vars(each.held_out),
                    "by_size": None if each.by_group is None else vars(each.by_group),
                }
                for each in self.forms
            ],
            "coverage": None if self.coverage is None else vars(self.coverage),
            "misfit": None if self.misfit is None else vars(self.misfit),
            "coverage_sizes": None if self.coverage_sizes is None else vars(self.coverage_sizes),
            "residuals": [
                {"quantity": b.quantity, "low": b.low, "high": b.high, **vars(b.errors)}
                for b in self.bins
            ],
            "outliers": [
                {"where": self.where(each), "residual": each.residual, "sd": each.deviations}
                for each in self.outliers
            ],
            "influence": None
            if self.influence is None
            else {
                "before": dict(self.influence.before),
                "after": dict(self.influence.after),
                "objective_share": self.influence.objective_share,
            },
            "resamples": None if self.boot is None else self.boot.size,
            "resample_groups": None if self.boot is None else self.boot.groups,
            "remarks": list(self.remarks),
        }

    def _coefficient(self, name: str) -> dict[str, Any]:
        task = self.point.task
        open_names = {each.name for each in self.open_ones}
        interval = None
        if self.boot is not None and name in task.free and name not in open_names:
            interval = list(self.boot.interval(name))
        return {
            "value": self.point.values[name],
            "interval": interval,
            "fixed": name in task.held,
            "identified": None if name in task.held else name not in open_names,
        }


def analyse(
    point: Fit,
    boot: Bootstrap | None = None,
    runs: Runs | None = None,
    judgement: bool = True,
) -> Analysis:
    """Judge a fit; without `judgement` the held-out checks (many refits) are left out."""
    off = outliers(point)
    rows = tuple(each.row for each in off if each.kind == point.task.form.kind)
    few = 0 < len(rows) <= _INFLUENCE_SHARE * len(point.task.rows)
    enough = len(point.task.rows) - len(rows) > 2 * len(point.task.free)
    thorough = judgement and len(point.task.rows) >= 40
    return Analysis(
        point=point,
        boot=boot,
        runs=runs,
        open_ones=unidentified(point, boot),
        errors=in_sample(point),
        bins=bins(point),
        outliers=off,
        influence=influence(point, rows) if few and enough else None,
        sizes=by_size(point) if judgement and _few_sizes(point) else {},
        extrapolation=extrapolation(point) if judgement else None,
        forms=compare_forms(point) if thorough else (),
        coverage=coverage(point) if thorough and boot is not None else None,
        coverage_sizes=_coverage_sizes(point) if thorough and boot is not None else None,
        misfit=misfit(point) if judgement else None,
    )


def _coverage_sizes(point: Fit) -> Coverage | None:
    """Coverage with whole sizes left out, where enough sizes remain to fit."""
    labels = group_labels(point.task.rows, "size")
    return coverage(point, labels) if 4 <= labels.max() + 1 <= 20 else None


def _few_sizes(point: Fit) -> bool:
    return len(set(point.task.rows.parameters.tolist())) <= 20


def _largest_move(found: Influence) -> str:
    moves = {
        name: abs(found.after[name] / before - 1.0)
        for name, before in found.before.items()
        if before > 0 and name not in ("A", "B", "c1", "d1", "supervised.A", "supervised.B")
    }
    name = max(moves, key=lambda each: moves[each])
    return f"{name} would be {found.after[name]:.4g} instead of {found.before[name]:.4g}"
