"""Warnings and the verdict: where a plan leaves what was measured, what the fit behind it reports
against itself, and whether to distil.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from coefficients import CoefficientSet, Domain, Range
from laws._types import Real
from planner import units
from planner.models import vocabulary_warnings
from planner.problem import BOUNDS, Problem
from planner.recipe import quantities
from planner.results import (
    AnyModel,
    Baseline,
    Interval,
    Method,
    Model,
    Reason,
    Recipe,
    ScenarioResult,
    SecondOpinion,
    Verdict,
    Warning,
)
from planner.second_opinion import ALARM

LAW_ERROR = 0.01
"""Relative accuracy that the law's authors claim (Sec. 4.3 and App. E: about 1% or better)."""

_NAMES = {
    "student_parameters": ("the student's size", units.format_count),
    "student_tokens": ("the student's tokens", units.format_count),
    "teacher_parameters": ("the teacher's size", units.format_count),
    "teacher_tokens": ("the teacher's tokens", units.format_count),
    "student_tokens_per_parameter": ("the student's tokens per parameter", units.format_ratio),
    "teacher_cross_entropy": ("the teacher's cross-entropy", units.format_loss),
    "teacher_to_supervised": (
        "the teacher's cross-entropy over the student's supervised one", units.format_ratio,
    ),
}  # fmt: skip


def warnings_of(
    recipe: Recipe,
    baseline: Baseline,
    opinion: SecondOpinion | None,
    coefficients: CoefficientSet,
) -> tuple[Warning, ...]:
    """Every warning of a plan. A new one is a function of this module and a line here."""
    return (
        *fit_warnings(coefficients),
        *domain_warnings(recipe, coefficients),
        *opinion_warnings(opinion, recipe, coefficients),
        *teacher_warnings(recipe, coefficients),
        *vocabulary_warnings(recipe.teacher, coefficients.vocabulary),
        *baseline_warnings(baseline, coefficients),
    )


def domain_warnings(recipe: Recipe, coefficients: CoefficientSet) -> tuple[Warning, ...]:
    """One warning for every quantity of the recipe outside the range where the law was measured."""
    domain = coefficients.domain
    if not domain.known:
        return (
            Warning(
                "unknown-domain",
                f"the coefficient set '{coefficients.name}' does not say where it was measured, so "
                "nothing tells whether this plan extrapolates.",
                scope="coefficients",
            ),
        )
    found = []
    values = quantities(recipe, coefficients)
    for quantity in _left(domain, values):
        value, (low, high) = float(values[quantity] or 0.0), _range(domain, quantity)
        label, show = _NAMES[quantity]
        side, factor = ("below", low / value) if value < low else ("above", value / high)
        verb = "are" if label.endswith(" tokens") else "is"
        times = f", by a factor of {units.format_ratio(factor)}" if factor >= 1.1 else ""
        found.append(
            Warning(
                "outside-domain",
                f"{label} ({show(value)}) {verb} {side} the measured range "
                f"{show(low)} to {show(high)}{times}.",
                quantity,
                value,
                (low, high),
                alarm=True,
            )
        )
    return tuple(found)


def _left(domain: Domain, quantities: Mapping[str, Real | None]) -> list[str]:
    """Names of the quantities outside their measured ranges."""
    return [name for name, out in domain.outside(quantities).items() if out]


def _range(domain: Domain, quantity: str) -> Range:
    measured = domain.of(quantity)
    assert measured is not None  # it was left
    return measured


def leaves_domain(recipe: Recipe, coefficients: CoefficientSet) -> bool:
    """Whether the law extrapolates for this recipe, as far as the set tells."""
    return bool(_left(coefficients.domain, quantities(recipe, coefficients)))


def baseline_warnings(baseline: Baseline, coefficients: CoefficientSet) -> tuple[Warning, ...]:
    """Warnings where the supervised baseline itself leaves the measured sizes or tokens."""
    domain, model = coefficients.domain, baseline.model
    values = {"supervised_parameters": model.parameters, "supervised_tokens": model.tokens}
    found = []
    for name in _left(domain, values):
        kind, value, measured = name.partition("_")[2], values[name], _range(domain, name)
        found.append(
            Warning(
                "baseline-outside-domain",
                f"the supervised model's {kind} ({units.format_count(value)}) are outside "
                f"the measured range {units.format_count(measured[0])} to "
                f"{units.format_count(measured[1])}.",
                name,
                value,
                measured,
                scope="baseline",
            )
        )
    return tuple(found)


