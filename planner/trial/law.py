"""The laws fitted to a handful of small runs, with the published exponents as priors.

A ladder of a dozen runs cannot determine fifteen coefficients. So the posterior mode is taken:
least squares on log cross-entropies, each run believed to 1%, plus a Gaussian prior on every fitted
number. Exponents (alpha, beta, gamma, their primed namesakes, c0) are centred on the base set with
a spread of 30%, d1 of 5%; the scale of each power-law term at the ladder's middle run is nearly
free (a factor of 20), E is within a factor of two; c1 and f1 are held. Intervals come from draws of
the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from coefficients.model import Source
from laws import DistillationLaw, ForwardFlops, SupervisedLaw
from laws.architecture import Family
from planner.trial.design import Arm, Design

Array = NDArray[np.float64]

BELIEVED = 0.01
"""Relative error of a run, of the law included: the accuracy that the law claims for itself."""

DRAWS, CHAIN = 400, 600
EXPONENT_SPREAD, SCALE_SPREAD, FLOOR_SPREAD, GAP_SPREAD = 0.3, 3.0, 0.7, 0.05

_SUPERVISED = ("E", "alpha", "beta", "gamma", "size", "data")
_DISTILLED = ("alpha", "beta", "gamma", "size", "data", "c0", "d1")


@dataclass(frozen=True)
class Row:
    """One measured run. `teacher` is the teacher's measured cross-entropy, None if supervised."""

    parameters: float
    tokens: float
    loss: float
    teacher: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Fitted laws: the mode, and draws around it (laws whose coefficients are arrays).

    rms: relative error on the ladder itself. error: what a run is believed to deviate by.
    """

    law: DistillationLaw
    draws: DistillationLaw
    rms: float
    error: float
    rows: int

    def coefficients(self, flops: ForwardFlops, family: Family) -> CoefficientSet:
        """The mode as a set that the solver takes, with the trial's own convention of FLOPs."""
        source = Source("Calibrated on this machine", location=f"{self.rows} small runs")
        return CoefficientSet(
            "calibrated", self.law.supervised, flops, self.law, family, source=source
        )

    def supervised(self, parameters: float, tokens: float) -> tuple[float, Array]:
        """Predicted cross-entropy, and draws of what a run would measure."""
        return (
            float(self.law.supervised.loss(parameters, tokens)),
            self.draws.supervised.loss(parameters, tokens),
        )

    def distilled(
        self, parameters: float, tokens: float, teacher: tuple[float, float]
    ) -> tuple[float, Array]:
        """The same for a student of a teacher of (parameters, tokens), itself predicted."""
        own, drawn = self.supervised(*teacher)
        return (
            float(self.law.loss(parameters, tokens, own)),
            self.draws.loss(parameters, tokens, drawn),
        )

    def arm(self, design: Design, arm: Arm) -> tuple[float, Array]:
        """The same for an allocation, its teacher predicted as well."""
        size, tokens = design.parameters(arm.layers), float(arm.tokens)
        if arm.teacher_layers is None or arm.teacher_tokens is None:
            return self.supervised(size, tokens)
        teacher = (design.parameters(arm.teacher_layers), float(arm.teacher_tokens))
        return self.distilled(size, tokens, teacher)

    def noise(self, seed: int = 1) -> Array:
        """Draws of the factor by which one run deviates from the law."""
        return np.asarray(np.exp(self.error * np.random.default_rng(seed).standard_normal(DRAWS)))


def calibrate(rows: Sequence[Row], base: CoefficientSet) -> Calibration:
    """Fit both laws jointly to supervised and distilled runs."""
    from scipy import optimize

    law = base.distillation
    assert isinstance(law, DistillationLaw)
    frame = _Frame(rows, law, base.supervised)
    result = optimize.least_squares(frame.residuals, np.zeros(frame.size), x_scale="jac")
    mode = np.asarray(result.x)
    deviations = frame.deviations(mode)
    rms = float(np.sqrt(np.mean(deviations**2)))
    error = max(BELIEVED, rms)
    factor = np.linalg.cholesky(np.linalg.inv(result.jac.T @ result.jac))
    draws = frame.law(_sample(frame, mode, factor, error))
    return Calibration(frame.law(mode), draws, rms, error, len(rows))


