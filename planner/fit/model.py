"""Predicted log cross-entropies of a whole batch of coefficient vectors, with derivatives.

Shapes: B coefficient vectors, P coordinates, n runs; predictions (B, n), Jacobians (B, P, n).
Formulas are Eq. 1 and Eq. 49 of Busbridge et al. 2025, derivatives taken by hand. Any other law is
evaluated through itself, its derivatives by differences of fourth order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from laws._types import Array
from planner.fit.coordinates import Coordinate
from planner.fit.rows import Rows

Slopes = dict[str, Array]
_HUGE = 50.0  # a log cross-entropy beyond all sense, finite so that a fit can turn back
_DIFFERENCE = 1e-3  # of a coordinate, for derivatives


class Block(NamedTuple):
    """Logarithms of one kind of run, each (n,), and which law predicts it."""

    log_n: Array
    log_d: Array
    log_t: Array | None
    origin: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, rows: Rows, origin: tuple[float, float] = (0.0, 0.0)) -> Block:
        """From measured runs; `origin` is (log N0, log D0) of the branches' coordinates."""
        teacher = None if rows.teacher_loss is None else rows.log_teacher
        return cls(rows.log_parameters, rows.log_tokens, teacher, origin)


def supervised_log_loss(
    block: Block, p: Mapping[str, Array], prefix: str = "", derive: bool = True
) -> tuple[Array, Slopes]:
    """``log(E + (A/N^alpha + B/D^beta)^gamma)`` and its slopes in the coefficients."""
    E = p[prefix + "E"]
    log_power, slopes = _log_power(block, p, prefix, derive)
    power = np.exp(np.minimum(log_power, 600.0))
    loss = E + power
    if not derive:
        return np.log(loss), {}
    share = power / loss
    scaled = {name: share * slope for name, slope in slopes.items()}
    scaled[prefix + "E"] = 1.0 / loss
    return np.log(loss), scaled


def distillation_log_loss(
    block: Block,
    p: Mapping[str, Array],
    log_supervised: Array,
    supervised_slopes: Slopes,
    derive: bool = True,
) -> tuple[Array, Slopes]:
    """Eq. 49 and its slopes; `log_supervised` is log Lsup for the same runs."""
    t = block.log_t
    assert t is not None
    c0, f1 = p["c0"], p["f1"]
    log_power, slopes = _log_power(block, p, "", derive)
    gap, gap_slopes, gap_by_ratio = _gap(t - log_supervised, p, f1, derive)
    own = np.minimum(log_power - c0 * t - gap, 600.0)
    odds = np.exp(own - t)
    total = t + np.log(1.0 + odds)
    if not derive:
        return total, {}
    share = odds / (1.0 + odds)
    out = {name: share * slope for name, slope in slopes.items()}
    out["c0"] = -share * t
    out |= {name: -share * slope for name, slope in gap_slopes.items()}
    through_ratio = share * gap_by_ratio  # d log L_S / d log Lsup
    out |= {name: through_ratio * slope for name, slope in supervised_slopes.items()}
    return total, out


