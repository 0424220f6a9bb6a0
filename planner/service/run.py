"""Starts one server and ends it cleanly."""

from __future__ import annotations

import resource
import signal
import socket
from collections.abc import Callable

from planner.errors import PlannerError
from planner.service import logs
from planner.service.app import create_app
from planner.service.limits import Settings
from planner.service.middleware import LOOPBACK

MOST_FILES = 4096
"""Descriptors; the usual 1024 are few for a full house of requests and silent connections."""


class ListenError(PlannerError):
    """The address cannot be listened on."""


def run(
    settings: Settings,
    allowed_hosts: tuple[str, ...] = (),
    log_level: str = "info",
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until a signal. On the first, requests are finished and jobs cancelled."""
    import uvicorn

    logs.configure(log_level)
    allow_files(MOST_FILES)
    app = create_app(settings, allowed_hosts)
    listener = listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    if settings.host not in LOOPBACK and settings.token is None:
        say(
            f"Listening on {settings.host} without a token: everyone who reaches this address can "
            "use the planner; set PLANNER_TOKEN."
        )
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"Planner at http://{shown}:{port}/ (Ctrl-C ends it)")
    config = uvicorn.Config(
        app,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.limits.keep_alive_seconds,
        limit_concurrency=settings.limits.connections,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
    )
    # uvicorn raises the signal again once it has stopped: a stop that was asked for is no failure
    signal.signal(signal.SIGTERM, lambda *_: None)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def allow_files(wanted: int) -> None:
    """Let the process hold that many sockets and pipes, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ListenError with one sentence if there can be none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ListenError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --port or --host."
        ) from error
    return listener
