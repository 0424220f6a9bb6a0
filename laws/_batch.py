"""Coefficients as numbers or arrays: how a law becomes a batch of laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batched:
    """A dataclass whose coefficients are numbers, or arrays of one length: one law per problem.

    A coefficient of size one holds for every problem and is kept as it is, which is what makes
    thousands of problems under one law cheap.
    """

    def take(self, index: NDArray[np.intp]) -> Self:
        """The laws at these positions."""
        changed: dict[str, Any] = {}
        for name, value in self._parts():
            if isinstance(value, Batched):
                taken = value.take(index)
                if taken is not value:
                    changed[name] = taken
            elif np.size(value) > 1:
                changed[name] = np.asarray(value)[index]
        return replace(self, **changed) if changed else self

    @classmethod
    def stack(cls, laws: Sequence[Self], sizes: Sequence[int]) -> Self:
        """One batch after another, `sizes` laws of each; TypeError for laws of different kinds."""
        first = laws[0]
        if any(type(law) is not type(first) for law in laws):
            kinds = sorted({type(law).__name__ for law in laws})
            raise TypeError(f"one batch holds laws of one kind, not {', '.join(kinds)}")
        if all(law is first for law in laws) and first.length() == 1:
            return first
        changed: dict[str, Any] = {}
        for name, value in first._parts():
            column = [getattr(law, name) for law in laws]
            if isinstance(value, Batched):
                changed[name] = type(value).stack(column, sizes)
            elif all(np.size(each) == 1 and each == value for each in column):
                continue
            else:
                changed[name] = np.concatenate(
                    [
                        np.broadcast_to(np.ravel(each), n)
                        for each, n in zip(column, sizes, strict=True)
                    ]
                )
        return replace(first, **changed)

    def length(self) -> int:
        """How many laws these are."""
        return max(
            (v.length() if isinstance(v, Batched) else np.size(v) for _, v in self._parts()),
            default=1,
        )

    def _parts(self) -> list[tuple[str, Any]]:
        """Coefficients and laws within, without names and sentences."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, value) for name, value in values if not isinstance(value, str)]
