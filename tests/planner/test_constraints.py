"""Plans under further posynomial constraints: proven, against SCIP, brute force and by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coefficients import load
from planner import Bounds, InfeasibleError, Problem, Teacher, optimum, solve, solve_many
from planner.errors import ProblemError
from planner.posynomial import Posynomial
from planner.questions.plan.answer import Plan
from planner.verify import verify
from planner.verify_bound import second_bound
from tests.examples import EXAMPLES
from tests.oracles import scip
from tests.oracles.instances import to_problem
from tests.oracles.scip import Instance, Term

SET = load()
LAW, SUPERVISED, FLOPS = SET.distillation, SET.supervised, SET.flops
assert LAW is not None

# what a user types, and the same as SCIP gets it: factor, powers of N_S, D_S, N_T, D_T, whose F(N)
CASES: dict[str, tuple[Term, ...]] = {
    "student_tokens + teacher_tokens <= 60B": (
        (1 / 60e9, (0, 1, 0, 0), ""), (1 / 60e9, (0, 0, 0, 1), ""),
    ),
    "18*teacher_size + 4*student_size <= 25e9": (
        (18 / 25e9, (0, 0, 1, 0), ""), (4 / 25e9, (1, 0, 0, 0), ""),
    ),
    "teacher_tokens <= 10*teacher_size": ((0.1, (0, 0, -1, 1), ""),),
    "student_tokens^0.5 * teacher_tokens^0.5 <= 20B": ((1 / 20e9, (0, 0.5, 0, 0.5), ""),),
    "teacher_flops + inference_flops <= 2e20": (
        (3 / 2e20, (0, 0, 0, 1), "teacher"), (1 / 2e20, (0, 1, 0, 0), "teacher"),
    ),
    "student_tokens >= 60*student_size": ((60.0, (1, -1, 0, 0), ""),),
}  # fmt: skip


FIRST, SECOND, *_ = CASES


@pytest.mark.parametrize(
    ("text", "charges", "free"),
    [*((text, (1.0, 1.0), False) for text in CASES),
     (FIRST, (0.0, 0.0), False), (FIRST, (1.0, 0.0), False), (SECOND, (0.0, 1.0), False),
     (FIRST, (1.0, 0.0), True), (SECOND, (1.0, 1.0), True)],
)  # fmt: skip
def test_plans_agree_with_scip(text: str, charges: tuple[float, float], free: bool) -> None:
    """Neither proves a bound above the other's plan, and the plan satisfies the constraint."""
    instance = Instance(1e21, None if free else 1e9, *charges, constraints=(CASES[text],))
    problem = replace(to_problem(instance), constraints=(text,))
    answer = scip.solve(instance, 1e-4, seconds=30.0)
    recipe, certificate = optimum(problem)
    assert answer.incumbent is not None
    assert certificate.proven
    assert certificate.lower_bound <= answer.incumbent + 3e-6
    assert recipe.student.cross_entropy >= answer.bound - 3e-6
    assert holds(text, recipe)
    assert recipe.flops.total <= 1e21 * (1 + 1e-12)


def holds(text: str, recipe: object) -> bool:
    """Whether a recipe satisfies a constraint, from its own numbers."""
    student, teacher = recipe.student, recipe.teacher  # type: ignore[attr-defined]
    values = {
        "student_size": student.parameters,
        "student_tokens": student.tokens,
        "teacher_size": teacher.parameters,
        "teacher_tokens": teacher.tokens,
        "student_flops": 3 * float(FLOPS(student.parameters)) * student.tokens,
        "teacher_flops": 3 * float(FLOPS(teacher.parameters)) * teacher.tokens,
        "inference_flops": float(FLOPS(teacher.parameters)) * student.tokens,
    }
    constraint = Posynomial.parse(text)
    return bool(constraint.value(values) <= constraint.limit * (1 + 1e-9))


