"""Run plans for the paper's three protocols (Busbridge et al. 2025, Sec. 4.2), scaled to a budget.

    fixed-m-teachers   teachers at a fixed D_T/N_T, students along IsoFLOP profiles
    isoflop-teachers   teachers along IsoFLOP profiles, students at a fixed D_S/N_S
    fixed-m            both at fixed ratios: the capacity gap

Each protocol keeps the paper's proportions; one scale (the smallest IsoFLOP budget, or the smallest
model) is set so that the whole plan costs the budget. All models are buildable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from coefficients import CoefficientSet
from laws import Architecture, Cost
from laws._types import Array
from planner import units
from planner.errors import InfeasibleError, NoDistillationLawError, ProblemError
from planner.experiments.information import covariance, prior_precision, shares
from planner.fit.model import PRIOR
from planner.fit.rows import Rows
from planner.fit.starts import encode
from planner.fit.task import FORMS, Task

NOISE = 0.003
"""Relative noise of a run's loss that predicted errors assume (measured: 0.2 to 0.3%)."""

_BUDGET_RATIOS = (1.0, 10 / 3, 10.0, 100 / 3)  # the paper's 3e19 to 1e21
_MULTIPLES = (20.0, 40.0, 80.0, 160.0, 320.0)  # D/N of the fixed-M protocol
_M = 20.0
_SPREAD = (0.35, 0.6, 1.0, 1.7, 2.9)  # sizes around the compute-optimal one on an IsoFLOP profile
_SMALLEST = 5e6
_LARGEST = 2e11


@dataclass(frozen=True)
class Run:
    """One run: a teacher to train, or a student to distil from teacher number `teacher`.

    cost: FLOPs; a student's includes its teacher's inference. loss: expected cross-entropy.
    """

    kind: str
    architecture: Architecture
    tokens: float
    cost: float
    loss: float
    teacher: int | None = None

    @property
    def parameters(self) -> float:
        """Exact non-embedding parameters."""
        return float(self.architecture.parameters)


@dataclass(frozen=True)
class Design:
    """The runs of one protocol.

    errors: predicted standard error of the log of each coefficient (of c0 itself) from these runs
    and the plain prior, whose own are `prior`: where both are much alike, the runs tell little.
    identifies: for each student run the coefficients it tells most about. notes: what the budget
    did to the plan.
    """

    protocol: str
    summary: str
    teachers: tuple[Run, ...]
    students: tuple[Run, ...]
    errors: dict[str, float]
    identifies: tuple[tuple[str, ...], ...]
    prior: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sharpened(self) -> dict[str, float]:
        """By what factor the runs sharpen each coefficient beyond the prior, the largest first."""
        gains = {name: self.prior[name] / error for name, error in self.errors.items()}
        return dict(sorted(gains.items(), key=lambda each: -each[1]))

    @property
    def cost(self) -> float:
        """FLOPs of all runs; every teacher is trained once."""
        return float(sum(run.cost for run in (*self.teachers, *self.students)))


Shapes = tuple[list[tuple[float, float]], list[tuple[int, float, float]]]
"""Teachers as (N, D) and students as (teacher, N, D)."""


def _fixed_m_teachers(scale: float, chosen: CoefficientSet) -> Shapes:
    base = _optimal_size(scale * _BUDGET_RATIOS[-1], chosen)
    teachers = [(n, _M * n) for n in base * np.array([0.3, 0.55, 1.0, 1.8, 3.2, 5.7])]
    students = [
        (k, n, d)
        for ratio in _BUDGET_RATIOS
        for n, d in _profile(scale * ratio, chosen)
        for k in range(len(teachers))
    ]
    return teachers, students


def _isoflop_teachers(scale: float, chosen: CoefficientSet) -> Shapes:
    teachers = [pair for ratio in _BUDGET_RATIOS for pair in _profile(scale * ratio, chosen)]
    sizes = _optimal_size(scale * _BUDGET_RATIOS[1], chosen) * np.array([0.4, 0.8, 1.6, 3.2])
    return teachers, [(k, n, _M * n) for n in sizes for k in range(len(teachers))]


