"""Sweeps: the grid, the rows, the files, and going on after a kill."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from coefficients import load
from planner.errors import ProblemError
from planner.optima import optimum
from planner.problem import Problem, Teacher
from planner.questions.fields import grid_of
from planner.questions.sweep import files as parts
from planner.questions.sweep.files import FileError, PartsError, encode, run
from planner.questions.sweep.grid import COLUMNS, Grid, chunks, solve_chunk
from planner.questions.sweep.question import SweepQuestion
from planner.scenarios import SCENARIOS
from planner.units import parse_count, parse_flops

LAW = load("busbridge2025")
CHARGES = tuple(scenario.charges for scenario in SCENARIOS.values())


def grid(**rest: Any) -> Grid:
    """Two budgets, two students, four scenarios, unless said otherwise."""
    given: dict[str, Any] = {"budgets": (1e20, 1e22), "students": (3e8, 1e9), "charges": CHARGES}
    return Grid(Problem(1e20), **{**given, **rest})


class KilledError(Exception):
    """Stands for whatever ends a sweep halfway."""


def test_the_grid_is_the_whole_product_each_point_once() -> None:
    """Positions decode to every combination."""
    found = {
        (p.budget, p.student, p.charge_inference, p.charge_pretraining)
        for p in map(grid().problem, range(len(grid())))
    }
    assert len(grid()) == 16
    assert len(found) == 16
    assert [len(part) for part in chunks(grid(), 5)] == [5, 5, 5, 1]


def test_every_row_is_the_certified_plan_of_its_point() -> None:
    """The vectorised answer is the single one."""
    rows = solve_chunk(grid(), range(16), LAW)
    for position, row in enumerate(rows):
        recipe, _ = optimum(grid().problem(position), LAW)
        assert row["cross_entropy"] == pytest.approx(recipe.student.cross_entropy, abs=1e-9)
        assert row["difference"] == row["cross_entropy"] - row["supervised_cross_entropy"]
        assert 0 <= row["gap"] <= 1e-6
        assert row["flops"] <= row["budget"] * (1 + 1e-9)
        assert tuple(row) == COLUMNS


def test_points_without_a_plan_are_rows_too() -> None:
    """Infeasible is an answer: the values are absent and the row says so."""
    row = solve_chunk(grid(budgets=(1e12,), students=(1e9,)), range(1), LAW)[0]
    assert row["feasible"] is False
    assert row["in_domain"] is False
    assert row["cross_entropy"] is None
    assert row["student_tokens"] is None


def test_the_domain_is_marked() -> None:
    """Inside: a middling student at a middling budget. Outside: 1e19 FLOPs for 1B."""
    rows = solve_chunk(
        grid(budgets=(1e19, 1e21), students=(1e9,), charges=((1.0, 1.0),)), range(2), LAW
    )
    assert [row["in_domain"] for row in rows] == [False, True]


def test_existing_teachers_are_swept_with_their_names() -> None:
    """Known sizes and tokens show in the row; the scenario pays for logits alone."""
    teachers = (Teacher(7e9, 140e9, name="ours"), Teacher(2e9, loss=2.1))
    rows = solve_chunk(
        grid(budgets=(1e21,), students=(1e9,), charges=((1.0, 0.0),), teachers=teachers),
        range(2), LAW,
    )  # fmt: skip
    assert [row["teacher"] for row in rows] == ["ours", str(teachers[1])]
    assert rows[0]["teacher_parameters"] == 7e9
    assert rows[0]["teacher_tokens"] == 140e9
    assert rows[1]["teacher_tokens"] is None
    assert rows[1]["teacher_cross_entropy"] == 2.1


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_killed_sweep_continues_to_the_same_bytes(tmp_path: Path, form: str) -> None:
    """Killed after two chunks, the second run solves the rest alone and the file is the same."""
    whole, broken = tmp_path / f"whole.{form}", tmp_path / f"broken.{form}"
    run(grid(), whole, LAW, chunk=5)
    done: list[int] = []

    def kill(points: int) -> None:
        done.append(points)
        if len(done) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(grid(), broken, LAW, chunk=5, progress=kill)
    assert not broken.exists()
    outcome = run(grid(), broken, LAW, chunk=5)

    assert outcome.continued == 10
    assert outcome.points == 16
    assert broken.read_bytes() == whole.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == [broken.name, whole.name]


def test_a_part_that_was_cut_off_is_not_trusted(tmp_path: Path) -> None:
    """A chunk counts as done only with its summary, which is written after it."""
    target = tmp_path / "out.csv"
    folder = tmp_path / "out.csv.parts"
    run(grid(), tmp_path / "whole.csv", LAW, chunk=5)
    folder.mkdir()
    (folder / parts.FINGERPRINT).write_text(grid().fingerprint(5, "csv", LAW))
    (folder / "00000000.csv").write_text("half a li")
    assert run(grid(), target, LAW, chunk=5).continued == 0
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_parts_of_another_sweep_are_not_mixed_in(tmp_path: Path) -> None:
    """Another grid, chunk or law refuses; --restart drops what stands there."""
    target = tmp_path / "out.csv"

    def kill(points: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        run(grid(), target, LAW, chunk=5, progress=kill)
    with pytest.raises(PartsError, match="--restart"):
        run(grid(budgets=(1e20, 1e23)), target, LAW, chunk=5)
    assert run(grid(budgets=(1e23,)), target, LAW, chunk=5, restart=True).points == 8


def test_the_formats_hold_the_same_values(tmp_path: Path) -> None:
    """CSV to the last digit, JSON lines and Parquet with their types."""
    import pyarrow.parquet

    rows = solve_chunk(grid(), range(16), LAW)
    lines = [json.loads(line) for line in encode(rows, "jsonl").decode().splitlines()]
    table = list(csv.DictReader(io.StringIO(encode(rows, "csv").decode())))
    (tmp_path / "rows.parquet").write_bytes(encode(rows, "parquet"))
    columns = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()

    assert lines == rows
    assert columns == rows
    for row, cells in zip(rows, table, strict=True):
        assert float(cells["cross_entropy"]) == row["cross_entropy"]
        assert cells["feasible"] == "true"
        assert cells["teacher"] == ""


def test_lists_and_ranges_are_read() -> None:
    """Commas part entries, a range has its points, doubles count once."""
    assert grid_of(("1e20", "1e22"), parse_flops, "budget") == (1e20, 1e22)
    assert grid_of(("1B", "1e9", "300M"), parse_count, "student") == (1e9, 3e8)
    assert grid_of(("1e19:1e21:3",), parse_flops, "budget") == pytest.approx((1e19, 1e20, 1e21))
    assert len(grid_of(("1e19:1e21",), parse_flops, "budget")) == 50


def test_grids_and_files_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """One sentence each, before the first solve, and no file left."""
    with pytest.raises(ProblemError, match="no budgets"):
        grid(budgets=())
    with pytest.raises(ProblemError, match="twice"):
        grid(students=(1e9, 1e9))
    with pytest.raises(ProblemError, match="more than"):
        grid(budgets=tuple(10.0**20 + i for i in range(7_000_000)))
    with pytest.raises(ProblemError, match="empty entry"):
        SweepQuestion(budget="1e20,,1e21")
    with pytest.raises(FileError, match=r"\.csv, \.jsonl, \.parquet"):
        run(grid(), tmp_path / "out.xlsx", LAW)
    with pytest.raises(FileError, match="does not exist"):
        run(grid(), tmp_path / "none" / "out.csv", LAW)
    assert list(tmp_path.iterdir()) == []
