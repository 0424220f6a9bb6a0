"""The table on the terminal: verdict and warnings first, then the tables and remarks."""

from __future__ import annotations

import io

from rich.box import HEAVY, ROUNDED, Box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planner.reports import Screen, words
from planner.reports.sheet import SPARKS, Bar, Cell, Deviation, Grid, Sheet, tidy
from planner.results import Warning as PlanWarning

WIDE = 132
"""Columns from which warnings stand beside the verdict."""

COLOURS = {"distil": "green", "supervised": "blue", "either": "yellow"}
"""The verdict's colour by its method."""


def render(sheet: Sheet, screen: Screen) -> str:
    """The whole screen as text; escape codes for colour only where the screen has it."""
    return _to_text(Group(*_parts(sheet, screen)), screen)


def _parts(sheet: Sheet, screen: Screen) -> list[RenderableType]:
    head = Text(tidy(sheet.title), style="bold")
    if sheet.subtitle:
        head.append(f"\n{tidy(sheet.subtitle)}", style="not bold dim")
    warned = bool(sheet.warnings or sheet.urgent)
    verdict = Panel(
        Text(tidy(sheet.verdict), style="bold"),
        title="Verdict",
        title_align="left",
        border_style="yellow" if warned else COLOURS.get(sheet.method, "white"),
        box=ROUNDED,
    )
    parts: list[RenderableType] = [Padding(head, (0, 1))]
    if warned and screen.width >= WIDE:
        both = Table.grid(expand=True)
        both.add_column(ratio=1)
        both.add_column(ratio=1)
        both.add_row(verdict, _warnings(sheet))
        parts.append(both)
    else:
        parts += [verdict, *([_warnings(sheet)] if warned else [])]
    grids = list(sheet.grids)
    while grids:
        grid = grids.pop(0)
        if grids and grids[0].beside and _width(grid) + _width(grids[0]) + 2 <= screen.width:
            both = Table.grid(padding=(0, 2))
            both.add_row(_grid(grid, screen), _grid(grids.pop(0), screen))
            parts += [both, ""]
            continue
        parts += [_grid(grid, screen), ""]
    parts += [Padding(Text(tidy(each)), (0, 1)) for each in sheet.notes]
    return parts


def _warnings(sheet: Sheet) -> Panel:
    """Everything to know before relying on the answer, in a heavy frame."""
    ranges = Table.grid(padding=(0, 2))
    ranges.add_column(no_wrap=True)
    ranges.add_column(no_wrap=True, justify="right", style="bold red")
    ranges.add_column()
    lines: list[RenderableType] = []
    for warning in sheet.warnings:
        if isinstance(warning, PlanWarning) and words.leaves_range(warning):
            ranges.add_row(*words.warning_cells(warning))
        else:
            text = warning.text if isinstance(warning, PlanWarning) else warning
            lines.append(Text(tidy(text)))
    if ranges.row_count:
        lines.insert(0, ranges)
    lines += [Text(tidy(line), style="bold") for line in sheet.urgent]
    colour = "red" if sheet.alarming else "yellow"
    return Panel(
        Group(*lines),
        title=Text(f"! {words.warnings_title(sheet.warnings)}", style=f"bold {colour}"),
        title_align="left",
        border_style=colour,
        box=HEAVY,
    )


def _grid(grid: Grid, screen: Screen) -> RenderableType:
    """The table with the widest bars that fit; rows one below the other where none do."""
    for half in (10, 4, 0):
        if sum(_least(grid, half)) <= screen.width:
            made = _table(grid, half)
            break
    else:
        made = _stacked(grid)
    if not grid.title:
        return made
    # a title of the table's own would wrap at the table's width
    return Group(Text(f" {grid.title}", style="italic"), made)


