"""Buildable recipes: sizes restricted to real architectures, and proven best among those.

Sizes are integers of layers, so they are enumerated: per candidate student, teachers from a window
around the continuous optimum are rows of one batch with the teacher's size fixed. Two more rows
leave the teacher's size free below and above the window; the window grows until their lower bounds
show that no teacher out there can win.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from coefficients import CoefficientSet
from planner import units
from planner.answers import Answer, answers, smallest_budgets, smallest_inside, too_small
from planner.assemble import binding_bounds
from planner.errors import ProblemError
from planner.problem import Problem
from planner.result import Certificate, Recipe

WINDOW = 4  # architectures on either side of the continuous optimum, to begin with
MOST = 4096  # architectures on either side at which growing stops and the gap is reported as it is


def rounded(problem: Problem, coefficients: CoefficientSet) -> tuple[Problem, Recipe, Certificate]:
    """The problem with a buildable student, and the best recipe with a buildable teacher.

    A given student becomes the nearest buildable one. A free one is chosen among the buildable
    sizes on either side of the continuous optimum; then the certificate is relative to those.
    """
    best: tuple[Problem, Recipe, Certificate] | None = None
    lower = float("inf")
    for students in _students(problem, coefficients):
        for student in students:
            found = _best_teacher(student, coefficients)
            if found is None:
                continue
            recipe, certificate = found
            lower = min(lower, certificate.lower_bound)
            if best is None or recipe.student.cross_entropy < best[1].student.cross_entropy:
                best = (student, recipe, certificate)
        if best is not None:
            break
    if best is None:
        raise too_small(problem, _smallest_budget(problem, coefficients), coefficients)
    chosen, recipe, certificate = best
    gap = recipe.student.cross_entropy - lower
    recipe = replace(recipe, binding=binding_bounds(recipe, problem, coefficients))
    return chosen, recipe, replace(certificate, lower_bound=lower, gap=gap)


def _students(problem: Problem, coefficients: CoefficientSet) -> Iterator[list[Problem]]:
    """Buildable students, the most promising ones first: later ones only if those have no plan."""
    low, high = problem.bounds.student_size
    if problem.student is not None:
        size = float(coefficients.architectures.nearest(problem.student).parameters)
        bounds = replace(problem.bounds, student_size=(min(low, size), max(high, size)))
        yield [replace(problem, student=size, bounds=bounds)]
        return
    sizes = _buildable("student", problem, coefficients)
    [answer] = answers([problem], coefficients)
    if answer.recipe is None:  # then no buildable one has a plan either
        return
    assert answer.recipe.student.parameters is not None
    wanted = math.log(answer.recipe.student.parameters)
    middle = min(range(len(sizes)), key=lambda k: abs(math.log(sizes[k]) - wanted))
    yield [replace(problem, student=size) for size in sizes[max(0, middle - 1) : middle + 2]]
    for size in reversed(sizes[: max(0, middle - 1)]):
        yield [replace(problem, student=size)]


def _buildable(role: str, problem: Problem, coefficients: CoefficientSet) -> list[float]:
    """Sizes of real architectures within the bounds, and the domain where the plan stays in it."""
    low, high = getattr(problem.bounds, f"{role}_size")
    measured = coefficients.domain.of(f"{role}_parameters") if problem.stay_in_domain else None
    if measured is not None:
        low, high = max(low, measured[0]), min(high, measured[1])
    models = coefficients.architectures.between(low, high)
    if not models:
        raise _no_size(role, (low, high))
    return [float(model.parameters) for model in models]


def _smallest_budget(problem: Problem, coefficients: CoefficientSet) -> float:
    """FLOPs from which on a buildable student has a plan with a buildable teacher."""
    student = problem.student
    if student is None:
        student = _buildable("student", problem, coefficients)[0]
    else:
        student = float(coefficients.architectures.nearest(student).parameters)
    low, high = problem.bounds.student_size
    bounds = replace(problem.bounds, student_size=(min(low, student), max(high, student)))
    smallest = replace(problem, student=student, bounds=bounds)
    rows = [smallest]
    if not problem.teachers:
        sizes = _buildable("teacher", problem, coefficients)
        rows = [_teacher_between(smallest, size, size) for size in sizes]
    least = smallest_budgets(rows, coefficients)
    if not problem.stay_in_domain:
        return float(np.min(least))
    finite = [(row, float(b)) for row, b in zip(rows, least, strict=True) if math.isfinite(b)]
    return min((smallest_inside(row, b, coefficients) for row, b in finite), default=math.inf)


def _best_teacher(
    problem: Problem, coefficients: CoefficientSet
) -> tuple[Recipe, Certificate] | None:
    """The best recipe with a buildable teacher, and its proof; None if no such teacher has one."""
    free = answers([problem], coefficients)[0]
    recipe, certificate = free.recipe, free.certificate
    if recipe is None or certificate is None:
        return None
    if recipe.teacher.existing:
        return recipe, certificate
    assert recipe.teacher.parameters is not None
    family = coefficients.architectures
    low, high = problem.bounds.teacher_size
    middle = family.nearest(recipe.teacher.parameters).layers
    width = WINDOW
    while True:
        first, last = max(1, middle - width), middle + width
        sizes = [float(family.build(each).parameters) for each in range(first, last + 1)]
        inside = [size for size in sizes if low <= size <= high]
        rows = [_teacher_between(problem, size, size) for size in inside]
        tails = []
        if sizes[0] > low and first > 1:
            tails.append(_teacher_between(problem, low, sizes[0]))
        if sizes[-1] < high:
            tails.append(_teacher_between(problem, sizes[-1], high))
        found = answers([*rows, *tails], coefficients) if rows or tails else []
        feasible = [each for each in found[: len(rows)] if each.recipe is not None]
        if feasible:
            best = min(feasible, key=_loss)
            assert best.recipe is not None
            bounds = [each.certificate.lower_bound for each in found if each.certificate]
            gap = _loss(best) - min(bounds)
            if gap <= problem.tolerance or width >= MOST:
                boxes = sum(each.certificate.boxes for each in found if each.certificate)
                return best.recipe, Certificate(min(bounds), gap, problem.tolerance, boxes)
        elif not rows and not tails:
            raise _no_size("teacher", problem.bounds.teacher_size)
        elif width >= MOST or not tails:
            return None
        width *= 2


def _no_size(role: str, bounds: tuple[float, float]) -> ProblemError:
    low, high = (units.format_count(end) for end in bounds)
    return ProblemError(
        f"no buildable {role} has between {low} and {high} parameters; widen "
        f"--min-{role}-size and --max-{role}-size, or leave out --round-to-architecture."
    )


def _teacher_between(problem: Problem, low: float, high: float) -> Problem:
    return replace(problem, bounds=replace(problem.bounds, teacher_size=(low, high)))


def _loss(answer: Answer) -> float:
    assert answer.recipe is not None
    return answer.recipe.student.cross_entropy
