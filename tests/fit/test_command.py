"""`planner fit`: what it writes, and that nothing is written for a bad file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from coefficients import load
from planner.cli.fit import command
from planner.errors import PlannerError
from tests.fit.simulated import distillations, supervised


def save(path: Path, distillation: bool) -> Path:
    """Simulated runs as CSV."""
    rows = distillations() if distillation else supervised()
    columns = [rows.parameters, rows.tokens, rows.loss]
    names = "parameters,tokens,loss"
    if rows.teacher_loss is not None:
        columns, names = [*columns, rows.teacher_loss], names + ",teacher_loss"
    np.savetxt(path, np.stack(columns, axis=1), "%.10g", ",", header=names, comments="")
    return path


def run(*words: object) -> Result:
    """The command, as typed."""
    return CliRunner().invoke(command, [str(word) for word in words])


def test_fit_writes_a_set(tmp_path: Path) -> None:
    """A fit prints its report and writes a set that loads, with draws beside it."""
    runs = save(tmp_path / "runs.csv", True)
    target = tmp_path / "my.toml"
    done = run(
        runs, "--protocol", "plain", "--bootstrap", 64, "--fix", "c0=2.549", "--output", target,
        "--format", "json", "--no-judgement",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["coefficients"]["c0"]["fixed"] is True
    found = load(target)
    assert found.distillation is not None
    assert found.distillation.c0 == 2.549
    assert found.source.details["held"] == ["c0=2.549"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my.npz", "my.toml", "runs.csv"]


def test_supervised_laws(tmp_path: Path) -> None:
    """A Hoffmann fit needs no teacher and no base set."""
    runs = save(tmp_path / "runs.csv", False)
    done = run(runs, "--law", "hoffmann", "--bootstrap", 0)
    assert done.exit_code == 0, done.output
    assert "beta" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--law", "moon"], "--law 'moon' is unknown"),
        (["--protocol", "moon"], "--protocol 'moon' is unknown"),
        (["--fix", "c0"], "NAME=VALUE"),
        (["--fix", "c0=x"], "not a number"),
        (["--bound", "c0=1"], "c0=0.2:0.5"),
        (["--output", "my.json"], "must end in .toml"),
        (["--delta", "0"], "--delta is 0"),
        (["--supervised-runs", "absent.csv"], "cannot be read"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], message: str) -> None:
    """A mistake is one sentence and leaves no file."""
    runs = save(tmp_path / "runs.csv", True)
    done = run(runs, *words, "--bootstrap", 0, "--no-judgement")
    assert isinstance(done.exception, PlannerError)
    assert message in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]


def test_bad_file_writes_nothing(tmp_path: Path) -> None:
    """Every problem is listed, and neither set nor draws appear."""
    runs = tmp_path / "runs.csv"
    runs.write_text("params,tokens,loss,teacher_loss\n1e8,2e9,nan,2\n1e8,-1,2.5,2\n")
    done = run(runs, "--output", tmp_path / "my.toml")
    assert isinstance(done.exception, PlannerError)
    assert "row 2, column loss" in str(done.exception)
    assert "row 3, column tokens" in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["runs.csv"]
