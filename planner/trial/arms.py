"""The test: the planning question at the trial's scale, and allocations of equal FLOPs around its
answer."""

from __future__ import annotations

from dataclasses import replace

from coefficients import CoefficientSet
from planner import units
from planner.errors import InfeasibleError
from planner.problem import Bounds, Problem, Teacher
from planner.questions.plan.answer import Plan, solve
from planner.results import Recipe
from planner.trial.design import EQUAL_FLOPS, EQUAL_TOKENS, PLAN, TEACHER_SEEDS, Arm, Design, Run

STEP = 1.6
"""Factor between the plan's teacher tokens and its neighbours'."""

LEAST_STRETCH = 1.15
"""A neighbour nearer than this to the plan would tell nothing."""

FARTHEST = 4.0
"""Factor between token counts beyond which an allocation is no neighbour of the plan."""

ROUNDING = 0.02
"""Share of the allowance by which runs of whole steps may exceed it."""


def plan_tests(
    design: Design, coefficients: CoefficientSet
) -> tuple[Design, Plan, tuple[Arm, ...], tuple[Run, ...]]:
    """The re-planned recipe and its test, with allocations as small as the allowance demands.

    Returns the design with the budget that fits, the plan, the allocations and their runs.
    """
    spent = sum(map(design.cost, design.before))
    left = design.allowance - spent
    begun = design.budget
    while True:
        plan = replan(design, coefficients)
        compared = arms(design, plan.recipe)
        tests = trial_runs(design, compared)
        cost = sum(map(design.cost, tests))
        if cost <= left + ROUNDING * design.allowance:
            break
        smaller = design.budget * min(0.99, left / cost)
        if smaller < 0.3 * begun:
            raise InfeasibleError(
                f"the tests of the re-planned recipe would cost {units.format_flops(cost)} FLOPs, "
                f"{units.format_flops(left)} of {units.format_flops(design.allowance)} are left; "
                "allow more with --flops or --time, in another --output."
            )
        design = replace(design, budget=smaller)
    if design.budget < begun:
        words = (
            f"The re-planned recipe costs more to test than was expected: allocations have "
            f"{units.format_flops(design.budget)} FLOPs instead of {units.format_flops(begun)}, so "
            "that the trial stays within its allowance."
        )
        design = replace(design, remarks=(*design.remarks, words))
    return design, plan, compared, tests


def replan(design: Design, coefficients: CoefficientSet) -> Plan:
    """The best plan at the trial's own scale, over every teacher that the trial can pay for."""
    plans, refused = [], []
    for problem in problems_of(design):
        try:
            plans.append(solve(problem, coefficients))
        except InfeasibleError as error:  # a size too large for the budget; another one is not
            refused.append(error)
    if not plans:
        raise refused[0]
    return min(plans, key=lambda plan: plan.recipe.student.cross_entropy)


def problems_of(design: Design) -> tuple[Problem, ...]:
    """The planning question at the trial's own scale.

    Where the recipe does not pay for a teacher, nothing in its accounting keeps one small; the
    trial pays, so that every size has the tokens that `Design.teacher_flops` buys, and the question
    falls into one for each size. None is larger than the ladder's.
    """
    step, most = float(design.shapes.tokens_per_step), float(design.most)
    biggest = design.layers + 1
    if design.teachers:
        sizes = [design.parameters(given.layers) for given in design.teachers]
        taught = [
            Teacher(size, float(given.tokens), name=given.text)
            for size, given in zip(sizes, design.teachers, strict=True)
        ]
        bounds = ((min(sizes), max(sizes)), (step, most))
        return (_problem(design, *bounds, teachers=tuple(taught)),)
    if design.whole_teacher and design.charge_inference == 1:
        while design.forward(biggest + 1) * 30 * step < design.budget:
            biggest += 1
        sizes = [design.parameters(1), design.parameters(biggest)]
        return (_problem(design, (sizes[0], sizes[1]), (step, most)),)
    found = []
    for layers in range(1, biggest + 1):
        size = design.parameters(layers)
        longest = min(most, design.teacher_flops / (3.0 * design.forward(layers)))
        if longest >= step:
            found.append(_problem(design, (size, size), (step, longest)))
    return tuple(found)


