"""Random planning problems in plain numbers, and the same problems in the planner's words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.problem import Bounds, Problem
from tests.oracles.scip import PAPER, Instance, Range

CHARGES = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
SIZES: Range = (1e6, 1e12)
TOKENS: Range = (1e6, 20e12)
KINDS = ("plain", "fractional", "capped", "serving", "free", "free serving", "free capped")


def draw(kind: str, rng: np.random.Generator) -> Instance:
    """One problem of a kind: N_S in [1e8, 3e10], C in [1e19, 1e25], both bounds, all charges."""
    budget, student = log_uniform(rng, 1e19, 1e25), log_uniform(rng, 1e8, 3e10)
    charges = CHARGES[rng.integers(4)]
    if kind == "fractional":
        charges = (float(rng.random()), float(rng.random()))
    paper = bool(rng.integers(2))
    sizes, tokens = (PAPER, PAPER) if paper else (SIZES, TOKENS)
    found = Instance(budget, student, *charges, sizes, tokens, sizes, tokens)
    if kind.startswith("free"):
        found = replace(found, student=None)
    if kind.endswith("serving"):
        # Serving takes between a thousandth and nearly all of the budget at 6 FLOPs a parameter.
        size = student if found.student is not None else log_uniform(rng, 1e8, 1e10)
        found = replace(found, serving=log_uniform(rng, 1e-3, 0.3) * budget / size)
    return capped(found, rng) if kind.endswith("capped") else found


def capped(instance: Instance, rng: np.random.Generator) -> Instance:
    """One to three random bounds moved into the middle of things."""
    near = {
        "student_tokens": (1e9, 1e13),
        "teacher_size": (1e8, 1e11),
        "teacher_tokens": (1e9, 1e13),
        "student_size": (1e8, 1e11),
    }
    names = [name for name in near if name != "student_size" or instance.student is None]
    for name in rng.choice(names, size=int(rng.integers(1, 4)), replace=False):
        low, high = getattr(instance, name)
        cap = log_uniform(rng, *near[name])
        moved = (low, cap) if rng.random() < 0.7 else (cap, high)
        instance = replace(instance, **{str(name): moved})
    return instance


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def to_problem(instance: Instance, tolerance: float = 1e-6) -> Problem:
    """The planner's Problem."""
    sizes = instance.student_size if instance.student is None else PAPER
    return Problem(
        budget=instance.budget,
        student=instance.student,
        charge_inference=instance.inference,
        charge_pretraining=instance.pretraining,
        bounds=Bounds(
            sizes, instance.student_tokens, instance.teacher_size, instance.teacher_tokens
        ),
        serving_tokens=instance.serving,
        tolerance=tolerance,
        coefficients="busbridge2025",
    )