def teacher_warnings(recipe: Recipe, coefficients: CoefficientSet) -> tuple[Warning, ...]:
    """A measured loss that the law says no model of that size can have."""
    teacher = recipe.teacher
    if not teacher.existing or teacher.parameters is None:
        return ()
    floor = float(coefficients.supervised.floor(teacher.parameters))
    if teacher.cross_entropy >= floor:
        return ()
    return (
        Warning(
            "teacher-below-floor",
            f"the teacher's loss ({units.format_loss(teacher.cross_entropy)}) is below what the "
            f"law allows at {units.format_count(teacher.parameters)} parameters with any data "
            f"({units.format_loss(floor)}); check that it was measured on the student's data and "
            "tokenizer, in nats per token.",
            "teacher_cross_entropy",
            teacher.cross_entropy,
            (floor, float("inf")),
            alarm=True,
        ),
    )


def opinion_warnings(
    opinion: SecondOpinion | None, recipe: Recipe, coefficients: CoefficientSet
) -> tuple[Warning, ...]:
    """Where two sets disagree by more than their intervals, and by enough to matter."""
    if opinion is None or not opinion.disagrees:
        return ()
    ours, name = recipe.student.cross_entropy, coefficients.name
    apart = abs(opinion.cross_entropy - ours) > ALARM * ours
    if not apart and (opinion.regret is None or opinion.regret < ALARM):
        return ()  # reported beside the plan, but no reason to bet differently
    spread = opinion.interval
    around = (
        f" ({units.format_loss(spread.low)} to {units.format_loss(spread.high)})" if spread else ""
    )
    tail = (
        f"; its own optimum is {units.format_loss(opinion.regret)} nats better than this recipe"
        if opinion.regret is not None and opinion.regret >= ALARM
        else ""
    )
    return (
        Warning(
            "second-opinion",
            f"the coefficients disagree: {opinion.source} predicts "
            f"{units.format_loss(opinion.cross_entropy)}{around} for this recipe, {name} "
            f"{units.format_loss(ours)}{tail}.",
            "cross_entropy",
            opinion.cross_entropy,
            None if spread is None else (spread.low, spread.high),
        ),
    )


HEADLINES: Mapping[Method, str] = {
    "distil": "Distil",
    "supervised": "Train without a teacher",
    "undecided": "Too close to call",
}


@dataclass(frozen=True)
class Pair:
    """A distillation beside the supervised model of the same budget, and the second set's view.

    spread: central interval of the difference over the draws, None for a set without draws.
    """

    recipe: Recipe
    supervised: Baseline
    opinion: SecondOpinion | None = None
    spread: Interval | None = None

    @property
    def difference(self) -> float:
        """Distilled minus supervised cross-entropy, nats per token."""
        return self.recipe.student.cross_entropy - self.supervised.model.cross_entropy

    @property
    def models(self) -> tuple[Model, AnyModel, Model]:
        """Student, teacher and supervised model."""
        return self.recipe.student, self.recipe.teacher, self.supervised.model

    @property
    def better(self) -> Literal["distil", "supervised"]:
        """The method of the smaller loss."""
        return "distil" if self.difference < 0 else "supervised"

    @property
    def within_error(self) -> bool:
        """Whether the law, or its draws, cannot tell the two apart."""
        if abs(self.difference) < LAW_ERROR * self.supervised.model.cross_entropy:
            return True
        return self.spread is not None and self.spread.low <= 0 <= self.spread.high

    @property
    def disputed(self) -> bool:
        """Whether the second set prefers the other method.

        Its own best distillation speaks against supervised training, its view of this recipe
        against distilling by it.
        """
        if self.opinion is None:
            return False
        theirs = self.opinion.cross_entropy - self.opinion.supervised
        if self.better == "supervised":
            theirs -= self.opinion.regret or 0.0
        return theirs < 0 if self.better == "supervised" else theirs > 0

    def caps(self, problem: Problem) -> tuple[str, ...]:
        """The default bounds that hold either model, such as ``max-student-tokens``."""
        return default_caps((*self.recipe.binding, *self.supervised.binding), problem)


def default_caps(binding: Iterable[str], problem: Problem) -> tuple[str, ...]:
    """Those of the upper bounds reached that nobody asked for."""
    found = []
    for name in dict.fromkeys(binding):
        end, _, quantity = name.partition("-")
        field = quantity.replace("-", "_")
        if end == "max" and any(
            getattr(problem.bounds, field) == getattr(each, field) for each in BOUNDS.values()
        ):
            found.append(name)
    return tuple(found)


