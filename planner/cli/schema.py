"""`schema`: the JSON Schema of the documents that `--format json` writes."""

from __future__ import annotations

import json

import click

from planner.cli import console
from planner.questions import QUESTIONS


@click.command("schema", epilog="Example: planner schema plan > plan.schema.json")
@click.argument("kind", type=click.Choice(list(QUESTIONS)), default="plan")
def schema(kind: str) -> None:
    """Print the JSON Schema (2020-12) of a question's answers; of plans unless another is named."""
    from planner.documents import schema

    found = schema(QUESTIONS[kind].answer)
    console.result(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