def _problem(
    design: Design, sizes: tuple[float, float], tokens: tuple[float, float],
    teachers: tuple[Teacher, ...] = (),
) -> Problem:  # fmt: skip
    step, student = float(design.shapes.tokens_per_step), design.parameters(design.layers)
    return Problem(
        budget=design.budget,
        student=student,
        charge_inference=design.charge_inference,
        charge_pretraining=design.charge_pretraining,
        teachers=teachers,
        bounds=Bounds((student, student), (step, float(design.most)), sizes, tokens),
        round_to_architecture=True,
    )


def arms(design: Design, recipe: Recipe) -> tuple[Arm, ...]:
    """The best distillation by plan, both supervised baselines, and neighbours of equal FLOPs.

    One baseline where nothing of the teacher is charged: equal tokens are equal FLOPs then.
    """
    teacher_size, teacher_tokens = recipe.teacher.parameters, recipe.teacher.tokens
    assert teacher_size is not None and teacher_tokens is not None and recipe.student.tokens
    layers = design.shapes.family.nearest(teacher_size).layers
    plan = _arm(design, PLAN, "best distillation by plan", layers, teacher_tokens)
    if design.coincide:
        title = "supervised, equal tokens and FLOPs"
        supervised = [Arm(EQUAL_TOKENS, title, design.layers, plan.tokens)]
    else:
        whole = design.whole(design.baseline())
        supervised = [
            Arm(EQUAL_TOKENS, "supervised, equal tokens", design.layers, plan.tokens),
            Arm(EQUAL_FLOPS, "supervised, equal FLOPs", design.layers, whole),
        ]
    others = _others(design, plan) if design.teachers else _neighbours(design, plan)
    return (plan, *supervised, *others[: design.neighbours])


def _arm(
    design: Design, key: str, title: str, layers: int, teacher_tokens: float,
    student_tokens: float | None = None,
) -> Arm:  # fmt: skip
    """An allocation of the budget: student tokens follow from the teacher's, or the reverse."""
    student = 3.0 * design.forward(design.layers)
    per_token = student + design.charge_inference * design.forward(layers)
    training = 3.0 * design.charge_pretraining * design.forward(layers)
    if student_tokens is None:
        teacher = design.whole(teacher_tokens)
        own = design.whole((design.budget - training * teacher) / per_token)
    else:
        own = design.whole(student_tokens)
        teacher = design.whole((design.budget - per_token * own) / training)
    return Arm(key, title, design.layers, own, layers, teacher)


def _others(design: Design, plan: Arm) -> tuple[Arm, ...]:
    """Students of the other teachers that the recipe names: with a given teacher and student the
    budget leaves nothing else to choose."""
    return tuple(
        _arm(design, f"teacher-{number}", f"taught by {given.text}", given.layers, given.tokens)
        for number, given in enumerate(design.teachers, 1)
        if (given.layers, given.tokens) != (plan.teacher_layers, plan.teacher_tokens)
    )


def _neighbours(design: Design, plan: Arm) -> tuple[Arm, ...]:
    """Allocations of the same budget in which one of N_T, D_S and D_T is held and two move.

    Where a teacher's training is free, all that could be larger is what the trial itself pays.
    """
    assert plan.teacher_layers is not None and plan.teacher_tokens is not None
    layers, teacher = plan.teacher_layers, plan.teacher_tokens
    longer = _longer(design, layers, teacher)
    found = [
        *([_arm(design, "longer", "teacher trained longer", layers, longer)] if longer else []),
        _arm(design, "shorter", "teacher trained shorter", layers, teacher / STEP),
    ]
    sizes = (("larger", layers + 1), ("smaller", layers - 1))
    buildable = [(word, other) for word, other in sizes if other >= 1]
    for word, other in buildable:
        title = f"{word} teacher, same "
        if design.charge_pretraining > 0:
            words = title + "student tokens"
            found.append(_arm(design, word, words, other, teacher, plan.tokens))
        else:
            count = teacher * design.forward(layers) / design.forward(other)
            words = title + "training FLOPs"
            found.append(_arm(design, word, words, other, count))
    for word, other in buildable:
        words = f"{word} teacher, same teacher tokens"
        found.append(_arm(design, f"{word}-same", words, other, teacher))
    found.append(
        _arm(design, "shortest", "teacher trained much shorter", layers, teacher / STEP**2)
    )
    distinct = {(arm.teacher_layers, arm.teacher_tokens, arm.tokens): arm for arm in found[::-1]}
    kept = [arm for arm in found if arm in distinct.values()]
    return tuple(arm for arm in kept if _fits(design, arm) and _near(plan, arm))


