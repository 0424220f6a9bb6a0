"""Certified optima of problems: one by one, thousands as arrays, and with buildable sizes.

All rows of all problems go through the optimiser in one batch. `optima` gives recipes,
`solve_many` arrays, `rounded` the best recipe whose sizes are those of real architectures.

Buildable sizes are integers of layers, so they are enumerated: per candidate student, teachers from
a window around the continuous optimum are rows of one batch with the teacher's size fixed. Two more
rows leave the teacher's size free below and above the window; the window grows until their lower
bounds show that no teacher out there can win.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner import units
from planner.documents import Values
from planner.errors import InfeasibleError, ProblemError
from planner.optimise import Batch, minimise
from planner.optimise.batch import Array, Index
from planner.optimise.frontier import smallest_budget
from planner.optimise.search import Optima
from planner.optimise.starts import reach_range
from planner.optimise.supervised import SupervisedOptima, supervised_optima
from planner.optimise.ties import charged_cost, cheapest_teachers
from planner.problem import Problem, Teacher, shared_set
from planner.recipe import Row, baseline_of, binding_bounds, recipe_of
from planner.results import Baseline, Certificate, Recipe
from planner.rows import supervised_batch, to_batches

BUDGET_MARGIN = 1e-5
"""A smallest budget is rounded up by this, so that it is feasible itself."""

MOST_TIMES, PROBES = 1e6, 25
"""How far above the least cost a plan inside the domain is looked for, and by how many budgets."""

LOOSE = 1e-2
"""Nats: whether any plan exists does not depend on how good it is."""


@dataclass(frozen=True)
class Optimum:
    """The optimum of one problem, or the smallest budget (FLOPs) that would have one."""

    problem: Problem
    recipe: Recipe | None
    certificate: Certificate | None
    smallest_budget: float

    def require(self, coefficients: CoefficientSet) -> tuple[Recipe, Certificate]:
        """Recipe and certificate; InfeasibleError where there is none."""
        if self.recipe is None or self.certificate is None:
            raise infeasible(self.problem, self.smallest_budget, coefficients)
        return self.recipe, self.certificate


def optima(problems: Sequence[Problem], coefficients: CoefficientSet) -> list[Optimum]:
    """Certified optima of all problems under one coefficient set, in one vectorised search.

    A problem with several existing teachers has a row for each; the best row wins, and its lower
    bound is the lowest of all rows.
    """
    batch, counts = to_batches(problems, coefficients, constrained=True)
    tolerance = np.repeat([problem.tolerance for problem in problems], counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    found, ties = cheapest_teachers(batch, minimise(batch, tolerance, owner=owner))
    if any(problem.constraints for problem in problems):
        found, ties = _constrained(problems, coefficients, batch, found, ties)
    least = _least(batch)
    result, start = [], 0
    for problem, count in zip(problems, counts, strict=True):
        rows = slice(start, start + count)
        start += count
        best = rows.start + int(np.argmin(found.loss[rows]))
        smallest = float(np.min(least[rows])) * (1 + BUDGET_MARGIN)
        if not math.isfinite(found.loss[best]):
            result.append(Optimum(problem, None, None, smallest))
            continue
        u, s, n, d = (float(getattr(found, name)[best]) for name in "usnd")
        row = Row(u, s, n, d, tie=bool(ties[best]), teacher=best - rows.start)
        recipe = recipe_of(row, problem, coefficients)
        bound = float(np.min(found.lower_bound[rows]))
        certificate = Certificate(
            lower_bound=bound,
            gap=recipe.student.cross_entropy - bound,
            tolerance=problem.tolerance,
            boxes=int(np.sum(found.boxes[rows])),
        )
        result.append(Optimum(problem, recipe, certificate, smallest))
    return result


def _constrained(
    problems: Sequence[Problem],
    coefficients: CoefficientSet,
    batch: Batch,
    found: Optima,
    ties: NDArray[np.bool_],
) -> tuple[Optima, NDArray[np.bool_]]:
    """The same with the rows of constrained problems solved again, one by one."""
    from planner.constraints import rules_of
    from planner.optimise.constrained import minimise_constrained

    names = tuple(Optima.__dataclass_fields__)
    columns = {name: getattr(found, name).copy() for name in names}
    ties, row = ties.copy(), 0
    for problem in problems:
        for rules in rules_of(problem, coefficients):
            if rules and np.isfinite(found.loss[row]):
                one = batch.take(np.array([row]))
                own, ties[row] = minimise_constrained(one, rules, problem.tolerance)
                for name in names:
                    columns[name][row] = getattr(own, name)[0]
            row += 1
    return Optima(**columns), ties


def _least(batch: Batch) -> Array:
    """FLOPs below which a row has no plan; inf where bounds exclude each other."""
    low, high = reach_range(batch)
    sane = low <= high
    return np.where(sane, smallest_budget(batch, np.where(sane, high, 0.0)), np.inf)


def smallest_budgets(problems: Sequence[Problem], coefficients: CoefficientSet) -> Array:
    """The budget below which each problem has no plan, without solving any."""
    batch, counts = to_batches(problems, coefficients)
    least = np.minimum.reduceat(_least(batch), _firsts(counts))
    return np.asarray(least * (1 + BUDGET_MARGIN))


def _firsts(counts: Sequence[int]) -> Index:
    """The first row of every problem."""
    each = np.asarray(counts, dtype=np.intp)
    return np.asarray(np.cumsum(each) - each, dtype=np.intp)


@dataclass(frozen=True)
class _Same:
    """A coefficient set as the key of a cache: equal to itself only, as sets have no hash."""

    coefficients: CoefficientSet

    def __hash__(self) -> int:
        return id(self.coefficients)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.coefficients is other.coefficients


def smallest_inside(problem: Problem, smallest: float, coefficients: CoefficientSet) -> float:
    """The smallest budget of a plan inside the domain; inf where no budget gives one.

    It does not depend on the problem's own budget: the last answers are kept, as plans for many
    budgets of one student state it again and again.
    """
    return _smallest_inside(replace(problem, budget=1.0), smallest, _Same(coefficients))


@lru_cache(maxsize=256)
def _smallest_inside(problem: Problem, smallest: float, law: _Same) -> float:
    """The search itself.

    `smallest` pays for the least sizes and tokens, but the domain also ties the teacher's loss to
    the student's own: whether a plan exists is asked of the solver, for many budgets at once.
    """
    low = math.log(smallest)
    high, steps = low + math.log(MOST_TIMES), np.linspace(0.0, 1.0, PROBES)
    while True:
        budgets = np.exp(low + (high - low) * steps)
        asked = [replace(problem, budget=float(b), tolerance=LOOSE) for b in budgets]
        batch, counts = to_batches(asked, law.coefficients)
        loss = minimise(batch, LOOSE, polish=False).loss
        fits = np.isfinite(np.minimum.reduceat(loss, _firsts(counts)))
        if not np.any(fits):
            return math.inf
        first = int(np.argmax(fits))
        if first == 0 or high - low < PROBES * BUDGET_MARGIN:
            return float(budgets[first])
        low, high = math.log(budgets[first - 1]), math.log(budgets[first])


def infeasible(problem: Problem, smallest: float, coefficients: CoefficientSet) -> InfeasibleError:
    """The error for a problem without a plan: the budget that would be enough, or why none is."""
    if problem.constraints:
        free = replace(problem, constraints=())
        [without] = optima([free], coefficients)
        if without.recipe is None:
            return infeasible(free, without.smallest_budget, coefficients)
        return _excluded(problem, coefficients)
    if problem.stay_in_domain and math.isfinite(smallest):
        smallest = smallest_inside(problem, smallest, coefficients)
    return too_small(problem, smallest, coefficients)


def _excluded(problem: Problem, coefficients: CoefficientSet) -> InfeasibleError:
    """The error where the constraints leave no plan, and which of them are to blame."""
    texts = problem.constraints
    less = [replace(problem, constraints=texts[:k] + texts[k + 1 :]) for k in range(len(texts))]
    found = optima(less, coefficients) if len(texts) > 1 else []
    blamed = [text for text, each in zip(texts, found, strict=False) if each.recipe is not None]
    named = " and ".join(f"'{text}'" for text in blamed or texts)
    which = "constraint" if len(blamed or texts) == 1 else "constraints"
    return InfeasibleError(
        f"no plan of {units.format_flops(problem.budget)} FLOPs within the bounds keeps to the "
        f"{which} {named}; relax one, raise the budget or widen the bounds."
    )


def too_small(problem: Problem, smallest: float, coefficients: CoefficientSet) -> InfeasibleError:
    """The same for a smallest budget that is known to have a plan."""
    where = " inside the measured range" if problem.stay_in_domain else ""
    if problem.stay_in_domain and (reason := outside_reason(problem, coefficients)):
        return InfeasibleError(f"no plan exists{where}: {reason}.")
    if not math.isfinite(smallest) or smallest <= problem.budget:
        return InfeasibleError(
            f"no plan exists{where} at {units.format_flops(problem.budget)} FLOPs: the bounds on "
            "sizes, tokens and cross-entropies exclude each other; widen one of them."
        )
    return InfeasibleError(
        f"a budget of {units.format_flops(problem.budget)} FLOPs is too small{where}: the cheapest "
        f"plan within the bounds needs {_round_up(smallest)} FLOPs; raise the budget, or lower the "
        "least sizes and tokens or the serving tokens.",
        smallest,
    )


def outside_reason(problem: Problem, coefficients: CoefficientSet) -> str:
    """Why no budget at all gives a plan inside the domain; empty if a budget could."""
    domain = coefficients.domain
    if not domain.known:
        return f"the coefficient set '{coefficients.name}' does not state one"
    size = problem.student
    if size is None:
        return ""
    student = f"a student of {units.format_count(size)} parameters"
    sizes = domain.of("student_parameters")
    if sizes and any(domain.outside({"student_parameters": size}).values()):
        return (
            f"{student} is outside the measured sizes {units.format_count(sizes[0])} to "
            f"{units.format_count(sizes[1])}"
        )
    tokens, ratios = domain.of("student_tokens"), domain.of("student_tokens_per_parameter")
    if tokens and ratios:
        for ratio, end, clash in (
            (ratios[0], tokens[1], ratios[0] * size > tokens[1]),
            (ratios[1], tokens[0], ratios[1] * size < tokens[0]),
        ):
            if clash:
                few, more = ("fewest", "more") if end == tokens[1] else ("most", "fewer")
                return (
                    f"{units.format_ratio(ratio)} tokens per parameter, the {few} measured, are "
                    f"{units.format_count(ratio * size)} tokens for {student}, {more} than the "
                    f"{units.format_count(end)} measured"
                )
    return ""


def _round_up(flops: float) -> str:
    """Four digits, rounded up so that typing them back in is enough."""
    scale = 10.0 ** (math.floor(math.log10(flops)) - 3)
    return units.format_flops(math.ceil(flops / scale) * scale, 4)


@dataclass(frozen=True)
class Many:
    """Answers as arrays of shape (problems,); inf and NaN where a problem is infeasible.

    Parameters are non-embedding, cross-entropies nats per token, flops what the budget pays.
    `teacher` is the position of the chosen existing teacher, -1 where a new one is planned; its
    size and tokens are the given ones, NaN where they are not known.
    """

    student_parameters: Annotated[NDArray[np.float64], Values()]
    student_tokens: Annotated[NDArray[np.float64], Values()]
    teacher_parameters: Annotated[NDArray[np.float64], Values()]
    teacher_tokens: Annotated[NDArray[np.float64], Values()]
    teacher_cross_entropy: Annotated[NDArray[np.float64], Values()]
    cross_entropy: Annotated[NDArray[np.float64], Values()]
    lower_bound: Annotated[NDArray[np.float64], Values()]
    supervised_cross_entropy: Annotated[NDArray[np.float64], Values()]
    supervised_tokens: Annotated[NDArray[np.float64], Values()]
    flops: Annotated[NDArray[np.float64], Values()]
    teacher: Annotated[NDArray[np.intp], Values()]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Where a plan fits the budget."""
        return np.isfinite(self.cross_entropy)

    @property
    def gap(self) -> NDArray[np.float64]:
        """Certified gap in nats; NaN where a problem is infeasible."""
        with np.errstate(invalid="ignore"):
            return self.cross_entropy - self.lower_bound

    def inside(self, coefficients: CoefficientSet) -> NDArray[np.bool_]:
        """Where a plan exists and leaves no measured range; all False without a known domain."""
        quantities = coefficients.quantities(
            self.student_parameters,
            self.student_tokens,
            self.teacher_cross_entropy,
            self.teacher_parameters,
            self.teacher_tokens,
        )
        return np.asarray(self.feasible & coefficients.domain.covers(quantities))

    def with_teachers(self, teachers: Sequence[Sequence[Teacher]]) -> Many:
        """The same with the sizes and tokens of the chosen ones among each problem's teachers."""
        size, tokens = self.teacher_parameters.copy(), self.teacher_tokens.copy()
        for i in np.flatnonzero((self.teacher >= 0) & self.feasible).tolist():
            teacher = teachers[i][self.teacher[i]]
            size[i] = np.nan if teacher.size is None else teacher.size
            tokens[i] = np.nan if teacher.tokens is None else teacher.tokens
        return replace(self, teacher_parameters=size, teacher_tokens=tokens)


