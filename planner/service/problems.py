"""Refusals as problem+json (RFC 9457): the sentence of the command line, and numbers to act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coefficients import CoefficientError
from planner import errors

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:distillation-planner:problem:"
LONGEST_DETAIL = 4000

CODES: dict[type[Exception], str] = {
    errors.InfeasibleError: "infeasible",
    errors.UnreachableError: "unreachable",
    errors.ProblemError: "problem",
    errors.QuantityError: "quantity",
    errors.NoDistillationLawError: "no-distillation-law",
    errors.DocumentError: "document",
    errors.MissingExtraError: "missing-extra",
    errors.PlannerError: "input",
    CoefficientError: "coefficients",
}
"""Error class -> the word for machines; the first match along the class's ancestors counts."""

TITLES = {
    "infeasible": "The budget is too small",
    "unreachable": "No plan reaches this loss",
    "problem": "The question is not valid",
    "quantity": "A number cannot be read",
    "no-distillation-law": "The coefficient set cannot plan distillation",
    "document": "The document is not valid",
    "missing-extra": "An optional package is absent on the server",
    "input": "The request cannot be answered",
    "coefficients": "The coefficient set is not valid",
    "syntax": "The body is not JSON",
    "too-large": "The request is too large",
    "unauthorised": "A bearer token is required",
    "not-found": "There is nothing here",
    "method": "The method is not allowed here",
    "not-acceptable": "The format is not known",
    "busy": "The server is busy",
    "timeout": "The request took too long",
    "cancelled": "The job was cancelled",
    "not-ready": "The result is not ready",
    "internal": "The server failed",
}


@dataclass(frozen=True)
class Problem:
    """One refusal: HTTP status, code for machines, one sentence for people, further members."""

    status: int
    code: str
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The members of the problem+json object."""
        return {
            "type": TYPE_PREFIX + self.code,
            "title": TITLES[self.code],
            "status": self.status,
            "detail": self.detail[:LONGEST_DETAIL],
            "code": self.code,
            **self.extra,
        }

    def body(self) -> bytes:
        """The document as bytes; ASCII, so that no text of a client can break it."""
        return json.dumps(self.document(), allow_nan=False).encode("ascii")


class RefusedError(Exception):
    """Carries a Problem to the edge."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refuse(status: int, code: str, detail: str, **extra: Any) -> RefusedError:
    """A RefusedError to raise."""
    return RefusedError(Problem(status, code, _sentence(detail), extra))


def of_error(error: Exception) -> Problem:
    """The refusal for one of planner.errors.INPUT_ERRORS: status 422, the command line's words."""
    code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    extra: dict[str, Any] = {}
    for name in ("minimum_budget", "floor"):
        if (value := getattr(error, name, None)) is not None:
            extra[name] = float(value)
    if faults := getattr(error, "problems", ()):
        extra["problems"] = [str(fault) for fault in faults]
    return Problem(422, code, _sentence(str(error)), extra)


def _sentence(text: str) -> str:
    """As the command line prints it: a capital first."""
    return text[:1].upper() + text[1:]
