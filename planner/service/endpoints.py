"""Every question the service answers: one entry each, read by routes and OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from planner.errors import INPUT_ERRORS, ProblemError
from planner.reports import FORMATS
from planner.reports.sheet import SHEET_FORMATS
from planner.service import fitting, schemas
from planner.service.accept import choose
from planner.service.body import read_object
from planner.service.problems import RefusedError, of_error, refuse
from planner.units import parse_share

JSON = "application/json"


@dataclass(frozen=True)
class Endpoint:
    """POST `path` runs `task` in `lane`; `example` is a body that works."""

    path: str
    task: str
    lane: str
    summary: str
    description: str
    body: type[BaseModel] | None
    """None for an upload, which is text."""
    example: Mapping[str, Any] | str
    returns: str
    """What a 200 holds, in a sentence; the schema of `response`, where one is published."""
    response: str | None = None
    upload: bool = False
    formats: tuple[str, ...] = ()
    views: bool = False
    """Whether the query may ask for `plan`'s wider views, which are answered in the wide lane."""
    media_types: tuple[str, ...] = field(default=(JSON,))
    quick_parts: frozenset[str] = frozenset()
    """A body that asks for none but these `parts` is answered in the quick lane."""

    def options(self, request: Request) -> dict[str, Any]:
        """What the query and the Accept header say beside the body."""
        if self.upload:
            return self._upload_options(request)
        if not self.formats:
            return {}
        query = request.query_params
        name = query.get("format") or choose(request.headers.get("accept", ""), self.formats)
        if name not in self.formats:
            raise refuse(
                422,
                "not-acceptable",
                f"format '{name}' is not known; known: {', '.join(self.formats)}.",
            )
        width = query.get("width", "100")
        sound = len(width) <= 3 and width.isascii() and width.isdigit()
        if not sound or not 40 <= int(width) <= 400:
            raise refuse(422, "quantity", f"width is '{width}'; give 40 to 400 columns.")
        return {
            "format": name,
            "width": int(width),
            "colour": query.get("colour") == "true",
            "unicode": query.get("unicode") != "false",
            **(_views(query) if self.views else {}),
        }

    def lane_for(self, options: Mapping[str, Any], body: bytes = b"") -> str:
        """Where a request is answered, so that it holds up no shorter one, nor waits for a longer.

        The page asks for its recipe as two parts of `explore` that take no longer than a plan.
        """
        if any(name in options for name in VIEWS):
            return "wide"
        return "quick" if self.quick_parts and _only(self.quick_parts, body) else self.lane

    def _upload_options(self, request: Request) -> dict[str, Any]:
        stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            return fitting.read_options(request.query_params, stated)
        except INPUT_ERRORS as error:
            raise RefusedError(of_error(error)) from error


VIEWS = ("robust", "sensitivity", "near_optimal")


def _only(quick: frozenset[str], body: bytes) -> bool:
    """Whether the body asks for quick parts alone; what is wrong with it the solver will say."""
    try:
        parts = read_object(body).get("parts")
    except RefusedError:
        return False
    return isinstance(parts, list) and bool(parts) and all(
        isinstance(part, str) and part in quick for part in parts
    )  # fmt: skip


def _views(query: Mapping[str, str]) -> dict[str, Any]:
    """What else of a plan is asked for; nothing for what is not."""
    found: dict[str, Any] = {}
    try:
        if query.get("robust") is not None:
            found["robust"] = query["robust"]
        asked = query.get("sensitivity", "false")
        if asked not in ("true", "false"):
            raise ProblemError(f"sensitivity is '{asked}'; it must be true or false.")
        if asked == "true":
            found["sensitivity"] = True
        if query.get("near_optimal") is not None:
            found["near_optimal"] = parse_share(query["near_optimal"], "near_optimal")
    except INPUT_ERRORS as error:
        raise RefusedError(of_error(error)) from error
    return found


EXAMPLE_RUNS = "parameters,tokens,cross_entropy\n" + "".join(
    f"{n:g},{d:g},{1.69 + 406.4 / n**0.34 + 410.7 / d**0.28:.5f}\n"
    for n in (1e8, 3e8, 1e9, 3e9)
    for d in (2e9, 1e10, 5e10, 2e11)
)
"""Sixteen exact runs of Hoffmann et al. 2022 (Eq. 10), for law=hoffmann."""

