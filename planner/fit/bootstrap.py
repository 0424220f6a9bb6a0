"""Resampled fits: a resample is a row of weights, and chunks of rows are fitted as one batch."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laws._types import Array
from planner.errors import ProblemError
from planner.files import write_whole
from planner.fit.estimate import Fit, bound_mask, coefficient_draws, solve_resamples
from planner.fit.rows import Rows

CHUNK = 64
"""Resamples per batch: small enough for the processor's cache. Results do not depend on threads."""

_TOLERANCE = 1e-9
_ITERATIONS = 150


@dataclass(frozen=True)
class Bootstrap:
    """Draws of the coefficients, one row per resample; equal indices belong together.

    draws: name -> (R,). converged, bound_hits: share of resamples that ended at a stationary point,
    and per coordinate the share that ended on a bound. groups: how many groups were resampled, of
    the kind of run that has fewest. centre: the point fit's values.
    """

    draws: Mapping[str, Array]
    theta: Array
    seed: int
    by: str
    converged: float
    bound_hits: Mapping[str, float]
    level: float = 0.9
    groups: int = 0
    centre: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of resamples."""
        return int(self.theta.shape[0])

    def central(self, name: str) -> tuple[float, float]:
        """The central part of a coefficient's draws."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(self.draws[name], [tail, 1.0 - tail])
        return float(low), float(high)

    def interval(self, name: str) -> tuple[float, float]:
        """The interval of a coefficient: the central draws and their mirror image about the fit.

        A nonlinear fit to few runs is biased (c0 comes out high, f1 low), and resamples repeat the
        bias: they lie on the far side of the estimate from the truth, which their mirror image
        covers. Factors are mirrored, for c0 differences.
        """
        low, high = self.central(name)
        best = self.centre.get(name)
        if best is None:
            return low, high
        if name.endswith("c0") or min(low, best) <= 0:
            return max(min(low, 2.0 * best - high), 0.0), max(high, 2.0 * best - low)
        return mirrored(low, high, best)


def mirrored(low: float, high: float, best: float) -> tuple[float, float]:
    """A positive range together with its mirror image about the best value, as factors.

    A range that reaches zero has no mirror image and is returned as it is, with the best value in.
    """
    if min(low, best) <= 0:
        return min(low, best), max(high, best)
    return min(low, best * best / high), max(high, best * best / low)


def bootstrap(
    point: Fit,
    resamples: int = 4096,
    seed: int = 0,
    by: str = "run",
    partial: Path | None = None,
    threads: int | None = None,
) -> Bootstrap:
    """Refit `resamples` times with runs (or groups of runs) drawn with replacement.

    by: "run", "group" (the file's group column) or "size" (all runs of one student size together).
    partial: a file that keeps finished chunks, so that an interrupted bootstrap goes on where it
    stopped; it is removed at the end.
    """
    if seed < 0:
        raise ProblemError(f"the seed is {seed}; give a whole number from 0.")
    if resamples < 2:
        raise ProblemError(f"a bootstrap needs at least 2 resamples, not {resamples}.")
    weights = resample_weights(point, resamples, seed, by)
    key = _key(point, weights)
    theta = np.full((resamples, point.theta.size), np.nan)
    converged = np.zeros(resamples, dtype=bool)
    _resume(partial, key, theta, converged)
    model = point.model

    def run(first: int) -> tuple[int, Array, NDArray[np.bool_]]:
        part = weights[first : first + CHUNK].astype(float)
        solution = solve_resamples(point, part, _TOLERANCE, _ITERATIONS)
        return first, solution.theta, solution.converged

    todo = [n for n in range(0, resamples, CHUNK) if np.isnan(theta[n : n + CHUNK]).any()]
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for count, (first, found, ok) in enumerate(pool.map(run, todo), start=1):
            theta[first : first + CHUNK] = found
            converged[first : first + CHUNK] = ok
            if partial is not None and count % 8 == 0 and count < len(todo):
                save_arrays(partial, key=key, theta=theta, converged=converged)
    if partial is not None:
        partial.unlink(missing_ok=True)
    hits = bound_mask(model, theta).mean(axis=0)
    return Bootstrap(
        draws=coefficient_draws(point.task, model, theta),
        theta=theta,
        seed=seed,
        by=by,
        converged=float(converged.mean()),
        bound_hits=dict(zip(model.names, map(float, hits), strict=True)),
        centre=dict(point.values),
        groups=min(int(group_labels(rows, by).max()) + 1 for rows in _kinds(point)),
    )


def resample_weights(point: Fit, resamples: int, seed: int, by: str) -> NDArray[np.int16]:
    """How often each run occurs in each resample, (R, n); kinds of runs are drawn separately."""
    generator = np.random.default_rng(seed)
    parts = [_weights(point.task.rows, resamples, by, generator)]
    if point.task.supervised_rows is not None:
        parts.append(_weights(point.task.supervised_rows, resamples, by, generator))
    return np.concatenate(parts, axis=1)


def _kinds(point: Fit) -> list[Rows]:
    rows = [point.task.rows]
    return rows if point.task.supervised_rows is None else [*rows, point.task.supervised_rows]


def _weights(
    rows: Rows, resamples: int, by: str, generator: np.random.Generator
) -> NDArray[np.int16]:
    labels = group_labels(rows, by)
    groups = int(labels.max()) + 1
    if groups < 3:
        raise ProblemError(
            f"a bootstrap by {by} needs at least 3 groups; these runs have {groups}."
        )
    counts = generator.multinomial(groups, np.full(groups, 1.0 / groups), size=resamples)
    return np.asarray(counts.astype(np.int16)[:, labels])


def group_labels(rows: Rows, by: str) -> NDArray[np.int64]:
    """Group number of each run, from 0."""
    if by == "run":
        return np.arange(len(rows))
    if by == "size":
        return np.asarray(np.unique(rows.parameters, return_inverse=True)[1])
    if by == "group":
        if rows.group is None:
            raise ProblemError("--bootstrap-by group needs a column named 'group' in the runs.")
        return np.asarray(np.unique(rows.group, return_inverse=True)[1])
    raise ProblemError(f"unknown --bootstrap-by '{by}'; known: run, size, group.")


def save_arrays(path: Path, **arrays: Array | NDArray[np.bool_] | str) -> None:
    """Write an .npz file in one go: readers see the old file or the new one, never half."""
    content = io.BytesIO()
    plain: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(content, **plain)
    write_whole(path, content.getvalue())


def _key(point: Fit, weights: NDArray[np.int16]) -> str:
    """Everything a draw depends on."""
    digest = hashlib.sha256(weights.tobytes())
    for array in (point.theta, point.task.observed, point.task.rows.parameters):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((point.protocol, point.model.names, np.__version__)).encode())
    return digest.hexdigest()


def _resume(partial: Path | None, key: str, theta: Array, converged: NDArray[np.bool_]) -> None:
    """Take over finished chunks; a file of another fit is ignored and will be overwritten."""
    if partial is None or not partial.is_file():
        return
    try:
        with np.load(partial) as stored:
            if str(stored["key"]) == key and stored["theta"].shape == theta.shape:
                theta[...] = stored["theta"]
                converged[...] = stored["converged"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return  # not a file of ours, or damaged: start over
