"""Where a law was measured. Outside these ranges it extrapolates, and the user is told so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from laws._types import Real

Range: TypeAlias = tuple[float, float]
Mask: TypeAlias = NDArray[np.bool_]

TOLERANCE = 1e-9
"""Relative room for rounding at the ends of a range: a plan that rests on an end is inside."""


@dataclass(frozen=True)
class Domain:
    """Measured ranges, low and high inclusive; None where nothing is known about a quantity.

    `parameters` and `tokens` hold for student and teacher alike unless the narrower
    `student_parameters`, `teacher_parameters`, ... say more.
    """

    parameters: Range | None = None
    tokens: Range | None = None
    student_parameters: Range | None = None
    student_tokens: Range | None = None
    teacher_parameters: Range | None = None
    teacher_tokens: Range | None = None
    student_tokens_per_parameter: Range | None = None
    teacher_cross_entropy: Range | None = None
    teacher_to_supervised: Range | None = None
    """L_T / L(N_S, D_S): the teacher's loss over what the student would reach on data alone."""

    def of(self, quantity: str) -> Range | None:
        """The range of a quantity, falling back from ``student_tokens`` to ``tokens`` and so on.

        ``supervised_parameters`` and ``supervised_tokens`` are those of the supervised law:
        teachers were trained under it, so their ranges are its own as far as they are known.
        """
        role, _, kind = quantity.partition("_")
        names = [quantity]
        if kind in ("parameters", "tokens"):
            names = {
                "student": [quantity, kind],
                "teacher": [quantity, kind],
                "supervised": [f"teacher_{kind}", kind, f"student_{kind}"],
            }.get(role, names)
        return next((found for name in names if (found := getattr(self, name)) is not None), None)

    def outside(self, quantities: Mapping[str, Real | None]) -> dict[str, Mask]:
        """Where each quantity leaves its measured range; arrays of shape () for plain numbers.

        None and NaN stand for unknown values, which are not judged; nor is a quantity without a
        range. See [`CoefficientSet.quantities`][coefficients.model.CoefficientSet.quantities].
        """
        return {name: self._outside(name, value) for name, value in quantities.items()}

    def covers(self, quantities: Mapping[str, Real | None]) -> Mask:
        """Where no quantity leaves its measured range; False throughout if no range is known."""
        left = np.broadcast_arrays(*self.outside(quantities).values())
        return np.asarray(~np.any(left, axis=0) & self.known)

    def _outside(self, name: str, value: Real | None) -> Mask:
        measured = self.of(name)
        numbers = np.asarray(np.nan if value is None else value, dtype=float)
        if measured is None:
            return np.zeros(numbers.shape, dtype=bool)
        low, high = measured
        with np.errstate(invalid="ignore"):
            return np.asarray(
                (numbers < low * (1 - TOLERANCE)) | (numbers > high * (1 + TOLERANCE))
            )

    @property
    def known(self) -> bool:
        """Whether anything at all is known about where the law was measured."""
        return any(getattr(self, field.name) is not None for field in fields(self))
