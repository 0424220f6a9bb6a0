"""The question: a budget, a student, what the teacher costs, and what is allowed.

A Problem is validated at birth; `Problem.from_mapping` reads the words of the command line, of a
request to the service and of a recipe file alike.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from coefficients import DEFAULT
from planner import units
from planner.errors import ProblemError, QuantityError
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS, scenario_of

if TYPE_CHECKING:
    from coefficients import CoefficientSet

Range = tuple[float, float]

LEAST_SHARE = 1e-9
"""The smallest share of a cost that is told from none."""

TOLERANCES: Range = (1e-9, 1.0)
"""Allowed tolerances in nats: below 1e-9 the margin for rounding would dominate."""


@dataclass(frozen=True)
class Bounds:
    """Inclusive ranges of sizes (non-embedding parameters) and tokens."""

    student_size: Range = (1e6, 1e12)
    student_tokens: Range = (1e6, 20e12)
    teacher_size: Range = (1e6, 1e12)
    teacher_tokens: Range = (1e6, 20e12)

    def __post_init__(self) -> None:
        for each in fields(self):
            low, high = getattr(self, each.name)
            units.check_positive(low, f"min_{each.name}")
            units.check_positive(high, f"max_{each.name}")
            if low > high:
                raise ProblemError(
                    f"min_{each.name} ({units.format_count(low)}) is above max_{each.name} "
                    f"({units.format_count(high)}); swap them or drop one."
                )


BOUNDS: dict[str, Bounds] = {
    "practical": Bounds(),
    "paper": Bounds((1e6, 1e17), (1e6, 1e17), (1e6, 1e17), (1e6, 1e17)),
}


@dataclass(frozen=True)
class Teacher:
    """A teacher that exists already: its size, and its tokens or its measured cross-entropy.

    A measured loss needs no tokens, and no size either if the teacher's inference costs nothing.
    forward_flops: per token, where its architecture is known (`planner.models`); F(N) of the
    coefficient set otherwise.
    """

    size: float | None = None
    tokens: float | None = None
    loss: float | None = None
    name: str = ""
    forward_flops: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            units.check_positive(self.size, "teacher size")
        if self.forward_flops is not None:
            units.check_positive(self.forward_flops, "teacher forward_flops")
        if self.tokens is not None:
            units.check_positive(self.tokens, "teacher tokens")
        if self.loss is not None:
            units.check_positive(self.loss, "teacher loss")
            if self.loss > 20:
                raise QuantityError(
                    f"teacher loss is {self.loss}; cross-entropies in nats per token lie below 20."
                )
        if self.loss is None and (self.size is None or self.tokens is None):
            raise ProblemError(
                "a teacher needs its size and tokens, or its measured loss: "
                "size=7B,tokens=140B or size=7B,loss=2.05."
            )

    @classmethod
    def parse(cls, text: str) -> Teacher:
        """``size=7B,tokens=140B`` or ``size=7B,loss=2.05``, optionally with ``name=...``.

        Also an open model by name, ``llama-3.1-8b`` or ``llama-3.1-8b,loss=2.05``.
        """
        first, _, rest = text.partition(",")
        if "=" not in first and not first.strip()[:1].isdigit() and first.strip():
            return _open_model(first, rest, text)
        given: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            key = key.strip()
            if not equals or key not in ("size", "tokens", "loss", "name"):
                raise ProblemError(
                    f"teacher '{text}': '{part.strip()}' is not size=..., tokens=..., loss=... "
                    "or name=...; write it like size=7B,tokens=140B."
                )
            if key in given:
                raise ProblemError(f"teacher '{text}' gives {key} twice; keep one.")
            given[key] = value.strip()
        return cls.from_mapping(given)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Teacher:
        """From size, tokens, loss and name in people's words or plain numbers."""
        _only(given, ("size", "tokens", "loss", "name", "forward_flops"), "teacher")
        return cls(
            size=_optional(given.get("size"), units.parse_count, "teacher size"),
            tokens=_optional(given.get("tokens"), units.parse_count, "teacher tokens"),
            loss=_optional(given.get("loss"), units.parse_plain, "teacher loss"),
            name=str(given.get("name", "")),
            forward_flops=_optional(given.get("forward_flops"), units.parse_plain, "forward_flops"),
        )

    def at_context(self, context: int) -> Teacher:
        """An open model with its FLOPs per token at this context; any other teacher as it is."""
        from planner.models import model_of

        model = model_of(self)
        if model is None:
            return self
        return replace(self, forward_flops=model.forward_flops(context))

    def __str__(self) -> str:
        parts = [self.name] if self.name else []
        if self.size is not None:
            parts.append(f"{units.format_count(self.size)} parameters")
        if self.tokens is not None:
            parts.append(f"{units.format_count(self.tokens)} tokens")
        if self.loss is not None:
            parts.append(f"loss {units.format_loss(self.loss)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Problem:
    """One planning question.

    budget: total FLOPs. student: its non-embedding parameters, or None to choose them as well.
    charge_inference, charge_pretraining: shares in [0, 1] of the teacher's costs that the budget
    pays. teachers: choose among these instead of planning a new one; their pretraining is sunk.
    serving_tokens: tokens the student will serve, charged at F(N_S) each. tolerance: largest
    certified gap in nats. stay_in_domain: only plans where the law was measured. context,
    vocabulary: what FLOPs count attention and output head at; None for the coefficient set's own.
    constraints: posynomials such as ``student_tokens + teacher_tokens <= 8T`` (`posynomial`).
    """

    budget: float
    student: float | None = None
    charge_inference: float = 1.0
    charge_pretraining: float = 1.0
    teachers: tuple[Teacher, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    serving_tokens: float = 0.0
    tolerance: float = 1e-6
    coefficients: str = DEFAULT
    stay_in_domain: bool = False
    round_to_architecture: bool = False
    context: int | None = None
    vocabulary: int | None = None
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        units.check_positive(self.budget, "budget")
        if self.student is not None:
            units.check_positive(self.student, "student size")
            low, high = self.bounds.student_size
            if not low <= self.student <= high:
                raise ProblemError(
                    f"the student's {units.format_count(self.student)} parameters are outside the "
                    f"allowed {units.format_count(low)} to {units.format_count(high)}; change "
                    "student, or min_student_size and max_student_size."
                )
        for name in ("charge_inference", "charge_pretraining"):
            share = units.parse_plain(getattr(self, name), name)
            if not 0.0 <= share <= 1.0:
                raise QuantityError(f"{name} is {share}; it is a share between 0 and 1.")
            if 0.0 < share < LEAST_SHARE:
                raise QuantityError(
                    f"{name} is {share}; give 0, or a share of {LEAST_SHARE:g} at least."
                )
        if not (math.isfinite(self.serving_tokens) and self.serving_tokens >= 0):
            raise QuantityError(
                f"serving tokens are {self.serving_tokens}; give zero or a positive amount."
            )
        low, high = TOLERANCES
        if not low <= self.tolerance <= high:
            raise QuantityError(
                f"tolerance is {self.tolerance}; choose nats between {low:g} and {high:g}."
            )
        if self.constraints:
            from planner.posynomial import Posynomial

            for text in self.constraints:
                Posynomial.parse(text)
            if self.round_to_architecture:
                raise ProblemError(
                    "buildable sizes are not searched under constraints; leave out "
                    "round_to_architecture, or bound sizes and tokens by max_teacher_size and the "
                    "like instead of --constraint."
                )
        for teacher in self.teachers:
            if teacher.size is None and self.charge_inference > 0:
                raise ProblemError(
                    "a teacher known by its loss alone has no inference cost; add its size "
                    "(size=7B,loss=2.05), or set charge_inference to 0 for stored logits."
                )

    @property
    def scenario(self) -> str:
        """The scenario's name, ``custom`` for other charges. Existing teachers are not trained."""
        pretraining = 0.0 if self.teachers else self.charge_pretraining
        return scenario_of(self.charge_inference, pretraining)

    @property
    def size_range(self) -> Range:
        """Allowed student sizes: a point where the size is given."""
        return (
            (self.student, self.student) if self.student is not None else self.bounds.student_size
        )

    def with_charges(self, charge_inference: float, charge_pretraining: float) -> Problem:
        """The same question under other charges."""
        return replace(
            self, charge_inference=charge_inference, charge_pretraining=charge_pretraining
        )

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Problem:
        """From people's words or plain numbers; unknown keys are refused with a suggestion.

        Keys: budget, student, scenario, charge_inference, charge_pretraining, teacher(s), bounds
        ("practical", "paper"), min_/max_ with student_size, student_tokens, teacher_size,
        teacher_tokens, serving_tokens, tolerance, coefficients, stay_in_domain,
        round_to_architecture, context, vocabulary, constraints. A value of None is the same as
        leaving the key out.
        """
        given = {key: value for key, value in given.items() if value is not None}
        _only(given, MAPPING_KEYS, "problem")
        if "budget" not in given:
            raise ProblemError("a budget is missing; give total FLOPs like 1e21.")
        scenario = _scenario(str(given.get("scenario", DEFAULT_SCENARIO)))
        inference, pretraining = scenario.charges
        if "charge_inference" in given:
            inference = units.parse_plain(given["charge_inference"], "charge_inference")
        if "charge_pretraining" in given:
            pretraining = units.parse_plain(given["charge_pretraining"], "charge_pretraining")
        if "teacher" in given and "teachers" in given:
            raise ProblemError("both teacher and teachers are given; keep one.")
        teachers = given.get("teachers", given.get("teacher", ()))
        if isinstance(teachers, str | Mapping | Teacher):
            teachers = (teachers,)
        if not isinstance(teachers, Sequence):
            raise ProblemError(f"teachers are {teachers!r}; give a list like [size=7B,loss=2.05].")
        return cls(
            budget=units.parse_flops(given["budget"], "budget"),
            student=_optional(given.get("student"), units.parse_count, "student size"),
            charge_inference=inference,
            charge_pretraining=pretraining,
            teachers=tuple(_teacher(each) for each in teachers),
            bounds=_bounds(given),
            serving_tokens=_serving(given.get("serving_tokens", 0)),
            tolerance=units.parse_plain(given.get("tolerance", 1e-6), "tolerance"),
            coefficients=str(given.get("coefficients", cls.coefficients)),
            stay_in_domain=_flag(given, "stay_in_domain"),
            round_to_architecture=_flag(given, "round_to_architecture"),
            context=_optional_whole(given.get("context"), "context"),
            vocabulary=_optional_whole(given.get("vocabulary"), "vocabulary"),
            constraints=_constraints(given),
        )

    def comparable_charges(self) -> list[tuple[float, float]]:
        """Charges (inference, pretraining) under which the question makes sense: the scenarios, and
        its own if they are custom. Existing teachers are not trained, and need a size for inference
        to have a cost."""
        charges = [each.charges for each in SCENARIOS.values()]
        if self.teachers:
            sized = all(each.size is not None for each in self.teachers)
            charges = [(i, p) for i, p in charges if p == 0 and (sized or i == 0)]
        return charges if self.own_charges in charges else [*charges, self.own_charges]

    @property
    def own_charges(self) -> tuple[float, float]:
        """(charge_inference, charge_pretraining), the latter 0 for existing teachers."""
        return (self.charge_inference, 0.0 if self.teachers else self.charge_pretraining)

    def to_mapping(self) -> dict[str, Any]:
        """The same in plain values, as `from_mapping` and questions take it, with every bound."""
        return {
            "budget": self.budget,
            "student": self.student,
            "charge_inference": self.charge_inference,
            "charge_pretraining": self.charge_pretraining,
            "teachers": [vars(teacher) for teacher in self.teachers],
            **{
                f"{end}_{variable}": getattr(self.bounds, variable)[index]
                for variable in VARIABLES
                for index, end in enumerate(("min", "max"))
            },
            "serving_tokens": self.serving_tokens,
            "tolerance": self.tolerance,
            "coefficients": self.coefficients,
            "stay_in_domain": self.stay_in_domain,
            "round_to_architecture": self.round_to_architecture,
            "context": self.context,
            "vocabulary": self.vocabulary,
            "constraints": list(self.constraints),
        }

    def coefficient_set(self, given: CoefficientSet | None = None) -> CoefficientSet:
        """The set that is given, else the one named, with FLOPs as this problem counts them."""
        from coefficients import load

        chosen = given if given is not None else load(self.coefficients)
        return chosen.counted_at(self.context, self.vocabulary)


def shared_set(problems: Sequence[Problem], given: CoefficientSet | None = None) -> CoefficientSet:
    """The one set that all problems are solved under: the one given, else the one they all name.

    Raises ProblemError where they name several, or count FLOPs differently: an answer under
    another problem's law would look like any other.
    """
    first = problems[0]
    fields = ("context", "vocabulary", *(() if given is not None else ("coefficients",)))
    for name in fields:
        values = {getattr(each, name) for each in problems}
        if len(values) > 1:
            several = ", ".join(sorted(map(str, values)))
            raise ProblemError(
                f"problems solved together need one {name}, but these have {several}; solve those "
                "of each apart."
            )
    return first.coefficient_set(given)


VARIABLES = ("student_size", "student_tokens", "teacher_size", "teacher_tokens")
MAPPING_KEYS = (
    "budget", "student", "scenario", "charge_inference", "charge_pretraining", "teacher",
    "teachers", "bounds", "serving_tokens", "tolerance", "coefficients", "stay_in_domain",
    "round_to_architecture", "context", "vocabulary", "constraints",
    *(f"{end}_{v}" for v in VARIABLES for end in ("min", "max")),
)  # fmt: skip


def _scenario(name: str) -> Any:
    if name not in SCENARIOS:
        raise ProblemError(
            f"unknown scenario '{name}'{_suggest(name, SCENARIOS)}; known: {', '.join(SCENARIOS)}."
        )
    return SCENARIOS[name]


def _teacher(given: Any) -> Teacher:
    if isinstance(given, Teacher):
        return given
    if isinstance(given, Mapping):
        return Teacher.from_mapping(given)
    if not isinstance(given, str):
        raise ProblemError(f"teacher {given!r} is not a teacher; write it like size=7B,loss=2.05.")
    return Teacher.parse(given)


def _open_model(name: str, rest: str, text: str) -> Teacher:
    """A model of the catalogue, with its measured loss where one is given."""
    from planner.models import find

    model = find(name)
    key, equals, value = rest.partition("=")
    if rest and (key.strip() != "loss" or not equals or "," in value):
        raise ProblemError(
            f"teacher '{text}': only loss=... may follow the name of an open model; write it like "
            f"{name.strip()},loss=2.05."
        )
    loss = units.parse_plain(value, "teacher loss") if rest else None
    return Teacher(**model.as_teacher(loss))


def _constraints(given: Mapping[str, Any]) -> tuple[str, ...]:
    texts = given.get("constraints", ())
    texts = (texts,) if isinstance(texts, str) else texts
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ProblemError(
            f"constraints are {texts!r}; give texts like 'student_tokens + teacher_tokens <= 8T'."
        )
    return tuple(texts)


def _flag(given: Mapping[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):  # bool("false") is True
        raise ProblemError(f"{key} is {value!r}; it must be true or false.")
    return value


def _bounds(given: Mapping[str, Any]) -> Bounds:
    base = given.get("bounds", "practical")
    if isinstance(base, Mapping):  # of a document
        _only(base, VARIABLES, "bounds")
        base = Bounds(**{name: (float(low), float(high)) for name, (low, high) in base.items()})
    if not isinstance(base, Bounds):
        if not isinstance(base, str) or base not in BOUNDS:
            raise ProblemError(
                f"unknown bounds '{base}'{_suggest(str(base), BOUNDS)}; known: {', '.join(BOUNDS)}."
            )
        base = BOUNDS[base]
    ranges = {}
    for variable in VARIABLES:
        low, high = getattr(base, variable)
        names = (f"min_{variable}", f"max_{variable}")
        low, high = (
            units.parse_count(given[key], key) if key in given else usual
            for key, usual in zip(names, (low, high), strict=True)
        )
        ranges[variable] = (low, high)
    return Bounds(**ranges)


def _serving(value: Any) -> float:
    try:
        if float(value) == 0.0:  # parse_count has no zero: nothing else may be zero
            return 0.0
    except (TypeError, ValueError):
        pass
    return units.parse_count(value, "serving tokens")


def _optional(value: Any, parse: Any, what: str) -> float | None:
    return None if value is None else float(parse(value, what))


def _optional_whole(value: Any, what: str) -> int | None:
    return None if value is None else units.parse_whole(value, what)


def _only(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise ProblemError(
                f"unknown {what} key '{key}'{_suggest(key, known)}; known: {', '.join(known)}."
            )


def _suggest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
