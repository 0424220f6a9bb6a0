"""One question, one answer: `solve(problem) -> Plan`. Law, optimiser and verdict meet here.

The chosen charges, the other scenarios and the plan inside the domain of validity go through the
optimiser as rows of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from coefficients import CoefficientSet
from planner import verdict
from planner.documents import derived, unwritten
from planner.errors import InfeasibleError, PlannerError
from planner.needs import PlanResources, Setup, needs
from planner.optima import (
    Optimum,
    best_supervised,
    infeasible,
    optima,
    outside_reason,
    rounded,
)
from planner.problem import Problem, shared_set
from planner.questions.base import Answer
from planner.questions.near_optimal.answer import NearOptimal, around
from planner.repeated import repetition_warnings
from planner.results import (
    Baseline,
    Certificate,
    Coefficients,
    Considered,
    InDomain,
    Law,
    NamedRecipe,
    Pull,
    Recipe,
    Recommendation,
    Robust,
    ScenarioResult,
    SecondOpinion,
    Uncertainty,
    Verdict,
    Warning,
)
from planner.robust import robust_plan
from planner.rows import require_distillation
from planner.scenarios import SCENARIOS
from planner.second_opinion import other_set, second_opinion
from planner.sensitivity import pulls
from planner.uncertainty import assess
from planner.verdict import Pair


@dataclass(frozen=True, repr=False)
class Plan(Answer):
    """The whole answer to one Problem.

    recipe, supervised: the optimum and the supervised model beside it. in_domain: the best of both
    inside the measured range, where the optimum or the supervised model leaves it. uncertainty: of
    the two that decide (`decisive`). considered: every existing teacher and the student's
    cross-entropy under it, best first. near_optimal: the recipes almost as good, where they were
    asked for. resources: hours, energy, money, memory and storage, where an accelerator is
    named.
    """

    KIND: ClassVar[str] = "plan"

    verdict: Verdict
    recipe: Recipe
    certificate: Certificate
    supervised: Baseline
    scenarios: tuple[ScenarioResult, ...]
    warnings: tuple[Warning, ...]
    problem: Problem
    coefficients: Coefficients
    in_domain: InDomain | None = None
    considered: tuple[Considered, ...] = ()
    uncertainty: Uncertainty | None = None
    second_opinion: SecondOpinion | None = None
    robust: Robust | None = None
    sensitivity: tuple[Pull, ...] = ()
    near_optimal: NearOptimal | None = None
    resources: PlanResources | None = None
    law: Law = unwritten()

    @derived
    def scenario(self) -> str:
        """The name of the scenario that was asked for."""
        return self.problem.scenario

    @property
    def decisive(self) -> Pair:
        """The distillation and the supervised model that decide: inside the measured range where
        the optimum leaves it and there are such plans."""
        inside = self.in_domain
        if inside is not None and inside.recipe is not None and inside.supervised is not None:
            return Pair(inside.recipe, inside.supervised, inside.second_opinion)
        return Pair(self.recipe, self.supervised, self.second_opinion)

    @derived
    def recommendation(self) -> Recommendation:
        """The recipe to take: that of the verdict's method. Where it is undecided, distilling only
        if it is predicted better inside the measured range and the second set agrees."""
        pair, method = self.decisive, self.verdict.method
        if method == "undecided":
            measured = self.in_domain is None or pair.recipe is not self.recipe
            method = pair.better if measured and not pair.disputed else "supervised"
        if method == "distil":
            taken = pair.recipe
            return Recommendation("distil", taken.student, taken.teacher, taken.flops)
        return Recommendation("supervised", pair.supervised.model, None, pair.supervised.flops)

    @property
    def cross_entropy(self) -> float:
        """The student's predicted cross-entropy, nats per token."""
        return self.recipe.student.cross_entropy


ANSWER = Plan


def solve(
    problem: Problem,
    coefficients: CoefficientSet | None = None,
    *,
    robust: str | None = None,
    sensitivity: bool = False,
    near_optimal: float | None = None,
) -> Plan:
    """The best recipe under the law with its proof, the supervised baseline and the verdict.

    `coefficients` overrides the set that the problem names. robust: also the recipe with the best
    "expected" or "worst" loss over the set's draws. sensitivity: also what each coefficient does to
    the plan. near_optimal: also all recipes within this share of the best loss. Raises
    InfeasibleError (carrying the smallest feasible budget), UnreachableError,
    NoDistillationLawError or CoefficientError.
    """
    chosen = problem.coefficient_set(coefficients)
    [found] = _plans([problem], chosen, robust=robust, sensitivity=sensitivity)
    if isinstance(found, PlannerError):
        raise found
    if near_optimal is None:
        return found
    return replace(found, near_optimal=around(found.problem, near_optimal, chosen))


