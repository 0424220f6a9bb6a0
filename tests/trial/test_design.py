"""What a trial trains: equal FLOPs, one epoch, nothing shared between ladder and test."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="a trial's models need the extra `trainer`")

from coefficients import load
from planner import Problem, units
from planner.errors import InfeasibleError, QuantityError
from planner.trial.arms import ROUNDING, charged, plan_tests
from planner.trial.design import (
    EQUAL_FLOPS,
    EQUAL_TOKENS,
    PLAN,
    TEACHER_SEEDS,
    TIERS,
    Arm,
    Design,
    Run,
    Tier,
    parse_time,
    scale_for,
    tier_of,
)
from planner.trial.ladder import FEWEST_TOKENS, Question, allocation, make_design
from planner.trial.law import Row, calibrate

RATIO = 136.0
WORDS = {"budget": "1e21", "student": "1B"}
BASE = load()
ROWS = (
    Row(83_376, 222e3, 4.92), Row(83_376, 535e3, 4.06), Row(201e3, 268e3, 4.66),
    Row(25_312, 507e3, 4.31), Row(25_312, 1.22e6, 3.87), Row(201e3, 313e3, 4.57),
    Row(83_376, 271e3, 4.28, 3.87), Row(83_376, 233e3, 4.33, 4.09), Row(83_376, 400e3, 4.14, 4.09),
    Row(83_376, 267e3, 4.73, 4.57),
)  # fmt: skip
CALIBRATION = calibrate(ROWS, BASE)
EXISTING = {"teachers": ["size=7B,tokens=2T"]}
UNPAID = [
    {"scenario": "best-case"},
    {"scenario": "teacher-inference"},
    {"scenario": "teacher-pretraining"},
    {"charge_pretraining": 0.3, "charge_inference": 0.5},
    EXISTING,
    {"teachers": ["loss=2.05"], "scenario": "best-case"},
    {"teachers": ["size=70B,loss=1.95", "size=3B,tokens=60B", "size=500M,tokens=2T"]},
]


def question(**words: object) -> Question:
    problem = Problem.from_mapping({**WORDS, **words})
    teacher = problem.teachers[0] if problem.teachers else None
    chosen = (teacher.size, teacher.tokens) if teacher else (None, None)
    return Question(problem, 1e9, RATIO, chosen)


def design(tier: str | Tier = "default", tokens: int = 1_940_000, **words: object) -> Design:
    asked, spent = question(**words), TIERS[tier] if isinstance(tier, str) else tier
    scale = scale_for(allocation(asked, spent))
    return make_design(asked, BASE, spent, scale, scale.vocabulary, tokens, "sotu", 0)


def trial_of(made: Design) -> tuple[Design, tuple[Arm, ...], tuple[Run, ...]]:
    """The design that fits, its allocations and their runs under a calibrated law."""
    law = made.shapes.config(1, made.vocabulary).law_flops
    chosen = CALIBRATION.coefficients(law, made.shapes.family)
    fitted, _, compared, runs = plan_tests(made, chosen)
    return fitted, compared, runs


def flops_of(made: Design, runs: tuple[Run, ...]) -> float:
    """FLOPs that are really trained: every run once, teachers and their logits included."""
    total = 0.0
    for run in {run.key: run for run in (*made.before, *runs)}.values():
        teacher = made.forward(run.teacher_layers) if run.teacher_layers else 0.0
        total += run.tokens * (3 * made.forward(run.layers) + teacher)
    return total


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_spends_its_flops(tier: str) -> None:
    """Ladder and test together cost what the tier promises."""
    made, _, runs = trial_of(design(tier))

    assert 0.85 * made.allowance < flops_of(made, runs) <= (1 + ROUNDING) * made.allowance


@pytest.mark.parametrize("tier", ["smoke", "quick", "seeds"])
@pytest.mark.parametrize("words", UNPAID, ids=str)
def test_what_a_recipe_does_not_pay_the_allowance_does(tier: str, words: dict[str, object]) -> None:
    """Teachers that the recipe's accounting leaves out are trained all the same: the allowance
    pays for them, and was expected to before the first run."""
    made, compared, runs = trial_of(design(tier, **words))
    spent = flops_of(made, runs)

    assert 0.45 * made.allowance < spent <= (1 + ROUNDING) * made.allowance
    assert spent <= 1.05 * made.expected
    assert made.expected <= made.allowance * (1 + 1e-6)
    for arm in compared:
        if arm.teacher_layers and arm.teacher_tokens:
            training = 3 * made.forward(arm.teacher_layers) * arm.teacher_tokens
            assert training <= 1.06 * made.teacher_flops


def test_a_law_that_wants_more_shrinks_the_allocations() -> None:
    """When the plan's runs cost more than was expected, every allocation shrinks until they fit."""
    wide = design("quick")
    tight = replace(wide, allowance=0.8 * wide.allowance)
    fitted, compared, runs = trial_of(tight)

    assert fitted.budget < wide.budget
    assert flops_of(fitted, runs) <= (1 + ROUNDING) * tight.allowance
    assert any("stays within its allowance" in remark for remark in fitted.remarks)
    for arm in compared:
        if arm.key != EQUAL_TOKENS:
            assert charged(fitted, arm) == pytest.approx(fitted.budget, rel=0.05)


