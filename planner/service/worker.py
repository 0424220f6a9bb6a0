"""A solver process: reads tasks from stdin, answers on stdout, ends when its front does."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from typing import BinaryIO

from planner.errors import INPUT_ERRORS
from planner.service import logs
from planner.service.pool import Reply, problem_reply
from planner.service.problems import Problem, RefusedError, of_error

MOST_MEMORY = 4 * 2**30
"""Bytes of address space: a question that needs more fails alone, and the machine goes on."""

log = logging.getLogger("planner.service.worker")


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer tasks until `source` ends."""

    def progress(done: float, message: str) -> None:
        sink.write(json.dumps({"progress": done, "message": message}).encode() + b"\n")
        sink.flush()

    while line := source.readline():
        head = json.loads(line)
        body = source.read(head["length"])
        reply = answer(head["task"], body, head["options"], progress)
        first = {
            "status": reply.status, "media_type": reply.media_type, "length": len(reply.body)
        }  # fmt: skip
        sink.write(json.dumps(first).encode() + b"\n" + reply.body)
        sink.flush()


def answer(task: str, body: bytes, options: dict[str, object], progress: object) -> Reply:
    """One task's reply; a mistake of the client becomes a problem, a fault of ours a 500."""
    from planner.service.tasks import TASKS

    try:
        return TASKS[task](body, options, progress)
    except RefusedError as refusal:
        return problem_reply(refusal.problem)
    except INPUT_ERRORS as error:
        return problem_reply(of_error(error))
    except Exception:
        # the client learns nothing of our insides, the operator everything but the payload
        log.exception("task %s failed", task)
        return problem_reply(
            Problem(500, "internal", "The solver failed on this request; please report it.")
        )


def main() -> None:
    """Take stdin and stdout for the protocol; whatever else prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    os.nice(int(sys.argv[1]))
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    logs.configure(sys.argv[2])
    try:
        serve(source, sink)
    except BrokenPipeError:  # the front is gone, nobody waits for the answer
        os._exit(0)


if __name__ == "__main__":
    main()
