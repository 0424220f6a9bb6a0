"""CSV: one header line and the sheet's rows; an absent number is an empty field."""

from __future__ import annotations

import csv
import io
from typing import Any

from planner.documents import dump
from planner.reports import Screen
from planner.reports.sheet import Sheet, tidy


def render(sheet: Sheet, screen: Screen) -> str:
    """Rows under the names of their columns, numbers in plain units."""
    file = io.StringIO()
    columns = list(dict.fromkeys(key for row in sheet.rows for key in row))
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in sheet.rows:
        writer.writerow({key: _cell(value) for key, value in dump(row).items()})
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = tidy(value)
        return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text  # no formula
    return "" if value is None else value
