"""A plan as a sheet: verdict and warnings first, then recipe, compute, scenarios and confidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from planner import units
from planner.questions.near_optimal.sheet import grids as near_grids
from planner.questions.plan import needs_sheet
from planner.questions.plan.answer import Plan
from planner.reports import words
from planner.reports.sheet import Bar, Deviation, Grid, Sheet, tidy
from planner.reports.trust import count_range, loss_range, on_recipe, probability
from planner.results import (
    ALONE,
    WITH_OTHERS,
    AnyModel,
    Flops,
    InDomain,
    Interval,
    Pull,
    Robust,
    ScenarioResult,
    SecondOpinion,
    Uncertainty,
)
from planner.scenarios import SCENARIOS
from planner.verdict import LAW_ERROR

_REOPTIMISED = (
    ("student_parameters", "student"),
    ("student_tokens", "student tokens"),
    ("teacher_parameters", "teacher"),
    ("teacher_tokens", "teacher tokens"),
)
PULLS_SHOWN = 5


def sheet(plan: Plan) -> Sheet:
    """The whole plan; its brief is the decision, the recipe, the scenarios and how sure it is."""
    urgent = []
    if plan.in_domain is not None and plan.in_domain.supervised is None:
        urgent.append(in_domain(plan.in_domain, plan))
    if not plan.certificate.proven:
        urgent.append(words.certificate(plan.certificate))
    summary = scenario_summary(plan)
    near = () if plan.near_optimal is None else near_grids(plan.near_optimal)
    return Sheet(
        kind="plan",
        title=title(plan),
        subtitle=f"{scenario(plan)}: {summary}" if summary else "",
        headline=plan.verdict.headline,
        verdict=plan.verdict.text,
        method=plan.verdict.method,
        warnings=plan.warnings,
        urgent=tuple(urgent),
        alarming=bool(urgent) or any(each.alarm for each in plan.warnings),
        grids=(
            _recipe(plan),
            _models(plan),
            _compute(plan),
            _scenarios(plan),
            *_needs(plan),
            *_trust(plan),
            *near,
        ),
        notes=(how_sure(plan),),
        details=tuple(_details(plan)),
        rows=tuple(_rows(plan)),
    )


def _recipe(plan: Plan) -> Grid:
    """The recommended recipe first, the alternative below it, with what each model costs."""
    pair = plan.decisive
    flops, alone = pair.recipe.flops, pair.supervised
    student = flops.student_training + flops.serving
    teacher = flops.teacher_inference + flops.teacher_pretraining
    names = model_names(plan)
    distilled = [
        ("Student", pair.recipe.student, units.format_flops(student)),
        (names[1], pair.recipe.teacher, units.format_flops(teacher) if teacher else "not charged"),
    ]
    supervised = [("Supervised", alone.model, units.format_flops(alone.flops.total))]
    groups: list[list[tuple[str, AnyModel, str]]] = [[*distilled], [*supervised]]
    if plan.recommendation.method == "supervised":
        groups.reverse()
    rows = []
    for position, group in enumerate(groups):
        for name, model, cost in group:
            mark = "▸ " if position == 0 else "  "
            rows.append((mark + name, *_cells(model), cost))
    head = ("  Recipe", "Parameters", "Tokens", "Per parameter", "Loss", "FLOPs")
    return Grid("", head, tuple(rows), tuple(range(len(groups[0]))))


def _cells(model: AnyModel) -> tuple[str, ...]:
    return (
        words.count(model.parameters),
        words.count(model.tokens),
        words.ratio(model.tokens_per_parameter),
        units.format_loss(model.cross_entropy),
    )


def _models(plan: Plan) -> Grid:
    rows = [(label, *cells) for label, cells in words.model_rows(plan.decisive.models)]
    strong = tuple(i for i, row in enumerate(rows) if row[0].startswith("Cross"))
    head = ("Models", *model_names(plan))
    return Grid("", head, tuple(rows), strong, wraps=True, detail=True)


def _compute(plan: Plan) -> Grid:
    flops = plan.recommendation.flops
    rows: list[tuple[str | Bar, ...]] = [
        (label, value, units.format_share(share), Bar(share))
        for label, value, share in words.flops_rows(flops)
        if share > 0
    ]
    total = len(rows)
    spent = units.format_share(flops.total / plan.problem.budget)
    rows.append(("Total", units.format_flops(flops.total), spent, "of the budget"))
    if flops.uncharged:
        rows.append(("Uncharged teacher cost", units.format_flops(flops.uncharged), "", ""))
    head = ("Compute", "FLOPs", "Share", "")
    return Grid("", head, tuple(rows), (total,), left=(3,), beside=True, detail=True)


def _scenarios(plan: Plan) -> Grid:
    largest = max((abs(each.difference) for each in plan.scenarios if each.difference), default=0.0)
    rows = []
    for each in plan.scenarios:
        recipe = each.recipe
        mark = "▸ " if each.chosen else "  "
        rows.append(
            (
                mark + each.name + words.OUTSIDE * each.outside_domain,
                words.on_tokens(recipe.student) if recipe else "none feasible",
                words.on_tokens(recipe.teacher) if recipe else words.NOTHING,
                units.format_loss(recipe.student.cross_entropy) if recipe else words.NOTHING,
                Deviation(words.signed(each.difference), each.difference, largest),
            )
        )
    strong = tuple(i for i, each in enumerate(plan.scenarios) if each.chosen)
    head = ("  Scenario", "Student", "Teacher", "Loss", "vs supervised")
    return Grid("", head, tuple(rows), strong)


def _needs(plan: Plan) -> Iterator[Grid]:
    """Hours, energy, money, memory and logits, where an accelerator was named."""
    if plan.resources is not None:
        yield from needs_sheet.grids(plan.resources)


def _trust(plan: Plan) -> Iterator[Grid]:
    """The risk table and the sensitivities, where they were asked for."""
    if plan.robust is not None:
        yield Grid("", tuple(risk_head(plan.robust)), tuple(map(tuple, risk_rows(plan.robust))))
    if plan.sensitivity:
        yield Grid("", tuple(pull_head()), tuple(map(tuple, pull_rows(plan.sensitivity))))


def how_sure(plan: Plan) -> str:
    """The three scales of error in one sentence, of the difference that decides."""
    pair, spread = plan.decisive, plan.uncertainty
    error = LAW_ERROR * pair.supervised.model.cross_entropy
    text = f"How sure: distilling {words.signed(pair.difference)} nats; the law errs by about "
    text += f"{LAW_ERROR:.0%} (±{error:.4f})"
    if spread is not None:
        low, high = words.signed(spread.difference.low), words.signed(spread.difference.high)
        fixed = f", {' and '.join(spread.fixed)} held fixed" if spread.fixed else ""
        beyond = " and extrapolation" if spread.misfit else ""
        text += f", its coefficients{beyond} give {low} to {high} ({spread.level:.0%}{fixed})"
        if spread.new_run is not None:
            around = 0.5 * (spread.new_run.high - spread.new_run.low)
            text += f", one run varies by ±{around:.4f}"
    return f"{text}."


def _details(plan: Plan) -> list[str]:
    lines = [
        in_domain(plan.in_domain, plan) if plan.in_domain is not None else "",
        outside(plan),
        words.certificate(plan.certificate),
        words.binding(plan.recipe),
        baseline_binding(plan),
        *(f"Note: {note}" for note in plan.recipe.notes),
        words.unknown_cost(plan.recipe.flops),
        *([robust(plan.robust)] if plan.robust else []),
        *([pull_note()] if plan.sensitivity else []),
        *confidence(plan),
        considered(plan),
        *([] if plan.resources is None else needs_sheet.notes(plan.resources)),
        counting(plan),
    ]
    return [line for line in lines if line]


_MODEL = ("parameters", "tokens", "cross_entropy")
_CERTIFICATE = ("lower_bound", "gap", "tolerance", "proven")
_TERMS = (*Flops.TERMS, "total", "uncharged")

COLUMNS = (
    "scenario", "chosen", "feasible", "budget", "charge_inference", "charge_pretraining",
    *(f"student_{key}" for key in _MODEL),
    "teacher_name", "teacher_existing", *(f"teacher_{key}" for key in _MODEL),
    *(f"flops_{term}" for term in _TERMS),
    *_CERTIFICATE,
    *(f"supervised_{key}" for key in _MODEL),
    "difference", "outside_domain", "binding", "warnings", "coefficients",
    "verdict", "reasons", "recommendation",
    *(f"recommended_{who}_{key}" for who in ("student", "teacher") for key in _MODEL),
)  # fmt: skip
"""Columns of CSV."""


def _rows(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """One row per scenario, the chosen one first; lists are joined with spaces.

    `warnings` holds codes: all of the chosen scenario's, and for the others whether their recipes
    leave the measured range and what the set or the baseline they share is warned of.
    """
    for each in sorted(plan.scenarios, key=lambda each: not each.chosen):
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {"scenario": each.name, "budget": plan.problem.budget}
        row |= {"coefficients": plan.coefficients.name}
        row |= _recommended(plan) if each.chosen else {}
        for key in (
            "chosen", "feasible", "difference", "outside_domain", "charge_inference",
            "charge_pretraining",
        ):  # fmt: skip
            row[key] = getattr(each, key)
        row |= {f"supervised_{key}": getattr(plan.supervised.model, key) for key in _MODEL}
        row["warnings"] = " ".join(_codes(each, plan))
        if each.recipe is not None:
            recipe = each.recipe
            for who in ("student", "teacher"):
                row |= {f"{who}_{key}": getattr(getattr(recipe, who), key) for key in _MODEL}
            row |= {f"teacher_{key}": getattr(recipe.teacher, key) for key in ("name", "existing")}
            row |= {f"flops_{term}": getattr(recipe.flops, term) for term in _TERMS}
            row["binding"] = " ".join(recipe.binding)
        if each.certificate is not None:
            row |= {key: getattr(each.certificate, key) for key in _CERTIFICATE}
        if plan.resources is not None:
            known = needs_sheet.cells(plan.resources)
            row |= known if each.chosen else dict.fromkeys(known)
        yield row


def _recommended(plan: Plan) -> dict[str, Any]:
    """The verdict and the recipe to take, beside the scenario that was asked for."""
    taken = plan.recommendation
    models = {"student": taken.student, "teacher": taken.teacher}
    return {
        "verdict": plan.verdict.method,
        "reasons": " ".join(plan.verdict.reasons),
        "recommendation": taken.method,
        **{
            f"recommended_{who}_{key}": getattr(model, key)
            for who, model in models.items()
            if model is not None
            for key in _MODEL
        },
    }


def _codes(each: ScenarioResult, plan: Plan) -> list[str]:
    if each.chosen:
        return [warning.code for warning in plan.warnings]
    shared = [warning.code for warning in plan.warnings if warning.scope != "recipe"]
    return ["outside-domain"] * each.outside_domain + shared


def title(plan: Plan) -> str:
    """What was asked, in one line."""
    asked = plan.problem
    student = "student of any size"
    if asked.student is not None:
        student = f"{units.format_count(asked.student)} student"
    return (
        f"Plan for {units.format_flops(asked.budget)} FLOPs, {student}, scenario {scenario(plan)}"
    )


def scenario_summary(plan: Plan) -> str:
    """What the scenario charges, in a line; empty for custom charges, whose title says it."""
    asked = plan.problem
    if not asked.teachers:
        return SCENARIOS[asked.scenario].summary if asked.scenario in SCENARIOS else ""
    subject = "the teacher exists" if len(asked.teachers) == 1 else "the teachers exist"
    if asked.charge_inference == 0:
        return f"{subject}, logits are stored"
    if asked.charge_inference == 1:
        return f"{subject}, its logits are computed".replace("exist, its", "exist, their")
    return f"{subject}, {asked.charge_inference:.4g} of the logits' cost is charged"


def scenario(plan: Plan) -> str:
    """The scenario's name; for custom charges also what they are."""
    asked = plan.problem
    if asked.teachers or asked.scenario in SCENARIOS:
        return asked.scenario
    return (
        f"{asked.scenario} (charging {asked.charge_inference:.4g} of the teacher's inference, "
        f"{asked.charge_pretraining:.4g} of its pretraining)"
    )


