"""What a run is asked to do, and what it has to say afterwards: both plain values, both JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.trainer.data import SPLITS, DataSpec
from planner.trainer.files import StorageError, read_object
from planner.trainer.loss import Objective
from planner.trainer.model import Config
from planner.trainer.optim import Hyper


@dataclass(frozen=True)
class RunSpec:
    """One training run; two equal ones give the same model.

    Without an `objective` the run is supervised; with one it distils from `teacher` (a directory of
    ours or a model for `transformers`), or from the `logits` stored in a directory. `tokens` is
    rounded up to whole steps. `split` is the half of the corpus that is trained on: a teacher and
    its student never share one. `evaluation_tokens` bounds each measurement (None: all held-out
    text). With `mask_documents` no token reads another document of its sequence.
    """

    model: Config
    tokens: int
    objective: Objective | None = None
    teacher: str | None = None
    logits: str | None = None
    split: str = "student"
    seed: int = 0
    data: DataSpec = field(default_factory=DataSpec)
    hyper: Hyper = field(default_factory=Hyper)
    evaluation_tokens: int | None = None
    mask_documents: bool = False

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise PlannerError(f"a run needs at least one token, not {self.tokens}")
        if self.seed < 0:
            raise PlannerError(f"the seed must be a whole number from 0, not {self.seed}")
        if self.split not in SPLITS[:2]:
            raise PlannerError(
                f"a run trains on the teacher or the student split, not {self.split!r}"
            )
        if (self.objective is None) != (self.teacher is None):
            raise PlannerError("a distillation needs a teacher, and a supervised run takes none")
        if self.logits is not None:
            check_stored(self.objective)

    @property
    def tokens_per_step(self) -> int:
        return self.hyper.batch * self.model.context

    @property
    def steps(self) -> int:
        """Updates of this run."""
        return ceil(self.tokens / self.tokens_per_step)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> RunSpec:
        """The inverse of `to_dict`."""
        objective = value["objective"]
        # fields that a run of an earlier version lacks have their defaults
        return cls(
            **{
                **value,
                "model": Config(**value["model"]),
                "objective": None if objective is None else Objective(**objective),
                "data": DataSpec(**value["data"]),
                "hyper": Hyper(**value["hyper"]),
            }
        )


def check_stored(objective: Objective | None, scheme: str = "top-k") -> None:
    """Refuse an objective that logits stored by a scheme cannot teach."""
    if objective is None:
        raise PlannerError("stored logits are for distillation: name their teacher as well")
    if objective.top_p is not None:
        raise PlannerError("stored logits hold k tokens; top-p needs the teacher online")
    if objective.direction == "reverse" and objective.tail == "renormalise":
        raise PlannerError("reverse KL against stored logits needs the tail bucket")
    if objective.tail == "bucket" and objective.temperature != 1:
        raise PlannerError(
            "the tail of stored logits is known at temperature 1 only; renormalise, or use the "
            "teacher online"
        )
    if objective.hidden:
        raise PlannerError("stored logits hold no hidden states; use the teacher online")
    if scheme == "sampled" and objective != Objective(mixing=objective.mixing):
        raise PlannerError(
            "sampled logits are unbiased for forward KL of all of them at temperature 1 only; "
            "store the top k for another objective"
        )


@dataclass(frozen=True)
class FlopBill:
    """FLOPs of a whole run, three ways.

    `law`: the law's convention, 3 F(N) D. `exact`: counted from the shapes with full attention.
    `hardware`: what the device did, recomputation included. Each for the student alone and for the
    teacher's logits; stored logits cost nothing here, since they were paid for when they were
    written.
    """

    law: float
    exact: float
    hardware: float
    teacher_law: float = 0.0
    teacher_exact: float = 0.0


@dataclass(frozen=True)
class RunRecord:
    """What a finished run measured. Times exclude compilation, evaluation and checkpoints.

    `mfu` counts causal attention and the teacher's forward pass, `mfu_dense` full attention (the
    usual convention of published figures); both are None where the peak of the device is unknown.
    `documents` has of every held-out document that was measured its number, how many of its tokens,
    and their mean cross-entropy: what a bootstrap over documents draws from.
    """

    spec: RunSpec
    steps: int
    tokens: int
    epochs: float
    parameters: int
    flops: FlopBill
    measures: dict[str, float | None]
    train_cross_entropy: float
    seconds: float
    tokens_per_second: float
    mfu: float | None
    mfu_dense: float | None
    peak: str
    peak_memory: int | None
    environment: dict[str, Any]
    dataset: str
    teacher: dict[str, Any] | None = None
    mfu_text: str = "MFU n/a"
    warnings: list[str] = field(default_factory=list)
    documents: list[list[float]] = field(default_factory=list)

    @property
    def cross_entropy(self) -> float:
        """Held-out cross-entropy on the data's labels, nats per token."""
        value = self.measures["cross_entropy"]
        assert value is not None
        return value

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> RunRecord:
        """The inverse of `to_dict`."""
        spec, bill = RunSpec.from_dict(value["spec"]), FlopBill(**value["flops"])
        return cls(**{**value, "spec": spec, "flops": bill})


def read_record(out_dir: Path) -> RunRecord | None:
    """The record of a finished run, or None where there is none, or no model, yet.

    A model that was deleted, because it was damaged, leaves the run unfinished: it is made again.
    """
    path = out_dir / "record.json"
    if not (path.exists() and (out_dir / "model").is_dir()):
        return None
    remedy = f"delete {path} and run the same command again, which writes it anew"
    kinds = {
        "spec": dict, "flops": dict, "measures": dict, "environment": dict,
        "steps": int, "tokens": int, "parameters": int, "seconds": float,
        "tokens_per_second": float, "train_cross_entropy": float,
    }  # fmt: skip
    found = read_object(path, "run record", remedy, **kinds)
    try:
        if not isinstance(found["measures"]["cross_entropy"], float):
            raise TypeError("its cross-entropy is no number")
        return RunRecord.from_dict(found)
    except (TypeError, KeyError) as error:
        raise StorageError(
            f"the run record at {path} is not one of ours: {error}; {remedy}"
        ) from error
