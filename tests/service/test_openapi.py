"""The OpenAPI document is true: its examples run, answers fit it, and nothing in it breaks us."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from planner.client import Client
from tests.service.conftest import Server

QUICK = {"resamples": 0, "judgement": "false"}


def test_every_example_runs(server: Server) -> None:
    """Each POST's example is answered with the status and schema that the document states."""
    document = server.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if "post" not in methods:
            continue
        operation = methods["post"]
        for media_type, body in operation["requestBody"]["content"].items():
            if media_type == "application/x-ndjson":
                continue  # the same runs in another notation
            if path != "/v1/fit":
                answer = server.post(path, body["example"])
            elif media_type == "application/json":
                answer = server.post(path, body["example"], params=QUICK)
            else:
                answer = httpx.post(
                    server.url + path, params={"law": "hoffmann", **QUICK},
                    content=body["example"], headers={"Content-Type": media_type},
                )  # fmt: skip

            status = next(code for code in operation["responses"] if code.startswith("2"))
            assert answer.status_code == int(status), answer.text
            stated = operation["responses"][status]["content"]["application/json"]["schema"]
            _check(answer.json(), stated, document)
            _check(body["example"], body["schema"], document)


def test_a_fits_result_is_as_stated(server: Server) -> None:
    """Of both ways to upload: the example's job ends well, and its result has the schema."""
    document = server.get("/openapi.json").json()
    bodies = document["paths"]["/v1/fit"]["post"]["requestBody"]["content"]
    stated = document["paths"]["/v1/jobs/{id}/result"]["get"]["responses"]["200"]["content"]
    client = Client(server.url)
    joint = bodies["application/json"]["example"]

    single = client.fit(bodies["text/csv"]["example"], law="hoffmann", **QUICK)
    both = client.fit(joint["runs"], supervised_runs=joint["supervised_runs"], **QUICK)

    for found in (single, both):
        _check(found, stated["application/json"]["schema"], document)


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("explore", {"budget": "1e21", "student": "1B", "budgets": 7, "map_budgets": 5,
                 "map_students": 4}),
    ("explore", {"budget": "3e19", "teachers": ["size=7B,loss=2.1", "loss=2.3,name=ours"],
                 "scenario": "best-case", "budgets": 5, "map_budgets": 3, "map_students": 3}),
    ("plan", {"budget": "1e23", "student": "3B", "coefficients": "busbridge2025-refit"}),
    ("compare", {"budget": "1e15:1e23:5", "student": "1B", "coefficients": "busbridge2025-refit"}),
    ("compare", {"budget": "1e21", "teacher": "size=7B,loss=2.1"}),
    ("target", {"loss": 2.1, "student": "1B"}),
    ("target", {"like": "size=3B,tokens=60B", "student": "1B"}),
    ("evaluate", {"student": "1B", "student_tokens": "40B", "teacher": "size=7B,loss=2.1"}),
    ("evaluate", {"student": "30M", "student_tokens": "1B",
                  "teacher": {"size": "70B", "tokens": "1T"}}),
    ("explain", {"budget": "1e22", "scenario": "teacher-inference"}),
    ("near-optimal", {"budget": "1e21", "compute": 0.1, "teacher": "size=7B,loss=2.1"}),
    ("family", {"budget": "1e22", "students": ["300M", {"size": "1B", "copies": 2}]}),
    ("family", {"students": [{"size": "300M", "target": 2.6}, {"size": "1B", "target": 2.4}],
                "max_student_tokens": "20B"}),
    ("family", {"budget": "1e21", "students": ["1B"], "teacher": "size=7B,loss=2.1"}),
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
    """Each GET of the document answers with its stated type, catalogues by their example name."""
    document = server.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if "get" in methods and "{id}" not in path:
            for parameter in methods["get"]["parameters"]:
                path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
            answer = server.get(path)
            assert answer.status_code == 200
            stated = methods["get"]["responses"]["200"]["content"]
            media_type = answer.headers["content-type"].partition(";")[0]
            assert media_type in stated
            if media_type == "application/json":
                _check(answer.json(), stated[media_type]["schema"], document)


def test_numbers_state_their_units(server: Server) -> None:
    """In the answers' schemas every number says what it counts, and no schema is just an object."""
    document = server.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for name in ("Explore", "Compare", "Target", "Evaluate", "Explain", "NearOptimal", "Family",
                 "Teachers", "Sweep"):  # fmt: skip
        assert schemas[name]["required"]
        for part in _parts(schemas[name]):
            if part.get("type") in ("number", ["number", "null"]):
                assert part["description"]


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for each in schema.values():
            yield from _parts(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _parts(each)


def test_refusals_fit_their_schema(server: Server) -> None:
    """A refusal is the ProblemOut that the document describes."""
    document = server.get("/openapi.json").json()
    refusal = server.post("/v1/plan", {"budget": 1}).json()

    _check(refusal, {"$ref": "#/components/schemas/ProblemOut"}, document)


def test_every_field_says_what_it_is(server: Server) -> None:
    """Every operation and every field of a request has a description."""
    document = server.get("/openapi.json").json()
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("In"):
            for field, stated in schema["properties"].items():
                assert stated.get("description"), f"{name}.{field}"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"


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
            b"/v1/plan", b"/v1/explore", b"/v1/compare-supervised", b"/v1/jobs/x", b"/../etc/passwd",
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
