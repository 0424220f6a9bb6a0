"""Problems: validated at birth, read from people's words, every slip answered in one sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError, ProblemError, QuantityError
from planner.problem import BOUNDS, VARIABLES, Bounds, Problem, Teacher


def test_defaults() -> None:
    """Full scenario, practical bounds, free student, 1e-6 nats."""
    problem = Problem(1e21)
    assert problem.scenario == "full"
    assert problem.bounds == BOUNDS["practical"]
    assert problem.bounds.teacher_tokens == (1e6, 20e12)
    assert problem.size_range == (1e6, 1e12)
    assert problem.tolerance == 1e-6
    assert Problem(1e21, 1e9).size_range == (1e9, 1e9)


def test_peoples_words_and_plain_numbers_agree() -> None:
    """The command line, a request and a recipe file all reach the same Problem."""
    words = Problem.from_mapping(
        {"budget": "1 ZFLOP", "student": "1B", "scenario": "teacher-inference",
         "max_teacher_tokens": "15T", "min_student_tokens": "1_000_000_000",
         "teachers": ["size=7B,tokens=140B", {"size": "3B", "loss": 2.1, "name": "old"}],
         "serving_tokens": "1T", "tolerance": "1e-5", "bounds": "paper"}
    )  # fmt: skip
    numbers = Problem(
        budget=1e21,
        student=1e9,
        charge_inference=1.0,
        charge_pretraining=0.0,
        teachers=(Teacher(7e9, 140e9), Teacher(3e9, loss=2.1, name="old")),
        bounds=Bounds((1e6, 1e17), (1e9, 1e17), (1e6, 1e17), (1e6, 15e12)),
        serving_tokens=1e12,
        tolerance=1e-5,
    )
    assert words == numbers


def test_none_is_absent() -> None:
    """Unset options of a command line arrive as None and change nothing."""
    keys = ("student", "scenario", "charge_inference", "teacher", "min_teacher_size", "tolerance")
    assert Problem.from_mapping({"budget": 1e21, **dict.fromkeys(keys)}) == Problem(1e21)


def test_charges_override_the_scenario() -> None:
    """--charge-pretraining 0.25 on top of a scenario keeps the scenario's other charge."""
    given = {"budget": 1e21, "scenario": "teacher-inference", "charge_pretraining": 0.25}
    problem = Problem.from_mapping(given)
    assert (problem.charge_inference, problem.charge_pretraining) == (1.0, 0.25)
    assert problem.scenario == "custom"
    assert problem.with_charges(0, 0).scenario == "best-case"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a budget is missing"),
        ({"budget": "0"}, "Budget is 0"),
        ({"budget": -1e21}, "Budget is -1e\\+21"),
        ({"budget": math.nan}, "Budget is nan"),
        ({"budget": "1e70"}, "check the unit"),
        ({"budget": True}, "not a number"),
        ({"student": "1X"}, "Student size '1X' is not a number with a unit"),
        ({"student": "1e15"}, "outside the allowed 1M to 1T"),
        ({"student": "1B", "max_student_size": "500M"}, "change student, or min_student_size"),
        ({"scenario": "ful"}, "unknown scenario 'ful' \\(did you mean full\\?\\)"),
        ({"scenario": ["full"]}, "unknown scenario"),
        ({"charge_inference": 1.5}, "charge_inference is 1.5; it is a share between 0 and 1"),
        ({"charge_pretraining": "-0.1"}, "charge_pretraining is -0.1"),
        ({"charge_pretraining": "nan"}, "must be a finite number"),
        ({"charge_inference": "half"}, "'half' is not a number"),
        ({"bounds": "papers"}, "unknown bounds 'papers' \\(did you mean paper\\?\\)"),
        ({"bounds": ["paper"]}, "unknown bounds"),
        ({"min_student_tokens": "30T"}, "min_student_tokens \\(30T\\) is above max_student"),
        ({"max_teacher_size": "-3"}, "max_teacher_size is -3"),
        ({"max_teacher_siz": "3"}, "did you mean max_teacher_size\\?"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"tolerance": "1e-12"}, "choose nats between 1e-09 and 1"),
        ({"tolerance": "nan"}, "must be a finite number"),
        ({"serving_tokens": "-5"}, "Serving tokens is -5"),
        ({"serving_tokens": math.inf}, "Serving tokens is inf"),
        ({"serving_tokens": "lots"}, "Serving tokens 'lots'"),
        ({"stay_in_domain": "false"}, "stay_in_domain is 'false'; it must be true or false"),
        ({"round_to_architecture": 1}, "round_to_architecture is 1"),
        ({"teacher": "size=7B"}, "needs its size and tokens, or its measured loss"),
        ({"teacher": "tokens=7B"}, "needs its size and tokens, or its measured loss"),
        ({"teacher": "7B"}, "'7B' is not size=..., tokens=..., loss=... or name=..."),
        ({"teacher": "size=7B,sise=3"}, "'sise=3' is not size="),
        ({"teacher": "size=7B,size=3B,loss=2"}, "gives size twice"),
        ({"teacher": "size=7B,loss=205"}, "cross-entropies in nats per token lie below 20"),
        ({"teacher": "size=7B,loss=-2"}, "Teacher loss is -2"),
        ({"teacher": "size=-7B,loss=2"}, "Teacher size is -7B"),
        ({"teacher": ""}, "is not size="),
        ({"teacher": {"size": 7e9, "los": 2.0}}, "did you mean loss\\?"),
        ({"teacher": 5}, "teachers are 5; give a list"),
        ({"teachers": [5]}, "teacher 5 is not a teacher"),
        ({"teacher": "loss=2.0"}, "no inference cost; add its size"),
        ({"teacher": "size=7B,loss=2", "teachers": []}, "both teacher and teachers"),
    ],
)  # fmt: skip
def test_every_slip_has_its_sentence(given: dict[str, Any], says: str) -> None:
    """One clear sentence for each mistake, as a PlannerError, never another exception."""
    whole = given if not given or "budget" in given else {"budget": 1e21, **given}
    with pytest.raises(PlannerError, match=says) as caught:
        Problem.from_mapping(whole)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.0", " 0 "])
