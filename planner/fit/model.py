"""Predicted log cross-entropies of a whole batch of coefficient vectors, with derivatives.

Shapes: B coefficient vectors, P coordinates, n runs; predictions (B, n), Jacobians (B, P, n).
Formulas are Eq. 1 and Eq. 49 of Busbridge et al. 2025, derivatives taken by hand. Any other law is
evaluated through itself, its derivatives by differences of fourth order.

Positive coefficients are fitted as logarithms; c0 as it is. Two groups get coordinates of their
own, unless the user fixes or bounds one of their members.

The power law ``(A/N^alpha + B/D^beta)^gamma`` is fitted through its value ``exp(h)`` at a reference
run (N0, D0), its two slopes P and Q there (minus the derivatives of its log in log N, log D), the
odds ``exp(s)`` of its size term to its data term there, and gamma. Value and slopes are well
determined by data; gamma and s only bend the surface, and the long curved valleys of the raw
coefficients (alpha gamma = const and others) become straight.

The capacity gap of Eq. 8,

    g = c1 f1 log(1 + x),   x = (L_T / (Lsup d1))^(1/f1),

tends to ``K (L_T / Lsup)^(1/f1)`` for c1 -> inf with ``K = c1 f1 d1^(-1/f1)`` held: c1 and d1 run
off together along a valley that has no bottom. So the gap is fitted in (K, eps, f1) with
``eps = d1^(-1/f1)``: K is well determined, and the runaway becomes the plain bound eps -> 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from laws._types import Array, Real
from planner.fit.rows import Rows

Range = tuple[float, float]

EPS_SHIFT = 0.01
"""eps is fitted as log(eps + shift): logarithmic where it matters, linear near its bound."""

DEFAULT_BOUNDS: dict[str, Range] = {
    "E": (1e-4, 50.0),
    "A": (1e-6, 1e30),
    "B": (1e-6, 1e30),
    "alpha": (1e-3, 10.0),
    "beta": (1e-3, 10.0),
    "gamma": (0.05, 20.0),
    "c0": (0.0, 50.0),
    "c1": (1e-4, 1e15),
    "d1": (1e-2, 1e3),
    "f1": (2e-3, 10.0),
    "K": (1e-9, 1e4),
    "eps": (1e-5, 1e6),
    "h": (-60.0, 60.0),
    "s": (-12.0, 12.0),
    "P": (1e-4, 10.0),
    "Q": (1e-4, 10.0),
}
"""Wider than any sensible law; an optimum that rests on one of them is reported."""

ANY_BOUNDS: Range = (1e-9, 1e30)
"""Of a coefficient of which neither this module nor its law says more."""

PRIOR = {
    "E": 0.5, "h": 1.0, "P": 1.0, "Q": 1.0, "s": 2.0, "gamma": 0.7, "c0": 2.0, "K": 1.5, "eps": 1.5,
    "f1": 0.7, "A": 5.0, "B": 5.0, "alpha": 0.7, "beta": 0.7, "c1": 5.0, "d1": 0.7,
}  # fmt: skip
"""Standard deviations of the coordinates before any run: wide, so that only unseen directions feel
them, and finite, so that a design can start from nothing."""

ANY_PRIOR = 2.0
"""The same of a coefficient that the table does not know."""

SUPERVISED_PREFIX = "supervised."
POWER = ("A", "B", "alpha", "beta", "gamma")
SUPERVISED = ("E", "A", "B", "alpha", "beta", "gamma")
DISTILLATION = ("A", "B", "alpha", "beta", "gamma", "c0", "c1", "d1", "f1")


@dataclass(frozen=True)
class Coordinate:
    """One fitted number. `name` is "A", or "supervised.A" in a joint fit; `kind` its scale."""

    name: str
    kind: str  # "log", "linear" or "shifted"
    bounds: Range

    def encode(self, value: Real) -> Array:
        """From the coefficient to the coordinate."""
        value = np.asarray(value, dtype=float)
        if self.kind == "linear":
            return value
        shift = EPS_SHIFT if self.kind == "shifted" else 0.0
        return np.asarray(np.log(value + shift))

    def decode(self, coordinate: Array) -> Array:
        """From the coordinate to the coefficient, clipped so that rounding stays in bounds."""
        if self.kind == "linear":
            return coordinate
        value = np.exp(coordinate)
        if self.kind == "shifted":
            value = value - EPS_SHIFT
        return np.asarray(np.clip(value, *self.bounds))

    def slope(self, value: Array) -> Array:
        """d coefficient / d coordinate at a coefficient."""
        if self.kind == "linear":
            return np.ones_like(value)
        return value + EPS_SHIFT if self.kind == "shifted" else value


_KINDS = {"E": "linear", "c0": "linear", "h": "linear", "s": "linear", "eps": "shifted"}


def coordinate(name: str, bounds: Range | None = None, zero: bool = False) -> Coordinate:
    """The coordinate of a coefficient, with its usual bounds narrowed by the user's.

    zero: the coefficient may be zero, and so has no logarithm.
    """
    own = name.rpartition(".")[2]
    low, high = usual_bounds(own, zero) if bounds is None else bounds
    return Coordinate(name, "linear" if zero else _KINDS.get(own, "log"), (low, high))


def usual_bounds(name: str, zero: bool = False) -> Range:
    """The widest range of a coefficient that no law and no user confines."""
    low, high = DEFAULT_BOUNDS.get(name.rpartition(".")[2], ANY_BOUNDS)
    return (0.0, min(high, 1e3)) if zero else (low, high)


def prior_width(name: str) -> float:
    """The standard deviation of a coordinate before any run."""
    return PRIOR.get(name.rpartition(".")[2], ANY_PRIOR)


def gap_to_internal(c1: Real, d1: Real, f1: Real) -> tuple[Array, Array]:
    """(K, eps) of (c1, d1, f1)."""
    eps = np.exp(-np.log(d1) / f1)
    return np.asarray(c1 * f1 * eps), np.asarray(eps)


def gap_to_natural(K: Real, eps: Real, f1: Real) -> tuple[Array, Array]:
    """(c1, d1) of (K, eps, f1)."""
    return np.asarray(K / (eps * f1)), np.asarray(np.exp(-np.log(eps) * f1))


def power_to_natural(
    h: Real, P: Real, Q: Real, s: Real, gamma: Real, origin: tuple[float, float]
) -> dict[str, Array]:
    """A, B, alpha, beta of value, slopes and odds at the reference run (log N0, log D0)."""
    log_size, log_data = -np.logaddexp(0.0, -np.asarray(s)), -np.logaddexp(0.0, np.asarray(s))
    alpha = np.asarray(P / (gamma * np.exp(log_size)))
    beta = np.asarray(Q / (gamma * np.exp(log_data)))
    with np.errstate(over="ignore"):
        return {
            "A": np.asarray(np.exp(h / gamma + log_size + alpha * origin[0])),
            "B": np.asarray(np.exp(h / gamma + log_data + beta * origin[1])),
            "alpha": alpha,
            "beta": beta,
        }


def power_to_internal(
    A: Real, B: Real, alpha: Real, beta: Real, gamma: Real, origin: tuple[float, float]
) -> dict[str, Array]:
    """The inverse of `power_to_natural`."""
    by_size = np.log(A) - np.asarray(alpha) * origin[0]
    by_data = np.log(B) - np.asarray(beta) * origin[1]
    s = np.asarray(by_size - by_data)
    return {
        "h": np.asarray(gamma * np.logaddexp(by_size, by_data)),
        "P": np.asarray(gamma * alpha / (1.0 + np.exp(-s))),
        "Q": np.asarray(gamma * beta / (1.0 + np.exp(s))),
        "s": s,
    }


def natural(values: Mapping[str, Array], origin: tuple[float, float]) -> dict[str, Array]:
    """Coefficients as the laws name them, whatever coordinates were fitted."""
    found = dict(values)
    for prefix in ("", SUPERVISED_PREFIX):
        if {prefix + name for name in ("h", "P", "Q", "s", "gamma")} <= {*found}:
            h, P, Q, s = (found.pop(prefix + name) for name in ("h", "P", "Q", "s"))
            back = power_to_natural(h, P, Q, s, found[prefix + "gamma"], origin)
            found |= {prefix + name: value for name, value in back.items()}
    if {"K", "eps", "f1"} <= {*found}:
        found["c1"], found["d1"] = gap_to_natural(found.pop("K"), found.pop("eps"), found["f1"])
    return found


def internal(
    values: Mapping[str, Real], names: tuple[str, ...], origin: tuple[float, float]
) -> dict[str, Array]:
    """The inverse of `natural` for the coordinates named."""
    found = {name: np.asarray(value, dtype=float) for name, value in values.items()}
    for prefix in ("", SUPERVISED_PREFIX):
        if prefix + "h" in names and prefix + "h" not in found:
            A, B, alpha, beta, gamma = (found[prefix + name] for name in POWER)
            inner = power_to_internal(A, B, alpha, beta, gamma, origin)
            found |= {prefix + name: value for name, value in inner.items()}
    if "K" in names and "K" not in found:
        found["K"], found["eps"] = gap_to_internal(found["c1"], found["d1"], found["f1"])
    return {name: found[name] for name in names}


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
