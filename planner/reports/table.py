"""The table on the terminal: verdict and warnings first, then the tables and remarks."""

from __future__ import annotations

import io

from rich.box import HEAVY, ROUNDED, Box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planner.reports import Screen, words
from planner.reports.sheet import SPARKS, Bar, Cell, Deviation, Grid, Sheet, texts, tidy
from planner.results import Warning as PlanWarning

WIDE = 132
"""Columns from which tables stand side by side where the sheet allows it."""

COLOURS = {"distil": "green", "supervised": "blue", "undecided": "yellow"}
"""The verdict's colour by its method."""


def render(sheet: Sheet, screen: Screen) -> str:
    """The whole screen as text; escape codes for colour only where the screen has it."""
    return _to_text(Group(*_parts(sheet, screen)), screen)


def _parts(sheet: Sheet, screen: Screen) -> list[RenderableType]:
    head = Text(tidy(sheet.title), style="bold")
    if sheet.subtitle:
        head.append(f"\n{tidy(sheet.subtitle)}", style="not bold dim")
    warned = bool(sheet.warnings or sheet.urgent)
    said = Text(tidy(sheet.verdict), style="" if sheet.headline else "bold")
    colour = COLOURS.get(sheet.method, "white")
    verdict = Panel(
        said,
        title=Text(tidy(sheet.headline or "Verdict"), style="bold"),
        title_align="left",
        border_style="yellow" if warned else colour,
        box=ROUNDED,
    )
    parts: list[RenderableType] = [Padding(head, (0, 1)), verdict]
    if warned:
        parts.append(_warnings(sheet) if screen.details else _short_warnings(sheet))
    space = [""] if screen.details else []
    grids = list(sheet.grids)
    while grids:
        grid = grids.pop(0)
        if grids and grids[0].beside and screen.width >= WIDE:
            both = Table.grid(padding=(0, 2))
            both.add_row(_grid(grid, screen), _grid(grids.pop(0), screen))
            parts += [both, *space]
            continue
        parts += [_grid(grid, screen), *space]
    parts += [Padding(Text(tidy(each)), (0, 1)) for each in sheet.notes]
    return parts


def _short_warnings(sheet: Sheet) -> RenderableType:
    """A line per warning; quantities that leave their ranges share one."""
    left = [each for each in sheet.warnings if words.leaves_range(each)]
    lines = [words.left_ranges(left, sheet.subject)] if left else []
    lines += texts([each for each in sheet.warnings if not words.leaves_range(each)])
    colour = "red" if sheet.alarming else "yellow"
    lines = [f"! {line[:1].upper()}{line[1:]}" for line in (*lines, *map(tidy, sheet.urgent))]
    return Padding(Text("\n".join(lines), style=colour), (0, 1))


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
    half = 10 if screen.width >= 96 else 4 if screen.width >= 78 else 0
    rows = [[_cell(cell, half) for cell in row] for row in grid.rows]
    widths = _widths(grid, rows, screen.width, gap=2 if screen.details else 1)
    made = _stacked(grid, rows) if widths is None else _ruled(grid, rows, widths, screen)
    if not grid.title:
        return made
    # a title of the table's own would wrap at the table's width
    return Group(Text(f" {grid.title}", style="italic"), made)


def _ruled(grid: Grid, rows: list[list[Text]], widths: list[int], screen: Screen) -> RenderableType:
    made = Table(
        box=_RULED if screen.details else None,
        padding=(0, 1, 0, 0),
        header_style="bold",
        show_edge=False,
    )
    for position, (name, width) in enumerate(zip(grid.head, widths, strict=True)):
        words_ = position == 0 or position in grid.left
        bars = any(not isinstance(row[position], str) for row in grid.rows)
        made.add_column(
            f" {name}" if position == 0 else name,
            justify="left" if words_ or bars else "right",
            overflow="fold",
            width=width,
            style="dim" if position in grid.faint else "",
        )
    for position, row in enumerate(rows):
        style = "bold" if position in grid.strong else ""
        made.add_row(Text.assemble(" ", row[0]), *row[1:], style=style)
    return made


def _widths(grid: Grid, rows: list[list[Text]], room: int, gap: int) -> list[int] | None:
    """Columns of every cell: whole where there is room, broken between words where there is not,
    and then only in headings and in columns that hold words; None if that is not enough."""
    whole, least = [], []
    for i, name in enumerate(grid.head):
        cells = [row[i].plain for row in rows]
        wraps = i in grid.left or (i == 0 and grid.wraps)
        long = max(map(len, (name, *cells)))
        kept = [_longest_word(each) for each in cells] if wraps else map(len, cells)
        indent = int(i == 0)
        whole.append(long + indent)
        least.append(max((_longest_word(name), *kept)) + indent)
    gaps = gap * len(whole)
    if sum(whole) + gaps <= room:
        return whole
    if sum(least) + gaps > room:
        return None
    spare = room - gaps - sum(least)
    for i in sorted(range(len(whole)), key=lambda i: whole[i] - least[i]):
        more = min(spare, whole[i] - least[i])
        least[i] += more
        spare -= more
    return least


def _longest_word(text: str) -> int:
    return max((len(word) for word in text.split()), default=0)


def _stacked(grid: Grid, rows: list[list[Text]]) -> RenderableType:
    """A row as a sentence of its cells, where the screen is too narrow for columns."""
    lines: list[RenderableType] = []
    for position, row in enumerate(rows):
        cells = [
            f"{name.strip().lower()} {cell.plain.strip()}" if name else cell.plain
            for name, cell in zip(grid.head[1:], row[1:], strict=True)
            if cell.plain.strip(" │━╸╺█▌")
        ]
        first = row[0].plain.rstrip()
        style = "bold" if position in grid.strong else ""
        lines.append(Padding(Text(f"{first}: {', '.join(cells)}", style=style), (0, 1)))
    return Group(*lines)


def _cell(cell: Cell, half: int) -> Text:
    if isinstance(cell, Bar):
        return Text(share_bar(cell.share, 14), style="cyan")
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
