"""Buildable recipes: sizes restricted to real architectures, and proven best among those.

Sizes are integers of layers, so they are enumerated: per candidate student, teachers from a window
around the continuous optimum are rows of one batch with the teacher's size fixed. Two more rows
leave the teacher's size free below and above the window; the window grows until their lower bounds
show that no teacher out there can win.
"""

from __future__ import annotations

from dataclasses import replace

from coefficients import CoefficientSet
from planner import units
from planner.answers import Answer, answers
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
    students = _students(problem, coefficients)
    if not students:
        raise _no_size("student", problem.bounds.student_size)
    best: tuple[Problem, Recipe, Certificate] | None = None
    lower = float("inf")
    for student in students:
        recipe, certificate = _best_teacher(student, coefficients)
        lower = min(lower, certificate.lower_bound)
        if best is None or recipe.student.cross_entropy < best[1].student.cross_entropy:
            best = (student, recipe, certificate)
    assert best is not None
    chosen, recipe, certificate = best
    gap = recipe.student.cross_entropy - lower
    recipe = replace(recipe, binding=binding_bounds(recipe, problem, coefficients))
    return chosen, recipe, replace(certificate, lower_bound=lower, gap=gap)


def _students(problem: Problem, coefficients: CoefficientSet) -> list[Problem]:
    family = coefficients.architectures
    if problem.student is not None:
        size = problem.student
        layers = [family.nearest(size).layers]
    else:
        recipe, _ = answers([problem], coefficients)[0].require(coefficients)
        assert recipe.student.parameters is not None
        middle = family.nearest(recipe.student.parameters).layers
        layers = [each for each in (middle - 1, middle, middle + 1) if each >= 1]
    low, high = problem.bounds.student_size
    sizes = [float(family.build(each).parameters) for each in layers]
    if problem.student is not None:  # the nearest size may lie just outside bounds met by the asked
        low, high = min(low, sizes[0]), max(high, sizes[0])
        bounds = replace(problem.bounds, student_size=(low, high))
        return [replace(problem, student=sizes[0], bounds=bounds)]
    return [replace(problem, student=size) for size in sizes if low <= size <= high]


def _best_teacher(problem: Problem, coefficients: CoefficientSet) -> tuple[Recipe, Certificate]:
    free = answers([problem], coefficients)[0]
    recipe, certificate = free.require(coefficients)
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
            return found[0].require(coefficients) if found else free.require(coefficients)
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
