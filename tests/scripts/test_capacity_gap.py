"""The capacity gap in miniature."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from planner.errors import PlannerError

torch = pytest.importorskip("torch", reason="the mapping problem needs the extra `trainer`")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "capacity_gap.py"
SPEC = importlib.util.spec_from_file_location("capacity_gap", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
script = importlib.util.module_from_spec(SPEC)
sys.modules["capacity_gap"] = script
SPEC.loader.exec_module(script)
Kernel, Mapping = script.Kernel, script.Mapping

KERNEL = Kernel(functions=24, teacher_norm=1.6, student_norm=1.3)


@pytest.mark.parametrize("student", [3, 9, 16])
def test_students_are_projections_of_their_teachers(student: int) -> None:
    """Teacher and student are the nearest functions in reach, found here by a solver."""
    alpha = KERNEL.coefficients()
    teachers = np.arange(1, 25)
    teacher_errors, student_errors = KERNEL.errors(student, teachers)
    for m, teacher_error, student_error in zip(
        teachers, teacher_errors, student_errors, strict=True
    ):
        teacher = _project(alpha, m, KERNEL.teacher_norm)
        pupil = _project(teacher, student, KERNEL.student_norm)
        assert teacher_error == pytest.approx(np.linalg.norm(teacher - alpha))
        assert student_error == pytest.approx(np.linalg.norm(pupil - alpha))


def _project(goal: np.ndarray, count: int, radius: float) -> np.ndarray:
    """The nearest vector to `goal` with only the first `count` entries and at most this norm."""
    from scipy.optimize import minimize

    found = minimize(
        lambda x: np.sum((x - goal[:count]) ** 2),
        np.zeros(count),
        jac=lambda x: 2 * (x - goal[:count]),
        constraints={
            "type": "ineq",
            "fun": lambda x: radius**2 - x @ x,
            "jac": lambda x: -2 * x,
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return np.concatenate((found.x, np.zeros(len(goal) - count)))


def test_students_improve_up_to_their_own_size_and_then_decline() -> None:
    """Fig. 10: the error falls in m until m = n and rises after, though teachers keep improving."""
    teachers = np.arange(1, 1_001)
    teacher, student = Kernel().errors(200, teachers)
    assert np.argmin(student) == 199
    assert (np.diff(student[:200]) <= 1e-12).all()
    assert (np.diff(student[200:]) >= -1e-12).all()
    assert (np.diff(teacher) < 1e-12).all()
    assert student[-1] > student[199] + 0.1


def test_impossible_kernels_are_refused() -> None:
    """More functions than there are is an error that says how many there are."""
    with pytest.raises(PlannerError, match="from 1 to 24"):
        KERNEL.errors(10, np.array([25]))


def test_labels_of_the_mapping_problem() -> None:
    """A marked zero maps to itself, any other symbol to the next position with the same symbol."""
    problem = Mapping(length=7)
    inputs, labels = problem.sample(3_000, torch.Generator().manual_seed(0))
    context, mark = inputs[:, :7].long(), inputs[:, 7:].argmax(1)
    assert inputs.shape == (3_000, 14)
    assert (inputs[:, 7:].sum(1) == 1).all()
    for row, i, label in zip(context.tolist(), mark.tolist(), labels.tolist(), strict=True):
        ahead = [(i + step) % 7 for step in range(1, 7)]
        twins = [j for j in ahead if row[j] == row[i]]
        assert twins, "the sample guarantees a twin"
        assert label == (i if row[i] == 0 else twins[0])
    assert set(context.unique().tolist()) == {0, 1, 2}


def test_samples_and_curve_of_the_mapping_problem() -> None:
    """Samples follow the paper's rule; teachers and students learn, better with more of them."""
    problem = Mapping(length=4, effort=0.1)
    assert Mapping().samples(4) == 500 * 512
    width = 512
    parameters = sum(p.numel() for p in Mapping().perceptron(width, 0).parameters())
    assert Mapping().samples(width) == 20 * parameters
    teacher, student = problem.curve(32, [(8, None), (128, None), (128, 100_000)])
    assert teacher[2] < teacher[1] < teacher[0]
    assert student[1] < student[0]
    again = problem.curve(32, [(8, None)])
    assert again[0][0] == teacher[0]


def run(*words: object) -> str:
    found = CliRunner().invoke(script.command, [str(w) for w in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_the_script(tmp_path: Path) -> None:
    """Both problems as tables, JSON and pictures."""
    picture = tmp_path / "gap.svg"
    text = run("kernel", "--student", "200", "--plot", picture)
    (best,) = (line for line in text.splitlines() if "best student" in line)
    assert best.split()[0] == "200"
    assert "<svg" in picture.read_text()
    words = ["mapping", "--effort", "0.01", "--length", "4", "--student", "8", "--json"]
    for vary in ("size", "data"):
        found = json.loads(run(*words, "--teachers", "8,64", "--vary", vary, "--quiet"))
        assert len(found["student"]) == 2
    with pytest.raises(PlannerError, match="not a list"):
        run("kernel", "--teachers", "few")
