"""What is concluded from measurements, on measurements made up for it."""

from __future__ import annotations

import numpy as np
import pytest

from planner.validate.design import EQUAL_FLOPS, EQUAL_TOKENS, PLAN
from planner.validate.verdict import Difference, Judgement, Noise, judge, pooled

TITLES = {"longer": "teacher trained longer", "shorter": "teacher trained shorter"}
LAW = {
    EQUAL_TOKENS: Difference(-0.2, 1.0),
    EQUAL_FLOPS: Difference(0.3, 0.0),
    "longer": Difference(-0.01, 0.7),
    "shorter": Difference(-0.02, 0.8),
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
def test_few_seeds_say_nothing(seeds: int) -> None:
    """Below three seeds every question stays open, however clear the numbers look."""
    replicates = [[4.0, 4.01, 4.02]]
    found = judge(measured(seeds), LAW, TITLES, replicates)

    assert outcomes(found) == ["inconclusive"] * 3
    assert found.outcome == "inconclusive"


def test_one_seed_without_replicates_says_nothing() -> None:
    """Without any replicate the noise is unknown, and nothing is claimed."""
    found = judge(measured(1), LAW, TITLES)

    assert outcomes(found) == ["inconclusive"] * 3
    assert found.noise is None


def test_a_law_that_takes_no_side_is_not_judged() -> None:
    """A prediction near zero neither passes nor fails."""
    found = verdict(measured(), supervised_flops=Difference(0.001, 0.48))

    assert outcomes(found)[1] == "inconclusive"
    assert "takes no side" in found.answers[1].text


def test_a_slightly_better_neighbour_is_within_the_noise() -> None:
    """Regret below what matters or below the noise is no failure."""
    found = verdict(measured(spread=0.03, longer=4.48))

    assert outcomes(found)[2] == "pass"
    assert found.regret == pytest.approx(0.02)
    assert found.best == "longer"


def test_one_comparison_where_tokens_and_flops_coincide() -> None:
    """Where only the student's training is charged, the two baselines are one and count once."""
    values = {k: v for k, v in measured().items() if k != EQUAL_TOKENS}
    found = verdict(values)

    assert [answer.against for answer in found.answers] == [EQUAL_FLOPS, "longer"]
    assert "student tokens and total FLOPs" in found.answers[0].question


def test_uneven_spreads_are_not_averaged_away() -> None:
    """One allocation that scatters far more than the others sets the interval for all."""
    values = measured(seeds=5, spread=0.001)
    values["longer"] = [4.3, 4.9, 4.4, 4.8, 4.52]
    found = verdict(values)

    assert not found.even
    assert found.noise == pytest.approx(np.std(values["longer"], ddof=1))
    assert verdict(measured()).even


def test_without_neighbours_nothing_is_said_about_the_optimum() -> None:
    """A plan that nothing was compared with is not called the best."""
    values = {k: v for k, v in measured().items() if k not in TITLES}

    assert outcomes(verdict(values))[2] == "inconclusive"


def test_intervals_cover_at_their_level() -> None:
    """Of many trials without any true difference, about one in twenty finds one."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2_000):
        groups = [list(group) for group in rng.normal(0, 0.05, (5, 3))]
        noise = pooled(groups)
        assert noise is not None
        difference = abs(np.mean(groups[0]) - np.mean(groups[1]))
        wrong += difference > noise.half_width(3, 3, 0.025)

    assert 0.035 < wrong / 2_000 < 0.065


def test_pooled_noise_ignores_what_differs_between_arms() -> None:
    """Only the spread within groups counts; single runs carry no information."""
    assert pooled([[4.0], [5.0]]) is None
    found = pooled([[4.0, 4.2], [9.0, 9.2], [1.0]])
    assert found == Noise(pytest.approx(0.1 * 2**0.5), 2)
