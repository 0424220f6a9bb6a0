"""A sheet in a notebook: self-contained HTML, readable on light and dark pages."""

from __future__ import annotations

from html import escape

from planner.reports import Screen
from planner.reports.sheet import Grid, Sheet, texts, without_bars

_RED = "border:2px solid #d22;padding:.4em .8em;margin:.5em 0"


def render(sheet: Sheet, screen: Screen) -> str:
    """One <div> with verdict, warnings, tables and remarks; every text escaped."""
    parts = [
        f"<p>{escape(sheet.title)}<br><strong>{escape(sheet.headline or sheet.verdict)}</strong>",
        f"<br>{escape(sheet.verdict)}</p>" if sheet.headline else "</p>",
        _warnings(sheet),
        *map(_table, sheet.grids),
        *(f"<div>{escape(line)}</div>" for line in sheet.notes),
    ]
    return '<div class="distillation-plan">' + "".join(parts) + "</div>\n"


def _warnings(sheet: Sheet) -> str:
    if not sheet.warnings and not sheet.urgent:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts(sheet.warnings))
    urgent = "".join(f"<p>{escape(line)}</p>" for line in sheet.urgent)
    return f'<div style="{_RED}"><strong>Warnings</strong><ul>{items}</ul>{urgent}</div>'


def _table(grid: Grid) -> str:
    head, rows = without_bars(grid)
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(grid.title)}</caption>" if grid.title else ""
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
