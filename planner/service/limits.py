"""What a client may ask of one server, and how a server is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

KIBI, MEBI = 2**10, 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on one request and on all of them together; beyond them a clear refusal."""

    body_bytes: int = 64 * KIBI
    upload_bytes: int = 4 * MEBI
    body_seconds: float = 10.0
    teachers: int = 64
    grid_points: int = 10_000
    runs: int = 20_000
    quick_seconds: float = 10.0
    wide_seconds: float = 30.0
    job_seconds: float = 900.0
    waiting: int = 128
    """Requests that may wait for a solver, per lane; the next one is answered 503 at once.

    Waiting counts as part of a request's time and may take half of it."""
    jobs_running: int = 1
    jobs_waiting: int = 8
    jobs_kept: int = 64
    job_kept_seconds: float = 3600.0
    gathered: int = 16
    """Plans that one solver is asked for at once."""
    gather_seconds: float = 0.003
    """How long a plan waits for others to be solved with."""
    remembered_bytes: int = 64 * MEBI
    """Answers kept, to be given again to the same question."""
    connections: int = 1024
    """Open connections and requests; beyond, uvicorn answers 503."""
    keep_alive_seconds: int = 30
    """How long a connection may wait for its next request."""


@dataclass(frozen=True)
class Settings:
    """One server. `workers` solver processes for short requests, and as many for wide ones."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    token: str | None = None
    cors_origins: tuple[str, ...] = ()
    shutdown_seconds: float = 15.0
    limits: Limits = field(default_factory=Limits)
