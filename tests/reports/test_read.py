"""Recipe files read back: the same document, or every fault by name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner.reports.read import check_recipe, read_recipe
from planner.reports.schema import plan_schema, problems

from planner.errors import DocumentError
from planner.reports import FORMATS
from tests.plans import PLANS

VALIDATOR = jsonschema.Draft202012Validator(plan_schema())


@pytest.mark.parametrize("format_name", ["toml", "json"])
@pytest.mark.parametrize("name", PLANS)
def test_written_recipes_are_read_back(name: str, format_name: str, tmp_path: Path) -> None:
    """Both formats give the same document."""
    path = tmp_path / "recipe"
    path.write_text(FORMATS[format_name].render(PLANS[name]()), encoding="utf-8")

    assert read_recipe(path) == PLANS[name]().to_dict()


def test_every_fault_is_listed() -> None:
    """One round of mending is enough."""
    document = PLANS["happy"]().to_dict()
    del document["recipe"]["student"]["tokens"]
    document["recipe"]["teacher"]["parameters"] = "1B"
    document["recipe"]["flops"]["total"] = -1.0
    document["verdict"]["method"] = "hope"

    with pytest.raises(DocumentError) as caught:
        check_recipe(document)

    assert sorted(caught.value.problems) == [
        "recipe.flops.total is -1.0; it must be at least 0",
        "recipe.student.tokens is missing",
        "recipe.teacher.parameters is '1B'; it must be number or null",
        "verdict.method is 'hope'; it must be one of distil, supervised, either",
    ]


def test_a_problem_that_contradicts_itself_is_a_fault() -> None:
    """The question inside a recipe has to make sense too."""
    document = PLANS["happy"]().to_dict()
    document["problem"]["min_teacher_size"] = 1e12
    document["problem"]["max_teacher_size"] = 1e9

    with pytest.raises(DocumentError, match="min-teacher-size"):
        check_recipe(document)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a recipe"),
        ("[a\n", "is not valid TOML"),
        ("{", "is not valid JSON"),
        ("1", "is not valid TOML"),
        ("schema_version = 2\n", "has schema_version 2, this planner reads 1"),
    ],
)
def test_other_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    """Whatever the file holds, the answer is a sentence."""
    path = tmp_path / "file"
    path.write_text(text)

    with pytest.raises(DocumentError, match=sentence):
        read_recipe(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A wrong path is the commonest mistake."""
    with pytest.raises(DocumentError, match=r"cannot be read \(no such file or directory\)"):
        read_recipe(tmp_path / "none.toml")


def test_a_binary_file_is_said(tmp_path: Path) -> None:
    """A file that is no text is refused by name."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(DocumentError, match="it is not UTF-8 text"):
        read_recipe(path)


JUNK = st.sampled_from([None, "x", -1.0, 0, 1.5, True, [], {}, [1.0], {"a": 1}, 1e300])


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A document with one value replaced or one key dropped, anywhere."""
    document = copy.deepcopy(PLANS[draw(st.sampled_from(sorted(PLANS)))]().to_dict())
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        deeper = isinstance(place[key], dict | list) and place[key]
        if deeper and draw(st.integers(0, 3)):
            place = place[key]
            continue
        if isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JUNK)
        return document


@given(damaged())
@settings(max_examples=300)
def test_the_reader_agrees_with_jsonschema(document: Any) -> None:
    """Checking without the package jsonschema accepts and refuses the same documents."""
    assert (problems(document) == []) == VALIDATOR.is_valid(document), problems(document)