@pytest.mark.parametrize("tier", ["quick", "default", "seeds"])
def test_allocations_cost_the_same(tier: str) -> None:
    """Everything compared at equal FLOPs costs the budget within rounding to whole steps."""
    made, compared, _ = trial_of(design(tier))
    by_key = {arm.key: arm for arm in compared}

    for arm in compared:
        if arm.key != EQUAL_TOKENS:
            assert charged(made, arm) == pytest.approx(made.budget, rel=0.05)
    assert by_key[EQUAL_TOKENS].tokens == by_key[PLAN].tokens
    assert by_key[EQUAL_FLOPS].tokens > by_key[PLAN].tokens
    assert 3 + min(made.neighbours, 2) <= len(compared) <= 3 + made.neighbours
    assert len({(a.teacher_layers, a.teacher_tokens, a.tokens) for a in compared}) == len(compared)


@pytest.mark.parametrize("words", [{}, *UNPAID], ids=str)
def test_nothing_tested_was_calibrated_on(words: dict[str, object]) -> None:
    """No key and no seed of the test occurs in the ladder, no run is done twice, and every student
    has a teacher of the size it was designed with."""
    made, _, tests = trial_of(design(**words))

    assert not {run.key for run in made.ladder} & {run.key for run in tests}
    assert not {run.seed for run in made.ladder} & {run.seed for run in tests}
    assert len({run.key for run in tests}) == len(tests)
    assert len({replace(run, key="", arm="") for run in tests}) == len(tests)
    by_key = {run.key: run for run in (*made.ladder, *tests)}
    for run in by_key.values():
        if run.method == "distilled":
            assert run.teacher is not None
            teacher = by_key[run.teacher]
            assert (teacher.method, teacher.layers) == ("teacher", run.teacher_layers)
            assert made.teachers or teacher.seed == TEACHER_SEEDS + run.seed


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("words", [{}, UNPAID[0], EXISTING], ids=str)
def test_no_run_repeats_its_data(tier: str, words: dict[str, object]) -> None:
    """The laws are about fresh data: one epoch at most, whatever the corpus."""
    made, _, tests = trial_of(design(tier, tokens=400_000, **words))
    windows = (400_000 - 1) // made.shapes.context

    assert max(run.tokens for run in (*made.ladder, *tests)) <= windows * made.shapes.context


def test_a_given_teacher_is_trained_once() -> None:
    """A teacher that exists is one model: as much larger than the student as the recipe's, on as
    many tokens as corpus and allowance give, shared by all seeds, and the report says so."""
    made, compared, runs = trial_of(design(**EXISTING))
    teachers = [run for run in runs if run.method == "teacher"]
    given = made.teachers[0]

    assert [(run.layers, run.tokens) for run in teachers] == [(given.layers, given.tokens)]
    assert 3 < made.parameters(given.layers) / made.parameters(made.layers) < 12
    assert given.tokens >= made.baseline() * 0.99
    assert {run.teacher for run in runs if run.method == "distilled"} == {teachers[0].key}
    assert [arm.key for arm in compared] == [PLAN, EQUAL_TOKENS, EQUAL_FLOPS]
    assert any("stand-in" in remark and "7B" in remark for remark in made.remarks)


