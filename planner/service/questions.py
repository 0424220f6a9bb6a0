"""The questions around a plan: each reads a request as its command reads options, and answers with

the same report in the same formats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner import units
from planner.errors import ProblemError
from planner.reports.document import plain
from planner.service.body import Given, flag, read_object, take_options, whole
from planner.service.limits import Limits
from planner.service.pool import Reply
from planner.service.problems import refuse
from planner.service.reading import read_problem

if TYPE_CHECKING:
    from planner.reports.sheet import Sheet

LIMITS = Limits()
Options = Mapping[str, Any]


def compare(body: bytes, options: Options, _: Any) -> Reply:
    """Distilling against direct training over budgets and students (`compare-supervised`)."""
    from planner.charges import charges_to_compare
    from planner.questions.compare.answer import budget_grid
    from planner.questions.compare.answer import compare as look
    from planner.questions.compare.sheet import sheet
    from planner.questions.compare.spread import with_spread

    given, own = take_options(read_object(body), {"budget": None, "students": []})
    if own["budget"] is None:
        raise ProblemError("a budget is missing; give FLOPs like 1e21, or a range 1e19:1e26.")
    low, high, points = units.parse_range(own["budget"], units.parse_flops, "budget")
    students = [units.parse_count(each, "student size") for each in _list(own["students"])]
    problem, coefficients = read_problem({**given, "budget": low})
    grid = budget_grid(low, high, points)
    _bound_grid(len(grid) * max(1, len(students)) * len(charges_to_compare(problem)))
    found = with_spread(
        look(problem, grid, list(dict.fromkeys(students)), coefficients), coefficients
    )
    return reply(sheet(found, coefficients), options)


def target(body: bytes, options: Options, _: Any) -> Reply:
    """The smallest budget that reaches a loss (`target`)."""
    from planner.questions.target.answer import Like
    from planner.questions.target.answer import target as find
    from planner.questions.target.sheet import sheet

    given, own = take_options(read_object(body), {"loss": None, "like": None})
    if (own["loss"] is None) == (own["like"] is None):
        raise ProblemError('give either a loss like 2.2, or like: "size=3B,tokens=60B".')
    problem, coefficients = read_problem({**_without(given, "budget"), "budget": 1.0})
    like = None if own["like"] is None else Like.parse(str(own["like"]))
    loss = units.parse_plain(own["loss"], "loss") if like is None else like.loss(coefficients)
    return reply(sheet(find(problem, loss, coefficients, like), coefficients), options)


def evaluate(body: bytes, options: Options, _: Any) -> Reply:
    """How good a recipe is that somebody has (`evaluate`): by its parts, or a plan's document."""
    from planner.problem import Teacher
    from planner.questions.evaluate.answer import evaluate as judge
    from planner.questions.evaluate.answer import from_document
    from planner.questions.evaluate.sheet import sheet
    from planner.reports.read import check_recipe

    known = {"recipe": None, "student_tokens": None, "teacher": None}
    given, own = take_options(read_object(body), known)
    if own["recipe"] is not None:
        if given or own["student_tokens"] is not None or own["teacher"] is not None:
            raise ProblemError("both a recipe document and its parts are given; keep one.")
        document = check_recipe(own["recipe"])
        _, coefficients = read_problem(document["problem"])
        found = from_document(document, coefficients)
        return reply(sheet(found, coefficients), options)
    if own["student_tokens"] is None or own["teacher"] is None:
        raise ProblemError(
            "a recipe needs student, student_tokens and a teacher of size and tokens or loss; or "
            "send the document of a plan as recipe."
        )
    problem, coefficients = read_problem({**_without(given, "budget"), "budget": 1.0})
    teacher = own["teacher"]
    if not isinstance(teacher, dict):
        teacher = Teacher.parse(str(teacher))
    else:
        teacher = Teacher.from_mapping(teacher)
    tokens = units.parse_count(own["student_tokens"], "student tokens")
    return reply(sheet(judge(problem, tokens, teacher, coefficients), coefficients), options)


