"""Point fits: exact optima, far starts, protocols, fixed and bounded coefficients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coefficients import load
from planner.errors import PlannerError, ProblemError
from planner.fit import FORMS, PROTOCOLS, Fit, Rows, Task, fit
from planner.fit.determine import UndeterminedError
from planner.fit.solver import huber, scaled_objective
from tests.fit.simulated import (
    HOFFMANN,
    distillations,
    published,
    real_chinchilla,
    real_distillations,
    supervised,
)

FAR = (
    {"E": 1e-3, "A": 1e-3, "B": 1e15, "alpha": 5.0, "beta": 0.01},
    {"E": 40.0, "A": 1e20, "B": 1e-4, "alpha": 0.002, "beta": 8.0},
    {"E": 0.5, "A": 1.0, "B": 1.0, "alpha": 0.01, "beta": 0.01},
)


def check_stationary(point: Fit) -> None:
    """The fit converged and no free coordinate has a slope worth the name."""
    assert point.converged
    assert point.gradient_norm < 1e-6 * len(point.task.observed) * point.protocol.delta


@pytest.mark.parametrize("density", [1, 2, 3, 4])
def test_chinchilla_optimum_from_every_density(density: int) -> None:
    """240 runs, plain Huber 1e-3: the published exact objective, whatever the start grid."""
    point = fit(Task(FORMS["hoffmann"], real_chinchilla()), "plain", density=density)
    assert point.objective == pytest.approx(0.001018274, abs=1e-9)
    check_stationary(point)
    expected = {"A": 477.83, "B": 2143.4, "E": 1.81722, "alpha": 0.34731, "beta": 0.36717}
    for name, value in expected.items():
        assert point.values[name] == pytest.approx(value, rel=3e-5)


@pytest.mark.parametrize("start", FAR)
def test_chinchilla_optimum_from_far_away(start: dict[str, float]) -> None:
    """A start far from any law does not become the answer."""
    point = fit(Task(FORMS["hoffmann"], real_chinchilla()), "plain", start=start)
    assert point.objective == pytest.approx(0.001018274, abs=1e-9)


def test_replication_protocol() -> None:
    """The scaled density reproduces the replication's coefficients."""
    point = fit(Task(FORMS["hoffmann"], real_chinchilla()), "replication")
    for name, value in {"A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}.items():
        assert point.values[name] == pytest.approx(value, rel=3e-4)
    assert point.scale is not None


def test_distillation_law_on_the_measured_runs() -> None:
    """328 runs, supervised part held: errors within the target, c1 and d1 at their bound."""
    point = fit(Task(FORMS["distillation"], real_distillations(), load().supervised), "paper")
    relative = np.abs(np.expm1(point.residuals))
    assert relative.mean() <= 0.0024
    assert relative.max() <= 0.010
    assert set(point.at_bounds) == {"c1", "d1"}
    check_stationary(point)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("start", [None, *FAR])
def test_simulated_optimum_from_everywhere(protocol: str, start: dict[str, float] | None) -> None:
    """On simulated runs every protocol finds one optimum from the grid and from far starts."""
    task = Task(FORMS["hoffmann"], supervised())
    reference = fit(task, protocol, density=3)
    point = fit(task, protocol, start=start)
    assert point.objective == pytest.approx(reference.objective, rel=1e-7)
    assert point.values["alpha"] == pytest.approx(HOFFMANN.alpha, abs=0.05)


def test_exact_runs_give_the_law_back() -> None:
    """Without noise the distillation law's own coefficients are recovered."""
    law = published()
    point = fit(Task(FORMS["distillation"], distillations(noise=0.0), law.supervised), "plain")
    for name in ("alpha", "beta", "gamma", "c0", "f1"):
        assert point.values[name] == pytest.approx(float(getattr(law, name)), rel=1e-3)
    assert np.abs(point.residuals).max() < 1e-6


def test_joint_fit_recovers_both_laws() -> None:
    """Supervised runs beside distillations determine both laws at once."""
    law = published()
    rows = supervised(150, noise=0.0)
    beside = replace(rows, loss=law.supervised.loss(rows.parameters, rows.tokens))
    task = Task(FORMS["distillation"], distillations(noise=0.0), supervised_rows=beside)
    point = fit(task, "plain")
    assert np.abs(point.residuals).max() < 1e-5
    assert point.values["supervised.E"] == pytest.approx(1.22, rel=1e-3)
    assert point.distillation is not None
    assert point.distillation.supervised.alpha == pytest.approx(0.408, rel=1e-3)


def test_fixed_and_bounded() -> None:
    """Held coefficients stay, bounded ones stay inside, and a binding bound is reported."""
    rows = supervised()
    point = fit(Task(FORMS["hoffmann"], rows, bounds={"alpha": (0.4, 0.6)}), "plain")
    assert point.values["alpha"] == pytest.approx(0.4)
    assert point.at_bounds == ("alpha",)
    task = Task(FORMS["distillation"], distillations(), load().supervised, fixed={"c0": 2.5})
    assert fit(task, "plain").values["c0"] == 2.5


def test_fewer_constraints_never_fit_worse() -> None:
    """The law with gamma fits at least as well as the one without."""
    rows = supervised()
    with_gamma, without = (fit(Task(FORMS[n], rows), "plain") for n in ("supervised", "hoffmann"))
    assert with_gamma.objective <= without.objective * (1 + 1e-9)


@pytest.mark.parametrize(
    ("fixed", "bounds", "words"),
    [
        ({"zeta": 1.0}, {}, "zeta: unknown"),
        ({"alpha": -1.0}, {}, "positive"),
        ({"alpha": float("nan")}, {}, "positive"),
        ({}, {"alpha": (0.5, 0.2)}, "low < high"),
        ({}, {"alpha": (0.0, 0.2)}, "must be positive"),
        ({"alpha": 0.3}, {"alpha": (0.2, 0.5)}, "both fixed and bounded"),
    ],
)
def test_contradictory_wishes(
    fixed: dict[str, float], bounds: dict[str, tuple[float, float]], words: str
) -> None:
    """A wish that makes no sense is refused in one sentence."""
    with pytest.raises(ProblemError, match=words):
        Task(FORMS["hoffmann"], supervised(), fixed=fixed, bounds=bounds)


def test_too_few_runs() -> None:
    """Runs that cannot determine the coefficients are refused, with how many would do."""
    with pytest.raises(PlannerError, match="5 runs cannot determine 5 coefficients"):
        fit(Task(FORMS["hoffmann"], supervised(5)), "plain")


def test_huber_is_continuous_and_scaled_objective_is_minimal() -> None:
    """Huber's function meets its line; the scale found is the best one."""
    assert huber(np.array([0.1]), 0.1) == pytest.approx(0.005)
    random = np.random.default_rng(0)
    residual, weights = random.normal(size=(1, 50)), np.ones((1, 50))
    for delta in (1e-3, 1.5):
        value, scale = scaled_objective(residual, weights, delta)
        for factor in (0.9, 1.1):
            s = scale * factor
            other = huber(residual / s, delta).sum() + 50 * np.log(s)
            here = huber(residual / scale, delta).sum() + 50 * np.log(scale)
            assert other > here
        assert np.isfinite(value)


def test_coefficients_that_a_form_holds_cannot_be_wished_for() -> None:
    """A Hoffmann law has gamma = 1; another value would be lost in the file."""
    with pytest.raises(ProblemError, match="holds gamma at 1"):
        Task(FORMS["hoffmann"], supervised(), fixed={"gamma": 2.0})
    with pytest.raises(ProblemError, match="holds E at 0"):
        Task(FORMS["kaplan"], supervised(), bounds={"E": (1.0, 2.0)})


@pytest.mark.parametrize(("name", "column"), [("alpha", "parameters"), ("beta", "tokens")])
def test_runs_of_one_size_or_length_are_refused(name: str, column: str) -> None:
    """They say nothing of an exponent, unless it is held."""
    rows = replace(supervised(), **{column: np.full(120, 1e9)})
    rows = replace(rows, loss=HOFFMANN.loss(rows.parameters, rows.tokens) * _noise())
    with pytest.raises(PlannerError, match=f"nothing tells {name} and E; .* --fix {name}=VALUE"):
        fit(Task(FORMS["hoffmann"], rows))
    with pytest.raises(UndeterminedError, match="nothing of E: "):  # one number with the constant
        fit(Task(FORMS["hoffmann"], rows, fixed={name: 0.3}))
    held = {name: 0.3, "E": 1.8}
    assert fit(Task(FORMS["hoffmann"], rows, fixed=held)).values[name] == 0.3


def _noise() -> np.ndarray:
    return np.exp(0.003 * np.random.default_rng(3).normal(size=120))


def _alike(teacher: str) -> Rows:
    """Runs that hold fixed what tells how the teacher enters."""
    law, random = published(), np.random.default_rng(3)
    size = random.choice([1.4e8, 2.7e8, 5.5e8, 1.1e9, 2.7e9], 120)
    tokens = size * random.choice([20.0, 40.0, 80.0, 160.0], 120)
    alone = law.supervised.loss(size, tokens)
    loss = {"one": np.full(120, 2.1), "one ratio": 0.9 * alone}[teacher]
    return Rows(size, tokens, law.loss(size, tokens, loss) * _noise(), loss)


@pytest.mark.parametrize(("teacher", "held"), [("one", ["c0"]), ("one ratio", ["c1", "d1", "f1"])])
def test_runs_that_say_nothing_of_a_direction_are_refused(teacher: str, held: list[str]) -> None:
    """A direction that moves no prediction would stay at its start under a confident interval; with
    the coefficients held that the message names, the fit goes through."""
    law = published()
    task = Task(FORMS["distillation"], _alike(teacher), law.supervised)
    with pytest.raises(UndeterminedError) as caught:
        fit(task, "plain")
    said = str(caught.value)
    assert [name for name in ("c0", "c1", "d1", "f1") if f"--fix {name}=" in said] == held
    assert "change together" in said
    point = fit(replace(task, fixed={name: float(getattr(law, name)) for name in held}), "plain")
    assert np.abs(point.residuals).mean() < 0.004
