"""What a trial trains: equal FLOPs, one epoch, nothing shared between ladder and test."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="a trial's models need the extra `trainer`")

from coefficients import load
from planner import Problem, solve
from planner.errors import InfeasibleError, QuantityError
from planner.scenarios import SCENARIOS
from planner.validate.calibrate import Row, calibrate
from planner.validate.design import (
    EQUAL_FLOPS,
    EQUAL_TOKENS,
    LEAST_RATIO,
    PLAN,
    Design,
    affordable,
    allocation,
    arms,
    charged,
    make_design,
    problem_of,
    trial_runs,
)
from planner.validate.scale import SCALES, TIERS, Tier, parse_time, tier_of

QUESTION = Problem.from_mapping({"budget": "1e21", "student": "1B"})
ROWS = (
    Row(100_800, 100e3, 5.41), Row(100_800, 300e3, 4.65), Row(332_640, 200e3, 4.93),
    Row(100_800, 400e3, 4.46), Row(13_472, 300e3, 4.81), Row(100_800, 300e3, 5.0, 4.93),
    Row(100_800, 300e3, 4.52, 4.46),
)  # fmt: skip


def design(tier: str = "default", tokens: int = 1_900_000, problem: Problem = QUESTION) -> Design:
    return make_design(problem, 136.0, TIERS[tier], 1_024, tokens, "sotu", 0)


def recommended(made: Design):  # type: ignore[no-untyped-def]
    law = made.shapes.config(1, made.vocabulary).law_flops
    chosen = calibrate(ROWS, load()).coefficients(law, made.shapes.family)
    return arms(made, solve(problem_of(made), chosen).recipe)


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_spends_its_flops(tier: str) -> None:
    """Ladder and test together cost about what the tier promises, and not much more; teachers
    that the corpus limits leave some of it unspent."""
    made = design(tier)
    tests = trial_runs(made, recommended(made))
    total = sum(made.cost(run) for run in (*made.ladder, *tests))

    assert 0.6 * made.allowance < total < 1.1 * made.allowance


@pytest.mark.parametrize("tier", ["quick", "default", "seeds"])
def test_allocations_cost_the_same(tier: str) -> None:
    """Everything compared at equal FLOPs costs the budget within rounding to whole steps."""
    made = design(tier)
    compared = recommended(made)
    by_key = {arm.key: arm for arm in compared}

    for arm in compared:
        if arm.key != EQUAL_TOKENS:
            assert charged(made, arm) == pytest.approx(made.budget, rel=0.05)
    assert by_key[EQUAL_TOKENS].tokens == by_key[PLAN].tokens
    assert by_key[EQUAL_FLOPS].tokens > by_key[PLAN].tokens
    assert 3 + min(made.neighbours, 3) <= len(compared) <= 3 + made.neighbours
    assert len({(a.teacher_layers, a.teacher_tokens, a.tokens) for a in compared}) == len(compared)


def test_nothing_tested_was_calibrated_on() -> None:
    """No key and no seed of the test occurs in the ladder, and every student has its teacher."""
    made = design()
    tests = trial_runs(made, recommended(made))

    assert not {run.key for run in made.ladder} & {run.key for run in tests}
    assert not {run.seed for run in made.ladder} & {run.seed for run in tests}
    assert len({run.key for run in tests}) == len(tests)
    by_key = {run.key: run for run in (*made.ladder, *tests)}
    for run in by_key.values():
        if run.method == "distilled":
            assert run.teacher is not None
            teacher = by_key[run.teacher]
            assert (teacher.method, teacher.seed, teacher.layers) == (
                "teacher", run.seed, run.teacher_layers,
            )  # fmt: skip


@pytest.mark.parametrize("tier", TIERS)
def test_no_run_repeats_its_data(tier: str) -> None:
    """The laws are about fresh data: one epoch at most, whatever the corpus."""
    made = design(tier, tokens=400_000)
    runs = (*made.ladder, *trial_runs(made, recommended(made)))

    assert max(run.tokens for run in runs) <= 400_000 + made.shapes.tokens_per_step


def test_a_small_corpus_gets_larger_students() -> None:
    """The supervised baseline of equal FLOPs reads each token once, so less text needs more
    parameters for the same compute."""
    small, large = design(tokens=1_000_000), design(tokens=10_000_000)

    assert small.budget == large.budget
    assert small.layers > large.layers
    assert small.student_tokens <= 1_000_000


@pytest.mark.parametrize("flops", [2e13, 1e15, 1e18])
def test_a_corpus_too_small_limits_the_trial_aloud(flops: float) -> None:
    """Students do not grow until they starve: the trial shrinks to what the text can feed, and says
    how much text the allowance wants."""
    tier = tier_of(flops)
    made = make_design(QUESTION, 136.0, tier, 1_024, 300_000, "sotu", 0, scale=SCALES[0])

    assert made.layers == 2 or made.student_tokens >= LEAST_RATIO * made.parameters(made.layers)
    assert made.student_tokens <= 300_000 * 1.001
    assert made.budget < allocation(tier, QUESTION)
    assert any("THE CORPUS LIMITS" in each and "--data" in each for each in made.remarks)
    assert any("tokens per parameter, the recipe's 136" in each for each in made.remarks)


def test_text_enough_keeps_the_recipes_tokens_per_parameter() -> None:
    """With text enough the student is the one with the recipe's ratio, and no remark is made."""
    made = make_design(QUESTION, 40.0, tier_of(1e15), 1_024, 1 << 40, "web", 0, scale=SCALES[0])

    assert 20 <= made.student_tokens / made.parameters(made.layers) <= 80
    assert made.remarks == ()