@pytest.mark.parametrize("number", range(2 * EXAMPLES))
def test_random_constraints_against_brute_force(number: int) -> None:
    """No plan of a dense grid is below the bound, and none beats the plan."""
    rng = np.random.default_rng([41, number])
    exponents = rng.uniform(-0.5, 1.0, (2, 3))
    problem = Problem(10 ** rng.uniform(20, 23), 10 ** rng.uniform(8.5, 10), 1.0, 1.0)
    recipe, _ = optimum(problem)
    values = np.array([recipe.student.tokens, recipe.teacher.parameters, recipe.teacher.tokens])
    names = ("student_tokens", "teacher_size", "teacher_tokens")
    weights = [float(np.prod(values**-powers)) for powers in exponents]
    text = " + ".join(
        "*".join([f"{w:.6e}", *(f"{n}^({p:.4f})" for n, p in zip(names, powers, strict=True))])
        for w, powers in zip(weights, exponents, strict=True)
    )
    text += " <= 1.2"  # the optimum without it has 2 on the left
    constrained = replace(problem, constraints=(text,))
    try:
        recipe, certificate = optimum(constrained)
    except InfeasibleError:  # then the grid has no plan either
        recipe, certificate = None, None
    best, centre, wide = np.inf, None, 1.0
    low, high = np.log(problem.bounds.teacher_size), np.log(problem.bounds.teacher_tokens)
    for _ in range(6):
        if centre is None:
            n, d = np.meshgrid(np.linspace(*low, 250), np.linspace(*high, 250))
        else:
            n, d = np.meshgrid(*(np.linspace(c - wide, c + wide, 120) for c in centre))
            n, d = np.clip(n, *low), np.clip(d, *high)
            wide /= 8
        n, d = np.exp(n.ravel()), np.exp(d.ravel())
        s = most_tokens(problem, Posynomial.parse(text), n, d)
        loss = np.where(
            np.isfinite(s),
            LAW.loss(problem.student, np.nan_to_num(s, nan=1e6), SUPERVISED.loss(n, d)),
            np.inf,
        )
        k = int(np.argmin(loss))
        if loss[k] < best:
            best, centre = float(loss[k]), (np.log(n[k]), np.log(d[k]))
    if recipe is None or certificate is None:
        assert best == np.inf
        return
    assert holds(text, recipe)
    assert certificate.lower_bound <= best
    assert recipe.student.cross_entropy <= best + 1e-6
    assert certificate.proven


def most_tokens(
    problem: Problem, constraint: Posynomial, n: np.ndarray, d: np.ndarray
) -> np.ndarray:
    """The most tokens of a fine grid that budget and constraint allow; NaN where none."""
    assert problem.student is not None
    flops = float(FLOPS(problem.student))
    rest = problem.budget - 3 * FLOPS(n) * d
    paid = rest / (3 * flops + FLOPS(n))
    best = np.full(n.shape, np.nan)
    for share in np.geomspace(1.0, 1e-4, 400)[::-1]:
        s = paid * share
        given = {"student_tokens": np.maximum(s, 1.0), "teacher_size": n, "teacher_tokens": d}
        ok = (s >= 1e6) & (constraint.value(given) <= constraint.limit)
        best = np.where(ok, s, best)
    return best


def test_a_constraint_that_does_not_bind_changes_nothing() -> None:
    """With room to spare the plan is the one without it, to the tolerance."""
    for problem in (Problem(1e21, 1e9), Problem(1e22, None), Problem(1e22, 1e9, 0.0, 0.0)):
        alone = optimum(problem)[0].student.cross_entropy
        text = "student_tokens + teacher_tokens <= 1e15"
        recipe, certificate = optimum(replace(problem, constraints=(text,)))
        assert recipe.student.cross_entropy == pytest.approx(alone, abs=1e-6)
        assert certificate.proven


def test_a_constraint_on_one_variable_is_a_bound() -> None:
    """``teacher_size <= 700M`` and --max-teacher-size say the same."""
    text = "teacher_size <= 700M"
    recipe, _ = optimum(Problem(1e21, 1e9, constraints=(text,)))
    bounded, _ = optimum(Problem(1e21, 1e9, bounds=Bounds(teacher_size=(1e6, 7e8))))
    assert recipe.student.cross_entropy == pytest.approx(bounded.student.cross_entropy, abs=1e-6)
    assert f"The plan rests on the constraint '{text}'." in recipe.notes


