"""Where a trial's runs are trained: processes, dependencies, resumption.

Runs go to a `ProcessPoolExecutor` of this machine, or to a Ray cluster. Whatever ends a process, a
run goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from planner.errors import PlannerError, ProblemError, require
from planner.trainer.data import DataSpec
from planner.trainer.loss import Objective
from planner.trainer.optim import Hyper
from planner.trainer.spec import RunRecord, RunSpec, read_record
from planner.trial.design import Design, Run, Scale

Task = dict[str, Any]
Progress = Callable[[float, str], None]
"""Told the FLOPs done so far and what is being trained."""

ATTEMPTS = 3
"""Processes that may die under one run before the trial ends."""

KEEP_MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 30))
"""Settings of glibc: blocks up to 1 GB are kept when freed. Else every step maps its activations
anew, and small models spend up to a third of their time on page faults."""


class Pool(Protocol):
    """Where tasks run, `count` at a time."""

    count: int

    def submit(self, task: Task) -> Future[Any]: ...

    def restart(self) -> None: ...


@contextmanager
def open_pool(kind: str, gpu: bool) -> Iterator[Pool]:
    """A pool by name, `local` or `ray`: one process with one thread for every core, or one process
    for every GPU (the only one, on this machine)."""
    threads = None if gpu else 1
    if kind == "ray":
        with _ray_pool(threads, gpu) as pool:
            yield pool
        return
    ours = {name: value for name, value in KEEP_MEMORY.items() if name not in os.environ}
    os.environ.update(ours)  # the C library reads these at the start of a process
    local = LocalPool(1 if gpu else _cores(), threads)
    try:
        yield local
    finally:
        local.close()
        for name in ours:
            del os.environ[name]


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalPool:
    """Processes of this machine; they end with the process that started them, however it ends."""

    def __init__(self, count: int, threads: int | None) -> None:
        self.count, self.threads = count, threads
        self._open()

    def _open(self) -> None:
        context = multiprocessing.get_context("spawn")
        reader, self._alive = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            self.count, context, initializer=_begin, initargs=(self.threads, reader)
        )

    def submit(self, task: Task) -> Future[Any]:
        """Start a task in an idle process, or queue it."""
        return self._executor.submit(work, task)

    def restart(self) -> None:
        """New processes after one died."""
        self.close()
        self._open()

    def close(self) -> None:
        """End all processes at once: whatever they do, it can be taken up again."""
        self._alive.close()
        self._executor.shutdown(cancel_futures=True)


def _begin(threads: int | None, alive: Connection | None = None) -> None:
    """Settings of a process that come before PyTorch, and its end together with the parent's."""
    import signal

    import planner.trainer  # noqa: F401 (calms OpenMP)

    if alive is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        import torch

        torch.set_num_threads(threads)


def _end_with(alive: Connection) -> None:
    """Wait until the other end of the pipe is closed, by the parent or by its death."""
    try:
        alive.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


@contextmanager
def _ray_pool(threads: int | None, gpu: bool) -> Iterator[Pool]:
    """Tasks on the Ray cluster at $RAY_ADDRESS, else on one of this machine.

    All machines must see the output folder and the cache at the same paths.
    """
    ray = require("ray", extra="cluster")
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False,
                 runtime_env={"env_vars": KEEP_MEMORY})  # fmt: skip
    pool = _RayPool(ray, threads, gpu)
    try:
        yield pool
    finally:
        for reference in pool.running:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


class _RayPool:
    def __init__(self, ray: Any, threads: int | None, gpu: bool) -> None:
        self.threads, self.running = threads, list[Any]()
        self.count = max(1, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)))
        self._work = ray.remote(**({"num_gpus": 1} if gpu else {"num_cpus": 1}))(_remote)

    def submit(self, task: Task) -> Future[Any]:
        self.running.append(self._work.remote(task, self.threads))
        found: Future[Any] = self.running[-1].future()
        return found

    def restart(self) -> None:
        """Ray replaces its own processes."""


def _remote(task: Task, threads: int | None) -> Any:
    _begin(threads)
    return work(task)


def result_of(future: Future[Any]) -> Any:
    """What a task returned; what it raised, out of Ray's wrapping."""
    try:
        return future.result()
    except Exception as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, Exception):
            raise cause from error
        raise


def work(task: Task) -> Any:
    """Do one task: `kind` is "train" or "probe"."""
    if task["kind"] == "train":
        return _train(task)
    from planner.trial.probe import probe

    return probe(task)


def _train(task: Task) -> None:
    from planner.trainer.engine import Machine
    from planner.trainer.files import exclusive
    from planner.trainer.train import train

    spec, directory = RunSpec.from_dict(task["spec"]), Path(task["directory"])
    cache = Path(task["cache"]) if task["cache"] else None
    with exclusive(directory.with_name(f".{directory.name}.lock")):
        train(spec, directory, Machine(**task["machine"]), cache=cache)


def recipe_of_training(scale: Scale) -> dict[str, Any]:
    """Everything beside text and sizes that the losses depend on."""
    shapes = {name: value for name, value in asdict(scale).items() if name != "largest"}
    hyper = Hyper(batch=scale.batch, d_base=scale.d_base)
    return {"shapes": shapes, "hyper": asdict(hyper), "objective": asdict(Objective())}


