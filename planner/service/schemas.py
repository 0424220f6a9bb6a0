"""What requests look like, for the OpenAPI document; the planner itself judges the values.

Fields are the keys of `Problem.from_mapping`, in people's words or as numbers, so that the service
and the command line share one reader and one sentence for every mistake.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coefficients import available
from planner.problem import BOUNDS, Problem
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS
from planner.service.limits import Limits

LIMITS = Limits()

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[
    Positive | str | None,
    Field(description="A count as a number, or in words: 1B, 300M, 2.5T.", examples=["1B", 3e8]),
]
Number = Annotated[
    float | str, Field(description="A number, as a number or as text.", examples=[0.5])
]
Share = Number | None
SetDocument = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TeacherIn(_Strict):
    """A teacher that exists: its size, and its tokens or its measured cross-entropy."""

    size: Count = Field(None, description="Non-embedding parameters.", examples=["7B"])
    tokens: Count = Field(None, description="Tokens it was trained on.", examples=["140B"])
    loss: Number | None = Field(
        None, description="Measured cross-entropy on the student's data, nats per token."
    )
    name: str = Field("", description="Its name, for the report.")


class _Question(_Strict):
    """A planning question less its budget."""

    student: Count = Field(
        None,
        description="The student's non-embedding parameters; left out, the size is planned too.",
        examples=["1B"],
    )
    scenario: Literal[tuple(SCENARIOS)] | None = Field(  # type: ignore[valid-type]
        None,
        description="Which of the teacher's costs the budget pays; "
        + "; ".join(f"{s.name}: {s.summary}" for s in SCENARIOS.values())
        + f". Default: {DEFAULT_SCENARIO}.",
        examples=[DEFAULT_SCENARIO],
    )
    charge_inference: Share = Field(
        None, description="Share of the teacher's inference the budget pays, 0 to 1."
    )
    charge_pretraining: Share = Field(
        None,
        description="Share of the teacher's pretraining the budget pays, 0 to 1; 1/k if k students "
        "share it.",
    )
    teachers: Annotated[list[TeacherIn | str], Field(max_length=LIMITS.teachers)] | None = Field(
        None,
        description="Teachers that exist, to choose among; objects, or 'size=7B,loss=2.05'.",
        examples=[[{"size": "7B", "tokens": "140B"}]],
    )
    teacher: TeacherIn | str | None = Field(None, description="The same for a single teacher.")
    bounds: Literal[tuple(BOUNDS)] | None = Field(  # type: ignore[valid-type]
        None, description="The bounds where none is given: practical, or the paper's 1e6 to 1e17."
    )
    min_student_size: Count = Field(None, description="Fewest parameters of the student.")
    max_student_size: Count = Field(None, description="Most parameters of the student.")
    min_student_tokens: Count = Field(None, description="Fewest tokens to distil on.")
    max_student_tokens: Count = Field(None, description="Most tokens to distil on.")
    min_teacher_size: Count = Field(None, description="Fewest parameters of a new teacher.")
    max_teacher_size: Count = Field(None, description="Most parameters of a new teacher.")
    min_teacher_tokens: Count = Field(None, description="Fewest tokens to train a teacher on.")
    max_teacher_tokens: Count = Field(None, description="Most tokens to train a teacher on.")
    serving_tokens: Annotated[float, Field(ge=0)] | str | None = Field(
        None, description="Tokens the student will serve; the budget pays their inference."
    )
    tolerance: Number | None = Field(
        None,
        description=f"Largest gap to the proven bound, nats; default {Problem.tolerance:g}.",
    )
    coefficients: str | SetDocument | None = Field(
        None,
        description=f"A shipped set ({', '.join(available())}), or a set as an object with the "
        "keys of a coefficient file. Never a path.",
        examples=[Problem.coefficients],
    )
    stay_in_domain: bool | None = Field(
        None, description="Plan only inside the ranges where the law was measured."
    )
    round_to_architecture: bool | None = Field(
        None, description="Plan with buildable model sizes only."
    )


class ProblemIn(_Question):
    """One planning question: what `plan` takes on the command line."""

    budget: Positive | str = Field(
        description="Total FLOPs: 1e21, '1 ZFLOP', '30 PFLOP-days'.", examples=["1e21", 3.2e22]
    )


class ExploreIn(ProblemIn):
    """A planning question with the arrays to draw around it."""

    parts: list[Literal["plan", "gap", "curves", "map"]] | None = Field(
        None, description="What to answer; everything unless given."
    )
    budgets: Annotated[int, Field(ge=2, le=500)] | None = Field(
        None, description="Budgets on each curve; default 55."
    )
    map_budgets: Annotated[int, Field(ge=2, le=200)] | None = Field(
        None, description="Columns of the map; default 37."
    )
    map_students: Annotated[int, Field(ge=2, le=200)] | None = Field(
        None, description="Rows of the map; default 25."
    )


class CompareIn(_Question):
    """A range of budgets and several students."""

    budget: Positive | str = Field(
        description="Total FLOPs, or a log-spaced range: 1e19:1e26, 1e19:1e26:50.",
        examples=["1e20:1e23"],
    )
    students: list[Positive | str] | None = Field(
        None, description="Student sizes; left out, `student`, or the size is planned too."
    )


class TargetIn(_Question):
    """A loss to reach, or a supervised model to match; one of the two."""

    loss: Number | None = Field(None, description="Cross-entropy to reach, nats per token.")
    like: str | None = Field(
        None, description="Be as good as this supervised model: size=3B,tokens=60B."
    )


class EvaluateIn(_Question):
    """A recipe by its parts (student, student_tokens, teacher), or as a plan's document."""

    student_tokens: Count = Field(None, description="Tokens the student is distilled on.")
    teacher: TeacherIn | str | None = Field(
        None,
        description="The recipe's teacher: of size and tokens (part of the cost), or known by its "
        "loss (it exists already).",
    )
    recipe: dict[str, Any] | None = Field(
        None, description="Instead: the document that /v1/plan answered."
    )