def test_the_supervised_baseline_obeys_what_is_said_of_the_student() -> None:
    """A cap on the student's tokens holds for both, one on the teacher's for the plan alone."""
    capped = solve(Problem(1e21, 1e9, constraints=("student_tokens <= 20B",)))
    assert capped.supervised.model.tokens == pytest.approx(20e9, rel=1e-6)
    assert capped.recipe.student.tokens == pytest.approx(20e9, rel=1e-6)
    free = solve(Problem(1e21, 1e9, constraints=("teacher_tokens <= 1B",)))
    assert free.supervised == solve(Problem(1e21, 1e9)).supervised
    sized = solve(Problem(1e21, None, constraints=("student_tokens <= 5*student_size",)))
    size, tokens = sized.supervised.model.parameters, sized.supervised.model.tokens
    assert size is not None
    assert tokens == pytest.approx(5 * size, rel=1e-4)
    scan = np.geomspace(1e9, 2e10, 200_001)
    fits = np.minimum(1e21 / (3 * FLOPS(scan)), 5 * scan)
    assert sized.supervised.model.cross_entropy == pytest.approx(
        float(np.min(SUPERVISED.loss(scan, fits))), abs=1e-6
    )


def test_existing_teachers_the_domain_and_what_is_refused() -> None:
    """Constraints hold beside teachers and domain; what cannot keep to them says so."""
    teachers = (Teacher(1e9, 1e11), Teacher(7e9, 2e12))
    text = "inference_flops <= 1e20"
    chosen = optimum(Problem(1e21, 1e9, teachers=teachers, constraints=(text,)))[0]
    assert chosen.student.tokens is not None
    assert float(FLOPS(chosen.teacher.parameters)) * chosen.student.tokens <= 1e20 * (1 + 1e-9)
    total = "student_tokens + teacher_tokens <= 80B"
    inside = Problem(1e21, 1e9, constraints=(total,), stay_in_domain=True)
    with pytest.raises(ProblemError, match="buildable sizes"):
        Problem(1e21, 1e9, constraints=(total,), round_to_architecture=True)
    plan = solve(inside)
    assert plan.certificate.proven
    assert holds(total, plan.recipe)
    mixed = [inside, Problem(1e21, 1e9), Problem(1e21, 1e9, teachers=teachers, constraints=(text,))]
    with pytest.raises(ProblemError, match="does not take constraints"):
        solve_many(mixed)
    measured = (Teacher(7e9, loss=2.05),)
    unknown = Problem(1e21, 1e9, teachers=measured, constraints=("teacher_tokens <= 1T",))
    with pytest.raises(ProblemError, match="not known"):
        optimum(unknown)


def test_infeasible_constraints_say_which() -> None:
    """The constraint to blame is named, with the budget that would do where one would."""
    bad, worse = "teacher_tokens >= 1000*teacher_size", "teacher_tokens <= 10M"
    problem = Problem(
        1e21, 1e9, bounds=Bounds(teacher_size=(1e8, 1e12)),
        constraints=(bad, worse, "student_size <= 2B"),
    )  # fmt: skip
    with pytest.raises(InfeasibleError) as caught:
        optimum(problem)
    assert bad in str(caught.value)
    assert worse in str(caught.value)
    assert "student_size" not in str(caught.value)
    with pytest.raises(InfeasibleError, match="keeps to the constraint 'student_tokens"):
        optimum(Problem(1e20, 1e9, constraints=("student_tokens >= 100*student_size",)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("student_tokens <= teacher_tokens + teacher_size", r"second term, teacher_size, makes"),
        ("student_tokens - teacher_tokens <= 1T", r"subtracts at '- teacher_tokens"),
        ("teacher_flops >= 1e20", r"teacher_flops from below .* 1e\+20\*teacher_flops\^-1"),
        ("tokens <= 1T", r"unknown variable 'tokens'"),
        ("student_tokens = 1T", r"exactly one <= or >="),
    ],
)  # fmt: skip
def test_what_is_no_posynomial_is_refused_with_its_term(text: str, says: str) -> None:
    """The sentence names the term that breaks it."""
    with pytest.raises(ProblemError, match=says):
        Problem(1e21, 1e9, constraints=(text,))


