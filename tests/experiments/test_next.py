"""Choosing runs: the algebra, the budget, and that chosen runs beat random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from coefficients import load
from planner.cli.experiments import command
from planner.errors import PlannerError, ProblemError
from planner.experiments import Discrepancy, next_runs, plan_target, region
from planner.experiments.choose import choose
from planner.experiments.information import covariance, natural_slopes, shares
from planner.experiments.pool import read_pool
from planner.fit import FORMS, Fit, Rows, Task, fit
from planner.fit.estimate import coefficients
from planner.problem import Problem
from tests.fit.simulated import distillations

RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def point() -> Fit:
    """A distillation fit to simulated runs."""
    return fit(Task(FORMS["distillation"], distillations(runs=60), load().supervised), "plain")


def test_gain_is_the_exact_fall_of_the_variance() -> None:
    """The rank-one gain of each pick equals a recomputed covariance's."""
    candidates, targets = RANDOM.normal(size=(30, 4)), RANDOM.normal(size=(6, 4))
    cov = covariance(RANDOM.normal(size=(8, 4)), 0.5, np.eye(4))
    picks = choose(candidates, np.ones(30), cov, targets, 0.5, budget=5.0)
    assert len(picks) == 5
    chosen = candidates[[pick.index for pick in picks]]
    after = np.linalg.inv(np.linalg.inv(cov) + chosen.T @ chosen / 0.25)
    expected = np.einsum("tp,pq,tq->", targets, after, targets) / 6
    assert picks[-1].variance == pytest.approx(expected, rel=1e-10)
    gains = [
        np.einsum("tp,pq,tq->", targets, covariance_after(cov, row), targets) / 6
        for row in candidates
    ]
    assert picks[0].index == int(np.argmin(gains))


