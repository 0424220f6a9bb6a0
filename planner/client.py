"""A thin client of `planner serve`: the library's questions, answered by a server.

>>> from planner.client import Client
>>> client = Client("http://127.0.0.1:8000")
>>> client.plan(budget="1e21", student="1B")["verdict"]["method"]  # doctest: +SKIP
'supervised'

Refusals come back as the exceptions that the library raises, with the same sentence.
"""

from __future__ import annotations

import functools
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from coefficients import CoefficientError
from planner import errors
from planner.errors import PlannerError
from planner.problem import Problem
from planner.questions import QUESTIONS

Document = dict[str, Any]


class ServiceError(PlannerError):
    """The server cannot be reached, or answers what no planner answers."""


class BusyError(ServiceError):
    """The server has no room or no time for the request; try again later."""


class SlowError(BusyError):
    """The answer takes longer than the server allows; asking again would take as long."""


ERRORS: dict[str, Callable[[str], Exception]] = {
    "problem": errors.ProblemError,
    "quantity": errors.QuantityError,
    "no-distillation-law": errors.NoDistillationLawError,
    "document": errors.DocumentError,
    "missing-extra": errors.MissingExtraError,
    "coefficients": CoefficientError,
    "busy": BusyError,
    "timeout": SlowError,
}
"""Code of a refusal -> the exception; anything else the planner says is a PlannerError."""


@dataclass(frozen=True)
class Client:
    """A server's address, its token if it wants one, and seconds to wait for an answer.

    `retries` is how often a request is sent again where the server could not take it (no
    connection, or busy); planning has no effects, so asking twice is harmless.
    """

    url: str
    token: str | None = None
    timeout: float = 60.0
    retries: int = 2

    def ask(
        self, name: str, problem: Problem | Mapping[str, Any] | None = None, /, **given: Any
    ) -> Document:
        """The document of an answer to a question of `planner.questions.QUESTIONS`.

        given: the question's fields, in people's words or as numbers; `problem` gives those of a
        planning problem. Every question is a method as well: ``client.near_optimal(...)``.
        """
        return self.post(f"/v1/{name}", _body(problem, given))

    def __getattr__(self, name: str) -> Callable[..., Document]:
        question = name.replace("_", "-")
        if name.startswith("_") or question not in QUESTIONS:
            raise AttributeError(f"a client has no '{name}'")
        return functools.partial(self.ask, question)

    def render(
        self,
        name: str,
        problem: Problem | Mapping[str, Any],
        form: str,
        width: int = 100,
        colour: bool = False,
        unicode: bool = True,
        details: bool = False,
    ) -> str:
        """The same as text in one of `planner.reports.FORMATS`, as the command line writes it."""
        query = _query(format=form, width=width, colour=colour, unicode=unicode, details=details)
        return self._send("POST", f"/v1/{name}?{query}", _body(problem, {})).decode("utf-8")

    def coefficients(self, name: str | None = None) -> Document:
        """The shipped coefficient sets, or everything one of them holds."""
        return self.get("/v1/coefficients" + (f"/{urllib.parse.quote(name, '')}" if name else ""))

    def scenarios(self) -> Document:
        """Which of the teacher's costs each scenario charges."""
        return self.get("/v1/scenarios")

    def ready(self) -> bool:
        """Whether the server takes requests."""
        return bool(self.get("/v1/ready")["status"] == "ready")

    def get(self, path: str) -> Document:
        """Any path, parsed."""
        return _parsed(self._send("GET", path, None))

    def post(self, path: str, body: Mapping[str, Any]) -> Document:
        """Any question, parsed."""
        return _parsed(self._send("POST", path, body))

    def fit(
        self,
        runs: str | bytes,
        media_type: str = "text/csv",
        progress: Callable[[float, str], None] = lambda done, message: None,
        supervised_runs: str | None = None,
        **options: Any,
    ) -> Document:
        """A law fitted to a file of runs; its `coefficients` can be sent with other questions.

        supervised_runs: CSV text, to fit the supervised law jointly (`runs` is CSV text then).
        fix, bound: lists of texts such as ``gamma=1`` and ``alpha=0.2:0.5``.
        """
        query = urllib.parse.urlencode(options, doseq=True)
        content = runs.encode("utf-8") if isinstance(runs, str) else runs
        if supervised_runs is not None:
            both = {"runs": content.decode("utf-8"), "supervised_runs": supervised_runs}
            content, media_type = json.dumps(both).encode("utf-8"), "application/json"
        return self.job(f"/v1/fit?{query}", content, progress, media_type)

    def job(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        progress: Callable[[float, str], None] = lambda done, message: None,
        media_type: str = "application/json",
        every: float = 0.3,
    ) -> Document:
        """Long work: start it, wait for it, return its result; Ctrl-C cancels it on the server."""
        # not `_send`: sent twice, it might run twice
        job = _parsed(self._send_once("POST", path, body, media_type))
        place = f"/v1/jobs/{job['id']}"
        try:
            while job["state"] in ("waiting", "running"):
                progress(job["progress"], job["message"])
                time.sleep(every)
                job = self.get(place)
        except BaseException:
            self._send("DELETE", place, None)
            raise
        return self.get(f"{place}/result")

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        for attempt in range(self.retries + 1):
            try:
                return self._send_once(method, path, body)
            except ServiceError as error:
                if attempt == self.retries or isinstance(error, SlowError):
                    raise
                time.sleep(0.2 * 2**attempt)
        raise AssertionError  # the loop returns or raises

    def _send_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None,
        media_type: str = "application/json",
    ) -> bytes:
        address = self.url.rstrip("/") + path
        if not address.startswith(("http://", "https://")):
            raise PlannerError(f"--server '{self.url}' is no address; write http://HOST:PORT.")
        headers = {"Content-Type": media_type} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = json.dumps(dict(body)).encode("utf-8") if isinstance(body, Mapping) else body
        request = urllib.request.Request(address, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            raise _refusal(error.code, error.read(), self.url) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise ServiceError(
                f"the server at {self.url} does not answer ({reason}); check that it runs."
            ) from error


def _query(**given: Any) -> str:
    """The query of an address, without what is None."""
    words = {True: "true", False: "false"}
    found = {
        name: words[value] if isinstance(value, bool) else value
        for name, value in given.items()
        if value is not None
    }
    return urllib.parse.urlencode(found)


def _body(
    problem: Problem | Mapping[str, Any] | None, given: Mapping[str, Any]
) -> Mapping[str, Any]:
    if problem is None:
        return given
    spelled = problem.to_mapping() if isinstance(problem, Problem) else problem
    return {**spelled, **given}


def _parsed(content: bytes) -> Document:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServiceError("the server's answer is not a planner's; check the address.")
    return document


def _refusal(status: int, content: bytes, url: str) -> Exception:
    try:
        problem = json.loads(content)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the server at {url} answers {status}; check that it is a planner.")
    if code == "infeasible":
        return errors.InfeasibleError(detail, problem.get("minimum_budget"))
    if code == "unreachable":
        return errors.UnreachableError(detail, problem.get("floor"))
    return ERRORS.get(code, PlannerError)(detail)