def with_resources(plan: Plan, setup: Setup | None) -> Plan:
    """The plan with what it takes on these devices; as it is without a setup."""
    if setup is None:
        return plan
    pair = plan.decisive
    found = needs(pair.recipe, pair.supervised, plan.law, setup)
    if pair.recipe is not plan.recipe:
        found = replace(found, inside_domain=True)
    return replace(plan, resources=found)


def with_unique_tokens(plan: Plan, unique: float | None) -> Plan:
    """The plan with warnings of repeated data, where it reads more tokens than there are."""
    if unique is None:
        return plan
    pair = plan.decisive
    more = repetition_warnings(pair.recipe, pair.supervised, unique)
    return replace(plan, warnings=(*plan.warnings, *more))


def solve_each(
    problems: Sequence[Problem], coefficients: CoefficientSet | None = None
) -> list[Plan | PlannerError]:
    """`solve` of many problems under one coefficient set, by default the one they all name.

    Their optima come from one batch, which costs a fraction of solving them one by one. A problem
    without a plan has its error in the plan's place.
    """
    return _plans(problems, shared_set(problems, coefficients)) if problems else []


def _plans(
    problems: Sequence[Problem],
    chosen: CoefficientSet,
    robust: str | None = None,
    sensitivity: bool = False,
) -> list[Plan | PlannerError]:
    require_distillation(chosen)
    # what is known of a problem before the batch, and what the batch is asked for it
    groups: list[tuple[Optimum | PlannerError | None, list[Problem]]] = []
    for problem in problems:
        if problem.round_to_architecture:
            groups.append(_buildable(problem, chosen))
        else:
            groups.append((None, [problem, *_around(problem)]))
    asked = [each for _, group in groups for each in group]
    found = iter(optima(asked, chosen) if asked else [])
    solved: list[tuple[Optimum | PlannerError, list[Optimum]]] = []
    for main, group in groups:
        if isinstance(main, PlannerError):
            solved.append((main, []))
        else:
            solved.append((main if main is not None else next(found), []))
            solved[-1][1].extend(next(found) for _ in group[main is None :])
    feasible = [main for main, _ in solved if isinstance(main, Optimum) and main.recipe is not None]
    second = _second_optima(feasible, chosen)
    plans: list[Plan | PlannerError] = []
    for main, others in solved:
        try:
            if isinstance(main, PlannerError):
                raise main
            main.require(chosen)
            plans.append(_assemble(main, others, next(second), chosen, robust, sensitivity))
        except PlannerError as error:
            plans.append(error)
    return plans


def _around(problem: Problem) -> list[Problem]:
    """The other scenarios, and the problem inside the domain of validity."""
    return [*_others(problem), replace(problem, stay_in_domain=True)]


def _buildable(
    problem: Problem, coefficients: CoefficientSet
) -> tuple[Optimum | PlannerError, list[Problem]]:
    try:
        main = Optimum(*rounded(problem, coefficients), 0.0)
    except PlannerError as error:
        return error, []
    return main, _around(main.problem)


def _second_optima(found: list[Optimum], coefficients: CoefficientSet) -> Iterator[Recipe | None]:
    """What the set's second opinion would do in each problem's place."""
    other = other_set(coefficients)
    if other is None or not found:
        return iter([None] * len(found))
    return iter([each.recipe for each in optima([each.problem for each in found], other)])


