"""The solver's special cases: infeasible budgets, given teachers, ties, many at once, valleys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coefficients import load
from planner import (
    BOUNDS,
    Bounds,
    InfeasibleError,
    Problem,
    Teacher,
    optimum,
    solve,
    solve_many,
)
from planner.errors import NoDistillationLawError, ProblemError, UnreachableError
from planner.questions.plan.answer import solve_each
from tests.oracles.convex import cheapest_teacher
from tests.oracles.instances import CHARGES, KINDS, draw, to_problem

PUBLISHED = "busbridge2025"
SET = load()
LAW, SUPERVISED, FLOPS = SET.distillation, SET.supervised, SET.flops
assert LAW is not None

INFEASIBLE = [
    Problem(1e15, 1e9),
    Problem(1e12, None),
    Problem(1e19, None, serving_tokens=1e13, bounds=Bounds(student_size=(1e9, 1e12))),
    Problem(1e21, 1e9, serving_tokens=1e15),
    Problem(1e20, 1e10, 1.0, 0.0, bounds=Bounds(student_tokens=(1e12, 20e12))),
    Problem(
        1e20, 1e9, 0.3, 0.6, bounds=Bounds(teacher_size=(1e10, 1e12), teacher_tokens=(1e10, 1e13))
    ),
    Problem(
        1e19, 1e9, 0.0, 1.0, bounds=Bounds(teacher_tokens=(1e13, 2e13), teacher_size=(1e8, 1e9))
    ),
    Problem(
        1e17,
        1e9,
        1.0,
        0.0,
        teachers=(Teacher(7e9, 1e12),),
        bounds=Bounds(student_tokens=(1e9, 2e13)),
    ),
    Problem(1e18, 1e9, stay_in_domain=True),
    Problem(1e17, None, 0.0, 0.0, stay_in_domain=True),
]


@pytest.mark.parametrize("problem", INFEASIBLE, ids=range(len(INFEASIBLE)))
def test_infeasible_budgets_name_the_smallest_feasible_one(problem: Problem) -> None:
    """0.1% more than the budget named is enough, 0.1% less is not, and the message says it."""
    least = smallest_budget(problem)
    assert least > problem.budget
    recipe, certificate = optimum(replace(problem, budget=1.001 * least))
    assert certificate.proven
    assert recipe.flops.total <= 1.001 * least * (1 + 1e-12)
    with pytest.raises(InfeasibleError):
        optimum(replace(problem, budget=0.999 * least))
    assert not solve_many([problem]).feasible[0]
    with pytest.raises(InfeasibleError):
        solve(problem)


@pytest.mark.parametrize("number", range(len(INFEASIBLE)))
def test_the_smallest_budget_itself_is_enough(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very budget that the error names gives a proven plan, without millions of boxes."""
    monkeypatch.setattr("planner.optimise.search.MAX_BOXES", 20_000)
    problem = INFEASIBLE[number]
    recipe, certificate = optimum(replace(problem, budget=smallest_budget(problem)))
    assert certificate.proven
    assert recipe.flops.total <= smallest_budget(problem) * (1 + 1e-12)


def smallest_budget(problem: Problem) -> float:
    """What the error says."""
    with pytest.raises(InfeasibleError, match="too small") as caught:
        optimum(problem)
    assert caught.value.minimum_budget is not None
    return caught.value.minimum_budget


def test_smallest_budget_by_hand() -> None:
    """Smallest everything: 3 F(N_S) D_S + F(N_T) (D_S + 3 D_T) at 1M parameters and tokens."""
    with pytest.raises(InfeasibleError) as caught:
        optimum(Problem(1e12, None))
    by_hand = float(FLOPS(1e6)) * (3e6 + 1e6 + 3e6)
    assert caught.value.minimum_budget == pytest.approx(by_hand, rel=2e-5)


