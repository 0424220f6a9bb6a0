"""POST /v1/plan: the command line's document, formats and sentences, over real HTTP."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coefficients import available, load
from planner import Problem, solve, units
from planner.errors import INPUT_ERRORS
from planner.questions.plan.answer import Plan
from planner.reports import FORMATS
from tests.examples import examples
from tests.service.conftest import Server

QUESTIONS: list[dict[str, object]] = [
    {"budget": "1e21", "student": "1B"},
    {"budget": 3.2e22, "student": 3e9, "scenario": "teacher-inference"},
    {"budget": "30 PFLOP-days", "student": "300M", "charge_inference": 0.5},
    {"budget": "1e22", "student": "1B", "scenario": "teacher-inference",
     "teachers": [{"size": "7B", "tokens": "140B", "name": "ours"}, "size=13B,loss=2.0"]},
    {"budget": "1e22", "student": "2B", "stay_in_domain": True, "serving_tokens": "10B"},
    {"budget": "5e20"},
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_document_is_the_command_lines_to_the_byte(
    server: Server, question: dict[str, object]
) -> None:
    """JSON, and once every format, is byte for byte what the library renders here."""
    plan = solve(Problem.from_mapping(question))

    for name, form in FORMATS.items() if "teachers" in question else [("json", FORMATS["json"])]:
        answer = server.post(f"/v1/plan?format={name}", question)

        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == form.media_type
        assert answer.content.decode() == plan.render(name)


def test_the_query_chooses_a_format(server: Server) -> None:
    """JSON unless another is asked for; a misspelt or repeated parameter is refused."""
    question = {"budget": "1e21", "student": "1B"}

    toml = server.post("/v1/plan?format=toml", question)
    plain = server.post("/v1/plan", question)

    assert toml.headers["content-type"].startswith("application/toml")
    assert Plan.from_document(plain.json()).kind == "plan"
    assert "did you mean format" in server.post("/v1/plan?fromat=toml", question).json()["detail"]
    assert server.post("/v1/plan?format=toml&format=json", question).status_code == 422


MISTAKES: list[dict[str, object]] = [
    {"budget": "1e21", "student": "1X"},
    {"budget": "many"},
    {"budget": -1},
    {"budget": "1e21", "scenario": "fulll"},
    {"budget": "1e21", "charge_inference": 2},
    {"budget": "1e21", "teachers": ["size=7B"]},
    {"budget": "1e21", "teachers": [{"loss": 2.0}]},
    {"budget": "1e21", "teachers": [{"loss": 1.0, "size": "7B"}]},
    {"budget": "1e21", "tolerance": 0},
    {"budget": "1e21", "bounds": "none"},
    {"budget": "1e21", "min_student_size": "2B", "max_student_size": "1B"},
    {"budget": "1e12", "student": "1B"},
    {"budget": "1e21", "student": "1B", "coefficients": "hoffmann2022"},
]

UNSOUND: list[tuple[dict[str, object], str]] = [
    ({}, "Budget: field required"),
    ({"budget": True}, "Budget True is not a number"),
    ({"budget": "1e21", "studnet": "1B"}, "Unknown key 'studnet'; did you mean student?"),
    ({"budget": "1e21", "stay_in_domain": "yes"}, "valid boolean"),
    ({"budget": "1e21", "student": ["1B"]}, "must be a number or text"),
]


@pytest.mark.parametrize(("question", "words"), UNSOUND, ids=str)
def test_an_unsound_body_is_a_sentence(
    server: Server, question: dict[str, object], words: str
) -> None:
    """Keys and types are checked against the question's fields, each fault with its place."""
    answer = server.post("/v1/plan", question)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("question", MISTAKES, ids=str)
def test_a_mistake_gets_the_command_lines_sentence(
    server: Server, question: dict[str, object]
) -> None:
    """Status 422, problem+json, and the very sentence that the library raises."""
    with pytest.raises(INPUT_ERRORS) as mistake:
        solve(Problem.from_mapping(question))
    sentence = str(mistake.value)

    answer = server.post("/v1/plan", question)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == sentence[:1].upper() + sentence[1:]
    assert answer.json()["status"] == 422


def test_infeasible_carries_a_budget_that_is_enough(server: Server) -> None:
    """The minimum budget in the refusal has a plan, a little less has none."""
    question = {"budget": 1e12, "student": "1B"}

    refusal = server.post("/v1/plan", question).json()
    enough = server.post("/v1/plan", {**question, "budget": refusal["minimum_budget"]})
    less = server.post("/v1/plan", {**question, "budget": 0.999 * refusal["minimum_budget"]})

    assert refusal["code"] == "infeasible"
    assert enough.status_code == 200
    assert less.json()["code"] == "infeasible"


def test_no_text_of_a_client_is_a_path(server: Server) -> None:
    """A coefficient file that exists on the server is unknown to it, whatever it is called."""
    from importlib import resources

    shipped = resources.files("coefficients")
    for name in (
        str(shipped / "busbridge2025.toml"), "busbridge2025.toml", "./busbridge2025", "/etc/passwd",
        "../coefficients/busbridge2025.toml", "", "\u0000",
    ):  # fmt: skip
        answer = server.post("/v1/plan", {"budget": "1e21", "coefficients": name})

        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"Unknown coefficients '{name}'.")
        assert "does not exist" not in answer.text


