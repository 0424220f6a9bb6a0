"""Connections that ask nothing: closed after a while, and the oldest at once where they crowd.

uvicorn counts every open connection against its limit and gives a head that never arrives for ever.
Here only requests count (see `guard`), and silence has a time and a number of its own, so that a
crowd of silent clients cannot keep the others out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from planner.service.limits import Limits

KEEP_ALIVE = 30
"""Seconds that a connection may wait for its next request."""


def protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's h11 protocol under these limits; all its connections share one count."""
    silent: dict[
        H11Protocol, Callable[[], None]
    ] = {}  # how to close each, in the order in which they fell silent

    class Watched(H11Protocol):
        """Keeps time over its connection while no request is being answered on it."""

        timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.watch(limits.head_seconds)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.judge()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.judge()

        def connection_lost(self, exc: Exception | None) -> None:
            self.forget()
            super().connection_lost(exc)

        def judge(self) -> None:
            """A request under way stops the clock; between two of them it runs."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.forget()
            elif not self.transport.is_closing():
                self.watch(KEEP_ALIVE + limits.head_seconds)

        def watch(self, seconds: float) -> None:
            """Start the clock unless it runs, and make room where too many are silent."""
            if self in silent:
                return
            self.timer = self.loop.call_later(seconds, self.give_up)
            silent[self] = self.give_up
            if len(silent) > limits.silent_connections:
                next(iter(silent.values()))()

        def forget(self) -> None:
            """Stop the clock."""
            silent.pop(self, None)
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def give_up(self) -> None:
            """Close without waiting for a client that may not read either."""
            self.forget()
            self.transport.abort()

    return Watched
