"""Judgement of a fit: held-out errors, extrapolation, outliers, influence, forms side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from laws._types import Array
from planner.fit.bootstrap import bootstrap, group_labels
from planner.fit.build import Task
from planner.fit.determine import UndeterminedError, noise_of
from planner.fit.estimate import Fit, fit, solve
from planner.fit.forms import COMPARED
from planner.fit.objective import huber
from planner.fit.plausible import EPOCHS
from planner.fit.rows import Rows
from planner.fit.starts import starts

OUTLIER = 5.0
"""A residual this many robust standard deviations from the median is pointed out."""

_FOLD_STARTS = 6
_ENOUGH = 3  # runs per coefficient below which a fit passes through too many to judge the others
_FACTORS = (1e-6, 1e-3, 1e3, 1e6)  # of a number in another unit than its column


@dataclass(frozen=True)
class Errors:
    """Relative errors of predicted cross-entropies, in absolute value."""

    runs: int
    mean: float
    worst: float
    bias: float

    @classmethod
    def of(cls, residuals: Array, **where: Any) -> Self:
        """From log L_pred - log L_obs; `where` are the fields that a subclass adds."""
        relative = np.expm1(residuals)
        size = np.abs(relative)
        return cls(
            len(size), float(size.mean()), float(size.max()), float(relative.mean()), **where
        )


@dataclass(frozen=True)
class SizeErrors(Errors):
    """Errors on the runs of one student size, all left out of the fit."""

    parameters: float


@dataclass(frozen=True)
class Outlier:
    """A run that the law does not describe. `row` counts from 0 in the order of the runs."""

    row: int
    kind: str
    residual: float
    deviations: float
    remark: str = ""
    where: str = ""
    """The row of the user's file, with deviation and remark."""


@dataclass(frozen=True)
class Bin(Errors):
    """Errors on the runs in one range of a quantity."""

    quantity: str
    low: float
    high: float


@dataclass(frozen=True)
class Extrapolation:
    """Fit on losses of at least `threshold`, predict the runs below it (the paper's check)."""

    threshold: float
    fitted: Errors
    predicted: Errors


@dataclass(frozen=True)
class FormError:
    """Held-out and in-sample errors of one form of the law."""

    name: str
    coefficients: int
    in_sample: Errors
    held_out: Errors
    by_size: Errors | None


@dataclass(frozen=True)
class Coverage:
    """Share of held-out runs inside their stated intervals, as found.

    law: intervals of the law's value alone, which leave out the scatter of single runs; run: with
    that scatter added, the interval for a new run.
    """

    level: float
    runs: int
    law: float
    run: float


@dataclass(frozen=True)
class Influence:
    """How the fit moves when a set of runs is left out."""

    rows: tuple[int, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]
    objective_share: float


def in_sample(point: Fit) -> Errors:
    """Errors on the fitted runs themselves."""
    return Errors.of(point.residuals)


def bins(point: Fit, parts: int = 4) -> tuple[Bin, ...]:
    """Residuals by size, tokens, tokens per parameter and teacher."""
    rows, residuals = point.task.rows, point.residuals[: len(point.task.rows)]
    quantities = {
        "parameters": rows.parameters,
        "tokens": rows.tokens,
        "tokens per parameter": rows.tokens / rows.parameters,
    }
    if rows.teacher_loss is not None:
        quantities["teacher cross-entropy"] = rows.teacher_loss
        quantities["teacher / supervised"] = rows.teacher_loss / point.form.loss(
            rows.parameters, rows.tokens
        )
    return tuple(b for name, x in quantities.items() for b in _bins(name, x, residuals, parts))


def _bins(quantity: str, x: Array, residuals: Array, parts: int) -> list[Bin]:
    values = np.unique(x)
    if values.size <= parts + 2:
        edges = [(v, v) for v in values]
    else:
        cuts = np.quantile(x, np.linspace(0, 1, parts + 1))
        edges = list(itertools.pairwise(cuts))
    found = []
    for number, (low, high) in enumerate(edges):
        last = number == len(edges) - 1 or low == high
        chosen = (x >= low) & ((x <= high) if last else (x < high))
        if chosen.any():
            place = {"quantity": quantity, "low": float(low), "high": float(high)}
            found.append(Bin.of(residuals[chosen], **place))
    return found


