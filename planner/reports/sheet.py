"""A `Sheet`: what any answer says to people, before any format. Nothing here computes.

Every answer is arranged as one sheet (`sheet(answer)` beside each question); `planner.reports`
writes it as a terminal table, Markdown, HTML, CSV, JSON or TOML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from planner.results import Warning


@dataclass(frozen=True)
class Bar:
    """A share in [0, 1] as a bar; formats without bars leave the cell out."""

    share: float


@dataclass(frozen=True)
class Deviation:
    """A difference and its bar left or right of zero; `largest` fills one side."""

    text: str
    value: float | None
    largest: float


Cell = str | Bar | Deviation


@dataclass(frozen=True)
class Grid:
    """One table.

    strong: positions of rows that stand out. left: positions of columns after the first that hold
    words. faint: positions of columns that stand back. beside: next to the table before it where
    the screen is wide. wraps: whether the first column may wrap. detail: left out of a brief.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    strong: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    faint: tuple[int, ...] = ()
    beside: bool = False
    wraps: bool = False
    detail: bool = False


@dataclass(frozen=True)
class Sheet:
    """Everything about an answer, for people.

    headline: the answer in a few words. verdict: in a sentence or two; method: whose colour it has
    ("distil", "supervised", "undecided"). warnings stand right below it, then `urgent` lines;
    alarming: whether they take the ground from under the numbers;
    subject: what leaves the measured range. grids: tables. notes: remarks
    below; details: remarks that a brief leaves out. data: the JSON document, rows: the lines of
    CSV.
    """

    kind: str
    title: str
    verdict: str
    grids: tuple[Grid, ...] = ()
    warnings: tuple[str | Warning, ...] = ()
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    method: str = "undecided"
    headline: str = ""
    details: tuple[str, ...] = ()
    subtitle: str = ""
    urgent: tuple[str, ...] = ()
    alarming: bool = True
    subject: str = "Optimum"


def first_only(grids: Sequence[Grid]) -> tuple[Grid, ...]:
    """The same tables, all but the first as details."""
    return (*grids[:1], *(replace(each, detail=True) for each in grids[1:]))


def leaves_range(warning: str | Warning) -> TypeGuard[Warning]:
    """Whether the warning says that the recipe leaves a measured range."""
    if isinstance(warning, str):
        return False
    return warning.code == "outside-domain" and None not in (warning.range, warning.value)


def qualification(warnings: Sequence[str | Warning]) -> str:
    """What stands before any claim under these warnings, in a few words; empty where none does."""
    if any(map(leaves_range, warnings)):
        return "Not measured here: the law extrapolates"
    if any(each.code == "second-opinion" for each in warnings if not isinstance(each, str)):
        return "The two fits disagree"
    return ""


def qualified(claim: str, warnings: Sequence[str | Warning]) -> str:
    """A claim behind its qualification, such as a picture's title."""
    told = qualification(warnings)
    return f"{told}. {claim}" if told else claim


def selected(sheet: Sheet, details: bool) -> Sheet:
    """The sheet with its details among the remarks, or without them: the only rule of a brief.

    A sheet without a headline gets one where its numbers leave the measured range or the second
    coefficient set disagrees with them.
    """
    if not sheet.headline:
        sheet = replace(sheet, headline=qualification(sheet.warnings))
    if details:
        return replace(sheet, notes=(*sheet.notes, *sheet.details), details=())
    grids = tuple(each for each in sheet.grids if not each.detail)
    return replace(sheet, grids=grids, subtitle="", details=())


def tidy(text: str) -> str:
    """Text on one line, without control characters: names come from files and from users."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def plain(cell: Cell) -> str:
    """A cell as text; nothing for a bar."""
    if isinstance(cell, Bar):
        return ""
    return tidy(cell.text if isinstance(cell, Deviation) else cell).strip()


def texts(warnings: Sequence[str | Warning]) -> list[str]:
    """Warnings as sentences."""
    return [tidy(each if isinstance(each, str) else each.text) for each in warnings]


def without_bars(grid: Grid) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows as text, less the columns that hold nothing but bars."""
    kept = [
        i
        for i in range(len(grid.head))
        if not grid.rows
        or not all(isinstance(row[i], Bar) or row[i] == "" for row in grid.rows)
        or grid.head[i]
    ]
    rows = [tuple(plain(row[i]) for i in kept) for row in grid.rows]
    return tuple(grid.head[i].strip() for i in kept), rows


def sparkline(values: Sequence[float]) -> str:
    """Bars for positive values (a gain), a dot for zero or less, a space where there is none.

    Heights follow the square root, so that a small gain still shows beside a large one.
    """
    largest = max((v for v in values if v == v), default=0.0)
    signs = []
    for value in values:
        if value != value:
            signs.append(" ")
        elif value <= 0 or largest <= 0:
            signs.append("·")
        else:
            signs.append(SPARKS[min(7, int(8 * (value / largest) ** 0.5))])
    return "".join(signs)


SPARKS = "▁▂▃▄▅▆▇█"
