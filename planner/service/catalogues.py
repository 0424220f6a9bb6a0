"""What there is to choose from: coefficient sets, scenarios, bounds. A catalogue is one entry."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import FastAPI, Request, Response

from coefficients import CoefficientError, CoefficientSet, available
from planner.accelerators import UTILISATION, accelerators
from planner.problem import BOUNDS
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS
from planner.service.problems import refuse
from planner.service.reading import shipped


@dataclass(frozen=True)
class Catalogue:
    """GET answers what `read` returns; it is given the name in the path, or "" without one."""

    summary: str
    description: str
    read: Callable[[str], dict[str, Any]]


def coefficient_sets(_: str) -> dict[str, Any]:
    """Every shipped set, the default first."""
    return {
        "coefficients": [
            {
                "name": each.name,
                "distillation": each.distillation is not None,
                "title": each.source.title,
                "citation": each.source.citation,
                "notes": each.source.notes,
            }
            for each in map(shipped, available())
        ]
    }


def coefficient_set(name: str) -> dict[str, Any]:
    """Everything one set holds."""
    try:
        found = shipped(name)
    except CoefficientError as error:
        raise refuse(404, "not-found", str(error)) from error
    return {
        "name": found.name,
        "supervised": _values(found, "supervised", found.form),
        "distillation": None
        if found.distillation is None
        else _values(found, "distillation", found.distillation),
        "domain": {key: _ends(ends) for key, ends in asdict(found.domain).items()},
        "flops": found.flops.convention,
        "source": {
            key: getattr(found.source, key)
            for key in ("title", "citation", "location", "kind", "notes")
        },
    }


def scenarios(_: str) -> dict[str, Any]:
    """The registry of scenarios."""
    return {
        "default": DEFAULT_SCENARIO,
        "scenarios": [asdict(each) for each in SCENARIOS.values()],
    }


def bounds(_: str) -> dict[str, Any]:
    """The named bounds on sizes and tokens."""
    return {"bounds": {name: asdict(each) for name, each in BOUNDS.items()}}


def accelerator_list(_: str) -> dict[str, Any]:
    """Accelerators that a budget may name, and the utilisation assumed where none is given."""
    return {
        "utilisation": UTILISATION,
        "accelerators": [
            {"name": each.name, "bf16_flops": each.bf16_flops, "source": each.source}
            for each in accelerators()
        ],
    }


def teachers(_: str) -> dict[str, Any]:
    """The shipped open models that may serve as teachers."""
    from planner.catalogue import catalogue

    return {
        "teachers": [
            {**asdict(each.teacher), "counts": each.counts, "source": each.source}
            for each in catalogue()
        ]
    }


CATALOGUES: dict[str, Catalogue] = {
    "/v1/coefficients": Catalogue(
        "Shipped coefficient sets", "Name, title and source of every set.", coefficient_sets
    ),
    "/v1/coefficients/{name}": Catalogue(
        "One coefficient set",
        "Values with intervals, the measured domain, the FLOP convention, the source.",
        coefficient_set,
    ),
    "/v1/scenarios": Catalogue(
        "Compute scenarios", "Which of the teacher's costs each one charges.", scenarios
    ),
    "/v1/teachers": Catalogue(
        "Open models as teachers", "Size (parameters), tokens, what is counted, source.", teachers
    ),
    "/v1/accelerators": Catalogue(
        "Accelerators",
        "Peak of dense bf16 products, FLOP/s, with its source; for budgets like 64xH100*14d.",
        accelerator_list,
    ),
    "/v1/bounds": Catalogue(
        "Named bounds", "Ranges of sizes (parameters) and tokens, inclusive.", bounds
    ),
}


def add(app: FastAPI) -> None:
    """Register every catalogue."""
    for path, catalogue in CATALOGUES.items():
        named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
        app.add_api_route(
            path,
            _handler(catalogue),
            methods=["GET"],
            summary=catalogue.summary,
            description=catalogue.description,
            response_model=dict[str, Any],
            operation_id=f"get_{catalogue.read.__name__}",
            tags=["catalogues"],
            openapi_extra={"parameters": named} if "{name}" in path else None,
        )


def _handler(catalogue: Catalogue) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        found = catalogue.read(request.path_params.get("name", ""))
        return Response(json.dumps(found, allow_nan=False), media_type="application/json")

    return handle


def _values(found: CoefficientSet, table: str, law: Any) -> dict[str, Any]:
    return {
        key: {
            "value": getattr(law, key),
            "interval": _ends(found.intervals.get(f"{table}.{key}")),
        }
        for key in law.COEFFICIENTS
    }


def _ends(ends: tuple[float, float] | None) -> list[float | None] | None:
    return None if ends is None else [end if math.isfinite(end) else None for end in ends]
