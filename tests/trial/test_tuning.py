"""Learning rates: the parabola finds the best one, and nothing is extrapolated."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning rates are tuned with the extra `trainer`")

from planner.trial.tuning import best_rate

RATES = [0.005, 0.02, 0.08]


def losses(best: float, curvature: float = 0.1) -> list[float]:
    return [4.0 + curvature * float(np.log(rate / best)) ** 2 for rate in RATES]


@pytest.mark.parametrize("best", [0.006, 0.01, 0.02, 0.05])
def test_a_parabola_is_found_exactly(best: float) -> None:
    """Between the rates, losses quadratic in the log of the rate give their minimum."""
    assert best_rate(RATES, losses(best)) == pytest.approx(best)


@pytest.mark.parametrize(("best", "end"), [(0.001, 0.005), (1.0, 0.08)])
def test_the_grid_is_not_left(best: float, end: float) -> None:
    """A minimum beyond the rates that were tried gives the end of the grid."""
    assert best_rate(RATES, losses(best)) == pytest.approx(end)


def test_without_a_minimum_between_them_the_best_rate_tried_is_taken() -> None:
    """A valley upside down, or a run that went astray at the largest rate."""
    assert best_rate(RATES, [4.0, 4.2, 4.1]) == 0.005
    assert 0.005 <= best_rate(RATES, [4.2, 4.0, 900.0]) < 0.02
