"""What every question and every answer has.

A question is a frozen dataclass in a folder beside its answer, its sheet and its picture:

    questions/target/question.py    class TargetQuestion(Question): the fields, `answer()`
    questions/target/answer.py      class Target(Answer): the results, and how they are found
    questions/target/sheet.py       sheet(answer) -> Sheet: the same for people
    questions/target/picture.py     draw(answer) -> Figure, caption(answer) -> str; may be absent

The command, the HTTP route, the client's method and the schema follow from the fields.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

from coefficients import DEFAULT, available
from planner import units
from planner.accelerators import Offer
from planner.documents import (
    SCHEMA_VERSION,
    Document,
    Record,
    completed,
    read_text,
)
from planner.documents import load as load_document
from planner.documents import parse as parse_document
from planner.errors import DocumentError, ProblemError
from planner.problem import BOUNDS, MAPPING_KEYS, Problem
from planner.questions.fields import Count, Flag, Flops, Number, Quantity, Whole, option
from planner.questions.hardware import Offered
from planner.reports.report import Report
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS

if TYPE_CHECKING:
    from coefficients import CoefficientSet
    from laws.lifetime import Serving
    from planner.reports.sheet import Sheet


class Answer(Report):
    """An answer: a document, a sheet in every format, and a picture where there is one."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The answer in a file that `--format json` or `toml` wrote; "-" is standard input.

        Raises DocumentError naming every fault.
        """
        return cls.from_document(parse_document(read_text(path), str(path)), str(path))

    @classmethod
    def read_document(cls, path: str | Path) -> Document:
        """The document itself, with every key, checked as `read` does."""
        given = parse_document(read_text(path), str(path))
        document: Document = completed(given, cls.from_document(given, str(path)).to_dict())
        return document

    @classmethod
    def from_document(cls, document: Any, name: str = "document") -> Self:
        """The answer of a document; raises DocumentError naming every fault."""
        if not isinstance(document, Mapping) or document.get("kind") != cls.KIND:
            raise DocumentError(
                f"'{name}' is not a document of kind '{cls.KIND}'; write one with "
                f"`planner {cls.KIND} --format toml`."
            )
        if document.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError(
                f"'{name}' has schema_version {document.get('schema_version')!r}, this planner "
                f"reads {SCHEMA_VERSION}; write it again with this version."
            )
        return load_document(cls, document, name)

    def sheet(self) -> Sheet:
        """Headline, warnings, tables and remarks."""
        found: Sheet = _beside(type(self), "sheet").sheet(self)
        return found

    def plot(self, path: str | None = None) -> Any:
        """The picture as a matplotlib figure, also written to `path` (.png, .svg, .pdf, .html)."""
        from planner.plots import style

        picture = _beside(type(self), "picture")
        figure = picture.draw(self)
        if path is not None:
            style.save(figure, path, picture.caption(self))
        return figure


@dataclass(frozen=True, kw_only=True)
class Question(Record):
    """A question with the fields that all of them share."""

    NAME: ClassVar[str]
    """The command, and the last part of the route."""
    SUMMARY: ClassVar[str]
    EXAMPLE: ClassVar[Mapping[str, Any]]
    """Fields of a question that works."""
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    coefficients: str | Mapping[str, Any] | None = option(
        f"A shipped coefficient set, or the path of a TOML file; {DEFAULT} unless given.",
        default=None,
        metavar="NAME|FILE",
        choices=available,
        file=True,
    )
    tolerance: Number | None = option(
        f"Largest gap to the proven bound, in nats; {Problem.tolerance:g} unless given.",
        default=None,
        metavar="NATS",
    )

    context: Whole | None = option(
        "Tokens of context at which FLOPs count attention; the coefficient set's unless given.",
        default=None,
        metavar="TOKENS",
    )
    vocabulary: Whole | None = option(
        "Vocabulary whose output head FLOPs count; the coefficient set's unless given.",
        default=None,
        metavar="N",
    )

    def __post_init__(self) -> None:
        kind: Any = type(self)
        offer: Offer | None = None
        for name, quantity, called in _parsers(kind):
            value = getattr(self, name)
            if quantity.offered and offer is None:
                offer = self.offer
            if value is not None and value != ():
                more = {"offer": offer} if quantity.offered else {}
                object.__setattr__(self, name, quantity.parse(value, called, **more))
        if offer is None:  # no budget asked for it: an unknown device is still refused here
            _ = self.offer

    @property
    def offer(self) -> Offer:
        """What budgets in GPU-hours and money are converted with."""
        return Offer()

    @property
    def load(self) -> Serving | None:
        """The serving load, where one is given by its requests."""
        return None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The question of these fields; raises ProblemError for one that is missing."""
        for each in fields(cls):
            if each.default is MISSING and each.name not in given:
                flag = each.metadata["flag"] or f"--{each.name.replace('_', '-')}"
                raise ProblemError(
                    f"the {each.name} is missing; give it like {flag} {cls.EXAMPLE[each.name]}."
                )
        return cls(**given)

    @property
    def quick(self) -> bool:
        """Whether the answer takes no longer than a plan; a service answers those first."""
        return False

    @property
    def points(self) -> int:
        """About how many problems are solved; a service bounds them."""
        return 1

    def answer(self) -> Answer:
        """The answer; raises PlannerError where there is none."""
        raise NotImplementedError

    def coefficient_set(self) -> CoefficientSet:
        """The set by name, by path, or as given in full."""
        from coefficients import load, parse

        if isinstance(self.coefficients, Mapping):
            found = parse(self.coefficients, name="given")
        else:
            found = load(self.coefficients or DEFAULT)
        return found.counted_at(self.context, self.vocabulary)

    def problem(self, **more: Any) -> Problem:
        """The planning problem of the fields this question shares with it; `more` goes first."""
        given = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name in MAPPING_KEYS and is_given(getattr(self, each.name))
        }
        if isinstance(self.coefficients, Mapping):
            given["coefficients"] = str(self.coefficients.get("name", "given"))
        if self.load is not None:
            given["serving_tokens"] = self.load.tokens
        given |= more
        if given.get("teachers"):
            _refuse_pretraining(given)
            given.setdefault("charge_pretraining", 0.0)
        found = Problem.from_mapping(given)
        if self.context is None or not found.teachers:
            return found
        teachers = tuple(each.at_context(self.context) for each in found.teachers)
        return replace(found, teachers=teachers)


