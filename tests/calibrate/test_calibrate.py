"""`planner calibrate`: a known law moved to another corpus by a few runs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from coefficients import CoefficientSet, load
from laws import SupervisedLaw
from planner import Problem, solve
from planner.calibrate import move, moving_task
from planner.calibrate.move import NOISE, RATE, REACH
from planner.calibrate.report import calibration, doubts
from planner.cli.calibrate import command
from planner.errors import PlannerError
from planner.fit import FORMS, Rows, Task, fit
from planner.fit.prediction import predict_runs

OLD = replace(load("busbridge2025"), distillation=None)
FULL = load("busbridge2025")
FLOOR, SCALE, POWER = 1.62, 1.08, 1.05
SIZES = np.array([1e8, 2e8, 4e8, 1.2e8, 3e8, 6e8])
TOKENS = np.array([4e9, 4e9, 6e9, 2e10, 1e10, 1.2e10])
LARGE = (np.array([2e9, 4e9, 7e9]), np.array([6e10, 8e10, 1.4e11]))


def shifted(loss: np.ndarray) -> np.ndarray:
    """The same runs' losses on another corpus."""
    return np.asarray(FLOOR + SCALE * (loss - OLD.supervised.E) ** POWER)


def pilots(seed: int = 0, noise: float = 0.002, count: int = 6) -> Rows:
    """Cheap runs on the new corpus."""
    error = noise * np.random.default_rng(seed).normal(size=6)
    loss = shifted(OLD.supervised.loss(SIZES, TOKENS)) * np.exp(error)
    return Rows(SIZES, TOKENS, loss).take(np.arange(6) < count)


def truth() -> np.ndarray:
    """Losses of the large runs, ten to a thousand times dearer."""
    return shifted(OLD.supervised.loss(*LARGE))


def table(path: Path, rows: Rows) -> str:
    """Runs as a file."""
    names = ["parameters", "tokens", "cross_entropy"]
    columns = [rows.parameters, rows.tokens, rows.loss]
    if rows.teacher_loss is not None:
        names, columns = [*names, "teacher_cross_entropy"], [*columns, rows.teacher_loss]
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(names)
        writer.writerows(zip(*(map(float, each) for each in columns), strict=True))
    return str(path)


def test_a_moved_law_is_eq_1_with_other_coefficients() -> None:
    """The shifted power law of Eq. 1 is Eq. 1 with alpha and beta kept."""
    old = OLD.supervised
    factor = SCALE ** (1.0 / (old.gamma * POWER))
    new = SupervisedLaw(
        FLOOR, old.A * factor, old.B * factor, old.alpha, old.beta, old.gamma * POWER
    )
    np.testing.assert_allclose(new.loss(*LARGE), truth(), rtol=1e-12)


def test_few_pilots_recover_the_moved_law_and_their_intervals_cover() -> None:
    """Over studies, six pilots predict the large runs within a percent, stated 90% hold."""
    inside, errors = [], []
    for seed in range(20):
        moved = move(OLD, moving_task(OLD, pilots(seed), None), draws=256)
        found = np.exp(moved.point.task.model(Rows(*LARGE, np.ones(3))).predict(moved.draws.theta))
        low, high = np.quantile(found, [0.05, 0.95], axis=0)
        inside.append((low <= truth()) & (truth() <= high))
        errors.append(np.abs(moved.law.loss(*LARGE) / truth() - 1.0))
    assert np.median(errors) < 0.01
    assert np.mean(inside) >= 0.85


def test_the_moved_law_beats_a_direct_fit_to_the_same_pilots() -> None:
    """With noise, six runs alone say less of large runs than the old law and they together."""
    moved_errors, direct_errors = [], []
    for seed in range(8):
        rows = pilots(seed, noise=0.003)
        moved = move(OLD, moving_task(OLD, rows, None), draws=2)
        direct = fit(Task(FORMS["hoffmann"], rows), "plain")
        moved_errors.append(np.abs(moved.law.loss(*LARGE) / truth() - 1.0).mean())
        direct_errors.append(np.abs(direct.form.loss(*LARGE) / truth() - 1.0).mean())
    assert np.mean(moved_errors) < 0.5 * np.mean(direct_errors)


def test_three_pilots_help() -> None:
    """Three pilots predict better than the old law does, and say that they know less than six."""
    three = move(OLD, moving_task(OLD, pilots(count=3), None), draws=256)
    six = move(OLD, moving_task(OLD, pilots(), None), draws=256)
    off = np.abs(three.law.loss(*LARGE) / truth() - 1.0).max()
    assert off < 0.25 * np.abs(OLD.supervised.loss(*LARGE) / truth() - 1.0).max()
    assert calibration(three).half_width > calibration(six).half_width


def test_runs_that_no_move_explains_are_doubted() -> None:
    """Pilots of a law with other exponents, or with a noise of 3%, are not believed in silence."""
    assert doubts(move(OLD, moving_task(OLD, pilots(), None), draws=2)) == ()
    noisy = move(OLD, moving_task(OLD, pilots(noise=0.03), None), draws=2)
    assert noisy.noise > 3 * NOISE
    assert doubts(noisy)
    other = SupervisedLaw(0.6, 5e6, 1e2, 0.9, 0.15, 0.9)
    moved = move(OLD, moving_task(OLD, Rows(SIZES, TOKENS, other.loss(SIZES, TOKENS)), None), 2)
    assert doubts(moved)
    assert moved.misfit.flops_rate >= RATE