EXISTING = {"teachers": [{"size": "7B", "tokens": "2T"}]}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "asked",
    [{"scenario": name} for name in SCENARIOS] + [EXISTING, EXISTING | {"scenario": "best-case"}],
)
def test_what_is_not_charged_is_paid_for_too(tier: str, asked: dict[str, object]) -> None:
    """Teachers cost the trial their training whether the recipe charges it or not: everything
    trained fits the allowance."""
    problem = Problem.from_mapping({"budget": "1e21", "student": "1B", **asked})
    made = make_design(
        problem, 136.0, TIERS[tier], 1_024, 1_900_000, "sotu", 0, 7.0 if problem.teachers else None
    )
    compared, runs, _ = affordable(made, recommended(made))
    total = sum(made.cost(run) for run in (*made.ladder, *runs))

    assert total <= 1.06 * made.allowance
    assert len(compared) >= 2
    for arm in compared:
        if arm.key != EQUAL_TOKENS:
            assert charged(made, arm) == pytest.approx(made.budget, rel=0.06)


def test_a_teacher_that_exists_keeps_its_relative_size() -> None:
    """The stand-in of an existing teacher is as large against the trial's student as the real one
    against its own, as far as the trial can train it, and the report says so."""
    problem = Problem.from_mapping({"budget": "1e21", "student": "1B", **EXISTING})
    near = make_design(problem, 136.0, TIERS["default"], 1_024, 1_900_000, "sotu", 0, 2.0)
    far = make_design(problem, 136.0, TIERS["default"], 1_024, 1_900_000, "sotu", 0, 70.0)

    assert (
        near.teacher_layers == near.shapes.family.nearest(2 * near.parameters(near.layers)).layers
    )
    assert far.teacher_layers is not None
    assert far.forward(far.teacher_layers) <= 3 * far.forward(far.layers)
    assert any("70 times the student's size" in each for each in far.remarks)
    assert {arm.teacher_layers for arm in recommended(near)[:1]} == {near.teacher_layers}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_neighbours_could_have_been_recommended(scenario: str) -> None:
    """Nothing is compared with the recommendation that its own bounds forbade: a longer training of
    an uncharged teacher would beat it by being free."""
    problem = Problem.from_mapping({"budget": 1e21, "student": "1B", "scenario": scenario})
    made = design(problem=problem)
    bounds = problem_of(made).bounds
    found = [arm for arm in recommended(made) if arm.teacher_layers is not None]

    assert len(found) >= 2
    for arm in found:
        assert arm.teacher_layers is not None and arm.teacher_tokens is not None
        assert made.parameters(arm.teacher_layers) <= bounds.teacher_size[1]
        assert arm.teacher_tokens <= bounds.teacher_tokens[1] + made.shapes.tokens_per_step


def test_best_case_counts_its_one_baseline_once() -> None:
    """Where only the student's training is charged, equal tokens are equal FLOPs: one arm."""
    made = design(problem=Problem.from_mapping({"budget": 1e21, "student": "1B",
                                                "scenario": "best-case"}))  # fmt: skip
    keys = [arm.key for arm in recommended(made)]

    assert EQUAL_FLOPS in keys
    assert EQUAL_TOKENS not in keys


def test_the_allowance_spares_neighbours_first() -> None:
    """What the allowance cannot pay for is left out and named; plan and baselines stay."""
    made = design()
    compared = recommended(made)
    kept, runs, remarks = affordable(replace(made, allowance=0.8 * made.allowance), compared)

    assert [arm.key for arm in kept][:3] == [PLAN, EQUAL_TOKENS, EQUAL_FLOPS]
    assert 3 <= len(kept) < len(compared)
    assert compared[-1].title in remarks[0]
    assert {run.arm for run in runs} == {arm.key for arm in kept}


def test_too_small_an_allowance_is_refused() -> None:
    """An allowance that cannot train anything is answered with one that could."""
    with pytest.raises(InfeasibleError, match="too few for a trial") as refused:
        make_design(QUESTION, 136.0, tier_of(1e9), 1_024, 1_900_000, "sotu", 0)

    assert refused.value.minimum_budget is not None
    least = tier_of(refused.value.minimum_budget)
    assert make_design(QUESTION, 136.0, least, 1_024, 1_900_000, "sotu", 0).ladder


def test_a_free_teacher_is_not_charged() -> None:
    """Charges are the recipe's: with an existing teacher, a longer training costs nothing."""
    problem = replace(QUESTION, charge_pretraining=0.0)
    made = design(problem=problem)

    assert made.charge_pretraining == 0
    assert any("leaves that cost out" in remark for remark in made.remarks)
    for arm in recommended(made):
        if arm.key != EQUAL_TOKENS:
            assert charged(made, arm) == pytest.approx(made.budget, rel=0.05)


def test_a_design_survives_its_file() -> None:
    """What is stored is what is read back, so that a resumed trial is the same trial."""
    made = design()

    assert Design.from_dict(made.to_dict()) == made


def test_allowances_choose_a_tier() -> None:
    """More compute buys seeds and neighbours; the FLOPs stay those asked for."""
    assert tier_of(1e10).seeds == 1
    quick = TIERS["quick"]
    assert tier_of(2 * quick.flops) == Tier("quick", 2 * quick.flops, 3, 2, 2 * quick.seconds)
    assert tier_of(1e15).neighbours == 6


def test_times() -> None:
    """Times as people write them; anything else is refused with an example."""
    assert [parse_time(t) for t in ("90s", "10m", "1.5h", "45")] == [90, 600, 5400, 45]
    for wrong in ("soon", "-3m", "10 days"):
        with pytest.raises(QuantityError):
            parse_time(wrong)
