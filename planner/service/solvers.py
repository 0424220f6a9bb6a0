"""Solver processes: lanes of them, questions gathered into batches.

Every solver is one process (a `ProcessPoolExecutor` of one worker) that has solved once before it
is asked. A question that overruns its time has its process killed and replaced, which is what makes
a limit a limit; a process that dies on its own is replaced at once, and what it was asked is asked
once more.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from planner.service import tasks, worker
from planner.service.limits import Limits, Settings
from planner.service.problems import refuse
from planner.service.worker import Reply

Options = Mapping[str, Any]
Progress = Callable[[float, str], None]

RESTART_SECONDS = 1.0
"""Between two attempts to replace a solver that does not start."""

RETRY_AFTER = 5
"""Seconds after which a request that found every solver busy may try again."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Solvers are as many as the cores; each computes on one thread."""

log = logging.getLogger("planner.service")


class SolverDiedError(Exception):
    """The process ended before it answered."""


class Solver:
    """One warm process. Its pipe brings progress, and its end when the process dies."""

    def __init__(self, executor: ProcessPoolExecutor, pid: int, news: Connection) -> None:
        self.pid = pid
        self.died = asyncio.Event()
        self.progress: Progress | None = None
        self._executor = executor
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(news.fileno(), self._hear)

    @classmethod
    async def start(cls, niceness: int, limits: Limits) -> Solver:
        """A process that has imported everything and solved once; SolverDiedError if it cannot."""
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        level = logging.getLevelName(log.getEffectiveLevel())
        executor = ProcessPoolExecutor(
            1, context, worker.begin, (niceness, str(level), limits, sending)
        )
        others = set(multiprocessing.active_children())
        warmed = executor.submit(tasks.warm)
        process = set(multiprocessing.active_children()) - others
        try:
            pid = await asyncio.wrap_future(warmed)
        except BaseException as error:
            for each in process:  # Python waits for it at its end, however long it takes to begin
                each.kill()
            executor.shutdown(wait=False, cancel_futures=True)
            receiving.close()
            if isinstance(error, BrokenProcessPool):
                raise SolverDiedError from error
            raise
        finally:
            sending.close()  # the process holds the only other end, so that its death is heard
        return cls(executor, pid, receiving)

    async def ask(self, task: str, questions: list[tuple[bytes, Options]]) -> list[Reply]:
        """The answers in the order of the questions; SolverDiedError if the process ends."""
        try:
            return await asyncio.wrap_future(self._executor.submit(tasks.work, task, questions))
        except BrokenProcessPool as error:
            raise SolverDiedError from error

    def kill(self) -> None:
        """End the process; it has nothing to save."""
        if self._news.closed:
            return
        self._loop.remove_reader(self._news.fileno())
        self._news.close()
        if not self.died.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.died.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _hear(self) -> None:
        try:
            done, message = self._news.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(self._news.fileno())
            self.died.set()
            return
        if self.progress is not None:
            self.progress(done, message)


@dataclass(eq=False)
class _Asked:
    """One question on its way, until `reply` is done."""

    task: str
    body: bytes
    options: Options
    deadline: float
    """Event-loop time at which it must be answered; infinite until it starts for a patient one."""
    seconds: float
    progress: Progress | None
    reply: asyncio.Future[Reply]
    started: asyncio.Event = field(default_factory=asyncio.Event)
    alone: bool = False
    """Whether it has been asked before, with others or of a process that died."""


