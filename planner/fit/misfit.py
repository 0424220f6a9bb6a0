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
    """Learn the misfit of a law from refits without the dearest, largest, longest runs, and without
    the strongest teachers; None where no split leaves enough runs on both sides.

    Each refit predicts what was left out. A run that is off by e at distance d, where the refit's
    own runs scatter by s (their 90% half width), asks for a rate of ``sqrt(e^2 - s^2) / d``; a
    split's rate is the 90% quantile, the law's rate the mean of the splits'.
    """
    rates = []
    for out in _splits(point.task.rows):
        kept = point.task.rows.take(~out)
        if len(kept) <= 2 * len(point.task.free):
            continue
        start = {name: point.values[name] for name in point.task.free}
        try:
            inner = fit(replace(point.task, rows=kept), point.protocol, start=start)
        except PlannerError:  # the rest determines no law
            continue
        rates += _rate(inner, point.task.rows.take(out))
    if not rates:
        return None
    return ranges(point.task.rows, float(np.mean(rates)), len(rates))


def ranges(rows: Rows, rate: float, splits: int) -> Misfit:
    """A misfit about these runs."""
    teacher = rows.teacher_loss
    return Misfit(
        float(f"{rate:.4g}"), _range(rows.parameters), _range(rows.tokens),
        _range(rows.parameters * rows.tokens), None if teacher is None else _range(teacher), splits,
    )  # fmt: skip


def _rate(inner: Fit, rest: Rows) -> list[float]:
    kept = inner.task.rows
    about = ranges(kept, 0.0, 0)
    distance = about.distance(rest.parameters, rest.tokens, rest.teacher_loss)
    far = distance > _NEAR
    if int(far.sum()) < _FEWEST:
        return []
    off = np.abs(predict(inner, rest) - rest.log_loss)[far]
    scatter = float(np.quantile(np.abs(inner.residuals[: len(kept)]), _LEVEL))
    asked = np.sqrt(np.maximum(off**2 - scatter**2, 0.0)) / distance[far]
    return [float(np.quantile(asked, _LEVEL))]


def _splits(rows: Rows) -> Iterator[NDArray[np.bool_]]:
    """Which runs to leave out, by what they have most of."""
    for share in _LEFT_OUT:
        yield _most(rows.parameters * rows.tokens, share)
        yield _most(rows.parameters, share)
        yield _most(rows.tokens, share)
        if rows.teacher_loss is not None:
            yield _most(-rows.teacher_loss, share)


def _most(values: Array, share: float) -> NDArray[np.bool_]:
    return np.asarray(values > np.quantile(values, 1.0 - share))


def _range(values: Array) -> tuple[float, float]:
    return float(f"{values.min():.6g}"), float(f"{values.max():.6g}")
