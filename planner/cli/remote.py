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
from planner.documents import parse, read_text
from planner.errors import ProblemError

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Server:
    """A running `planner serve`, and its token if it wants one."""

    url: str
    token: str | None = None

    def answer(
        self, name: str, given: Mapping[str, Any], output: Output, plot: str | None = None
    ) -> None:
        """Write the server's answer to a question exactly as a local one would be written."""
        from planner.catalogue import SHIPPED
        from planner.client import Client
        from planner.questions import QUESTIONS

        if plot is not None:
            raise ProblemError("a server draws no picture; leave out --plot or --server.")
        body = dict(given) | _own_coefficients(given.get("coefficients"), output)
        if isinstance(body.get("recipe"), str):  # a file of this machine
            body["recipe"] = parse(read_text(body["recipe"]), body["recipe"])
        if isinstance(body.get("accelerators"), str):
            from planner.accelerators import load_accelerators

            body["accelerators"] = [vars(each) for each in load_accelerators(body["accelerators"])]
        if body.get("source") not in (None, SHIPPED):
            raise ProblemError("a server reads no file of teachers; name each with --teacher.")
        screen, client = output.screen, Client(self.url, self.token)
        more = (screen.width, screen.colour, screen.unicode, screen.details)
        output.write(client.render(name, body, output.format, *more))
        if output.hides_warnings:
            output.warn(QUESTIONS[name].answer.from_document(client.ask(name, body)).sheet())


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
