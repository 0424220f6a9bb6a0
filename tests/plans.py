"""Plans made by hand, with numbers that the published law gives, for tests of reports and CLI."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from coefficients import CoefficientSet, load
from planner.problem import Bounds, Problem, Teacher
from planner.questions.plan.answer import Plan
from planner.results import (
    Baseline,
    Certificate,
    Coefficients,
    Considered,
    ExistingTeacher,
    Flops,
    InDomain,
    Model,
    Recipe,
    ScenarioResult,
    Verdict,
)
from planner.results import Warning as PlanWarning
from planner.scenarios import SCENARIOS


@cache
def law() -> CoefficientSet:
    """The published set."""
    return load("busbridge2025")


def model(parameters: float, tokens: float) -> Model:
    """A model trained on data alone."""
    loss = float(law().supervised.loss(parameters, tokens))
    return Model(parameters, tokens, loss, law().architectures.nearest(parameters))


def recipe(
    student: float,
    tokens: float,
    teacher: Model,
    charges: tuple[float, float] = (1.0, 1.0),
    notes: tuple[str, ...] = (),
    binding: tuple[str, ...] = (),
) -> Recipe:
    """A student distilled from a teacher, with the law's loss and Eq. 9's FLOPs."""
    distillation = law().distillation
    assert distillation is not None
    loss = float(distillation.loss(student, tokens, teacher.cross_entropy))
    learner = Model(student, tokens, loss, law().architectures.nearest(student))
    return Recipe(learner, teacher, flops(learner, teacher, charges), notes, binding)


def spend(
    budget: float, student: float, teacher: Model, charges: tuple[float, float] = (1.0, 1.0)
) -> float:
    """Student tokens that use up the budget (Eq. 9)."""
    assert teacher.parameters is not None
    forward = law().flops.per_token
    teaching = float(forward(teacher.parameters))
    rest = budget - charges[1] * 3 * teaching * (teacher.tokens or 0.0)
    return float(rest / (3 * forward(student) + charges[0] * teaching))


def full_budget(
    student: float,
    teacher: Model,
    charges: tuple[float, float] = (1.0, 1.0),
    notes: tuple[str, ...] = (),
    binding: tuple[str, ...] = (),
) -> Recipe:
    """The recipe that spends 1e21 FLOPs."""
    tokens = spend(1e21, student, teacher, charges)
    return recipe(student, tokens, teacher, charges, notes, binding)


def flops(student: Model, teacher: Model, charges: tuple[float, float]) -> Flops:
    """Eq. 9, term by term."""
    assert student.parameters is not None
    assert student.tokens is not None
    forward = law().flops.per_token
    training = float(3 * forward(student.parameters) * student.tokens)
    if teacher.parameters is None:
        return Flops(training, uncharged=None)
    inference = float(forward(teacher.parameters) * student.tokens)
    pretraining = float(3 * forward(teacher.parameters) * (teacher.tokens or 0.0))
    paid = (charges[0] * inference, charges[1] * pretraining)
    return Flops(training, *paid, uncharged=inference + pretraining - sum(paid))


def scenario(
    name: str,
    found: Recipe | None,
    baseline: Model,
    chosen: str,
    charges: tuple[float, float] | None = None,
) -> ScenarioResult:
    """One row of the comparison; outside the domain where the teacher is larger than any fitted."""
    charges = SCENARIOS[name].charges if charges is None else charges
    if found is None:
        return ScenarioResult(name, name == chosen, *charges)
    difference = found.student.cross_entropy - baseline.cross_entropy
    outside = (found.teacher.parameters or 0.0) > 12.6e9
    return ScenarioResult(name, name == chosen, *charges, found, proof(found), difference, outside)


def proof(found: Recipe, proven: bool = True) -> Certificate:
    """A certificate of that recipe, closed or open."""
    gap = 7.5e-7 if proven else 3.2e-4
    return Certificate(found.student.cross_entropy - gap, gap, 1e-6, 431 if proven else 200_000)


def used() -> Coefficients:
    """What the published set says about itself."""
    source = law().source
    return Coefficients(
        "busbridge2025", f"{source.citation}, {source.location}", law().flops.convention
    )


def happy() -> Plan:
    """1e21 FLOPs, 1B student, scenario full: nothing to warn about."""
    supervised = model(1e9, spend(1e21, 1e9, model(1e9, 1e9), (0, 0)))
    rows = {
        "best-case": full_budget(1e9, model(3.1e9, 4.2e11), (0, 0)),
        "teacher-inference": full_budget(
            1e9, model(1.9e9, 2e13), (1, 0), binding=("max-teacher-tokens",)
        ),
        "teacher-pretraining": full_budget(1e9, model(1.36e9, 2.8e10), (0, 1)),
        "full": full_budget(1e9, model(9.8e8, 2.55e10),
            notes=("The teacher is compute-optimal for its loss.",),
        ),
    }  # fmt: skip
    chosen = rows["full"]
    loss = chosen.student.cross_entropy - supervised.cross_entropy
    return Plan(
        problem=Problem(1e21, 1e9, coefficients="busbridge2025"),
        recipe=chosen,
        certificate=proof(chosen),
        supervised=Baseline(supervised, Flops(float(law().flops.training(1e9, supervised.tokens)))),
        scenarios=tuple(scenario(name, found, supervised, "full") for name, found in rows.items()),
        verdict=Verdict(
            "supervised",
            "Train without a teacher",
            f"With the teacher's costs paid, distilling is {loss:.4f} nats worse than supervised "
            "training with the same 1e21 FLOPs.",
        ),
        warnings=(),
        coefficients=used(),
    )


def extrapolated() -> Plan:
    """3e9 parameters, 1e21 FLOPs, teacher inference: outside the domain, with a recipe inside."""
    plan = happy()
    supervised = model(3e9, spend(1e21, 3e9, model(1e9, 1e9), (0, 0)))
    wild = full_budget(3e9, model(8.4e10, 2e13), (1, 0), binding=("max-teacher-tokens",))
    asked = "teacher-inference"
    tame = full_budget(3e9, model(1.1e9, 5.12e11), (1, 0))
    return replace(
        plan,
        problem=Problem(1e21, 3e9, charge_pretraining=0.0, coefficients="busbridge2025"),
        recipe=wild,
        certificate=proof(wild),
        supervised=Baseline(supervised, Flops(float(law().flops.training(3e9, supervised.tokens)))),
        scenarios=(
            scenario("best-case", full_budget(3e9, model(9e9, 2e12), (0, 0)), supervised, asked),
            scenario("teacher-inference", wild, supervised, asked),
            scenario("teacher-pretraining", None, supervised, asked),
            scenario("full", full_budget(3e9, model(2.2e9, 1.5e10)), supervised, asked),
        ),
        verdict=Verdict(
            "distil",
            "Inside the measured range: distil",
            "The optimum leaves the domain.",
            ("outside-domain",),
        ),
        warnings=(
            PlanWarning(
                "outside-domain",
                "student tokens per parameter is 1.63, measured from 17 to 202: the law "
                "extrapolates.",
                "student_tokens_per_parameter",
                wild.student.tokens_per_parameter,
                (17.0, 202.0),
                alarm=True,
            ),
            PlanWarning(
                "outside-domain",
                "teacher parameters is 84B, measured from 143M to 12.6B: the law extrapolates.",
                "teacher_parameters",
                8.4e10,
                (143e6, 12.6e9),
                alarm=True,
            ),
            PlanWarning(
                "outside-domain",
                f"teacher cross-entropy is {wild.teacher.cross_entropy:.4f}, measured from 1.895 "
                "to 2.755: the law extrapolates.",
                "teacher_cross_entropy",
                wild.teacher.cross_entropy,
                (1.895, 2.755),
                alarm=True,
            ),
        ),
        in_domain=InDomain(tame, proof(tame)),
    )


def nowhere() -> Plan:
    """As extrapolated, and nothing inside the domain fits the budget."""
    return replace(
        extrapolated(),
        verdict=Verdict(
            "undecided",
            "Not measured here: distilling leads by extrapolation",
            "No plan inside the measured range fits the budget.",
            ("outside-domain",),
        ),
        in_domain=InDomain(
            None, None, "17 tokens per parameter for 3B parameters cost at least 1.16e21 FLOPs"
        ),
    )


def existing_teacher() -> Plan:
    """The better of two teachers that exist, known by its loss alone; its logits are stored."""
    plan = happy()
    teacher = ExistingTeacher(None, None, 2.05, name="in-house")
    chosen = recipe(1e9, 1.32e11, teacher, (0, 0))
    baseline = plan.supervised.model
    return replace(
        plan,
        problem=Problem(
            1e21, 1e9, charge_inference=0.0, charge_pretraining=0.0,
            teachers=(Teacher(loss=2.05, name="in-house"), Teacher(size=7e9, tokens=140e9)),
            coefficients="busbridge2025",
        ),
        recipe=replace(chosen, notes=("The teacher's pretraining is sunk and not charged.",)),
        certificate=proof(chosen),
        scenarios=(scenario("best-case", chosen, baseline, "best-case"),),
        verdict=Verdict("distil", "Distil from in-house", "0.0303 nats better than supervised."),
        considered=(
            Considered("in-house", chosen.student.cross_entropy),
            Considered("7B parameters, 140B tokens", 2.3017),
        ),
    )  # fmt: skip


def custom_charges() -> Plan:
    """Half of the inference and an eighth of the pretraining: no named scenario."""
    plan = happy()
    chosen = full_budget(1e9, model(1.4e9, 6.1e10), (0.5, 0.125), binding=("max-student-size",))
    chosen = replace(chosen, flops=replace(chosen.flops, serving=float(law().flops(1e9) * 1e11)))
    return replace(
        plan,
        problem=Problem(
            1e21, None, charge_inference=0.5, charge_pretraining=0.125,
            bounds=Bounds(student_size=(1e8, 1e9)), serving_tokens=1e12,
            coefficients="busbridge2025",
        ),
        recipe=chosen,
        certificate=proof(chosen),
        scenarios=(
            *(replace(each, chosen=False) for each in plan.scenarios),
            scenario("custom", chosen, plan.supervised.model, "custom", (0.5, 0.125)),
        ),
        verdict=Verdict(
            "undecided", "Undecided: within the law's error",
            "The two differ by less than the law can tell.", ("within-error",),
        ),
    )  # fmt: skip


def gap_open() -> Plan:
    """The branch and bound stopped before the gap closed."""
    plan = happy()
    return replace(
        plan,
        certificate=proof(plan.recipe, proven=False),
        warnings=(
            PlanWarning("gap-open", "The optimum is proven to 3.2e-04 nats only, not to 1e-06."),
        ),
    )


PLANS = {
    each.__name__.replace("_", "-"): each
    for each in (happy, extrapolated, nowhere, existing_teacher, custom_charges, gap_open)
}
"""Name -> factory; the name is the name of its golden files."""