@pytest.mark.parametrize("serving", [0.0, 3e11])
@pytest.mark.parametrize("inference", [0.0, 0.3, 1.0])
def test_existing_teachers_by_hand(inference: float, serving: float) -> None:
    """Size+tokens or size+loss: D_S = (C - serving) / (3 F(N_S) + delta F(N_T)), loss by Eq. 8."""
    budget, student = 1e22, 2e9
    for teacher, loss in (
        (Teacher(7e9, 140e9), float(SUPERVISED.loss(7e9, 140e9))),
        (Teacher(7e9, loss=2.05), 2.05),
        (Teacher(3e9, 1e12, loss=2.2), 2.2),
    ):
        problem = Problem(budget, student, inference, 1.0, (teacher,), serving_tokens=serving)
        recipe, certificate = optimum(problem)
        rest = budget - float(FLOPS(student)) * serving
        tokens = rest / (3 * float(FLOPS(student)) + inference * float(FLOPS(teacher.size)))
        expected = float(LAW.loss(student, tokens, loss))
        assert recipe.student.tokens == pytest.approx(tokens, rel=1e-12)
        assert recipe.student.cross_entropy == pytest.approx(expected, rel=1e-12)
        assert recipe.teacher.cross_entropy == pytest.approx(loss, rel=1e-14)
        assert recipe.teacher.existing
        assert recipe.flops.teacher_pretraining == 0.0
        assert certificate.lower_bound <= expected <= certificate.lower_bound + 1e-6


@pytest.mark.parametrize("inference", [0.0, 1.0])
def test_choice_among_teachers_is_the_best_of_each_alone(inference: float) -> None:
    """The best of several is chosen (claim 10: not always the strongest), the bound covers all."""
    teachers = (Teacher(1e9, 1e11), Teacher(7e9, 2e12), Teacher(70e9, 15e12, name="huge"))
    problem = Problem(3e20, 5e8, inference, 0.0, teachers)
    alone = [optimum(replace(problem, teachers=(teacher,)))[0] for teacher in teachers]
    losses = [recipe.student.cross_entropy for recipe in alone]
    recipe, certificate = optimum(problem)
    assert recipe.student.cross_entropy == pytest.approx(min(losses), abs=1e-9)
    assert certificate.lower_bound <= min(losses)
    strongest = int(np.argmin([each.teacher.cross_entropy for each in alone]))
    assert strongest == 2
    assert int(np.argmin(losses)) != strongest
    many = solve_many([problem])
    assert many.teacher[0] == int(np.argmin(losses))
    considered = {each.teacher: each.cross_entropy for each in solve(problem).considered}
    assert considered == pytest.approx(dict(zip(map(str, teachers), losses, strict=True)), abs=1e-9)


@pytest.mark.parametrize("serving", [0.0, 1e12])
def test_existing_teacher_and_free_student_against_a_scan(serving: float) -> None:
    """With a teacher given and the student's size free, a dense scan over sizes agrees."""
    teacher = Teacher(7e9, loss=2.05)
    problem = Problem(1e22, None, 1.0, 1.0, (teacher,), serving_tokens=serving)
    recipe, certificate = optimum(problem)
    size = np.geomspace(1e6, 1e12, 400_001)
    tokens = (1e22 - FLOPS(size) * serving) / (3 * FLOPS(size) + FLOPS(7e9))
    ok = tokens >= 1e6
    losses = LAW.loss(size[ok], np.minimum(tokens[ok], 20e12), 2.05)
    assert losses.min() >= certificate.lower_bound
    assert recipe.student.cross_entropy == pytest.approx(losses.min(), abs=1e-6)


def test_teachers_known_by_loss_alone() -> None:
    """Stored logits of a teacher of unknown size: nothing of it is charged."""
    recipe, _ = optimum(Problem(1e21, 1e9, 0.0, 1.0, (Teacher(loss=2.1),)))
    tokens = 1e21 / (3 * float(FLOPS(1e9)))
    assert recipe.student.tokens == pytest.approx(tokens, rel=1e-12)
    assert recipe.teacher.parameters is None
    with pytest.raises(UnreachableError):
        optimum(Problem(1e21, 1e9, 0.0, 1.0, (Teacher(loss=1.2),)))