@dataclass(frozen=True)
class RunFolder:
    """Where a trial's runs are and how they are made.

    hashes: what identifies its text. rates: peak learning rates by method, once they are tuned.
    """

    root: Path
    data: DataSpec
    machine: dict[str, Any]
    cache: Path | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    def directory(self, key: str) -> Path:
        return self.root / "runs" / key

    def spec(self, design: Design, run: Run) -> RunSpec:
        """What the trainer is asked to do for a run."""
        scale = design.shapes
        rate = self.rates[run.method] if run.rate is None else run.rate
        return RunSpec(
            scale.config(run.layers, design.vocabulary),
            run.tokens,
            objective=Objective() if run.method == "distilled" else None,
            teacher=str(self.directory(run.teacher)) if run.teacher else None,
            split=run.split,
            seed=run.seed,
            data=self.data,
            hyper=Hyper(batch=scale.batch, learning_rate=rate, d_base=scale.d_base),
            evaluation_tokens=scale.evaluation_tokens,
        )

    def task(self, design: Design, run: Run) -> Task:
        """The run as a task of a pool."""
        return {
            "kind": "train",
            "spec": self.spec(design, run).to_dict(),
            "directory": str(self.directory(run.key)),
            "machine": self.machine,
            "cache": str(self.cache) if self.cache else None,
        }

    def record(self, design: Design, run: Run) -> RunRecord | None:
        """What a finished run measured; another run's record, or other text's, is refused."""
        found = read_record(self.directory(run.key))
        if found is None:
            return None
        asked = self.spec(design, run)
        if replace(found.spec, teacher=asked.teacher) != asked:  # a folder may be moved
            raise ProblemError(
                f"{self.directory(run.key)} holds another run than the trial's; choose another "
                "--output. Nothing was overwritten."
            )
        if found.dataset != self.hashes[f"{run.split} tokens"]:
            raise ProblemError(
                f"the run {run.key} was trained on another state of {self.data.corpus} than the "
                f"trial in {self.root} was begun with, and would not compare; choose another "
                "--output. Nothing was overwritten."
            )
        return found

    def share(self, design: Design, run: Run) -> float:
        """The share of an unfinished run's steps that its log reports."""
        try:
            with (self.directory(run.key) / "log.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2_000))
                last = json.loads(file.read().splitlines()[-1])
            done = (int(last["step"]) + 1) * design.shapes.tokens_per_step
            return min(1.0, done / run.tokens)
        except (OSError, ValueError, KeyError, IndexError):
            return 0.0


def execute(
    design: Design, runs: Sequence[Run], folder: RunFolder, pool: Pool, progress: Progress,
    finished: Callable[[], None], say: Callable[[str], None] = lambda _: None,
) -> dict[str, RunRecord]:  # fmt: skip
    """Train what is not finished yet; the records of all runs by key.

    Long chains (a teacher and its students) start first; `finished` is called after every run. A
    process that dies is replaced, and its run goes on. Raises what a run raises, and PlannerError
    for a run under which ATTEMPTS processes died.
    """
    records = {
        run.key: record for run in runs if (record := folder.record(design, run)) is not None
    }
    by_key = {run.key: run for run in runs}
    waiting = sorted(
        (run for run in runs if run.key not in records),
        key=lambda run: -_chain(design, run, runs),
    )
    running: dict[Future[Any], Run] = {}
    deaths: Counter[str] = Counter()
    while True:
        done = sum(design.cost(by_key[key]) for key in records)
        partly = sum(folder.share(design, run) * design.cost(run) for run in running.values())
        progress(done + partly, ", ".join(run.key for run in running.values()))
        if not (waiting or running):
            return records
        ready = [run for run in waiting if run.teacher is None or run.teacher in records]
        for run in ready[: pool.count - len(running)]:
            running[pool.submit(folder.task(design, run))] = run
            waiting.remove(run)
        lost = []
        for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
            run = running.pop(future)
            try:
                result_of(future)
            except BrokenExecutor:
                lost.append(run)
                continue
            record = folder.record(design, run)
            assert record is not None
            records[run.key] = record
            finished()
        if lost:  # the pool fails every run that it has
            lost += running.values()
            running.clear()
            pool.restart()
            deaths.update(run.key for run in lost)
            waiting = lost + waiting
            _report_death(lost, deaths, say)


def _report_death(lost: Sequence[Run], deaths: Counter[str], say: Callable[[str], None]) -> None:
    names = ", ".join(run.key for run in lost)
    if max(deaths[run.key] for run in lost) >= ATTEMPTS:
        raise PlannerError(
            f"a worker process died {ATTEMPTS} times while training {names}, perhaps for want of "
            "memory; run the same command again to go on from the last checkpoints."
        )
    say(f"A worker process died while training {names}; going on from the last checkpoints.")


def _chain(design: Design, run: Run, runs: Sequence[Run]) -> float:
    """FLOPs of a run and of the students that wait for it."""
    return design.cost(run) + sum(design.cost(each) for each in runs if each.teacher == run.key)