def covariance_after(cov: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The covariance after one more run."""
    return np.linalg.inv(np.linalg.inv(cov) + np.outer(row, row) / 0.25)


def test_shares_sum_to_one() -> None:
    """What runs and prior tell of a coordinate adds up to all that is known of it."""
    rows = RANDOM.normal(size=(20, 3))
    cov = covariance(rows, 0.1, np.zeros((3, 3)))
    np.testing.assert_allclose(shares(rows, 0.1, cov).sum(axis=0), 1.0, rtol=1e-9)


def test_budget_is_kept(point: Fit) -> None:
    """The picks cost no more than the budget, and more budget never leaves more variance."""
    pool = distillations(seed=9, runs=80)
    costs = load().flops.training(pool.parameters, pool.tokens)
    goal = region((1e9, 3e9), (2e10, 1e11), (2.0, 2.3))
    small, large = (
        next_runs(point, pool, costs, goal, budget, per_flop=True)
        for budget in (costs.sum() / 50, costs.sum() / 5)
    )
    assert small.cost <= costs.sum() / 50
    assert large.after <= small.after <= small.before
    assert large.everything <= large.after
    assert len({pick.index for pick in large.picks}) == len(large.picks)


def test_far_runs_count_less(point: Fit) -> None:
    """A tiny model's run is not trusted to tell of a large one just because it is cheap."""
    pool = distillations(seed=9, runs=80)
    tiny = pool.take(np.zeros(80, dtype=np.int64))
    near = region((1e9, 1e9), (2e10, 2e10), (2.2, 2.2), 1)
    tiny = type(tiny)(tiny.parameters / 1e3, tiny.tokens / 1e3, tiny.loss, pool.teacher_loss)
    costs = np.ones(80)
    trusted, blind = (
        next_runs(point, tiny, costs, near, 80.0, discrepancy=Discrepancy(spread))
        for spread in (0.003, 0.0)
    )
    gained = [1 - choice.after / choice.before for choice in (trusted, blind)]
    assert gained[0] < 0.5 * gained[1]


def test_chosen_runs_beat_random_ones() -> None:
    """With a tenth of the pool's compute, chosen runs predict better than random ones."""
    base, pool = load(), distillations(noise=0.002, seed=21, runs=240)
    costs = base.flops.training(pool.parameters, pool.tokens)
    goal = region((5e8, 3e9), (1e10, 1e11), (2.1, 2.5))
    truth = base.distillation
    assert truth is not None
    assert goal.teacher_loss is not None
    exact = np.log(truth.loss(goal.parameters, goal.tokens, goal.teacher_loss))
    budget = 0.1 * costs.sum()

    def error(indices: list[int]) -> float:
        rows = pool.take(np.array(indices))
        found = fit(Task(FORMS["distillation"], rows, base.supervised), "plain", density=2)
        from planner.fit.judge import predict

        return float(np.abs(predict(found, goal) - exact).mean())

    chosen, drawn = [], []
    for seed in range(4):
        random = np.random.default_rng(seed)
        have = [int(k) for k in random.choice(np.argsort(costs)[:120], 14, replace=False)]
        first = fit(
            Task(FORMS["distillation"], pool.take(np.array(have)), base.supervised), "plain"
        )
        rest = np.setdiff1d(np.arange(240), have)
        picks = next_runs(first, pool.take(rest), costs[rest], goal, budget, most=20).picks
        chosen.append(error(have + [int(rest[pick.index]) for pick in picks]))
        drawn.append(error(have + affordable(random.permutation(rest), costs, budget, 20)))
    assert np.mean(chosen) < np.mean(drawn)


def affordable(order: np.ndarray, costs: np.ndarray, budget: float, most: int) -> list[int]:
    """Runs in this order that still fit into the budget."""
    found: list[int] = []
    for k in order:
        if costs[k] <= budget and len(found) < most:
            found.append(int(k))
            budget -= float(costs[k])
    return found


def test_plan_target_predicts_how_the_plan_moves(point: Fit) -> None:
    """The first-order shift of the best teacher agrees with planning again after a move of c0."""
    base = load()
    problem = Problem.from_mapping(
        {"budget": 3e20, "student": 5e8, "scenario": "teacher-inference"}
    )
    law = point.distillation
    assert law is not None
    target = plan_target(point.task, point.theta, law, base, problem)
    moved = point.theta.copy()
    index = point.model.names.index("c0")
    moved[index] += 0.02
    from dataclasses import replace

    again = replace(point, theta=moved, values=coefficients(point.task, point.model, moved))
    assert again.distillation is not None
    assert target.at.teacher_loss is not None
    other = plan_target(point.task, moved, again.distillation, base, problem)
    assert other.at.teacher_loss is not None
    shift = float(np.log(other.at.teacher_loss[0] / target.at.teacher_loss[0]))
    assert shift == pytest.approx(0.02 * target.shift[index], rel=0.3, abs=2e-3)
    assert np.isfinite(target.jacobian).all()


def test_impossible_choices(point: Fit) -> None:
    """Plans without a student, empty pools, bad costs and criteria are refused in one sentence."""
    base = load()
    pool = distillations(runs=10)
    law = point.distillation
    assert law is not None
    with pytest.raises(ProblemError, match="needs --student"):
        plan_target(point.task, point.theta, law, base, Problem.from_mapping({"budget": 1e21}))
    with pytest.raises(ProblemError, match="no candidate"):
        next_runs(point, pool.take(np.zeros(10, dtype=bool)), np.ones(0), pool, 1.0)
    with pytest.raises(ProblemError, match="positive cost"):
        next_runs(point, pool, np.zeros(10), pool, 1.0)
    with pytest.raises(ProblemError, match="unknown criterion"):
        next_runs(point, pool, np.ones(10), pool, 1.0, criterion="moon")


def run(*words: object) -> Result:
    """The command, as typed."""
    return CliRunner().invoke(command, [str(word) for word in words])


def files(tmp_path: Path) -> tuple[Path, Path]:
    """Finished runs and a pool."""
    rows, paths = distillations(runs=60), (tmp_path / "runs.csv", tmp_path / "pool.csv")
    assert rows.teacher_loss is not None
    table = np.stack([rows.parameters, rows.tokens, rows.teacher_loss, rows.loss], axis=1)
    np.savetxt(paths[0], table, "%.10g", ",", header="N,D,L_T,loss", comments="")
    done = run("design", "--budget", "1e21", "--protocol", "fixed-m", "--format", "csv")
    assert done.exit_code == 0, done.output
    paths[1].write_text(done.stdout, encoding="utf-8")
    return paths


REGION = ("--target-sizes", "1B:3B", "--target-tokens", "20B:90B", "--target-teachers", "2:2.4")


def test_commands(tmp_path: Path) -> None:
    """A designed pool is read back, and both kinds of target give runs within the budget."""
    runs, pool = files(tmp_path)
    for target in (REGION, ("--plan-budget", "3e20", "--student", "500M",
                            "--scenario", "teacher-inference")):  # fmt: skip
        done = run("next", runs, "--pool", pool, "--budget", "1e20", "--most", 3, *target)
        assert done.exit_code == 0, done.output
        assert "bring" in done.stdout
    every = run("design", "--budget", "1e21")
    assert every.stdout.count("Protocol ") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "1e3", *REGION], "the cheapest costs"),
        (["--budget", "1e20"], "--target-sizes is missing"),
        (["--budget", "1e20", "--most", "0", *REGION], "--most is 0"),
        (["--budget", "1e20", *REGION[:2], *REGION[2:4], "--target-teachers", "3:2"], "low end"),
        (["--budget", "1e20", "--law", "moon", *REGION], "--law 'moon'"),
        (["--budget", "1e20", "--plan-budget", "1e21", "--student", "1B", *REGION], "two targets"),
        (["--budget", "1e20", "--student", "1B", *REGION], "--student belongs to the plan"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], message: str) -> None:
    """A mistake is one sentence."""
    runs, pool = files(tmp_path)
    done = run("next", runs, "--pool", pool, *words)
    assert isinstance(done.exception, PlannerError)
    assert message in str(done.exception)


