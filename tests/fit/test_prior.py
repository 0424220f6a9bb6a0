"""A fit with a prior: the posterior mode, from the same solver."""

from __future__ import annotations

import numpy as np
import pytest

from laws import SupervisedLaw
from planner.errors import PlannerError, ProblemError
from planner.fit import FORMS, Protocol, Rows, Task, fit
from planner.fit.prior import Prior

LAW = SupervisedLaw(1.2, 3355.0, 18186.0, 0.408, 0.431, 0.452)
SIZE, TOKENS = np.geomspace(1e8, 3e9, 12), np.geomspace(1e9, 4e11, 12)[::-1]
QUADRATIC = Protocol("quadratic", 10.0)


def study(count: int = 12) -> Task:
    """Runs of the law with 0.5% of noise."""
    noise = 0.005 * np.random.default_rng(3).normal(size=12)
    rows = Rows(SIZE, TOKENS, LAW.loss(SIZE, TOKENS) * np.exp(noise))
    return Task(FORMS["supervised"], rows.take(np.arange(12) < count))


def prior(task: Task, width: float) -> Prior:
    """About a law that is not quite the runs'."""
    mean = task.model().lower * 0.0
    for place, each in enumerate(task.model().coordinates):
        value = {"E": 1.3, "h": 0.3, "P": 0.2, "Q": 0.15, "s": 0.2, "gamma": 0.5}[each.name]
        mean[place] = float(each.encode(value))
    return Prior(mean, width**2 * np.eye(mean.size), 0.005)


def test_the_mode_balances_runs_and_prior() -> None:
    """At the optimum the runs' pull and the prior's cancel."""
    task = study()
    known = prior(task, 0.1)
    point = fit(task, QUADRATIC, prior=known)
    jacobian = task.model().evaluate(point.theta[None])[1][0]
    pull = jacobian @ point.residuals / known.noise**2
    np.testing.assert_allclose(pull, (known.mean - point.theta) / 0.1**2, rtol=1e-5, atol=1e-6)
    assert point.prior is known


def test_a_narrow_prior_holds_and_a_wide_one_lets_go() -> None:
    """The fit goes from the prior's mean to the fit without a prior."""
    task = study()
    narrow = fit(task, QUADRATIC, prior=prior(task, 1e-6))
    np.testing.assert_allclose(narrow.theta, prior(task, 1.0).mean, atol=1e-5)
    free = fit(task, QUADRATIC)
    wide = fit(task, QUADRATIC, prior=prior(task, 1e3))
    assert np.sum(wide.residuals**2) == pytest.approx(np.sum(free.residuals**2), rel=1e-3)


def test_fewer_runs_than_coefficients() -> None:
    """One run moves the law along what it shows; without a prior it is refused."""
    task = study(1)
    point = fit(task, QUADRATIC, prior=prior(task, 0.3))
    assert abs(point.residuals[0]) < 0.002
    with pytest.raises(PlannerError):
        fit(task, QUADRATIC)


def test_a_fitted_scale_and_a_prior_exclude_each_other() -> None:
    """The prior is weighed against the scatter that it states."""
    task = study()
    with pytest.raises(ProblemError, match="unscaled"):
        fit(task, "replication", prior=prior(task, 0.3))
