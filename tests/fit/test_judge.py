"""Judgement: outliers, influence, held-out errors, forms, and the words of reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coefficients import load
from planner.fit import FORMS, Fit, Rows, Task, bootstrap, fit
from planner.fit.analysis import analyse
from planner.fit.judge import by_size, coverage, extrapolation, held_out, outliers
from planner.fit.report import Analysis
from planner.reports import FORMATS, Screen
from tests.fit.simulated import distillations, published, real_chinchilla, supervised


@pytest.fixture(scope="module")
def distilled() -> Fit:
    """A distillation fit to simulated runs."""
    return fit(Task(FORMS["distillation"], distillations(runs=80), load().supervised), "plain")


@pytest.fixture(scope="module")
def judged(distilled: Fit) -> Analysis:
    """The same fit, judged."""
    return analyse(distilled, bootstrap(distilled, 60))


def test_mislabelled_row_is_named() -> None:
    """A run whose tokens were written ten times too high is found and the right value guessed."""
    rows = distillations(noise=0.001)
    tokens = rows.tokens.copy()
    wrong = int(np.argmin(rows.tokens / rows.parameters))
    true = tokens[wrong]
    tokens[wrong] = true * 64
    point = fit(
        Task(FORMS["distillation"], replace(rows, tokens=tokens), load().supervised), "plain"
    )
    worst = outliers(point)[0]
    assert worst.row == wrong
    assert f"tokens {true:.4g} instead of" in worst.remark


def test_outliers_of_chinchilla_and_their_influence() -> None:
    """All 245 runs: beta moves from .37 to .45 through a few runs, and the report says so."""
    point = fit(Task(FORMS["hoffmann"], real_chinchilla(drop=0)), "plain")
    assert point.values["beta"] == pytest.approx(0.4530, abs=2e-3)
    found = analyse(point, judgement=False)
    assert found.influence is not None
    assert found.influence.after["beta"] < 0.39
    assert any("without them beta would be" in remark for remark in found.remarks)


def test_held_out_errors_exceed_fitted_ones(distilled: Fit) -> None:
    """Leaving a size out can only make its error larger on average, and every run is judged."""
    sizes = by_size(distilled)
    assert sum(each.runs for each in sizes) == len(distilled.task.rows)
    held = sum(each.mean * each.runs for each in sizes)
    fitted = np.abs(np.expm1(distilled.residuals)).sum()
    assert held > fitted


def test_held_out_is_a_refit_without_the_group(distilled: Fit) -> None:
    """The batched leave-one-out equals a fit of the remaining runs alone."""
    rows = distilled.task.rows
    labels = (rows.parameters > 5e9).astype(np.int64)
    batched = held_out(distilled, labels)
    alone = fit(replace(distilled.task, rows=rows.take(labels == 0)), "plain")
    from planner.fit.judge import predict

    expected = predict(alone, rows.take(labels == 1)) - np.log(rows.loss[labels == 1])
    np.testing.assert_allclose(batched[labels == 1], expected, atol=2e-5)


def test_extrapolation_predicts_the_low_losses(distilled: Fit) -> None:
    """A fit on high losses predicts the low ones of simulated runs to about the noise."""
    check = extrapolation(distilled)
    assert check is not None
    assert check.fitted.runs + check.predicted.runs == len(distilled.task.rows)
    assert check.predicted.mean < 0.02


def test_coverage_of_simulated_runs() -> None:
    """Held-out runs of a true law lie in their 90% intervals about 90% of the time."""
    found = coverage(fit(Task(FORMS["hoffmann"], supervised(200)), "plain"), resamples=100)
    assert found.runs == 200
    assert 0.82 <= found.run <= 0.96
    assert found.law < found.run


def test_form_with_a_missing_part_is_worse(judged: Analysis) -> None:
    """Held-out errors tell the true law from one without its capacity gap."""
    by_name = {each.name: each for each in judged.forms}
    full, poor = by_name["distillation"], by_name["without capacity gap"]
    assert full.held_out.mean < 0.5 * poor.held_out.mean


@pytest.mark.parametrize("name", FORMATS)
def test_reports(judged: Analysis, name: str) -> None:
    """Every format names every coefficient, and json holds every remark."""
    text = judged.render(name)
    for coefficient in judged.point.task.coefficients:
        assert coefficient in text
    if name == "json":
        found = json.loads(text)
        assert found["kind"] == "fit"
        assert found["remarks"] == list(judged.remarks)


def test_unidentified_coefficients_have_a_dash(judged: Analysis) -> None:
    """A value that the runs do not determine is not shown, and lines fit the screen."""
    open_ones = {each.name for each in judged.unidentified}
    assert open_ones
    lines = {name: (value, between) for name, value, between in judged.sheet().grids[0].rows}
    for name, each in judged.coefficients.items():
        shown = ("–", "not identified") if name in open_ones else (f"{each.value:.6g}",)
        assert lines[name][: len(shown)] == shown
    assert max(map(len, judged.render("table", Screen(width=80)).splitlines())) <= 80


def test_pictures(judged: Analysis, tmp_path: Path) -> None:
    """The figure is drawn for both kinds of law."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'plot')")
    from planner.fit.picture import draw

    draw(judged, tmp_path / "fit.svg")
    point = fit(Task(FORMS["hoffmann"], supervised()), "plain")
    draw(analyse(point, judgement=False), tmp_path / "fit.png")
    assert (tmp_path / "fit.svg").read_text(encoding="utf-8").count("Profile of") >= 1
    assert (tmp_path / "fit.png").stat().st_size > 10_000


