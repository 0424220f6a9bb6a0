"""What a solver process can be asked: request body in, answer out. A new task is one line in TASKS.

Runs in the solver processes, never in the front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.errors import ProblemError
from planner.service import fitting, questions
from planner.service.body import Given, read_object, take_options, whole
from planner.service.limits import Limits
from planner.service.pool import Reply
from planner.service.problems import refuse
from planner.service.reading import read_problem

Task = Callable[[bytes, Mapping[str, Any], Any], Reply]
JSON = "application/json"
LIMITS = Limits()


def plan(body: bytes, options: Mapping[str, Any], _: Any) -> Reply:
    """One certified plan in the format `options` names: the command line's own bytes."""
    from planner.questions.plan.answer import solve
    from planner.reports import FORMATS, Screen

    problem, coefficients = read_problem(read_object(body))
    name = options.get("format", "json")
    screen = Screen(
        width=options.get("width", 100),
        colour=options.get("colour", False),
        unicode=options.get("unicode", True),
    )
    found = solve(
        problem,
        coefficients,
        robust=options.get("robust"),
        sensitivity=options.get("sensitivity", False),
    )
    more = ""
    if "near_optimal" in options:
        from planner.questions.near_optimal.answer import around
        from planner.questions.near_optimal.sheet import beside

        near = around(found, options["near_optimal"], coefficients)
        found, more = beside(found, near, coefficients, name, screen)
    text = FORMATS[name].render(found, screen)
    text = f"{text}\n{more}" if more else text
    return Reply(200, FORMATS[name].media_type, text.encode("utf-8"))


EXPLORE_OPTIONS: dict[str, Any] = {
    "parts": ["plan", "gap", "curves", "map"],
    "budgets": 55,
    "map_budgets": 37,
    "map_students": 25,
}
PARTS = tuple(EXPLORE_OPTIONS["parts"])


def explore(body: bytes, options: Mapping[str, Any], _: Any) -> Reply:
    """Everything the page draws around one problem; see docs/service.md for the arrays."""
    from planner.questions.plan.answer import optimum, solve
    from planner.service import explore as charts
    from planner.service.display import display

    given, own = take_options(read_object(body), EXPLORE_OPTIONS)
    parts = own["parts"]
    if not isinstance(parts, list) or not all(part in PARTS for part in parts):
        raise ProblemError(f"parts are {parts!r}; give a list of {', '.join(PARTS)}.")
    grid = charts.Grid(
        whole(own["budgets"], "budgets", 2, 500),
        whole(own["map_budgets"], "map_budgets", 2, 200),
        whole(own["map_students"], "map_students", 2, 200),
    )
    if grid.points > LIMITS.grid_points:
        raise refuse(
            422,
            "quantity",
            f"the grid has {grid.points:,} points; ask for at most {LIMITS.grid_points:,}.",
        )
    problem, coefficients = read_problem(given)
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


def warm(body: bytes, options: Mapping[str, Any], _: Any) -> Reply:
    """Import everything and solve once, so that the first client does not wait for it."""
    return plan(b'{"budget": 1e21, "student": 1e9}', {}, None)


TASKS: dict[str, Task] = {
    "warm": warm,
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
}
