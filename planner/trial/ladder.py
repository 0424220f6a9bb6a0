"""A trial's sizes, stand-ins for existing teachers, and the ladder that calibrates the laws.

The ladder's runs and the tested ones share no run and no seed. A teacher of the recipe's size
cannot teach a student of the trial's: the trial trains a stand-in, as many times larger than its
student, on as many tokens per parameter, as far as text and FLOPs reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from coefficients import CoefficientSet
from planner import units
from planner.errors import InfeasibleError
from planner.problem import Problem, Teacher
from planner.trial.design import TEACHER_SEEDS, Design, Run, Scale, StandIn, Tier

LEAST_STEPS = 3
"""Updates of the shortest run; an allowance that cannot pay for them is refused."""

FEWEST_TOKENS = 10.0
"""Tokens per parameter below which no student goes for want of text: a smaller budget is spent
instead. The laws were measured from 17 on."""

# Layers relative to the student's, FLOPs of the run relative to one allocation. Shorter runs would
# be spent warming up: below about a hundred updates losses do not follow a power law yet.
_SUPERVISED = ((0, 0.25), (0, 0.60), (1, 0.60))
_TEACHERS = ((-1, 0.25), (-1, 0.60), (0, 0.60), (1, 0.70))
_DISTILLED = ((1, 0.35), (2, 0.35), (2, 0.60), (3, 0.50))  # which teacher, FLOPs
RATES = (0.005, 0.02, 0.08)
"""Peak learning rates tried for each class of run."""

_TUNING = 0.35  # FLOPs of each run that tries a rate
_REPLICATED = 0  # the supervised run that is done twice, to see the noise
_LADDER = (
    sum(share for part in (_SUPERVISED, _TEACHERS, _DISTILLED) for _, share in part)
    + _SUPERVISED[_REPLICATED][1]
    + _TUNING * (2 * len(RATES) + 1)
)
_TOKENS_ARM = 0.4  # about what the student's own training takes of a fully charged allocation
_TWICE = 2.0  # about what an uncharged teacher makes of an allocation


def _free(question: Question) -> bool:
    """Whether something of the teacher is left uncharged."""
    return question.charge_pretraining < 1 or question.problem.charge_inference < 1


def allocation(question: Question, tier: Tier) -> float:
    """About the FLOPs of one allocation for which ladder and test fit the tier's."""
    named = min(len(question.problem.teachers), 1 + tier.neighbours)
    if named:
        each = named * 1.5 + 2  # students with their teacher's forward passes, and baselines
        return tier.flops / (_LADDER + 1 + tier.neighbours + tier.seeds * each)
    distilled = (1 + tier.neighbours) * (_TWICE if _free(question) else 1.0)
    return tier.flops / (_LADDER + tier.seeds * (distilled + 1 + _TOKENS_ARM))


def make_design(
    question: Question, base: CoefficientSet, tier: Tier, scale: Scale, vocabulary: int,
    split_tokens: int, corpus: str, seed: int,
) -> Design:  # fmt: skip
    """The sizes and the ladder: the largest budget for which everything that will be trained fits
    the allowance. The student is the buildable one whose supervised baseline comes nearest to the
    recipe's tokens per parameter without repeating data.

    Raises InfeasibleError for an allowance too small to train anything.
    """
    problem = question.problem

    def first(flops: float) -> Design:
        most = allocation(question, replace(tier, flops=flops))
        return Design(
            scale.name, vocabulary, 2, most * (_TWICE if _free(question) else 1.0), flops,
            tier.seeds, tier.neighbours, seed, corpus, split_tokens, question.ratio,
            problem.charge_inference, question.charge_pretraining,
        )  # fmt: skip

    design = first(tier.flops)
    wanted = _fitted(design, question, base, limited=False)
    design = _fitted(design, question, base, limited=True)
    remarks = (*_corpus_remarks(design, wanted), *_teacher_remarks(design))
    design = replace(design, expected=_expected(design), remarks=remarks)
    shortest = _shortest(design)
    if shortest >= LEAST_STEPS:
        return design
    if design.budget < 0.98 * wanted.budget:
        raise InfeasibleError(
            f"a trial's shortest run would take {shortest} steps. "
            + _more_text(design, 4.0 * LEAST_STEPS / max(shortest, 1) * design.split_tokens)
        )
    least = tier.flops
    while _shortest(_fitted(first(least), question, base, limited=False)) < LEAST_STEPS:
        least *= 1.1
    raise InfeasibleError(
        f"{units.format_flops(tier.flops)} FLOPs are too few for a trial: its shortest run "
        f"would take {shortest} steps; allow about {units.format_flops(least, 2)}.",
        least,
    )


