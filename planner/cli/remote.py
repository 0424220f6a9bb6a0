"""`--server URL`: the same command, answered by `planner serve` somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.cli.output import Output


def plan(
    server: str,
    token: str | None,
    given: Mapping[str, Any],
    views: Mapping[str, Any],
    output: Output,
) -> None:
    """Write a server's plan exactly as a local one would be written.

    views: robust, sensitivity and near_optimal, None where not asked for.
    """
    from planner.client import Client

    client = Client(server, token)
    given = {**given, **_own_coefficients(given.get("coefficients"), output)}
    screen = output.screen
    text = client.render(given, output.format, screen.width, screen.colour, screen.unicode, **views)
    output.write(text)
    if output.format != "table" or output.path is not None:
        for warning in client.plan(given)["warnings"]:
            output.remark(f"Warning: {warning['text']}", "yellow")


def _own_coefficients(name: str | None, output: Output) -> dict[str, Any]:
    """A coefficient file of the user's travels with the question; servers read no paths."""
    from pathlib import Path

    from coefficients import available, load

    if name is None or name in available() or not Path(name).is_file():
        return {}
    load(name)  # says what is wrong with the file, if anything is
    import tomli

    document = tomli.loads(Path(name).read_text(encoding="utf-8"))
    if "draws" in document:
        output.remark(
            f"The draws of {name} stay here: a server takes a set without them, so this plan has "
            "no intervals. Plan without --server to see them.",
            "yellow",
        )
    return {
        "coefficients": {key: each for key, each in document.items() if not key.startswith("draws")}
    }
