"""What is concluded from measurements, on measurements made up for it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="a trial's models need the extra `trainer`")

from planner.trial.design import EQUAL_FLOPS, EQUAL_TOKENS, PLAN
from planner.trial.verdict import Difference, Judgement, Noise, judge, pooled, power

TITLES = {"longer": "teacher trained longer", "shorter": "teacher trained shorter"}
LAW = {
    EQUAL_TOKENS: Difference(-0.2, -0.3, -0.1, 1.0),
    EQUAL_FLOPS: Difference(0.3, 0.2, 0.4, 0.0),
    "longer": Difference(-0.01, -0.1, 0.1, 0.7),
    "shorter": Difference(-0.02, -0.1, 0.1, 0.8),
}


def measured(seeds: int = 3, spread: float = 0.01, **means: float) -> dict[str, list[float]]:
    """Losses of the arms around their means; the seeds' deviations sum to zero."""
    usual = {PLAN: 4.5, EQUAL_TOKENS: 4.7, EQUAL_FLOPS: 4.2, "longer": 4.52, "shorter": 4.53}
    usual |= {key.replace("_", "-"): value for key, value in means.items()}
    steps = spread * (np.arange(seeds) - (seeds - 1) / 2)
    return {key: [float(mean + step) for step in steps] for key, mean in usual.items()}


def verdict(values: dict[str, list[float]], **changes: Difference) -> Judgement:
    law = LAW | {key.replace("_", "-"): value for key, value in changes.items()}
    return judge(values, law, TITLES)


def outcomes(found: Judgement) -> list[str]:
    return [answer.outcome for answer in found.answers]


def test_pass() -> None:
    """Signs as predicted and no better neighbour: the recommendation held."""
    found = verdict(measured())

    assert outcomes(found) == ["pass", "pass", "pass"]
    assert found.outcome == "pass"
    assert found.regret == 0
    assert found.best == PLAN
    assert found.noise == pytest.approx(0.01)


def test_a_right_sign_of_the_wrong_size_is_no_pass() -> None:
    """Distilling is better as predicted, by three times as much: the sign alone held."""
    found = verdict(measured(supervised_tokens=5.1))

    assert outcomes(found) == ["sign only", "pass", "pass"]
    assert found.outcome == "sign only"
    assert "predicted -0.200 (-0.300 to -0.100), measured -0.600" in found.answers[0].text


def test_a_question_that_can_hardly_fail_is_not_counted() -> None:
    """It is answered, with its reason, and changes nothing about the whole."""
    values = measured(supervised_flops=4.49, spread=0.002)
    found = judge(values, LAW, TITLES, uncounted="supervised training wins anyway")

    assert outcomes(found) == ["pass", "sign only", "pass"]
    assert [answer.counted for answer in found.answers] == [True, False, True]
    assert "Not counted: supervised training wins anyway." in found.answers[1].text
    assert found.outcome == "pass"


@pytest.mark.parametrize(
    ("means", "which"),
    [
        ({"supervised_tokens": 4.3}, 0),
        ({"supervised_flops": 4.8}, 1),
        ({"longer": 4.3}, 2),
    ],
)
def test_fail(means: dict[str, float], which: int) -> None:
    """A sign against the prediction, or a neighbour better beyond the noise, fails the whole."""
    found = verdict(measured(**means))

    assert outcomes(found)[which] == "fail"
    assert outcomes(found).count("fail") == 1
    assert found.outcome == "fail"


def test_noise_hides_differences() -> None:
    """A difference smaller than the noise is not a result, in either direction."""
    found = verdict(measured(spread=1.0))

    assert outcomes(found) == ["inconclusive"] * 3


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(
    "means", [{}, {"supervised_tokens": 4.3}, {"supervised_flops": 4.8}, {"longer": 4.3}], ids=str
)
def test_few_seeds_say_nothing(seeds: int, means: dict[str, float]) -> None:
    """Below three seeds every question stays open, however clear the numbers look: no trial of
    one seed passes, and none fails."""
    replicates = [[4.0, 4.01, 4.02]]
    found = judge(measured(seeds, **means), LAW, TITLES, replicates)

    assert outcomes(found) == ["inconclusive"] * 3
    assert found.outcome == "inconclusive"
    assert "fewer than 3" in found.answers[0].text


def test_one_seed_without_replicates_says_nothing() -> None:
    """Without any replicate the noise is unknown, and nothing is claimed."""
    found = judge(measured(1), LAW, TITLES)

    assert outcomes(found) == ["inconclusive"] * 3
    assert found.noise is None


