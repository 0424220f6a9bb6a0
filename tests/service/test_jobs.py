"""Long work: a fit of uploaded runs with progress, cancellation and limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from planner.client import Client
from planner.errors import DocumentError
from tests.service.conftest import Server, limited, serving

CSV = {"Content-Type": "text/csv"}
RUNS = "parameters,tokens,cross_entropy\n" + "".join(
    f"{n:g},{d:g},{1.69 + 406.4 / n**0.34 + 410.7 / d**0.28:.5f}\n"
    for n in (1e8, 3e8, 1e9, 3e9)
    for d in (2e9, 1e10, 5e10, 2e11)
)
"""Sixteen exact runs of Hoffmann et al. 2022 (Eq. 10), for law=hoffmann."""


def _upload(server: Server, text: str, **query: Any) -> httpx.Response:
    return httpx.post(server.url + "/v1/fit", params=query, content=text, headers=CSV, timeout=60)


def _finished(server: Server, job: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        job = server.get(f"/v1/jobs/{job['id']}").json()
    return job


def test_a_fit_recovers_the_law_and_says_how_far_it_is(server: Server) -> None:
    """Exact runs of a known law give its coefficients back; stages are told in order."""
    stages: list[str] = []

    found = Client(server.url).fit(
        RUNS, progress=lambda done, message: stages.append(message),
        law="hoffmann", resamples=64, judgement="false",
    )  # fmt: skip

    fitted = {name: each["value"] for name, each in found["fit"]["coefficients"].items()}
    assert fitted["E"] == pytest.approx(1.69, abs=0.02)
    assert fitted["alpha"] == pytest.approx(0.34, abs=0.01)
    assert fitted["beta"] == pytest.approx(0.28, abs=0.01)
    assert found["coefficients"]["supervised"]["form"] == "hoffmann"
    assert found["toml"].startswith("# A scaling law fitted")
    assert stages


def test_a_fitted_set_answers_other_questions(server: Server, tmp_path: Path) -> None:
    """Distillations made by the published law fit to a set that plans like it, sent inline."""
    from coefficients import load

    law = load("busbridge2025").distillation
    assert law is not None
    rows = ["student_parameters,student_tokens,teacher_cross_entropy,student_cross_entropy"]
    rows += [
        f"{n:g},{d:g},{t},{float(law.loss(n, d, t)):.6f}"
        for n in (1.4e8, 3e8, 1e9, 3e9)
        for d in (4e9, 2e10, 1e11)
        for t in (1.95, 2.1, 2.3, 2.5, 2.7)
    ]
    client = Client(server.url)

    found = client.fit("\n".join(rows), resamples=0, judgement="false")
    question = {"budget": 1e21, "student": "1B"}
    fitted = client.plan(question, coefficients=found["coefficients"])
    published = client.plan(question, coefficients="busbridge2025")
    default = client.plan(question)

    assert fitted["recipe"]["student"]["cross_entropy"] == pytest.approx(
        published["recipe"]["student"]["cross_entropy"], abs=2e-3
    )
    assert fitted["recipe"]["student"]["cross_entropy"] != pytest.approx(
        default["recipe"]["student"]["cross_entropy"], abs=2e-3
    )


def test_a_joint_fit_and_wishes_are_the_librarys(server: Server) -> None:
    """Two files in one body, a coefficient held and one confined: the library's own numbers."""
    from planner.fit import FORMS, Task, fit
    from tests.fit.simulated import distillations, supervised

    runs, beside = distillations(runs=80), supervised(runs=60)
    assert runs.teacher_loss is not None
    here = fit(Task(FORMS["distillation"], runs, None, beside, {"f1": 0.1}, {"c0": (2.0, 3.0)}))
    head = "student_parameters,student_tokens,teacher_cross_entropy,student_cross_entropy\n"
    mine = zip(runs.parameters, runs.tokens, runs.teacher_loss, runs.loss, strict=True)
    own = head + "".join(",".join(map(repr, map(float, row))) + "\n" for row in mine)
    others = zip(beside.parameters, beside.tokens, beside.loss, strict=True)
    text = "parameters,tokens,cross_entropy\n"
    text += "".join(",".join(map(repr, map(float, row))) + "\n" for row in others)

    found = Client(server.url).fit(
        own, supervised_runs=text, fix=["f1=0.1"], bound=["c0=2:3"], resamples=0, judgement="false"
    )

    fitted = {name: each["value"] for name, each in found["fit"]["coefficients"].items()}
    assert fitted == pytest.approx(dict(here.values), rel=1e-12)
    assert found["coefficients"]["supervised"]["E"] == pytest.approx(here.values["supervised.E"])


