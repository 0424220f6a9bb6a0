"""Lanes of solver processes: short questions in one lane never wait for long ones in another.

A process that overruns its time is killed and replaced, which is what makes a limit a limit.
Requests travel as one JSON line and the raw body, answers as one JSON line and the raw answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from planner.service.problems import Problem, refuse

Progress = Callable[[float, str], None]
LONGEST_LINE = 2**20
RETRY_AFTER = 5
"""Seconds after which a request that found every solver busy may try again."""

log = logging.getLogger("planner.service")


@dataclass(frozen=True)
class Reply:
    """A task's answer: what goes to the client as it is, or a refusal."""

    status: int
    media_type: str
    body: bytes


class SolverDiedError(Exception):
    """The process ended before it answered."""


class Solver:
    """One child process running planner.service.worker."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._overheard = asyncio.create_task(self._overhear())

    @classmethod
    async def start(cls, niceness: int = 0) -> Solver:
        """Spawn a child; it imports the solver while nobody waits for it yet."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "planner.service.worker",
            str(niceness),
            logging.getLevelName(log.getEffectiveLevel()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the front, which ends its solvers itself
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.returncode is None

    async def ask(
        self, task: str, body: bytes, options: Mapping[str, Any], progress: Progress | None
    ) -> Reply:
        """Send one task and await its answer; SolverDiedError if there is none."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        head = {"task": task, "options": dict(options), "length": len(body)}
        try:
            self.process.stdin.write(json.dumps(head).encode() + b"\n" + body)
            await self.process.stdin.drain()
            while True:
                line = await self.process.stdout.readline()
                if not line:
                    raise SolverDiedError
                answer = json.loads(line)
                if "progress" not in answer:
                    break
                if progress is not None:
                    progress(answer["progress"], answer["message"])
            content = await self.process.stdout.readexactly(answer["length"])
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise SolverDiedError from error
        return Reply(answer["status"], answer["media_type"], content)

    async def stop(self) -> None:
        """End the process; it has nothing to save."""
        if self.alive:
            with suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        await self._overheard

    async def _overhear(self) -> None:
        """Pass the child's log on, and log whatever else it writes, so that every line is JSON."""
        assert self.process.stderr is not None
        while True:
            try:
                line = await self.process.stderr.readline()
            except ValueError:  # a line beyond all measure was dropped
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            if text.startswith('{"time":'):
                print(text, file=sys.stderr, flush=True)
            elif text:
                log.error("solver", extra={"text": text[:1000]})


class Lane:
    """`size` solver processes for one kind of question, first come first served."""

    def __init__(self, name: str, size: int, waiting: int, niceness: int = 0) -> None:
        self.name = name
        self.size = size
        self.most_waiting = waiting
        self.niceness = niceness
        self.waiting = 0
        self.running = 0
        self.replaced = 0
        self._idle: list[Solver] = []
        self._all: set[Solver] = set()
        self._free = asyncio.Semaphore(size)
        self._closed = False

    async def warm(self) -> None:
        """Start every process and make each answer once."""
        solvers = await asyncio.gather(*(self._start() for _ in range(self.size)))
        await asyncio.gather(*(solver.ask("warm", b"", {}, None) for solver in solvers))
        self._idle.extend(solvers)

    async def run(
        self,
        task: str,
        body: bytes,
        options: Mapping[str, Any],
        seconds: float,
        progress: Progress | None = None,
        started: asyncio.Event | None = None,
        patient: bool = False,
    ) -> Reply:
        """One task within its time. RefusedError (503) if too many wait, (504) if it overruns.

        `seconds` hold the wait for a solver too, which may take half of them: a task that starts
        has the other half at least. Only a `patient` call waits as long as it takes, and its time
        begins with its start. Cancelling a waiting call takes it off the queue; cancelling one that
        `started` kills its solver.
        """
        if self._closed or self.waiting >= self.most_waiting:
            raise refuse(
                503,
                "busy",
                "The server has as many requests waiting as it will take; try again in a second.",
                retry_after=1,
            )
        began = time.monotonic()
        self.waiting += 1
        try:
            async with asyncio.timeout(None if patient else seconds / 2):
                await self._free.acquire()
        except TimeoutError:
            raise refuse(
                503,
                "busy",
                f"No solver was free for {seconds / 2:g} s; try again in a few seconds.",
                retry_after=RETRY_AFTER,
            ) from None
        finally:
            self.waiting -= 1
        waited = 0.0 if patient else time.monotonic() - began
        self.running += 1
        if started is not None:
            started.set()
        try:
            return await self._run(task, body, options, seconds, waited, progress)
        finally:
            self.running -= 1
            self._free.release()

    async def _run(
        self,
        task: str,
        body: bytes,
        options: Mapping[str, Any],
        seconds: float,
        waited: float,
        progress: Progress | None,
    ) -> Reply:
        solver = await self._take()
        sound = False
        try:
            async with asyncio.timeout(seconds - waited):
                reply = await solver.ask(task, body, options, progress)
            sound = True
            return reply
        except TimeoutError:
            if waited > 0.1 * seconds:  # it may well have time enough when the server is less busy
                raise refuse(
                    503,
                    "busy",
                    f"The server is busy: of the {seconds:g} s that one request may take, this one "
                    f"waited {waited:.1f} s for a solver; try again in a few seconds.",
                    retry_after=RETRY_AFTER,
                ) from None
            raise refuse(
                504,
                "timeout",
                f"The answer would take longer than the {seconds:g} s that one request may; ask "
                "for fewer points or a larger tolerance.",
                limit_seconds=seconds,
            ) from None
        except SolverDiedError:
            raise refuse(
                500, "internal", "The solver ended before it answered; the same request may work."
            ) from None
        finally:
            if sound:
                self._idle.append(solver)
            else:
                self.replaced += 1
                self._all.discard(solver)
                await asyncio.shield(solver.stop())

    async def _take(self) -> Solver:
        while self._idle:
            solver = self._idle.pop()
            if solver.alive:
                return solver
            self._all.discard(solver)
            self.replaced += 1
        return await self._start()

    async def _start(self) -> Solver:
        solver = await Solver.start(self.niceness)
        self._all.add(solver)
        return solver

    async def close(self) -> None:
        """End every process."""
        self._closed = True
        await asyncio.gather(*(solver.stop() for solver in self._all))
        self._all.clear()


def problem_reply(problem: Problem) -> Reply:
    """A refusal in the shape of an answer."""
    from planner.service.problems import MEDIA_TYPE

    return Reply(problem.status, MEDIA_TYPE, problem.body())
