"""What the measurements say: three questions, each pass, sign only, fail or inconclusive.

1. At equal student tokens: is distilled minus supervised as predicted?
2. At equal total FLOPs: the same.
3. Is the best distillation by plan the best of those tried, or within the noise of it?

The first two pass where the sign is as predicted, beyond the noise, and the measured difference
lies in the predictive interval; outside the interval the sign alone held. A question whose sign
follows from the accounting is answered but not counted. The noise is the spread over seeds, pooled
over all arms: three seeds of one arm say little about it. An arm that scatters more than the pool
counts with its own spread. Fewer than three seeds answer nothing. Where the law's own draws
disagree about a sign, the question stays open.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np

from planner.trial.design import EQUAL_FLOPS, EQUAL_TOKENS, LEAST_SEEDS, PLAN

Outcome = Literal["pass", "sign only", "fail", "inconclusive"]

LEVEL = 0.05
"""Chance of a wrong answer to one question, noise alone considered."""

MATERIAL = 0.005
"""Share of the loss that makes a difference in practice: the usual ceiling of near-optimal."""

RESOLUTION = 0.02
"""Share of the loss that must be visible over the noise before "no neighbour is better" counts."""

SURE = 0.9
"""Probability from which a predicted sign counts as a side taken."""


@dataclass(frozen=True)
class Difference:
    """One arm minus another, nats per token: predicted, and measured with its interval.

    predicted_low, predicted_high: the 90% predictive interval of the measured difference: of the
    law, and of what single runs deviate from it. likely: the law's probability that the difference
    is negative. Measured values are None where nothing was measured, the interval where the noise
    is unknown.
    """

    predicted: float
    predicted_low: float
    predicted_high: float
    likely: float
    measured: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Answer:
    """A question, its outcome and the reason in one sentence.

    counted: whether the outcome is evidence; False where the question can hardly fail.
    """

    question: str
    outcome: Outcome
    text: str
    difference: Difference | None = None
    counted: bool = True


@dataclass(frozen=True)
class Judgement:
    """All answers. `noise`: pooled standard deviation of one run, nats; `regret`: measured loss of
    the best distillation by plan minus the best of those tried."""

    outcome: Outcome
    answers: tuple[Answer, ...]
    noise: float | None
    regret: float
    best: str


@dataclass(frozen=True)
class Noise:
    """Pooled standard deviation of one run and its degrees of freedom."""

    deviation: float
    freedom: int

    def of_mean(self, values: Sequence[float]) -> float:
        """Standard deviation of an arm's mean: from the pool's spread or its own, the larger."""
        own = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return max(self.deviation, own) / sqrt(len(values))

    def half_width(self, tail: float, *arms: Sequence[float]) -> float:
        """Half the interval of one arm's mean or of a difference of two; `tail` on each side."""
        from scipy import stats

        spread = sqrt(sum(self.of_mean(values) ** 2 for values in arms))
        return float(stats.t.ppf(1 - tail, self.freedom) * spread)