@pytest.mark.parametrize(
    "problem",
    [
        Problem(1e21, 1e9, 0.0, 0.0),
        Problem(1e22, 1e10, 0.0, 0.0),
        Problem(1e23, 3e8, 0.0, 0.0, bounds=BOUNDS["paper"]),
        Problem(1e24, 1e9, 1.0, 1.0, bounds=Bounds(student_tokens=(1e6, 1e11))),
        Problem(1e24, 1e9, 0.0, 1.0, bounds=Bounds(student_tokens=(1e6, 1e11))),
    ],
    ids=["1B", "10B", "paper", "capped tokens", "capped tokens, pretraining"],
)
def test_ties_go_to_the_cheapest_teacher(problem: Problem) -> None:
    """Where any teacher of that loss would do, the one the budget pays least for, and a note."""
    recipe, certificate = optimum(problem)
    teacher = recipe.teacher
    free = problem.scenario == "best-case"
    shares = (0.0, 1.0) if free else (problem.charge_inference, problem.charge_pretraining)
    cheapest = cheapest_teacher(
        SUPERVISED, FLOPS, teacher.cross_entropy, 1e11, shares, problem.bounds
    )
    spent = shares[1] * float(FLOPS.training(teacher.parameters, teacher.tokens))
    spent += shares[0] * float(FLOPS.per_token(teacher.parameters)) * 1e11
    assert spent == pytest.approx(cheapest.objective, rel=1e-5)
    assert any("gives the same student" in note for note in recipe.notes)
    assert certificate.proven
    if problem.scenario == "best-case":
        largest = SUPERVISED.loss(problem.bounds.teacher_size[1], problem.bounds.teacher_tokens[1])
        best = float(LAW.best_teacher_loss(problem.student, recipe.student.tokens))
        best = max(best, float(largest))  # the 10B student would like a stronger one than allowed
        assert teacher.cross_entropy == pytest.approx(best, abs=2e-3)
        expected = float(LAW.loss(problem.student, recipe.student.tokens, best))
        assert recipe.student.cross_entropy == pytest.approx(expected, abs=1e-9)


def test_no_tie_is_claimed_where_the_teacher_is_paid() -> None:
    """With the teacher charged and the budget spent there is one best teacher."""
    recipe, _ = optimum(Problem(1e22, 1e9))
    assert not any("gives the same student" in note for note in recipe.notes)
    assert recipe.flops.total == pytest.approx(1e22, rel=1e-9)


def test_many_equal_one_by_one() -> None:
    """solve_many brackets every problem exactly as the single call does, infeasible ones too."""
    rng = np.random.default_rng(5)
    problems = [to_problem(draw(kind, rng)) for kind in KINDS for _ in range(12)]
    problems += [
        Problem(1e15, 1e9, coefficients=PUBLISHED),
        Problem(
            1e22, 1e9, teachers=(Teacher(7e9, 1e12), Teacher(1e9, 1e11)), coefficients=PUBLISHED
        ),
    ]
    many = solve_many(problems)
    assert not many.feasible.all()
    for i, problem in enumerate(problems):
        try:
            recipe, certificate = optimum(problem)
        except InfeasibleError:
            assert not many.feasible[i]
            continue
        loss = recipe.student.cross_entropy
        assert many.feasible[i]
        assert many.cross_entropy[i] == pytest.approx(loss, abs=problem.tolerance)
        assert many.lower_bound[i] <= loss
        assert certificate.lower_bound <= many.cross_entropy[i]
        assert 0 <= many.gap[i] <= problem.tolerance
        assert many.flops[i] <= problem.budget * (1 + 1e-12)
        assert many.flops[i] == pytest.approx(recipe.flops.total, rel=1e-4)


@pytest.mark.parametrize(
    "other", [{"coefficients": PUBLISHED}, {"context": 32768}, {"vocabulary": 128_000}]
)
@pytest.mark.parametrize("several", [solve_many, solve_each])
def test_many_under_several_laws_are_refused(several: Any, other: dict[str, Any]) -> None:
    """No problem is answered under another one's coefficients or count of FLOPs."""
    problems = [Problem(1e21, 1e9), Problem(1e21, 1e9, **other)]
    [name] = other
    with pytest.raises(ProblemError, match=f"need one {name}"):
        several(problems)
    if name == "coefficients":
        one, two = solve_many(problems, SET).cross_entropy  # which was asked for
        assert one == two


