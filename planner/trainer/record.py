"""What a run says while it goes: JSON lines, a progress bar, optional sinks."""

from __future__ import annotations

import json
import os
import platform
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from math import log
from pathlib import Path
from typing import Any, Protocol

import torch

from planner.errors import require
from planner.trainer.engine import Engine
from planner.trainer.files import StorageError, storage, write_file
from planner.trainer.hardware import device_name


class Sink(Protocol):
    """Where the numbers of a run may also go."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardSink:
    """Event files for TensorBoard (package `tensorboard`)."""

    def __init__(self, directory: Path) -> None:
        require("tensorboard", extra="tracking")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(directory))

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WandbSink:
    """A Weights & Biases run (package `wandb`)."""

    def __init__(self, project: str, config: dict[str, Any]) -> None:
        self.run = require("wandb", extra="tracking").init(project=project, config=config)

    def log(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


class Log:
    """The run's ``log.jsonl``: one object a line, each with its `event`.

    A resumed run drops the lines of steps that it will take again, so that every step stands once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def truncate(self, step: int) -> None:
        """Keep what was written before update `step`; the last line may have been cut short."""
        kept = [
            line
            for line in _lines(self.path)
            if line["event"] != "end" and ("step" not in line or line["step"] < step)
        ]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        with storage("the run's log", self.path):
            write_file(self.path, text.encode())

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append lines."""
        with storage("the run's log", self.path), self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if line.endswith(b"\n"):
                yield _line(path, number, line)


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    damaged = StorageError(
        f"line {number} of the run's log {path} is damaged; delete that line, or the file, to go "
        "on without what it says"
    )
    try:
        found = json.loads(line)
    except ValueError as error:
        raise damaged from error
    if not isinstance(found, dict) or not isinstance(found.get("event"), str):
        raise damaged
    if found["event"] == "step" and not isinstance(found.get("step"), int):
        raise damaged
    return found


class Watch:
    """Notices a run that diverges, from its cross-entropies (nats per token).

    It does when the mean of ten steps lies a nat above what guessing costs, or above the lowest
    such mean of the run.
    """

    STEPS, MARGIN = 10, 1.0

    def __init__(self, vocabulary: int) -> None:
        self.guess, self.lowest = log(vocabulary), float("inf")
        self.last: deque[float] = deque(maxlen=self.STEPS)
        self.found: str | None = None

    def see(self, step: int, cross_entropy: float) -> str | None:
        """A sentence at the first step at which the run diverges, else None."""
        self.last.append(cross_entropy)
        if len(self.last) < self.STEPS or self.found is not None:
            return None
        mean = sum(self.last) / self.STEPS
        self.lowest = min(self.lowest, mean)
        if mean < min(self.guess, self.lowest) + self.MARGIN:
            return None
        self.found = (
            f"the run diverges: at step {step} the cross-entropy is {mean:.4g} nats, after "
            f"{self.lowest:.4g} at best (guessing costs {self.guess:.4g}); lower --learning-rate"
        )
        return self.found


def environment(engine: Engine) -> dict[str, Any]:
    """Versions and devices: what else a number may depend on."""
    names = ("distillation-planner", "numpy", "tokenizers", "safetensors", "transformers")
    return {
        "versions": {
            **{name: version for name in names if (version := _version(name))},
            "torch": torch.__version__,  # with its build, as in 2.13.0+cu130
        },
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(engine.device),
        "processes": engine.world,
        "threads": torch.get_num_threads(),
        "precision": str(engine.dtype).removeprefix("torch."),
        "machine": vars(engine.machine),
        "load": os.getloadavg()[0],
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


class Progress(Protocol):
    """What a run tells whoever watches."""

    def __call__(self, step: int, steps: int, status: str) -> None: ...


def silent(step: int, steps: int, status: str) -> None:
    """A `Progress` for nobody."""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on stderr with what the run reports, time left included."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[status]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, status="")

        def update(step: int, steps: int, status: str) -> None:
            bar.update(task, completed=step, total=steps, status=status)

        yield update
