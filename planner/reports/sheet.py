"""A `Sheet`: any result as title, verdict, tables and notes, written in four formats.

One module per result builds the sheet (`comparison.sheet(...)`); this one only arranges it.
"""

from __future__ import annotations

import csv as csv_module
import io
import json as json_module
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.errors import ProblemError
from planner.reports import PLAIN_SCREEN, Screen
from planner.reports.document import plain

SHEET_FORMATS = ("table", "json", "markdown", "csv")
SHEET_VERSION = 1


@dataclass(frozen=True)
class Grid:
    """One table: cells are text already; `strong` are positions of rows to stand out.

    `left` are columns after the first that hold words rather than numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """Everything about a result. `data` is the JSON document, `rows` the lines of CSV."""

    kind: str
    title: str
    verdict: str
    grids: tuple[Grid, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    method: str = "either"


def render(sheet: Sheet, form: str, screen: Screen = PLAIN_SCREEN) -> str:
    """The sheet as table, json, markdown or csv, ending in a newline."""
    if form == "table":
        return table(sheet, screen)
    writers = {"json": json, "markdown": markdown, "csv": csv}
    if form not in writers:
        raise ProblemError(f"unknown format '{form}'; known: {', '.join(SHEET_FORMATS)}.")
    return writers[form](sheet)


def json(sheet: Sheet) -> str:
    """`data` with its kind and version; numbers that are not finite become null."""
    head = {"schema_version": SHEET_VERSION, "kind": sheet.kind, "verdict": sheet.verdict}
    document = plain({**head, **sheet.data, "warnings": sheet.warnings, "notes": sheet.notes})
    return json_module.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def csv(sheet: Sheet) -> str:
    """One header line and `rows`; an absent number is an empty field."""
    file = io.StringIO()
    columns = list(dict.fromkeys(key for row in sheet.rows for key in row))
    writer = csv_module.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in sheet.rows:
        writer.writerow({key: _cell(value) for key, value in plain(row).items()})
    return file.getvalue()


def markdown(sheet: Sheet) -> str:
    """Heading, verdict, warnings, tables, notes."""
    parts = [f"## {sheet.title}", f"**{_escape(sheet.verdict)}**"]
    if sheet.warnings:
        parts.append("\n".join(f"> ⚠️ {_escape(each)}" for each in sheet.warnings))
    parts += [f"### {grid.title}\n\n{_markdown_grid(grid)}" for grid in sheet.grids]
    if sheet.notes:
        parts.append("\n".join(f"- {_escape(each)}" for each in sheet.notes))
    return "\n\n".join(parts) + "\n"


def table(sheet: Sheet, screen: Screen = PLAIN_SCREEN) -> str:
    """The terminal's view; colour only where the screen has it."""
    from rich.box import HEAVY
    from rich.console import Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    from planner.reports import terminal

    colour = terminal.METHOD_COLOUR.get(sheet.method, "white")
    parts: list[Any] = [
        Padding(Text(sheet.title, style="bold"), (0, 1)),
        terminal.verdict_panel(sheet.verdict, colour),
    ]
    if sheet.warnings:
        parts.append(
            Panel(
                Group(*(Text(each) for each in sheet.warnings)),
                title=Text("! Know before you bet", style="bold red"),
                title_align="left",
                border_style="red",
                box=HEAVY,
            )
        )
    for grid in sheet.grids:  # a title of the table's own would wrap at the table's width
        parts += [Text(f" {grid.title}", style="italic"), _grid(grid), ""]
    parts += [Padding(Text(each, style="dim"), (0, 1)) for each in sheet.notes]
    return terminal.to_text(Group(*parts), screen, _SPARKS)


def _grid(grid: Grid) -> Any:
    from planner.reports.terminal import ruled_table

    made = ruled_table()
    for position, name in enumerate(grid.head):
        words = position == 0 or position in grid.left
        made.add_column(
            f" {name}" if position == 0 else name,
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=position == 0,
        )
    for position, row in enumerate(grid.rows):
        style = "bold" if position in grid.strong else ""
        made.add_row(f" {row[0]}", *row[1:], style=style)
    return made


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
            signs.append(_BARS[min(7, int(8 * (value / largest) ** 0.5))])
    return "".join(signs)


_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = str.maketrans({**dict(zip(_BARS, "12345678", strict=True)), "·": ".", "≥": ">="})


def _markdown_grid(grid: Grid) -> str:
    align = ["---", *("---" if i in grid.left else "---:" for i in range(1, len(grid.head)))]
    body = [
        [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        for row in (grid.head, align, *grid.rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


def _escape(text: str) -> str:
    for sign in ("\\", "*", "_", "`", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