def test_recipe_files_carry_constraints() -> None:
    """from_mapping takes one or several, and a plan's document reads back as the same question."""
    text = "student_tokens + teacher_tokens <= 60B"
    one = Problem.from_mapping({"budget": "1e21", "student": "1B", "constraints": text})
    assert one.constraints == (text,)
    plan = solve(one)
    for document in (json.loads(plan.render("json")), tomllib.loads(plan.render("toml"))):
        assert Problem.from_mapping(document["problem"]).constraints == (text,)
    with pytest.raises(ProblemError, match="give texts like"):
        Problem.from_mapping({"budget": 1e21, "constraints": [3]})


@pytest.mark.parametrize("student", [1e9, None])
@pytest.mark.parametrize("text", CASES)
def test_the_second_proof_respects_constraints(text: str, student: float | None) -> None:
    """Another method meets the same optimum: its bound is below the plan, by its tolerance."""
    problem = Problem(1e21, student, constraints=(text,))
    recipe, certificate = optimum(problem)
    loss = recipe.student.cross_entropy
    second = second_bound(problem, SET, loss, 1e-3)
    assert certificate.proven
    assert second.lower <= loss
    assert second.lower >= loss - 1.001e-3
    assert second.best >= certificate.lower_bound


def test_check_only_finds_a_recipe_that_breaks_its_constraint(tmp_path: Path) -> None:
    """A plan's document passes; one with another constraint, or a worse plan, does not."""
    text = "student_tokens + teacher_tokens <= 60B"
    plan = solve(Problem(1e21, 1e9, constraints=(text,)))
    file = tmp_path / "plan.json"
    file.write_text(plan.render("json"))
    assert all(check.passed for check in verify(Plan.read_document(file)))
    bent = Plan.read_document(file)
    bent["problem"]["constraints"] = ["student_tokens + teacher_tokens <= 50B"]
    faults = [check.detail for check in verify(bent) if not check.passed]
    assert any("'student_tokens + teacher_tokens <= 50B' is missed by" in each for each in faults)
    loose = Plan.read_document(file)
    loose["problem"]["constraints"] = []
    faults = [check.detail for check in verify(loose) if not check.passed]
    assert any("nats exist" in each or "below the certified bound" in each for each in faults)


def test_a_gap_is_stated_where_constraints_forbid_weak_teachers() -> None:
    """The bound holds for the best of a grid of teachers, and the plan is near it."""
    text = "teacher_tokens >= 50*teacher_size"
    problem = Problem(
        1e21, 3e8, 0.0, 0.0, constraints=(text,), bounds=Bounds(teacher_size=(1e11, 1e12))
    )
    recipe, certificate = optimum(problem)
    size = np.geomspace(1e11, 1e12, 400)[:, None]
    tokens = size * np.geomspace(50.0, 200.0, 100)
    student_tokens = min(1e21 / (3 * float(FLOPS(3e8))), problem.bounds.student_tokens[1])
    best = float(np.min(LAW.loss(3e8, student_tokens, SUPERVISED.loss(size, tokens))))
    assert certificate.lower_bound <= best
    assert recipe.student.cross_entropy <= best + 1e-5
    assert certificate.proven == (certificate.gap <= problem.tolerance)
    assert certificate.gap == recipe.student.cross_entropy - certificate.lower_bound
    assert holds(text, recipe)


def test_plans_without_constraints_do_not_load_their_solver() -> None:
    """A cold start pays nothing for constraints that are not used."""
    code = (
        "import sys; from planner import Problem, solve; solve(Problem(1e21, 1e9)); "
        "loaded = {'planner.posynomial', 'planner.constraints', 'planner.optimise.constrained', "
        "'planner.optimise.interior'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
