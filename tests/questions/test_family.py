"""One teacher for several students: splits, proofs, targets and the number of students."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coefficients import load
from planner.errors import InfeasibleError, ProblemError, UnreachableError
from planner.optima import optimum
from planner.optimise.starts import reach_range
from planner.problem import Bounds, Problem, Teacher
from planner.questions.family.answer import Member, fleet_of, plan_family
from planner.questions.family.fleet import solve as solve_fleet
from planner.questions.family.growth import family_growth
from planner.questions.family.supervised import split_directly
from planner.scenarios import SCENARIOS
from tests.examples import examples
from tests.oracles import scip_family

LAW = load("busbridge2025")
CHARGES = [scenario.charges for scenario in SCENARIOS.values()]
THREE = (Member(3e8), Member(1e9), Member(3e9))


def problem(budget: float, charges: tuple[float, float] = (1.0, 1.0), **rest: object) -> Problem:
    """A family's question: the student is left open."""
    return Problem(budget, None, *charges, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("charges", CHARGES)
@pytest.mark.parametrize(
    ("size", "budget", "cached"),
    [(3e8, 1e19, False), (1e9, 1e21, True), (1e10, 1e22, False), (1e9, 1e25, True)],
)
def test_a_family_of_one_is_the_single_plan(
    charges: tuple[float, float], size: float, budget: float, cached: bool
) -> None:
    """Two different solvers, two different proofs, one answer."""
    single, certificate = optimum(Problem(budget, size, *charges), LAW)
    plan = plan_family(problem(budget, charges), [Member(size)], cached, LAW)

    assert plan.proven
    assert plan.objective == pytest.approx(single.student.cross_entropy, abs=1e-6)
    assert plan.lower_bound <= single.student.cross_entropy
    assert certificate.lower_bound <= plan.objective
    assert plan.flops.total <= budget * (1 + 1e-9)


@pytest.mark.parametrize(
    ("copies", "charges"), [(4, (1.0, 1.0)), (16, (1.0, 1.0)), (3, (0.0, 1.0))]
)
def test_equal_students_share_the_teachers_pretraining(
    copies: int, charges: tuple[float, float]
) -> None:
    """k equal students with k budgets are one student who pays a k-th of the pretraining."""
    single, _ = optimum(Problem(1e21, 1e9, charges[0], charges[1] / copies), LAW)
    plan = plan_family(problem(copies * 1e21, charges), [Member(1e9, copies=copies)], False, LAW)

    assert plan.proven
    assert plan.objective == pytest.approx(single.student.cross_entropy, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "weights", "budget", "charges", "cached"),
    [
        ((3e8, 1e9), (1, 1), 1e21, (1, 1), False),
        ((3e8, 1e9), (1, 2), 1e20, (1, 1), True),
        ((3e8, 3e9), (1, 1), 1e22, (1, 0), False),
        ((5e8, 1e9), (1, 1), 1e21, (0, 1), False),
        ((3e8, 1e9), (1, 1), 1e21, (1, 0), True),
    ],
)
def test_scip_agrees_on_two_students(
    sizes: tuple[float, float],
    weights: tuple[float, float],
    budget: float,
    charges: tuple[float, float],
    cached: bool,
) -> None:
    """An exact solver that shares no code finds the same optimum and never beats our bound."""
    incumbent, bound = scip_family.solve(budget, sizes, weights, charges, cached)
    members = [Member(size, weight) for size, weight in zip(sizes, weights, strict=True)]
    plan = plan_family(problem(budget, charges), members, cached, LAW)

    assert plan.proven
    assert bound <= plan.objective + 2e-6
    assert plan.lower_bound <= incumbent + 2e-6
    assert plan.objective == pytest.approx(incumbent, abs=1e-4)