def _shortest(design: Design) -> int:
    """Updates of the shortest run of the ladder."""
    return min(run.tokens for run in design.ladder) // design.shapes.tokens_per_step


def _fitted(design: Design, question: Question, base: CoefficientSet, *, limited: bool) -> Design:
    """The design whose runs are expected to cost the allowance, limited by the corpus or not.

    Sizes come in steps and a smaller budget may have a smaller student: shrunk until it fits.
    """
    while True:
        text = design if limited else replace(design, split_tokens=1 << 60)
        layers = _student(text)
        budget = min(design.budget, 3.0 * design.forward(layers) * text.most)
        found = _sized(replace(text, layers=layers, budget=budget), question, base)
        cost = _expected(found)
        if cost <= design.allowance * (1 + 1e-9):
            return replace(found, split_tokens=design.split_tokens)
        design = replace(design, budget=budget * min(0.999, max(0.95, design.allowance / cost)))


def _sized(design: Design, question: Question, base: CoefficientSet) -> Design:
    """With the teachers that the recipe names, and the ladder."""
    design = replace(design, teachers=given(design, question, base))
    return replace(design, tuning=_tuning(design), ladder=_ladder(design))


def _student(design: Design) -> int:
    """Layers whose supervised baseline at the budget has nearest the recipe's tokens per
    parameter, among those that have a smaller sibling.

    Too little text makes the student larger, so that it reads each token once, as far as there are
    FEWEST_TOKENS for every parameter.
    """
    layers = 2

    def tokens(layers: int) -> float:
        return design.budget / (3.0 * design.forward(layers))

    def enough(layers: int) -> bool:
        return design.most >= FEWEST_TOKENS * design.parameters(layers)

    while tokens(layers) > design.most and enough(layers + 1):
        layers += 1
    while tokens(layers + 1) / design.parameters(layers + 1) >= design.ratio and (
        tokens(layers + 1) <= design.most or enough(layers + 1)
    ):
        layers += 1
    return layers


def _expected(design: Design) -> float:
    """FLOPs that ladder and test are expected to cost, from the largest teachers that the plan may
    choose: everything that is trained, charged or not."""
    student = 3.0 * design.forward(design.layers)
    free = 1.0 - design.charge_inference
    cost = sum(map(design.cost, design.before))
    if design.teachers:
        named = [design.forward(given.layers) for given in design.teachers]
        cost += sum(
            3.0 * flops * given.tokens
            for flops, given in zip(named, design.teachers, strict=True)
        )  # fmt: skip
        distilled = sum(1 + free * flops / student for flops in named)
        smallest = min(named)
    else:
        teacher = design.forward(design.layers + 1)
        each = 1 + (1 - design.charge_pretraining) + free * teacher / student
        distilled = (1 + design.neighbours) * each
        smallest = design.forward(1)
    supervised = 1.0
    if design.whole_teacher:
        supervised += _TOKENS_ARM
    elif not design.coincide:
        supervised += student / (student + design.charge_inference * smallest)
    return cost + design.seeds * (distilled + supervised) * design.budget