def test_next_pilots_are_affordable_and_help() -> None:
    """Together they cost at most what the pilots did; each narrows the target, in order."""
    moved = move(OLD, moving_task(OLD, pilots(), None), draws=2)
    found = calibration(moved, target=(7e9, 1.4e11))
    widths = [found.half_width, *(each.half_width for each in found.next_pilots)]
    assert len(widths) > 1
    assert all(after < before for before, after in pairwise(widths))
    spent = 3.0 * np.sum(OLD.flops(SIZES) * TOKENS)
    assert sum(each.flops for each in found.next_pilots) <= spent * (1 + 1e-9)


def test_students_are_moved_with_their_teachers() -> None:
    """One factor on all losses is exact for Eq. 8: supervised pilots alone move the students."""
    factor = 1.1
    loss = factor * np.asarray(FULL.supervised.loss(SIZES, TOKENS))
    moved = move(FULL, moving_task(FULL, Rows(SIZES, TOKENS, loss), None), draws=64)
    law, old = moved.point.distillation, FULL.distillation
    assert law is not None
    assert old is not None
    expected = factor * old.loss(1e9, 3e10, 2.2)
    assert law.loss(1e9, 3e10, factor * 2.2) == pytest.approx(expected, rel=3e-3)


def test_distilled_and_supervised_pilots_together() -> None:
    """Distilled pilots pull Eq. 8 where they lie; the old law alone would miss them."""
    old = FULL.distillation
    assert old is not None
    teachers = np.array([2.3, 2.5, 2.4, 2.6, 2.3, 2.5])
    losses = 1.02 * np.asarray(old.loss(SIZES, TOKENS, teachers))
    taught = Rows(SIZES, TOKENS, losses, teachers)
    alone = Rows(SIZES, TOKENS, np.asarray(FULL.supervised.loss(SIZES, TOKENS)))
    moved = move(FULL, moving_task(FULL, alone, taught), draws=64)
    law = moved.point.distillation
    assert law is not None
    assert np.abs(law.loss(SIZES, TOKENS, teachers) / losses - 1.0).mean() < 0.006
    assert moved.draws.converged > 0.95


def test_distilled_pilots_alone_show_one_factor() -> None:
    """The factor is found that students and teachers share, not that of students' losses alone."""
    old, factor = FULL.distillation, 1.1
    assert old is not None
    teachers = np.array([2.3, 2.5, 2.4, 2.6, 2.3, 2.5])
    losses = factor * np.asarray(old.loss(SIZES, TOKENS, teachers))
    task = moving_task(FULL, None, Rows(SIZES, TOKENS, losses, factor * teachers))
    moved = move(FULL, task, draws=8)
    assert moved.factor == pytest.approx(factor, rel=0.01)
    law = moved.point.distillation
    assert law is not None
    assert law.loss(1e9, 3e10, factor * 2.3) == pytest.approx(
        factor * old.loss(1e9, 3e10, 2.3), rel=0.01
    )


def run(*words: str) -> str:
    """The command's standard output."""
    result = CliRunner().invoke(command, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_command_writes_a_set_that_predicts_and_plans(tmp_path: Path) -> None:
    """The written file loads, predicts the pilots, reaches ten times beyond them, and plans."""
    alone = Rows(SIZES, TOKENS, 1.05 * np.asarray(FULL.supervised.loss(SIZES, TOKENS)))
    target = tmp_path / "mine.toml"
    words = [table(tmp_path / "pilots.csv", alone), "--output", str(target), "--draws", "64"]
    answer = json.loads(run("busbridge2025", *words, "--format", "json"))
    assert answer["kind"] == "calibration"
    assert answer["factor"] == pytest.approx(1.05, rel=1e-3)
    mine: CoefficientSet = load(target)
    assert mine.distillation is not None
    assert mine.misfit is not None
    students = mine.domain.student_parameters
    assert students is not None
    assert students[1] == pytest.approx(REACH * SIZES.max())
    found = predict_runs(mine, *LARGE)
    expected = 1.05 * np.asarray(FULL.supervised.loss(*LARGE))
    assert np.all((found.low <= expected) & (expected <= found.high))
    problem = Problem(budget=1e21, student=1e9)
    new, old = (solve(problem, each).recipe.student for each in (mine, FULL))
    assert new.cross_entropy == pytest.approx(1.05 * old.cross_entropy, rel=0.02)


def test_command_refuses_in_a_sentence(tmp_path: Path) -> None:
    """Too few runs, equal runs, teachers without a law for them, wrong columns and names."""
    few = table(tmp_path / "few.csv", pilots(count=2))
    size, length = np.full(3, 1e8), np.full(3, 2e9)
    same = table(tmp_path / "same.csv", Rows(size, length, np.array([3.1, 3.11, 3.12])))
    taught = replace(pilots(), teacher_loss=np.full(6, 2.2))
    students = table(tmp_path / "taught.csv", taught)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("parameters,loss\n1e8,3.1\n", encoding="utf-8")
    good = table(tmp_path / "good.csv", pilots())
    for words, said in (
        (("besiroglu2024", few), "2 pilot"),
        (("besiroglu2024", same, "--allow-duplicates"), "same compute"),
        (("besiroglu2024", students), "no distillation law"),
        (("besiroglu2024", str(wrong)), "tokens"),
        (("besiroglu2024", good, "--for", "7B"), "SIZE:TOKENS"),
        (("besiroglu2024", good, "--draws", "1"), "--draws"),
        (("besiroglu2024", good, "--output", "mine.txt"), ".toml"),
        (("besiroglu", good), "besiroglu2024"),
    ):
        result = CliRunner().invoke(command, [*words])
        assert isinstance(result.exception, PlannerError | ValueError), words
        assert said in str(result.exception) + repr(vars(result.exception)), words
