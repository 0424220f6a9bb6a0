"""Our own trainer, which follows the paper's App. I, as shell commands."""

from __future__ import annotations

from planner.export.job import Exporter, Job, Leg


def _options(leg: Leg) -> str:
    settings, model = leg.settings, leg.shape
    return (
        f"  --layers {model.layers} --aspect-ratio {model.d_model // model.layers} "
        f"--head-size {model.d_model // model.heads} --context {settings.context} \\\n"
        f"  --vocabulary {settings.vocabulary} --tokens {leg.trained_tokens:.0f} "
        f"--batch {leg.batch} \\\n"
        f"  --warmup-steps {leg.warmup} --seed {settings.seed} --corpus CORPUS"
    )


def _make(job: Job) -> dict[str, str]:
    settings = job.settings
    lines = ["set -eu"]
    lines += [
        f"planner train {leg.role} --output runs/{leg.role} --scale paper \\\n{_options(leg)}"
        for leg in job.legs
    ]
    if job.teacher is None:
        return {"train.sh": "\n".join(lines) + "\n"}
    teacher = "TEACHER" if job.teacher.existing else "runs/teacher"
    stored = "" if settings.top_k is None else f" --logits runs/logits --top-k {settings.top_k}"
    lines.append(
        f"planner train student --output runs/student --scale paper \\\n{_options(job.student)} "
        f"\\\n  --teacher {teacher} --mixing {settings.mixing:g} "
        f"--temperature {settings.temperature:g}{stored}"
    )
    return {"train.sh": "\n".join(lines) + "\n"}


EXPORTER = Exporter(
    "planner",
    "this planner's own trainer: muP, learning rate 1e-2, z-loss, Eq. 7",
    _make,
    ("grouped-query attention: the trainer builds multi-head attention, as the paper does.",),
    carries="the teacher and, by distillation, the student",
)