def _corpus_remarks(design: Design, wanted: Design) -> tuple[str, ...]:
    """What the text does not suffice for, and how far the student is from the recipe's."""
    ratio = design.baseline() / design.parameters(design.layers)
    found = []
    unspent = _expected(design) < 0.9 * design.allowance
    if unspent and design.budget < 0.98 * wanted.budget:
        found.append(
            f"The corpus limits the trial: each allocation has {units.format_flops(design.budget)} "
            f"FLOPs instead of {units.format_flops(wanted.budget)}, and the whole trial about "
            f"{units.format_flops(_expected(design))} of the "
            f"{units.format_flops(design.allowance)} allowed, so that no data are repeated and "
            f"students do not fall below {FEWEST_TOKENS:g} tokens per parameter for want of text. "
            + _more_text(design, _least_text(wanted))
        )
    if not 0.5 < ratio / design.ratio < 2:
        limited = design.layers > wanted.layers or design.budget < 0.98 * wanted.budget
        found.append(
            f"The student's supervised baseline has {units.format_count(ratio)} tokens per "
            f"parameter, the recipe's {units.format_count(design.ratio)}: "
            + (
                "the corpus is short. " + _more_text(design, wanted.baseline())
                if limited
                else "models come in sizes, and the allowance reaches no nearer."
            )
        )
    return tuple(found)


def _more_text(design: Design, needed: float) -> str:
    return (
        f"The smaller half of the corpus has {units.format_count(design.split_tokens)} tokens, "
        f"about {units.format_count(needed)} are needed: give more text with --data, a file, a "
        "folder, or a data set of the hub with --max-documents."
    )


def _least_text(wanted: Design) -> float:
    """Tokens per half for which the budget need not shrink."""
    layers = 2

    def tokens(layers: int) -> float:
        return replace(wanted, layers=layers).baseline()

    while tokens(layers + 1) >= FEWEST_TOKENS * wanted.parameters(layers + 1):
        layers += 1
    return tokens(layers)


def _teacher_remarks(design: Design) -> tuple[str, ...]:
    """Who trains the teachers that the recipe does not pay for."""
    if design.teachers:
        each = "; ".join(
            f"{given.text} becomes {units.format_count(design.parameters(given.layers))} "
            f"parameters on {units.format_count(given.tokens)} tokens"
            for given in design.teachers
        )
        return (
            "The recipe's teacher exists, and cannot be used at this scale: the trial trains a "
            f"stand-in once, for all seeds, at its own expense ({each}; the recipe's size relative "
            "to the student and its tokens per parameter, as far as corpus and allowance reach). "
            "Seeds therefore vary the students alone.",
        )
    if design.whole_teacher:
        return ()
    return (
        "The recipe does not pay for all of the teacher's training; the trial trains it all the "
        "same, at most one allocation's worth, from its allowance, and leaves that cost out of "
        "the comparison, as the recipe does.",
    )


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