def solve_many(
    problems: Sequence[Problem],
    coefficients: CoefficientSet | None = None,
    polish: bool = True,
) -> Many:
    """Certified optima of many problems under one coefficient set, by default the one they name.

    Infeasible problems do not raise; problems that name several sets do. Without `polish` recipes
    are anywhere within the tolerance.
    """
    if not problems:
        raise ProblemError("there are no problems to solve; the grid is empty.")
    chosen = shared_set(problems, coefficients)
    batch, counts = to_batches(problems, chosen)
    tolerance = np.repeat([problem.tolerance for problem in problems], counts)
    baseline = None
    if any(problem.stay_in_domain for problem in problems):
        baseline = supervised_batch(problems, chosen)
    found = solve_batch(batch, tolerance, np.asarray(counts, dtype=np.intp), polish, baseline)
    return found.with_teachers([problem.teachers for problem in problems])


def solve_batch(
    batch: Batch,
    tolerance: NDArray[np.float64] | float,
    counts: NDArray[np.intp] | None = None,
    polish: bool = True,
    baseline: Batch | None = None,
) -> Many:
    """The same for a batch built by hand, `counts` rows (candidate teachers) per problem.

    A batch does not know the sizes of existing teachers: `Many.with_teachers` fills them in.
    baseline: one row per problem for supervised training, where its bounds are not the plan's.
    """
    counts = np.ones(len(batch), dtype=np.intp) if counts is None else counts
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(counts.size), counts)
    found, _ = cheapest_teachers(batch, minimise(batch, tolerance, polish, owner))
    rows = np.lexsort((found.loss, owner))[first]
    lower = np.full(counts.size, np.inf)
    np.minimum.at(lower, owner, found.lower_bound)
    best = batch.take(rows)
    u, s, n, d = found.u[rows], found.s[rows], found.n[rows], found.d[rows]
    planned = np.where(best.existing, np.nan, 1.0)
    alone = supervised_optima(best if baseline is None else baseline)
    return Many(
        student_parameters=np.exp(u),
        student_tokens=np.exp(s),
        teacher_parameters=np.exp(n) * planned,
        teacher_tokens=np.exp(d) * planned,
        teacher_cross_entropy=found.t[rows],
        cross_entropy=found.loss[rows],
        lower_bound=lower,
        supervised_cross_entropy=alone.loss,
        supervised_tokens=np.where(np.isfinite(alone.loss), np.exp(alone.s), np.nan),
        flops=charged_cost(best, u, s, n, d),
        teacher=np.where(best.existing, rows - first, -1),
    )


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
    [answer] = optima([problem], coefficients)
    if answer.recipe is None:  # then no buildable one has a plan either
        return
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
    free = optima([problem], coefficients)[0]
    recipe, certificate = free.recipe, free.certificate
    if recipe is None or certificate is None:
        return None
    if recipe.teacher.existing:
        return recipe, certificate
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
        found = optima([*rows, *tails], coefficients) if rows or tails else []
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
        f"min_{role}_size and max_{role}_size, or leave out round_to_architecture."
    )