def test_isoflop_curves_never_mix_teachers(tmp_path: Path) -> None:
    """Runs of one budget under a strong and a weak teacher are two curves, each with its own."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'plot')")
    from planner.fit.picture import draw

    law, random = published(), np.random.default_rng(0)
    size = np.tile(np.geomspace(1e8, 2e9, 8), 4)
    tokens = np.repeat([1e20, 4e20], 16) / load().flops.training(size, 1.0)
    teacher = np.tile(np.repeat([2.0, 2.5], 8), 2)
    loss = law.loss(size, tokens, teacher) * np.exp(0.002 * random.normal(size=32))
    task = Task(FORMS["distillation"], Rows(size, tokens, loss, teacher), law.supervised,
                fixed={"c1": law.c1, "d1": law.d1})  # fmt: skip
    draw(
        analyse(fit(task, "plain", density=4), judgement=False), tmp_path / "fit.svg", load().flops
    )
    drawn = (tmp_path / "fit.svg").read_text(encoding="utf-8")
    for label in ("1.0e+20", "4.0e+20"):
        for loss_of_teacher in ("2.000", "2.500"):
            assert f"{label} FLOPs, teacher {loss_of_teacher}" in drawn
    assert "teacher 2.250" not in drawn


def test_a_sharp_profile_is_a_curve() -> None:
    """A coefficient known to a percent gets its points where the curve is, both 90% ends too."""
    from planner.fit.picture import _fine_profile

    point = fit(Task(FORMS["hoffmann"], supervised(noise=2e-4)), "plain")
    curve = _fine_profile(point, "alpha")
    assert (curve.rise < 20).sum() >= 9
    assert curve.rise[0] > 2.71
    assert curve.rise[-1] > 2.71


def test_a_law_that_does_not_describe_the_runs_is_said() -> None:
    """Swapped loss columns: a large error, sizes on one side, students far below their teachers."""
    runs = distillations()
    assert runs.teacher_loss is not None
    swapped = replace(runs, loss=runs.teacher_loss, teacher_loss=runs.loss)
    law = load().supervised
    said, sound = (
        " ".join(analyse(fit(task, "plain", density=4), judgement=False).remarks)
        for task in (Task(FORMS["distillation"], rows, law) for rows in (swapped, runs))
    )
    assert "beat their teacher" in said
    assert "on average" in said
    assert "beat their teacher" not in sound
    assert "does not describe" not in sound


def test_few_runs_and_few_groups_are_said() -> None:
    """Intervals from 12 runs for 9 coefficients, or from 6 sizes, are called too narrow."""
    law = load().supervised
    few = fit(Task(FORMS["distillation"], distillations(runs=12), law), "plain", density=3)
    said = " ".join(analyse(few, bootstrap(few, 20), judgement=False).remarks)
    assert "12 runs for 9 coefficients: the intervals are too narrow" in said
    many = fit(Task(FORMS["distillation"], distillations(runs=100), law), "plain", density=3)
    said = " ".join(analyse(many, bootstrap(many, 20, by="size"), judgement=False).remarks)
    assert "only 6 groups of runs (by size): its intervals are too narrow" in said
    said = " ".join(analyse(many, bootstrap(many, 20), judgement=False).remarks)
    assert "too narrow" not in said