def test_a_law_that_takes_no_side_is_not_judged() -> None:
    """A prediction near zero neither passes nor fails."""
    found = verdict(measured(), supervised_flops=Difference(0.001, -0.1, 0.1, 0.48))

    assert outcomes(found)[1] == "inconclusive"
    assert "draws disagree" in found.answers[1].text


def test_a_slightly_better_neighbour_is_within_the_noise() -> None:
    """Regret below what matters or below the noise is no failure."""
    found = verdict(measured(spread=0.03, longer=4.48))

    assert outcomes(found)[2] == "pass"
    assert found.regret == pytest.approx(0.02)
    assert found.best == "longer"


def test_coinciding_baselines_answer_both_questions() -> None:
    """Where nothing of the teacher is charged, the one supervised arm is both baselines."""
    values = {key: value for key, value in measured().items() if key != EQUAL_FLOPS}
    law = {key: value for key, value in LAW.items() if key != EQUAL_FLOPS}
    found = judge(values, law, TITLES)

    assert outcomes(found) == ["pass", "pass", "pass"]
    assert found.answers[0].difference == found.answers[1].difference
    assert found.noise == pytest.approx(0.01)


def test_a_question_that_does_not_arise_is_not_asked() -> None:
    """Where the recipe leaves nothing to choose, the verdict rests on the two baselines."""
    values = {k: v for k, v in measured().items() if k not in TITLES}
    found = judge(values, LAW, TITLES, neighbours_exist=False)

    assert outcomes(found) == ["pass", "pass"]
    assert found.outcome == "pass"


def test_without_neighbours_nothing_is_said_about_the_optimum() -> None:
    """A plan that nothing was compared with is not called the best."""
    values = {k: v for k, v in measured().items() if k not in TITLES}

    assert outcomes(verdict(values))[2] == "inconclusive"


def wrong_findings(spreads: list[float]) -> float:
    """How often two arms without any true difference are told apart, the first one's spread among
    those of three seeds each."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2_000):
        groups = [list(rng.normal(0, spread, 3)) for spread in spreads]
        noise = pooled(groups)
        assert noise is not None
        difference = abs(np.mean(groups[0]) - np.mean(groups[1]))
        wrong += difference > noise.half_width(0.025, groups[0], groups[1])
    return wrong / 2_000


def test_intervals_cover_at_their_level() -> None:
    """Of many trials without any true difference, at most one in twenty finds one."""
    assert 0.015 < wrong_findings([0.05] * 5) < 0.055


def test_an_arm_that_scatters_more_is_not_lent_the_others_calm() -> None:
    """Grossly unequal spreads: the arm's own counts; the pool alone would be wrong in one trial of
    six, and of four."""
    assert wrong_findings([0.15, 0.05, 0.05, 0.05, 0.05]) < 0.12
    assert wrong_findings([0.25, *[0.05] * 6]) < 0.16
    calm = Noise(0.01, 8)
    assert calm.of_mean([4.0, 4.3, 4.6]) == pytest.approx(0.3 / 3**0.5)
    assert calm.of_mean([4.0, 4.001, 4.002]) == pytest.approx(0.01 / 3**0.5)


def test_pooled_noise_ignores_what_differs_between_arms() -> None:
    """Only the spread within groups counts; single runs carry no information."""
    assert pooled([[4.0], [5.0]]) is None
    found = pooled([[4.0, 4.2], [9.0, 9.2], [1.0]])
    assert found == Noise(pytest.approx(0.1 * 2**0.5), 2)


def test_the_power_analysis_holds_in_simulated_trials() -> None:
    """A difference that is called resolvable is found in about eight of ten trials, and the seeds
    that are called enough resolve the expected one."""
    found = power(4.0, -0.1, 3, 5, [])
    rng, resolved = np.random.default_rng(1), 0
    for _ in range(2_000):
        groups = [list(rng.normal(0, found.noise, 3)) for _ in range(5)]
        groups[0] = [value - found.resolvable for value in groups[0]]
        noise = pooled(groups)
        assert noise is not None
        half = noise.half_width(0.025, groups[0], groups[1])
        resolved += np.mean(groups[1]) - np.mean(groups[0]) > half

    assert 0.6 < resolved / 2_000 < 0.9  # an arm that scatters more counts with its own spread
    assert power(4.0, found.resolvable, 3, 5, []).needed == 3
    assert power(4.0, -0.01, 3, 5, []).needed is not None
    assert power(4.0, 1e-4, 3, 5, []).needed is None


def test_runs_done_twice_update_the_expected_noise() -> None:
    """A replicate that scatters more than usual raises it."""
    assert power(4.0, 0.1, 3, 5, [[4.0, 4.2]]).noise > power(4.0, 0.1, 3, 5, []).noise