def decide(
    problem: Problem,
    optimum: Pair,
    inside: Pair | None,
    scenarios: tuple[ScenarioResult, ...],
    coefficients: CoefficientSet,
) -> Verdict:
    """Distil, train without a teacher, or neither with confidence.

    inside: the best of both methods inside the measured range, where the optimum or the supervised
    model beside it leaves that range and there are such plans. They decide then.
    """
    outside = leaves_domain(optimum.recipe, coefficients) or bool(
        baseline_warnings(optimum.supervised, coefficients)
    )
    pair = inside or optimum
    unmeasured = outside and (inside is None or inside.better != optimum.better)
    held = pair.caps(problem)
    reasons: dict[Reason, bool] = {
        "within-error": pair.within_error,
        "outside-domain": outside,
        "coefficients-disagree": pair.disputed,
        "held-by-a-cap": bool(held or optimum.caps(problem)),
    }
    method: Method = pair.better
    if pair.within_error or pair.disputed or unmeasured or held:
        method = "undecided"
    return Verdict(
        method,
        _headline(method, pair, problem, coefficients, outside, unmeasured, optimum),
        " ".join(
            line
            for line in (
                _both(pair, method != "undecided" and outside),
                _where_it_would_pay(problem, scenarios, coefficients),
            )
            if line
        ),
        tuple(reason for reason, holds in reasons.items() if holds),
    )


def _headline(
    method: Method,
    pair: Pair,
    problem: Problem,
    coefficients: CoefficientSet,
    outside: bool,
    unmeasured: bool,
    optimum: Pair,
) -> str:
    if method != "undecided":
        text = HEADLINES[method]
        text = f"Inside the measured range: {text[0].lower()}{text[1:]}" if outside else text
    elif unmeasured:
        text = f"Not measured here: {_extrapolation(optimum, coefficients)}"
    elif pair.disputed:
        text = "The two fits disagree"
    elif pair.within_error:
        text = HEADLINES[method]
    else:
        text = f"Held by a cap: {_caps(pair.caps(problem), problem)}"
    chosen = pair.recipe if pair.better == "distil" else pair.supervised
    unspent = 1 - chosen.flops.total / problem.budget
    if unspent > NOTEWORTHY:
        text += f" ({units.format_share(unspent)} of the budget unspent)"
    return text


NOTEWORTHY = 0.01
"""Share of the budget from which on unspent compute belongs in the headline."""


def _extrapolation(optimum: Pair, coefficients: CoefficientSet) -> str:
    """The quantity that leaves its range by the largest factor."""
    far = [
        *domain_warnings(optimum.recipe, coefficients),
        *baseline_warnings(optimum.supervised, coefficients),
    ]
    worst = max(far, key=_factor)
    who = "the supervised model" if worst.scope == "baseline" else "the optimum"
    what = worst.quantity.removeprefix("supervised_").replace("_", " ")
    if _factor(worst) < 1.1:
        return f"{who} leaves the range of {what}"
    return f"{who} extrapolates {units.format_ratio(_factor(worst))}× in {what}"


def _factor(warning: Warning) -> float:
    assert warning.value is not None and warning.range is not None
    return max(warning.range[0] / warning.value, warning.value / warning.range[1])


def _caps(names: tuple[str, ...], problem: Problem) -> str:
    """``student tokens at --max-student-tokens 20T``."""
    parts = []
    for name in names:
        high = getattr(problem.bounds, name.partition("-")[2].replace("-", "_"))[1]
        parts.append(f"--{name} {units.format_count(high)}")
    return ", ".join(parts)


def _both(pair: Pair, inside: bool) -> str:
    """What either method reaches, on how many tokens, in one sentence."""
    student, alone = pair.recipe.student, pair.supervised.model
    differ = alone.parameters != student.parameters
    size, other = (
        f"a {units.format_count(each.parameters)} model " if differ else ""
        for each in (alone, student)
    )
    difference = units.format_signed(pair.difference)
    if pair.disputed and pair.opinion is not None:
        theirs = pair.opinion.cross_entropy - pair.opinion.supervised
        difference += f", {units.format_signed(theirs)} under {pair.opinion.source}"
    return (
        f"{'There, supervised' if inside else 'Supervised'} training of "
        f"{size}on {units.format_count(alone.tokens)} tokens reaches "
        f"{units.format_loss(alone.cross_entropy)} nats; distilling {other}on "
        f"{units.format_count(student.tokens)} tokens from {teacher_words(pair.recipe)} reaches "
        f"{units.format_loss(student.cross_entropy)} ({difference})."
    ).replace("training of on", "training on")


