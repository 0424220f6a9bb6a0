"""Comparisons that add up to one line of the report each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CLOSE = 1e-9
"""Relative agreement asked of recomputed numbers."""

SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One comparison: what, whether it holds, and the numbers in words."""

    name: str
    passed: bool
    detail: str


@dataclass
class Ledger:
    """Collects comparisons of one part of a document; `check` closes it."""

    name: str
    compared: int = 0
    faults: list[str] = field(default_factory=list)

    def near(
        self, what: str, ours: float | None, theirs: Any, rel: float = CLOSE, room: float = 0.0
    ) -> None:
        """Numbers agree to `rel` of the larger or to `room`; None and NaN agree with None."""
        self.compared += 1
        ours = None if ours is None or not math.isfinite(ours) else ours
        if ours is None or theirs is None:
            agree = ours is None and theirs is None
        else:
            agree = abs(ours - theirs) <= max(rel * max(abs(ours), abs(theirs)), room)
        if not agree:
            self.faults.append(f"{what} is {_show(theirs)} in the document, {_show(ours)} here")

    def same(self, what: str, ours: Any, theirs: Any) -> None:
        """Words, flags and integers agree exactly."""
        self.compared += 1
        if ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
            self.faults.append(f"{what} is {_show(theirs)} in the document, {_show(ours)} here")

    def tree(self, what: str, ours: Any, theirs: Any, rel: float = CLOSE) -> None:
        """Nested mappings and lists agree in structure and in every leaf."""
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            self.same(f"{what}: the keys", sorted(ours), sorted(theirs))
            for key in ours.keys() & theirs.keys():
                self.tree(f"{what}.{key}", ours[key], theirs[key], rel)
        elif _is_list(ours) and _is_list(theirs):
            self.same(f"{what}: the length", len(ours), len(theirs))
            for position, (one, other) in enumerate(zip(ours, theirs, strict=False)):
                self.tree(f"{what}[{position}]", one, other, rel)
        elif isinstance(ours, float) and _is_number(theirs):
            self.near(what, ours, theirs, rel)
        else:
            self.same(what, ours, theirs)

    def holds(self, what: str, true: bool) -> None:
        """A statement is true; `what` says what is wrong if it is not."""
        self.compared += 1
        if not true:
            self.faults.append(what)

    def check(self, detail: str = "") -> Check:
        """The line: `detail` where everything agrees, else the first faults."""
        if not self.faults:
            return Check(self.name, True, detail or f"{self.compared} values agree")
        more = len(self.faults) - SHOWN
        rest = [f"{more} more"] if more > 0 else []
        return Check(self.name, False, "; ".join([*self.faults[:SHOWN], *rest]))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value:.10g}" if isinstance(value, float) else repr(value)