def _sample(frame: _Frame, mode: Array, factor: Array, error: float) -> Array:
    """Draws of the posterior, (DRAWS, size): as many Metropolis chains, each from the mode.

    The surface is curved where the ladder says little, so that a normal distribution around the
    mode would reach far beyond what the runs allow.
    """
    rng = np.random.default_rng(0)
    z = np.repeat(mode[None], DRAWS, axis=0)
    energy = frame.energy(z, error)
    reach = 1.7 / np.sqrt(frame.size) * max(1.0, error / BELIEVED)
    for _ in range(CHAIN):
        proposed = z + reach * rng.standard_normal(z.shape) @ factor.T
        found = frame.energy(proposed, error)
        taken = np.log(rng.random(DRAWS)) < energy - found
        z = np.where(taken[:, None], proposed, z)
        energy = np.where(taken, found, energy)
    return z


class _Frame:
    """Fitted numbers z: 0 is the prior's centre, 1 its spread, all of them logarithms."""

    def __init__(
        self, rows: Sequence[Row], law: DistillationLaw, supervised: SupervisedLaw
    ) -> None:
        self.base, self.base_supervised = law, supervised
        self.parameters = np.array([row.parameters for row in rows])
        self.tokens = np.array([row.tokens for row in rows])
        self.log_loss = np.log([row.loss for row in rows])
        self.distilled = np.array([row.teacher is not None for row in rows])
        self.teacher = np.array([row.teacher if row.teacher else row.loss for row in rows])
        self.origin = (
            float(np.mean(np.log(self.parameters))),
            float(np.mean(np.log(self.tokens))),
        )
        self.size = len(_SUPERVISED) + len(_DISTILLED)

    def residuals(self, z: Array) -> Array:
        """Deviations in units of the belief, then the prior's."""
        return np.concatenate([self.deviations(z) / BELIEVED, z])

    def energy(self, z: Array, error: float) -> Array:
        """Minus the log of the posterior, up to a constant, for z of (draws, size)."""
        fit = np.sum((self.deviations(z[:, None, :]) / error) ** 2, axis=1)
        return np.asarray(0.5 * (np.nan_to_num(fit, nan=np.inf) + np.sum(z**2, axis=1)))

    def deviations(self, z: Array) -> Array:
        """log predicted - log measured of every run; students with their teachers as measured."""
        law = self.law(z)
        supervised = law.supervised.loss(self.parameters, self.tokens)
        distilled = law.loss(self.parameters, self.tokens, self.teacher)
        predicted = np.where(self.distilled, distilled, supervised)
        return np.asarray(np.log(predicted) - self.log_loss)

    def law(self, z: Array) -> DistillationLaw:
        """Both laws at z, (size,), or a batch of laws for z of (draws, size)."""
        parts = np.moveaxis(np.asarray(z), -1, 0)
        s = dict(zip(_SUPERVISED, parts[: len(_SUPERVISED)], strict=True))
        d = dict(zip(_DISTILLED, parts[len(_SUPERVISED) :], strict=True))
        law, supervised = self.base, self.base_supervised
        fitted = SupervisedLaw(
            E=supervised.E * np.exp(FLOOR_SPREAD * s["E"]), **self._power(supervised, s)
        )
        return DistillationLaw(
            fitted,
            **self._power(law, d),
            c0=law.c0 * np.exp(EXPONENT_SPREAD * d["c0"]),
            c1=law.c1,
            d1=law.d1 * np.exp(GAP_SPREAD * d["d1"]),
            f1=law.f1,
        )

    def _power(
        self, base: SupervisedLaw | DistillationLaw, z: dict[str, Array]
    ) -> dict[str, Array]:
        """A, B, alpha, beta, gamma; the terms' scales are those at the ladder's middle run."""
        alpha, beta, gamma = (
            getattr(base, name) * np.exp(EXPONENT_SPREAD * z[name])
            for name in ("alpha", "beta", "gamma")
        )
        log_n, log_d = self.origin
        size = np.log(base.A) - base.alpha * log_n + SCALE_SPREAD * z["size"]
        data = np.log(base.B) - base.beta * log_d + SCALE_SPREAD * z["data"]
        return {
            "A": np.exp(size + alpha * log_n),
            "B": np.exp(data + beta * log_d),
            "alpha": alpha,
            "beta": beta,
            "gamma": gamma,
        }
