"""What the measurements say: three questions, each answered pass, fail or inconclusive.

1. At equal student tokens: is distilled minus supervised of the predicted sign?
2. At equal total FLOPs: the same.
3. Is the recommended allocation the best of those tried, or within the noise of it?

The noise is the spread over seeds, pooled over all arms: three seeds of one arm say little about
it. An arm that scatters more than the pool counts with its own spread, so that the others do not
lend it theirs. Fewer than three seeds answer nothing. A prediction that takes no side (its own
draws disagree) is not held against the law: the question stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from planner.validate.design import EQUAL_FLOPS, EQUAL_TOKENS, PLAN
from planner.validate.scale import LEAST_SEEDS

Outcome = Literal["pass", "fail", "inconclusive"]

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

    `likely`: the predicted probability that it is negative. Measured values are None where nothing
    was measured, the interval where the noise is unknown.
    """

    predicted: float
    likely: float
    measured: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Answer:
    """A question, its outcome and the reason in one sentence."""

    question: str
    outcome: Outcome
    text: str
    difference: Difference | None = None


@dataclass(frozen=True)
class Judgement:
    """All answers. `noise`: pooled standard deviation of one run, nats; `regret`: measured loss of
    the recommended allocation minus the best of those tried."""

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


def judge(
    measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Difference],
    titles: Mapping[str, str],
    replicates: Sequence[Sequence[float]] = (),
    *,
    neighbours_exist: bool = True,
) -> Judgement:
    """The verdict on measured cross-entropies of every arm, one per seed.

    predicted: what the calibrated law says about the recommended arm minus every other one.
    replicates: further groups of runs that differ by their seed alone. The supervised arm of equal
    tokens is also that of equal FLOPs if there is no other. neighbours_exist: False where the
    recipe leaves nothing to choose, so that the third question does not arise.
    """
    noise = pooled([*measured.values(), *replicates])
    best = min((key for key in measured if key not in _BASELINES), key=lambda k: _mean(measured[k]))
    regret = _mean(measured[PLAN]) - _mean(measured[best])
    flops = EQUAL_FLOPS if EQUAL_FLOPS in measured else EQUAL_TOKENS  # nothing charged: the same
    answers = [
        _sign("at equal student tokens", EQUAL_TOKENS, measured, predicted, noise),
        _sign("at equal total FLOPs", flops, measured, predicted, noise),
    ]
    if neighbours_exist:
        answers.append(_regret(measured, predicted, titles, noise))
    outcomes = {answer.outcome for answer in answers}
    overall: Outcome = "pass"
    if "fail" in outcomes:
        overall = "fail"
    elif "inconclusive" in outcomes:
        overall = "inconclusive"
    return Judgement(overall, tuple(answers), noise.deviation if noise else None, regret, best)


_BASELINES = (EQUAL_TOKENS, EQUAL_FLOPS)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def compare(
    measured: Mapping[str, Sequence[float]], predicted: Difference, other: str, noise: Noise | None,
    tail: float,
) -> Difference:  # fmt: skip
    """The recommended arm minus another, with the measured interval."""
    ours, theirs = measured[PLAN], measured[other]
    difference = _mean(ours) - _mean(theirs)
    if noise is None:
        return Difference(predicted.predicted, predicted.likely, difference)
    half = noise.half_width(tail, ours, theirs)
    return Difference(
        predicted.predicted, predicted.likely, difference, difference - half, difference + half
    )


def _sign(
    where: str, other: str, measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Difference], noise: Noise | None,
) -> Answer:  # fmt: skip
    found = compare(measured, predicted[other], other, noise, LEVEL / 2)
    question = f"Distilled against supervised {where}"
    assert found.measured is not None
    words = f"predicted {found.predicted:+.3f}, measured {found.measured:+.3f} nats"
    if found.low is not None and found.high is not None:
        words += f" ({found.low:+.3f} to {found.high:+.3f})"
    seeds = min(len(measured[PLAN]), len(measured[other]))
    if seeds < LEAST_SEEDS:
        why = f"{seeds} seed(s), fewer than {LEAST_SEEDS}, decide nothing"
        return Answer(question, "inconclusive", f"{words}; {why}.", found)
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return Answer(question, "inconclusive", f"{words}; the noise hides the sign.", found)
    better = "distilling" if found.measured < 0 else "supervised training"
    if 1 - SURE < found.likely < SURE:
        why = "the law itself takes no side"
        return Answer(question, "inconclusive", f"{words}: {better} is better, but {why}.", found)
    same = (found.measured < 0) == (found.predicted < 0)
    ending = "as predicted" if same else "against the prediction"
    return Answer(question, "pass" if same else "fail", f"{words}: {better} is better, {ending}.",
                  found)  # fmt: skip


def _regret(
    measured: Mapping[str, Sequence[float]], predicted: Mapping[str, Difference],
    titles: Mapping[str, str], noise: Noise | None,
) -> Answer:  # fmt: skip
    question = "The recommended allocation against its neighbours"
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
        why = f"differences below {half:.3f} nats drown in the noise"
        return Answer(question, "inconclusive", f"{words}; {why}, more seeds are needed.", found)
    if found.measured <= 0:
        return Answer(question, "pass", f"{words} (noise {half:.3f}).", found)
    why = "within the noise" if found.low <= 0 else f"below {MATERIAL:.1%} of the loss"
    return Answer(question, "pass", f"{words}, {why} ({half:.3f}).", found)
