"""How single runs scatter about a law: what turns a band for the law into one for a new run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._types import Array

_GOLDEN = 0.6180339887498949  # its multiples spread evenly and go with no order of the draws


@dataclass(frozen=True)
class Scatter:
    """Scatter of single runs about a fitted law.

    quantiles: of log(measured / law) over the fitted runs, evenly spaced from the lowest run to the
    highest, widened for the coefficients that were fitted to them. coverage: share of runs left out
    of the fit that lay in their 90% intervals for a new run, as found; coverage_law: in intervals
    of the law's value alone; coverage_sizes: in intervals for a new run with whole sizes left out.
    None where it was not checked.
    """

    quantiles: tuple[float, ...]
    coverage: float | None = None
    coverage_law: float | None = None
    coverage_sizes: float | None = None

    def spread(self, losses: Array) -> Array:
        """Losses of the law, one per draw, to losses of new runs; the same input, the same output.

        losses: (draws,) or (draws, ...); every draw gets one run's deviation.
        """
        share = np.mod((np.arange(losses.shape[0]) + 0.5) * _GOLDEN, 1.0)
        deviation = np.interp(share, np.linspace(0.0, 1.0, len(self.quantiles)), self.quantiles)
        return np.asarray(losses * np.exp(deviation.reshape(-1, *(1,) * (losses.ndim - 1))))
