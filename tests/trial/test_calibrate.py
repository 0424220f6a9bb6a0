"""The laws fitted to few runs under priors: what is recovered, and how sure it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="a trial's laws need the extra `trainer`")

from coefficients import CoefficientSet, load
from laws import DistillationLaw, SupervisedLaw
from planner.trial.law import BELIEVED, DRAWS, Row, calibrate

SIZES = (13_472.0, 100_800.0, 332_640.0)


@pytest.fixture(scope="module")
def base() -> CoefficientSet:
    return load("busbridge2025")


@pytest.fixture(scope="module")
def truth(base: CoefficientSet) -> DistillationLaw:
    """A law of tiny models: other scales than the published ones, exponents somewhat off."""
    assert base.distillation is not None
    law = replace(base.supervised, E=1.0, A=110.0, B=7_500.0, alpha=0.37, beta=0.47, gamma=0.4)
    return replace(base.distillation, supervised=law, A=1_000.0, B=20_000.0)


def ladder(law: DistillationLaw, noise: float = 0.0) -> list[Row]:
    """A dozen runs that the law itself produced."""
    rng = np.random.default_rng(3)

    def seen(loss: object) -> float:
        return float(np.asarray(loss)) * float(np.exp(noise * rng.standard_normal()))

    plain = [(SIZES[1], d) for d in (8e4, 2e5, 4e5)] + [(SIZES[0], 2e5), (SIZES[2], 2e5)]
    rows = [Row(n, d, seen(law.supervised.loss(n, d))) for n, d in plain]
    for n, d, teacher in ((SIZES[1], 2e5, 4.9), (SIZES[1], 1e5, 5.2), (SIZES[1], 3e5, 4.6)):
        rows.append(Row(n, d, seen(law.loss(n, d, teacher)), teacher))
    return rows


def test_the_published_law_is_recovered_exactly(base: CoefficientSet) -> None:
    """Runs of the prior's own law leave nothing to move."""
    assert base.distillation is not None
    found = calibrate(ladder(base.distillation), base)

    assert found.rms < 1e-9
    assert float(found.law.supervised.A) == pytest.approx(float(base.supervised.A), rel=1e-6)


def test_larger_runs_are_predicted(base: CoefficientSet, truth: DistillationLaw) -> None:
    """Runs of three times the ladder's tokens are predicted within 2%, inside the interval."""
    found = calibrate(ladder(truth, 0.003), base)

    for size in SIZES:
        value = float(truth.supervised.loss(size, 1.2e6))
        point, draws = found.supervised(size, 1.2e6)
        low, high = np.quantile(draws * found.noise(), (0.05, 0.95))
        assert point == pytest.approx(value, rel=0.02)
        assert low < value < high


def test_students_are_predicted_end_to_end(base: CoefficientSet, truth: DistillationLaw) -> None:
    """A student's prediction needs no measurement of its teacher."""
    found = calibrate(ladder(truth, 0.003), base)
    teacher = (SIZES[1], 6e5)
    own = float(truth.supervised.loss(*teacher))

    point, draws = found.distilled(SIZES[1], 5e5, teacher)

    assert point == pytest.approx(float(truth.loss(SIZES[1], 5e5, own)), rel=0.03)
    assert draws.shape == (DRAWS,)


def test_fewer_runs_are_less_sure(base: CoefficientSet, truth: DistillationLaw) -> None:
    """Intervals widen where the ladder says less, and never below the believed error."""
    rows = ladder(truth, 0.003)

    def width(chosen: list[Row]) -> float:
        draws = calibrate(chosen, base).supervised(SIZES[2], 1.2e6)[1]
        return float(np.std(np.log(draws)))

    assert width(rows) < width([rows[0], *rows[5:]])
    assert calibrate(rows, base).error >= BELIEVED


def test_the_same_runs_give_the_same_fit(base: CoefficientSet, truth: DistillationLaw) -> None:
    """Draws are seeded: a resumed trial reports the same intervals."""
    rows = ladder(truth, 0.003)
    first, second = calibrate(rows, base), calibrate(rows, base)

    assert isinstance(first.law.supervised, SupervisedLaw)
    np.testing.assert_array_equal(first.supervised(1e5, 1e6)[1], second.supervised(1e5, 1e6)[1])
