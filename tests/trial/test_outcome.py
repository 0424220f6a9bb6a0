"""From finished runs to the report, on runs made up from a law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="a trial's models need the extra `trainer`")

from coefficients import load
from planner.problem import Problem
from planner.trial.arms import plan_tests
from planner.trial.design import EQUAL_FLOPS, EQUAL_TOKENS, SCALES, TIERS, Design, Run
from planner.trial.ladder import Question, make_design
from planner.trial.law import calibrate
from planner.trial.outcome import outcome
from planner.trial.picture import headline
from planner.trial.report import full_size, sheet
from planner.trial.study import Trial, rows
from planner.trial.tuning import tune
from planner.trial.verdict import power

WORDS = {"budget": "1e21", "student": "1B"}
BASE = load()


def record(design: Design, run: Run, loss: float) -> Any:
    flops = design.cost(run)
    bill = SimpleNamespace(law=flops, exact=1.1 * flops, teacher_law=0.0, teacher_exact=0.0)
    return SimpleNamespace(
        cross_entropy=loss, tokens=run.tokens, steps=200, epochs=0.5, flops=bill, seconds=2.0,
        tokens_per_second=1e4, mfu=None, measures={"bits_per_byte": 2.0, "kl": None, "ece": 0.1},
        environment={},
    )  # fmt: skip


def made_up(
    tier: str = "quick", noise: float = 0.005, planted: Callable[[Any], Any] | None = None,
    **words: object,
) -> dict[str, Any]:  # fmt: skip
    """The report on a trial whose losses are the published law's, with some noise.

    planted: what the calibrated law and its draws are changed into before the plan is made.
    """
    problem = Problem.from_mapping({**WORDS, **words})
    teacher = problem.teachers[0] if problem.teachers else None
    question = Question(problem, 1e9, 136.0, (teacher.size, teacher.tokens) if teacher else (0, 0))
    design = make_design(question, BASE, TIERS[tier], SCALES[0], 1_024, 1_940_000, "sotu", 0)
    rng, true = np.random.default_rng(0), BASE.distillation
    assert true is not None
    records: dict[str, Any] = {}

    def train(runs: tuple[Run, ...]) -> None:
        for run in runs:
            size, tokens = design.parameters(run.layers), float(run.tokens)
            loss = BASE.supervised.loss(size, tokens)
            if run.teacher:
                loss = true.loss(size, tokens, records[run.teacher].cross_entropy)
            factor = float(np.exp(noise * rng.standard_normal()))
            records[run.key] = record(design, run, float(loss) * factor)

    train(design.before)
    calibration = calibrate(rows(design, design.ladder, records), BASE)
    if planted is not None:
        law, drawn = planted(calibration.law), planted(calibration.draws)
        calibration = replace(calibration, law=law, draws=drawn)
    flops = design.shapes.config(design.layers, design.vocabulary).law_flops
    chosen = calibration.coefficients(flops, design.shapes.family)
    design, plan, compared, tests = plan_tests(design, chosen)
    train(tests)
    model = {"counted_over_expected": 1.0}
    probe = {
        "device": "made up", "workers": 2, "matmul": 1e10, "peak": None, "models": [model],
        "expected_seconds": 100.0,
    }  # fmt: skip
    loss = {"parameters": 1e9, "tokens": 4e10, "cross_entropy": 2.3}
    document = {
        "recipe": {"student": loss, "teacher": loss},
        "supervised": {"model": {"cross_entropy": 2.2}},
        "verdict": {"method": "supervised"},
    }  # fmt: skip
    trial = Trial(
        document, problem, BASE, design, probe, calibration, plan, compared,
        (*design.before, *tests), records, tune(design, records),
        power(4.0, -0.1, design.seeds, len(compared), []), 123.0, 120.0,
    )  # fmt: skip
    return outcome(trial)


def text(found: dict[str, Any]) -> str:
    made = sheet(found)
    cells = [cell for grid in made.grids for row in grid.rows for cell in row]
    return "\n".join([made.title, *cells, *made.notes])


def test_coinciding_baselines_are_said_and_counted_once() -> None:
    """Best case: one supervised arm answers both questions, and nothing is pooled twice."""
    found = made_up(scenario="best-case")
    first, second = found["judgement"]["answers"][:2]

    assert found["trial"]["coincide"]
    assert [arm["key"] for arm in found["arms"]].count(EQUAL_TOKENS) == 1
    assert first["difference"] == second["difference"]
    assert "one set of supervised runs answers both questions" in text(found)
    assert found["trial"]["uncharged_flops"] > 0.2 * found["trial"]["test_flops"]


def test_a_given_teacher_is_one_model_in_the_report() -> None:
    """The stand-in is named as one, is measured once, and no neighbour is asked about."""
    found = made_up(teachers=["size=7B,tokens=2T"])

    assert len(found["judgement"]["answers"]) == 2
    assert len(found["arms"][0]["teacher"]["seeds"]) == 1
    assert len(found["arms"][0]["seeds"]) == 3
    assert "stand-in" in text(found)
    assert "no other allocation of equal FLOPs" in text(found)
    assert "regret" not in text(found) + headline(found)
    assert "regret" in headline(made_up())


@pytest.mark.parametrize("words", [{}, {"scenario": "best-case"}], ids=str)
def test_planned_and_measured_stand_side_by_side(words: dict[str, object]) -> None:
    """FLOPs and wall time: allowed, expected, planned, measured."""
    found = made_up(**words)
    grid = next(g for g in sheet(found).grids if g.head[1:] == (
        "Allowed", "Expected", "Planned", "Measured"))  # fmt: skip
    flops, wall = grid.rows[0], grid.rows[-1]

    assert flops[1] == "3.2e12"
    assert flops[3] == flops[4]
    assert wall[1:] == ("2.0 min", "100 s", "", "2.0 min")
    total = sum(found["trial"][f"{phase}_flops"] for phase in ("tuning", "ladder", "test"))
    assert total == pytest.approx(sum(run["flops"] for run in found["runs"]))
    assert total <= 1.02 * found["trial"]["allowance"]


def test_what_the_plan_recommends_is_what_is_called_recommended() -> None:
    """A fully charged teacher never pays: the supervised arm is the recommended one, and the
    conclusion says which method was better; its sign at equal FLOPs is no evidence."""
    found = made_up(noise=0.001)
    made = sheet(found)

    assert found["recommended"] == {
        "recipe": "supervised", "trial": "supervised", "arm": EQUAL_FLOPS,
    }  # fmt: skip
    assert [answer["counted"] for answer in found["judgement"]["answers"]] == [True, False, True]
    marked = [row[0] for row in made.grids[1].rows if "(recommended)" in row[0]]
    assert marked == ["supervised, equal FLOPs (recommended)"]
    assert "at equal FLOPs supervised training was better, as the plan says" in made.verdict


def test_every_prediction_has_its_interval() -> None:
    """Losses, differences and answers alike; a trial of the law's own losses is mostly inside."""
    found = made_up(noise=0.003)
    arms = {arm["key"]: arm for arm in found["arms"]}

    for arm in arms.values():
        assert arm["predicted_low"] < arm["predicted"] < arm["predicted_high"]
        if arm["minus"] is not None:
            minus = arm["minus"]
            assert minus["predicted_low"] < minus["predicted"] < minus["predicted_high"]
            assert minus["predicted_low"] < minus["measured"] < minus["predicted_high"]
    for answer in found["judgement"]["answers"][:2]:
        assert f"{answer['difference']['predicted_low']:+.3f} to " in answer["text"]