class Lane:
    """`size` solvers for one kind of question, first come first served.

    gather: tasks of which all that wait are asked as one batch, collected for
    `limits.gather_seconds`.
    """

    def __init__(
        self,
        name: str,
        size: int,
        waiting: int,
        limits: Limits,
        niceness: int = 0,
        gather: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.size = size
        self.most_waiting = waiting
        self.limits = limits
        self.niceness = niceness
        self.gather = gather
        self.warm_solvers = 0
        self.running = 0
        self.replaced = 0
        self._waiting: deque[_Asked] = deque()
        self._arrived = asyncio.Event()
        self._lives: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Questions that no solver has begun."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether a warm solver is there to answer."""
        return self.warm_solvers > 0

    async def warm(self) -> None:
        """Start every solver and wait until each has answered once; SolverDiedError if one ends."""
        if self._lives:
            return
        begun = [asyncio.get_running_loop().create_future() for _ in range(self.size)]
        self._lives = [asyncio.create_task(self._life(each)) for each in begun]
        await asyncio.gather(*begun)

    async def run(
        self,
        task: str,
        body: bytes,
        options: Options,
        seconds: float,
        progress: Progress | None = None,
        patient: bool = False,
    ) -> Reply:
        """One task within its time. RefusedError (503) if too many wait, (504) if it overruns.

        `seconds` hold the wait for a solver too, which may take half of them. Only a `patient` call
        waits as long as it takes, and its time begins with its start. A call that is cancelled
        leaves the queue; a patient one that runs has its solver killed.
        """
        await self.warm()  # jobs start their solver with the first of them
        if self.waiting >= self.most_waiting:
            raise refuse(
                503,
                "busy",
                "The server has as many requests waiting as it will take; try again in a second.",
                retry_after=1,
            )
        loop = asyncio.get_running_loop()
        deadline = float("inf") if patient else loop.time() + seconds
        asked = _Asked(task, body, options, deadline, seconds, progress, loop.create_future())
        self._waiting.append(asked)
        self._arrived.set()
        try:
            try:
                async with asyncio.timeout(None if patient else seconds / 2):
                    await asked.started.wait()
            except TimeoutError:
                raise refuse(
                    503,
                    "busy",
                    f"No solver was free for {seconds / 2:g} s; try again in a few seconds.",
                    retry_after=RETRY_AFTER,
                ) from None
            return await asked.reply
        finally:
            if not asked.reply.done():
                asked.reply.cancel()
            if not asked.started.is_set():
                self._waiting.remove(asked)

    async def close(self) -> None:
        """End every process."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        self._lives = []

    async def _life(self, begun: asyncio.Future[None]) -> None:
        """One solver after another: each takes what waits until it dies or must be killed."""
        while True:
            try:
                solver = await Solver.start(self.niceness, self.limits)
            except SolverDiedError as error:
                log.error("a solver did not start", extra={"lane": self.name})
                if not begun.done():
                    begun.set_exception(error)
                    return
                await asyncio.sleep(RESTART_SECONDS)
                continue
            if not begun.done():
                begun.set_result(None)
            self.warm_solvers += 1
            try:
                while not solver.died.is_set():
                    if batch := await self._next(solver):
                        await self._answer(solver, batch)
            finally:
                self.warm_solvers -= 1
                self.replaced += 1
                solver.kill()
            log.error(
                "a solver ended and is replaced", extra={"lane": self.name, "pid": solver.pid}
            )

    async def _next(self, solver: Solver) -> list[_Asked]:
        """The next question, with all others of its kind that may be asked together with it.

        Empty where the solver died, or another was quicker.
        """
        arrived = asyncio.create_task(self._arrived.wait())
        died = asyncio.create_task(solver.died.wait())
        try:
            await asyncio.wait((arrived, died), return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
            died.cancel()
        if not self._waiting:
            self._arrived.clear()
        if solver.died.is_set() or not self._waiting:
            return []
        if self._waiting[0].task in self.gather and not self._waiting[0].alone:
            await asyncio.sleep(self.limits.gather_seconds)
        batch: list[_Asked] = []
        while self._waiting and len(batch) < self.limits.gathered:
            asked = self._waiting[0]
            if batch and (asked.alone or batch[0].alone or asked.task != batch[0].task):
                break
            if batch and asked.task not in self.gather:
                break
            batch.append(self._waiting.popleft())
            asked.started.set()
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _answer(self, solver: Solver, batch: list[_Asked]) -> None:
        """Ask, and see that every question of the batch gets its reply or goes back."""
        loop = asyncio.get_running_loop()
        first, now = batch[0], loop.time()
        left = min(min(asked.deadline - now, asked.seconds) for asked in batch)
        if left <= 0.0:  # its time went by in an earlier attempt
            self._give_up(batch, first)
            return
        if len(batch) > 1:
            left /= 2.0  # the other half is for asking its questions one by one
        solver.progress = first.progress
        self.running += len(batch)
        work = asyncio.create_task(
            solver.ask(first.task, [(asked.body, asked.options) for asked in batch])
        )
        waits: set[asyncio.Future[Any]] = {work}
        if first.deadline == float("inf"):
            waits.add(first.reply)  # a job that is cancelled ends its process
        try:
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                solver.kill()
                self._give_up(batch, first)
                return
            for asked, reply in zip(batch, work.result(), strict=True):
                if not asked.reply.done():
                    asked.reply.set_result(reply)
        except SolverDiedError:
            solver.died.set()
            self._ask_again(batch)
        except Exception as error:  # what came back was no answer
            log.error("a solver's answer could not be read", exc_info=error)
            self._ask_again(batch)
        except asyncio.CancelledError:  # the server stops
            for asked in batch:
                asked.reply.cancel()
            raise
        finally:
            work.cancel()
            solver.progress = None
            self.running -= len(batch)

    def _give_up(self, batch: list[_Asked], first: _Asked) -> None:
        """What to say of a batch whose time is over."""
        if len(batch) > 1:
            self._back(batch)
        elif not first.reply.done():
            first.reply.set_exception(
                refuse(
                    504,
                    "timeout",
                    f"The answer would take longer than the {first.seconds:g} s that one request "
                    "may; ask for fewer points or a larger tolerance.",
                    limit_seconds=first.seconds,
                )
            )

    def _ask_again(self, batch: list[_Asked]) -> None:
        """After its process died a question is asked once more, by itself."""
        for asked in [each for each in batch if each.alone and not each.reply.done()]:
            asked.reply.set_exception(
                refuse(500, "internal", "The solver ended twice before it answered this question.")
            )
        self._back([asked for asked in batch if not asked.alone])

    def _back(self, batch: list[_Asked]) -> None:
        for asked in reversed(batch):
            if not asked.reply.done():
                asked.alone = True
                self._waiting.appendleft(asked)
                self._arrived.set()


class Solvers:
    """All lanes of one server."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.lanes = {
            "quick": Lane("quick", settings.workers, limits.waiting, limits,
                          gather=frozenset(tasks.BATCHES)),
            "wide": Lane("wide", settings.workers, limits.waiting, limits, niceness=2),
            "jobs": Lane("jobs", limits.jobs_running, limits.jobs_waiting, limits, niceness=5),
        }  # fmt: skip
        self.seconds = {"quick": limits.quick_seconds, "wide": limits.wide_seconds}

    @property
    def ready(self) -> bool:
        """Whether short and wide questions would be answered now."""
        return self.lanes["quick"].ready and self.lanes["wide"].ready

    async def start(self) -> None:
        """Warm the lanes that requests wait for."""
        os.environ.update(ONE_THREAD)  # for the processes started from here on
        await asyncio.gather(self.lanes["quick"].warm(), self.lanes["wide"].warm())

    async def ask(self, task: str, body: bytes, options: Options, lane: str = "quick") -> Reply:
        """The answer of `task` to a JSON body, from a solver of that lane.

        RefusedError where there is no room (503) or no time (504); a question that cannot be
        answered is a Reply of problem+json with its status.
        """
        return await self.lanes[lane].run(task, body, options, self.seconds[lane])

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))
