"""Markdown to paste into an issue, a design document or a wiki."""

from __future__ import annotations

from planner.reports import Screen
from planner.reports.sheet import Grid, Sheet, texts, tidy, without_bars


def render(sheet: Sheet, screen: Screen) -> str:
    """Heading, verdict, warnings, tables, remarks."""
    parts = [f"## {escape(tidy(sheet.title))}"]
    if sheet.headline:
        parts += [f"**{escape(tidy(sheet.headline))}**", escape(tidy(sheet.verdict))]
    else:
        parts.append(f"**{escape(tidy(sheet.verdict))}**")
    if sheet.warnings or sheet.urgent:
        lines = [f"> ⚠️ {escape(text)}" for text in texts(sheet.warnings)]
        lines += [f"> **{escape(tidy(line))}**" for line in sheet.urgent]
        parts.append("\n>\n".join(lines))
    parts += [_titled(grid) for grid in sheet.grids]
    if sheet.notes:
        parts.append("\n".join(f"- {escape(tidy(each))}" for each in sheet.notes))
    return "\n\n".join(parts) + "\n"


def _titled(grid: Grid) -> str:
    return (f"### {grid.title}\n\n" if grid.title else "") + table(grid)


def table(grid: Grid) -> str:
    """A pipe table; rows that stand out are bold."""
    head, rows = without_bars(grid)
    align = ["---", *("---" if i in grid.left else "---:" for i in range(1, len(head)))]
    body = [[cell.replace("|", "\\|") for cell in row] for row in (head, align, *rows)]
    for position in grid.strong:
        body[2 + position][0] = f"**{body[2 + position][0]}**"
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


def escape(text: str) -> str:
    """Text in which Markdown sees no markup."""
    for sign in ("\\", "*", "_", "`", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return text