def test_many_with_mixed_tolerances() -> None:
    """Each problem in a batch keeps its own tolerance."""
    tolerances = [1e-2, 1e-4, 1e-6, 1e-8]
    many = solve_many([Problem(1e22, 1e9, tolerance=tolerance) for tolerance in tolerances])
    assert np.all(many.gap <= tolerances)
    assert np.all(many.gap >= 0)


def valley_losses() -> tuple[np.ndarray, np.ndarray]:
    """L_T and L_S along the best plans at N_S = 1e10, C = 1e22, inference only, by Table 6."""
    published = load(PUBLISHED)
    t = np.linspace(1.27, 3.0, 200_001)
    size = published.supervised.size_for_loss(1e17, t)
    tokens = 1e22 / (3 * FLOPS(1e10) + FLOPS(size))
    return t, published.distillation.loss(1e10, tokens, t)


def test_two_valleys() -> None:
    """N_S = 1e10, C = 1e22, inference only, paper bounds: two valleys, the lower one is found."""
    t, losses = valley_losses()
    inner = losses[1:-1]
    valleys = np.flatnonzero((inner < losses[:-2]) & (inner < losses[2:])) + 1
    assert len(valleys) == 2
    deep = valleys[np.argmin(losses[valleys])]
    assert np.ptp(losses[valleys]) > 0.005
    problem = Problem(1e22, 1e10, 1.0, 0.0, bounds=BOUNDS["paper"], coefficients=PUBLISHED)
    recipe, certificate = optimum(problem)
    assert recipe.student.cross_entropy == pytest.approx(losses.min(), abs=1e-6)
    assert recipe.teacher.cross_entropy == pytest.approx(t[deep], abs=2e-3)
    assert certificate.lower_bound <= losses.min()


def test_three_billion_at_1e21_leaves_the_domain_loudly() -> None:
    """N_S = 3e9, C = 1e21, inference only: 1.6 tokens per parameter by the published set, and
    warnings that say so."""
    plan = solve(Problem(1e21, 3e9, 1.0, 0.0, bounds=BOUNDS["paper"], coefficients=PUBLISHED))
    assert plan.recipe.student.tokens_per_parameter == pytest.approx(1.6, abs=0.1)
    assert plan.recipe.teacher.cross_entropy == pytest.approx(1.60, abs=0.01)
    quantities = {warning.quantity for warning in plan.warnings}
    assert any("tokens_per_parameter" in quantity for quantity in quantities)
    assert any("cross_entropy" in quantity for quantity in quantities)
    # Inside, 17 tokens per parameter cost 1.071e21 FLOPs: none at 1e21, one at 1.1e21.
    assert plan.in_domain is not None
    assert plan.in_domain.recipe is None
    assert "1.071e21 FLOPs" in plan.in_domain.reason
    wider = solve(replace(plan.problem, budget=1.1e21))
    assert wider.in_domain is not None
    assert wider.in_domain.recipe is not None
    inside = wider.in_domain.recipe.student
    assert inside.cross_entropy > wider.recipe.student.cross_entropy


@pytest.mark.parametrize("charges", CHARGES)
@pytest.mark.parametrize(
    ("student", "name"), [(1e9, SET.name), (4e9, SET.name), (1e9, PUBLISHED), (1e10, PUBLISHED)]
)
def test_plans_inside_the_domain_are_inside(
    student: float, name: str, charges: tuple[float, float]
) -> None:
    """stay_in_domain keeps every quantity within its measured range, and costs something."""
    problem = Problem(1e23, student, *charges, stay_in_domain=True, coefficients=name)
    recipe, certificate = optimum(problem)
    free, _ = optimum(replace(problem, stay_in_domain=False))
    used = problem.coefficient_set()
    domain = used.domain
    own = float(used.supervised.loss(student, recipe.student.tokens))
    for name, value in (
        ("student_parameters", student),
        ("student_tokens", recipe.student.tokens),
        ("teacher_parameters", recipe.teacher.parameters),
        ("teacher_tokens", recipe.teacher.tokens),
        ("student_tokens_per_parameter", recipe.student.tokens_per_parameter),
        ("teacher_cross_entropy", recipe.teacher.cross_entropy),
        ("teacher_to_supervised", recipe.teacher.cross_entropy / own),
    ):
        low, high = domain.of(name)
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9), name
    assert certificate.proven
    assert recipe.student.cross_entropy >= free.student.cross_entropy - 1e-6