def _fixed_m(scale: float, chosen: CoefficientSet) -> Shapes:
    base = _optimal_size(scale, chosen)
    teachers = [(n, _M * n) for n in base * np.geomspace(0.7, 40.0, 10)]
    sizes = base * np.array([0.7, 1.2, 2.1, 3.6, 6.2])
    students = [(k, n, m * n) for n in sizes for m in _MULTIPLES for k in range(len(teachers))]
    return teachers, students


_PROTOCOLS: dict[str, tuple[Callable[[float, CoefficientSet], Shapes], str]] = {
    "fixed-m-teachers": (
        _fixed_m_teachers,
        "fixed-M teachers, student IsoFLOPs; the paper's way to the student's power law",
    ),
    "isoflop-teachers": (
        _isoflop_teachers,
        "IsoFLOP teachers, fixed-M students; the paper's way to how the teacher enters",
    ),
    "fixed-m": (
        _fixed_m,
        "fixed-M teachers and students; the paper's way to show the capacity gap",
    ),
}
PROTOCOLS = tuple(_PROTOCOLS)
"""Names of the protocols."""


def design(protocol: str, budget: float, chosen: CoefficientSet) -> Design:
    """The plan of a protocol that costs the budget, or as little less as buildable models allow.

    `chosen` lends FLOPs, architectures, and the law under which information is predicted. Raises
    InfeasibleError with the smallest budget that would do.
    """
    if protocol not in _PROTOCOLS:
        raise ProblemError(f"unknown protocol '{protocol}'; known: {', '.join(PROTOCOLS)}.")
    if chosen.distillation is None:
        raise NoDistillationLawError(
            f"set '{chosen.name}' has no distillation law; design with one that has, such as "
            "busbridge2025."
        )
    units.check_positive(budget, "budget")
    shapes, summary = _PROTOCOLS[protocol]

    def build(log_scale: float) -> tuple[tuple[Run, ...], tuple[Run, ...], float]:
        teachers, students = _runs(*shapes(float(np.exp(log_scale)), chosen), chosen)
        return teachers, students, float(sum(run.cost for run in (*teachers, *students)))

    low, high = np.log(1e14), np.log(1e26)
    least = build(low)[2]
    if least > budget:
        raise InfeasibleError(
            f"protocol {protocol} needs at least {units.format_flops(least)} FLOPs for its "
            f"smallest models; the budget is {units.format_flops(budget)}.",
            least,
        )
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if build(middle)[2] <= budget else (low, middle)
    sizes = _sizes(shapes(float(np.exp(low)), chosen))
    if sizes.max() > _LARGEST:
        raise ProblemError(_too_large(protocol, budget, float(sizes.max()), chosen))
    teachers, students, cost = build(low)
    errors, identifies = _information(teachers, students, chosen)
    prior = {name: PRIOR[name] for name in errors}
    notes = _notes(sizes, cost, budget)
    return Design(protocol, summary, teachers, students, errors, identifies, prior, notes)


def _sizes(shapes: Shapes) -> Array:
    """Every size that a protocol asks for."""
    teachers, students = shapes
    return np.array([n for n, _ in teachers] + [n for _, n, _ in students])


def _too_large(protocol: str, budget: float, size: float, chosen: CoefficientSet) -> str:
    """The sentence for a budget that buys models nobody can lay out, with the largest that does."""
    shapes = _PROTOCOLS[protocol][0]
    low, high = np.log(1e14), np.log(1e26)
    for _ in range(60):
        middle = 0.5 * (low + high)
        fits = _sizes(shapes(float(np.exp(middle)), chosen)).max() <= _LARGEST
        low, high = (middle, high) if fits else (low, middle)
    trained, distilled = _runs(*shapes(float(np.exp(low)), chosen), chosen)
    most = sum(run.cost for run in (*trained, *distilled))
    return (
        f"a budget of {units.format_flops(budget)} FLOPs asks protocol {protocol} for models above "
        f"{units.format_count(_LARGEST)} parameters ({units.format_count(size)}), beyond what it "
        f"lays out; give at most {units.format_flops(most)}."
    )


def _notes(sizes: Array, cost: float, budget: float) -> tuple[str, ...]:
    notes = []
    if small := int(np.sum(sizes < _SMALLEST)):
        notes.append(
            f"{small} of the {sizes.size} models asked for are below "
            f"{units.format_count(_SMALLEST)} parameters and were enlarged to it or merged: the "
            "budget is small for this protocol."
        )
    if cost < 0.9 * budget:
        notes.append(
            f"The plan leaves {1 - cost / budget:.0%} of the budget: the next larger buildable "
            "models would cost more than it."
        )
    return tuple(notes)