def test_a_sign_inside_its_noise_is_said_to_be() -> None:
    """The same sign as at full size is no agreement while the interval includes zero."""
    loud, calm = made_up(noise=0.05), made_up(noise=0.001)

    for found in (loud, calm):
        for answer, note in zip(found["judgement"]["answers"][:2], full_size(found), strict=False):
            difference = answer["difference"]
            zero = difference["low"] <= 0 <= difference["high"]
            assert ("but the interval includes zero" in note) == zero
    assert "but the interval includes zero" in " ".join(full_size(loud))
    assert "but the interval includes zero" not in full_size(calm)[1]
    single = made_up("smoke")
    single["judgement"]["answers"][0]["difference"] |= {"low": None, "high": None}
    assert "its noise is unknown" in full_size(single)[0]


def test_a_planted_wrong_law_fails() -> None:
    """A law with half its c0 thinks too little of strong teachers. Its recipe is 0.48
    nats, 4.5% of the loss, worse than a neighbour; the right law's is the best tried."""

    def wrong(law: Any) -> Any:
        return replace(law, c0=0.5 * law.c0)

    found = made_up(noise=0.001, planted=wrong)
    recipe = next(arm for arm in found["arms"] if arm["key"] == "distillation")

    assert found["outcome"] == "fail"
    assert found["judgement"]["answers"][2]["outcome"] == "fail"
    assert found["judgement"]["regret"] > 0.04 * recipe["measured"]
    right = made_up(noise=0.001)
    assert right["outcome"] == "pass"
    assert right["judgement"]["regret"] == 0
