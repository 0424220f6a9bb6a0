"""What a fit reports of itself: how well the law describes its runs, and what they determine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """Quality of a fitted set, its [quality] table. None: not stated, as for published sets.

    converged: whether the fit ended at an optimum. mean_absolute_relative_error,
    worst_relative_error: of the law on the fitted runs. runs, coefficients_fitted: how many.
    undetermined: groups of coefficients of which the runs determine no combination. resamples: of
    the bootstrap behind the draws, resampled_by: what was drawn ("run", "size", ...), of
    resample_groups groups; resamples_converged: the share of refits that ended at an optimum.
    """

    converged: bool | None = None
    mean_absolute_relative_error: float | None = None
    worst_relative_error: float | None = None
    runs: int | None = None
    coefficients_fitted: int | None = None
    undetermined: tuple[str, ...] = ()
    resamples: int | None = None
    resampled_by: str | None = None
    resample_groups: int | None = None
    resamples_converged: float | None = None
