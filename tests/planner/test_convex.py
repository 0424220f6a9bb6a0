"""Geometric programs: they agree with the fast solver, and constraints are read and respected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from coefficients import load
from planner import Bounds, Problem, Teacher, optimum, supervised
from planner.errors import (
    InfeasibleError,
    NoDistillationLawError,
    PlannerError,
    ProblemError,
    UnreachableError,
)
from tests.oracles.convex import (
    Posynomial,
    cheapest_teacher,
    minimise_with_constraints,
    most_student_tokens,
    supervised_optimum,
)

SET = load()
LAW, FLOPS = SET.supervised, SET.flops


@pytest.mark.parametrize("serving", [0.0, 1e10])
@pytest.mark.parametrize("budget", [1e20, 1e22, 1e25])
def test_supervised_optimum_agrees(budget: float, serving: float) -> None:
    """The program and the fast solver find the same supervised optimum, to 1e-7 nats."""
    ours = supervised(Problem(budget, serving_tokens=serving)).model
    theirs = supervised_optimum(LAW, FLOPS, budget, serving_tokens=serving)
    assert ours.cross_entropy == pytest.approx(theirs.objective, abs=1e-7)
    assert ours.parameters == pytest.approx(theirs.values["student_size"], rel=1e-2)
    assert ours.cross_entropy <= theirs.objective + 1e-9


def test_supervised_optimum_under_plain_6nd_is_the_textbook_one() -> None:
    """Under 6ND without binding bounds, alpha A N^-alpha = beta B D^-beta at the optimum."""
    hoffmann = load("hoffmann2022")
    law = hoffmann.supervised
    found = supervised_optimum(law, hoffmann.flops, 1e22).values
    size, tokens = found["student_size"], found["student_tokens"]
    assert 6 * size * tokens == pytest.approx(1e22, rel=1e-6)
    marginal = law.alpha * law.A * size**-law.alpha, law.beta * law.B * tokens**-law.beta
    assert marginal[0] == pytest.approx(marginal[1], rel=1e-4)


@pytest.mark.parametrize("charges", [(1.0, 1.0), (0.0, 1.0), (0.3, 0.6), (1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("loss", [1.9, 2.2, 2.6])
def test_cheapest_teacher_agrees_with_a_search(charges: tuple[float, float], loss: float) -> None:
    """On the contour of equal loss, a dense search finds no cheaper teacher and one as cheap."""
    student_tokens, bounds = 1e11, Bounds()
    found = cheapest_teacher(LAW, FLOPS, loss, student_tokens, charges)
    inference, pretraining = charges if any(charges) else (0.0, 1.0)
    size = np.geomspace(*bounds.teacher_size, 200_001)
    tokens = np.maximum(LAW.tokens_for_loss(size, loss), bounds.teacher_tokens[0])
    size, tokens = (
        size[tokens <= bounds.teacher_tokens[1]],
        tokens[tokens <= bounds.teacher_tokens[1]],
    )
    cost = FLOPS(size) * (inference * student_tokens + 3 * pretraining * tokens)
    # 1e-4: the grid's spacing where the cheapest teacher sits at the bound of its tokens
    assert found.objective == pytest.approx(cost.min(), rel=1e-4)
    assert found.objective <= cost.min() * (1 + 1e-6)


@pytest.mark.parametrize("charges", [(1.0, 1.0), (0.0, 1.0), (0.2, 0.7)])
def test_planned_teacher_is_the_cheapest_of_its_loss(charges: tuple[float, float]) -> None:
    """The teacher in a plan costs what the program says the cheapest such teacher costs."""
    recipe, _ = optimum(Problem(1e22, 3e9, *charges))
    found = cheapest_teacher(
        LAW, FLOPS, recipe.teacher.cross_entropy, recipe.student.tokens, charges
    )
    paid = recipe.flops.teacher_inference + recipe.flops.teacher_pretraining
    assert paid == pytest.approx(found.objective, rel=1e-6)


@pytest.mark.parametrize("serving", [0.0, 1e11])
@pytest.mark.parametrize("charges", [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_most_student_tokens_agree(charges: tuple[float, float], serving: float) -> None:
    """D*(t) at a plan's own teacher is the plan's student tokens."""
    recipe, _ = optimum(Problem(1e22, 3e9, *charges, serving_tokens=serving))
    found = most_student_tokens(
        LAW, FLOPS, recipe.teacher.cross_entropy, 3e9, 1e22, charges, serving_tokens=serving
    )
    assert found.objective == pytest.approx(recipe.student.tokens, rel=1e-6)
    assert set(found.values) == {"student_tokens", "teacher_size", "teacher_tokens"}


@pytest.mark.parametrize("charges", [(1.0, 1.0), (0.0, 1.0), (0.5, 0.1), (0.0, 0.0), (1.0, 0.0)])
def test_search_without_constraints_agrees_with_the_solver(charges: tuple[float, float]) -> None:
    """With nothing extra, both certified searches bracket the same optimum."""
    problem = Problem(1e22, 3e9, *charges, bounds=Bounds(teacher_tokens=(1e8, 2e12)))
    recipe, certificate = minimise_with_constraints(problem, SET, (), 1e-3)
    exact, proof = optimum(problem)
    assert certificate.proven
    assert certificate.gap <= 1e-3
    assert certificate.lower_bound <= exact.student.cross_entropy
    assert proof.lower_bound <= recipe.student.cross_entropy
    assert recipe.student.cross_entropy == pytest.approx(exact.student.cross_entropy, abs=1e-3)
    assert recipe.flops.total <= problem.budget * (1 + 1e-12)


def test_box_constraints_are_bounds() -> None:
    """A cap written as a posynomial gives the plan that the same cap gives as a bound."""
    caps = [Posynomial.parse("teacher_size <= 1B"), Posynomial.parse("teacher_tokens >= 50B")]
    recipe, certificate = minimise_with_constraints(Problem(1e21, 1e9), SET, caps)
    bounded = Problem(
        1e21, 1e9, bounds=Bounds(teacher_size=(1e6, 1e9), teacher_tokens=(50e9, 20e12))
    )
    exact, _ = optimum(bounded)
    assert certificate.lower_bound <= exact.student.cross_entropy
    assert recipe.student.cross_entropy == pytest.approx(exact.student.cross_entropy, abs=1e-4)


def test_memory_and_ratio_constraints_bind() -> None:
    """Joint constraints hold at the plan, one of them tightly, and cost something."""
    constraints = [
        Posynomial.parse("18*teacher_size + 4*student_size <= 10e9"),
        Posynomial.parse("teacher_tokens >= 100*teacher_size"),
    ]
    recipe, certificate = minimise_with_constraints(Problem(1e21, 1e9), SET, constraints)
    values = {
        "student_size": 1e9,
        "student_tokens": recipe.student.tokens,
        "teacher_size": recipe.teacher.parameters,
        "teacher_tokens": recipe.teacher.tokens,
    }
    for constraint in constraints:
        assert constraint.value(values) <= constraint.limit * (1 + 1e-6)
    assert constraints[0].value(values) == pytest.approx(10e9, rel=1e-4)
    free, _ = optimum(Problem(1e21, 1e9))
    assert certificate.proven
    assert certificate.lower_bound > free.student.cross_entropy
    # No random plan within budget and constraints is below the bound.
    rng = np.random.default_rng(1)
    size, tokens = np.exp(rng.uniform(np.log(1e7), np.log(1e12), (2, 20_000)))
    spent = FLOPS.training(size, tokens)
    student = (1e21 - spent) / (3 * FLOPS(1e9) + FLOPS(size))
    ok = (student > 1e6) & (18 * size <= 6e9) & (tokens >= 100 * size)
    assert ok.sum() > 100
    losses = SET.distillation.loss(1e9, student[ok], LAW.loss(size[ok], tokens[ok]))
    assert losses.min() >= certificate.lower_bound


def test_an_unclosable_bound_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where constraints force a strong teacher, the certificate does not claim a proof."""
    monkeypatch.setattr("tests.oracles.convex.MOST_BOXES", 300)
    strong = [Posynomial.parse("teacher_size >= 50B"), Posynomial.parse("teacher_tokens >= 2T")]
    recipe, certificate = minimise_with_constraints(Problem(1e22, 1e8, 0, 0), SET, strong, 1e-5)
    assert not certificate.proven
    assert certificate.gap > certificate.tolerance
    assert certificate.lower_bound < recipe.student.cross_entropy


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"student": None}, ProblemError, "given student size"),
        ({"teachers": (Teacher(1e9, 1e11),)}, ProblemError, "a teacher to be planned"),
        ({"stay_in_domain": True}, ProblemError, "domain"),
        ({"budget": 1e14}, InfeasibleError, "no plan fits"),
    ],
)
def test_what_the_search_refuses(change: dict[str, Any], error: type, says: str) -> None:
    """Questions it cannot answer are refused in words, not answered wrongly."""
    with pytest.raises(error, match=says):
        minimise_with_constraints(Problem(**{"budget": 1e21, "student": 1e9, **change}), SET, ())


