"""TRL: on-policy distillation on prompts, which the law does not describe."""

from __future__ import annotations

from planner.export.job import Exporter, Job, yaml


def _make(job: Job) -> dict[str, str]:
    settings = job.settings
    values = {
        "model_name_or_path": "STUDENT",
        "teacher_model_name_or_path": "TEACHER",
        "dataset_name": "PROMPTS",
        "max_completion_length": settings.context,
        "temperature": 1.0,
        "beta": 1.0,
        "use_vllm": True,
        "learning_rate": 1e-6,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 8,
        "max_steps": 500,
        "max_grad_norm": settings.clip,
        "bf16": True,
        "seed": settings.seed,
        "output_dir": "OUT",
    }
    return {"on_policy.yaml": "# Run: trl distillation --config on_policy.yaml\n" + yaml(values)}


EXPORTER = Exporter(
    "trl",
    "TRL 1.16.0 on PyPI, trl/trainer/distillation_config.py",
    _make,
    (
        "the recipe itself: this trains an existing student further, on its own completions "
        "(column prompt); no scaling law predicts the result, and the plan's tokens do not count "
        "here. Steps, batch and learning rate are TRL's usual ones.",
        "lambda: the loss is reverse KL alone (beta 1). Vocabularies must be equal, or it stops "
        "with a ValueError.",
    ),
    carries="a further phase after the distillation",
    alone=False,
)