def teacher_words(recipe: Recipe) -> str:
    """The teacher of a recipe in a few words."""
    teacher = recipe.teacher
    size = "" if teacher.parameters is None else f"{units.format_count(teacher.parameters)} "
    name = teacher.name or f"a {size}teacher"
    if teacher.tokens is None:
        return f"{name} of loss {units.format_loss(teacher.cross_entropy)}"
    return f"{name} on {units.format_count(teacher.tokens)} tokens"


def _where_it_would_pay(
    problem: Problem, scenarios: tuple[ScenarioResult, ...], coefficients: CoefficientSet
) -> str:
    """The scenario that takes least off the budget and makes distilling better, if there is one."""
    chosen = next(each for each in scenarios if each.chosen)
    better = [
        each
        for each in scenarios
        if each.difference is not None
        and each.difference < 0
        and each.name in ("teacher-inference", "best-case", "teacher-pretraining")
        and each.charge_inference <= problem.charge_inference
        and each.charge_pretraining <= problem.charge_pretraining
    ]
    if not better or chosen.difference is None or chosen.difference < 0:
        return ""
    least_help = max(better, key=lambda each: each.charge_inference + each.charge_pretraining)
    assert least_help.difference is not None
    assert least_help.recipe is not None
    teacher = teacher_words(least_help.recipe)
    condition = {
        "teacher-inference": f"{teacher} already existed",
        "best-case": f"{teacher} already existed, its logits stored",
        "teacher-pretraining": "the teacher's logits cost nothing",
    }[least_help.name]
    theirs = least_help.recipe.student.cross_entropy - least_help.difference
    doubts = []
    if leaves_domain(least_help.recipe, coefficients):
        doubts.append("outside the measured range")
    if -least_help.difference < LAW_ERROR * theirs:
        doubts.append("within the law's error")
    tail = f", {' and '.join(doubts)}" if doubts else ""
    return f"If {condition}, distilling would be {-least_help.difference:.4f} better{tail}."


MISFIT = 0.05
"""Mean error on its own runs above which a law does not describe them."""
FEW_GROUPS = 10
"""Groups of runs below which a bootstrap by group is too narrow."""
RUNS_PER_COEFFICIENT = 2.0
"""Runs per fitted coefficient below which intervals are too narrow: in simulated studies of 12 runs
for 9 coefficients three in four predictions lay in their 90% intervals, of 24 runs nine in ten."""
_CONVERGED = 0.9


def fit_warnings(coefficients: CoefficientSet) -> tuple[Warning, ...]:
    """Warnings from what `planner fit` found of its own fit; none for a published set."""
    return tuple(Warning(code, text, scope="coefficients") for code, text in _of_fit(coefficients))


def _of_fit(coefficients: CoefficientSet) -> Iterator[tuple[str, str]]:
    quality, name = coefficients.quality, coefficients.name
    if quality.converged is False:
        yield (
            "fit-not-converged",
            f"the fit that made the coefficient set '{name}' did not converge; its "
            "predictions and intervals are those of wherever it stopped.",
        )
    error = quality.mean_absolute_relative_error
    if error is not None and error > MISFIT:
        yield (
            "fit-misfit",
            f"the law of the coefficient set '{name}' misses its own runs by {error:.1%} on "
            "average; check their units and columns, and do not plan with it.",
        )
    if quality.undetermined:
        yield (
            "fit-undetermined",
            f"the runs behind the coefficient set '{name}' determine no combination of "
            f"{'; nor of '.join(quality.undetermined)}: away from those runs its predictions are "
            "guesses.",
        )
    groups = quality.resample_groups
    if groups is not None and groups < FEW_GROUPS:
        yield (
            "fit-few-groups",
            f"the draws of the coefficient set '{name}' resample only {groups} groups of runs (by "
            f"{quality.resampled_by}): its intervals are too narrow.",
        )
    runs, fitted = quality.runs, quality.coefficients_fitted
    if runs is not None and fitted is not None and runs < RUNS_PER_COEFFICIENT * fitted:
        yield (
            "fit-few-runs",
            f"the coefficient set '{name}' fits {fitted} coefficients to {runs} runs: its "
            "intervals are too narrow.",
        )
    settled = quality.resamples_converged
    if settled is not None and settled < _CONVERGED:
        yield (
            "fit-resamples",
            f"only {settled:.0%} of the resamples behind the coefficient set '{name}' converged; "
            "its intervals are rough.",
        )
