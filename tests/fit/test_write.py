"""Coefficient files: they load, they are whole, and they say what the runs do not determine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coefficients import CoefficientError, draws, load
from planner.errors import PlannerError
from planner.fit import (
    FORMS,
    Provenance,
    Rows,
    Task,
    Unidentified,
    bootstrap,
    fit,
    unidentified,
    write,
)
from planner.fit.identify import Determined
from planner.fit.judge import coverage
from planner.fit.write import domain
from planner.verdict import fit_warnings
from tests.fit.simulated import distillations, published, real_distillations, supervised


def written(tmp_path: Path, name: str, form: str = "hoffmann", resamples: int = 100) -> Path:
    """A file written from a small fit."""
    point = fit(Task(FORMS[form], supervised()), "plain")
    boot = bootstrap(point, resamples)
    path = tmp_path / f"{name}.toml"
    write(path, point, boot, unidentified(point, boot), Provenance())
    return path


@pytest.mark.parametrize("form", ["hoffmann", "supervised", "kaplan"])
def test_supervised_files_load(tmp_path: Path, form: str) -> None:
    """A fitted set loads as the law that was fitted, draws and all."""
    found = load(written(tmp_path, "mine", form))
    assert found.name == "mine"
    assert found.source.kind == "fit"
    batch = draws.load(found)
    loss = batch.supervised.loss(1e9, 2e10)
    assert loss.shape == (100,)
    assert np.quantile(loss, 0.05) <= found.supervised.loss(1e9, 2e10) <= np.quantile(loss, 0.95)


def test_same_input_same_bytes(tmp_path: Path) -> None:
    """Two runs of the same fit write identical files."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (written(tmp_path / folder, "mine") for folder in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".npz").read_bytes() == two.with_suffix(".npz").read_bytes()


def test_distillation_file(tmp_path: Path) -> None:
    """Values, domain and convention round-trip; the supervised law is carried along."""
    base = load()
    point = fit(Task(FORMS["distillation"], distillations(), base.supervised), "plain")
    boot = bootstrap(point, 60)
    path = tmp_path / "mine.toml"
    write(path, point, boot, unidentified(point, boot), Provenance(base=base))
    found = load(path)
    assert found.distillation == point.distillation
    assert found.flops == base.flops
    assert found.domain == domain(point, base)
    assert found.domain.teacher_cross_entropy is not None
    batch = draws.load(found, limit=20, trailing=1)
    assert batch.distillation is not None
    assert batch.distillation.loss(np.array([1e9, 2e9]), 2e10, 2.2).shape == (20, 2)
    assert not list(tmp_path.glob("*.writing"))


def test_joint_file(tmp_path: Path) -> None:
    """A joint fit stores paired draws of both laws."""
    task = Task(FORMS["distillation"], distillations(), supervised_rows=supervised())
    point = fit(task, "plain")
    boot = bootstrap(point, 20)
    path = tmp_path / "joint.toml"
    write(path, point, boot, (), Provenance())
    stored = draws.arrays(load(path))
    assert {"supervised.E", "distillation.A"} <= set(stored)
    assert np.array_equal(stored["supervised.E"], boot.draws["supervised.E"])


def test_intervals_for_a_new_run_hold_new_runs(tmp_path: Path) -> None:
    """A written set's band for one run holds 90% of runs nobody fitted; the law's own does not."""
    base = load()
    point = fit(Task(FORMS["distillation"], distillations(0.004), base.supervised), "plain")
    boot = bootstrap(point, 200)
    path = tmp_path / "mine.toml"
    checked = coverage(point, resamples=40)
    write(path, point, boot, (), Provenance(base=base, coverage=checked))

    found = load(path)
    assert found.scatter is not None
    assert found.scatter.coverage == pytest.approx(checked.run, abs=1e-4)
    assert found.scatter.coverage_law == pytest.approx(checked.law, abs=1e-4)
    law, fresh = draws.load(found, trailing=1).distillation, distillations(0.004, seed=77, runs=600)
    assert law is not None
    values = law.loss(fresh.parameters, fresh.tokens, fresh.teacher_loss)
    inside = [
        (low <= fresh.loss) & (fresh.loss <= high)
        for low, high in (
            np.quantile(many, [0.05, 0.95], axis=0)
            for many in (values, found.scatter.spread(values))
        )
    ]
    assert inside[0].mean() < 0.5
    assert 0.86 <= inside[1].mean() <= 0.97


def test_runaway_coefficients_are_not_written(tmp_path: Path) -> None:
    """A coefficient without a finite value stops the writing, and nothing is left behind."""
    point = fit(Task(FORMS["hoffmann"], supervised()), "plain")
    broken = type(point)(**{**vars(point), "values": {**point.values, "A": float("inf")}})
    with pytest.raises(PlannerError, match="A is inf"):
        write(tmp_path / "mine.toml", broken, None, (), Provenance())
    assert list(tmp_path.iterdir()) == []