def test_picks_speak_of_the_laws_coefficients(point: Fit) -> None:
    """What a pick sharpens is named as the law's coefficients, not as the fitter's coordinates."""
    pool = distillations(seed=9, runs=80)
    found = next_runs(point, pool, np.ones(80), region((1e9, 3e9), (2e10, 1e11), (2.0, 2.3)), 9.0)
    names = {name for told in found.sharpens for name in told}
    assert names
    assert names <= set(point.task.free)


def test_natural_slopes_are_those_of_refits(point: Fit) -> None:
    """A small step of a coordinate moves the coefficients as the slopes say."""
    names, slopes = natural_slopes(point.task, point.theta)
    k, step = point.model.names.index("P"), 1e-3
    moved = point.theta.copy()
    moved[k] += step
    after = coefficients(point.task, point.model, moved)
    for name, slope in zip(names, slopes[:, k], strict=True):
        expected = after[name] - point.values[name]
        expected = expected if name == "c0" else np.log(after[name] / point.values[name])
        assert slope * step == pytest.approx(expected, rel=1e-2, abs=1e-9)


def test_csv_of_picks_reads_back_as_a_pool(tmp_path: Path) -> None:
    """The picks are candidates with every digit, one cell per column."""
    runs, pool = files(tmp_path)
    done = run("next", runs, "--pool", pool, "--budget", "1e20", *REGION, "--format", "csv")
    assert done.exit_code == 0, done.output
    picked = tmp_path / "picked.csv"
    picked.write_text(done.stdout, encoding="utf-8")
    flops = load().flops
    chosen, costs = read_pool(picked, True, flops)
    whole, whole_costs = read_pool(pool, True, flops)
    every = {tuple(row) for row in np.stack([*_columns(whole.rows), whole_costs], axis=1)}
    assert {tuple(row) for row in np.stack([*_columns(chosen.rows), costs], axis=1)} <= every


def _columns(rows: Rows) -> tuple[np.ndarray, ...]:
    assert rows.teacher_loss is not None
    return rows.parameters, rows.tokens, rows.teacher_loss