def model_names(plan: Plan) -> tuple[str, str, str]:
    """Headings of the columns student, teacher, supervised."""
    teacher = plan.decisive.recipe.teacher
    free = not teacher.existing and plan.problem.charge_pretraining == 0
    return ("Student", "Teacher" if free else words.teacher_name(teacher), "Supervised")


def in_domain(inside: InDomain, plan: Plan) -> str:
    """The best recipe inside the domain in one sentence, or that there is none and why."""
    if inside.recipe is None:
        reason = tidy(inside.reason).rstrip(".")
        return f"Nothing inside the measured range: {reason}."
    student, teacher = inside.recipe.student, inside.recipe.teacher
    proof = "" if inside.certificate is None or inside.certificate.proven else ", not proven"
    return (
        f"Best recipe inside the measured range: student {words.on_tokens(student)} tokens, "
        f"teacher {words.on_tokens(teacher)}{'' if teacher.tokens is None else ' tokens'}, "
        f"cross-entropy {units.format_loss(student.cross_entropy)} "
        f"({words.signed(student.cross_entropy - plan.cross_entropy)} on the recipe here, "
        f"{words.signed(student.cross_entropy - plan.supervised.model.cross_entropy)} on "
        f"supervised{proof})."
    )


def baseline_binding(plan: Plan) -> str:
    """Which bounds the supervised baseline rests on, or nothing."""
    if not plan.supervised.binding:
        return ""
    return f"Active bounds of the supervised baseline: {', '.join(plan.supervised.binding)}."


