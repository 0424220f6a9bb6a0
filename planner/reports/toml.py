"""TOML: the same document as a file that later commands read (`planner.documents.load`)."""

from __future__ import annotations

import math
from typing import Any

from planner.documents import dump
from planner.reports import Screen
from planner.reports.sheet import Sheet, texts, tidy


def render(sheet: Sheet, screen: Screen) -> str:
    """The document as TOML under a comment saying what it is; keys without a value are absent."""
    import tomli_w

    head = "\n".join(f"# {tidy(line)}".rstrip() for line in _header(sheet))
    return f"{head}\n\n{tomli_w.dumps(without_none(dump(sheet.data)))}"


def without_none(value: Any) -> Any:
    """The same value less every None, for which TOML has no word; inside a list it becomes nan."""
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [math.nan if each is None else without_none(each) for each in value]
    return value


def _header(sheet: Sheet) -> list[str]:
    return [
        f"{sheet.title}.",
        *([f"{sheet.headline}."] if sheet.headline else []),
        sheet.verdict,
        *(f"WARNING: {text}" for text in texts(sheet.warnings)),
        "",
        "Units: parameters are non-embedding, tokens are tokens, FLOPs are floating-point",
        "operations, cross-entropies are nats per token. Absent keys have no value.",
        f"Keys are explained by: planner schema {sheet.kind}",
    ]
