"""Files read back: the same answer, or every fault by its place."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.documents import schema
from planner.errors import DocumentError
from planner.questions.plan.answer import Plan
from tests.examples import examples
from tests.plans import PLANS

VALIDATOR = jsonschema.Draft202012Validator(schema(Plan))


@pytest.mark.parametrize("format_name", ["toml", "json"])
@pytest.mark.parametrize("name", PLANS)
def test_written_recipes_are_read_back(name: str, format_name: str, tmp_path: Path) -> None:
    """Both formats give the plan that was written."""
    path = tmp_path / "recipe"
    path.write_text(PLANS[name]().render(format_name), encoding="utf-8")

    assert Plan.read(path) == PLANS[name]()


@pytest.mark.parametrize("format_name", ["toml", "json"])
def test_standard_input_is_a_file_too(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plan ... | plan evaluate -`."""
    text = PLANS["happy"]().render(format_name)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    assert Plan.read("-") == PLANS["happy"]()


def test_every_fault_is_listed() -> None:
    """One round of mending is enough."""
    document = PLANS["happy"]().to_dict()
    del document["recipe"]["student"]["tokens_per_parameter"]  # derived: computed again
    del document["recipe"]["student"]["cross_entropy"]
    document["recipe"]["teacher"]["parameters"] = "1B"
    document["supervised"]["model"]["existing"] = 1
    document["verdict"]["method"] = "hope"

    with pytest.raises(DocumentError) as caught:
        Plan.from_document(document)

    assert {
        "recipe.student.cross_entropy: field required",
        "recipe.teacher.Model.parameters: input should be a valid number ('1B')",
        "supervised.model.existing: input should be False (1)",
        "verdict.method: input should be 'distil', 'supervised' or 'undecided' ('hope')",
    } <= set(caught.value.problems)


def _crossed(document: dict[str, Any]) -> None:
    document["problem"]["bounds"]["teacher_size"] = [1e12, 1e9]


def _negative(document: dict[str, Any]) -> None:
    document["problem"]["budget"] = -1.0


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(_crossed, "problem.bounds: min_teacher_size"), (_negative, "problem: Budget")],
)
def test_a_problem_that_contradicts_itself_is_a_fault(
    damage: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    """The question inside a recipe has to make sense too."""
    document = PLANS["happy"]().to_dict()
    damage(document)

    with pytest.raises(DocumentError, match=sentence):
        Plan.from_document(document)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a document of kind 'plan'"),
        ("[a\n", "is not valid TOML"),
        ("{", "is not valid JSON"),
        ("1", "is not valid TOML"),
        ('kind = "target"\nschema_version = 2\n', "is not a document of kind 'plan'"),
        ('kind = "plan"\nschema_version = 1\n', "has schema_version 1, this planner reads 2"),
    ],
)
def test_other_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    """Whatever the file holds, the answer is a sentence."""
    path = tmp_path / "file"
    path.write_text(text)

    with pytest.raises(DocumentError, match=sentence):
        Plan.read(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A wrong path is the commonest mistake."""
    with pytest.raises(DocumentError, match=r"cannot be read \(no such file or directory\)"):
        Plan.read(tmp_path / "none.toml")


def test_a_binary_file_is_said(tmp_path: Path) -> None:
    """A file that is no text is refused by name."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(DocumentError, match="it is not UTF-8 text"):
        Plan.read(path)


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
@examples(300)
def test_what_is_read_is_a_plan_again(document: Any) -> None:
    """A damaged document is refused in a sentence, or it is a plan whose document is valid."""
    try:
        found = Plan.from_document(document)
    except DocumentError:
        return
    VALIDATOR.validate(found.to_dict())