def considered(plan: Plan) -> str:
    """The existing teachers in the order of the student's loss, or nothing."""
    if len(plan.considered) < 2:
        return ""
    ranked = sorted(plan.considered, key=lambda each: each.cross_entropy)
    return "Teachers ranked: " + "; ".join(
        f"{tidy(each.teacher)} → student {units.format_loss(each.cross_entropy)}" for each in ranked
    )


def counting(plan: Plan) -> str:
    """What counts as a parameter and as a FLOP, and whose coefficients these are."""
    return f"{conventions(plan)} {provenance(plan)}"


def outside(plan: Plan) -> str:
    """What the mark behind a scenario means, or nothing where none is marked."""
    if not any(each.outside_domain for each in plan.scenarios):
        return ""
    return f"{words.OUTSIDE.strip()} This scenario's recipe lies outside the measured range."


def conventions(plan: Plan) -> str:
    """What counts as a parameter and as a FLOP."""
    used = plan.coefficients
    said = used.parameter_convention.partition(" ")[0] in used.flop_convention
    first = "" if said else f"{used.parameter_convention}; "
    return tidy(f"Counted: {first}{used.flop_convention}.")


def provenance(plan: Plan) -> str:
    """Whose coefficients these are."""
    used = plan.coefficients
    return tidy(f"Coefficients: {used.name} ({used.source}).")