def _table(grid: Grid, half: int) -> RenderableType:
    made = Table(box=_RULED, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    for position, (name, least) in enumerate(
        zip(_heads(grid, half), _least(grid, half), strict=True)
    ):
        words_ = position == 0 or position in grid.left
        bars = any(not isinstance(row[position], str) for row in grid.rows)
        made.add_column(
            f" {name}" if position == 0 else name,
            justify="left" if words_ or bars else "right",
            overflow="fold",
            min_width=least - 1,
            style="dim" if position in grid.faint else "",
        )
    for position, row in enumerate(grid.rows):
        style = "bold" if position in grid.strong else ""
        cells = [_cell(cell, half) for cell in row]
        made.add_row(Text.assemble(" ", cells[0]), *cells[1:], style=style)
    return made


def _heads(grid: Grid, half: int) -> list[str]:
    """Column heads; wide bars left and right of zero are explained."""
    marked = {i for row in grid.rows for i, each in enumerate(row) if isinstance(each, Deviation)}
    words_ = " (left is better)" if half == 10 else ""
    return [name + words_ if i in marked else name for i, name in enumerate(grid.head)]


def _least(grid: Grid, half: int) -> list[int]:
    """Columns of the screen that each column needs: heads and sentences wrap between words only."""
    found = []
    for position, name in enumerate(_heads(grid, half)):
        wraps = position in grid.left or (position == 0 and grid.wraps)
        cells = [_cell(row[position], half).plain for row in grid.rows]
        parts = [word for cell in cells for word in (cell.split() if wraps else [cell])]
        longest = max(map(cell_len, [*name.split(), *parts]), default=0)
        found.append(longest + 1 + (position == 0))
    return found


def _width(grid: Grid) -> int:
    """Columns of the screen that the table takes with wide bars and nothing wrapped."""
    columns = zip(
        _heads(grid, 10),
        *([_cell(each, 10).plain for each in row] for row in grid.rows),
        strict=True,
    )
    return sum(max(map(cell_len, column)) + 1 for column in columns) + 1


def _stacked(grid: Grid) -> RenderableType:
    """Each row's first cell on a line of its own, and below it the others under their names."""
    lines: list[RenderableType] = []
    for position, row in enumerate(grid.rows):
        style = "bold" if position in grid.strong else ""
        first, *others = (_cell(cell, 0).plain for cell in row)
        pairs = zip(grid.head[1:], others, strict=True)
        text = "; ".join(f"{name} {cell}".strip() for name, cell in pairs if cell)
        lines += [Text(f" {first}", style=style), Padding(Text(text, style=style), (0, 1, 0, 5))]
    return Group(*lines)


def _cell(cell: Cell, half: int) -> Text:
    if isinstance(cell, Bar):
        return Text(share_bar(cell.share, 14 if half else 0), style="cyan")
    if isinstance(cell, Deviation):
        if cell.value is None or half == 0:
            return Text(cell.text)
        left, right = diverging(cell.value, cell.largest, half)
        return Text.assemble(cell.text, " ", (left, "green"), ("│", "dim"), (right, "red"))
    return Text(tidy(cell))


def share_bar(share: float, width: int) -> str:
    """A bar from the left for a share in [0, 1]; anything above zero shows."""
    halves = _halves(share, width)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def diverging(value: float, largest: float, half: int) -> tuple[str, str]:
    """What stands left and right of the middle: left for negative values, right for positive.

    `largest` is the magnitude that fills `half` columns. The left part is padded to `half`.
    """
    halves = _halves(abs(value) / largest if largest > 0 else 0.0, half)
    full, rest = "━" * (halves // 2), halves % 2
    if value < 0:
        return ("╺" * rest + full).rjust(half), ""
    return " " * half, full + "╸" * rest


def _halves(share: float, width: int) -> int:
    if share <= 0:
        return 0
    return max(1, round(2 * width * min(share, 1.0)))


def _to_text(part: RenderableType, screen: Screen) -> str:
    """The lines of `part`, ending in a newline; escape codes and signs only as the screen has."""
    file = io.StringIO() if screen.unicode else _AsciiFile()
    console = Console(
        file=file,
        width=screen.width,
        color_system="standard" if screen.colour else None,
        force_terminal=screen.colour,
        no_color=not screen.colour,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    console.print(part)
    text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    if screen.unicode:
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


_RULED = Box("\n".join(("    ", "    ", " ── ", "    ", "    ", "    ", "    ", "    ")))


class _AsciiFile(io.StringIO):
    """Text in memory that tells rich to keep its frames within ASCII."""

    encoding = "ascii"


_ASCII = str.maketrans({
    "▸": ">", "–": "-", "−": "-", "×": "x", "━": "=", "╸": "-", "╺": "-", "│": "|", "→": "->",
    "█": "#", "▌": "#", "†": "*", "·": ".", "≥": ">=",
    **{sign: str(height) for height, sign in enumerate(SPARKS, 1)},
})  # fmt: skip