def explain(body: bytes, options: Options, _: Any) -> Reply:
    """What the law says around a plan (`explain`)."""
    from planner.questions.explain.answer import explain as look
    from planner.questions.explain.sheet import sheet

    problem, coefficients = read_problem(read_object(body))
    return reply(sheet(look(problem, coefficients), coefficients), options)


def near_optimal(body: bytes, options: Options, _: Any) -> Reply:
    """All recipes almost as good as the best (`near-optimal`)."""
    from planner.analysis import near_optimal as analysis
    from planner.questions.near_optimal.sheet import sheet

    given, own = take_options(read_object(body), {"within": None, "compute": None})
    if own["within"] is not None and own["compute"] is not None:
        raise ProblemError("give within or compute, not both.")
    problem, coefficients = read_problem(given)
    within, compute = (
        None if own[name] is None else units.parse_share(own[name], name)
        for name in ("within", "compute")
    )
    share = analysis.WITHIN if within is None else within
    found = analysis.near_optimal(problem, share, compute, coefficients)
    return reply(sheet(found, coefficients), options)


FAMILY = {
    "budget": None, "students": None, "cached": False, "growth": True, "fixed_total": False,
}  # fmt: skip


def family(body: bytes, options: Options, _: Any) -> Reply:
    """One budget over a teacher and several students (`family`)."""
    from planner.questions.family.answer import plan_family
    from planner.questions.family.growth import family_growth
    from planner.questions.family.sheet import sheet

    given, own = take_options(read_object(body), FAMILY)
    members = [_member(each) for each in _list(own["students"])]
    if not members:
        raise ProblemError('a family needs students; give a list like ["300M", "1Bx8"].')
    targets = [member for member in members if member.target is not None]
    if (own["budget"] is None) == (not targets):
        raise ProblemError("give either a budget to split, or a target for every student.")
    budget = 1e21 if own["budget"] is None else own["budget"]
    problem, coefficients = read_problem({**_without(given, "student"), "budget": budget})
    cached = flag(own["cached"], "cached")
    fixed = flag(own["fixed_total"], "fixed_total")
    plan = plan_family(problem, members, cached, coefficients)
    counts = None
    if flag(own["growth"], "growth") and not targets and len(problem.teachers) < 2:
        counts = family_growth(
            problem, members, cached, fixed_total=fixed, coefficients=coefficients
        )
    return reply(sheet(plan, counts), options)


def _member(given: Any) -> Any:
    """A student of a family: ``1B``, ``1Bx8``, or size, weight, target and copies."""
    from planner.questions.family.answer import Member

    if not isinstance(given, dict):
        size, cross, copies = str(given).lower().partition("x")
        if cross and not (copies.isascii() and copies.isdigit() and len(copies) < 6):
            raise ProblemError(f"student '{given}' has no count after the x; write 1Bx8.")
        count = int(copies) if cross else 1
        return Member(units.parse_count(size.strip(), "student size"), copies=count)
    for key in given:
        if key not in ("size", "weight", "target", "copies"):
            raise ProblemError(f"unknown student key '{key}'; known: size, weight, target, copies.")
    target = given.get("target")
    return Member(
        units.parse_count(given.get("size", ""), "student size"),
        units.parse_plain(given.get("weight", 1.0), "student weight"),
        None if target is None else units.parse_plain(target, "target loss"),
        whole(given.get("copies", 1), "copies", 1, 10_000),
    )


def teachers(body: bytes, options: Options, _: Any) -> Reply:
    """Which of the teachers that exist is best for a student (`teachers`)."""
    from planner.catalogue import Entry, catalogue
    from planner.questions.teachers.answer import rank_teachers
    from planner.questions.teachers.sheet import sheet

    given, own = take_options(read_object(body), {"logits": "paid"})
    if own["logits"] not in ("paid", "stored"):
        raise ProblemError(f"logits are {own['logits']!r}; they are 'paid' or 'stored'.")
    for key in ("scenario", "charge_inference", "charge_pretraining", "round_to_architecture"):
        given = _without(given, key)
    charge = 0.0 if own["logits"] == "stored" else 1.0
    charges = {"charge_inference": charge, "charge_pretraining": 0.0}
    problem, coefficients = read_problem({**given, **charges})
    entries = [Entry(teacher) for teacher in problem.teachers] or list(catalogue())
    ranking = rank_teachers(replace(problem, teachers=()), entries, coefficients)
    return reply(sheet(ranking), options)


