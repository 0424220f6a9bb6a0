"""The OpenAPI document is true: its examples run, answers fit it, and nothing in it breaks us."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from planner.questions import QUESTIONS
from planner.service.app import create_app
from tests.service.conftest import Server


def test_every_example_runs(server: Server) -> None:
    """Each question's example is answered with the schema that the document states."""
    document = server.get("/openapi.json").json()
    for name in QUESTIONS:
        operation = document["paths"][f"/v1/{name}"]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        example = content["examples"]["one"]["value"]
        answer = server.post(f"/v1/{name}", example)

        assert answer.status_code == 200, answer.text
        stated = operation["responses"]["200"]["content"]["application/json"]["schema"]
        _check(answer.json(), stated, document)
        _check(example, content["schema"], document)


def test_every_question_is_an_operation_of_a_generated_client(tmp_path: Path) -> None:
    """openapi-python-client makes a typed function of every question."""
    pytest.importorskip(
        "openapi_python_client", reason="openapi-python-client generates the client"
    )
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(create_app().openapi()), encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document),
               "--output-path", str(tmp_path / "made"), "--meta", "none"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    made = {path.stem for path in (tmp_path / "made/api/questions").glob("*.py")}
    assert {name.replace("-", "_") for name in QUESTIONS} <= made, done.stdout
    assert "Unable to process schema" not in done.stdout


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("explore", {"budget": "1e21", "student": "1B", "budgets": 7.0, "map_budgets": 5,
                 "map_students": 4}),
    ("explore", {"budget": "3e19", "teachers": ["size=7B,loss=2.1", "loss=2.3,name=ours"],
                 "scenario": "best-case", "budgets": 5, "map_budgets": 3, "map_students": 3}),
    ("plan", {"budget": "1e23", "student": "3B", "coefficients": "busbridge2025-refit"}),
    ("compare-supervised", {"budget": "1e15:1e23:5", "students": ["1B"],
                            "coefficients": "busbridge2025-refit"}),
    ("compare-supervised", {"budget": "1e21", "teachers": ["size=7B,loss=2.1"]}),
    ("target", {"loss": 2.1, "student": "1B"}),
    ("target", {"like": "size=3B,tokens=60B", "student": "1B"}),
    ("evaluate", {"student": "1B", "student_tokens": "40B", "teacher": "size=7B,loss=2.1"}),
    ("evaluate", {"student": "30M", "student_tokens": "1B",
                  "teacher": {"size": "70B", "tokens": "1T"}}),
    ("explain", {"budget": "1e22", "scenario": "teacher-inference"}),
    ("near-optimal", {"budget": "1e21", "compute": 0.1, "teachers": ["size=7B,loss=2.1"]}),
    ("family", {"budget": "1e22", "students": ["300M", {"size": "1B", "copies": 2}]}),
    ("family", {"students": [{"size": "300M", "target": 2.6}, {"size": "1B", "target": 2.4}],
                "max_student_tokens": "20B"}),
    ("family", {"budget": "1e21", "students": ["1B"], "teachers": ["size=7B,loss=2.1"]}),
    ("teachers", {"budget": "1e21", "student": "1B", "logits": "stored"}),
    ("teachers", {"budget": "1e21", "teachers": ["size=7B,loss=5", "size=900B,tokens=1T"]}),
    ("sweep", {"budget": "1e12,1e21", "scenarios": "all", "teachers": ["size=7B,loss=2.1"]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), ASKED, ids=lambda each: str(each)[:40])
def test_answers_hold_what_is_stated_and_no_more(
    server: Server, path: str, body: dict[str, Any]
) -> None:
    """Every key of an answer is in its schema, every stated key that is required in the answer."""
    document = server.get("/openapi.json").json()
    answer = server.post(f"/v1/{path}", body)
    responses = document["paths"][f"/v1/{path}"]["post"]["responses"]

    assert answer.status_code == 200, answer.text
    _check(answer.json(), responses["200"]["content"]["application/json"]["schema"], document)


def test_every_get_answers(server: Server) -> None:
    """Each catalogue of the document answers, one of the sets by its name."""
    document = server.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if "get" in methods and "{id}" not in path:
            answer = server.get(path.replace("{name}", "busbridge2025"))

            assert answer.status_code == 200
            stated = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            _check(answer.json(), stated, document)


def test_refusals_fit_their_schema(server: Server) -> None:
    """A refusal is the problem+json that the document describes."""
    document = server.get("/openapi.json").json()
    refusal = server.post("/v1/plan", {"budget": 1})
    stated = document["paths"]["/v1/plan"]["post"]["responses"][str(refusal.status_code)]

    _check(refusal.json(), stated["content"]["application/problem+json"]["schema"], document)


