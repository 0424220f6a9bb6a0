"""Reading runs: formats, names, units, and every problem with its row and column."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.errors import DocumentError, PlannerError
from planner.fit import FORMS, Task, fit, read_runs
from planner.fit.analysis import analyse
from planner.fit.rows import implausible
from planner.fit.runs import parse_runs
from tests.fit.simulated import real_chinchilla, real_distillations, supervised

HEADER = "student_parameters,student_tokens,teacher_cross_entropy,student_cross_entropy"
GOOD = ["143e6,3.7e9,2.17,2.66", "198M,4.9B,2.2,2.6", "0.5 billion,1.2e10,2.1,2.5"]


def write(tmp_path: Path, lines: list[str], header: str = HEADER, name: str = "runs.csv") -> Path:
    """A file of runs."""
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def problems(path: Path, distillation: bool = True) -> tuple[str, ...]:
    """What is wrong with a file."""
    with pytest.raises(DocumentError) as caught:
        read_runs(path, distillation)
    return caught.value.problems or (str(caught.value),)


def test_units_are_read_as_everywhere(tmp_path: Path) -> None:
    """Counts may be written 198M or 0.5 billion."""
    found = read_runs(write(tmp_path, GOOD), True)
    assert found.rows.parameters.tolist() == [143e6, 198e6, 5e8]
    assert found.rows.tokens.tolist() == [3.7e9, 4.9e9, 1.2e10]
    assert found.lines == (2, 3, 4)
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    "header",
    [
        "N,D,L_T,loss",
        "params, tokens, teacher loss, eval loss",
        "Student-Parameters;Student-Tokens;Teacher-Loss;Student-Loss",
    ],
)
def test_aliases(tmp_path: Path, header: str) -> None:
    """Usual column names are understood, letter case, blanks and separators aside."""
    lines = [line.replace(",", ";") if ";" in header else line for line in GOOD]
    assert len(read_runs(write(tmp_path, lines, header), True).rows) == 3


def test_json_lines_and_parquet(tmp_path: Path) -> None:
    """The same runs come out of every format."""
    names = HEADER.split(",")
    records = [dict(zip(names, map(float, (1.4e8 + i, 4e9, 2.2, 2.6)), strict=True)) for i in "012"
               for i in [int(i)]]  # fmt: skip
    lines = tmp_path / "runs.jsonl"
    lines.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'data')")
    from pyarrow import parquet

    table = tmp_path / "runs.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(records), table)
    for path in (lines, table):
        found = read_runs(path, True).rows
        assert found.parameters.tolist() == [1.4e8, 1.4e8 + 1, 1.4e8 + 2]


def test_tokens_from_flops(tmp_path: Path) -> None:
    """Tokens follow from training FLOPs as C / (6 N)."""
    path = write(tmp_path, ["1e9,6e19,2.5", "2e9,6e19,2.4"], "parameters,training_flops,loss")
    assert read_runs(path, False).rows.tokens.tolist() == [1e10, 5e9]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("143e6,3.7e9,2.17,nan", ["row 5, column student_cross_entropy: ", "nan"]),
        ("143e6,3.7e9,2.17,", ["row 5, column student_cross_entropy: empty"]),
        ("143e6,3.7e9,-2.17,2.5", ["row 5, column teacher_cross_entropy", "positive"]),
        ("0,3.7e9,2.17,2.5", ["row 5, column student_parameters", "positive"]),
        ("143e6,3.7,2.17,2.5", ["row 5, column student_tokens", "millions or billions"]),
        ("143e6,3.7e9,2.17,13.5e3", ["row 5, column student_cross_entropy", "perplexities"]),
        ("143e13,3.7e9,2.17,2.5", ["row 5, column student_parameters", "cannot be"]),
        ("many,3.7e9,2.17,2.5", ["row 5, column student_parameters", "'many'"]),
        ("143e6,3.7e9,2.17,2.5,9", ["row 5: 5 cells"]),
        (GOOD[1], ["row 5, all columns: the same run as row 3"]),
    ],
)
def test_bad_rows(tmp_path: Path, line: str, words: list[str]) -> None:
    """A bad cell is named by row and column, with what is wrong."""
    found = problems(write(tmp_path, [*GOOD, line]))
    assert len(found) == 1
    for word in words:
        assert word in found[0]


def test_units_mixed_up_by_a_billion(tmp_path: Path) -> None:
    """A size in another unit than its column is pointed out even where it is plausible alone."""
    lines = [f"{size}e12,2e13,2.2,{2.5 - size / 100}" for size in (1, 2, 3)]
    found = problems(write(tmp_path, [*lines, "12e3,2e13,2.2,2.4"]))
    assert any("row 5, column student_parameters" in each for each in found)
    ratio = problems(write(tmp_path, ["1e9,2e10,2.2,2.5", "2e10,1e6,2.2,2.4"]))
    assert "tokens per parameter cannot be" in ratio[0]


def test_every_problem_is_listed(tmp_path: Path) -> None:
    """All problems of a file come at once."""
    found = problems(write(tmp_path, ["x,3e9,2,2.5", "1e8,y,2,2.5", "1e8,3e9,z,-1", *GOOD]))
    assert len(found) == 4


def test_columns(tmp_path: Path) -> None:
    """Missing and doubled columns are named, with a guess."""
    found = problems(write(tmp_path, ["1,2"], "student_parametres,student_tokens"))
    assert any("student_parameters: missing (is it 'student_parametres'?)" in f for f in found)
    assert any("teacher_cross_entropy" in f for f in found)
    doubled = problems(write(tmp_path, ["1e8,1e8,2e9,2.5"], "params,n_params,tokens,loss"), False)
    assert "keep one" in doubled[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"parameters,tokens,loss\n"])
def test_hopeless_files(tmp_path: Path, content: bytes) -> None:
    """Empty, binary and header-only files are answered in words."""
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    assert problems(path, False)
    assert problems(tmp_path / "absent.csv", False)


def test_duplicates_can_be_meant(tmp_path: Path) -> None:
    """Runs that occur twice are accepted on request."""
    path = write(tmp_path, [*GOOD, GOOD[0]])
    assert len(read_runs(path, True, allow_duplicates=True).rows) == 4


def test_what_no_reader_can_read_is_answered() -> None:
    """A cell without end and a row nested without end name the row."""
    head = "parameters,tokens,cross_entropy\n1e9,1e10,2.5\n"
    with pytest.raises(DocumentError, match="row 3: not CSV"):
        parse_runs((head + "1" * 200_000 + ",1,2\n").encode(), "runs.csv", False)
    with pytest.raises(DocumentError) as caught:
        parse_runs(b"[" * 100_000, "runs.jsonl", False)
    assert "row 1" in caught.value.problems[0]


def test_json_truth_is_not_a_number(tmp_path: Path) -> None:
    """true in a JSON file is named, not read as 1."""
    path = tmp_path / "runs.jsonl"
    path.write_text('{"N": 1e9, "D": 2e10, "loss": true}\n{"N": true, "D": 2e10, "loss": 2.5}\n')
    found = problems(path, False)
    assert found == (
        "row 1, column loss: true is not a number",
        "row 2, column N: true is not a number",
    )


def test_perplexities_are_refused_row_by_row(tmp_path: Path) -> None:
    """A loss that guessing reaches is no loss of a trained model; an untrained one may have it."""
    lines = [f"{n}e8,2e10,{13 - n}" for n in (1, 2, 3)]
    found = problems(write(tmp_path, lines, "N,D,loss"), False)
    assert [each.partition(":")[0] for each in found] == [
        f"row {row}, column loss" for row in (2, 3, 4)
    ]
    assert all("perplexities" in each for each in found)
    assert read_runs(write(tmp_path, ["1e8,1e7,10.2"], "N,D,loss"), False).rows.loss[0] == 10.2
    teacher = problems(write(tmp_path, ["1e8,2e10,12,2.9"]), True)
    assert teacher[0].startswith("row 2, column teacher_cross_entropy")


def _said(**changed: object) -> str:
    return " ".join(implausible(replace(supervised(), **changed)))


def test_mistaken_columns_are_remarked_upon() -> None:
    """Swapped columns, thousandfold tokens, and losses in other units are possible, but loud."""
    runs = supervised()
    assert implausible(runs) == ()
    assert "parameters and tokens swapped" in _said(parameters=runs.tokens, tokens=runs.parameters)
    assert "tokens a thousandfold too large" in _said(tokens=1e3 * runs.tokens)
    assert "tokens a thousandfold too small" in _said(tokens=1e-3 * runs.tokens)
    assert "look like perplexities" in _said(loss=np.exp(runs.loss))
    assert "CHECK THE LOSSES" in _said(loss=runs.loss / 4)
    for name in ("chinchilla", "distillations"):
        rows = real_chinchilla(0) if name == "chinchilla" else real_distillations()
        assert implausible(rows) == ()


def test_the_report_says_it_first() -> None:
    """What is wrong with the input comes before what was made of it."""
    runs = supervised()
    swapped = replace(runs, parameters=runs.tokens, tokens=runs.parameters)
    point = fit(Task(FORMS["hoffmann"], swapped), "plain", density=3)
    assert analyse(point, judgement=False).remarks[0].startswith("CHECK THE COLUMNS")


def test_a_refusal_names_what_looks_wrong_with_the_columns() -> None:
    """Where swapped columns leave nothing to fit, the refusal says that they look swapped."""
    runs = supervised()
    swapped = replace(runs, parameters=np.full(120, 4e10), tokens=runs.parameters)
    with pytest.raises(PlannerError, match=r"one size.*CHECK THE COLUMNS"):
        fit(Task(FORMS["hoffmann"], swapped), "plain")
