"""A law that the fitter has never seen is one class and one line in fitting too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from coefficients import draws, load
from laws import DISTILLATION_LAWS, SUPERVISED_LAWS, SupervisedLaw
from laws._types import Real
from laws.supervised import SpecialCase
from planner.cli.fit import command
from planner.fit import FORMS, Task, fit
from planner.fit.starts import encode
from planner.fit.task import form_of
from tests.fit.simulated import distillations, supervised
from tests.laws.mixed import MixedLaw


@dataclass(frozen=True)
class TiedLaw(SpecialCase):
    """``L = E + A / N^alpha + B / D^alpha``: one exponent for sizes and tokens."""

    E: Real
    A: Real
    B: Real
    alpha: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha")
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"E"})

    def canonical(self) -> SupervisedLaw:
        """Eq. 1 with beta = alpha and gamma = 1."""
        return SupervisedLaw(self.E, self.A, self.B, self.alpha, self.alpha, 1.0)


def save(path: Path, distillation: bool) -> Path:
    """Simulated runs as CSV."""
    rows = distillations(runs=80) if distillation else supervised(80)
    columns = [rows.parameters, rows.tokens, rows.loss]
    names = "parameters,tokens,loss" + (",teacher_loss" if distillation else "")
    columns += [] if rows.teacher_loss is None else [rows.teacher_loss]
    np.savetxt(path, np.stack(columns, axis=1), "%.10g", ",", header=names, comments="")
    return path


def test_supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in the registry: the command fits it, the file and its draws load."""
    monkeypatch.setitem(SUPERVISED_LAWS, "tied", TiedLaw)
    path = tmp_path / "tied.toml"
    words = [save(tmp_path / "runs.csv", False), "--law", "tied", "--protocol", "plain",
             "--bootstrap", 32, "--no-judgement", "--output", path]  # fmt: skip
    done = CliRunner().invoke(command, list(map(str, words)))
    assert done.exit_code == 0, done.output
    found = load(path)
    assert isinstance(found.form, TiedLaw)
    assert found.supervised.alpha == found.supervised.beta == pytest.approx(0.355, abs=0.02)
    assert draws.load(found).supervised.loss(1e9, 2e10).shape == (32,)


def test_it_is_fitted_as_well_as_by_hand() -> None:
    """Through the law itself Hoffmann's form has the optimum of its own coordinates and slopes."""
    rows = supervised(80)
    own = fit(Task(FORMS["hoffmann"], rows), "plain")
    plain = form_of("again", SUPERVISED_LAWS["hoffmann"], "supervised")
    through = fit(Task(plain, rows), "plain")
    assert through.converged
    assert through.objective == pytest.approx(own.objective, rel=1e-9)
    for name in plain.coefficients:
        assert through.values[name] == pytest.approx(own.values[name], rel=1e-3)


def test_distillation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distillation law is fitted under the base's supervised law."""
    monkeypatch.setitem(DISTILLATION_LAWS, "mixed", MixedLaw)
    base = load()
    task = Task(FORMS["mixed"], distillations(runs=80), base.supervised,
                fixed={"c1": 522.6, "d1": 1.315, "f1": 0.09})  # fmt: skip
    point = fit(task, "plain")
    assert isinstance(point.distillation, MixedLaw)
    assert np.abs(point.residuals).mean() < 0.004


def test_differences_are_the_derivative() -> None:
    """The five-point rule against the slopes taken by hand, in the same coefficients."""
    rows = supervised(20)
    by_hand = Task(FORMS["hoffmann"], rows).model(raw=("alpha",))
    plain = Task(form_of("again", SUPERVISED_LAWS["hoffmann"], "supervised"), rows)
    truth = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.365}
    values = {name: np.array([value]) for name, value in truth.items()}
    model = plain.model()
    slopes = model.evaluate(encode(plain, model, values))[1][0]
    task = Task(FORMS["hoffmann"], rows)
    expected = by_hand.evaluate(encode(task, by_hand, values))[1][0]
    for k, name in enumerate(model.names):
        np.testing.assert_allclose(
            slopes[k], expected[by_hand.names.index(name)], rtol=1e-8, atol=1e-11
        )
