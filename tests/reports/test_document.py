"""The document behind --format json: valid, complete, and a question that can be asked again."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import tomli
from hypothesis import given, settings
from planner.reports.read import check_recipe
from planner.reports.schema import plan_schema, problems
from rich.cells import cell_len

from planner.problem import Problem
from planner.reports import FORMATS, Screen
from planner.reports.csv import COLUMNS
from planner.reports.html import to_html
from planner.results import Plan
from tests.plans import PLANS
from tests.reports.strategies import plans

VALIDATOR = jsonschema.Draft202012Validator(plan_schema())


def _refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def _described(document: Any, schema: dict[str, Any]) -> None:
    """Every key of the document is a described property of the schema."""
    if "$ref" in schema:
        schema = plan_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for branch in schema.get("anyOf", ()):
        if document is not None and "$ref" in branch:
            _described(document, branch)
    if isinstance(document, list):
        for each in document:
            _described(each, schema["items"])
    if isinstance(document, dict) and "properties" in schema:
        assert set(document) == set(schema["properties"])
        for key, value in document.items():
            assert schema["properties"][key].get("description") or "$ref" in str(schema)
            _described(value, schema["properties"][key])


def test_the_schema_is_a_schema() -> None:
    """The shipped file follows JSON Schema 2020-12."""
    jsonschema.Draft202012Validator.check_schema(plan_schema())


@pytest.mark.parametrize("name", PLANS)
def test_documents_validate_and_hold_what_the_schema_describes(name: str) -> None:
    """Neither a key without description nor a description without key."""
    document = PLANS[name]().to_dict()

    VALIDATOR.validate(document)
    _described(document, plan_schema())


@given(plans)
@settings(max_examples=60)
def test_any_plan_gives_a_valid_document(plan: Plan) -> None:
    """Whatever the solver hands over, JSON is strict and follows the schema."""
    text = FORMATS["json"].render(plan)
    document = json.loads(text, parse_constant=_refuse)

    VALIDATOR.validate(document)
    assert problems(document) == []


@given(plans)
@settings(max_examples=60)
def test_toml_is_the_same_document(plan: Plan) -> None:
    """A recipe file read back is the JSON document, nulls included."""
    assert check_recipe(tomli.loads(FORMATS["toml"].render(plan))) == plan.to_dict()


@given(plans)
@settings(max_examples=60)
def test_the_problem_can_be_asked_again(plan: Plan) -> None:
    """The problem in a document is the problem that was asked."""
    assert Problem.from_mapping(plan.to_dict()["problem"]) == plan.problem


@given(plans)
@settings(max_examples=40)
def test_csv_is_one_header_and_one_row_per_scenario(plan: Plan) -> None:
    """The chosen scenario comes first, whatever the names hold."""
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].render(plan))))

    assert len(rows) == len(plan.to_dict()["scenarios"])
    assert rows[0]["chosen"] == "true"
    assert all(tuple(row) == COLUMNS for row in rows)


@given(plans)
@settings(max_examples=40)
def test_reports_for_people_take_any_plan(plan: Plan) -> None:
    """Strange names and missing numbers break no table, and no text becomes markup."""
    for width in (60, 100, 140):
        table = FORMATS["table"].render(plan, Screen(width))
        assert max(map(cell_len, table.splitlines())) <= width
    assert FORMATS["markdown"].render(plan).startswith("## Plan for")
    assert to_html(plan).count("<script") == 0
    assert repr(plan).startswith("Plan for")


def test_html_escapes_names() -> None:
    """A teacher's name is text, never HTML."""
    plan = PLANS["existing-teacher"]()
    teacher = replace(plan.recipe.teacher, name="<script>x</script>")
    html = to_html(replace(plan, recipe=replace(plan.recipe, teacher=teacher)))

    assert "<script" not in html
    assert "&lt;script&gt;" in html
