"""A Markdown page for a meeting: the decision, what stands against it, and how to make it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from importlib import metadata

from planner.reports import Screen, markdown
from planner.reports.sheet import Sheet

GLOSSARY = (
    "Loss: cross-entropy in nats per token on held-out text, smaller is better; 1% of it is about "
    "what the law can tell apart.",
    "FLOPs: floating-point operations of training, of the teacher's logits and of its training, as "
    "far as this budget pays for them.",
    "Distilling: training the student on a larger teacher's predictions. Supervised: on text "
    "alone. Measured range: sizes, tokens and teachers of the runs behind the law.",
)


def render(sheet: Sheet, screen: Screen) -> str:
    """The sheet in Markdown between its date and its command."""
    body = markdown.render(replace(sheet, data={}), screen)
    again = f"\n\n```sh\n{screen.command}\n```" if screen.command else ""
    words = "\n".join(f"- {line}" for line in GLOSSARY)
    return f"{body}\n### Words\n\n{words}\n\nMade on {made()}.{again}\n"


def made() -> str:
    """The day, and the planner's name and version."""
    try:
        version = metadata.version("distillation-planner")
    except metadata.PackageNotFoundError:  # imported from a folder that was never installed
        version = "(not installed)"
    return f"{date.today().isoformat()}, distillation-planner {version}"
