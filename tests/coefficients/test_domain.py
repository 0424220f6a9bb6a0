"""The one rule for what lies outside the measured ranges."""

from __future__ import annotations

import numpy as np
import pytest

from coefficients import Domain, load
from coefficients.domain import TOLERANCE

DOMAIN = Domain(parameters=(1e8, 1e10), teacher_cross_entropy=(2.0, 3.0))


@pytest.mark.parametrize(
    ("value", "out"),
    [
        (1e9, False),
        (1e10, False),
        (1e10 * (1 + 0.5 * TOLERANCE), False),
        (1e10 * (1 + 2 * TOLERANCE), True),
        (1e8 * (1 - 2 * TOLERANCE), True),
        (np.inf, True),
        (np.nan, False),
        (None, False),
    ],
)
def test_one_value(value: float | None, out: bool) -> None:
    """Ends belong to the range, up to rounding; what is unknown is not judged."""
    found = DOMAIN.outside({"student_parameters": value, "student_tokens": value})
    assert bool(found["student_parameters"]) is out
    assert not found["student_tokens"]  # no range: nothing to leave
    assert bool(DOMAIN.covers({"student_parameters": value})) is not out


def test_arrays_and_numbers_mix() -> None:
    """Masks have the shape of their own quantity; together they broadcast."""
    values = {
        "student_parameters": np.array([1e7, 1e9, np.nan]),
        "teacher_cross_entropy": 2.5,
        "teacher_parameters": None,
    }
    found = DOMAIN.outside(values)
    assert found["student_parameters"].tolist() == [True, False, False]
    assert found["teacher_cross_entropy"].shape == ()
    assert DOMAIN.covers(values).tolist() == [False, True, True]
    assert DOMAIN.covers({**values, "teacher_cross_entropy": 4.0}).tolist() == [False] * 3


def test_a_set_without_ranges_covers_nothing() -> None:
    """Nothing is outside, but nothing is known to be inside either."""
    assert not Domain().outside({"student_parameters": 1e30})["student_parameters"]
    assert not Domain().covers({"student_parameters": 1e9})


def test_measured_teachers_agree_with_the_rule() -> None:
    """Just inside the range of teachers for a student every plan is covered, just outside none."""
    chosen = load()
    student = (1e9, 3e10)
    measured = chosen.measured_teachers(*student)
    assert measured is not None
    low, high = measured
    losses = np.array([low * 0.999, low * 1.001, high * 0.999, high * 1.001])
    covered = chosen.domain.covers(chosen.quantities(*student, losses))
    assert covered.tolist() == [False, True, True, False]
    assert chosen.measured_teachers(1e12, 3e13) is None  # no such student was measured