def _teacher_between(problem: Problem, low: float, high: float) -> Problem:
    return replace(problem, bounds=replace(problem.bounds, teacher_size=(low, high)))


def _loss(answer: Optimum) -> float:
    assert answer.recipe is not None
    return answer.recipe.student.cross_entropy


def optimum(
    problem: Problem, coefficients: CoefficientSet | None = None
) -> tuple[Recipe, Certificate]:
    """Only the best recipe and its certificate; raises as `solve` does."""
    chosen = problem.coefficient_set(coefficients)
    return optima([problem], chosen)[0].require(chosen)


def supervised(problem: Problem, coefficients: CoefficientSet | None = None) -> Baseline:
    """The best supervised model for the problem's budget, size and bounds."""
    return best_supervised(problem, problem.coefficient_set(coefficients))


def _supervised(problem: Problem, coefficients: CoefficientSet) -> SupervisedOptima:
    """The best supervised model under the constraints that mention the student alone."""
    batch = supervised_batch([problem], coefficients, constrained=True)
    if not problem.constraints:
        return supervised_optima(batch)
    from planner.constraints import student_rules
    from planner.optimise.constrained import supervised_under

    rules = student_rules(problem, coefficients)
    return supervised_under(batch, rules) if rules else supervised_optima(batch)


def best_supervised(problem: Problem, coefficients: CoefficientSet) -> Baseline:
    """The best supervised model under a set; InfeasibleError where none fits the budget."""
    best = _supervised(problem, coefficients)
    if not np.isfinite(best.loss[0]):
        raise infeasible(problem, best.smallest_budget(), coefficients)
    return baseline_of(float(best.u[0]), float(best.s[0]), problem, coefficients)
