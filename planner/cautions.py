"""What the fit behind a coefficient set says against itself, as warnings of every plan."""

from __future__ import annotations

from collections.abc import Iterator

from coefficients import CoefficientSet
from planner.result import Warning

MISFIT = 0.05
"""Mean error on its own runs above which a law does not describe them."""
FEW_GROUPS = 10
"""Groups of runs below which a bootstrap by group is too narrow."""
RUNS_PER_COEFFICIENT = 2.0
"""Runs per fitted coefficient below which intervals are too narrow: in simulated studies of 12 runs
for 9 coefficients three in four predictions lay in their 90% intervals, of 24 runs nine in ten."""
_CONVERGED = 0.9


def cautions(coefficients: CoefficientSet) -> tuple[Warning, ...]:
    """Warnings from what `planner fit` wrote into the file; none for a published set."""
    return tuple(Warning(code, text) for code, text in _found(coefficients))


def _found(coefficients: CoefficientSet) -> Iterator[tuple[str, str]]:
    said, name = coefficients.source.details, coefficients.name
    if said.get("converged") is False:
        yield (
            "fit-not-converged",
            f"the fit that made the coefficient set '{name}' did not converge; its "
            "predictions and intervals are those of wherever it stopped.",
        )
    error = said.get("mean_absolute_relative_error")
    if isinstance(error, float) and error > MISFIT:
        yield (
            "fit-misfit",
            f"the law of the coefficient set '{name}' misses its own runs by {error:.1%} on "
            "average; check their units and columns, and do not plan with it.",
        )
    undetermined = said.get("undetermined")
    if isinstance(undetermined, list) and undetermined:
        yield (
            "fit-undetermined",
            f"the runs behind the coefficient set '{name}' determine no combination of "
            f"{'; nor of '.join(map(str, undetermined))}: away from those runs its predictions are "
            "guesses.",
        )
    groups, by = said.get("resample_groups"), said.get("resampled_by")
    if isinstance(groups, int) and groups < FEW_GROUPS:
        yield (
            "fit-few-groups",
            f"the draws of the coefficient set '{name}' resample only {groups} groups of runs (by "
            f"{by}): its intervals are too narrow.",
        )
    runs, fitted = said.get("runs"), said.get("coefficients_fitted")
    if isinstance(runs, int) and isinstance(fitted, int) and runs < RUNS_PER_COEFFICIENT * fitted:
        yield (
            "fit-few-runs",
            f"the coefficient set '{name}' fits {fitted} coefficients to {runs} runs: its "
            "intervals are too narrow.",
        )
    settled = said.get("resamples_converged")
    if isinstance(settled, float) and settled < _CONVERGED:
        yield (
            "fit-resamples",
            f"only {settled:.0%} of the resamples behind the coefficient set '{name}' converged; "
            "its intervals are rough.",
        )