def test_draws_are_judged(tmp_path: Path) -> None:
    """A set without draws, and damaged draws, are answered in words."""
    with pytest.raises(CoefficientError, match="has no draws"):
        draws.load(load("busbridge2025"))
    path = written(tmp_path, "mine")
    path.with_suffix(".npz").write_bytes(b"x")
    with pytest.raises(CoefficientError, match="cannot be read"):
        draws.load(load(path))
    path.write_text("\n".join(x for x in path.read_text().splitlines() if "sha256" not in x))
    np.savez(path.with_suffix(".npz"), **{"supervised.E": np.ones(3), "moon": np.ones(2)})
    with pytest.raises(CoefficientError, match="no such coefficient") as caught:
        draws.load(load(path))
    assert len(caught.value.problems) == 2


def test_the_valley_of_c1_and_d1_is_named() -> None:
    """On the measured runs c1 and d1 are reported as not identified, with what to measure."""
    point = fit(Task(FORMS["distillation"], real_distillations(), load().supervised), "plain")
    found = {each.name: str(each) for each in unidentified(point)}
    assert {"c1", "d1"} <= set(found)
    assert "c0" not in found
    assert "weaker than" in found["c1"]


def test_identified_coefficients_are_not_accused() -> None:
    """Runs that spread widely with little noise determine the published law's exponents."""
    law = published()
    point = fit(Task(FORMS["distillation"], distillations(5e-5), law.supervised), "plain")
    names = {each.name for each in unidentified(point)}
    assert not names & {"alpha", "beta", "gamma", "c0", "f1"}


def test_only_what_the_draws_show_is_called_determined() -> None:
    """Where every run has D = 20 N the products of exponents are not determined, and not claimed;
    every range that is claimed holds the truth."""
    law, random = published(), np.random.default_rng(3)
    size = random.choice([1.4e8, 2.7e8, 5.5e8, 1.1e9, 2.7e9], 120)
    teacher = random.uniform(0.7, 1.2, 120) * law.supervised.loss(size, 20 * size)
    loss = law.loss(size, 20 * size, teacher) * np.exp(0.003 * random.normal(size=120))
    task = Task(FORMS["distillation"], Rows(size, 20 * size, loss, teacher), law.supervised)
    alike = fit(task, "plain", density=4)
    found = {each.name: each for each in unidentified(alike, bootstrap(alike, 100))}
    assert {"A", "B", "alpha", "beta", "gamma"} <= set(found)
    assert found["alpha"].instead is not None
    known = {each.name for each in found["alpha"].instead.combinations}
    assert not known & {"alpha gamma", "beta gamma"}

    wide = fit(Task(FORMS["distillation"], distillations(runs=160), law.supervised), "plain")
    told = {each.instead for each in unidentified(wide, bootstrap(wide, 100)) if each.instead}
    truth = {
        "alpha gamma": law.alpha * law.gamma,
        "beta gamma": law.beta * law.gamma,
        "c1 f1 d1^(-1/f1) (the penalty of a teacher as weak as the student)": law.c1
        * law.f1
        * law.d1 ** (-1 / law.f1),
        "f1": law.f1,
    }
    claimed = [each for every in told for each in every.combinations if each.name in truth]
    assert claimed
    for each in claimed:
        assert 0.97 * each.low <= truth[each.name] <= 1.03 * each.high


def test_a_set_whose_runs_determine_nothing_warns_in_every_plan(tmp_path: Path) -> None:
    """Few groups, a misfit and unidentified families are in the file, and every plan warns."""
    base = load()
    rows = distillations(runs=60)
    point = fit(Task(FORMS["distillation"], rows, base.supervised), "plain")
    boot = bootstrap(point, 60, by="size")
    assert boot.groups == 6
    open_ones = (Unidentified("A", "flat", "more", Determined(("A", "B"))),)
    path = tmp_path / "mine.toml"
    write(path, point, boot, open_ones, Provenance(base=base))
    text = path.read_text().replace(
        "mean_absolute_relative_error = 0.0", "mean_absolute_relative_error = 0.7"
    )
    path.write_text(text)
    codes = [each.code for each in fit_warnings(load(path))]
    assert codes == ["fit-misfit", "fit-undetermined", "fit-few-groups"]
    path.write_text(text.replace("runs = 60", "runs = 12"))
    assert "fit-few-runs" in [each.code for each in fit_warnings(load(path))]
    assert fit_warnings(base) == ()


def test_draws_of_another_fit_are_refused(tmp_path: Path) -> None:
    """A set beside another's draws is noticed before anything is planned with it."""
    path = written(tmp_path, "mine")
    other = written(tmp_path, "other", resamples=120)
    assert draws.count(load(path)) == 100
    path.with_suffix(".npz").write_bytes(other.with_suffix(".npz").read_bytes())
    with pytest.raises(CoefficientError, match="not the one that the set 'mine' was written with"):
        draws.load(load(path))


def test_refit_ships_with_its_draws() -> None:
    """busbridge2025-refit holds 4,096 draws whose spread holds its point prediction."""
    found = load("busbridge2025-refit")
    assert draws.count(found) == 4096
    batch = draws.load(found, limit=500).distillation
    assert batch is not None
    assert found.distillation is not None
    low, high = np.quantile(batch.loss(1e9, 2e10, 2.2), [0.05, 0.95])
    assert low < found.distillation.loss(1e9, 2e10, 2.2) < high
    assert high - low < 0.01
