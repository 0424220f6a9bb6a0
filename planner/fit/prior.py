"""A Gaussian prior on the coordinates of a fit: what is known before any run.

To the solver it is one more measurement per coordinate. With L L^T the prior's covariance and s the
scatter of runs, ``s L^-1 (theta - mean)`` is a residual like a run's: least squares over both is
the posterior mode, and Huber's function makes runs and prior robust alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from laws._types import Array
from planner.fit.solver import Predictor


@dataclass(frozen=True)
class Prior:
    """mean (P,) and covariance (P, P) of a model's coordinates; noise: relative standard deviation
    of a run about the law, by which prior and runs are weighed against each other."""

    mean: Array
    covariance: Array
    noise: float

    @cached_property
    def root(self) -> Array:
        """The covariance's Cholesky factor, (P, P)."""
        return np.asarray(np.linalg.cholesky(self.covariance))

    @cached_property
    def whitening(self) -> Array:
        """Its inverse: from deviations to independent ones of variance 1, (P, P)."""
        return np.asarray(np.linalg.inv(self.root))

    def over(self, model: Predictor) -> WithPrior:
        """The model with the prior's residuals behind the runs'."""
        return WithPrior(model, self)

    def beside(self, observed: Array) -> Array:
        """Measured log losses (n,) followed by the prior's own, which are zero, (n + P,)."""
        return np.concatenate([observed, np.zeros(self.mean.size)])

    def starts(self) -> Array:
        """The mean, and one standard deviation either way along each factor, (2 P + 1, P)."""
        return np.vstack([self.mean, self.mean + self.root.T, self.mean - self.root.T])


@dataclass(frozen=True)
class WithPrior:
    """Predictions of runs, and of the prior's coordinates as if they were runs."""

    model: Predictor
    prior: Prior

    @property
    def lower(self) -> Array:
        """Lower bounds of the coordinates, (P,)."""
        return self.model.lower

    @property
    def upper(self) -> Array:
        """Upper bounds of the coordinates, (P,)."""
        return self.model.upper

    def predict(self, theta: Array) -> Array:
        """Log losses, then the prior's residuals, (B, n + P)."""
        return np.concatenate([self.model.predict(theta), self._own(theta)], axis=1)

    def evaluate(self, theta: Array) -> tuple[Array, Array]:
        """The same and its Jacobian, (B, P, n + P)."""
        predicted, jacobian = self.model.evaluate(theta)
        scaled = self.prior.noise * self.prior.whitening.T
        own = np.broadcast_to(scaled, (theta.shape[0], *scaled.shape))
        values = np.concatenate([predicted, self._own(theta)], axis=1)
        return values, np.concatenate([jacobian, own], axis=2)

    def _own(self, theta: Array) -> Array:
        prior = self.prior
        return np.asarray(prior.noise * (theta - prior.mean) @ prior.whitening.T)