def confidence(plan: Plan) -> list[str]:
    """Sentences on the uncertainty and the second opinion; empty if there is nothing to say."""
    found = []
    if plan.uncertainty is not None:
        found += uncertainty(plan.uncertainty, plan)
    if plan.second_opinion is not None:
        found.append(second_opinion(plan.second_opinion, plan))
    return found


def uncertainty(spread: Uncertainty, plan: Plan) -> list[str]:
    """Intervals and probability of this recipe, how they were checked, and the optimum's own."""
    level = f"{spread.level:.0%}"
    fixed = f" (the {' and '.join(spread.fixed)} held fixed)" if spread.fixed else ""
    own = (
        f"Over {spread.draws} draws of {spread.source}{fixed}: cross-entropy "
        f"{loss_range(spread.cross_entropy)} ({level}, the law's value; {_new_run(spread)}), "
        "against supervised "
        f"{words.signed(spread.difference.low)} to {words.signed(spread.difference.high)}; "
        f"probability that distilling beats supervised training: {probability(spread)}."
    )
    free = [
        f"{label} {count_range(spread.reoptimised[name])}"
        for name, label in _REOPTIMISED
        if name in spread.reoptimised and _moves(spread.reoptimised[name])
    ]
    if not free:
        return [own, *_checked(spread)]
    best = loss_range(spread.reoptimised["cross_entropy"])
    optimum = f"Each draw's own optimum ({level}): {', '.join(free)}, cross-entropy {best}."
    return [own, *_checked(spread), optimum]


def _new_run(spread: Uncertainty) -> str:
    if spread.new_run is None:
        return "one run scatters beyond it, by how much this set does not say"
    return f"one run of it: {loss_range(spread.new_run)}"


