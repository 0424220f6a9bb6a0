"""What a fit learns of itself by extrapolating: an error that grows with the distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coefficients.misfit import Misfit
from laws._types import Array
from planner.errors import PlannerError
from planner.fit.estimate import Fit, fit
from planner.fit.judge import predict
from planner.fit.rows import Rows

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