def _tuning(design: Design) -> tuple[Run, ...]:
    """The student at every rate, alone and beside a teacher of its own size."""
    layers, step = design.layers, design.shapes.tokens_per_step

    def tokens(teacher: int | None) -> int:
        paid = _TUNING * design.budget / _per_token(design, layers, teacher)
        return min(design.most, int(paid) // step * step)

    teacher = Run(
        "tuning-teacher", "tuning", "tuning", "teacher", layers, tokens(None),
        TEACHER_SEEDS + design.seed, rate=RATES[len(RATES) // 2],
    )  # fmt: skip
    runs = [teacher]
    for index, rate in enumerate(RATES):
        alone = Run(
            f"tuning-supervised-{index}", "tuning", "tuning", "supervised", layers, tokens(None),
            design.seed, rate=rate,
        )  # fmt: skip
        taught = Run(
            f"tuning-distilled-{index}", "tuning", "tuning", "distilled", layers, tokens(layers),
            design.seed, teacher.key, layers, rate,
        )  # fmt: skip
        runs += [alone, taught]
    return tuple(runs)


def _ladder(design: Design) -> tuple[Run, ...]:
    step = design.shapes.tokens_per_step
    tokens = [
        min(
            design.most,
            int(share * design.budget / _per_token(design, layers, teacher)) // step * step,
        )
        for layers, share, teacher in _shares(design)
    ]
    plain, taught = len(_SUPERVISED), len(_SUPERVISED) + len(_TEACHERS)
    seed = TEACHER_SEEDS + design.seed
    teachers = [
        Run(f"ladder-teacher-{index}", "ladder", "ladder", "teacher", layers, count, seed)
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


ASSUMED_RATIO = 20.0
"""Tokens per parameter of a teacher that is known by its cross-entropy alone."""


@dataclass(frozen=True)
class Question:
    """What a trial takes from a recipe: sizes relative to one another, and who pays for what.

    student: non-embedding parameters. ratio: tokens per parameter of the supervised baseline.
    chosen: size and tokens of the recipe's teacher (None: unknown).
    """

    problem: Problem
    student: float
    ratio: float
    chosen: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Question:
        """From a recipe document."""
        recipe = document["recipe"]
        student, teacher = recipe["student"], recipe["teacher"]
        ratio = float(document["supervised"]["model"]["tokens_per_parameter"] or 20.0)
        problem = Problem.from_mapping(document["problem"])
        chosen = (teacher.get("parameters"), teacher.get("tokens"))
        return cls(problem, float(student["parameters"]), ratio, chosen)

    @property
    def charge_pretraining(self) -> float:
        """The share of a teacher's training that is charged: none where it exists."""
        return 0.0 if self.problem.teachers else self.problem.charge_pretraining


def given(design: Design, question: Question, base: CoefficientSet) -> tuple[StandIn, ...]:
    """The recipe's own teachers at the trial's scale, the chosen one first, none twice."""
    teachers = sorted(question.problem.teachers, key=lambda one: _differs(one, question.chosen))
    teachers = teachers[: 1 + design.neighbours]
    # what each may cost depends on how many there are
    design = replace(design, teachers=tuple(StandIn(1, 1, str(each)) for each in teachers))
    found: dict[tuple[int, int], StandIn] = {}
    for each in teachers:
        size, tokens = _sizes(each, base)
        layers, count = _scaled(design, size / question.student, tokens / size)
        before = found.get((layers, count))
        text = f"{before.text} and {each}" if before else str(each)
        found[layers, count] = StandIn(layers, count, text)
    return tuple(found.values())


def _differs(teacher: Teacher, chosen: tuple[float | None, float | None]) -> bool:
    """Whether the recipe chose another one."""
    return any(
        mine is not None and theirs is not None and abs(mine / theirs - 1) > 1e-6
        for mine, theirs in zip((teacher.size, teacher.tokens), chosen, strict=True)
    )


def _sizes(teacher: Teacher, base: CoefficientSet) -> tuple[float, float]:
    """Size and tokens of a teacher; what is unknown is what the law makes of its cross-entropy."""
    law, size, tokens = base.supervised, teacher.size, teacher.tokens
    if size is None:
        assert teacher.loss is not None
        low, high = 1e3, 1e15
        while high / low > 1.001:
            middle = (low * high) ** 0.5
            worse = float(law.loss(middle, ASSUMED_RATIO * middle)) > teacher.loss
            low, high = (middle, high) if worse else (low, middle)
        size = low
    if tokens is None:
        assert teacher.loss is not None
        tokens = float(law.tokens_for_loss(size, teacher.loss))
    return size, tokens


def _scaled(design: Design, times: float, ratio: float) -> tuple[int, int]:
    """Layers and tokens of a teacher so many times the student, of so many tokens per parameter.

    Corpus and allowance may leave it fewer tokens; it is made smaller before it has fewer than
    the student's own baseline.
    """
    family = design.shapes.family
    layers = family.nearest(times * design.parameters(design.layers)).layers

    def tokens(layers: int) -> float:
        asked = ratio * design.parameters(layers)
        return min(asked, design.most, design.teacher_flops / (3.0 * design.forward(layers)))

    def poor(layers: int) -> bool:
        asked = min(ratio * design.parameters(layers), design.most)
        return tokens(layers) < min(asked, design.baseline())

    while layers > design.layers and poor(layers):
        layers -= 1
    return layers, design.whole(tokens(layers))