SWEEP = {"budget": None, "students": None, "scenarios": None, "charges": None}


def sweep(body: bytes, _: Options, __: Any) -> Reply:
    """Certified optima of a whole grid as columns (`sweep`)."""
    from planner.questions.sweep.grid import COLUMNS, Grid, solve_chunk

    given, own = take_options(read_object(body), SWEEP)
    if own["budget"] is None:
        raise ProblemError("a budget is missing; give FLOPs like 1e21, or a range 1e19:1e26:50.")
    budgets = _values(own["budget"], units.parse_flops, "budget")
    if not budgets:
        raise ProblemError("the list of budgets is empty; give FLOPs like 1e21.")
    sizes: tuple[float | None, ...] = (None,)
    if own["students"] is not None:
        sizes = _values(own["students"], units.parse_count, "student")
    base, coefficients = read_problem({**_without(given, "student"), "budget": budgets[0]})
    grid = Grid(
        replace(base, teachers=()), budgets, sizes, _charges(own, base), base.teachers or (None,)
    )
    _bound_grid(len(grid))
    rows = solve_chunk(grid, range(len(grid)), coefficients)
    return json_reply(
        plain(
            {
                "schema_version": 1,
                "kind": "sweep",
                "coefficients": coefficients.name,
                "tolerance": base.tolerance,
                "columns": {name: [row[name] for row in rows] for name in COLUMNS},
            }
        )
    )


def _values(given: Any, parse: Any, what: str) -> Any:
    """``1e19:1e24:20``, ``1B,3B``, a number, or a list of these; never more than a grid holds."""
    from planner.questions.sweep.grid import parse_list

    found: dict[float, None] = {}
    for part in given if isinstance(given, list) else [given]:
        for text in part.split(",") if isinstance(part, str) else [part]:
            more = parse_list(text, parse, what) if isinstance(text, str) else [parse(text, what)]
            found |= dict.fromkeys(more)
            _bound_grid(len(found))
    return tuple(found)


def _charges(own: Given, base: Any) -> tuple[tuple[float, float], ...]:
    from planner.scenarios import SCENARIOS

    found: list[tuple[float, float]] = []
    names = own["scenarios"]
    for name in SCENARIOS if names == "all" else _list(names if names is not None else []):
        if not isinstance(name, str) or name not in SCENARIOS:
            raise ProblemError(f"unknown scenario '{name}'; known: all, {', '.join(SCENARIOS)}.")
        found.append(SCENARIOS[name].charges)
    for pair in _list(own["charges"] if own["charges"] is not None else []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ProblemError(f"charges {pair!r} are not [inference, pretraining], like [1, 0.1].")
        found.append((units.parse_plain(pair[0], "charges"), units.parse_plain(pair[1], "charges")))
    return tuple(dict.fromkeys(found)) or ((base.charge_inference, base.charge_pretraining),)


def json_reply(answer: Given) -> Reply:
    """Compact JSON of plain values."""
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Reply(200, "application/json", text.encode("utf-8"))


def reply(found: Sheet, options: Options) -> Reply:
    """A sheet in the format asked for."""
    from planner.reports import FORMATS, Screen
    from planner.reports.sheet import render

    name = options["format"]
    screen = Screen(options["width"], options["colour"], options["unicode"])
    return Reply(200, FORMATS[name].media_type, render(found, name, screen).encode("utf-8"))


def _bound_grid(points: int) -> None:
    if points > LIMITS.grid_points:
        raise refuse(
            422,
            "quantity",
            f"the grid has {points:,} points; ask for at most {LIMITS.grid_points:,}.",
        )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ProblemError(f'{value!r} is not a list; write one like ["300M", "1B"].')
    return value


def _without(given: Given, key: str) -> Given:
    """A key that an endpoint does not take is named as unknown, not silently ignored."""
    if given.get(key) is not None:
        raise ProblemError(f"the key '{key}' has no place in this question; leave it out.")
    return {name: value for name, value in given.items() if name != key}
