"""What a run refuses before it begins: the directory of another, an unfit batch or unfit data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.trainer.data import Dataset, require_windows
from planner.trainer.engine import Engine
from planner.trainer.files import StorageError, read_object, undamaged
from planner.trainer.spec import RunSpec, check_stored
from planner.trainer.teachers import ServerHead, Teacher

REMEDY = (
    "delete the file if the run is the one you ask for, or choose another directory with --output"
)


def claim(spec: RunSpec, out_dir: Path) -> None:
    """Refuse a directory that holds another run."""
    path = out_dir / "spec.json"
    if path.exists():
        held = held_by(path)["spec"]
        with undamaged("run specification", path, REMEDY):  # of an earlier version perhaps
            held = RunSpec.from_dict(held).to_dict()
        differing = sorted(name for name, value in spec.to_dict().items() if held[name] != value)
        if differing:
            raise StorageError(
                f"{out_dir} holds another run (its {', '.join(differing)} differ); choose another "
                "directory, or the same options to go on with it"
            )


def held_by(path: Path) -> dict[str, Any]:
    """The identity of the run that a directory holds."""
    return read_object(path, "run specification", REMEDY, spec=dict, dataset=str)


def check_batch(spec: RunSpec, engine: Engine) -> None:
    """Refuse a batch that the processes and microbatches cannot share evenly."""
    share, rest = divmod(spec.hyper.batch, engine.world)
    if rest:
        raise PlannerError(
            f"a batch of {spec.hyper.batch} sequences cannot be shared by {engine.world} "
            "processes; choose a multiple"
        )
    microbatch = engine.machine.microbatch
    if microbatch is not None and share % microbatch:
        raise PlannerError(
            f"{share} sequences per device cannot be cut into microbatches of {microbatch}; "
            "choose a divisor"
        )


def check_data(spec: RunSpec, dataset: Dataset) -> int:
    """The sequences of the run's split, after refusing a wrong vocabulary and too many repeats."""
    if spec.model.vocabulary != dataset.vocabulary:
        raise PlannerError(
            f"the model has a vocabulary of {spec.model.vocabulary:,} and the data's tokenizer "
            f"{dataset.vocabulary:,}; give them the same size"
        )
    split = dataset.split(spec.split)
    windows = require_windows(split, spec.model.context)
    epochs = spec.steps * spec.hyper.batch / windows
    if epochs > spec.hyper.max_epochs:
        raise PlannerError(
            f"{spec.tokens:,} tokens would repeat the {spec.split} split ({split.tokens:,} tokens) "
            f"{epochs:.1f} times and the laws are about fresh data; use a larger corpus, fewer "
            "tokens, or raise --max-epochs knowingly"
        )
    return windows


def check_teacher(spec: RunSpec, teacher: Teacher) -> None:
    """Refuse an objective that a teacher cannot teach; a server is told how much to send."""
    assert spec.objective is not None
    if not isinstance(teacher.model, ServerHead):
        if spec.objective.hidden and getattr(teacher.model, "plain", True) is not True:
            raise PlannerError(
                f"the hidden states of {teacher.name} do not give its logits by one matrix; leave "
                "--hidden out"
            )
        return
    if spec.logits is None and spec.objective.top_k is None:
        raise PlannerError("a teacher behind a server gives its likeliest tokens: --top-k 20")
    check_stored(spec.objective)
    teacher.model.entries = spec.objective.top_k or teacher.model.entries
