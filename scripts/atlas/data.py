"""Every solve the atlas needs: students, scenarios and budgets under the paper's bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner.optima import Many, solve_many
from planner.optimise.supervised import supervised_optima
from planner.problem import BOUNDS, Problem
from planner.rows import to_batches
from planner.scenarios import SCENARIOS

Array = NDArray[np.float64]
SIZES = (143e6, 300e6, 500e6, 1e9, 2e9, 3e9, 7e9, 10e9)
BUDGETS = (1e19, 1e27)
CHUNK = 1600
TOLERANCE = 1e-6
FIELDS = (
    "student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens",
    "teacher_cross_entropy", "cross_entropy", "lower_bound", "supervised_cross_entropy", "flops",
)  # fmt: skip


@dataclass(frozen=True)
class Plans:
    """One scenario's optima, arrays of shape (sizes, budgets), and the FLOPs of each term."""

    scenario: str
    student_parameters: Array
    student_tokens: Array
    teacher_parameters: Array
    teacher_tokens: Array
    teacher_cross_entropy: Array
    cross_entropy: Array
    lower_bound: Array
    supervised_cross_entropy: Array
    flops: Array

    @property
    def difference(self) -> Array:
        """Student minus supervised: negative where distilling is better."""
        return self.cross_entropy - self.supervised_cross_entropy

    def terms(self, law: CoefficientSet) -> dict[str, Array]:
        """FLOPs of student training, teacher inference and teacher pretraining as charged."""
        inference, pretraining = SCENARIOS[self.scenario].charges
        teacher = law.flops.per_token(self.teacher_parameters)
        student = law.flops.per_token(self.student_parameters)
        return {
            "student_training": 3 * student * self.student_tokens,
            "teacher_inference": inference * teacher * self.student_tokens,
            "teacher_pretraining": pretraining * 3 * teacher * self.teacher_tokens,
        }


@dataclass(frozen=True)
class Atlas:
    """Eight sizes over the budgets, sizes that are planned too, and maps of sizes by budgets."""

    law: CoefficientSet
    sizes: Array
    budgets: Array
    plans: dict[str, Plans]
    free: dict[str, Plans]
    free_budgets: Array
    map_sizes: Array
    map_budgets: Array
    maps: dict[str, Plans]
    solves: int
    largest_gap: float

    def size(self, parameters: float) -> int:
        """Position of a student size."""
        return int(np.argmin(np.abs(np.log(self.sizes / parameters))))

    def budget(self, flops: float) -> int:
        """Position of the nearest budget."""
        return int(np.argmin(np.abs(np.log(self.budgets / flops))))


def build(
    law: CoefficientSet,
    sizes: tuple[float, ...] = SIZES,
    budgets: int = 201,
    progress: Callable[[str], None] = lambda words: None,
) -> Atlas:
    """Solve everything, certified."""
    grid = np.geomspace(*BUDGETS, budgets)
    coarse = np.geomspace(*BUDGETS, max(5, budgets // 4))
    side = max(8, round(0.3 * budgets))
    map_sizes, map_budgets = np.geomspace(1e8, 1e11, side), np.geomspace(1e19, 1e26, side)
    plans: dict[str, Plans] = {}
    free: dict[str, Plans] = {}
    maps: dict[str, Plans] = {}
    solves, gap = 0, 0.0
    for name, scenario in SCENARIOS.items():
        progress(f"solving {name}")
        for target, students, over in (
            (plans, sizes, grid),
            (free, (None,), coarse),
            (maps, tuple(float(size) for size in map_sizes), map_budgets),
        ):
            problems = [
                Problem(
                    float(budget), student, *scenario.charges, bounds=BOUNDS["paper"],
                    tolerance=TOLERANCE, coefficients=law.name,
                )
                for student in students
                for budget in over
            ]  # fmt: skip
            shape = (len(students), len(over))
            columns = _solve(problems, law)
            target[name] = Plans(name, **{key: columns[key].reshape(shape) for key in FIELDS})
            solves += len(problems)
            found = columns["cross_entropy"] - columns["lower_bound"]
            gap = max(gap, float(np.nanmax(found[np.isfinite(found)], initial=0.0)))
    return Atlas(
        law, np.array(sizes), grid, plans, free, coarse, map_sizes, map_budgets, maps, solves, gap
    )


def _solve(problems: list[Problem], law: CoefficientSet) -> dict[str, Array]:
    parts: list[Many] = [
        solve_many(problems[start : start + CHUNK], law) for start in range(0, len(problems), CHUNK)
    ]
    return {key: np.concatenate([getattr(part, key) for part in parts]) for key in FIELDS}


def supervised_loss(law: CoefficientSet, size: float, budgets: Array) -> Array:
    """The supervised model of a size that spends each budget."""
    tokens = budgets / (3 * law.flops.per_token(size))
    return np.asarray(law.supervised.loss(size, tokens))


def compute_optimal(law: CoefficientSet, budgets: Array) -> tuple[Array, Array]:
    """(N, D) of compute-optimal supervised models for training budgets."""
    problems = [Problem(float(each), bounds=BOUNDS["paper"]) for each in budgets]
    batch, _ = to_batches(problems, law)
    best = supervised_optima(batch)
    return np.exp(best.u), np.exp(best.s)


def at_equal_loss(plans: Plans, law: CoefficientSet) -> tuple[Array, Array]:
    """(compute, data) of distillation over supervised training that reaches the same loss (Eq. 34).

    Zero where supervised training of that size never reaches it.
    """
    pretraining = SCENARIOS[plans.scenario].charges[1]
    tokens = law.supervised.tokens_for_loss(plans.student_parameters, plans.cross_entropy)
    compute = plans.flops / (3 * law.flops.per_token(plans.student_parameters) * tokens)
    data = plans.student_tokens + pretraining * plans.teacher_tokens
    return np.asarray(compute), np.asarray(data / tokens)