def test_other_refusals() -> None:
    """Too fine a tolerance, a set without distillation, unreachable losses, empty constraints."""
    problem = Problem(1e21, 1e9)
    with pytest.raises(ProblemError, match="1e-5 or more"):
        minimise_with_constraints(problem, SET, (), 1e-6)
    with pytest.raises(NoDistillationLawError, match="hoffmann2022"):
        minimise_with_constraints(problem, load("hoffmann2022"), ())
    tight = [Posynomial.parse("teacher_size <= 1M"), Posynomial.parse("teacher_size >= 2M")]
    with pytest.raises(InfeasibleError, match="no plan fits"):
        minimise_with_constraints(problem, SET, tight)
    for loss in (1.0, 1.2200, 1.3):
        with pytest.raises(UnreachableError):
            cheapest_teacher(LAW, FLOPS, loss, 1e11)
    with pytest.raises(InfeasibleError, match=r"no teacher of 2\.1000 nats"):
        most_student_tokens(LAW, FLOPS, 2.1, 1e9, 1e21)
    with pytest.raises(InfeasibleError):
        supervised_optimum(LAW, FLOPS, 1e12)
    with pytest.raises(ProblemError, match="teacher_size, which this question does not choose"):
        supervised_optimum(LAW, FLOPS, 1e21, constraints=[Posynomial.parse("teacher_size <= 1B")])


