"""POST /v1/fit: a scaling law from uploaded runs, as a job with progress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError, ProblemError
from planner.service.limits import Limits
from planner.service.problems import refuse
from planner.service.reading import shipped
from planner.service.worker import Context, Reply

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from planner.fit.runs import Runs

MOST_RESAMPLES = 4096
JSON = "application/json"
UPLOADS = {"text/csv": ".csv", "application/x-ndjson": ".jsonl", JSON: ".csv"}
"""Media type of an upload -> the suffix that tells the reader its kind.

JSON is an object of two files as CSV text, `runs` and `supervised_runs`, to be fitted jointly.
"""


def fit(body: bytes, options: Mapping[str, Any], context: Context) -> Reply:
    """The fit's document and the coefficient set it makes, as text and ready to send inline."""
    import tomli

    from planner.documents import SCHEMA_VERSION, dump
    from planner.fit import (
        FORMS,
        PROTOCOLS,
        Provenance,
        Task,
        bootstrap,
    )  # fmt: skip
    from planner.fit import fit as estimate
    from planner.fit.analysis import analyse
    from planner.fit.write import document

    progress = context.progress
    progress(0.02, "reading the runs")
    form, protocol = FORMS[options["law"]], PROTOCOLS[options["protocol"]]
    distils = form.kind == "distillation"
    data, beside = _read(body, options, context.limits)
    base = shipped(options["base"]) if distils else None
    progress(0.05, "fitting from every start")
    task = Task(
        form,
        data.rows,
        base.supervised if base is not None and beside is None else None,
        None if beside is None else beside.rows,
        options["fix"],
        {each: (low, high) for each, (low, high) in options["bound"].items()},
    )
    point = estimate(task, protocol)
    boot = None
    if options["resamples"]:
        progress(0.3, f"refitting {options['resamples']:,} resamples")
        boot = bootstrap(point, options["resamples"], options["seed"], "run", threads=1)
    progress(0.8, "judging the fit")
    found = analyse(point, boot, data, judgement=options["judgement"])
    origin = Provenance(
        data=data,
        supervised_data=beside,
        base=base,
        coverage=found.coverage,
        coverage_sizes=found.coverage_sizes,
        misfit=found.misfit,
    )
    text = document("fit", point, boot, found.unidentified, origin)
    made = {
        "schema_version": SCHEMA_VERSION,
        "kind": "fit",
        "fit": found.to_dict(),
        "coefficients": tomli.loads(text),
        "toml": text,
    }
    return Reply(200, JSON, json.dumps(dump(made), ensure_ascii=False, allow_nan=False).encode())


def check(body: bytes, options: Mapping[str, Any], context: Context) -> Reply:
    """Reads an upload as `fit` will, so that its faults are told before a job is accepted."""
    data, beside = _read(body, options, context.limits)
    counted = {"runs": len(data.rows), "supervised_runs": 0 if beside is None else len(beside.rows)}
    return Reply(200, JSON, json.dumps(counted).encode())


def _read(body: bytes, options: Mapping[str, Any], limits: Limits) -> tuple[Runs, Runs | None]:
    """The runs of an upload, and the supervised ones of a joint fit."""
    from planner.fit import FORMS
    from planner.fit.runs import parse_runs

    distils = FORMS[options["law"]].kind == "distillation"
    name = "upload" + UPLOADS[options["media_type"]]
    own, other = _joint(body) if options["media_type"] == JSON else (body, b"")
    if own.count(b"\n") + other.count(b"\n") > limits.runs:
        raise refuse(
            422, "document", f"the upload has more than {limits.runs:,} lines; fit fewer runs."
        )
    if other and not distils:
        raise ProblemError("supervised_runs belong to law=distillation; leave them out.")
    twice = options["allow_duplicates"]
    data = parse_runs(own, name, distils, twice)
    return data, parse_runs(other, "supervised.csv", False, twice) if other else None


def _joint(body: bytes) -> tuple[bytes, bytes]:
    """The two files of a JSON upload."""
    known = ("runs", "supervised_runs")
    try:
        given = json.loads(body)
    except ValueError as error:
        raise ProblemError(f"the upload is not JSON: {error}.") from error
    if not isinstance(given, Mapping) or set(given) != set(known):
        raise ProblemError("the upload must be an object of runs and supervised_runs.")
    for key in known:
        if not isinstance(given[key], str) or not given[key]:
            raise ProblemError(f"{key} is {given[key]!r}; give a file of runs as CSV text.")
    return given["runs"].encode(), given["supervised_runs"].encode()


KNOWN = (
    "law", "protocol", "base", "fix", "bound", "resamples", "seed", "allow_duplicates",
    "judgement",
)  # fmt: skip


def read_options(query: QueryParams, media_type: str) -> dict[str, Any]:
    """What the query says about a fit, checked before the job is accepted."""
    from planner.fit import FORMS, PROTOCOLS
    from planner.fit.task import read_bounds, read_fixed

    for key in query:
        if key not in KNOWN:
            raise ProblemError(f"unknown fit option '{key}'; known: {', '.join(KNOWN)}.")
    return {
        "media_type": media_type,
        "law": _known("law", query.get("law", "distillation"), FORMS),
        "protocol": _known("protocol", query.get("protocol", "paper"), PROTOCOLS),
        "base": shipped(query.get("base", "busbridge2025")).name,
        "fix": read_fixed(query.getlist("fix"), "fix"),
        "bound": read_bounds(query.getlist("bound"), "bound"),
        "resamples": _whole("resamples", query.get("resamples", "512"), MOST_RESAMPLES),
        "seed": _whole("seed", query.get("seed", "0"), 2**31),
        "allow_duplicates": query.get("allow_duplicates") == "true",
        "judgement": query.get("judgement") != "false",
    }


def _whole(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise ProblemError(f"{name} is '{text}'; give a whole number from 0 to {most:,}.")
    return int(text)


def _known(option: str, name: str, known: Mapping[str, Any]) -> str:
    if name not in known:
        raise PlannerError(f"{option} '{name}' is unknown; known: {', '.join(known)}.")
    return name
