"""JSON: the versioned document, keys in the order of importance, no NaN and no Infinity."""

from __future__ import annotations

import json

from planner.plan import Plan
from planner.reports.document import to_document


def render(plan: Plan) -> str:
    """The document as JSON text."""
    return json.dumps(to_document(plan), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
