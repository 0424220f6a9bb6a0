"""A distillation law of another form is one class and one line: read, planned, proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coefficients import CoefficientError, load
from laws import DISTILLATION_LAWS
from planner import Problem, Teacher, optimum, solve, solve_many
from tests.laws.mixed import MixedLaw

BASE = load()
MIXED = """
[supervised]
E = 1.220
A = 3355.0
B = 18186.0
alpha = 0.408
beta = 0.431
gamma = 0.452
[distillation]
form = "mixed"
A = 2243.0
B = 24181.0
alpha = 0.321
beta = 0.637
gamma = 0.764
c0 = 2.549
c1 = 522.6
d1 = 1.315
f1 = 0.090
mix = 0.6
"""


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A coefficient file that asks for the law, which is known by one line."""
    monkeypatch.setitem(DISTILLATION_LAWS, "mixed", MixedLaw)
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED)
    return str(path)


def grid_minimum(problem: Problem) -> float:
    """The least loss over a dense grid of sizes and teachers, the budget spent on tokens."""
    law, flops = load(problem.coefficients).distillation, BASE.flops
    assert law is not None
    low, high = problem.bounds.teacher_size
    best, sides = np.inf, [(low, high), problem.bounds.teacher_tokens]
    sizes = (
        [problem.student] if problem.student else np.geomspace(*problem.bounds.student_size, 150)
    )
    for _ in range(5):
        n, d = np.meshgrid(*(np.geomspace(*side, 120) for side in sides), indexing="ij")
        at = (0, 0)
        for size in sizes:
            student, teacher = flops.per_token(size), flops.per_token(n)
            rest = problem.budget - 3 * problem.charge_pretraining * teacher * d
            tokens = rest / (3 * student + problem.charge_inference * teacher)
            fits = tokens >= problem.bounds.student_tokens[0]
            tokens = np.minimum(np.where(fits, tokens, 1.0), problem.bounds.student_tokens[1])
            loss = np.where(fits, law.loss(size, tokens, law.supervised.loss(n, d)), np.inf)
            k = np.unravel_index(np.argmin(loss), loss.shape)
            if loss[k] < best:
                best, at, chosen = float(loss[k]), k, size
        if at != (0, 0):
            near = (n[at[0], 0], d[0, at[1]])
            sides = [
                (
                    max(x / (side[1] / side[0]) ** 0.05, side[0]),
                    min(x * (side[1] / side[0]) ** 0.05, side[1]),
                )
                for x, side in zip(near, sides, strict=True)
            ]
            if problem.student is None:
                sizes = chosen * np.geomspace(0.9, 1.1, 41)
    return best


@pytest.mark.parametrize("charges", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.3, 0.6)])
@pytest.mark.parametrize(("budget", "student"), [(1e21, 1e9), (3e22, 3e8), (1e24, 2e10)])
def test_plans_are_proven_and_agree_with_brute_force(
    mixed: str, budget: float, student: float, charges: tuple[float, float]
) -> None:
    """The bound is below every plan of a dense grid, and the plan within a hair of the best."""
    problem = Problem(budget, student, *charges, coefficients=mixed)
    recipe, certificate = optimum(problem)
    found = grid_minimum(problem)
    assert certificate.proven
    assert certificate.lower_bound <= found
    assert recipe.student.cross_entropy <= found + 1e-6
    assert recipe.student.cross_entropy == pytest.approx(found, abs=5e-5)


def test_a_free_size_and_existing_teachers(mixed: str) -> None:
    """The rest of planning asks nothing else of a law."""
    free = Problem(1e21, None, coefficients=mixed)
    recipe, certificate = optimum(free)
    assert certificate.proven
    assert certificate.lower_bound <= grid_minimum(free) + 1e-9
    teacher = Problem(1e21, 1e9, teachers=(Teacher(7e9, loss=2.05),), coefficients=mixed)
    law = load(mixed).distillation
    plan = solve(teacher)
    assert law is not None
    assert plan.recipe.student.tokens is not None
    assert plan.recipe.student.cross_entropy == pytest.approx(
        float(law.loss(1e9, plan.recipe.student.tokens, 2.05)), rel=1e-12
    )
    many = solve_many([free, Problem(1e22, 1e9, coefficients=mixed)])
    assert np.all(many.gap <= 1e-6)
    assert recipe.student.cross_entropy == pytest.approx(many.cross_entropy[0], abs=1e-6)


def test_an_unknown_form_is_named(tmp_path: Path) -> None:
    """Without its line in the registry the file is refused with what is known."""
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED)
    with pytest.raises(CoefficientError, match=r"distillation.form = 'mixed': unknown law"):
        load(path)
