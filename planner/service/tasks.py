"""What a solver process can be asked: request body in, answer out. A new task is one line in TASKS.

Runs in the solver processes, never in the front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.errors import ProblemError
from planner.service import fitting, questions
from planner.service.body import Given, read_object, take_options, whole
from planner.service.problems import refuse
from planner.service.reading import read_problem
from planner.service.worker import Context, Reply, answer, refusal

if TYPE_CHECKING:
    from coefficients import CoefficientSet
    from planner.plan import Plan
    from planner.problem import Problem
    from planner.reports import Screen

Task = Callable[[bytes, Mapping[str, Any], Context], Reply]
Batch = Callable[[Sequence[tuple[bytes, Mapping[str, Any]]], Context], list[Reply]]
JSON = "application/json"


def plan(body: bytes, options: Mapping[str, Any], context: Context) -> Reply:
    """One certified plan in the format `options` names: the command line's own bytes."""
    from planner.reports import FORMATS
    from planner.solve import solve

    problem, coefficients = read_problem(read_object(body), context.limits)
    name = options.get("format", "json")
    screen = _screen(options)
    found = solve(
        problem,
        coefficients,
        robust=options.get("robust"),
        sensitivity=options.get("sensitivity", False),
    )
    more = ""
    if "near_optimal" in options:
        from planner.analysis.near_optimal import around
        from planner.reports.near import beside

        near = around(found, options["near_optimal"], coefficients)
        found, more = beside(found, near, coefficients, name, screen)
    text = FORMATS[name].render(found, screen)
    text = f"{text}\n{more}" if more else text
    return Reply(200, FORMATS[name].media_type, text.encode("utf-8"))


def plans(questions: Sequence[tuple[bytes, Mapping[str, Any]]], context: Context) -> list[Reply]:
    """Many plans, each as `plan` answers it; those under one coefficient set are one batch."""
    from planner.solve import solve_each

    replies: dict[int, Reply] = {}
    groups: dict[int, list[tuple[int, Problem, CoefficientSet]]] = {}
    for index, (body, options) in enumerate(questions):
        if options.keys() & VIEWS:
            replies[index] = answer("plan", body, options, context)
            continue
        try:
            problem, coefficients = read_problem(read_object(body), context.limits)
        except Exception as error:  # a mistake or a fault: `refusal` tells them apart
            replies[index] = refusal(error, "plan")
        else:
            groups.setdefault(id(coefficients), []).append((index, problem, coefficients))
    for group in groups.values():
        found = solve_each([problem for _, problem, _ in group], group[0][2])
        for (index, _, _), each in zip(group, found, strict=True):
            replies[index] = (
                refusal(each, "plan") if isinstance(each, Exception)
                else _rendered(each, questions[index][1])
            )  # fmt: skip
    return [replies[index] for index in range(len(questions))]


def _rendered(found: Plan, options: Mapping[str, Any]) -> Reply:
    from planner.reports import FORMATS

    form = FORMATS[options.get("format", "json")]
    return Reply(200, form.media_type, form.render(found, _screen(options)).encode("utf-8"))


def _screen(options: Mapping[str, Any]) -> Screen:
    from planner.reports import Screen

    return Screen(
        width=options.get("width", 100),
        colour=options.get("colour", False),
        unicode=options.get("unicode", True),
    )


VIEWS = frozenset(("robust", "sensitivity", "near_optimal"))

EXPLORE_OPTIONS: dict[str, Any] = {
    "parts": ["plan", "gap", "curves", "map"],
    "budgets": 55,
    "map_budgets": 37,
    "map_students": 25,
}
PARTS = tuple(EXPLORE_OPTIONS["parts"])


def explore(body: bytes, options: Mapping[str, Any], context: Context) -> Reply:
    """Everything the page draws around one problem; see docs/service.md for the arrays."""
    from planner.service import explore as charts
    from planner.service.display import display
    from planner.solve import optimum, solve

    given, own = take_options(read_object(body), EXPLORE_OPTIONS)
    parts = own["parts"]
    if not isinstance(parts, list) or not all(part in PARTS for part in parts):
        raise ProblemError(f"parts are {parts!r}; give a list of {', '.join(PARTS)}.")
    grid = charts.Grid(
        whole(own["budgets"], "budgets", 2, 500),
        whole(own["map_budgets"], "map_budgets", 2, 200),
        whole(own["map_students"], "map_students", 2, 200),
    )
    if grid.points > context.limits.grid_points:
        raise refuse(
            422,
            "quantity",
            f"the grid has {grid.points:,} points; ask for at most {context.limits.grid_points:,}.",
        )
    problem, coefficients = read_problem(given, context.limits)
    answer: Given = {"schema_version": 1, "kind": "explore"}
    if "plan" in parts:
        solved = solve(problem, coefficients)
        recipe = solved.recipe
        answer["plan"] = solved.to_dict()
        answer["display"] = display(solved, coefficients, given.get("budget"))
    elif "gap" in parts:
        recipe, _proof = optimum(problem, coefficients)
    if "gap" in parts:
        student = recipe.student
        assert student.parameters is not None
        assert student.tokens is not None
        assert recipe.teacher.cross_entropy is not None
        answer["gap"] = charts.gap(
            student.parameters, student.tokens, recipe.teacher.cross_entropy, coefficients
        )
        answer["gap"]["here"] = {
            "teacher_cross_entropy": recipe.teacher.cross_entropy,
            "cross_entropy": student.cross_entropy,
        }
    if "curves" in parts:
        answer["curves"] = charts.curves(problem, coefficients, grid)
    if "map" in parts:
        answer["map"] = charts.wins(problem, coefficients, grid)
    return questions.json_reply(answer)


TASKS: dict[str, Task] = {
    "plan": plan,
    "explore": explore,
    "compare": questions.compare,
    "target": questions.target,
    "evaluate": questions.evaluate,
    "explain": questions.explain,
    "near_optimal": questions.near_optimal,
    "family": questions.family,
    "teachers": questions.teachers,
    "sweep": questions.sweep,
    "fit": fitting.fit,
    "check_fit": fitting.check,
}

BATCHES: dict[str, Batch] = {"plan": plans}