def _optimal_size(flops: float, chosen: CoefficientSet) -> float:
    """Compute-optimal supervised size for training FLOPs, on a fine grid."""
    sizes = np.geomspace(_SMALLEST / 10, _LARGEST * 10, 2000)
    tokens = Cost.of(chosen.flops, sizes).student_tokens(flops)
    return float(sizes[np.argmin(chosen.supervised.loss(sizes, tokens))])


def _profile(flops: float, chosen: CoefficientSet) -> list[tuple[float, float]]:
    """Sizes and tokens of equal training compute around the optimum."""
    sizes = _optimal_size(flops, chosen) * np.array(_SPREAD)
    tokens = np.asarray(Cost.of(chosen.flops, sizes).student_tokens(flops))
    return list(zip(sizes.tolist(), tokens.tolist(), strict=True))


def _runs(
    teachers: list[tuple[float, float]],
    students: list[tuple[int, float, float]],
    chosen: CoefficientSet,
) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """Buildable runs: sizes snapped to the family, token counts keep the compute or the ratio."""
    law, flops, family = chosen.distillation, chosen.flops, chosen.architectures
    assert law is not None

    def snap(size: float, tokens: float) -> tuple[Architecture, float]:
        built = family.nearest(min(max(size, _SMALLEST), _LARGEST))
        return built, float(round(tokens * size / built.parameters))

    trained: list[Run] = []
    places: dict[tuple[int, float], int] = {}
    place = []  # small scales snap several teachers to one model: it is trained once
    for size, tokens in teachers:
        built, d = snap(size, tokens)
        d = float(round(_M * built.parameters)) if abs(tokens / size - _M) < 1e-6 * _M else d
        n = float(built.parameters)
        loss = float(chosen.supervised.loss(n, d))
        key = (built.layers, d)
        if key not in places:
            places[key] = len(trained)
            trained.append(Run("teacher", built, d, float(flops.training(n, d)), loss))
        place.append(places[key])
    distilled = {}
    for k, size, tokens in ((place[k], n, d) for k, n, d in students):
        built, d = snap(size, tokens)
        ratio = tokens / size
        if any(abs(ratio - m) < 1e-6 * m for m in _MULTIPLES):
            d = float(round(ratio * built.parameters))
        n, teacher = float(built.parameters), trained[k]
        cost = float(Cost.of(flops, n, teacher.parameters, charge_inference=1.0).total(d))
        loss = float(law.loss(n, d, teacher.loss))
        distilled[(k, built.layers, d)] = Run("student", built, d, cost, loss, k)
    return tuple(trained), tuple(distilled.values())


def _information(
    teachers: tuple[Run, ...], students: tuple[Run, ...], chosen: CoefficientSet
) -> tuple[dict[str, float], tuple[tuple[str, ...], ...]]:
    law = chosen.distillation
    assert law is not None
    rows = _rows(teachers, students)
    task = Task(FORMS["distillation"], rows, chosen.supervised)
    values = {name: np.array([float(np.asarray(getattr(law, name)))]) for name in law.COEFFICIENTS}
    # In the law's own coefficients, so that the answer speaks of A and alpha, not of slopes.
    raw = task.model(raw=("alpha", "c1"))
    theta = encode(task, raw, values)[0]
    slopes = raw.evaluate(theta[None])[1][0].T
    cov = covariance(slopes, NOISE, prior_precision(raw.names))
    own = shares(slopes, NOISE, cov)
    order = np.argsort(-own, axis=1, kind="stable")[:, :2]
    told = tuple(tuple(raw.names[k] for k in row) for row in order)
    deviations = np.sqrt(np.diag(cov))
    return dict(zip(raw.names, map(float, deviations), strict=True)), told


def _rows(teachers: tuple[Run, ...], students: tuple[Run, ...]) -> Rows:
    def column(pick: Callable[[Run], float]) -> Array:
        return np.array([pick(run) for run in students])

    losses = np.array([teachers[run.teacher or 0].loss for run in students])
    return Rows(
        column(lambda run: run.parameters), column(lambda run: run.tokens),
        column(lambda run: run.loss), losses,
    )  # fmt: skip