def _assemble(
    main: Optimum,
    beside: list[Optimum],
    own: Recipe | None,
    chosen: CoefficientSet,
    robust: str | None,
    sensitivity: bool,
) -> Plan:
    problem = main.problem
    recipe, certificate = main.require(chosen)
    *others, in_domain = beside
    baseline = best_supervised(problem, chosen)
    scenarios = _scenarios(main, others, baseline, chosen)
    outside = verdict.leaves_domain(recipe, chosen) or verdict.baseline_warnings(baseline, chosen)
    inside = _in_domain(in_domain, chosen) if outside else None
    opinion = second_opinion(recipe, baseline, own, chosen)
    optimum, measured = Pair(recipe, baseline, opinion), None
    if inside is not None and inside.recipe is not None and inside.supervised is not None:
        measured = Pair(inside.recipe, inside.supervised, inside.second_opinion)
    judged = measured or optimum
    spread = assess(in_domain.problem if measured else problem, judged.recipe, chosen)
    if spread is not None:
        judged = replace(judged, spread=spread.difference)
    optimum, measured = (optimum, judged) if measured else (judged, None)
    return Plan(
        problem=problem,
        recipe=recipe,
        certificate=certificate,
        supervised=baseline,
        scenarios=scenarios,
        verdict=verdict.decide(problem, optimum, measured, scenarios, chosen),
        warnings=verdict.warnings_of(recipe, baseline, opinion, chosen),
        coefficients=Coefficients.of(chosen),
        in_domain=inside,
        considered=_considered(problem, chosen),
        uncertainty=spread,
        second_opinion=opinion,
        robust=_robust(problem, recipe, inside, opinion, chosen, robust) if robust else None,
        sensitivity=pulls(problem, chosen) if sensitivity else (),
        law=chosen,
    )


def _others(problem: Problem) -> list[Problem]:
    """The scenarios beside the problem's own charges."""
    charges = [pair for pair in problem.comparable_charges() if pair != problem.own_charges]
    return [problem.with_charges(*pair) for pair in charges]


def _scenarios(
    main: Optimum, others: list[Optimum], baseline: Baseline, coefficients: CoefficientSet
) -> tuple[ScenarioResult, ...]:
    """Every scenario beside the supervised loss, in the registry's order, custom charges last."""
    order = list(SCENARIOS)
    results = [
        ScenarioResult(
            answer.problem.scenario,
            answer is main,
            answer.problem.charge_inference,
            answer.problem.charge_pretraining,
            answer.recipe,
            answer.certificate,
            None
            if answer.recipe is None
            else answer.recipe.student.cross_entropy - baseline.model.cross_entropy,
            answer.recipe is not None and verdict.leaves_domain(answer.recipe, coefficients),
        )
        for answer in (main, *others)
    ]
    return tuple(
        sorted(results, key=lambda each: order.index(each.name) if each.name in order else 99)
    )


def _in_domain(answer: Optimum, coefficients: CoefficientSet) -> InDomain:
    if answer.recipe is not None:
        try:
            alone = best_supervised(answer.problem, coefficients)
        except InfeasibleError as error:
            return InDomain(answer.recipe, answer.certificate, str(error))
        opinion = second_opinion(answer.recipe, alone, None, coefficients)
        return InDomain(answer.recipe, answer.certificate, "", alone, opinion)
    reason = outside_reason(answer.problem, coefficients)
    return InDomain(
        None, None, reason or str(infeasible(answer.problem, answer.smallest_budget, coefficients))
    )


def _robust(
    problem: Problem,
    recipe: Recipe,
    inside: InDomain | None,
    opinion: SecondOpinion | None,
    coefficients: CoefficientSet,
    criterion: str,
) -> Robust:
    """Robust over the set's own draws, or over those of its second opinion where it has none."""
    other = other_set(coefficients)
    sets = [coefficients, *([other] if other else [])]
    drawn = next((each for each in sets if each.draws_path is not None), coefficients)
    others = [NamedRecipe(coefficients.name, recipe)]
    if opinion and opinion.optimum:
        others.append(NamedRecipe(opinion.source, opinion.optimum))
    if inside and inside.recipe:
        others.append(NamedRecipe("inside the domain", inside.recipe))
    return robust_plan(problem, others, drawn, criterion, sets)


def _considered(problem: Problem, coefficients: CoefficientSet) -> tuple[Considered, ...]:
    """The student's loss under each existing teacher, best first."""
    if len(problem.teachers) < 2:
        return ()
    one_each = [replace(problem, teachers=(teacher,)) for teacher in problem.teachers]
    losses = [
        Considered(str(answer.problem.teachers[0]), answer.recipe.student.cross_entropy)
        for answer in optima(one_each, coefficients)
        if answer.recipe is not None
    ]
    return tuple(sorted(losses, key=lambda each: each.cross_entropy))
