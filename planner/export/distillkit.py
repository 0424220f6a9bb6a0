"""DistillKit: a weighted sum of cross-entropy and KL on packed tokens."""

from __future__ import annotations

from math import ceil, log2
from typing import Any

from planner.export.job import STEP_LAW, Exporter, Job, scalar, yaml


def bytes_per_token(k: int, vocabulary: int) -> float:
    """Bytes of a stored position by its own formula, with its usual compressor for that k."""
    head = 56 if k == 128 else 14
    return head + k * ceil(log2(vocabulary)) / 8


def _make(job: Job) -> dict[str, str]:
    settings, student = job.settings, job.student
    teacher: dict[str, Any] = {
        "kind": "hf",
        "path": "TEACHER",
        "kwargs": {"torch_dtype": "bfloat16"},
    }
    if settings.top_k is not None:
        teacher["top_k"] = settings.top_k
    head = yaml(
        {
            "project_name": "distilled-student",
            "model": "STUDENT",
            "output_path": "OUT",
            "sequence_length": settings.context,
            "dataset": {
                "train_dataset": {"disk_path": "TOKENS", "split": "train"},
                "seed": settings.seed,
                "prepacked": True,
            },
            "teacher": teacher,
        }
    )
    losses = [
        {"function": "cross_entropy", "weight": 1.0 - settings.mixing},
        {"function": "kl", "weight": settings.mixing, "temperature": settings.temperature},
    ]
    per_device = max(1, student.batch // settings.devices)
    tail = yaml(
        {
            "training_args": {
                "max_steps": student.steps,
                "per_device_train_batch_size": per_device,
                "gradient_accumulation_steps": 1,
                "learning_rate": student.learning_rate,
                "lr_scheduler_type": "cosine_with_min_lr",
                "lr_scheduler_kwargs": {"min_lr_rate": settings.final_fraction},
                "warmup_steps": student.warmup,
                "weight_decay": settings.weight_decay,
                "max_grad_norm": settings.clip,
                "bf16": True,
            }
        }
    )
    middle = "loss_functions:\n" + "".join(f"  - {scalar(each)}\n" for each in losses)
    note = f"# STUDENT: a folder with the configuration of {student.shape}, and random weights.\n"
    return {"distillkit.yml": note + head + middle + tail}


EXPORTER = Exporter(
    "distillkit",
    "arcee-ai/DistillKit at a61c2e7, distillkit/configuration.py",
    _make,
    (
        f"muP; the learning rate is that of the {STEP_LAW}.",
        "z-loss; the teacher's training.",
    ),
    alone=False,
)
