"""`schema`: the JSON Schema of the documents that `--format json` writes."""

from __future__ import annotations

import importlib
import json
from typing import Any

import click

from planner.cli import console
from planner.questions import QUESTIONS

REPORTS = {
    "fit": "planner.fit.report:Analysis",
    "prediction": "planner.fit.prediction:Prediction",
    "calibration": "planner.calibrate.report:Calibration",
    "design": "planner.experiments.report:Designs",
    "next": "planner.experiments.report:NextRuns",
}
"""Documents that answer no question, by their `kind`."""


@click.command("schema", epilog="Example: planner schema plan > plan.schema.json")
@click.argument("kind", type=click.Choice([*QUESTIONS, *REPORTS]), default="plan")
def schema(kind: str) -> None:
    """Print the JSON Schema (2020-12) of documents of a kind, of plans unless another is named.

    Kinds are the questions, `fit`, `prediction` (of `predict`), `calibration`, `design` and
    `next` (of `experiments`).
    """
    from planner.documents import schema

    found = schema(_class(kind))
    console.result(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _class(kind: str) -> type[Any]:
    """The class of the documents of a kind."""
    if kind in QUESTIONS:
        return QUESTIONS[kind].answer
    module, _, name = REPORTS[kind].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found
