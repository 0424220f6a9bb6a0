"""Coordinates and derivatives behind every fit."""

from __future__ import annotations

import numpy as np
import pytest

from coefficients import load
from planner.fit import FORMS, Task
from planner.fit.estimate import coefficients
from planner.fit.model import internal, natural
from planner.fit.starts import encode
from tests.fit.simulated import distillations, published, supervised

LAW = published()
VALUES = {name: float(getattr(LAW, name)) for name in LAW.COEFFICIENTS}
SUPERVISED = {
    name: float(np.asarray(getattr(LAW.supervised, name))) for name in LAW.supervised.COEFFICIENTS
}


def tasks() -> dict[str, Task]:
    """One task for every kind of coordinates."""
    rows, base = distillations(runs=40), load().supervised
    form = FORMS["distillation"]
    return {
        "local": Task(form, rows, base),
        "raw power": Task(form, rows, base, fixed={"alpha": 0.321}),
        "raw gap": Task(form, rows, base, bounds={"c1": (1.0, 1e4)}),
        "joint": Task(form, rows, supervised_rows=supervised(30)),
        "supervised": Task(FORMS["supervised"], supervised(30)),
        "kaplan": Task(FORMS["kaplan"], supervised(30)),
    }


def values_of(task: Task) -> dict[str, np.ndarray]:
    """Sensible coefficients of a task."""
    given = dict(SUPERVISED) if task.form.kind == "supervised" else dict(VALUES)
    given |= {f"supervised.{name}": value for name, value in SUPERVISED.items()}
    return {name: np.array([given[name]]) for name in task.free}


@pytest.mark.parametrize("name", tasks())
def test_jacobian_is_the_derivative(name: str) -> None:
    """Hand-written derivatives agree with central differences in every coordinate."""
    task = tasks()[name]
    model = task.model()
    theta = encode(task, model, values_of(task))
    _, jacobian = model.evaluate(theta)
    for index in range(theta.shape[1]):
        up, down = theta.copy(), theta.copy()
        up[0, index] += 1e-6
        down[0, index] -= 1e-6
        slope = (model.predict(up) - model.predict(down)) / 2e-6
        np.testing.assert_allclose(jacobian[:, index], slope, rtol=2e-5, atol=2e-8)


@pytest.mark.parametrize("name", tasks())
def test_coordinates_lead_back(name: str) -> None:
    """Coefficients survive the way into coordinates and back."""
    task = tasks()[name]
    model = task.model()
    given = values_of(task)
    found = coefficients(task, model, encode(task, model, given)[0])
    for key, value in given.items():
        assert found[key] == pytest.approx(value[0], rel=1e-9)


def test_prediction_is_the_law() -> None:
    """The fitter predicts exactly what the law says."""
    task = tasks()["local"]
    model, rows = task.model(), task.rows
    predicted = model.predict(encode(task, model, values_of(task)))[0]
    assert rows.teacher_loss is not None
    expected = LAW.loss(rows.parameters, rows.tokens, rows.teacher_loss)
    np.testing.assert_allclose(np.exp(predicted), expected, rtol=1e-12)


def test_internal_is_the_inverse_of_natural() -> None:
    """(A, ..., c1, d1) and (h, P, Q, s, K, eps) say the same."""
    names = ("h", "P", "Q", "s", "gamma", "c0", "K", "eps", "f1")
    origin = (20.0, 24.0)
    back = natural(internal(VALUES, names, origin), origin)
    for name, value in VALUES.items():
        assert back[name] == pytest.approx(value, rel=1e-10)