def _log_power(
    block: Block, p: Mapping[str, Array], prefix: str, derive: bool
) -> tuple[Array, Slopes]:
    """``gamma log(A/N^alpha + B/D^beta)`` and its slopes."""
    gamma = p[prefix + "gamma"]
    local = prefix + "h" in p
    n, d = block.log_n - block.origin[0], block.log_d - block.origin[1]
    if local:
        s = p[prefix + "s"]
        log_share, log_rest = -np.logaddexp(0.0, -s), -np.logaddexp(0.0, s)
        size_slope = p[prefix + "P"] * np.exp(-log_share)
        data_slope = p[prefix + "Q"] * np.exp(-log_rest)
        by_size = p[prefix + "h"] + gamma * log_share - size_slope * n
        by_data = p[prefix + "h"] + gamma * log_rest - data_slope * d
    else:
        by_size = gamma * (np.log(p[prefix + "A"]) - p[prefix + "alpha"] * block.log_n)
        by_data = gamma * (np.log(p[prefix + "B"]) - p[prefix + "beta"] * block.log_d)
    high = np.maximum(by_size, by_data)
    apart = np.exp(-np.abs(by_size - by_data) / gamma)
    soft = np.log(1.0 + apart)  # log1p is slow; absolute precision is enough here
    total = high + gamma * soft
    if not derive:
        return total, {}
    lesser = apart / (1.0 + apart)
    size_share = np.where(by_size >= by_data, 1.0 - lesser, lesser)
    data_share = 1.0 - size_share
    if local:
        mixing = soft + lesser * np.abs(by_size - by_data) / gamma  # entropy of the two shares
        share, rest = np.exp(log_share), np.exp(log_rest)
        return total, {
            prefix + "h": np.ones_like(total),
            prefix + "P": -size_share * n / share,
            prefix + "Q": -data_share * d / rest,
            prefix + "s": size_share * rest * (gamma + size_slope * n)
            - data_share * share * (gamma + data_slope * d),
            prefix + "gamma": mixing + size_share * log_share + data_share * log_rest,
        }
    return total, {
        prefix + "A": gamma * size_share / p[prefix + "A"],
        prefix + "B": gamma * data_share / p[prefix + "B"],
        prefix + "alpha": -gamma * size_share * block.log_n,
        prefix + "beta": -gamma * data_share * block.log_d,
        prefix + "gamma": total / gamma,
    }


def _gap(
    ratio: Array, p: Mapping[str, Array], f1: Array, derive: bool
) -> tuple[Array, Slopes, Array]:
    """``g = c1 f1 log(1 + (L_T / (Lsup d1))^(1/f1))``, its slopes, and dg / d log(L_T/Lsup)."""
    if "K" in p:
        K, eps = p["K"], p["eps"]
        y = np.exp(np.minimum(ratio / f1, 300.0))
        x = eps * y
        soft = np.log1p(x)
        gap = K * soft / eps
        if not derive:
            return gap, {}, gap
        by_z = K * y / (1.0 + x)  # dg / d log y
        return (
            gap,
            {"K": gap / K, "eps": (by_z - gap) / eps, "f1": -by_z * ratio / f1**2},
            by_z / f1,
        )
    c1, log_d1 = p["c1"], np.log(p["d1"])
    z = np.clip((ratio - log_d1) / f1, -300.0, 300.0)
    soft = np.logaddexp(0.0, z)
    gap = c1 * f1 * soft
    if not derive:
        return gap, {}, gap
    by_z = c1 * f1 / (1.0 + np.exp(-z))
    slopes = {"c1": f1 * soft, "d1": -by_z / (f1 * p["d1"]), "f1": c1 * soft - by_z * z / f1}
    return gap, slopes, by_z / f1