@examples(8)
@given(
    sizes=st.lists(st.floats(1e8, 1e10), min_size=2, max_size=4, unique=True),
    weights=st.lists(st.floats(0.2, 5.0), min_size=4, max_size=4),
    budget=st.floats(19.5, 24.0),
    charges=st.sampled_from([*CHARGES, (0.5, 0.25)]),
    cached=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_split_beats_the_bound(
    sizes: list[float],
    weights: list[float],
    budget: float,
    charges: tuple[float, float],
    cached: bool,
    seed: int,
) -> None:
    """Thousands of random feasible splits, near the optimum and far from it, stay above."""
    compute = 10.0**budget
    members = [Member(size, weight) for size, weight in zip(sizes, weights, strict=False)]
    plan = plan_family(problem(compute, charges, tolerance=1e-5), members, cached, LAW)
    assert plan.lower_bound <= plan.objective
    best = _random_splits(plan, members, compute, charges, cached, np.random.default_rng(seed))
    assert best >= plan.lower_bound


def _random_splits(
    plan: object, members: list[Member], compute: float, charges: tuple[float, float],
    cached: bool, dice: np.random.Generator, count: int = 4000,
) -> float:  # fmt: skip
    """The least weighted mean loss among random teachers and splits that spend the budget."""
    law, forward = LAW.distillation, LAW.flops.per_token
    assert law is not None
    found = plan.teacher  # type: ignore[attr-defined]
    wide = dice.uniform(0.01, 2.0, count)
    teacher = np.clip(found.parameters * np.exp(wide * dice.normal(size=count)), 1e6, 1e12)
    trained = np.clip(found.tokens * np.exp(wide * dice.normal(size=count)), 1e6, 20e12)
    near = np.array([s.model.tokens for s in plan.students])  # type: ignore[attr-defined]
    tokens = near[:, None] * np.exp(wide * dice.normal(size=(len(members), count)))
    sizes = np.array([member.size for member in members])
    weights = np.array([member.weight for member in members])
    rest = compute - 3 * charges[1] * forward(teacher) * trained
    read = tokens.max(axis=0) if cached else tokens.sum(axis=0)
    spent = (3 * forward(sizes)[:, None] * tokens).sum(axis=0) + charges[0] * forward(
        teacher
    ) * read
    tokens = tokens * np.maximum(rest, 0) / spent
    tokens = np.minimum(tokens, 20e12)
    fits = (rest > 0) & np.all(tokens >= 1e6, axis=0)
    loss = LAW.supervised.loss(teacher, trained)
    students = law.loss(sizes[:, None], np.maximum(tokens, 1e6), loss[None, :])
    mean = (weights[:, None] * students).sum(axis=0) / weights.sum()
    return float(np.min(np.where(fits, mean, np.inf)))


def test_stored_logits_never_hurt() -> None:
    """Reading the same logits costs no more than computing them for each student."""
    for charges in ((1.0, 1.0), (1.0, 0.0)):
        computed = plan_family(problem(1e21, charges), THREE, False, LAW)
        stored = plan_family(problem(1e21, charges), THREE, True, LAW)
        assert stored.objective < computed.objective


def test_stored_logits_are_charged_over_the_longest_run() -> None:
    """The teacher reads as many tokens as the student who reads most, once."""
    plan = plan_family(problem(1e22), THREE, True, LAW)
    longest = max(student.model.tokens or 0.0 for student in plan.students)
    teacher = float(LAW.flops.per_token(plan.teacher.parameters or 0.0))

    assert plan.flops.teacher_inference == pytest.approx(teacher * longest)


def test_a_heavier_student_gets_a_better_loss() -> None:
    """Weights say who matters."""
    even = plan_family(problem(1e21), [Member(3e8), Member(3e9)], False, LAW)
    tilted = plan_family(problem(1e21), [Member(3e8), Member(3e9, weight=5)], False, LAW)

    def loss(plan: object, position: int) -> float:
        return float(plan.students[position].model.cross_entropy)  # type: ignore[attr-defined]

    assert loss(tilted, 1) < loss(even, 1)
    assert loss(tilted, 0) > loss(even, 0)


@pytest.mark.parametrize("budget", [1e20, 1e22])
def test_the_direct_split_is_the_best_one(budget: float) -> None:
    """No grid of shares beats the split of equal marginal gains."""
    pair = (Member(3e8), Member(3e9, weight=2))
    f = fleet_of(problem(budget), pair, np.ones((1, 2)), np.array([budget]), False, LAW)
    found = split_directly(f)
    share = np.linspace(1e-4, 1 - 1e-4, 20001)
    cost = 3 * LAW.flops.per_token(np.array([3e8, 3e9]))
    losses = LAW.supervised.loss(3e8, budget * share / cost[0]) / 3
    losses = losses + 2 * LAW.supervised.loss(3e9, budget * (1 - share) / cost[1]) / 3

    assert float(found.loss[0]) <= float(losses.min()) + 1e-12
    assert float(found.loss[0]) == pytest.approx(float(losses.min()), abs=1e-7)


@pytest.mark.parametrize(
    ("budget", "members", "cached", "fixed_total"),
    [
        (1e21, THREE, False, False),
        (3e20, (Member(3e8), Member(5e8)), True, True),
    ],
)
def test_the_break_even_count_agrees_with_solving_both_sides(
    budget: float, members: tuple[Member, ...], cached: bool, fixed_total: bool
) -> None:
    """At the count the teacher wins, one student earlier training directly does."""
    growth = family_growth(problem(budget), members, cached, LAW, fixed_total)
    assert growth.break_even is not None
    assert growth.break_even > 1
    each = budget / len(members)
    for count, wins in ((growth.break_even, True), (growth.break_even - 1, False)):
        some = [
            replace(member, copies=count // len(members) + (i < count % len(members)))
            for i, member in enumerate(members)
            if count // len(members) + (i < count % len(members)) > 0
        ]
        total = budget if fixed_total else each * count
        assert plan_family(problem(total), some, cached, LAW).worth_it is wins


def test_every_row_of_the_growth_is_the_plan_of_that_many() -> None:
    """The table solves many families at once and agrees with one at a time."""
    growth = family_growth(problem(1e20), [Member(3e8)], True, LAW, most=8)
    for row in growth.rows:
        plan = plan_family(problem(row.budget), [Member(3e8, copies=row.students)], True, LAW)
        assert row.cross_entropy == pytest.approx(plan.objective, abs=1e-6)
        assert row.direct == pytest.approx(plan.direct, abs=1e-9)
        assert row.lower_bound <= plan.objective


def test_no_count_pays_where_the_teacher_never_does() -> None:
    """A large budget per student: supervised training has caught up, whatever the number."""
    growth = family_growth(problem(1e24), [Member(1e9)], False, LAW, most=64)
    assert growth.break_even is None
    assert all(row.gain < 0 for row in growth.rows)


@pytest.mark.parametrize("charges", CHARGES)
@pytest.mark.parametrize("cached", [False, True])
def test_targets_take_the_smallest_budget(charges: tuple[float, float], cached: bool) -> None:
    """One student: the budget found is where the single plan's loss meets the target."""
    goal = 2.35
    plan = plan_family(problem(1e21, charges), [Member(1e9, target=goal)], cached, LAW)
    assert plan.proven
    at, _ = optimum(Problem(plan.objective * 1.0002, 1e9, *charges), LAW)
    below, _ = optimum(Problem(plan.lower_bound * 0.999, 1e9, *charges), LAW)

    assert at.student.cross_entropy <= goal + 1e-6
    assert below.student.cross_entropy > goal


def test_targets_of_several_students_are_all_met() -> None:
    """Every student reaches its own, the weighted optimum at that budget is no better for all."""
    members = [Member(3e8, target=2.5), Member(1e9, target=2.3), Member(3e9, target=2.2)]
    plan = plan_family(problem(1e21), members, False, LAW)

    for student, member in zip(plan.students, members, strict=True):
        assert student.model.cross_entropy <= (member.target or 0) + 1e-9
    assert plan.proven
    assert plan.flops.total == pytest.approx(plan.objective, rel=1e-9)


def test_an_existing_teacher_is_not_paid_again() -> None:
    """Its pretraining is sunk; the better of two is taken, the bound holds for both."""
    teachers = (Teacher(7e9, 140e9), Teacher(2e9, 300e9))
    plan = plan_family(problem(1e21, (1.0, 0.0), teachers=teachers), THREE, False, LAW)
    alone = [
        plan_family(problem(1e21, (1.0, 0.0), teachers=(each,)), THREE, False, LAW)
        for each in teachers
    ]
    assert plan.flops.teacher_pretraining == 0
    assert plan.objective == pytest.approx(min(each.objective for each in alone), abs=1e-12)
    assert plan.lower_bound == pytest.approx(min(each.lower_bound for each in alone), abs=1e-12)


def test_inside_the_domain_nothing_leaves_it() -> None:
    """A family that stays in the domain has no warnings and costs some loss."""
    free = plan_family(problem(3e21), (Member(3e8), Member(1e9)), False, LAW)
    inside = plan_family(
        problem(3e21, stay_in_domain=True, tolerance=1e-4), (Member(3e8), Member(1e9)), False, LAW
    )
    assert inside.warnings == ()
    assert inside.proven
    assert inside.objective >= free.lower_bound
    assert inside.lower_bound <= inside.objective


def test_questions_without_an_answer_are_refused() -> None:
    """One clear sentence each, of the kind that the edges catch."""
    with pytest.raises(InfeasibleError, match="too small"):
        plan_family(problem(1e12), THREE, False, LAW)
    with pytest.raises(UnreachableError, match="cannot reach"):
        plan_family(problem(1e21), [Member(3e8, target=1.5)], False, LAW)
    with pytest.raises(ProblemError, match="every student a target"):
        plan_family(problem(1e21), [Member(3e8, target=2.5), Member(1e9)], False, LAW)
    bounds = Bounds(student_size=(1e9, 1e10))
    with pytest.raises(ProblemError, match="outside the allowed"):
        plan_family(problem(1e21, bounds=bounds), [Member(3e8)], False, LAW)
    with pytest.raises(ProblemError, match="serving"):
        plan_family(problem(1e21, serving_tokens=1e12), THREE, False, LAW)
    with pytest.raises(ProblemError, match="needs students"):
        plan_family(problem(1e21), [], False, LAW)


@pytest.mark.parametrize(
    ("budget", "most", "sizes"),
    [
        (1e22, 1e9, (3e8, 1e9)),
        (1e21, 1e9, (3e8, 1e9)),
        (1e24, 3e9, (1e9,)),
        (1e22, 3e9, (3e8, 3e9)),
    ],
)
def test_a_cap_on_tokens_leaves_a_plan_that_is_proven_soon(
    budget: float, most: float, sizes: tuple[float, ...]
) -> None:
    """Where every student stands at its cap the best teacher is the dearest that the budget buys:
    the proof there needs few boxes, and no teacher on a fine grid is better."""
    question = problem(budget, bounds=Bounds(student_tokens=(1e6, most)))
    members = [Member(size) for size in sizes]

    plan = plan_family(question, members, False, LAW)

    assert plan.proven
    assert plan.boxes < 400
    assert plan.flops.total <= budget * (1 + 1e-9)
    f = fleet_of(question, members, np.ones((1, len(sizes))), np.array([budget]), False, LAW)
    low, high = (float(edge[0]) for edge in reach_range(f.b))
    y = np.linspace(low, high, 4001)
    assert plan.lower_bound <= float(np.min(solve_fleet(f, np.zeros(y.size, int), y).loss))


def test_the_picture_says_where_it_leaves_the_domain() -> None:
    """A picture travels without its table: the warning is in it, and counts that lose are named."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from matplotlib import pyplot

    from planner.questions.family.picture import draw

    capped = Problem.from_mapping({"budget": "1e22", "max_student_tokens": "1B"})
    plans = {
        "outside": plan_family(capped, [Member(3e8), Member(1e9)]),
        "inside": plan_family(Problem.from_mapping({"budget": "1e21"}), [Member(3e8), Member(1e9)]),
    }
    said = {}
    for name, plan in plans.items():
        figure = draw(plan)
        said[name] = " ".join(text.get_text() for text in figure.texts)
        pyplot.close(figure)

    assert plans["outside"].warnings
    assert "outside the measured range" in said["outside"]
    assert bool(plans["inside"].warnings) == ("outside the measured range" in said["inside"])
