"""Judging a fit: from a point fit and its resamples to the report, with its warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner import units
from planner.fit.bootstrap import Bootstrap, group_labels
from planner.fit.estimate import Fit
from planner.fit.identify import unidentified
from planner.fit.judge import (
    Coverage,
    Extrapolation,
    Influence,
    Outlier,
    bins,
    by_size,
    compare_forms,
    coverage,
    extrapolation,
    in_sample,
    influence,
    misfit,
    outliers,
)
from planner.fit.report import Analysis, Coefficient
from planner.fit.rows import implausible
from planner.fit.runs import Runs
from planner.verdict import FEW_GROUPS, MISFIT, RUNS_PER_COEFFICIENT

_INFLUENCE_SHARE = 0.25  # more outliers than this share of the runs are a trend, not outliers

WORSE = 2.0
"""Error of an extrapolation over that on the fitted runs from which the report says so."""
ONE_SIDED = 1.5  # a size's mean error over that of all runs, if all its errors have one sign
BELOW_TEACHER = 0.05  # measured students beat their teachers by 1%, and no more


def analyse(
    point: Fit,
    boot: Bootstrap | None = None,
    runs: Runs | None = None,
    judgement: bool = True,
) -> Analysis:
    """Judge a fit; without `judgement` the held-out checks (many refits) are left out."""
    off = tuple(replace(each, where=_where(each, point, runs)) for each in outliers(point))
    rows = tuple(each.row for each in off if each.kind == point.task.form.kind)
    few = 0 < len(rows) <= _INFLUENCE_SHARE * len(point.task.rows)
    enough = len(point.task.rows) - len(rows) > 2 * len(point.task.free)
    thorough = judgement and len(point.task.rows) >= 40
    open_ones = unidentified(point, boot)
    names = {each.name for each in open_ones}
    found = Analysis(
        law=point.task.form.name,
        protocol=point.protocol.name,
        objective=point.objective,
        gradient_norm=point.gradient_norm,
        converged=point.converged,
        starts=point.starts,
        grid_points=point.grid_points,
        agreeing=point.agreeing,
        scale=point.scale,
        coefficients={n: _coefficient(n, point, boot, names) for n in point.task.coefficients},
        errors=in_sample(point),
        residuals=bins(point),
        outliers=off,
        influence=influence(point, rows) if few and enough else None,
        leave_one_size_out=by_size(point) if judgement and _few_sizes(point) else (),
        extrapolation=extrapolation(point) if judgement else None,
        forms=compare_forms(point) if thorough else (),
        coverage=coverage(point) if thorough and boot is not None else None,
        coverage_sizes=_coverage_sizes(point) if thorough and boot is not None else None,
        misfit=misfit(point) if judgement else None,
        resamples=None if boot is None else boot.size,
        resample_groups=None if boot is None else boot.groups,
        unidentified=open_ones,
        point=point,
        boot=boot,
    )
    return replace(found, remarks=_remarks(found, runs))


def _coefficient(
    name: str, point: Fit, boot: Bootstrap | None, unidentified: set[str]
) -> Coefficient:
    held, known = name in point.task.held, name not in unidentified
    interval = boot.interval(name) if boot is not None and known and not held else None
    return Coefficient(point.values[name], interval, held, None if held else known)


def _where(outlier: Outlier, point: Fit, runs: Runs | None) -> str:
    """The row of an outlier in the user's file, with the guess at what is wrong."""
    own = runs is not None and outlier.kind == point.task.form.kind
    line = runs.lines[outlier.row] if own and runs else outlier.row + 1
    remark = f" ({outlier.remark})" if outlier.remark else ""
    return f"row {line}, {outlier.deviations:+.0f} sd{remark}"


def _remarks(analysis: Analysis, runs: Runs | None) -> tuple[str, ...]:
    """Warnings, one sentence each."""
    point, found = analysis.point, list(_input_remarks(analysis.point, runs))
    if not point.converged:
        found.append(
            "The fit stopped before it converged (largest gradient "
            f"{point.gradient_norm:.2g}); do not use it before you know why."
        )
    found += _misfit_remarks(point)
    if point.agreeing < 0.05:
        found.append(
            f"Only {point.agreeing:.0%} of {point.starts} starts reached this optimum: there "
            "are several valleys, so treat the coefficients with care."
        )
    resting = [n for n in point.at_bounds if n not in {each.name for each in analysis.unidentified}]
    if resting:
        found.append(f"The optimum rests on a bound of {', '.join(resting)}.")
    found += map(str, analysis.unidentified)
    found += dict.fromkeys(str(each.instead) for each in analysis.unidentified if each.instead)
    if analysis.boot is not None and analysis.boot.converged < 0.99:
        found.append(f"{1 - analysis.boot.converged:.1%} of the resamples did not converge.")
    found += _group_remarks(point, analysis.boot)
    found += _extrapolation_remarks(analysis.extrapolation)
    found += _outlier_remarks(analysis.outliers, analysis.influence)
    return tuple(found)


def _input_remarks(point: Fit, runs: Runs | None) -> tuple[str, ...]:
    rows = [point.task.rows]
    if point.task.supervised_rows is not None:
        rows.append(point.task.supervised_rows)
    read = () if runs is None else runs.remarks
    found = [*(text for each in rows for text in implausible(each)), *read]
    return tuple(dict.fromkeys(found))


def _misfit_remarks(point: Fit) -> list[str]:
    """Where the law as a whole does not describe the runs."""
    rows = point.task.rows
    found = []
    errors = np.expm1(point.residuals[: len(rows)])
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


def _extrapolation_remarks(check: Extrapolation | None) -> list[str]:
    """What the fit's own extrapolation says of plans beyond the runs."""
    if check is None or check.predicted.mean <= WORSE * check.fitted.mean:
        return []
    return [
        f"Fitted to the losses above {check.threshold:.3f} alone, the law misses those below "
        f"by {check.predicted.mean:.2%} on average ({check.predicted.bias:+.2%} bias), "
        f"{check.predicted.mean / check.fitted.mean:.1f} times its error on the fitted runs "
        f"({check.fitted.mean:.2%}): expect errors of that kind from plans beyond the runs."
    ]


def _group_remarks(point: Fit, boot: Bootstrap | None) -> list[str]:
    task = point.task
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


def _outlier_remarks(off: tuple[Outlier, ...], moved: Influence | None) -> list[str]:
    if not off:
        return []
    lines = [
        f"{len(off)} run(s) lie more than 5 robust standard deviations off and are "
        "kept: " + ", ".join(each.where for each in off[:8])
        + (" ..." if len(off) > 8 else "") + "."
    ]  # fmt: skip
    if moved is not None:
        lines.append(
            f"They carry {moved.objective_share:.0%} of the objective; without them "
            f"{_largest_move(moved)}."
        )
    return lines


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