def test_several_given_teachers_are_neighbours() -> None:
    """With several existing teachers the choice among them is what is tested; what is known by its
    loss alone gets the tokens at which the law has that loss."""
    several = {"teachers": ["size=2B,loss=2.2", "size=200M,tokens=200B"]}
    made, compared, _ = trial_of(design(**several))
    two_b, small = made.teachers

    assert "2B" in two_b.text
    assert two_b.layers > small.layers
    others = [arm for arm in compared if arm.key not in (PLAN, EQUAL_TOKENS, EQUAL_FLOPS)]
    assert len(others) == 1
    assert others[0].title.startswith("taught by")


def test_baselines_coincide_where_nothing_is_charged() -> None:
    """Best case: equal tokens are equal FLOPs, so that one set of supervised runs is trained."""
    made, compared, runs = trial_of(design(scenario="best-case"))

    assert made.coincide
    assert EQUAL_FLOPS not in {arm.key for arm in compared}
    supervised = [run for run in runs if run.method == "supervised"]
    assert len(supervised) == made.seeds
    assert charged(made, compared[1]) == pytest.approx(charged(made, compared[0]))


def test_a_small_corpus_gets_larger_students_within_reason() -> None:
    """Less text needs more parameters for the same compute, down to ten tokens for each; below,
    less is spent, and the report says how much text is missing and how to give it."""
    wide, short, tiny = design(tokens=4_000_000), design(tokens=1_000_000), design(tokens=300_000)

    assert short.layers > wide.layers
    assert short.budget == wide.budget
    assert not any("corpus" in remark for remark in wide.remarks)
    assert tiny.budget < 0.5 * short.budget
    assert tiny.baseline() >= FEWEST_TOKENS * tiny.parameters(tiny.layers)
    limits = next(remark for remark in tiny.remarks if "limits the trial" in remark)
    assert "--data" in limits
    assert "--max-documents" in limits


@pytest.mark.parametrize("flops", [1e16, 1e17, 1e18])
def test_a_gpu_allowance_does_not_buy_absurd_students(flops: float) -> None:
    """A million tokens do not train hundreds of millions of parameters: the text needed is named,
    and with as much text the allowance is spent."""
    tier = tier_of(flops)
    short = design(tier, tokens=1_100_000)
    needed = _tokens_named(next(r for r in short.remarks if "limits the trial" in r))
    enough = design(tier, tokens=int(1.1 * needed))

    assert short.parameters(short.layers) < 2e6
    assert short.expected < 0.1 * flops
    assert enough.expected > 0.9 * flops
    assert enough.baseline() >= FEWEST_TOKENS * enough.parameters(enough.layers)


def _tokens_named(remark: str) -> float:
    return units.parse_count(remark.split("about ")[-1].split(" are needed")[0])


def test_far_from_the_recipes_ratio_is_said() -> None:
    """Tokens per parameter that differ from the recipe's by more than two are named."""
    made = design("seeds")

    assert any("tokens per parameter, the recipe's 136" in remark for remark in made.remarks)
    assert not any("the recipe's" in r for r in design("seeds", tokens=10_000_000).remarks)


@pytest.mark.parametrize("words", [{}, UNPAID[0], EXISTING], ids=str)
def test_too_small_an_allowance_is_refused(words: dict[str, object]) -> None:
    """An allowance that cannot train anything is answered with one that could."""
    with pytest.raises(InfeasibleError, match="too few for a trial") as refused:
        design(tier_of(1e9), **words)

    assert refused.value.minimum_budget is not None
    assert design(tier_of(refused.value.minimum_budget), **words).ladder


def test_too_little_text_is_refused() -> None:
    """Text for a few updates is named as the cause, not the allowance."""
    with pytest.raises(InfeasibleError, match="smaller half of the corpus has 5K tokens"):
        design(tokens=5_000)


@pytest.mark.parametrize("words", [{}, EXISTING], ids=str)
def test_a_design_survives_its_file(words: dict[str, object]) -> None:
    """What is stored is what is read back, so that a resumed trial is the same trial."""
    made = design(**words)

    assert Design.from_dict(json.loads(json.dumps(made.to_dict()))) == made


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
