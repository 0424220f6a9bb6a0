"""`serve`: the planner over HTTP, with a page to explore it."""

from __future__ import annotations

import click

from planner.cli import console


@click.command(
    "serve",
    short_help="Serve the planner and its page over HTTP.",
    epilog="Example: planner serve --port 8000",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64),
    help="Solver processes for short requests, and as many for wide ones; the cores, up to 4.",
)  # fmt: skip
@click.option(
    "--token", envvar="PLANNER_TOKEN", metavar="TOKEN",
    help="Ask every request to the API for this bearer token; better set as PLANNER_TOKEN.",
)  # fmt: skip
@click.option(
    "--allowed-host", "hosts", multiple=True, metavar="NAME",
    help="Answer under this host name too, as a proxy passes it on; repeat for several.",
)  # fmt: skip
@click.option(
    "--cors-origin", "origins", multiple=True, metavar="ORIGIN",
    help="Let pages of this origin call the API; none may unless given.",
)  # fmt: skip
@click.option("--log-level", default="info", show_default=True,
              type=click.Choice(["debug", "info", "warning", "error"]),
              help="Least level of the JSON log lines on stderr.")  # fmt: skip
def serve(
    host: str,
    port: int,
    workers: int | None,
    token: str | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    log_level: str,
) -> None:
    """Serve the planner over HTTP: the API below /v1, the page at /, metrics at /metrics.

    Listens on this machine only unless --host says otherwise; then set a token.
    """
    from dataclasses import replace

    from planner.errors import ProblemError, require

    if token and not all("!" <= sign <= "~" for sign in token):
        raise ProblemError(
            "the token holds blanks or letters that no header can carry; use letters, digits and "
            "signs of ASCII."
        )

    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require(package, extra="service")
    from planner.service.limits import Settings
    from planner.service.run import run

    settings = Settings(host=host, port=port, token=token or None, cors_origins=origins)
    if workers is not None:
        settings = replace(settings, workers=workers)
    run(settings, hosts, log_level, console.remark)