def outliers(point: Fit, limit: float = OUTLIER) -> tuple[Outlier, ...]:
    """Runs far off, worst first, with a guess at a mislabelled column where one mends the run."""
    residuals, rows = point.residuals, point.task.rows
    if residuals.size < _ENOUGH * len(point.task.free):
        return ()
    centre, spread = np.median(residuals), noise_of(residuals, len(point.task.free))
    deviations = (residuals - centre) / spread
    found = []
    for index in np.argsort(-np.abs(deviations), kind="stable"):
        if abs(deviations[index]) < limit:
            break
        own = index < len(rows)
        row = int(index if own else index - len(rows))
        kind = point.task.form.kind if own else "supervised"
        remark = _mislabelled(point, row, limit * spread) if own else ""
        found.append(Outlier(row, kind, float(residuals[index]), float(deviations[index]), remark))
    return tuple(found)


def _mislabelled(point: Fit, row: int, tolerance: float) -> str:
    """Which single column, set to another value that occurs in the runs, would explain the loss."""
    rows = point.task.rows
    one = rows.take(np.array([row]))
    if one.unique_tokens is not None and (epochs := (one.tokens / one.unique_tokens)[0]) > EPOCHS:
        return f"{epochs:.3g} epochs, and the law takes repeated tokens for new ones"
    remarks = []
    names = ("tokens", "parameters", "teacher_loss")
    for name, word in zip(names, ("tokens", "parameters", "teacher's loss"), strict=True):
        column = getattr(rows, name)
        if column is None or np.unique(column).size < 2:
            continue
        own = float(getattr(one, name)[0])
        values = np.unique(column)
        if name != "teacher_loss":
            guesses = own * np.array(_FACTORS)
            seen = (guesses >= values[0]) & (guesses <= values[-1])
            values = np.concatenate([values, guesses[seen]])
        many = one.take(np.zeros(values.size, dtype=np.int64))
        many = replace(many, **{name: values})
        off = np.abs(predict(point, many) - one.log_loss)
        best = int(off.argmin())
        if off[best] < tolerance and values[best] != getattr(one, name)[0]:
            remarks.append(f"{word} {values[best]:.4g} instead of {getattr(one, name)[0]:.4g}")
    return "would fit with " + " or ".join(remarks) if remarks else ""


def predict(point: Fit, rows: Rows) -> Array:
    """Predicted log cross-entropies of other runs of the form's own kind."""
    return np.asarray(point.task.model(rows).predict(point.theta[None])[0])


def held_out(point: Fit, labels: NDArray[np.int64], task: Task | None = None) -> Array:
    """Residual of every run of the form's kind when its group is left out of the fit, (n,).

    All groups are fitted in one batch, each from the point fit and from the best grid starts.
    """
    task = task or point.task
    model, n = task.model(), len(task.rows)
    groups = int(labels.max()) + 1
    begin = np.vstack([point.theta[None], starts(task, model)[0][:_FOLD_STARTS]])
    weights = np.ones((groups, len(task.observed)))
    weights[:, :n] = labels[None] != np.arange(groups)[:, None]
    many = begin.shape[0]
    solution, _ = solve(
        model,
        task.observed,
        np.tile(begin, (groups, 1)),
        point.protocol,
        np.repeat(weights, many, axis=0),
        1e-9,
        150,
    )
    best = solution.objective.reshape(groups, many).argmin(axis=1) + many * np.arange(groups)
    residuals = model.predict(solution.theta[best])[:, :n] - task.rows.log_loss
    return np.asarray(residuals[labels, np.arange(n)])


def by_size(point: Fit) -> tuple[SizeErrors, ...]:
    """Errors on each student size when all its runs are left out."""
    labels = group_labels(point.task.rows, "size")
    if labels.max() < 2:
        return ()
    residuals = held_out(point, labels)
    sizes = np.unique(point.task.rows.parameters)
    return tuple(
        SizeErrors.of(residuals[labels == k], parameters=float(size))
        for k, size in enumerate(sizes)
    )


def folds(n: int, parts: int, seed: int = 0) -> NDArray[np.int64]:
    """A random division of n runs into equal parts."""
    return np.random.default_rng(seed).permutation(np.arange(n) % parts)