@dataclass(frozen=True)
class Model:
    """Everything needed to predict a set of runs from a coordinate vector.

    `fixed` holds the coefficients that are not fitted. `frozen_log_supervised` is log Lsup for the
    distillation runs where the supervised law is fixed, None in a joint fit. `joint` says that
    supervised runs follow the distillation runs.
    """

    coordinates: tuple[Coordinate, ...]
    fixed: Mapping[str, float]
    distillation: Block | None = None
    supervised: Block | None = None
    frozen_log_supervised: Array | None = None
    prefix: str = ""
    law: Callable[..., Any] | None = None
    """A law of coefficients by name, where it is to be evaluated through itself."""
    _lower: Array = field(init=False, repr=False, compare=False)
    _upper: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for side, name in ((0, "_lower"), (1, "_upper")):
            ends = [float(c.encode(c.bounds[side])) for c in self.coordinates]
            object.__setattr__(self, name, np.array(ends))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fitted coordinates."""
        return tuple(c.name for c in self.coordinates)

    @property
    def lower(self) -> Array:
        """Lower bounds of the coordinates, (P,)."""
        return self._lower

    @property
    def upper(self) -> Array:
        """Upper bounds of the coordinates, (P,)."""
        return self._upper

    def decode(self, theta: Array) -> dict[str, Array]:
        """Coefficients, each (B, 1), of coordinates (B, P); the fixed ones with them."""
        values: dict[str, Array] = {k: np.full((1, 1), v) for k, v in self.fixed.items()}
        for index, each in enumerate(self.coordinates):
            values[each.name] = each.decode(theta[:, index : index + 1])
        return values

    def predict(self, theta: Array) -> Array:
        """Predicted log cross-entropies, (B, n)."""
        return self._evaluate(theta, derive=False)[0]

    def evaluate(self, theta: Array) -> tuple[Array, Array]:
        """Predicted log cross-entropies (B, n) and their Jacobian in the coordinates (B, P, n)."""
        predicted, jacobian = self._evaluate(theta, derive=True)
        assert jacobian is not None
        return predicted, jacobian

    def _through_law(self, theta: Array) -> Array:
        """Log cross-entropies by the law itself, (B, n); far outside any sense, a huge loss."""
        block = self.distillation
        assert self.law is not None
        assert block is not None
        runs = [np.exp(block.log_n), np.exp(block.log_d)]
        runs += [] if block.log_t is None else [np.exp(block.log_t)]
        with np.errstate(all="ignore"):
            loss = self.law(**self.decode(theta)).loss(*runs)
            found = np.log(np.broadcast_to(loss, (theta.shape[0], block.log_n.size)))
        found = np.nan_to_num(found, nan=_HUGE, posinf=_HUGE, neginf=-_HUGE)
        return np.asarray(np.clip(found, -_HUGE, _HUGE))

    def _by_differences(self, theta: Array) -> tuple[Array, Array]:
        """Predictions (B, n) and their Jacobian (B, P, n), to about 1e-12 of a log loss.

        The five-point rule: ``(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / (12 h)``.
        """
        batch, size = theta.shape
        moves = np.multiply.outer([-2.0, -1.0, 1.0, 2.0], _DIFFERENCE * np.eye(size))
        moved = (theta[:, None, None] + moves).reshape(-1, size)
        every = self._through_law(np.concatenate([theta, moved]))
        f = every[batch:].reshape(batch, 4, size, every.shape[1])
        slopes = (8.0 * (f[:, 2] - f[:, 1]) - (f[:, 3] - f[:, 0])) / (12.0 * _DIFFERENCE)
        return every[:batch], slopes

    def _evaluate(self, theta: Array, derive: bool) -> tuple[Array, Array | None]:
        if self.law is not None:
            return self._by_differences(theta) if derive else (self._through_law(theta), None)
        p = self.decode(theta)
        parts: list[tuple[Array, Slopes]] = []
        if self.distillation is not None:
            log_sup = self.frozen_log_supervised
            slopes: Slopes = {}
            if log_sup is None:
                log_sup, slopes = supervised_log_loss(self.distillation, p, self.prefix, derive)
            parts.append(distillation_log_loss(self.distillation, p, log_sup, slopes, derive))
        if self.supervised is not None:
            parts.append(supervised_log_loss(self.supervised, p, self.prefix, derive))
        batch = theta.shape[0]
        sizes = [part[0].shape[1] for part in parts]
        predicted = np.empty((batch, sum(sizes)))
        jacobian = np.zeros((batch, len(self.coordinates), sum(sizes))) if derive else None
        start = 0
        for (values, own), size in zip(parts, sizes, strict=True):
            rows = slice(start, start + size)
            predicted[:, rows] = values
            if jacobian is not None:
                for index, each in enumerate(self.coordinates):
                    if each.name in own:
                        jacobian[:, index, rows] = own[each.name] * each.slope(p[each.name])
            start += size
        return predicted, jacobian