@pytest.mark.parametrize(
    ("text", "terms", "limit"),
    [
        ("18*teacher_size + 4*student_size <= 640e9",
         [(18, {"teacher_size": 1}), (4, {"student_size": 1})], 640e9),
        ("teacher_size<=7B", [(1, {"teacher_size": 1})], 7e9),
        ("7B >= teacher_size", [(1, {"teacher_size": 1})], 7e9),
        ("7B ≥ teacher_size", [(1, {"teacher_size": 1})], 7e9),
        ("2*3*teacher_size/4 <= 5", [(1.5, {"teacher_size": 1})], 5),
        ("teacher_size^0.5*student_size**(2/3)/teacher_tokens^-1 <= 1e9",
         [(1, {"teacher_size": 0.5, "student_size": 2 / 3, "teacher_tokens": 1})], 1e9),
        ("teacher_tokens <= 20*teacher_size", [(1, {"teacher_tokens": 1, "teacher_size": -1})], 20),
        ("teacher_tokens >= 20*teacher_size", [(20, {"teacher_size": 1, "teacher_tokens": -1})], 1),
        ("5 + student_size * student_size <= 1e20", [(5, {}), (1, {"student_size": 2})], 1e20),
        ("teacher_size/student_size + 1 <= 2^3", [(1, {"teacher_size": 1, "student_size": -1}),
                                                   (1, {})], 8),
    ],
)  # fmt: skip
def test_constraints_are_read(text: str, terms: list[Any], limit: float) -> None:
    """Sums of products with powers, either way round, numbers with units."""
    found = Posynomial.parse(text)
    assert [(factor, dict(powers)) for factor, powers in found.terms] == [
        (pytest.approx(factor), pytest.approx(powers)) for factor, powers in terms
    ]
    assert found.limit == pytest.approx(limit)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a <= 1", "unknown variable 'a'"),
        ("3*teachersize <= 4", "did you mean teacher_size"),
        ("teacher_size - 3 <= 5", "subtracts at '- 3'"),
        ("-teacher_size <= 3", "subtracts"),
        ("teacher_size <= ", "nothing on one side"),
        ("teacher_size", "exactly one <= or >="),
        ("teacher_size <= 5 <= 6", "exactly one <= or >="),
        ("teacher_size < 5", "exactly one <= or >="),
        ("teacher_size >= 5 + student_size + 1 >= 2", "exactly one <= or >="),
        ("teacher_size + student_size >= 5", "second term, student_size, makes it no posynomial"),
        ("teacher_size*<= 5", "cannot be read at 'its end'"),
        ("teacher_size^x <= 5", "cannot be read at 'x'"),
        ("teacher_size^(1/0) <= 4", "cannot be read"),
        ("2 teacher_size <= 5", "cannot be read at 'teacher_size'"),
        ("__import__('os') <= 3", "cannot be read"),
        ("teacher_size <= 0", "must be a positive"),
        ("teacher_size/0 <= 3", "must be a positive"),
        ("teacher_size * 1e50 * 1e50 * 1e50 * 1e50 * 1e50 * 1e50 * 1e50 <= 1", "factor inf"),
        ("", "exactly one <= or >="),
    ],
)
def test_constraints_that_cannot_be_read(text: str, says: str) -> None:
    """Every slip gets a sentence that points at it; nothing is evaluated."""
    with pytest.raises(PlannerError, match=says):
        Posynomial.parse(text)


def test_value_of_a_constraint() -> None:
    """The left side at a point, for reports and tests."""
    found = Posynomial.parse("2*teacher_size^0.5 + student_size <= 10")
    assert found.value({"teacher_size": 4.0, "student_size": 3.0}) == pytest.approx(7.0)
    assert math.isclose(Posynomial(((1.0, {}),), 2.0).value({}), 1.0)