@pytest.mark.parametrize(
    ("student", "says"),
    [
        (1e10, "a student of 10B parameters is outside the measured sizes 143M to 7.75B."),
        (7e9, "21.4 tokens per parameter, the fewest measured, are 150B tokens for a student of "
         "7B parameters, more than the 98.5B measured."),
    ],
)  # fmt: skip
def test_no_budget_brings_an_unmeasured_student_inside(student: float, says: str) -> None:
    """A student whose every plan leaves a range is refused by that range; no budget is promised."""
    problem = Problem(1e23, student, stay_in_domain=True)
    with pytest.raises(InfeasibleError) as refused:
        optimum(problem)
    assert str(refused.value) == f"no plan exists inside the measured range: {says}"
    assert refused.value.minimum_budget is None
    inside = solve(replace(problem, stay_in_domain=False)).in_domain
    assert inside is not None and inside.recipe is None
    assert f"{inside.reason}." == says


def test_students_too_small_for_the_fewest_tokens_measured_are_refused() -> None:
    """The other way round: the most tokens per parameter are fewer than any measured."""
    domain = replace(SET.domain, student_tokens=(5e11, 1e12))
    with pytest.raises(InfeasibleError, match="202 tokens per parameter, the most measured, are"):
        optimum(Problem(1e23, 1e9, stay_in_domain=True), replace(SET, domain=domain))


def test_domain_plans_against_random_plans_inside() -> None:
    """No random plan inside every measured range is below the bound of the plan in the domain."""
    rng = np.random.default_rng(3)
    domain = SET.domain
    for charges in CHARGES:
        for student in (5e8, 2e9, 4e9):
            problem = Problem(3e22, student, *charges, stay_in_domain=True)
            _, certificate = optimum(problem)
            size = np.exp(rng.uniform(*np.log(domain.of("teacher_parameters")), 100_000))
            tokens = np.exp(rng.uniform(*np.log(domain.of("teacher_tokens")), 100_000))
            t = SUPERVISED.loss(size, tokens)
            rest = 3e22 - charges[1] * FLOPS.training(size, tokens)
            d_s = rest / (3 * FLOPS(student) + charges[0] * FLOPS(size))
            low, high = domain.of("student_tokens_per_parameter")
            high_tokens = min(domain.of("student_tokens")[1], high * student)
            d_s = np.minimum(d_s, high_tokens)
            ok = d_s >= max(domain.of("student_tokens")[0], low * student)
            ratio = np.where(ok, t / SUPERVISED.loss(student, np.where(ok, d_s, 1e9)), np.nan)
            for value, (least, most) in (
                (t, domain.of("teacher_cross_entropy")),
                (ratio, domain.of("teacher_to_supervised")),
            ):
                ok &= (value >= least) & (value <= most)
            assert ok.sum() > 50
            assert LAW.loss(student, d_s[ok], t[ok]).min() >= certificate.lower_bound


def test_supervised_only_sets_refuse_to_distil() -> None:
    """hoffmann2022 has no distillation law: the error names the set and one that has."""
    with pytest.raises(NoDistillationLawError, match=r"hoffmann2022.*busbridge2025"):
        optimum(Problem(1e21, 1e9, coefficients="hoffmann2022"))


