"""TOML: the same document as a recipe file that later commands read (see reports/read.py)."""

from __future__ import annotations

import math
from typing import Any

from planner.plan import Plan
from planner.reports import words
from planner.reports.document import to_document


def render(plan: Plan) -> str:
    """The document as TOML under a comment saying what it is; keys without a value are absent."""
    import tomli_w

    return (
        "\n".join(f"# {words.tidy(line)}".rstrip() for line in _header(plan))
        + "\n\n"
        + tomli_w.dumps(without_none(to_document(plan)))
    )


def without_none(value: Any) -> Any:
    """The same value less every None, for which TOML has no word; inside a list it becomes nan."""
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [math.nan if each is None else without_none(each) for each in value]
    return value


def _header(plan: Plan) -> list[str]:
    return [
        "Distillation recipe, input for later commands (planner validate FILE, for example).",
        words.title(plan) + ".",
        plan.verdict.text,
        *(f"WARNING: {warning.text}" for warning in plan.warnings),
        "",
        "Units: parameters are non-embedding, tokens are tokens, FLOPs are floating point",
        "operations, cross-entropies are nats per token. Absent keys have no value.",
        "Keys are explained by: planner schema",
    ]
