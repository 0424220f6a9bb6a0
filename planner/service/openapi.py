"""The OpenAPI 3.1 document, built from ENDPOINTS, the request models and the plan's JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from planner.reports import FORMATS
from planner.reports.schema import plan_schema
from planner.robust import CRITERIA
from planner.service import answers, catalogues, schemas
from planner.service.endpoints import ENDPOINTS, EXAMPLE_JOINT, JSON, Endpoint
from planner.service.fitting import MOST_RESAMPLES
from planner.service.problems import MEDIA_TYPE

API_VERSION = "1"
Document = dict[str, Any]
_REFERENCE = "#/components/schemas/"

REFUSALS = {
    "400": "The body is not JSON.",
    "401": "The server wants a bearer token.",
    "408": "The body arrived too slowly.",
    "413": "The body is larger than allowed.",
    "415": "The body is of another type than stated here.",
    "421": "The server does not answer under this host name.",
    "422": "The question cannot be answered; `detail` says why in the command line's words, and "
    "`minimum_budget` what would do where the budget is too small.",
    "503": "The server is busy; Retry-After says when to try again.",
    "504": "The answer would take longer than one request may.",
}


def document() -> Document:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Distillation planner",
            "version": API_VERSION,
            "description": "Plans model distillation under a compute budget, with a proven "
            "optimum. Budgets are FLOPs, sizes non-embedding parameters, losses nats per token. "
            "Every refusal is problem+json.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _paths() -> Document:
    found: Document = {each.path: {"post": _operation(each)} for each in ENDPOINTS}
    found |= _job_paths()
    for path, (summary, text, parameters) in _plain_paths().items():
        found.setdefault(path, {})["get"] = _get(path, summary, text, parameters)
    found["/metrics"] = {"get": _metrics()}
    return found


def _operation(endpoint: Endpoint) -> Document:
    body: Document = {"schema": {"type": "string"}, "example": endpoint.example}
    if endpoint.body is not None:
        body["schema"] = {"$ref": _REFERENCE + endpoint.body.__name__}
    status = "202" if endpoint.lane == "jobs" else "200"
    answer: Document = {"type": "object"}
    if endpoint.lane == "jobs":
        answer = {"$ref": _REFERENCE + "JobOut"}
    elif endpoint.response:
        answer = {"$ref": _REFERENCE + endpoint.response}
    content: Document = {JSON: {"schema": answer}}
    if endpoint.formats:
        known = (FORMATS[name].media_type for name in endpoint.formats)
        others = (media_type for media_type in known if media_type != JSON)
        content |= {media_type: {"schema": {"type": "string"}} for media_type in others}
    content_of = dict.fromkeys(endpoint.media_types, body)
    if endpoint.upload:
        content_of[JSON] = {
            "schema": {"$ref": _REFERENCE + schemas.JointRunsIn.__name__},
            "example": EXAMPLE_JOINT,
        }
    operation: Document = {
        "operationId": endpoint.task,
        "summary": endpoint.summary,
        "description": endpoint.description,
        "requestBody": {"required": True, "content": content_of},
        "responses": {
            status: {"description": endpoint.returns, "content": content},
            **_refusals(*REFUSALS),
        },
    }
    if endpoint.formats:
        operation["parameters"] = _format_parameters(endpoint.formats)
    if endpoint.views:
        operation["parameters"] += _view_parameters()
    if endpoint.upload:
        operation["parameters"] = _fit_parameters()
    return operation


def _query(name: str, text: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _fit_parameters() -> list[Document]:
    from planner.fit import FORMS, PROTOCOLS

    flag = {"type": "boolean"}
    return [
        _query(
            "law",
            "The law's form; distillation unless given.",
            {"type": "string", "enum": list(FORMS), "example": "hoffmann"},
        ),
        _query("protocol", "How residuals count.", {"type": "string", "enum": list(PROTOCOLS)}),
        _query(
            "base",
            "Set that lends the fixed supervised law and the FLOP convention.",
            {"type": "string", "default": "busbridge2025"},
        ),
        _query(
            "fix",
            "Hold a coefficient, as NAME=VALUE; may be given again.",
            {"type": "array", "items": {"type": "string"}, "example": ["beta=0.3"]},
        ),
        _query(
            "bound",
            "Confine a coefficient, as NAME=LOW:HIGH; may be given again.",
            {"type": "array", "items": {"type": "string"}, "example": ["alpha=0.2:0.5"]},
        ),
        _query(
            "resamples",
            "Bootstrap resamples; 0 for none.",
            {"type": "integer", "minimum": 0, "maximum": MOST_RESAMPLES, "default": 512},
        ),
        _query("seed", "Seed of the bootstrap.", {"type": "integer", "minimum": 0}),
        _query("allow_duplicates", "Accept runs that occur twice.", flag),
        _query("judgement", "Whether to make the held-out checks.", flag),
    ]


def _format_parameters(formats: tuple[str, ...]) -> list[Document]:
    return [
        _query("format", "How to write the answer.", {"type": "string", "enum": list(formats)}),
        _query(
            "width",
            "Columns of the table.",
            {"type": "integer", "minimum": 40, "maximum": 400, "default": 100},
        ),
        _query("colour", "Colours in the table.", {"type": "boolean", "default": False}),
        _query("unicode", "Signs beyond ASCII in the table.", {"type": "boolean", "default": True}),
    ]


def _view_parameters() -> list[Document]:
    return [
        _query(
            "robust",
            "Also the recipe with the best expected or worst loss over the set's draws.",
            {"type": "string", "enum": list(CRITERIA)},
        ),
        _query(
            "sensitivity",
            "Also what each coefficient does to the plan.",
            {"type": "boolean", "default": False},
        ),
        _query(
            "near_optimal",
            "Also all recipes within this share of the best loss.",
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "example": 0.005},
        ),
    ]


def _job_paths() -> Document:
    identity = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"},
         "description": "What the 202 said."},
    ]  # fmt: skip
    job = {"200": {"description": "The job.", "content": {JSON: {"schema": {
        "$ref": _REFERENCE + "JobOut"}}}}, **_refusals("401", "404", "421")}  # fmt: skip
    result = {
        "200": {
            "description": "The result.",
            "content": {JSON: {"schema": {"$ref": _REFERENCE + "FitResult"}}},
        },
        **_refusals("401", "404", "409", "421", "422", "500", "503", "504"),
    }
    return {
        "/v1/jobs/{id}": {
            "get": {"operationId": "job", "summary": "How far a job is", "parameters": identity,
                    "responses": job},
            "delete": {"operationId": "cancel", "summary": "Cancel a job", "parameters": identity,
                       "responses": job},
        },
        "/v1/jobs/{id}/result": {
            "get": {"operationId": "result", "summary": "What a job found", "parameters": identity,
                    "responses": result},
        },
    }  # fmt: skip


def _plain_paths() -> dict[str, tuple[str, str, list[Document]]]:
    name = {
        "name": "name", "in": "path", "required": True, "schema": {"type": "string"},
        "example": "busbridge2025",
    }  # fmt: skip
    return {
        **{
            path: (each.summary, each.description, [name] if "{name}" in path else [])
            for path, each in catalogues.CATALOGUES.items()
        },
        "/v1/health": ("Whether the process lives", "Answers without a token.", []),
        "/v1/ready": ("Whether it takes requests", "503 while it starts or stops.", []),
    }


def _metrics() -> Document:
    text = "Requests and their times by route, lanes and jobs by state, the process."
    answer = {"description": "Prometheus' text format.",
              "content": {"text/plain": {"schema": {"type": "string"}}}}  # fmt: skip
    return {
        "operationId": "metrics",
        "summary": "Figures for Prometheus",
        "description": text,
        "parameters": [],
        "responses": {"200": answer, **_refusals("401", "421")},
    }


def _get(path: str, summary: str, text: str, parameters: list[Document]) -> Document:
    codes = ["401", "421", *(["404"] if parameters else []), "503"]
    answer = {"description": text, "content": {JSON: {"schema": answers.GETS[path]}}}
    return {
        "summary": summary,
        "description": text,
        "parameters": parameters,
        "responses": {"200": answer, **_refusals(*codes)},
    }


def _refusals(*codes: str) -> Document:
    texts = {**REFUSALS, "404": "There is nothing of this name.", "409": "There is no result.",
             "500": "The work failed."}  # fmt: skip
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE + "ProblemOut"}}}
    return {code: {"description": texts[code], "content": content} for code in codes}


def _schemas() -> Document:
    models: set[type[BaseModel]] = {each.body for each in ENDPOINTS if each.body is not None}
    models |= {schemas.ProblemOut, schemas.JobOut, schemas.JointRunsIn}
    found: Document = {}
    for model in sorted(models, key=lambda each: each.__name__):
        schema = model.model_json_schema(ref_template=_REFERENCE + "{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    text = json.dumps(plan_schema()).replace("#/$defs/", _REFERENCE + "Plan_")
    plan = json.loads(text)
    found |= {f"Plan_{name}": each for name, each in plan.pop("$defs", {}).items()}
    plan.pop("$schema", None)
    plan.pop("$id", None)
    found["Plan"] = plan
    return found | answers.REPORTS
