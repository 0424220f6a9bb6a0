"""What is trained: a ladder of small runs for the calibration, then allocations of equal FLOPs.

The ladder's runs and the tested ones share no run and no seed. Costs are FLOPs counted from the
shapes with causal attention, as the law's convention counts them (Eq. 69).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from planner import units
from planner.errors import InfeasibleError
from planner.problem import Bounds, Problem
from planner.result import Recipe
from planner.validate.scale import SCALES, Scale, Tier, scale_for

Method = Literal["supervised", "distilled", "teacher"]

LEAST_STEPS = 3
"""Updates of the shortest run; an allowance that cannot pay for them is refused."""

STEP = 1.6
"""Factor between the plan's teacher tokens and its neighbours'."""

LEAST_STRETCH = 1.15
"""A neighbour nearer than this to the plan would tell nothing."""

FARTHEST = 4.0
"""Factor between token counts beyond which an allocation is no neighbour of the plan."""

LEAST_RATIO = 8.0
"""Tokens per parameter below which a larger student would no longer be an answer to a small corpus:
what it measures is how a model starts, not how it scales."""

TOLD_RATIO = 2.0
"""Factor between the trial's tokens per parameter and the recipe's from which it is pointed out."""

UNCHARGED = 1.0
"""FLOPs of training a tested teacher, and of its forward passes, relative to one allocation, that
the trial grants where the recipe leaves them out: they have to be spent all the same."""

SLACK = 1.05
"""Rounding to whole steps moves an allocation by at most this factor."""

EQUAL_TOKENS, EQUAL_FLOPS, PLAN = "supervised-tokens", "supervised-flops", "recommended"


@dataclass(frozen=True)
class Run:
    """One model to train. `teacher` names the run that a distilled student learns from."""

    key: str
    phase: Literal["ladder", "test"]
    arm: str
    method: Method
    layers: int
    tokens: int
    seed: int
    teacher: str | None = None
    teacher_layers: int | None = None

    @property
    def split(self) -> str:
        """The half of the corpus it is trained on."""
        return "teacher" if self.method == "teacher" else "student"


@dataclass(frozen=True)
class Arm:
    """One allocation of the test; tokens in whole steps."""

    key: str
    title: str
    layers: int
    tokens: int
    teacher_layers: int | None = None
    teacher_tokens: int | None = None


@dataclass(frozen=True)
class Design:
    """Everything decided before the first run; kept in the output folder, so that a resumed trial
    does not depend on how fast the machine is then.

    budget: FLOPs of every allocation that is compared, by the recipe's accounting. vocabulary:
    entries of the tokenizer. split_tokens: the smaller half of the corpus. teacher_layers: the
    teacher's, where the recipe has one that exists and the trial may not choose.
    """

    scale: str
    vocabulary: int
    layers: int
    budget: float
    allowance: float
    seeds: int
    neighbours: int
    seed: int
    corpus: str
    split_tokens: int
    charge_inference: float
    charge_pretraining: float
    ladder: tuple[Run, ...]
    teacher_layers: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def shapes(self) -> Scale:
        return next(scale for scale in SCALES if scale.name == self.scale)

    def forward(self, layers: int) -> float:
        """Forward FLOPs per token of a model."""
        return self.shapes.config(layers, self.vocabulary).flops.causal

    def parameters(self, layers: int) -> float:
        """Non-embedding parameters of a model."""
        return float(self.shapes.family.build(layers).parameters)

    def cost(self, run: Run) -> float:
        """FLOPs of training a run, teacher's forward passes included."""
        teacher = self.forward(run.teacher_layers) if run.teacher_layers else 0.0
        return run.tokens * (3.0 * self.forward(run.layers) + teacher)

    @property
    def student_tokens(self) -> float:
        """Tokens on which one allocation trains the student alone."""
        return self.budget / (3.0 * self.forward(self.layers))

    @property
    def starved(self) -> bool:
        """Whether the corpus has too little text even for the smallest student of this scale."""
        limited = self.student_tokens >= 0.99 * self.split_tokens
        return limited and self.student_tokens < LEAST_RATIO * self.parameters(self.layers)

    @property
    def uncharged(self) -> float:
        """The most that a distilled arm may cost beyond the budget, relative to it."""
        return _uncharged(self.charge_inference, self.charge_pretraining)

    def whole(self, tokens: float) -> int:
        """Tokens in whole steps, at least one."""
        step = self.shapes.tokens_per_step
        return max(1, round(tokens / step)) * step

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Design:
        """The inverse of `to_dict`."""
        ladder = tuple(Run(**run) for run in value["ladder"])
        return cls(**{**value, "ladder": ladder, "remarks": tuple(value["remarks"])})


