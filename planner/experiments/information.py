"""What runs tell about a law, to first order: Jacobians, covariances, and shares of information.

Everything happens in the fitter's coordinates (planner.fit.model), where the law is nearly
linear over the uncertainty that matters and a plain prior makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._types import Array
from planner.fit.model import natural, prior_width
from planner.fit.rows import Rows
from planner.fit.task import Task


@dataclass(frozen=True)
class Discrepancy:
    """How far the law itself may be off for one student size and token count, in relative loss.

    Runs of the same size and tokens share this error and near ones part of it (`reach` is the
    distance in log N and log D at which the correlation has fallen to 0.61), so repeating a student
    tells ever less, and students that were never run stay uncertain. Runs far from the targets
    count less (`trust`): a law is believed over a factor of e, not of 100. Without both a design
    trusts the law's form blindly and buys tiny runs only.
    """

    spread: float = 0.003
    reach: float = 0.4


def jacobian(task: Task, theta: Array, rows: Rows) -> Array:
    """d log L / d coordinate at runs of the form's own kind, (n, P)."""
    return np.asarray(task.model(rows).evaluate(theta[None])[1][0].T)


def prior_precision(names: tuple[str, ...]) -> Array:
    """The precision matrix before any run, (P, P)."""
    return np.diag([prior_width(name) ** -2.0 for name in names])


def cells_of(*rows: Rows) -> Array:
    """Distinct (log N, log D) of several sets of runs, (m, 2)."""
    every = [np.stack([each.log_parameters, each.log_tokens], axis=1) for each in rows]
    return np.unique(np.concatenate(every).round(9), axis=0)


def with_discrepancy(jacobians: Array, rows: Rows, cells: Array, wide: Discrepancy) -> Array:
    """Jacobians with one column more per cell, scaled so that each column's prior variance is 1."""
    apart = ((cells[:, None] - cells[None]) ** 2).sum(axis=2) / wide.reach**2
    kernel = np.exp(-0.5 * apart) + 1e-9 * np.eye(len(cells))
    root = wide.spread * np.linalg.cholesky(kernel)
    own = np.stack([rows.log_parameters, rows.log_tokens], axis=1).round(9)
    place = (own[:, None] == cells[None]).all(axis=2).argmax(axis=1)
    return np.concatenate([jacobians, root[place]], axis=1)


_TEACHER_SCALE = 3.0  # a teacher's loss of one part in three off is as far as a size of factor e


def trust(rows: Rows, targets: Rows) -> Array:
    """1 / (1 + squared distance to the nearest target) in log N, log D and 3 log L_T, (n,)."""
    here, there = _place(rows), _place(targets)
    away = ((here[:, None] - there[None]) ** 2).sum(axis=2).min(axis=1)
    return np.asarray(1.0 / (1.0 + away))


def _place(rows: Rows) -> Array:
    columns = [rows.log_parameters, rows.log_tokens]
    if rows.teacher_loss is not None:
        columns.append(_TEACHER_SCALE * rows.log_teacher)
    return np.stack(columns, axis=1)


def covariance(jacobians: Array, noise: float, precision: Array) -> Array:
    """Covariance of the coordinates after runs with these Jacobians, (P, P)."""
    return np.asarray(np.linalg.inv(precision + jacobians.T @ jacobians / noise**2))


def natural_slopes(task: Task, theta: Array) -> tuple[tuple[str, ...], Array]:
    """Names of the free coefficients, and how their logarithms (c0 itself) move with the fitter's
    coordinates at theta, (F, P): what speaks of A and alpha instead of slopes and odds."""
    model, step = task.model(), 1e-4
    moved = theta[None, None] + step * np.array([-1.0, 1.0])[:, None, None] * np.eye(theta.size)
    ends = [natural(model.decode(each), task.origin) for each in moved]
    rows = []
    for name in task.free:
        low, high = (np.broadcast_to(end[name], (theta.size, 1))[:, 0] for end in ends)
        linear = name.endswith("c0") or min(low.min(), high.min()) <= 0
        rows.append((high - low if linear else np.log(high / low)) / (2.0 * step))
    return task.free, np.array(rows)


def shares(jacobians: Array, noise: float, cov: Array, slopes: Array | None = None) -> Array:
    """Which share of what is known of each coordinate each run contributes, (n, P).

    ``(C J_i)_p^2 / (noise^2 C_pp)``; over all runs and the prior a coordinate's shares sum to 1.
    slopes (F, P): of other numbers in the coordinates; then the shares are theirs, (n, F).
    """
    turned = cov if slopes is None else slopes @ cov
    own = np.diag(cov) if slopes is None else np.einsum("fp,fp->f", turned, slopes)
    return np.asarray((jacobians @ turned.T) ** 2 / (noise**2 * own))
