"""Long work: accepted at once, watched by its id, cancelled by killing its solver process."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.service.limits import Limits
from planner.service.problems import Problem, RefusedError, refuse
from planner.service.solvers import Lane
from planner.service.worker import Reply, problem_reply

STATES = ("waiting", "running", "done", "failed", "cancelled")


@dataclass(frozen=True)
class JobStatus:
    """What a client is told of a job."""

    id: str
    kind: str
    state: str
    progress: float
    message: str
    seconds: float
    result: str | None


@dataclass
class Job:
    """One piece of work and what became of it."""

    id: str
    kind: str
    created: float
    state: str = "waiting"
    progress: float = 0.0
    message: str = ""
    reply: Reply | None = None
    finished: float | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def document(self) -> dict[str, Any]:
        """What GET /v1/jobs/{id} says."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": self.progress,
            "message": self.message,
            "seconds": round((self.finished or time.time()) - self.created, 3),
            "result": f"/v1/jobs/{self.id}/result" if self.reply is not None else None,
        }


class Jobs:
    """All jobs of one server. Ids cannot be guessed; results are kept for a while, then dropped."""

    def __init__(self, lane: Lane, limits: Limits) -> None:
        self.lane = lane
        self.limits = limits
        self._jobs: dict[str, Job] = {}

    def start(self, kind: str, body: bytes, options: Mapping[str, Any]) -> Job:
        """Accept work, or refuse it (503) where too much waits already."""
        self._forget()
        unfinished = sum(job.finished is None for job in self._jobs.values())
        if unfinished >= self.limits.jobs_running + self.limits.jobs_waiting:
            raise refuse(
                503,
                "busy",
                f"{unfinished} jobs are running or waiting; wait for one to end, or cancel one.",
                retry_after=30,
            )
        job = Job(secrets.token_urlsafe(16), kind, time.time())
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, body, options))
        return job

    def get(self, identity: str) -> Job:
        """The job of that id; RefusedError (404) if there is none any more."""
        self._forget()
        if identity not in self._jobs:
            raise refuse(
                404, "not-found", "There is no job of this id; results are kept for a while only."
            )
        return self._jobs[identity]

    async def cancel(self, identity: str) -> Job:
        """Stop a job's work; one that ended already stays as it is."""
        job = self.get(identity)
        if job.task is not None and job.finished is None:
            job.task.cancel()
            await asyncio.wait([job.task])
        return job

    async def close(self) -> None:
        """Cancel everything that runs or waits."""
        await asyncio.gather(*(self.cancel(identity) for identity in list(self._jobs)))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = Counter(job.state for job in self._jobs.values())
        return {state: found[state] for state in STATES}

    async def _run(self, job: Job, body: bytes, options: Mapping[str, Any]) -> None:
        def progress(done: float, message: str) -> None:
            job.state, job.progress, job.message = "running", done, message

        try:
            reply = await self.lane.run(
                job.kind, body, options, self.limits.job_seconds, progress, patient=True
            )
            job.state = "done" if reply.status < 400 else "failed"
            job.progress = 1.0 if job.state == "done" else job.progress
            job.reply = reply
        except RefusedError as refusal:
            job.state, job.reply = "failed", problem_reply(refusal.problem)
        except asyncio.CancelledError:
            job.state = "cancelled"
            job.reply = problem_reply(Problem(409, "cancelled", "The job was cancelled."))
        job.finished = time.time()

    def _forget(self) -> None:
        """Drop what ended long ago, and the oldest results beyond the number kept."""
        ended = [job for job in self._jobs.values() if job.finished is not None]
        ended.sort(key=lambda job: job.finished or 0.0)
        surplus = len(ended) - self.limits.jobs_kept
        for index, job in enumerate(ended):
            assert job.finished is not None
            if index < surplus or time.time() - job.finished > self.limits.job_kept_seconds:
                del self._jobs[job.id]