# Layers relative to the student's, FLOPs of the run relative to one allocation. Shorter runs would
# be spent warming up: below about a hundred updates losses do not follow a power law yet.
_SUPERVISED = ((0, 0.25), (0, 0.60), (1, 0.60))
_TEACHERS = ((-1, 0.25), (-1, 0.60), (0, 0.60), (1, 0.70))
_DISTILLED = ((1, 0.35), (2, 0.35), (2, 0.60), (3, 0.50))  # which teacher, FLOPs
_LADDER = sum(share for part in (_SUPERVISED, _TEACHERS, _DISTILLED) for _, share in part)
_REPLICATED = 0  # the supervised run that is done twice, to see the noise
_TOKENS_ARM = 0.4  # about what the student's own training takes of an allocation


def allocation(tier: Tier, problem: Problem) -> float:
    """FLOPs that one allocation may be charged so that all that ladder and test train, charged by
    the recipe or not, fits the tier's."""
    uncharged = _uncharged(*charges(problem))
    distilled = (1 + neighbours_of(tier, problem)) * (1 + uncharged)
    supervised = 1 + (_TOKENS_ARM if not uncharged else 1.0)
    tests = tier.seeds * (distilled + supervised)
    return tier.flops / (_LADDER + _SUPERVISED[_REPLICATED][1] + tests)


def neighbours_of(tier: Tier, problem: Problem) -> int:
    """Neighbours that are tested, at most: a teacher that exists leaves nothing to move at equal
    FLOPs."""
    return 0 if problem.teachers else tier.neighbours


def charges(problem: Problem) -> tuple[float, float]:
    """Shares of the teacher's inference and pretraining that the trial's budget is charged with; a
    teacher that exists costs no training."""
    return problem.charge_inference, 0.0 if problem.teachers else problem.charge_pretraining


def _uncharged(charge_inference: float, charge_pretraining: float) -> float:
    return UNCHARGED * ((1 - charge_inference) + (1 - charge_pretraining))


def make_design(
    problem: Problem, ratio: float, tier: Tier, vocabulary: int, split_tokens: int, corpus: str,
    seed: int, teacher_over_student: float | None = None, scale: Scale | None = None,
) -> Design:  # fmt: skip
    """The ladder and its sizes. `ratio` is the tokens per parameter of the recipe's own supervised
    baseline; the student is the buildable one that comes nearest without repeating its data.
    `teacher_over_student`: the size of a teacher that exists, relative to the student's. `scale`:
    shapes other than those meant for the allowance.

    Raises InfeasibleError for an allowance too small to train anything.
    """
    inference, pretraining = charges(problem)
    budget = allocation(tier, problem)
    scale = scale or scale_for(budget)
    design = Design(
        scale.name, vocabulary, 2, budget, tier.flops, tier.seeds,
        neighbours_of(tier, problem), seed, corpus, split_tokens, inference, pretraining, (),
    )  # fmt: skip
    wanted = _student(replace(design, split_tokens=1 << 62), ratio)
    design = replace(design, layers=_student(design, ratio))
    remarks = _limit(design, wanted)
    if remarks:
        design = replace(design, budget=3.0 * design.forward(design.layers) * split_tokens)
    remarks += _ratio_remarks(design, ratio)
    if problem.teachers:
        design = replace(design, teacher_layers=_existing(design, teacher_over_student or 1.0))
        remarks += _existing_remarks(design, teacher_over_student or 1.0)
    elif design.uncharged:
        remarks.append(
            "The recipe does not pay for all of the teacher; the trial pays for it all the same "
            "and leaves that cost out of the comparison, as the recipe does. A tested teacher is "
            f"granted about as much training as one allocation ({units.format_flops(design.budget)}"
            " FLOPs), where the recipe's may have more."
        )
    design = replace(design, ladder=_ladder(design), remarks=tuple(remarks))
    shortest = min(run.tokens for run in design.ladder) // scale.tokens_per_step
    if shortest < LEAST_STEPS:
        exact = (
            min(
                share * design.budget / _per_token(design, layers, teacher)
                for layers, share, teacher in _shares(design)
            )
            / scale.tokens_per_step
        )
        least = tier.flops * LEAST_STEPS / exact * 1.01
        raise InfeasibleError(
            f"{units.format_flops(tier.flops)} FLOPs are too few for a trial: its shortest run "
            f"would take {shortest} steps; allow about {units.format_flops(least, 2)}.",
            least,
        )
    return design