EXAMPLE_JOINT = {
    "runs": "student_parameters,student_tokens,teacher_cross_entropy,student_cross_entropy\n"
    + "".join(
        f"{n:g},{d:g},{t:g},{0.2 + 0.9 * t + 60 / n**0.3 + 90 / d**0.3:.5f}\n"
        for n in (2e8, 6e8, 2e9)
        for d in (4e9, 2e10, 1e11)
        for t in (2.0, 2.3, 2.6)
    ),
    "supervised_runs": EXAMPLE_RUNS,
}
"""Runs in the two files of a joint fit; made up, and so few that their fit says little."""

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "/v1/plan",
        "plan",
        "quick",
        "The best recipe for a budget, with its proof",
        "The same document as `plan --format json`, to the byte. Other formats by `?format=` or "
        "the Accept header; `?robust=`, `?sensitivity=true` and `?near_optimal=` as the options.",
        schemas.ProblemIn,
        {"budget": "1e21", "student": "1B", "scenario": "full"},
        "The plan: recipe, certificate, supervised baseline, all scenarios, verdict, warnings.",
        response="Plan",
        formats=tuple(FORMATS),
        views=True,
    ),
    Endpoint(
        "/v1/explore",
        "explore",
        "wide",
        "A plan and every chart around it",
        "What the page draws, in one vectorised call: `plan` (the document, and its cells as "
        "text in `display`), `gap` (student loss against teacher cross-entropy on the recipe's "
        "tokens), `curves` (all methods over the budget, their shares of compute and crossovers) "
        "and `map` (distillation minus supervised over budgets and student sizes, nats). "
        "`inside` says where the law was measured.",
        schemas.ExploreIn,
        {"budget": "1e21", "student": "1B", "parts": ["plan", "gap"]},
        "The parts asked for; losses in nats per token, budgets in FLOPs.",
        quick_parts=frozenset(("plan", "gap")),
        response="Explore",
    ),
    Endpoint(
        "/v1/compare",
        "compare",
        "wide",
        "Distilling against direct training, over budgets and students",
        "Every scenario's best loss beside the supervised one, the proven crossover budgets, the "
        "largest gain: the document of `compare-supervised --format json`.",
        schemas.CompareIn,
        {"budget": "1e20:1e23", "students": ["300M", "1B"]},
        "Curves, crossovers and ratios; losses in nats per token, budgets in FLOPs.",
        formats=SHEET_FORMATS,
        response="Compare",
    ),
    Endpoint(
        "/v1/target",
        "target",
        "wide",
        "The smallest budget that reaches a loss",
        "For every scenario and for supervised training, with recipe and proof: the document of "
        "`target --format json`.",
        schemas.TargetIn,
        {"loss": 2.3, "student": "1B"},
        "Every way to the loss, cheapest first; budgets in FLOPs.",
        formats=SHEET_FORMATS,
        response="Target",
    ),
    Endpoint(
        "/v1/evaluate",
        "evaluate",
        "wide",
        "How good a recipe is that you have",
        "What the law predicts for it, the best plan of the same cost, what to change first, and "
        "how rules of thumb would do: the document of `evaluate --format json`.",
        schemas.EvaluateIn,
        {"student": "1B", "student_tokens": "40B", "teacher": {"size": "7B", "tokens": "140B"}},
        "The judgement; losses in nats per token, costs in FLOPs.",
        formats=SHEET_FORMATS,
        response="Evaluate",
    ),
    Endpoint(
        "/v1/explain",
        "explain",
        "wide",
        "What the law says around a plan",
        "Capacity gap, limits, marginal values: the document of `explain --format json`.",
        schemas.ProblemIn,
        {"budget": "1e21", "student": "1B"},
        "The explanation; losses in nats per token.",
        formats=SHEET_FORMATS,
        response="Explain",
    ),
    Endpoint(
        "/v1/near-optimal",
        "near_optimal",
        "wide",
        "All recipes almost as good as the best",
        "How far each quantity may move, the cheapest teacher among those recipes, the buildable "
        "models: the document of `near-optimal --format json`.",
        schemas.NearOptimalIn,
        {"budget": "1e21", "student": "1B", "within": 0.005},
        "Ranges of sizes (parameters) and tokens.",
        formats=SHEET_FORMATS,
        response="NearOptimal",
    ),
    Endpoint(
        "/v1/family",
        "family",
        "wide",
        "One teacher for several students",
        "Splits a budget over a teacher and all its students, with a proven bound, and says from "
        "how many students on a teacher pays: the document of `family --format json`.",
        schemas.FamilyIn,
        {"budget": "1e22", "students": ["300M", "1B"], "growth": False},
        "The split; losses in nats per token, costs in FLOPs.",
        formats=SHEET_FORMATS,
        response="Family",
    ),
    Endpoint(
        "/v1/teachers",
        "teachers",
        "wide",
        "Which existing teacher is best",
        "Ranks teachers by the loss of the student they make under the budget, and says where a "
        "stronger one is worse: the document of `teachers --format json`.",
        schemas.TeachersIn,
        {"budget": "1e21", "student": "1B", "teachers": ["size=7B,loss=2.05", "size=2B,loss=2.2"]},
        "The ranking, best first; losses in nats per token.",
        formats=SHEET_FORMATS,
        response="Teachers",
    ),
    Endpoint(
        "/v1/sweep",
        "sweep",
        "wide",
        "Many plans at once, as columns",
        "Certified optima of a grid in one vectorised solve, in the columns of the command "
        "`sweep`: one entry per problem in each, null where there is nothing.",
        schemas.SweepIn,
        {"budget": "1e20:1e23:7", "students": ["300M", "1B"]},
        "Columns of equal length; parameters, tokens, FLOPs, nats per token.",
        response="Sweep",
    ),
    Endpoint(
        "/v1/fit",
        "fit",
        "jobs",
        "Fit a scaling law to your runs",
        "The body is a file of runs, CSV or JSON lines: student_parameters, student_tokens, "
        "teacher_cross_entropy, student_cross_entropy; for supervised laws parameters, tokens, "
        "cross_entropy. A JSON object of two such files, runs and supervised_runs, fits both laws "
        "jointly. The answer is a job; its result holds the fit's judgement, and the "
        "coefficient set as TOML and as an object to send along with other questions.",
        None,
        EXAMPLE_RUNS,
        "The job that was accepted.",
        upload=True,
        media_types=tuple(fitting.UPLOADS),
    ),
)