def _checked(spread: Uncertainty) -> list[str]:
    """How often such intervals held runs that the fit had not seen, or nothing."""
    if spread.new_run is None or spread.coverage is None:
        return []
    sizes = ""
    if spread.coverage_sizes is not None:
        sizes = f", {spread.coverage_sizes:.0%} where their whole size was left out"
    return [
        f"Of runs left out of the fit, {spread.coverage:.0%} lay in their {spread.level:.0%} "
        f"intervals for one run{sizes}."
    ]


def second_opinion(opinion: SecondOpinion, plan: Plan) -> str:
    """What the other set predicts for this recipe, and what it would do instead."""
    around = f" ({loss_range(opinion.interval)})" if opinion.interval else ""
    gap = opinion.cross_entropy - opinion.supervised
    text = (
        f"Second opinion, {opinion.source}: {units.format_loss(opinion.cross_entropy)}{around} for "
        f"this recipe, {words.signed(gap)} against supervised"
    )
    if opinion.optimum is None or opinion.regret is None:
        return f"{text}; it has no plan of its own here."
    if opinion.regret < 5e-5:
        return f"{text}; its own optimum is this recipe."
    return (
        f"{text}; its own optimum ({on_recipe(opinion.optimum)}) is "
        f"{units.format_loss(opinion.regret)} better."
    )


def risk_head(robust: Robust) -> list[str]:
    """Column heads of the risk table: every view."""
    return ["Recipe", "Student on", "Teacher on", *(view.name for view in robust.views)]


def risk_rows(robust: Robust) -> list[list[str]]:
    """One row per recipe: what it is, its loss under every view, and the regret in brackets."""
    return [
        [
            each.name,
            words.on_tokens(each.recipe.student),
            words.on_tokens(each.recipe.teacher),
            *(
                f"{units.format_loss(view.loss[i])} ({words.signed(view.regret[i])})"
                for view in robust.views
            ),
        ]
        for i, each in enumerate(robust.recipes)
    ]


def robust(found: Robust) -> str:
    """What the robust recipe is and how far from the best possible its criterion can be."""
    return (
        f"Robust ({found.criterion} loss over the draws): {on_recipe(found.recipe)} has "
        f"{found.value:.5f} nats; no recipe can have less than {found.lower_bound:.5f}. In "
        "brackets: regret against the best plan under that view."
    )


def pull_head() -> list[str]:
    """Column heads of the sensitivities."""
    return [
        "Coefficient", "Moved", "Of recipe, loss", "Loss", "D_S", "N_T", "D_T",
    ]  # fmt: skip


def pull_rows(pulls: Sequence[Pull]) -> list[list[str]]:
    """The coefficients that move the recipe most, those of either way of moving them apart: through
    their interval together with the others, or alone."""
    return [
        [
            pull.coefficient,
            _way(pull),
            _shares(pull),
            _ends(pull.cross_entropy, units.format_loss),
            _ends(pull.student_tokens, units.format_count),
            _ends(pull.teacher_parameters, units.format_count),
            _ends(pull.teacher_tokens, units.format_count),
        ]
        for how in (WITH_OTHERS, ALONE)
        for pull in [each for each in pulls if each.how == how][:PULLS_SHOWN]
    ]


def _way(pull: Pull) -> str:
    if pull.how == ALONE:
        return "±1% alone"
    return ", ".join(f"{end:.3g}".replace("e+0", "e") for end in (pull.low, pull.high))


def pull_note() -> str:
    """How the sensitivities are to be read."""
    return (
        "Sensitivity: each coefficient is swept across its 90% interval; the others follow their "
        "conditional means over the draws. Shown are the plan at both ends, and the shares of the "
        "variance of the recipe and of the loss that the coefficient accounts for (correlated "
        "coefficients overlap). Coefficients without draws are moved alone, by 1% down and up."
    )


def _shares(pull: Pull) -> str:
    if pull.recipe_share is None or pull.loss_share is None:
        return words.NOTHING
    return f"{pull.recipe_share:.0%}, {pull.loss_share:.0%}"


def _moves(spread: Interval) -> bool:
    return spread.high > spread.low * (1 + 1e-6)


def _ends(pair: tuple[float, float], show: Callable[[float], str]) -> str:
    if any(value != value for value in pair):  # an existing teacher: not the plan's to choose
        return words.NOTHING
    low, high = (show(value) for value in pair)
    return f"{low}, {high}" if low != high else low
