"""One question, one answer: `solve(problem) -> Plan`. Law, optimiser and judgement meet here.

The chosen charges, the other scenarios and the plan inside the domain of validity go through the
optimiser as rows of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from coefficients import CoefficientSet, load
from planner import verdict
from planner.errors import PlannerError
from planner.optimise.supervised import supervised_optima
from planner.optimum import Answer, answers, infeasible, outside_reason, rounded
from planner.plan import (
    Baseline,
    Certificate,
    Coefficients,
    InDomain,
    Plan,
    Recipe,
    Robust,
    ScenarioResult,
    SecondOpinion,
)
from planner.problem import Problem
from planner.recipe import baseline_of
from planner.robust import robust_plan
from planner.rows import require_distillation, supervised_batch
from planner.scenarios import SCENARIOS
from planner.second_opinion import opinion_warning, second_opinion
from planner.sensitivity import pulls
from planner.uncertainty import assess


def solve(
    problem: Problem,
    coefficients: CoefficientSet | None = None,
    *,
    robust: str | None = None,
    sensitivity: bool = False,
) -> Plan:
    """The best recipe under the law with its proof, the supervised baseline and the verdict.

    `coefficients` overrides the set that the problem names. robust: also the recipe with the best
    "expected" or "worst" loss over the set's draws. sensitivity: also what each coefficient does to
    the plan. Raises InfeasibleError (carrying the
    smallest feasible budget), UnreachableError, NoDistillationLawError or CoefficientError.
    """
    chosen = _coefficients(problem, coefficients)
    [found] = _plans([problem], chosen, robust=robust, sensitivity=sensitivity)
    if isinstance(found, PlannerError):
        raise found
    return found


def solve_each(
    problems: Sequence[Problem], coefficients: CoefficientSet | None = None
) -> list[Plan | PlannerError]:
    """`solve` of many problems under one coefficient set (the first problem's by default).

    Their optima come from one batch, which costs a fraction of solving them one by one. A problem
    without a plan has its error in the plan's place.
    """
    return _plans(problems, _coefficients(problems[0], coefficients)) if problems else []


def _plans(
    problems: Sequence[Problem],
    chosen: CoefficientSet,
    robust: str | None = None,
    sensitivity: bool = False,
) -> list[Plan | PlannerError]:
    require_distillation(chosen)
    # what is known of a problem before the batch, and what the batch is asked for it
    groups: list[tuple[Answer | PlannerError | None, list[Problem]]] = []
    for problem in problems:
        if problem.round_to_architecture:
            groups.append(_buildable(problem, chosen))
        else:
            groups.append((None, [problem, *_around(problem)]))
    asked = [each for _, group in groups for each in group]
    found = iter(answers(asked, chosen) if asked else [])
    optima: list[tuple[Answer | PlannerError, list[Answer]]] = []
    for main, group in groups:
        if isinstance(main, PlannerError):
            optima.append((main, []))
        else:
            optima.append((main if main is not None else next(found), []))
            optima[-1][1].extend(next(found) for _ in group[main is None :])
    solved = [main for main, _ in optima if isinstance(main, Answer) and main.recipe is not None]
    second = _second_optima(solved, chosen)
    plans: list[Plan | PlannerError] = []
    for main, around in optima:
        try:
            if isinstance(main, PlannerError):
                raise main
            main.require(chosen)
            plans.append(_assemble(main, around, next(second), chosen, robust, sensitivity))
        except PlannerError as error:
            plans.append(error)
    return plans


def _around(problem: Problem) -> list[Problem]:
    """The other scenarios, and the problem inside the domain of validity."""
    return [*_others(problem), replace(problem, stay_in_domain=True)]


def _buildable(
    problem: Problem, coefficients: CoefficientSet
) -> tuple[Answer | PlannerError, list[Problem]]:
    try:
        main = Answer(*rounded(problem, coefficients), 0.0)
    except PlannerError as error:
        return error, []
    return main, _around(main.problem)


def _second_optima(optima: list[Answer], coefficients: CoefficientSet) -> Iterator[Recipe | None]:
    """What the set's second opinion would do in each problem's place."""
    if coefficients.second_opinion is None or not optima:
        return iter([None] * len(optima))
    other = load(coefficients.second_opinion)
    return iter([each.recipe for each in answers([each.problem for each in optima], other)])


def _assemble(
    main: Answer,
    around: list[Answer],
    own: Recipe | None,
    chosen: CoefficientSet,
    robust: str | None,
    sensitivity: bool,
) -> Plan:
    problem = main.problem
    recipe, certificate = main.require(chosen)
    *others, in_domain = around
    baseline = _baseline(problem, chosen)
    scenarios = _scenarios(main, others, baseline, chosen)
    warnings = verdict.domain_warnings(recipe, chosen)
    outside = verdict.leaves_domain(recipe, chosen)
    inside = _in_domain(in_domain, chosen) if outside else None
    opinion = second_opinion(recipe, baseline, own, chosen)
    return Plan(
        problem=problem,
        recipe=recipe,
        certificate=certificate,
        supervised=baseline,
        scenarios=scenarios,
        verdict=verdict.decide(problem, recipe, baseline, scenarios, chosen),
        warnings=(
            *verdict.fit_warnings(chosen),
            *warnings,
            *opinion_warning(opinion, recipe.student.cross_entropy, chosen.name),
            *verdict.teacher_warnings(recipe, chosen),
            *verdict.baseline_warnings(baseline, chosen),
        ),
        coefficients=_provenance(chosen),
        in_domain=inside,
        considered=_considered(problem, chosen),
        uncertainty=assess(problem, recipe, chosen),
        second_opinion=opinion,
        robust=_robust(problem, recipe, inside, opinion, chosen, robust) if robust else None,
        sensitivity=pulls(problem, chosen) if sensitivity else (),
    )


def optimum(
    problem: Problem, coefficients: CoefficientSet | None = None
) -> tuple[Recipe, Certificate]:
    """Only the best recipe and its certificate; raises as `solve` does."""
    chosen = _coefficients(problem, coefficients)
    return answers([problem], chosen)[0].require(chosen)


def supervised(problem: Problem, coefficients: CoefficientSet | None = None) -> Baseline:
    """The best supervised model for the problem's budget, size and bounds."""
    return _baseline(problem, _coefficients(problem, coefficients))


def _coefficients(problem: Problem, given: CoefficientSet | None) -> CoefficientSet:
    return given if given is not None else load(problem.coefficients)


def _others(problem: Problem) -> list[Problem]:
    """The scenarios beside the problem's own charges."""
    charges = [scenario.charges for scenario in SCENARIOS.values()]
    if problem.teachers:  # they exist: only their inference can be charged or not
        sized = all(teacher.size is not None for teacher in problem.teachers)
        charges = [(i, p) for i, p in charges if p == 0 and (sized or i == 0)]
        charges = [(i, p) for i, p in charges if i != problem.charge_inference]
    return [
        problem.with_charges(*pair)
        for pair in charges
        if pair != (problem.charge_inference, problem.charge_pretraining)
    ]


def _baseline(problem: Problem, coefficients: CoefficientSet) -> Baseline:
    best = supervised_optima(supervised_batch(problem, coefficients))
    if not np.isfinite(best.loss[0]):
        raise infeasible(problem, best.smallest_budget(), coefficients)
    return baseline_of(float(best.u[0]), float(best.s[0]), problem, coefficients)


def _scenarios(
    main: Answer, others: list[Answer], baseline: Baseline, coefficients: CoefficientSet
) -> tuple[ScenarioResult, ...]:
    """Every scenario beside the supervised loss, in the registry's order, custom charges last."""
    order = list(SCENARIOS)
    results = [
        ScenarioResult(
            answer.problem.scenario,
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


def _in_domain(answer: Answer, coefficients: CoefficientSet) -> InDomain:
    if answer.recipe is not None:
        return InDomain(answer.recipe, answer.certificate)
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
    other = load(coefficients.second_opinion) if coefficients.second_opinion else None
    sets = [coefficients, *([other] if other else [])]
    drawn = next((each for each in sets if each.draws_path is not None), coefficients)
    others = [(coefficients.name, recipe)]
    if opinion and opinion.optimum:
        others.append((opinion.source, opinion.optimum))
    if inside and inside.recipe:
        others.append(("inside the domain", inside.recipe))
    return robust_plan(problem, others, drawn, criterion, sets)


def _considered(problem: Problem, coefficients: CoefficientSet) -> tuple[tuple[str, float], ...]:
    """The student's loss under each existing teacher, best first."""
    if len(problem.teachers) < 2:
        return ()
    one_each = [replace(problem, teachers=(teacher,)) for teacher in problem.teachers]
    losses = [
        (str(answer.problem.teachers[0]), answer.recipe.student.cross_entropy)
        for answer in answers(one_each, coefficients)
        if answer.recipe is not None
    ]
    return tuple(sorted(losses, key=lambda pair: pair[1]))


def _provenance(coefficients: CoefficientSet) -> Coefficients:
    source = coefficients.source
    parts = [part for part in (source.citation, source.location) if part]
    return Coefficients(coefficients.name, ", ".join(parts), coefficients.flops.convention)
