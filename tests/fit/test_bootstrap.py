"""Resampling: determinism, resumption, grouping, and coverage of the intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coefficients import load
from planner.errors import ProblemError
from planner.fit import FORMS, Fit, Task, bootstrap, fit
from planner.fit import bootstrap as bootstrap_function
from planner.fit.bootstrap import group_labels, resample_weights, save_arrays
from planner.fit.estimate import solve
from planner.fit.solver import PROTOCOLS, scaled_objective
from tests.fit.simulated import HOFFMANN, distillations, published, supervised


@pytest.fixture(scope="module")
def point() -> Fit:
    """A Hoffmann fit to simulated runs."""
    return fit(Task(FORMS["hoffmann"], supervised()), "plain")


def test_same_seed_same_draws_whatever_the_threads(point: Fit) -> None:
    """Draws depend on the seed alone, not on the number of threads."""
    one, two = (bootstrap(point, 200, seed=3, threads=n) for n in (1, 2))
    other = bootstrap(point, 200, seed=4)
    for name in one.draws:
        assert np.array_equal(one.draws[name], two.draws[name])
    assert not np.array_equal(one.draws["alpha"], other.draws["alpha"])


def test_interrupted_bootstrap_resumes(
    point: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks finished before an interruption are taken over and the result is the same."""
    module = __import__("sys").modules["planner.fit.bootstrap"]
    partial = tmp_path / "my.partial.npz"
    whole = bootstrap(point, 1200, seed=0)
    solve, calls = module.solve_resamples, [0]

    def stops(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] > 12:
            raise KeyboardInterrupt
        return solve(*args, **kwargs)

    monkeypatch.setattr(module, "solve_resamples", stops)
    with pytest.raises(KeyboardInterrupt):
        bootstrap(point, 1200, seed=0, partial=partial, threads=1)
    assert partial.is_file()
    calls[0] = -(10**6)
    monkeypatch.setattr(
        module, "solve_resamples", lambda *a, **k: (calls.append(1), solve(*a, **k))[1]
    )
    resumed = bootstrap(point, 1200, seed=0, partial=partial)
    assert len(calls) - 1 < 1200 / module.CHUNK
    assert np.array_equal(resumed.theta, whole.theta)
    assert list(tmp_path.iterdir()) == []


def test_foreign_partial_file_is_ignored(point: Fit, tmp_path: Path) -> None:
    """Neither a damaged nor another fit's partial file leaks into the draws."""
    partial = tmp_path / "my.partial.npz"
    expected = bootstrap(point, 64).theta
    for content in (b"", b"not a zip"):
        partial.write_bytes(content)
        assert np.array_equal(bootstrap(point, 64, partial=partial).theta, expected)
    save_arrays(partial, key="other", theta=np.zeros_like(expected), converged=np.ones(64, bool))
    assert np.array_equal(bootstrap(point, 64, partial=partial).theta, expected)


def test_draws_are_converged_refits(point: Fit) -> None:
    """Each draw is the optimum of its resample: a refit from another start finds nothing better."""
    boot = bootstrap(point, 64, seed=1)
    assert boot.converged == 1.0
    low, high = boot.interval("alpha")
    assert low < point.values["alpha"] < high


def test_nearly_absolute_draws_are_optima_of_the_exact_protocol() -> None:
    """The replication's delta is not reached in resamples; their log-likelihoods do not feel it."""
    point = fit(Task(FORMS["hoffmann"], supervised()), "replication")
    boot, weights = (
        bootstrap(point, 48, seed=2),
        resample_weights(point, 48, 2, "run").astype(float),
    )
    exact, _ = solve(
        point.model, point.task.observed, boot.theta, point.protocol, weights, 1e-12, 300, 1e-5
    )
    residuals = point.model.predict(boot.theta) - point.task.observed
    found, _ = scaled_objective(residuals, weights, point.protocol.delta)
    assert (found - exact.objective).max() < 1e-2
    assert np.mean(found - exact.objective) < 2e-3
    wide = replace(PROTOCOLS["replication"], delta=1.5)  # a delta that is felt is reached
    rounded = fit(Task(FORMS["hoffmann"], supervised()), wide)
    again = bootstrap(rounded, 16, seed=2)
    reached, _ = solve(
        rounded.model, rounded.task.observed, again.theta, wide, weights[:16], 1e-12, 300, 1e-2
    )
    assert np.abs(reached.theta - again.theta).max() < 1e-3


def test_groups_move_together() -> None:
    """By group, runs of one group get one multiplicity; group noise widens the intervals."""
    rows = distillations()
    task = Task(FORMS["distillation"], rows, load().supervised)
    weights = resample_weights(fit(task, "plain"), 50, 0, "group")
    labels = group_labels(rows, "group")
    for label in range(int(labels.max()) + 1):
        assert np.ptp(weights[:, labels == label], axis=1).max() == 0
    assert np.ptp(weights) > 0


@pytest.mark.parametrize(
    ("by", "count", "words"),
    [("group", 100, "column named 'group'"), ("moon", 100, "unknown"), ("run", 1, "at least 2")],
)
def test_impossible_bootstraps(point: Fit, by: str, count: int, words: str) -> None:
    """Impossible wishes are refused in one sentence."""
    with pytest.raises(ProblemError, match=words):
        bootstrap_function(point, count, by=by)


def test_intervals_cover_the_truth_as_often_as_stated() -> None:
    """90% intervals of predictions from 40 simulated studies hold the true loss about 90% often."""
    where = np.array([[1e8, 1e9, 5e9, 1e10], [2e9, 2e10, 4e11, 3e10]])
    truth = np.log(HOFFMANN.loss(where[0], where[1]))
    inside = []
    for seed in range(40):
        rows = supervised(60, seed=100 + seed)
        point = fit(Task(FORMS["hoffmann"], rows), "plain", density=3)
        boot = bootstrap(point, 120, seed=seed)
        at = {name: boot.draws[name][:, None] for name in ("E", "A", "B", "alpha", "beta")}
        loss = at["E"] + at["A"] * where[0] ** -at["alpha"] + at["B"] * where[1] ** -at["beta"]
        low, high = np.quantile(np.log(loss), [0.05, 0.95], axis=0)
        inside.append((low <= truth) & (truth <= high))
    share = float(np.mean(inside))
    assert 0.78 <= share <= 0.97


def test_intervals_of_coefficients_hold_the_truth_despite_the_bias() -> None:
    """c0 and f1 of small studies are biased, and resamples repeat it; their intervals allow for it
    where the central draws do not."""
    law = published()
    inside: dict[str, list[bool]] = {"interval": [], "central": []}
    for seed in range(16):
        rows = distillations(0.003, seed=300 + seed, runs=60)
        task = Task(FORMS["distillation"], rows, law.supervised, bounds={"gamma": (0.2, 3.0)})
        boot = bootstrap(fit(task, "plain", density=4), 100, seed=seed)
        for name in ("c0", "f1"):
            for kind, share in inside.items():
                low, high = getattr(boot, kind)(name)
                share.append(low <= getattr(law, name) <= high)
    assert np.mean(inside["interval"]) >= 0.75
    assert np.mean(inside["central"]) < np.mean(inside["interval"])
