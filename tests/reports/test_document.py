"""The document behind --format json: valid, complete, and a question that can be asked again."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given
from rich.cells import cell_len

from planner.documents import schema
from planner.problem import Problem
from planner.questions import QUESTIONS
from planner.questions.base import Answer
from planner.questions.plan.answer import Plan
from planner.questions.plan.sheet import COLUMNS
from planner.reports import FORMATS, Screen
from tests.examples import examples
from tests.plans import PLANS
from tests.reports.strategies import plans


@cache
def validator(kind: type[Answer]) -> Any:
    """What checks documents of a kind of answer, independently of the planner's own reader."""
    return jsonschema.Draft202012Validator(schema(kind))


def _refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def _described(document: Any, node: dict[str, Any], whole: dict[str, Any]) -> None:
    """Every key of the document is a property of the schema."""
    if "$ref" in node:
        node = whole["$defs"][node["$ref"].removeprefix("#/$defs/")]
    objects = [branch for branch in node.get("anyOf", ()) if "$ref" in branch]
    if document is not None and objects:
        _described(document, _branch(document, objects, whole), whole)
    if isinstance(document, list) and "items" in node:
        for each in document:
            _described(each, node["items"], whole)
    if isinstance(document, dict) and "properties" in node:
        assert set(document) == set(node["properties"])
        for key, value in document.items():
            _described(value, node["properties"][key], whole)


def _branch(document: Any, objects: list[dict[str, Any]], whole: dict[str, Any]) -> dict[str, Any]:
    """The kind of object that has these keys; the first where none has them all."""
    for branch in objects:
        if set(document) == set(
            whole["$defs"][branch["$ref"].removeprefix("#/$defs/")]["properties"]
        ):
            return branch
    return objects[0]


@cache
def answer(name: str) -> Answer:
    """The answer to the question's own example; found once."""
    kind = QUESTIONS[name].question
    return kind(**kind.EXAMPLE).answer()


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_follows_its_schema(name: str) -> None:
    """Strict JSON, valid, and with the keys that the schema has."""
    found = answer(name)
    described = schema(type(found))
    jsonschema.Draft202012Validator.check_schema(described)
    document = json.loads(found.render("json"), parse_constant=_refuse)

    validator(type(found)).validate(document)
    _described(document, described, described)
    assert document["kind"] == name
    assert document["schema_version"] == 2


@pytest.mark.parametrize("format_name", ["json", "toml"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_is_read_back(name: str, format_name: str, tmp_path: Any) -> None:
    """What was written is the same answer, nulls included."""
    found = answer(name)
    path = tmp_path / f"answer.{format_name}"
    path.write_text(found.render(format_name), encoding="utf-8")

    assert type(found).read(path).to_dict() == found.to_dict()


@pytest.mark.parametrize("name", PLANS)
def test_plans_follow_the_schema(name: str) -> None:
    """Existing teachers, custom charges and open gaps too."""
    described = schema(Plan)
    document = PLANS[name]().to_dict()

    validator(Plan).validate(document)
    _described(document, described, described)


@given(plans)
@examples(60)
def test_any_plan_gives_a_valid_document(plan: Plan) -> None:
    """Whatever the solver hands over, JSON is strict and follows the schema."""
    document = json.loads(plan.render("json"), parse_constant=_refuse)

    validator(Plan).validate(document)
    assert Plan.from_document(document).to_dict() == plan.to_dict()


@given(plans)
@examples(60)
def test_toml_is_the_same_plan(plan: Plan) -> None:
    """A recipe file read back is the plan that was written."""
    assert Plan.from_document(tomli.loads(plan.render("toml"))) == replace(plan, law=None)


@given(plans)
@examples(60)
def test_the_problem_can_be_asked_again(plan: Plan) -> None:
    """The problem in a document is the problem that was asked."""
    assert Problem.from_mapping(plan.to_dict()["problem"]) == plan.problem


@given(plans)
@examples(40)
def test_csv_is_one_header_and_one_row_per_scenario(plan: Plan) -> None:
    """The chosen scenario comes first, whatever the names hold."""
    rows = list(csv.DictReader(io.StringIO(plan.render("csv"))))

    assert len(rows) == len(plan.scenarios)
    chosen = [row["chosen"] == "true" for row in rows]
    assert chosen == sorted(chosen, reverse=True)
    assert all(tuple(row) == COLUMNS for row in rows)


@given(plans)
@examples(40)
def test_reports_for_people_take_any_plan(plan: Plan) -> None:
    """Strange names and missing numbers break no table, and no text becomes markup."""
    for width in (60, 100, 140):
        table = plan.render("table", Screen(width))
        assert max(map(cell_len, table.splitlines())) <= width
    assert plan.render("markdown").startswith("## Plan for")
    assert plan.render("html").count("<script") == 0
    assert repr(plan).startswith("Plan for")


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_answer_has_every_format(name: str, format_name: str) -> None:
    """No format is missing for any question, and each text ends its last line."""
    text = answer(name).render(format_name)

    assert text.endswith("\n")
    assert len(text) > 80


def test_html_escapes_names() -> None:
    """A teacher's name is text, never HTML."""
    plan = PLANS["existing-teacher"]()
    teacher = replace(plan.recipe.teacher, name="<script>x</script>")
    html = replace(plan, recipe=replace(plan.recipe, teacher=teacher)).render("html")

    assert "<script" not in html
    assert "&lt;script&gt;" in html