class NearOptimalIn(ProblemIn):
    """A planning question, and how much worse than the best still counts."""

    within: Number | None = Field(
        None, description="Share of the best loss, like 0.005 (the default)."
    )
    compute: Number | None = Field(
        None, description="Instead: recipes that waste at most this share of compute."
    )


class MemberIn(_Strict):
    """A student of a family."""

    size: Count = Field(description="Non-embedding parameters.", examples=["1B"])
    weight: Number | None = Field(None, description="How much its loss counts; 1 unless given.")
    target: Number | None = Field(
        None, description="A loss to reach (nats per token), for every student or none."
    )
    copies: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="How many equal students it stands for."
    )


class FamilyIn(_Question):
    """One budget over a teacher and several students."""

    students: list[MemberIn | str] = Field(
        description="The students: '300M', '1Bx8' for eight equal ones, or objects.", min_length=1
    )
    budget: Positive | str | None = Field(
        None, description="Total FLOPs for teacher and students; not with targets."
    )
    cached: bool | None = Field(
        None, description="Compute logits once, over the longest run, and store them."
    )
    growth: bool | None = Field(
        None, description="Also how the plan changes with the number of students (default)."
    )
    fixed_total: bool | None = Field(
        None, description="For that: all share one budget, rather than each bringing its share."
    )


class TeachersIn(_Question):
    """A student and a budget, and the teachers to rank; the shipped open models unless given."""

    budget: Positive | str = Field(description="Total FLOPs.", examples=["1e21"])
    logits: Literal["paid", "stored"] | None = Field(
        None, description="Whether the budget pays for the teacher's logits (the default)."
    )


class SweepIn(_Question):
    """A grid of problems: every budget, student, pair of charges and teacher."""

    budget: Positive | str | list[Positive | str] = Field(
        description="Total FLOPs: a number, words, log-spaced ranges 1e19:1e24:20, or a list.",
        examples=["1e20:1e23:7"],
    )
    students: Positive | str | list[Positive | str] | None = Field(
        None, description="Student sizes in the same way; left out, sizes are planned."
    )
    scenarios: Literal["all"] | list[str] | None = Field(
        None, description="Scenarios by name, or all; the problem's own unless given."
    )
    charges: list[list[Number]] | None = Field(
        None, description="Further pairs of shares paid: [[inference, pretraining], ...]."
    )


class JointRunsIn(_Strict):
    """Two files of runs as CSV text, whose laws are fitted jointly."""

    runs: str = Field(description="Distillations, as CSV text.")
    supervised_runs: str = Field(description="Supervised runs, as CSV text.")


class ProblemOut(BaseModel):
    """A refusal (RFC 9457). `detail` is the sentence that the command line would print."""

    type: str = Field(description="urn:distillation-planner:problem: and the code.")
    title: str
    status: int
    detail: str = Field(description="One sentence: what, which value, what to do next.")
    code: str = Field(description="For machines: infeasible, quantity, problem, ...")
    minimum_budget: float | None = Field(
        None, description="With code infeasible: the smallest budget (FLOPs) that has a plan."
    )
    floor: float | None = Field(
        None, description="With code unreachable: the loss (nats per token) no plan gets below."
    )
    problems: list[str] | None = Field(None, description="Every fault found, one sentence each.")
    limit_bytes: int | None = Field(None, description="With code too-large: the most there may be.")
    limit_seconds: float | None = Field(
        None, description="With code timeout: how long one request may take."
    )
    retry_after: int | None = Field(
        None, description="With code busy: seconds after which to try again, as in Retry-After."
    )


class JobOut(BaseModel):
    """Long work and how far it is."""

    id: str
    kind: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: float = Field(description="0 to 1.")
    message: str = Field(description="What it is doing.")
    seconds: float = Field(description="Since it was accepted, or what it took.")
    result: str | None = Field(description="Path of the result once there is one.")