def _student(design: Design, ratio: float) -> int:
    """Layers whose supervised baseline at the budget has nearest the recipe's tokens per
    parameter, among those that have a smaller sibling. A corpus too small for it is answered with
    a larger student, as long as that one's own data leave it `LEAST_RATIO` tokens per parameter."""
    layers = 2

    def tokens(layers: int) -> float:
        return design.budget / (3.0 * design.forward(layers))

    def fed(layers: int) -> bool:
        return min(tokens(layers), design.split_tokens) >= LEAST_RATIO * design.parameters(layers)

    while tokens(layers + 1) >= ratio * design.parameters(layers + 1):
        layers += 1
    while layers > 2 and not fed(layers):
        layers -= 1
    while tokens(layers) > design.split_tokens and fed(layers + 1):
        layers += 1
    return layers


def _limit(design: Design, wanted: int) -> list[str]:
    """What to say where the corpus is too small for the allowance."""
    if design.student_tokens <= design.split_tokens:
        return []
    most = 3.0 * design.forward(design.layers) * design.split_tokens
    needed = design.budget / (3.0 * design.forward(wanted))
    return [
        f"THE CORPUS LIMITS THE TRIAL: each allocation has {units.format_flops(most)} FLOPs "
        f"instead of the {units.format_flops(design.budget)} that the allowance pays for, so that "
        f"no data are repeated. The whole allowance wants about {units.format_count(2.1 * needed)} "
        f"tokens of text, half for teachers and half for students; {design.corpus} has "
        f"{units.format_count(2.0 * design.split_tokens)}. Give a larger corpus with --data."
    ]


def _ratio_remarks(design: Design, ratio: float) -> list[str]:
    own = design.student_tokens / design.parameters(design.layers)
    if 1 / TOLD_RATIO <= own / ratio <= TOLD_RATIO:
        return []
    why = "the corpus" if own < ratio and design.layers > 2 else "the allowance"
    return [
        f"The trial's supervised student has {units.format_count(own)} tokens per parameter, the "
        f"recipe's {units.format_count(ratio)}: {why} allows no nearer."
    ]


def _existing(design: Design, ratio: float) -> int:
    """Layers of the stand-in for a teacher that exists: its size relative to the student's, as far
    as the trial can train it."""
    size = ratio * design.parameters(design.layers)
    return min(max(1, design.shapes.family.nearest(size).layers), _largest(design))


def _existing_remarks(design: Design, ratio: float) -> list[str]:
    assert design.teacher_layers is not None
    own = design.parameters(design.teacher_layers) / design.parameters(design.layers)
    return [
        f"The recipe's teacher exists, {units.format_count(ratio)} times the student's size; in "
        f"the trial one of {units.format_count(own)} times its student's is trained in its place, "
        "outside the comparison's bill. Its loss is the trial's own, not the real teacher's."
    ]


def _largest(design: Design) -> int:
    """Layers of the largest teacher whose uncharged costs stay within what the trial grants."""
    layers, most = design.layers, 3.0 * design.forward(design.layers)
    while design.forward(layers + 1) <= most:
        layers += 1
    return layers


def _per_token(design: Design, layers: int, teacher: int | None) -> float:
    return 3.0 * design.forward(layers) + (design.forward(teacher) if teacher else 0.0)


def _teacher_layers(design: Design) -> list[int]:
    return [max(1, design.layers + above) for above, _ in _TEACHERS]


def _shares(design: Design) -> list[tuple[int, float, int | None]]:
    """(layers, FLOPs relative to one allocation, teacher's layers) of the ladder's runs."""
    teachers = _teacher_layers(design)
    return [
        *((design.layers + above, share, None) for above, share in _SUPERVISED),
        *((own, share, None) for own, (_, share) in zip(teachers, _TEACHERS, strict=True)),
        *((design.layers, share, teachers[which]) for which, share in _DISTILLED),
    ]


