"""A solver process: how it is set up, what a task may know there, and how it refuses."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from planner.errors import INPUT_ERRORS
from planner.service import logs
from planner.service.limits import Limits
from planner.service.problems import MEDIA_TYPE, Problem, RefusedError, of_error

MOST_MEMORY = 4 * 2**30
"""Bytes of address space: a question that needs more fails alone, and the machine goes on."""

log = logging.getLogger("planner.service.worker")


@dataclass(frozen=True)
class Reply:
    """A task's answer: what goes to the client as it is, or a refusal."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Context:
    """What a task may know beside its question: the server's limits, and whom to tell how far."""

    limits: Limits = field(default_factory=Limits)
    news: Connection | None = None

    def progress(self, done: float, message: str) -> None:
        """Tell how much of the work is done, 0 to 1."""
        if self.news is not None:
            self.news.send((done, message))


_context = Context()


def begin(niceness: int, level: str, limits: Limits, news: Connection) -> None:
    """Set a fresh process up: it ends with its front, and never by a Ctrl-C of its own."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    os.nice(niceness)
    logs.configure(level)
    _context = Context(limits, news)


def context() -> Context:
    """What this process was set up with."""
    return _context


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def refusal(error: Exception, task: str) -> Reply:
    """The reply for an exception that a task raised."""
    if isinstance(error, RefusedError):
        return problem_reply(error.problem)
    if isinstance(error, INPUT_ERRORS):
        return problem_reply(of_error(error))
    # the client learns nothing of our insides, the operator everything but the payload
    log.error("task %s failed", task, exc_info=error)
    return problem_reply(
        Problem(500, "internal", "The solver failed on this request; please report it.")
    )


def problem_reply(problem: Problem) -> Reply:
    """A refusal in the shape of an answer."""
    return Reply(problem.status, MEDIA_TYPE, problem.body())
