"""`--server URL`: the same command, answered by `planner serve` somewhere else.

@click.command()
@server_options()
def command(server: Server | None, ...) -> None: ...
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from planner.cli.output import Output
from planner.errors import ProblemError

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Server:
    """A running `planner serve`, and its token if it wants one."""

    url: str
    token: str | None = None

    def plan(self, given: Mapping[str, Any], views: Mapping[str, Any], output: Output) -> None:
        """Write the server's plan exactly as a local one would be written.

        views: robust, sensitivity and near_optimal, None where not asked for.
        """
        body = {**given, **_own_coefficients(given.get("coefficients"), output)}
        output.write(self._render("/v1/plan", body, output, **views))
        if output.format != "table" or output.path is not None:
            for warning in self._client().plan(body)["warnings"]:
                output.remark(f"Warning: {warning['text']}", "yellow")

    def report(
        self, path: str, given: Mapping[str, Any], output: Output, plot: str | None = None
    ) -> None:
        """Write the server's report at `path` as its command would; keys that are None stay out."""
        if plot is not None:
            raise ProblemError("a server draws no picture; leave out --plot or --server.")
        body = {key: value for key, value in given.items() if value is not None}
        body |= _own_coefficients(given.get("coefficients"), output)
        output.write(self._render(path, body, output))

    def _client(self) -> Any:
        from planner.client import Client

        return Client(self.url, self.token)

    def _render(self, path: str, body: Mapping[str, Any], output: Output, **views: Any) -> str:
        screen = output.screen
        text: str = self._client().render(
            body, output.format, screen.width, screen.colour, screen.unicode, path, **views
        )
        return text


def server_options() -> Callable[[Function], Function]:
    """--server and --token, handed on as `server`: a Server, or None to work here."""

    def decorate(function: Function) -> Function:
        @click.option(
            "--server", "url", metavar="URL",
            help="Let this `planner serve` do the work, as http://HOST:PORT.",
        )  # fmt: skip
        @click.option(
            "--token", envvar="PLANNER_TOKEN", help="The server's token, if it wants one."
        )
        @functools.wraps(function)
        def wrapper(*args: Any, url: str | None, token: str | None, **values: Any) -> Any:
            server = None if url is None else Server(url, token)
            return function(*args, server=server, **values)

        return cast(Function, wrapper)

    return decorate


def _own_coefficients(name: str | None, output: Output) -> dict[str, Any]:
    """A coefficient file of the user's travels with the question; servers read no paths."""
    from coefficients import available, load

    if name is None or name in available():
        return {}
    if not Path(name).is_file():
        if Path(name).suffix or "/" in name or os.sep in name:
            raise ProblemError(
                f"there is no coefficient file '{name}' here; with --server a file is read on this "
                "machine and sent along, so give a path of this machine, or the name of a set."
            )
        return {}  # perhaps the server ships a set of that name
    load(name)  # says what is wrong with the file, if anything is
    import tomli

    document = tomli.loads(Path(name).read_text(encoding="utf-8"))
    if "draws" in document:
        output.remark(
            f"The draws of {name} stay here: a server takes a set without them, so its answer has "
            "no intervals. Leave out --server to see them.",
            "yellow",
        )
    return {
        "coefficients": {key: each for key, each in document.items() if not key.startswith("draws")}
    }