def _ladder(design: Design) -> tuple[Run, ...]:
    step = design.shapes.tokens_per_step
    most = design.split_tokens // step * step
    tokens = [
        min(most, int(share * design.budget / _per_token(design, layers, teacher)) // step * step)
        for layers, share, teacher in _shares(design)
    ]
    plain, taught = len(_SUPERVISED), len(_SUPERVISED) + len(_TEACHERS)
    teachers = [
        Run(f"ladder-teacher-{index}", "ladder", "ladder", "teacher", layers, count, design.seed)
        for index, (layers, count) in enumerate(
            zip(_teacher_layers(design), tokens[plain:taught], strict=True)
        )
    ]
    runs: list[Run] = []
    for index, ((above, _), count) in enumerate(zip(_SUPERVISED, tokens[:plain], strict=True)):
        for again in range(2 if index == _REPLICATED else 1):
            key = f"ladder-supervised-{index}" + ("-again" if again else "")
            layers, seed = design.layers + above, design.seed + again
            runs.append(Run(key, "ladder", "ladder", "supervised", layers, count, seed))
    for index, ((which, _), count) in enumerate(zip(_DISTILLED, tokens[taught:], strict=True)):
        teacher = teachers[which]
        runs.append(
            Run(
                f"ladder-distilled-{index}", "ladder", "ladder", "distilled", design.layers, count,
                design.seed, teacher.key, teacher.layers,
            )
        )  # fmt: skip
    return (*teachers, *runs)


@dataclass(frozen=True)
class _Teachers:
    """The teachers that a trial may choose from: layers, and tokens of training."""

    smallest: int
    biggest: int
    shortest: float
    longest: float


def _teachers_within(design: Design) -> _Teachers:
    """What recommendation and neighbours are bounded by. A teacher whose training is not charged
    gets what the trial grants it (`UNCHARGED`): without a bill, more would always be better."""
    step, most = float(design.shapes.tokens_per_step), float(design.split_tokens)
    smallest, biggest = 1, design.layers + 1
    if design.teacher_layers is not None:
        smallest = biggest = design.teacher_layers
    elif design.uncharged:
        biggest = _largest(design)
    else:
        while design.forward(biggest + 1) * 30 * step < design.budget:
            biggest += 1
    longest = most
    if design.charge_pretraining < 1:
        granted = UNCHARGED * design.budget / (3.0 * design.forward(biggest))
        longest = max(step, min(most, granted))
    shortest = longest if design.teacher_layers is not None else step
    return _Teachers(smallest, biggest, shortest, longest)


def problem_of(design: Design) -> Problem:
    """The planning question at the trial's own scale."""
    step, most = float(design.shapes.tokens_per_step), float(design.split_tokens)
    student = design.parameters(design.layers)
    teacher = _teachers_within(design)
    sizes = (design.parameters(teacher.smallest), design.parameters(teacher.biggest))
    tokens = (teacher.shortest, teacher.longest)
    bounds = Bounds((student, student), (step, most), sizes, tokens)
    return Problem(
        budget=design.budget,
        student=student,
        charge_inference=design.charge_inference,
        charge_pretraining=design.charge_pretraining,
        bounds=bounds,
        round_to_architecture=True,
    )


def arms(design: Design, recipe: Recipe) -> tuple[Arm, ...]:
    """The recommended allocation, both supervised baselines, and neighbours of equal FLOPs."""
    teacher_size, teacher_tokens = recipe.teacher.parameters, recipe.teacher.tokens
    assert teacher_size is not None and teacher_tokens is not None and recipe.student.tokens
    layers = design.shapes.family.nearest(teacher_size).layers
    plan = _arm(design, PLAN, "recommended", layers, teacher_tokens)
    baseline = design.whole(design.student_tokens)
    if plan.tokens == baseline:  # the student's own training is all that is charged
        title = "supervised, equal tokens and FLOPs"
        supervised = [Arm(EQUAL_FLOPS, title, design.layers, baseline)]
    else:
        supervised = [
            Arm(EQUAL_TOKENS, "supervised, equal tokens", design.layers, plan.tokens),
            Arm(EQUAL_FLOPS, "supervised, equal FLOPs", design.layers, baseline),
        ]
    return (plan, *supervised, *_neighbours(design, plan)[: design.neighbours])


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


def _neighbours(design: Design, plan: Arm) -> tuple[Arm, ...]:
    """Allocations of the same budget in which one of N_T, D_S and D_T is held and two move."""
    assert plan.teacher_layers is not None and plan.teacher_tokens is not None
    layers, teacher = plan.teacher_layers, plan.teacher_tokens
    paid = design.charge_pretraining > 0
    longer = _longer(design, layers, teacher)
    found = [
        *([_arm(design, "longer", "teacher trained longer", layers, longer)] if longer else []),
        _arm(design, "shorter", "teacher trained shorter", layers, teacher / STEP),
    ]
    for key, title, other in (
        ("larger", "larger teacher", layers + 1),
        ("smaller", "smaller teacher", layers - 1),
    ):
        if other >= 1 and paid:
            words = f"{title}, same student tokens"
            found.append(_arm(design, key, words, other, teacher, plan.tokens))
    for key, title, other in (
        ("larger-same", "larger teacher, same teacher tokens", layers + 1),
        ("smaller-same", "smaller teacher, same teacher tokens", layers - 1),
    ):
        if other >= 1:
            found.append(_arm(design, key, title, other, teacher))
    far = _arm(design, "shortest", "teacher trained much shorter", layers, teacher / STEP**2)
    return tuple(arm for arm in (*found, far) if _fits(design, arm) and _near(plan, arm))


def _near(plan: Arm, arm: Arm) -> bool:
    """Whether no token count moved out of the plan's neighbourhood: sizes come in steps, and a step
    may leave the student hardly anything to train on."""
    assert plan.teacher_tokens is not None and arm.teacher_tokens is not None
    ratios = (arm.tokens / plan.tokens, arm.teacher_tokens / plan.teacher_tokens)
    return all(1 / FARTHEST <= ratio <= FARTHEST for ratio in ratios)


def _longer(design: Design, layers: int, teacher: int) -> float | None:
    """STEP times the teacher's tokens, or as many as corpus and budget leave room for."""
    step = design.shapes.tokens_per_step
    most = _teachers_within(design).longest // step * step
    if design.charge_pretraining > 0:
        training = 3.0 * design.charge_pretraining * design.forward(layers)
        most = min(most, 0.9 * design.budget / training)
    longer = min(STEP * teacher, most)
    return longer if longer >= LEAST_STRETCH * teacher else None


def _fits(design: Design, arm: Arm) -> bool:
    """Whether the recommendation could have been this allocation: rounding to whole steps left it
    within 5% of the budget, in one epoch, with a teacher of those to choose from."""
    assert arm.teacher_layers is not None and arm.teacher_tokens is not None
    most, teachers = design.split_tokens, _teachers_within(design)
    if not teachers.smallest <= arm.teacher_layers <= teachers.biggest:
        return False
    if arm.teacher_tokens > teachers.longest + design.shapes.tokens_per_step / 2:
        return False
    spent = charged(design, arm)
    within = 1 / SLACK <= spent / design.budget <= SLACK
    affordable = _trained(design, arm) <= SLACK * (1 + design.uncharged) * design.budget
    return within and affordable and arm.tokens <= most and arm.teacher_tokens <= most


def _trained(design: Design, arm: Arm) -> float:
    """FLOPs of an allocation as the trial pays them, whatever the recipe charges."""
    return charged(replace(design, charge_inference=1.0, charge_pretraining=1.0), arm)


def charged(design: Design, arm: Arm) -> float:
    """FLOPs of an allocation by the recipe's accounting (Eq. 9)."""
    flops = 3.0 * design.forward(arm.layers) * arm.tokens
    if arm.teacher_layers is None or arm.teacher_tokens is None:
        return flops
    teacher = design.forward(arm.teacher_layers)
    flops += design.charge_inference * teacher * arm.tokens
    return flops + design.charge_pretraining * 3.0 * teacher * arm.teacher_tokens


def trained_layers(design: Design) -> tuple[int, ...]:
    """Sizes of the models that a trial trains most."""
    return (max(1, design.layers - 1), design.layers, design.layers + 1)


def affordable(
    design: Design, compared: tuple[Arm, ...]
) -> tuple[tuple[Arm, ...], tuple[Run, ...], tuple[str, ...]]:
    """The arms that the allowance pays for, their runs, and remarks on those left out: neighbours
    go first, the last of them before the others."""
    kept, spared = list(compared), []
    spent = sum(map(design.cost, design.ladder))
    while True:
        runs = trial_runs(design, tuple(kept))
        total = spent + sum(map(design.cost, runs))
        if total <= SLACK * design.allowance or kept[-1].key in (PLAN, EQUAL_TOKENS, EQUAL_FLOPS):
            break
        spared.append(kept.pop().title)
    if spared:
        titles = " and ".join(f"'{title}'" for title in reversed(spared))
        words = (f"The allowance does not pay for {titles} too.",)
        return tuple(kept), runs, words
    return tuple(kept), runs, ()


def trial_runs(design: Design, compared: tuple[Arm, ...]) -> tuple[Run, ...]:
    """Every arm with every seed, each seed with a teacher of its own."""
    runs: list[Run] = []
    for number in range(design.seeds):
        seed = design.seed + 101 + number
        for arm in compared:
            key = f"test-{arm.key}-{number}"
            if arm.teacher_layers is None or arm.teacher_tokens is None:
                runs.append(Run(key, "test", arm.key, "supervised", arm.layers, arm.tokens, seed))
                continue
            teacher = Run(
                f"{key}-teacher", "test", arm.key, "teacher", arm.teacher_layers,
                arm.teacher_tokens, seed,
            )  # fmt: skip
            student = Run(
                key, "test", arm.key, "distilled", arm.layers, arm.tokens, seed, teacher.key,
                arm.teacher_layers,
            )  # fmt: skip
            runs += [teacher, student]
    return tuple(runs)
