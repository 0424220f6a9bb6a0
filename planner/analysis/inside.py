"""Which of many plans lie where the law was measured, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner.optimum import Many

SLACK = 1e-6  # of a bound: a plan that rests on the domain's edge is inside


def inside(many: Many, coefficients: CoefficientSet) -> NDArray[np.bool_]:
    """True where every known quantity of a plan lies in the domain of validity; infeasible: False.

    Quantities that are unknown (an existing teacher's size) or without a measured range count as
    inside. All False where the set states no domain.
    """
    domain = coefficients.domain
    if not domain.known:
        return np.zeros(many.feasible.shape, dtype=bool)
    size, tokens = many.student_parameters, many.student_tokens
    with np.errstate(invalid="ignore", divide="ignore"):
        quantities = {
            "student_parameters": size,
            "student_tokens": tokens,
            "teacher_parameters": many.teacher_parameters,
            "teacher_tokens": many.teacher_tokens,
            "student_tokens_per_parameter": tokens / size,
            "teacher_cross_entropy": many.teacher_cross_entropy,
            "teacher_to_supervised": many.teacher_cross_entropy
            / coefficients.supervised.loss(size, tokens),
        }
    found = many.feasible.copy()
    for name, values in quantities.items():
        measured = domain.of(name)
        if measured is None:
            continue
        low, high = measured
        with np.errstate(invalid="ignore"):
            out = (values < low * (1 - SLACK)) | (values > high * (1 + SLACK))
        found &= ~out
    return found


def stretches(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last positions of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    return [(int(start), int(stop) - 1) for start, stop in edges.reshape(-1, 2)]