def test_every_field_says_what_it_is(server: Server) -> None:
    """Every operation, every schema and every field of a question has a description."""
    document = server.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    ours = {name: each for name, each in schemas.items() if "Validation" not in name}
    for name, schema in ours.items():
        assert schema.get("description") or "enum" in schema, name
    for entry in QUESTIONS.values():
        for field, stated in schemas[entry.question.__name__]["properties"].items():
            assert stated.get("description"), f"{entry.question.__name__}.{field}"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"
            assert operation["operationId"]


def _check(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Objects with stated keys are taken as closed: what is not stated is not true."""
    whole = _closed({**schema, "components": document["components"]})
    jsonschema.Draft202012Validator(whole).validate(value)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(each) for key, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def test_schemathesis_finds_no_server_error(server: Server) -> None:
    """Generated requests, sound and unsound, get no 500 and only documented answers."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis makes the requests")
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
    counted: list[int] = []
    rules = settings(
        max_examples=8,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    for each in schema.get_all_operations():
        operation = each.ok()
        documented = operation.definition.raw["responses"]
        check = _checker(server, documented, counted)
        rules(given(case=operation.as_strategy())(check))()
    assert len(counted) > 50


def _checker(server: Server, documented: Any, counted: list[int]) -> Any:
    def check(case: Any) -> None:
        response = case.call(base_url=server.url, timeout=60)
        counted.append(response.status_code)
        # a crowd of generated jobs may be told to come back later
        assert response.status_code < 500 or response.json()["code"] == "busy", response.text
        assert str(response.status_code) in documented, response.status_code

    return check


def test_a_fuzzed_server_stays_up(server: Server) -> None:
    """Random heads, bodies and cut connections never end the server nor get a 500."""
    generator = random.Random(7)
    good = b'{"budget": "1e21", "student": "1B"}'
    for round_ in range(150):
        body = bytearray(good if generator.random() < 0.6 else generator.randbytes(60))
        for _ in range(generator.randrange(6)):
            body[generator.randrange(len(body))] = generator.randrange(256)
        length = len(body) if generator.random() < 0.8 else generator.randrange(10**6)
        noise = generator.choice([
            b"", b"X-A: " + generator.randbytes(20).replace(b"\n", b"").replace(b"\r", b""),
            b"Transfer-Encoding: chunked", b"Authorization: Bearer \xff\xfe", b"Host: a\r\nHost: b",
            b"Accept: " + b"a/b," * 500, b"Cookie: " + b"x" * 70_000, b"Expect: 100-continue",
            b"If-None-Match: *", b"X-Request-ID: \x7f\x01", b"Content-Encoding: gzip",
        ])  # fmt: skip
        method = generator.choice([b"POST", b"GET", b"PUT", b"DELETE", b"HEAD", b"PATCH", b"\x00"])
        path = generator.choice([
            b"/v1/plan", b"/v1/explore", b"/v1/compare-supervised", b"/v1/jobs/x",
            b"/../etc/passwd",
            b"/page/..%2f..%2fapp.py", b"/page/vendor/../../app.py", b"//", b"/v1/plan?format=\xff",
            b"/v1/coefficients/..%2Fload.py", b"/v1/plan?width=999999999999999999999",
        ])  # fmt: skip
        head = b"\r\n".join([
            method + b" " + path + b" HTTP/1.1", b"Host: localhost",
            b"Content-Type: application/json", b"Content-Length: " + str(length).encode(), noise,
        ])  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
            link.sendall(head + b"\r\n\r\n" + bytes(body))
            link.shutdown(socket.SHUT_WR)
            try:
                answer = link.recv(64)
            except ConnectionResetError:
                continue
        if answer:
            assert answer.startswith(b"HTTP/1.1 ")
            assert not answer.startswith(b"HTTP/1.1 500"), (round_, head, body)
    assert server.process.poll() is None
    assert server.post("/v1/plan", json.loads(good)).status_code == 200


def test_only_the_pages_files_are_served(server: Server) -> None:
    """Each file the page names is there, with a policy against foreign code; nothing else is."""
    page = server.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    import re

    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page.text):
        answer = server.get("/" + name)
        assert answer.status_code == 200
        again = server.get("/" + name, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert "http" not in re.sub(r"http://www\.w3\.org\S*", "", page.text)
    for path in ("/page/index.html", "/page/../app.py", "/page/%2e%2e/app.py", "/docs", "/redoc"):
        assert httpx.get(server.url + path).status_code in (200, 404)
    assert server.get("/page/%2e%2e/app.py").status_code == 404