@pytest.mark.parametrize("charges", [(1.0, 1.0), (1.0, 0.0), (0.5, 0.1)])
def test_ties_are_broken_by_what_the_budget_pays(charges: tuple[float, float]) -> None:
    """With tokens capped, no teacher of the same loss costs less, its logits included."""
    bounds = Bounds(student_tokens=(1e6, 5e9))
    problem = Problem(1e26, 1e9, *charges, bounds=bounds)
    recipe, _ = optimum(problem)
    teacher, forward = recipe.teacher, FLOPS.per_token
    assert teacher.parameters and teacher.tokens
    sizes = teacher.parameters * np.linspace(0.5, 2.0, 301)
    tokens = SUPERVISED.tokens_for_loss(sizes, teacher.cross_entropy)
    allowed = tokens <= problem.bounds.teacher_tokens[1]
    sizes, tokens = sizes[allowed], tokens[allowed]
    paid = forward(sizes) * (charges[0] * 5e9 + 3 * charges[1] * tokens)
    ours = recipe.flops.teacher_inference + recipe.flops.teacher_pretraining

    assert recipe.flops.total < 0.9 * problem.budget
    assert ours <= np.min(paid) * (1 + 1e-9)


CRAMPED = [
    Problem(1.0, None, bounds=Bounds(student_tokens=(1e9, 20e12))),
    Problem(1.0, None, round_to_architecture=True,
            bounds=Bounds(teacher_tokens=(2.53e9, 2.81e10))),
    Problem(1.0, 3.853e8, 1.0, 0.0, round_to_architecture=True),
    Problem(1.0, None, 0.5, 0.25, stay_in_domain=True, round_to_architecture=True,
            bounds=Bounds(student_tokens=(2e7, 2e11), teacher_tokens=(4.7e9, 5.1e10))),
    Problem(1.0, 9.97e9, 0.5, 0.25, stay_in_domain=True, coefficients=PUBLISHED,
            bounds=Bounds(student_tokens=(3.1e10, 2e13), teacher_size=(2.1e8, 4e8))),
    Problem(1.0, None, 0.0, 1.0, bounds=Bounds(student_size=(1.2e8, 5e9),
            student_tokens=(3.1e11, 2e13), teacher_tokens=(1e6, 1.9e11))),
]  # fmt: skip


@pytest.mark.parametrize("problem", CRAMPED)
def test_the_budget_that_the_error_names_is_enough(problem: Problem) -> None:
    """Printed or as a number, it has a proven plan; a thousandth less has none, or nothing has."""
    with pytest.raises(InfeasibleError) as refused:
        solve(problem)
    smallest = refused.value.minimum_budget
    if smallest is None:
        assert "exclude each other" in str(refused.value)
        with pytest.raises(InfeasibleError):
            solve(replace(problem, budget=1e26))
        return
    printed = float(str(refused.value).partition(" needs ")[2].partition(" FLOPs")[0])
    for enough in (printed, smallest, 1.01 * smallest):
        assert solve(replace(problem, budget=enough)).certificate.proven
    with pytest.raises(InfeasibleError):
        solve(replace(problem, budget=0.999 * smallest))


def test_edges_of_the_domain_are_bounds_reached() -> None:
    """A plan that rests on an edge of the domain says so; the same plan set free does not."""
    inside = solve(Problem(1e21, None, 1.0, 0.0, stay_in_domain=True)).recipe
    assert "domain-max-teacher-tokens" in inside.binding
    assert "max-teacher-tokens" not in inside.binding
    free = solve(Problem(1e21, 1e9)).recipe
    assert not free.binding


def test_unspent_budget_promises_nothing_about_larger_ones() -> None:
    """Two teachers, the better one too dear for all its tokens: more compute would help."""
    teachers = (Teacher(size=1e9, loss=2.3), Teacher(size=3e11, loss=2.0))
    problem = Problem(3e21, 1e9, teachers=teachers, bounds=Bounds(student_tokens=(2e10, 2e10)))
    small = solve(problem).recipe
    large = solve(replace(problem, budget=2e22)).recipe
    assert small.flops.total < 0.9 * problem.budget
    assert large.student.cross_entropy < small.student.cross_entropy - 0.01
    assert any("stays unspent" in note for note in small.notes)
    assert not any("would not help" in note for note in small.notes)