def extrapolation(point: Fit, threshold: float | None = None) -> Extrapolation | None:
    """Fit only the high losses, predict the low ones; None if those do not determine a law.

    The paper's thresholds: 2.2 (supervised), 2.3 (distillation). By default the loss that leaves a
    fifth of the runs to predict.
    """
    rows = point.task.rows
    threshold = float(np.quantile(rows.loss, 0.2)) if threshold is None else threshold
    high = rows.loss >= threshold
    if high.sum() <= 2 * len(point.task.free) or high.all():
        return None
    try:
        upper = fit(replace(point.task, rows=rows.take(high)), point.protocol)
    except UndeterminedError:  # of one size, say
        return None
    lower = rows.take(~high)
    return Extrapolation(
        threshold, Errors.of(upper.residuals[: int(high.sum())]),
        Errors.of(predict(upper, lower) - lower.log_loss),
    )  # fmt: skip


def compare_forms(point: Fit, parts: int = 10, seed: int = 0) -> tuple[FormError, ...]:
    """The fitted form beside those others that the runs determine, by random folds and by leaving
    out sizes."""
    task = point.task
    candidates = {task.form.name: task.form}
    reduced = COMPARED.get(task.form.name, {})
    candidates |= {n: f for n, f in reduced.items() if not set(f.fixed) & set(task.fixed)}
    labels = folds(len(task.rows), parts, seed)
    sizes = group_labels(task.rows, "size")
    found = []
    for name, form in candidates.items():
        bounds = {k: v for k, v in task.bounds.items() if k not in form.fixed}
        other = replace(task, form=form, bounds=bounds)
        try:
            own = point if form is task.form else fit(other, point.protocol)
        except UndeterminedError:
            continue
        grouped = Errors.of(held_out(own, sizes)) if 2 <= sizes.max() <= 60 else None
        found.append(
            FormError(
                name, len(own.task.free), in_sample(own), Errors.of(held_out(own, labels)), grouped
            )
        )
    return tuple(found)


def coverage(
    point: Fit,
    labels: NDArray[np.int64] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> Coverage | None:
    """Leave out groups of runs, bootstrap the rest, and count the runs inside 90% intervals.

    labels: group of each run; random fifths unless given. None if a rest does not determine the
    law.
    """
    rows, level = point.task.rows, 0.9
    labels = folds(len(rows), 5, seed) if labels is None else labels
    tails = [(1 - level) / 2, (1 + level) / 2]
    random = np.random.default_rng(seed)
    inside = np.zeros((2, len(rows)), dtype=bool)
    for part in range(int(labels.max()) + 1):
        out = labels == part
        rest = replace(point.task, rows=rows.take(~out))
        start = {name: point.values[name] for name in point.task.free}
        try:
            own = fit(rest, point.protocol, start=start)
        except UndeterminedError:
            return None
        boot = bootstrap(own, resamples, seed)
        predicted = own.task.model(rows.take(out)).predict(boot.theta)
        scatter = random.choice(-own.residuals[: len(rest.rows)], predicted.shape)
        for kind, draws in enumerate((predicted, predicted + scatter)):
            low, high = np.quantile(draws, tails, axis=0)
            inside[kind, out] = (low <= rows.log_loss[out]) & (rows.log_loss[out] <= high)
    law, run = map(float, inside.mean(axis=1))
    return Coverage(level, len(rows), law, run)


def scatter(point: Fit, parts: int = 20) -> tuple[float, ...]:
    """Quantiles of log(measured / law) of the fitted runs of the form's kind, lowest to highest.

    Widened by sqrt(n / (n - p)) for p coefficients fitted to n runs: a fit lies closer to its own
    runs than to new ones.
    """
    n, own = len(point.task.rows), [name for name in point.task.free if "." not in name]
    deviations = -point.residuals[:n] * np.sqrt(n / max(n - len(own), 1))
    return tuple(map(float, np.quantile(deviations, np.linspace(0.0, 1.0, parts + 1))))


def influence(point: Fit, rows: tuple[int, ...]) -> Influence | None:
    """Leave out runs (of the form's kind) and fit again; None if the rest determines no law."""
    task = point.task
    keep = np.ones(len(task.rows), dtype=bool)
    keep[list(rows)] = False
    try:
        again = fit(replace(task, rows=task.rows.take(keep)), point.protocol)
    except UndeterminedError:
        return None
    cost = huber(point.residuals, point.protocol.delta * (point.scale or 1.0))
    share = float(cost[list(rows)].sum() / cost.sum())
    return Influence(rows, dict(point.values), dict(again.values), share)
