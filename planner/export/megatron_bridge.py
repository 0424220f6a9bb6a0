"""Megatron-Bridge with ModelOpt: an online teacher, lambda = 1."""

from __future__ import annotations

from planner.errors import DocumentError
from planner.export.job import STEP_LAW, Exporter, Job, yaml


def _make(job: Job) -> dict[str, str]:
    settings, student = job.settings, job.student
    if settings.mixing != 1.0:
        raise DocumentError(
            f"Megatron-Bridge cannot carry lambda {settings.mixing:g}: its kd_loss_scale is "
            "relative to the size of the LM loss; leave lambda at 1 or export to maxtext."
        )
    rate = student.learning_rate
    parallel = {"tensor_model_parallel_size": 1, "pipeline_model_parallel_size": 1}
    values = {
        "model": {
            "seq_length": settings.context,
            **parallel,
            "teacher": {"seq_length": settings.context, **parallel},
            "kd_config": {
                "logit_layers": ["output_layer", "output_layer"],
                "intermediate_layer_pairs": [],
                "skip_lm_loss": True,
                "logit_kl_temperature": settings.temperature,
                "logit_kl_topk": settings.top_k,
            },
        },
        "train": {
            "train_iters": student.steps,
            "global_batch_size": student.batch,
            "micro_batch_size": max(1, student.batch // settings.devices),
        },
        "optimizer": {
            "lr": rate,
            "min_lr": rate * settings.final_fraction,
            "weight_decay": settings.weight_decay,
            "clip_grad": settings.clip,
        },
        "scheduler": {
            "lr_warmup_iters": student.warmup,
            "lr_decay_iters": student.steps,
            "lr_decay_style": "cosine",
        },
        "dataset": {"seq_length": settings.context},
        "checkpoint": {"save": "OUT"},
        "rng": {"seed": settings.seed},
    }
    model = student.shape
    command = (
        "python examples/megatron_bridge/distill.py --student_hf_path STUDENT "
        "--teacher_hf_path TEACHER --tp_size 1 --pp_size 1 --data_paths DATA "
        f"--seq_length {settings.context} --mbs {max(1, student.batch // settings.devices)} "
        f"--gbs {student.batch} --train_iters {student.steps} --lr {rate:g} "
        f"--min_lr {rate * settings.final_fraction:g} --lr_warmup_iters {student.warmup} "
        "--output_dir OUT\n"
    )
    return {
        "distill.yml": yaml(values),
        "distill.sh": f"# STUDENT: a folder with the configuration of {model}.\n{command}",
    }


EXPORTER = Exporter(
    "megatron-bridge",
    "NVIDIA-NeMo/Megatron-Bridge at 067f987df with ModelOpt at a2fbac7ba, "
    "modelopt/torch/distill/plugins/megatron.py",
    _make,
    (
        "a lambda other than 1: kd_loss_scale is relative to the size of the LM loss.",
        f"muP; the learning rate is that of the {STEP_LAW}.",
        "z-loss; the shapes, which come from the two Hugging Face folders; the teacher's training "
        "(export to megatron-lm for that).",
    ),
    alone=False,
)