@dataclass(frozen=True, kw_only=True)
class Budgeted(Offered):
    """Questions about one budget."""

    budget: Flops = option(
        "Total FLOPs: 1e21, 1 ZFLOP, 30 PFLOP-days, 64xH100*14d.",
        metavar="FLOPS",
        example="1e21",
    )


@dataclass(frozen=True, kw_only=True)
class Sized:
    """Questions about one student."""

    student: Count | None = option(
        "The student's non-embedding parameters, like 1B; left out, the size is planned too.",
        default=None,
        metavar="SIZE",
        called="student size",
        example="1B",
    )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Questions under one scenario."""

    scenario: str | None = option(
        f"Which of the teacher's costs the budget pays; {DEFAULT_SCENARIO} unless given.",
        default=None,
        metavar="|".join(SCENARIOS),
        choices=lambda: SCENARIOS,
    )


@dataclass(frozen=True, kw_only=True)
class Charges:
    """Questions under charges of the user's own."""

    charge_inference: Number | None = option(
        "Share of the teacher's inference to pay, 0 to 1.",
        default=None,
        metavar="SHARE",
        called="charge-inference",
    )
    charge_pretraining: Number | None = option(
        "Share of the teacher's pretraining to pay, 0 to 1 (1/k if k students share it).",
        default=None,
        metavar="SHARE",
        called="charge-pretraining",
    )


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Questions that may name teachers that exist."""

    teachers: tuple[Any, ...] = option(
        "A teacher that exists: size=7B,tokens=140B or size=7B,loss=2.05, also name=...; "
        "repeat to choose among several.",
        default=(),
        metavar="TEACHER",
        flag="--teacher",
        multiple=True,
    )


def is_given(value: Any) -> bool:
    """Whether a field was filled in; zero is a value."""
    return value is not None and value is not False and value != ()


def _refuse_pretraining(given: Mapping[str, Any]) -> None:
    """Raises ProblemError where the pretraining of teachers that exist would be charged."""
    scenario = SCENARIOS.get(str(given.get("scenario")))
    share = given.get("charge_pretraining", scenario.charge_pretraining if scenario else 0.0)
    if share == 0:
        return
    asked = "--charge-pretraining" if "charge_pretraining" in given else "--scenario"
    value = f"{share:g}" if "charge_pretraining" in given else given["scenario"]
    raise ProblemError(
        f"{asked} {value} charges the teacher's pretraining, but --teacher names a teacher that "
        "exists and is not trained; choose --scenario teacher-inference or best-case, or leave out "
        "--teacher."
    )


def _limit(end: str, variable: str) -> Any:
    words = variable.replace("_", " ").replace("size", "parameters")
    usual = units.format_count(getattr(BOUNDS["practical"], variable)[end == "Maximum"])
    return option(
        f"{end} {words}; {usual} unless given.",
        default=None,
        metavar="N",
        called=f"--{end[:3].lower()}-{variable.replace('_', '-')}",
    )


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """Questions within bounds on sizes and tokens."""

    min_student_size: Count | None = _limit("Minimum", "student_size")
    max_student_size: Count | None = _limit("Maximum", "student_size")
    min_student_tokens: Count | None = _limit("Minimum", "student_tokens")
    max_student_tokens: Count | None = _limit("Maximum", "student_tokens")
    min_teacher_size: Count | None = _limit("Minimum", "teacher_size")
    max_teacher_size: Count | None = _limit("Maximum", "teacher_size")
    min_teacher_tokens: Count | None = _limit("Minimum", "teacher_tokens")
    max_teacher_tokens: Count | None = _limit("Maximum", "teacher_tokens")
    bounds: str | None = option(
        "The bounds above where none is given: practical (the default), or paper (1e6 to 1e17 "
        "for all four).",
        default=None,
        metavar="|".join(BOUNDS),
        choices=lambda: BOUNDS,
    )


@dataclass(frozen=True, kw_only=True)
class Served:
    """Questions about a student that will serve."""

    serving_tokens: Any = option(
        "Tokens the student will serve; their inference is paid from the budget.",
        default=None,
        metavar="TOKENS",
    )
    requests: Count | None = option(
        "Requests a month that the student will serve, instead of serving tokens.",
        default=None,
        metavar="N",
    )
    prompt: Count | None = option("Tokens of a request's prompt.", default=None, metavar="TOKENS")
    completion: Count | None = option(
        "Tokens that a request generates.", default=None, metavar="TOKENS"
    )
    months: Count | None = option("Months of service.", default=None, metavar="N")

    @property
    def load(self) -> Serving | None:
        """The load that the four fields give; ProblemError where some of them are missing."""
        given = {name: getattr(self, name) for name in LOAD}
        missing = [name for name, value in given.items() if value is None]
        if len(missing) == len(LOAD):
            return None
        if missing:
            raise ProblemError(
                f"a serving load lacks {' and '.join(missing)}; give {', '.join(LOAD)} together."
            )
        if self.serving_tokens is not None:
            raise ProblemError("both serving tokens and a load of requests are given; keep one.")
        from laws.lifetime import Serving

        return Serving(**given)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Questions that may be confined to what was measured."""

    stay_in_domain: Flag = option("Plan only where the law was measured.", default=False)


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """Questions that take further limits."""

    constraints: tuple[str, ...] = option(
        "A further limit, such as 'student_tokens + teacher_tokens <= 8T'; repeat for several.",
        default=(),
        metavar="LIMIT",
        flag="--constraint",
        multiple=True,
    )


