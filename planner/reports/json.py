"""JSON: the versioned document, keys in the order of importance, no NaN and no Infinity."""

from __future__ import annotations

import json

from planner.documents import dump
from planner.reports import Screen
from planner.reports.sheet import Sheet


def render(sheet: Sheet, screen: Screen) -> str:
    """The document as JSON text."""
    return json.dumps(dump(sheet.data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
