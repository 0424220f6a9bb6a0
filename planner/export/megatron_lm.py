"""Megatron-LM with stored logits: alpha KD + (1 - alpha) LM at temperature 1."""

from __future__ import annotations

from laws.architecture import Architecture
from planner.errors import DocumentError
from planner.export.job import STEP_LAW, Exporter, Job, Leg

USUAL_TOP_K = 128
"""Entries where the settings name none (Busbridge et al. 2025, App. G: with lambda 0.7)."""


def _shape(model: Architecture) -> str:
    grouped = f" --group-query-attention --num-query-groups {model.kv_heads}"
    return (
        f"--num-layers {model.layers} --hidden-size {model.d_model} --num-attention-heads "
        f"{model.heads}{grouped if model.kv_heads != model.heads else ''} "
        f"--ffn-hidden-size {model.d_ff} --swiglu"
    )


def _arguments(leg: Leg) -> list[str]:
    settings = leg.settings
    rate = leg.learning_rate
    return [
        _shape(leg.shape),
        "--normalization RMSNorm --qk-layernorm --position-embedding-type rope "
        "--rotary-base 500000 --disable-bias-linear",
        f"--seq-length {settings.context} --max-position-embeddings {settings.context} "
        f"--micro-batch-size {max(1, leg.batch // settings.devices)} "
        f"--global-batch-size {leg.batch}",
        f"--train-iters {leg.steps} --lr {rate:g} --min-lr {rate * settings.final_fraction:g} "
        f"--lr-decay-style cosine --lr-warmup-iters {leg.warmup} --lr-decay-iters {leg.steps}",
        f"--weight-decay {settings.weight_decay:g} --clip-grad {settings.clip:g} --bf16",
    ]


def _make(job: Job) -> dict[str, str]:
    settings, student = job.settings, job.student
    files = {f"{leg.role}.args": _text([*_arguments(leg), "--save OUT"]) for leg in job.legs}
    if job.teacher is None:
        return files
    if settings.temperature != 1.0:
        raise DocumentError(
            f"Megatron-LM distils from stored logits at temperature 1 only, not "
            f"{settings.temperature:g}; leave the temperature at 1 or export to maxtext."
        )
    files["logits.args"] = _text(
        [
            _shape(job.teacher.shape),
            *_arguments(student)[1:3],
            "--load TEACHER --freeze-all-layers --async-save --use-persistent-ckpt-worker",
            f"--logits-save-dir LOGITS --logits-save-top-k {settings.top_k or USUAL_TOP_K} "
            f"--logits-save-dtype bf16 --train-iters {student.steps} --bf16",
        ]
    )
    files["student.args"] = _text(
        [
            *_arguments(student),
            f"--save OUT --logits-load-dir LOGITS --logits-load-kd-loss-alpha {settings.mixing:g}",
        ]
    )
    return files


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


EXPORTER = Exporter(
    "megatron-lm",
    "NVIDIA/Megatron-LM at d98e8a64dd, megatron/training/arguments.py:3781-3812",
    _make,
    (
        "a temperature other than 1 (there is none for stored logits).",
        "the full distribution: logits are stored as top-k, which costs 0.11 nats at k = 128 and "
        "lambda 1, and under 0.01 at lambda 0.7 (arXiv 2502.08606, App. G).",
        f"muP (use_mup exists in transformer_config.py:428-441; the learning rate here is that of "
        f"the {STEP_LAW}, for training without it).",
        "z-loss; data, tokenizer and parallelism, which are yours to add.",
    ),
    carries="the teacher, and the student from its stored logits",
)