def pooled(groups: Sequence[Sequence[float]]) -> Noise | None:
    """The spread within groups of replicates; None where nothing was done twice."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < 1:
        return None
    squares = sum(float(np.sum((np.asarray(g) - np.mean(g)) ** 2)) for g in groups)
    return Noise(sqrt(squares / freedom), freedom)


USUAL_NOISE, USUAL_FREEDOM = 0.006, 4
"""Spread over seeds of past trials, relative to the loss, and the runs that it counts for."""

POWER = 0.8


@dataclass(frozen=True)
class Power:
    """What a trial can resolve, computed before its first test.

    noise: expected standard deviation of one run over seeds, nats. resolvable: the difference of
    two arms, nats, that the trial finds with probability POWER. expected: the one at equal student
    tokens that the law predicts. needed: seeds for which the expected one is resolvable (None:
    more than a hundred).
    """

    noise: float
    seeds: int
    resolvable: float
    expected: float
    needed: int | None


def power(
    loss: float, expected: float, seeds: int, arms: int, replicates: Sequence[Sequence[float]]
) -> Power:
    """From the usual noise at such a loss, updated with the runs that were done twice."""
    found = pooled(replicates)
    squares = USUAL_FREEDOM * (USUAL_NOISE * loss) ** 2
    freedom = USUAL_FREEDOM
    if found is not None:
        squares += found.freedom * found.deviation**2
        freedom += found.freedom
    noise = sqrt(squares / freedom)

    def resolvable(seeds: int) -> float:
        stats = importlib.import_module("scipy.stats")
        t = stats.t(max(1, arms * (seeds - 1)))
        return float((t.ppf(1 - LEVEL / 2) + t.ppf(POWER)) * noise * sqrt(2 / seeds))

    enough = (n for n in range(LEAST_SEEDS, 101) if resolvable(n) <= abs(expected))
    return Power(noise, seeds, resolvable(seeds), expected, next(enough, None))


def judge(
    measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Difference],
    titles: Mapping[str, str],
    replicates: Sequence[Sequence[float]] = (),
    *,
    neighbours_exist: bool = True,
    uncounted: str = "",
) -> Judgement:
    """The verdict on measured cross-entropies of every arm, one per seed.

    predicted: what the calibrated law says about the best distillation minus every other arm.
    replicates: further groups of runs that differ by their seed alone. The supervised arm of equal
    tokens is also that of equal FLOPs if there is no other. neighbours_exist: False where the
    recipe leaves nothing to choose, so that the third question does not arise. uncounted: why the
    question at equal FLOPs can hardly fail, if so.
    """
    noise = pooled([*measured.values(), *replicates])
    best = min((key for key in measured if key not in _BASELINES), key=lambda k: _mean(measured[k]))
    regret = _mean(measured[PLAN]) - _mean(measured[best])
    flops = EQUAL_FLOPS if EQUAL_FLOPS in measured else EQUAL_TOKENS  # nothing charged: the same
    answers = [
        _sign("at equal student tokens", EQUAL_TOKENS, measured, predicted, noise),
        _sign("at equal total FLOPs", flops, measured, predicted, noise, uncounted),
    ]
    if neighbours_exist:
        answers.append(_regret(measured, predicted, titles, noise))
    outcomes = {answer.outcome for answer in answers if answer.counted}
    worst: tuple[Outcome, ...] = ("fail", "inconclusive", "sign only", "pass")
    overall = next(each for each in worst if each in outcomes)
    return Judgement(overall, tuple(answers), noise.deviation if noise else None, regret, best)


_BASELINES = (EQUAL_TOKENS, EQUAL_FLOPS)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def compare(
    measured: Mapping[str, Sequence[float]], predicted: Difference, other: str, noise: Noise | None,
    tail: float,
) -> Difference:  # fmt: skip
    """The best distillation minus another arm, with the measured interval."""
    ours, theirs = measured[PLAN], measured[other]
    difference = _mean(ours) - _mean(theirs)
    if noise is None:
        return replace(predicted, measured=difference)
    half = noise.half_width(tail, ours, theirs)
    return replace(predicted, measured=difference, low=difference - half, high=difference + half)


def _sign(
    where: str, other: str, measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Difference], noise: Noise | None, uncounted: str = "",
) -> Answer:  # fmt: skip
    found = compare(measured, predicted[other], other, noise, LEVEL / 2)
    question = f"Distilled against supervised {where}"
    seeds = min(len(measured[PLAN]), len(measured[other]))
    outcome, why = _sign_outcome(found, seeds)
    text = f"{in_words(found)}; {why}."
    if uncounted:
        text += f" Not counted: {uncounted}."
    return Answer(question, outcome, text, found, not uncounted)


def _sign_outcome(found: Difference, seeds: int) -> tuple[Outcome, str]:
    assert found.measured is not None
    if seeds < LEAST_SEEDS:
        return "inconclusive", f"{seeds} seed(s), fewer than {LEAST_SEEDS}, decide nothing"
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return "inconclusive", "the noise hides the sign"
    better = "distilling is better" if found.measured < 0 else "supervised training is better"
    if 1 - SURE < found.likely < SURE:
        return "inconclusive", f"{better}, but the law's own draws disagree about the sign"
    if (found.measured < 0) != (found.predicted < 0):
        return "fail", f"{better}, against the prediction"
    if not found.predicted_low <= found.measured <= found.predicted_high:
        return "sign only", f"{better}, as predicted, but by an amount outside the interval"
    return "pass", f"{better}, by an amount inside the predicted interval"


def in_words(found: Difference) -> str:
    """Both differences with their intervals."""
    words = (
        f"predicted {found.predicted:+.3f} ({found.predicted_low:+.3f} to "
        f"{found.predicted_high:+.3f}), measured {found.measured:+.3f}"
    )
    if found.low is not None and found.high is not None:
        words += f" ({found.low:+.3f} to {found.high:+.3f})"
    return f"{words} nats"


def _regret(
    measured: Mapping[str, Sequence[float]], predicted: Mapping[str, Difference],
    titles: Mapping[str, str], noise: Noise | None,
) -> Answer:  # fmt: skip
    question = "The best distillation by plan against its neighbours"
    neighbours = [key for key in measured if key not in (PLAN, *_BASELINES)]
    if not neighbours:
        return Answer(question, "inconclusive", "no neighbour fits the budget at this scale.")
    tail = LEVEL / len(neighbours)  # one of them looks better by chance: Bonferroni
    each = {key: compare(measured, predicted[key], key, noise, tail) for key in neighbours}
    worst = max(neighbours, key=lambda key: each[key].measured or 0.0)
    found = each[worst]
    assert found.measured is not None
    loss = _mean(measured[PLAN])
    if found.measured > 0:
        words = f"'{titles[worst]}' is {found.measured:.3f} nats better"
    else:
        words = f"it is the best of {len(neighbours) + 1}, by {-found.measured:.3f} nats"
    seeds = min(len(measured[key]) for key in (PLAN, *neighbours))
    if seeds < LEAST_SEEDS or found.low is None:
        why = f"{seeds} seed(s), fewer than {LEAST_SEEDS}, decide nothing"
        return Answer(question, "inconclusive", f"{words}; {why}.", found)
    half = found.measured - found.low
    if found.low > 0 and found.measured > MATERIAL * loss:
        why = f"more than the noise of {half:.3f} and than {MATERIAL:.1%} of the loss"
        return Answer(question, "fail", f"{words}, {why}.", found)
    if half > RESOLUTION * loss:
        why = f"differences below {half:.3f} nats cannot be resolved"
        return Answer(question, "inconclusive", f"{words}; {why}, more seeds are needed.", found)
    if found.measured <= 0:
        return Answer(question, "pass", f"{words} (noise {half:.3f}).", found)
    why = "within the noise" if found.low <= 0 else f"below {MATERIAL:.1%} of the loss"
    return Answer(question, "pass", f"{words}, {why} ({half:.3f}).", found)
