"""CSV: one header line and one row per scenario, the chosen one first; numbers in plain units."""

from __future__ import annotations

import csv
import io
from typing import Any

from planner.plan import Flops, Plan
from planner.reports import words
from planner.reports.document import to_document

_MODEL = ("parameters", "tokens", "cross_entropy")
_CERTIFICATE = ("lower_bound", "gap", "tolerance", "proven")
_TERMS = (*Flops.TERMS, "total", "uncharged")

COLUMNS = (
    "scenario", "chosen", "feasible", "budget", "charge_inference", "charge_pretraining",
    *(f"student_{key}" for key in _MODEL),
    "teacher_name", "teacher_existing", *(f"teacher_{key}" for key in _MODEL),
    *(f"flops_{term}" for term in _TERMS),
    *_CERTIFICATE,
    *(f"supervised_{key}" for key in _MODEL),
    "difference", "outside_domain", "binding", "warnings", "coefficients",
)  # fmt: skip


def render(plan: Plan) -> str:
    """Rows in COLUMNS; an absent number is an empty field, lists are joined with spaces.

    `warnings` holds codes: all of the chosen scenario's, and for the others whether their recipes
    leave the domain of validity and what the set or the baseline they share is warned of.
    """
    document = to_document(plan)
    scenarios = sorted(document["scenarios"], key=lambda each: not each["chosen"])
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(each, document) for each in scenarios)
    return file.getvalue()


def _row(scenario: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    row = {
        key: scenario[key]
        for key in ("chosen", "feasible", "difference", "outside_domain", *_CHARGES)
    }
    row |= {"scenario": scenario["name"], "budget": document["problem"]["budget"]}
    row |= {f"supervised_{key}": document["supervised"][key] for key in _MODEL}
    row["coefficients"] = document["coefficients"]["name"]
    warnings = document["warnings"]
    codes = [each["code"] for each in warnings]
    if not scenario["chosen"]:
        codes = [each["code"] for each in warnings if each["scope"] != "recipe"]
        codes = ["outside-domain"] * scenario["outside_domain"] + codes
    row["warnings"] = " ".join(codes)
    if recipe := scenario["recipe"]:
        row |= {
            f"{who}_{key}": recipe[who][key] for who in ("student", "teacher") for key in _MODEL
        }
        row |= {f"teacher_{key}": recipe["teacher"][key] for key in ("name", "existing")}
        row |= {f"flops_{term}": recipe["flops"][term] for term in _TERMS}
        row["binding"] = " ".join(recipe["binding"])
    if proof := scenario["certificate"]:
        row |= {key: proof[key] for key in _CERTIFICATE}
    return {key: _cell(value) for key, value in row.items()}


_CHARGES = ("charge_inference", "charge_pretraining")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return words.tidy(value)
    return "" if value is None else value
