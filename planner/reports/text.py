"""Plain lines without frames, for a Python prompt and for logs."""

from __future__ import annotations

from planner.reports import Screen
from planner.reports.sheet import Sheet, texts, tidy, without_bars


def render(sheet: Sheet, screen: Screen) -> str:
    """Title, verdict, warnings, tables as aligned columns, remarks."""
    lines = [
        tidy(sheet.title),
        *([f"  {tidy(sheet.headline)}."] if sheet.headline else []),
        f"  {tidy(sheet.verdict)}",
        *(f"  WARNING: {text}" for text in texts(sheet.warnings)),
        *(f"  {tidy(line)}" for line in sheet.urgent),
    ]
    for grid in sheet.grids:
        head, rows = without_bars(grid)
        table = [head, *rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        for row in table:
            cells = [
                cell.ljust(width) if i == 0 or i in grid.left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
    lines += [f"  {tidy(note)}" for note in sheet.notes]
    return "\n".join(lines) + "\n"
