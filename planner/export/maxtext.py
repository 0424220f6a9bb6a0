"""MaxText: alpha tau^2 KL + (1 - alpha) CE, which is Eq. 7 of the paper."""

from __future__ import annotations

from typing import Any

from planner.export.job import STEP_LAW, Exporter, Job, Leg, yaml


def _shape(leg: Leg) -> dict[str, Any]:
    model = leg.shape
    return {
        "decoder_block": "llama2",
        "base_emb_dim": model.d_model,
        "base_num_decoder_layers": model.layers,
        "base_num_query_heads": model.heads,
        "base_num_kv_heads": model.kv_heads,
        "head_dim": model.d_model // model.heads,
        "base_mlp_dim": model.d_ff,
        "vocab_size": leg.settings.vocabulary,
    }


def _common(leg: Leg) -> dict[str, Any]:
    settings = leg.settings
    return {
        "logits_via_embedding": True,
        "use_qk_norm": True,
        "rope_max_timescale": 500_000,
        "z_loss_multiplier": settings.z_loss,
        "dataset_type": "grain",
        "grain_train_files": "DATA/*.array_record",
        "tokenizer_path": "TOKENIZER",
        "tokenizer_type": "huggingface",
        "max_target_length": settings.context,
        "packing": True,
        "steps": leg.steps,
        "per_device_batch_size": leg.batch / settings.devices,
        "gradient_accumulation_steps": 1,
        "learning_rate": leg.learning_rate,
        "lr_schedule_type": "cosine",
        "learning_rate_schedule_steps": leg.steps,
        "warmup_steps_fraction": leg.warmup / leg.steps,
        "learning_rate_final_fraction": settings.final_fraction,
        "adam_weight_decay": settings.weight_decay,
        "gradient_clipping_threshold": settings.clip,
    }


def _make(job: Job) -> dict[str, str]:
    files = {}
    for leg in job.legs:
        values = {"run_name": leg.role, "base_output_directory": "OUT", **_shape(leg)}
        files[f"{leg.role}.yml"] = yaml({"base_config": "base.yml", **values, **_common(leg)})
    if job.teacher is None:
        return files
    teacher: dict[str, Any] = {"load_parameters_path": "TEACHER/0/items"}
    if job.teacher.architecture is not None:
        teacher = {**_shape(job.teacher), **teacher}
    values = {
        "base_config": "post_train/distillation.yml",
        "run_name": "student",
        "base_output_directory": "OUT",
        "student_overrides": _shape(job.student),
        "teacher_overrides": teacher,
        "distill_alpha": job.settings.mixing,
        "distill_temperature": job.settings.temperature,
        "distill_beta": 0.0,
        **_common(job.student),
    }
    if job.settings.top_k is not None:
        values["offline_data_dir"] = "LOGITS"
    text = yaml(values)
    if job.settings.top_k is not None:
        text += f"# Write LOGITS first: save_top_k_teacher_logits.py --top_k={job.settings.top_k}\n"
    files["student.yml"] = text
    return files


EXPORTER = Exporter(
    "maxtext",
    "AI-Hypercomputer/maxtext at e591f30cb, configs/base.yml, configs/post_train/distillation.yml",
    _make,
    (
        f"muP; so the learning rate is that of the {STEP_LAW}, not the paper's 1e-2.",
        "weight decay that does not depend on the learning rate, which the paper uses.",
    ),
    carries="the teacher and, by distillation, the student",
)