def test_no_serving_is_allowed(value: Any) -> None:
    """Zero serving tokens is the usual case, however it is written."""
    assert Problem.from_mapping({"budget": 1e21, "serving_tokens": value}).serving_tokens == 0.0


def test_direct_construction_validates_too() -> None:
    """The library's door is guarded like the command line's."""
    for change in ({"budget": -1}, {"student": 0.0}, {"tolerance": 2.0}, {"charge_inference": 2}):
        with pytest.raises(QuantityError):
            Problem(**{"budget": 1e21, **change})
    with pytest.raises(QuantityError, match="serving tokens are nan"):
        Problem(1e21, serving_tokens=math.nan)
    with pytest.raises(ProblemError):
        Problem(1e21, student=1e18)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(QuantityError):
            Bounds(student_size=(bad, 1e9))
        with pytest.raises(QuantityError):
            Bounds(teacher_tokens=(1e6, bad))


def test_teachers_known_by_loss_alone() -> None:
    """Stored logits need no size; a computed teacher does."""
    teacher = Teacher(loss=2.0)
    assert Problem(1e21, 1e9, charge_inference=0, teachers=(teacher,)).teachers == (teacher,)
    with pytest.raises(ProblemError, match="add its size"):
        Problem(1e21, 1e9, teachers=(teacher,))


def test_teachers_read_and_show() -> None:
    """A teacher's words read back to the same teacher, and it introduces itself."""
    teacher = Teacher.parse("size = 7B, tokens = 140B, name = ours")
    assert teacher == Teacher(7e9, 140e9, None, "ours")
    assert str(teacher) == "ours, 7B parameters, 140B tokens"
    assert str(Teacher(7e9, loss=2.05)) == "7B parameters, loss 2.0500"


ranges = st.tuples(st.floats(1.0, 1e9), st.floats(1e9, 1e18))


@given(st.fixed_dictionaries(dict.fromkeys(VARIABLES, ranges)))
def test_bounds_round_trip(given: dict[str, tuple[float, float]]) -> None:
    """All eight --min- and --max- options reach their bounds."""
    flat = {
        f"{end}_{variable}": pair[i]
        for variable, pair in given.items()
        for i, end in enumerate(("min", "max"))
    }
    assert Problem.from_mapping({"budget": 1e21, **flat}).bounds == Bounds(**given)
