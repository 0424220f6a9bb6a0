"""Warnings and the verdict: where a plan leaves what was measured, what the fit behind it reports
against itself, and whether to distil or to train directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coefficients import CoefficientSet, Domain, Range
from laws._types import Real
from planner import units
from planner.models import vocabulary_warnings
from planner.problem import Problem
from planner.recipe import quantities
from planner.results import Baseline, Recipe, ScenarioResult, SecondOpinion, Verdict, Warning
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
        times = f", by a factor of {units.format_ratio(factor)}" if factor >= 1.1 else ""
        found.append(
            Warning(
                "outside-domain",
                f"{label} ({show(value)}) is {side} the measured range "
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
    values = {"student_parameters": model.parameters, "student_tokens": model.tokens}
    found = []
    for name in _left(domain, values):
        kind, value, measured = name.partition("_")[2], values[name], _range(domain, name)
        assert value is not None
        found.append(
            Warning(
                "baseline-outside-domain",
                f"the supervised baseline's {kind} ({units.format_count(value)}) are outside "
                f"the measured range {units.format_count(measured[0])} to "
                f"{units.format_count(measured[1])}.",
                f"supervised_{kind}",
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


def decide(
    problem: Problem,
    recipe: Recipe,
    baseline: Baseline,
    scenarios: tuple[ScenarioResult, ...],
    coefficients: CoefficientSet,
) -> Verdict:
    """Distil or train directly, in one sentence that holds the caveats that change the bet."""
    ours, theirs = recipe.student.cross_entropy, baseline.model.cross_entropy
    difference = ours - theirs
    extrapolates = leaves_domain(recipe, coefficients)
    small = abs(difference) < LAW_ERROR * theirs
    caveats = []
    if small:
        caveats.append(f"the difference is within the law's own error of about {LAW_ERROR:.0%}")
    if extrapolates:
        caveats.append("the plan lies outside the range where the law was measured")
    tail = f"; but {' and '.join(caveats)}" if caveats else ""
    size = units.format_count(baseline.model.parameters)
    tokens = units.format_count(baseline.model.tokens)
    if abs(difference) <= max(problem.tolerance, 1e-5):
        return Verdict(
            "either",
            f"Either: distilling and training directly both reach {units.format_loss(ours)} nats "
            f"per token at {units.format_flops(problem.budget)} FLOPs{tail}.",
        )
    if difference > 0:
        text = (
            f"Train it directly: {size} parameters on {tokens} tokens reach "
            f"{units.format_loss(theirs)} nats per token; the best distillation at the same budget "
            f"reaches {units.format_loss(ours)} ({difference:+.4f}){tail}."
        )
        return Verdict("supervised", text + _where_it_would_pay(problem, scenarios, coefficients))
    teacher = recipe.teacher
    if teacher.existing:
        how = f"from the existing teacher ({teacher_words(recipe)})"
    else:
        how = (
            f"from a {units.format_count(teacher.parameters)} teacher trained on "
            f"{units.format_count(teacher.tokens)} tokens"
        )
    return Verdict(
        "distil",
        f"Distil: {how}, the {units.format_count(recipe.student.parameters)} student "
        f"reaches {units.format_loss(ours)} nats per token on "
        f"{units.format_count(recipe.student.tokens)} tokens; training directly at the "
        f"same budget reaches {units.format_loss(theirs)} ({-difference:+.4f}){tail}.",
    )


def teacher_words(recipe: Recipe) -> str:
    """The teacher of a recipe in a few words."""
    teacher = recipe.teacher
    parts = [teacher.name] if teacher.name else []
    if teacher.parameters is not None:
        parts.append(f"{units.format_count(teacher.parameters)} parameters")
    parts.append(f"cross-entropy {units.format_loss(teacher.cross_entropy)}")
    return ", ".join(parts)


def _where_it_would_pay(
    problem: Problem, scenarios: tuple[ScenarioResult, ...], coefficients: CoefficientSet
) -> str:
    better = [
        each
        for each in scenarios
        if each.difference is not None
        and each.difference < 0
        and each.name in ("teacher-inference", "best-case", "teacher-pretraining")
        and each.charge_inference <= problem.charge_inference
        and each.charge_pretraining <= problem.charge_pretraining
    ]
    if not better:
        return ""
    least_help = max(better, key=lambda each: each.charge_inference + each.charge_pretraining)
    words = {
        "teacher-inference": "With a teacher that already exists",
        "best-case": "With a teacher that already exists and stored logits",
        "teacher-pretraining": "With teacher logits that cost nothing",
    }[least_help.name]
    assert least_help.difference is not None
    assert least_help.recipe is not None
    doubt = (
        " (by a plan outside the measured range)"
        if leaves_domain(least_help.recipe, coefficients)
        else ""
    )
    theirs = least_help.recipe.student.cross_entropy - least_help.difference
    if -least_help.difference < LAW_ERROR * theirs:
        return (
            f" {words}, distilling comes out {-least_help.difference:.4f} better{doubt}, which is "
            f"undecided: within the law's own error of about {LAW_ERROR:.0%}."
        )
    return f" {words}, distilling would win by {-least_help.difference:.4f}{doubt}."


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
