"""Coefficients and the coordinates in which they are fitted.

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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from laws._types import Array, Real

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
