"""`planner predict` and the misfit a fit learns from its own extrapolations."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from coefficients import Misfit, load
from laws import SupervisedLaw
from planner.cli.predict import command
from planner.errors import PlannerError
from planner.fit import FORMS, Provenance, Rows, Task, bootstrap, fit, write
from planner.fit.judge import misfit
from planner.fit.prediction import Prediction, predict_runs

LAW = SupervisedLaw(1.2, 3355.0, 18186.0, 0.408, 0.431, 0.452)


MILD = SupervisedLaw(1.5, 600.0, 4000.0, 0.36, 0.40, 0.8)


def study(noise: float = 0.001, law: SupervisedLaw = LAW) -> Rows:
    """A grid of runs of Eq. 1, which Hoffmann's form cannot follow."""
    size = np.geomspace(5e7, 1e10, 10).repeat(6)
    tokens = np.tile(np.geomspace(1e9, 5e11, 6), 10)
    error = noise * np.random.default_rng(0).normal(size=size.size)
    return Rows(size, tokens, law.loss(size, tokens) * np.exp(error))


def cheap(rows: Rows) -> np.ndarray:
    """The cheapest 60%."""
    cost = rows.parameters * rows.tokens
    return np.asarray(cost <= np.quantile(cost, 0.6))


def written(path: Path, rows: Rows, form: str) -> Path:
    """A set fitted to runs, with its misfit."""
    point = fit(Task(FORMS[form], rows), "plain", density=3)
    boot = bootstrap(point, 64)
    write(path, point, boot, (), Provenance(misfit=misfit(point)))
    return path


def test_ways_out() -> None:
    """Nothing inside; outside the largest of what the ways ask for, in logarithms."""
    ranges = ((1e8, 1e9), (1e9, 1e10), (1e17, 1e19))
    found = Misfit(*ranges, 0.02, 0.01, 0.03, (2.0, 2.5), 0.05)
    assert found.half_width(5e8, 5e9, 2.2) == 0
    assert found.half_width(1e9 * np.e, 5e9 / np.e, 2.2) == pytest.approx(0.02)
    assert found.half_width(1e9 * np.e, 1e10, 2.2) == pytest.approx(0.03)
    assert found.half_width(5e8, 5e9, 2.0 / np.e) == pytest.approx(3 * 0.05)


def test_intervals_widen_where_the_form_is_wrong(tmp_path: Path) -> None:
    """The misfit covers more of the dearest runs than draws and scatter alone, if not all: here it
    grows faster than in the cheap runs' own extrapolations."""
    rows = study(0.003, MILD)
    path = written(tmp_path / "wrong.toml", rows.take(cheap(rows)), "hoffmann")
    found, dear = load(path), rows.take(~cheap(rows))
    covered = []
    for chosen in (found, replace(found, misfit=None)):
        said = predict_runs(chosen, dear.parameters, dear.tokens)
        covered.append(float(((said.low <= dear.loss) & (dear.loss <= said.high)).mean()))
    assert covered[0] > covered[1]
    wide, narrow = (
        predict_runs(chosen, dear.parameters, dear.tokens)
        for chosen in (found, replace(found, misfit=None))
    )
    assert np.median(wide.high / wide.low - 1) > 1.2 * np.median(narrow.high / narrow.low - 1)


def test_a_true_law_learns_little(tmp_path: Path) -> None:
    """Where the form is right the rate is a fraction of a wrong form's."""
    rows = study()
    right, wrong = (misfit(fit(Task(FORMS[name], rows), "plain", density=3))
                    for name in ("supervised", "hoffmann"))  # fmt: skip
    assert right is not None
    assert wrong is not None
    assert right.flops_rate < 0.25 * wrong.flops_rate


def test_csv_repeats_the_input(tmp_path: Path) -> None:
    """The input's columns as they were written, then predicted, low, high, outside."""
    path = written(tmp_path / "mine.toml", study(), "supervised")
    at = tmp_path / "at.csv"
    at.write_text("run,N,D\nsmall,1 billion,2e10\nlarge,7e10,1.4e12\n")
    done = CliRunner().invoke(command, [str(path), "--at", str(at), "--format", "csv"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["run", "N", "D", "predicted", "low", "high", "outside"]
    assert [row["run"] for row in rows] == ["small", "large"]
    assert float(rows[0]["predicted"]) == pytest.approx(LAW.loss(1e9, 2e10), rel=2e-3)
    assert rows[0]["outside"] == ""
    assert "student_parameters" in rows[1]["outside"]
    width = [float(row["high"]) / float(row["low"]) - 1.0 for row in rows]
    assert 0 < width[0] < width[1]


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_single_runs(form: str) -> None:
    """One run from options, distilled where its teacher is given."""
    words = ["busbridge2025-refit", "--parameters", "1B", "--tokens", "30B", "--format", form]
    law = load("busbridge2025-refit").distillation
    assert law is not None
    for extra, expected in ((["--teacher-loss", "2.2"], law.loss(1e9, 3e10, 2.2)),
                            ([], law.supervised.loss(1e9, 3e10))):  # fmt: skip
        done = CliRunner().invoke(command, words + extra)
        assert done.exit_code == 0, done.output
        assert f"{float(expected):.4f}"[:5] in done.stdout


def test_a_law_that_the_draws_hold_fixed_has_no_interval() -> None:
    """No width of zero where nothing is known; too narrow an interval says so."""
    chosen = load("busbridge2025-refit")
    size, tokens = np.array([1e9]), np.array([3e10])
    alone, taught = (predict_runs(chosen, size, tokens, t) for t in (None, np.array([2.2])))
    words = ["busbridge2025-refit", "--parameters", "1B", "--tokens", "30B"]
    said = CliRunner().invoke(command, words).stdout
    rows = Rows(size, tokens, np.ones(1), np.array([2.2]))
    less = predict_runs(replace(chosen, misfit=None), size, tokens, np.array([2.2]))
    narrow, whole = (
        Prediction("refit", ({},), rows, each).render("text") for each in (less, taught)
    )

    assert np.isnan([alone.low, alone.high]).all()
    assert taught.low < taught.predicted < taught.high
    assert "There are no intervals" in said
    assert "The intervals are too narrow: they lack the misfit" in narrow
    assert "90%" not in said + narrow
    assert "90% of single runs" in whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["besiroglu2024", "--parameters", "1B"], "--parameters and --tokens"),
        (["besiroglu2024", "--at", "absent.csv"], "cannot be read"),
        (["besiroglu2024", "--at", "a.csv", "--tokens", "1B"], "leave --parameters"),
        (["besiroglu2024", "--parameters", "1B", "--tokens", "9B", "--teacher-loss", "2"],
         "has no distillation law"),
    ],
)  # fmt: skip
def test_mistakes(words: list[str], message: str) -> None:
    """One sentence each."""
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, PlannerError)
    assert message in str(done.exception)
