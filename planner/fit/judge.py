"""Judgement of a fit: held-out errors, extrapolation, outliers, influence, forms, and the misfit
beyond the runs: an error that grows with the distance."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coefficients.misfit import Misfit
from laws._types import Array
from planner.errors import PlannerError
from planner.fit.bootstrap import bootstrap, group_labels
from planner.fit.determine import UndeterminedError, noise_of
from planner.fit.estimate import Fit, fit, solve
from planner.fit.rows import EPOCHS, Rows
from planner.fit.solver import huber
from planner.fit.starts import starts
from planner.fit.task import COMPARED, Task

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


_LEFT_OUT = (0.2, 0.4)
_FEWEST = 5  # runs outside from which a split tells a rate
_NEAR = 0.1  # distance below which a run is as good as inside
_LEVEL = 0.9


def misfit(point: Fit) -> Misfit | None:
    """Learn the misfit of a law from refits without the largest, longest and dearest runs, and
    without the strongest teachers; None where no split leaves enough runs on both sides.

    Each refit predicts what was left out. A run that is off by e, a way w outside, where the
    refit's own runs scatter by s (their 90% half width), asks for ``sqrt(e^2 - s^2) / w``; a
    split's rate is the 90% quantile, a quantity's rate the mean of its splits', and the largest of
    the others' where it has none.
    """
    rates: dict[str, list[float]] = {}
    for name, out in _splits(point.task.rows):
        kept = point.task.rows.take(~out)
        if len(kept) <= 2 * len(point.task.free):
            continue
        start = {name: point.values[name] for name in point.task.free}
        try:
            inner = fit(replace(point.task, rows=kept), point.protocol, start=start)
        except PlannerError:  # the rest determines no law
            continue
        rate = _rate(inner, point.task.rows.take(out), name)
        if rate is not None:
            rates.setdefault(name, []).append(rate)
    if not rates:
        return None
    means = {name: float(np.mean(each)) for name, each in rates.items()}
    rest, splits = max(means.values()), sum(map(len, rates.values()))
    by_name = {n: float(f"{means.get(n, rest):.4g}") for n in _quantities(point.task.rows)}
    return replace(
        _about(point.task.rows),
        parameters_rate=by_name["parameters"],
        tokens_rate=by_name["tokens"],
        flops_rate=by_name["flops"],
        teacher_rate=by_name.get("teacher", 0.0),
        splits=splits,
    )


def _about(rows: Rows) -> Misfit:
    """The ranges of these runs, with no rates yet."""
    teacher = rows.teacher_loss
    return Misfit(
        _range(rows.parameters), _range(rows.tokens), _range(rows.parameters * rows.tokens),
        0.0, 0.0, 0.0, None if teacher is None else _range(teacher),
    )  # fmt: skip


def _rate(inner: Fit, rest: Rows, name: str) -> float | None:
    kept = inner.task.rows
    way = _about(kept).ways(rest.parameters, rest.tokens, rest.teacher_loss)[name]
    far = way > _NEAR
    if int(far.sum()) < _FEWEST:
        return None
    off = np.abs(predict(inner, rest) - rest.log_loss)[far]
    scatter = float(np.quantile(np.abs(inner.residuals[: len(kept)]), _LEVEL))
    asked = np.sqrt(np.maximum(off**2 - scatter**2, 0.0)) / way[far]
    return float(np.quantile(asked, _LEVEL))


def _quantities(rows: Rows) -> dict[str, Array]:
    """What a run can have more of than all others; of a teacher's loss, less."""
    found = {
        "parameters": rows.parameters,
        "tokens": rows.tokens,
        "flops": rows.parameters * rows.tokens,
    }
    return found if rows.teacher_loss is None else {**found, "teacher": -rows.teacher_loss}


def _splits(rows: Rows) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Which runs to leave out, by what they have most of."""
    for share in _LEFT_OUT:
        for name, values in _quantities(rows).items():
            yield name, np.asarray(values > np.quantile(values, 1.0 - share))


def _range(values: Array) -> tuple[float, float]:
    return float(f"{values.min():.6g}"), float(f"{values.max():.6g}")
