"""From designed runs to finished ones: dependencies, resumption, progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.errors import ProblemError
from planner.trainer.data import DataSpec
from planner.trainer.loss import Objective
from planner.trainer.optim import Hyper
from planner.trainer.spec import RunRecord, RunSpec, read_record
from planner.validate.design import Design, Run
from planner.validate.scale import Scale
from planner.validate.workers import Workers

Progress = Callable[[float, str], None]
"""Told the FLOPs done so far and what is being trained."""


def recipe_of_training(scale: Scale) -> dict[str, Any]:
    """Everything beside text and sizes that the losses depend on."""
    shapes = {name: value for name, value in asdict(scale).items() if name != "largest"}
    hyper = Hyper(batch=scale.batch)
    return {"shapes": shapes, "hyper": asdict(hyper), "objective": asdict(Objective())}


@dataclass(frozen=True)
class Place:
    """Where a trial's runs are and how they are made. hashes: what identifies its text."""

    root: Path
    data: DataSpec
    machine: dict[str, Any]
    cache: Path | None = None
    hashes: dict[str, str] = field(default_factory=dict)

    def directory(self, key: str) -> Path:
        return self.root / "runs" / key

    def spec(self, design: Design, run: Run) -> RunSpec:
        """What the trainer is asked to do for a run."""
        scale = design.shapes
        distilled = run.method == "distilled"
        return RunSpec(
            scale.config(run.layers, design.vocabulary),
            run.tokens,
            objective=Objective() if distilled else None,
            teacher=str(self.directory(run.teacher)) if run.teacher else None,
            split=run.split,
            seed=run.seed,
            data=self.data,
            hyper=Hyper(batch=scale.batch),
            evaluation_tokens=scale.evaluation_tokens,
        )

    def task(self, design: Design, run: Run) -> dict[str, Any]:
        """The run as a worker's task."""
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


def execute(
    design: Design, runs: Sequence[Run], place: Place, workers: Workers, progress: Progress,
    finished: Callable[[], None],
) -> dict[str, RunRecord]:  # fmt: skip
    """Train what is not finished yet; the records of all runs by key.

    Long chains (a teacher and its students) start first; `finished` is told after every run.
    Raises what a run raises.
    """
    records = {run.key: record for run in runs if (record := place.record(design, run)) is not None}
    by_key = {run.key: run for run in runs}
    waiting = sorted(
        (run for run in runs if run.key not in records),
        key=lambda run: -_chain(design, run, runs),
    )
    shares: dict[str, float] = {}

    def report() -> None:
        done = sum(design.cost(by_key[key]) for key in records)
        partly = sum(share * design.cost(by_key[key]) for key, share in shares.items())
        progress(done + partly, ", ".join(shares))

    report()
    while waiting or shares:
        ready = [run for run in waiting if run.teacher is None or run.teacher in records]
        for run in ready[: workers.free()]:
            workers.start(run.key, place.task(design, run))
            waiting.remove(run)
            shares[run.key] = 0.0
        for event in workers.events(0.5):
            if event.error is not None:
                raise event.error
            if not event.done:
                shares[event.name] = event.share
                continue
            del shares[event.name]
            record = place.record(design, by_key[event.name])
            assert record is not None
            records[event.name] = record
            finished()
        report()
    return records


def _chain(design: Design, run: Run, runs: Sequence[Run]) -> float:
    """FLOPs of a run and of the students that wait for it."""
    return design.cost(run) + sum(design.cost(each) for each in runs if each.teacher == run.key)
