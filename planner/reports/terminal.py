"""What every table on the terminal shares: one look, one way from rich's parts to text."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.box import ROUNDED, Box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planner.reports import Screen

METHOD_COLOUR = {"distil": "green", "supervised": "blue", "either": "yellow"}


def to_text(part: RenderableType, screen: Screen, signs: Mapping[int, str] | None = None) -> str:
    """The lines of `part`, ending in a newline; escape codes and signs only as the screen has.

    signs: what stands for signs of the part's own on a screen that has ASCII only.
    """
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
    return text if screen.unicode else _ascii(text.translate(signs or {}))


def verdict_panel(text: str, colour: str) -> Panel:
    """The frame that every answer starts with."""
    return Panel(
        Text(text, style="bold"),
        title="Verdict",
        title_align="left",
        border_style=colour,
        box=ROUNDED,
    )


def ruled_table() -> Table:
    """A table with a rule under its head and one space between columns."""
    return Table(box=_RULED, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)


_RULED = Box("\n".join(("    ", "    ", " ── ", "    ", "    ", "    ", "    ", "    ")))


class _AsciiFile(io.StringIO):
    """Text in memory that tells rich to keep its frames within ASCII."""

    encoding = "ascii"


_ASCII = str.maketrans({
    "▸": ">", "–": "-", "−": "-", "×": "x", "━": "=", "╸": "-", "╺": "-", "│": "|", "→": "->",
    "█": "#", "▌": "#", "†": "*",
})  # fmt: skip


def _ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