@dataclass(frozen=True, kw_only=True)
class Buildable:
    """Questions that may ask for sizes of real architectures."""

    round_to_architecture: Flag = option("Plan with buildable model sizes only.", default=False)


LOAD = ("requests", "prompt", "completion", "months")
"""Fields that make a serving load together."""


@cache
def _parsers(kind: Any) -> tuple[tuple[str, Quantity, str], ...]:
    """(field, quantity, name in errors) of every field with one, those that need an offer last."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for each in fields(kind):
        hint = hints[each.name]
        # JSON may write 7 as 7.0
        quantity = Quantity(units.parse_whole) if hint is int else _quantity(hint)
        if quantity is not None:
            called = each.metadata.get("called") or each.name.replace("_", " ")
            found.append((each.name, quantity, called))
    return tuple(sorted(found, key=lambda each: each[1].offered))


def _quantity(hint: Any) -> Quantity | None:
    if get_origin(hint) is Annotated:
        return next((each for each in hint.__metadata__ if isinstance(each, Quantity)), None)
    return next(filter(None, map(_quantity, get_args(hint))), None)


def _beside(kind: type[Any], name: str) -> Any:
    """A module in the folder of the question."""
    package = kind.__module__.rpartition(".")[0]
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{name}":
            raise
        raise ProblemError(f"there is no {name} of this answer.") from error