def test_bad_runs_are_refused_with_every_fault(server: Server) -> None:
    """No job is accepted: a 422 at once that lists the faults by row, the client raises them."""
    bad = RUNS.replace("1e+08,2e+09", "many,2e+09").replace("3e+09,2e+11", "3e+09,-1")

    answer = _upload(server, bad, law="hoffmann", resamples=0)

    assert answer.status_code == 422
    assert len(answer.json()["problems"]) == 2
    with pytest.raises(DocumentError, match="problem"):
        Client(server.url).fit(bad, law="hoffmann", resamples=0)


def test_options_are_judged_before_the_job(server: Server) -> None:
    """An unknown law, option or base, or too many resamples, is a 422 at once."""
    for query in ({"law": "nix"}, {"laww": "hoffmann"}, {"resamples": 10**6}, {"resamples": -1},
                  {"base": "/etc/passwd"}, {"protocol": "x"}, {"fix": "E"}, {"bound": "E=1"},
                  {"bound": "E=a:b"}, {"fix": ["E=1", "E=2"]}):  # fmt: skip
        assert _upload(server, RUNS, **query).status_code == 422
    too_long = "a,b\n" + "1,2\n" * 30_000
    answer = _upload(server, too_long, law="hoffmann")
    assert "more than 20,000 lines" in answer.json()["detail"]
    assert _upload(server, " " * 5_000_000).status_code == 413


def test_a_job_is_cancelled_while_others_go_on() -> None:
    """Cancelling ends a running job at once; waiting ones take its place; a crowd is refused."""
    with serving(code=limited(jobs_waiting=2)) as server:
        jobs = [
            _upload(server, RUNS, law="hoffmann", resamples=4096, seed=seed) for seed in range(5)
        ]
        taken = [job.json() for job in jobs if job.status_code == 202]
        refused = [job for job in jobs if job.status_code != 202]
        first = taken[0]["id"]
        early = server.get(f"/v1/jobs/{first}/result")
        began = time.monotonic()
        cancelled = httpx.delete(f"{server.url}/v1/jobs/{first}", timeout=60).json()
        took = time.monotonic() - began
        plan = server.post("/v1/plan", {"budget": "1e21", "student": "1B"})
        for job in taken[1:]:
            httpx.delete(f"{server.url}/v1/jobs/{job['id']}", timeout=60)
        metrics = server.get("/metrics").text

        assert len(taken) == 3
        assert {job.status_code for job in refused} == {503}
        assert early.status_code == 409
        assert (cancelled["state"], cancelled["id"]) == ("cancelled", first)
        assert took < 5
        assert plan.status_code == 200
        assert server.get(f"/v1/jobs/{first}/result").json()["code"] == "cancelled"
        assert server.get("/v1/jobs/unknown").status_code == 404
        assert 'planner_jobs{state="cancelled"} 3.0' in metrics


def test_a_job_has_a_time_limit() -> None:
    """Beyond its seconds a job fails with a sentence that says so."""
    with serving(code=limited(job_seconds=0.2)) as server:
        job = _finished(server, _upload(server, RUNS, law="hoffmann").json())

        assert job["state"] == "failed"
        assert server.get(job["result"]).status_code == 504