def test_a_coefficient_set_can_be_sent_inline(server: Server) -> None:
    """A set as an object answers as the same numbers from a file do; a bad one lists its faults."""
    from importlib import resources

    import tomli

    text = (resources.files("coefficients") / "busbridge2025.toml").read_text()
    document = {**tomli.loads(text), "name": "mine"}
    document["supervised"]["E"]["value"] = 1.3
    from coefficients import parse

    here = solve(Problem.from_mapping({"budget": 1e21, "student": 1e9}), parse(document))

    sent = server.post("/v1/plan", {"budget": 1e21, "student": 1e9, "coefficients": document})
    bad = server.post("/v1/plan", {"budget": 1e21, "coefficients": {"supervised": {"E": -1}}})
    draws = server.post(
        "/v1/plan", {"budget": 1e21, "coefficients": {**document, "draws": "/etc/passwd"}}
    )

    assert sent.json()["recipe"]["student"]["cross_entropy"] == here.cross_entropy
    assert sent.json()["coefficients"]["name"] == "mine"
    assert here.cross_entropy != solve(Problem(budget=1e21, student=1e9)).cross_entropy
    assert bad.status_code == 422
    assert any("supervised.E" in fault for fault in bad.json()["problems"])
    assert draws.status_code == 422
    assert "draws" in draws.json()["detail"]


quantity = st.one_of(
    st.text(max_size=12),
    st.floats(),
    st.integers(-(10**30), 10**30),
    st.builds(
        lambda number, unit: f"{number}{unit}",
        st.floats(1e-3, 1e6).map(lambda value: f"{value:.4g}"),
        st.sampled_from(["", "K", "M", "B", " billion", "T", " params", "PFLOP", "%", " tokens"]),
    ),
)


@examples(40)
@given(value=quantity)
def test_the_server_reads_quantities_as_the_library_does(server: Server, value: object) -> None:
    """A student's size is taken or refused over HTTP with the sentence units.parse_count gives."""
    try:
        body = json.dumps({"budget": 1e24, "student": value, "min_student_size": 1}).encode("utf-8")
        body.decode("utf-8")
    except UnicodeError:
        return
    answer = httpx.post(
        server.url + "/v1/plan", content=body, headers={"Content-Type": "application/json"}
    )
    if any(0xD800 <= ord(each) <= 0xDFFF for each in str(value)):
        assert answer.status_code == 400
        return
    try:
        size = units.parse_count(value, "student size")  # type: ignore[arg-type]
    except INPUT_ERRORS as error:
        sentence = str(error)
        assert answer.status_code == 422
        assert answer.json()["detail"] == sentence[:1].upper() + sentence[1:]
        return
    if answer.status_code == 200:
        assert answer.json()["problem"]["student"] == size
    else:
        assert "parameters are outside" in answer.text or "infeasible" in answer.text


def test_catalogues_list_what_ships(server: Server) -> None:
    """Scenarios, bounds and coefficient sets come from the registries, values included."""
    scenarios = server.get("/v1/scenarios").json()
    sets = server.get("/v1/coefficients").json()["coefficients"]
    one = server.get("/v1/coefficients/busbridge2025").json()

    assert [each["name"] for each in scenarios["scenarios"]] == [
        "best-case", "teacher-inference", "teacher-pretraining", "full",
    ]  # fmt: skip
    assert [each["name"] for each in sets] == available()
    assert sets[0]["name"] == Problem.coefficients == "busbridge2025-refit"
    law = load("busbridge2025").distillation
    assert law is not None
    assert one["distillation"]["d1"]["value"] == law.d1
    assert one["distillation"]["d1"]["interval"] == [1.302, 1.327]
    assert server.get("/v1/coefficients/nix").status_code == 404


def test_a_budget_in_hardware_says_what_it_assumes(server: Server) -> None:
    """The page learns the utilisation behind 64xH100*14d together with the FLOPs."""
    asked = {"budget": "64xH100*14d", "student": "3B", "parts": ["plan"]}

    answer = server.post("/v1/explore", asked).json()

    said = answer["display"]["understood"]["budget"]
    assert "64 x H100 SXM for 336 h at 40%" in said
    assert "assumed" in said
    assert answer["plan"]["problem"]["budget"] == pytest.approx(3.06e22, rel=1e-2)


def test_constraints_are_a_field_like_others(server: Server) -> None:
    """The service's plan keeps to them; one that is no posynomial is refused with its term."""
    question = {"budget": 1e21, "student": 1e9, "constraints": ["teacher_tokens <= 100B"]}
    answer = server.post("/v1/plan", question)
    assert answer.status_code == 200
    document = answer.json()
    assert document["problem"]["constraints"] == question["constraints"]
    assert document["recipe"]["teacher"]["tokens"] <= 1e11 * (1 + 1e-9)
    assert document["certificate"]["proven"]
    bad = {**question, "constraints": ["teacher_tokens <= student_tokens + teacher_size"]}
    refusal = server.post("/v1/plan", bad)
    assert refusal.status_code == 422
    assert "second term, teacher_size" in refusal.json()["detail"]