def _near(plan: Arm, arm: Arm) -> bool:
    """Whether no token count moved out of the plan's neighbourhood: sizes come in steps, and a step
    may leave the student hardly anything to train on."""
    assert plan.teacher_tokens is not None and arm.teacher_tokens is not None
    ratios = (arm.tokens / plan.tokens, arm.teacher_tokens / plan.teacher_tokens)
    return all(1 / FARTHEST <= ratio <= FARTHEST for ratio in ratios)


def _longer(design: Design, layers: int, teacher: int) -> float | None:
    """STEP times the teacher's tokens, or as many as corpus and budget leave room for."""
    training = 3.0 * design.forward(layers)
    most = min(float(design.most), design.teacher_flops / training)
    if design.charge_pretraining > 0:
        most = min(most, 0.9 * design.budget / (design.charge_pretraining * training))
    longer = min(STEP * teacher, most)
    return longer if longer >= LEAST_STRETCH * teacher else None


def _fits(design: Design, arm: Arm) -> bool:
    """Whether the allocation is within 5% of the budget after rounding to whole steps, and its
    teacher within what the trial pays."""
    assert arm.teacher_layers is not None and arm.teacher_tokens is not None
    within = abs(charged(design, arm) / design.budget - 1) <= 0.05
    training = 3.0 * design.forward(arm.teacher_layers) * arm.teacher_tokens
    return within and training <= 1.05 * design.teacher_flops


def charged(design: Design, arm: Arm) -> float:
    """FLOPs of an allocation by the recipe's accounting (Eq. 9)."""
    flops = 3.0 * design.forward(arm.layers) * arm.tokens
    if arm.teacher_layers is None or arm.teacher_tokens is None:
        return flops
    teacher = design.forward(arm.teacher_layers)
    flops += design.charge_inference * teacher * arm.tokens
    return flops + design.charge_pretraining * 3.0 * teacher * arm.teacher_tokens


def trial_runs(design: Design, compared: tuple[Arm, ...]) -> tuple[Run, ...]:
    """Every arm with every seed. Each seed has teachers of its own, unless the recipe names them;
    arms that need the same teacher share it."""
    teachers: dict[tuple[int, int, int], Run] = {}
    runs: list[Run] = []
    for number in range(design.seeds):
        seed = design.seed + 101 + number
        for arm in compared:
            key = f"test-{arm.key}-{number}"
            if arm.teacher_layers is None or arm.teacher_tokens is None:
                runs.append(Run(key, "test", arm.key, "supervised", arm.layers, arm.tokens, seed))
                continue
            own = TEACHER_SEEDS + (design.seed + 101 if design.teachers else seed)
            same = (arm.teacher_layers, arm.teacher_tokens, own)
            if same not in teachers:
                teachers[same] = Run(
                    f"{key}-teacher", "test", arm.key, "teacher", arm.teacher_layers,
                    arm.teacher_tokens, own,
                )  # fmt: skip
                runs.append(teachers[same])
            runs.append(
                Run(
                    key, "test", arm.key, "distilled", arm.layers, arm.tokens, seed,
                    teachers[same].key, arm.teacher_layers,
                )
            )  # fmt: skip
    return tuple(runs)
