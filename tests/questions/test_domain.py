"""Every command has one word on whether a plan lies where the law was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.optima import solve_many
from planner.problem import Problem, Teacher
from planner.questions.compare.answer import compare
from planner.questions.explain.answer import explain
from planner.questions.plan.answer import solve
from planner.questions.sweep.grid import Grid, solve_chunk

TEACHERS = {
    "too large": Teacher(size=20e9, loss=2.05),
    "measured": Teacher(size=7e9, loss=2.2),
    "of unknown size": Teacher(loss=2.2),
    "among others": Teacher(size=20e9, tokens=4e11, name="big"),
}


@pytest.mark.parametrize("teacher", TEACHERS.values(), ids=TEACHERS)
def test_plan_sweep_and_compare_agree_on_the_domain(teacher: Teacher) -> None:
    """An existing teacher's size is known, also where many problems are solved as arrays."""
    charge = 0.0 if teacher.size is None else 1.0
    asked = Problem(2e21, 1e9, charge_inference=charge, charge_pretraining=0.0, teachers=(teacher,))
    plan = solve(asked)
    inside = not any(each.code == "outside-domain" for each in plan.warnings)
    assert not (inside and teacher.size == 20e9)
    grid = Grid(asked, (asked.budget,), (asked.student,), ((charge, 0.0),), teachers=(teacher,))
    [row] = solve_chunk(grid, range(1))
    assert row["in_domain"] is inside
    curves = compare(asked, (1e21, asked.budget), ())[0].curves
    [curve] = [each for each in curves if each.charge_inference == charge]
    assert curve.inside[1] == inside
    shares = explain(asked).along_share
    assert bool(shares.inside[shares.x == explain(asked).share][0]) == inside


def test_the_chosen_teacher_is_carried() -> None:
    """Arrays hold the size and tokens of the teacher that won, NaN for what is not known of it."""
    weak = Teacher(size=1e9, tokens=2e9)
    rows = [
        Problem(2e21, 1e9, 0.0, 0.0, teachers=(weak, TEACHERS["measured"])),
        Problem(2e21, 1e9, 0.0, 0.0, teachers=(TEACHERS["of unknown size"],)),
        Problem(2e21, 1e9),
        replace(Problem(2e21, 1e9, 1.0, 0.0, teachers=(weak,)), budget=1e10),
    ]
    found = solve_many(rows)
    assert found.teacher.tolist() == [1, 0, -1, 0]
    assert found.teacher_parameters[0] == 7e9
    assert found.teacher_tokens[0] != found.teacher_tokens[0]
    assert found.teacher_parameters[1] != found.teacher_parameters[1]
    assert found.teacher_parameters[2] > 0
    assert not found.feasible[3]
