"""Keys that the targets read, by the commit or wheel at which each was looked up by name."""

from __future__ import annotations

MAXTEXT = (  # AI-Hypercomputer/maxtext at e591f30cb, src/maxtext/configs
    "adam_weight_decay base_config base_emb_dim base_mlp_dim base_num_decoder_layers "
    "base_num_kv_heads base_num_query_heads base_output_directory dataset_type decoder_block "
    "distill_alpha distill_beta distill_temperature gradient_accumulation_steps "
    "gradient_clipping_threshold grain_train_files head_dim learning_rate "
    "learning_rate_final_fraction learning_rate_schedule_steps load_parameters_path "
    "logits_via_embedding lr_schedule_type max_target_length offline_data_dir packing "
    "per_device_batch_size rope_max_timescale run_name steps student_overrides teacher_overrides "
    "tokenizer_path tokenizer_type use_qk_norm vocab_size warmup_steps_fraction z_loss_multiplier"
)
MEGATRON_LM = (  # NVIDIA/Megatron-LM at d98e8a64dd, megatron/training/arguments.py
    "async-save bf16 clip-grad disable-bias-linear ffn-hidden-size freeze-all-layers "
    "global-batch-size group-query-attention hidden-size load logits-load-dir "
    "logits-load-kd-loss-alpha logits-save-dir logits-save-dtype logits-save-top-k lr "
    "lr-decay-iters lr-decay-style lr-warmup-iters max-position-embeddings micro-batch-size min-lr "
    "normalization num-attention-heads num-layers num-query-groups position-embedding-type "
    "qk-layernorm rotary-base save seq-length swiglu train-iters use-persistent-ckpt-worker "
    "weight-decay"
)
MEGATRON_BRIDGE = (  # NVIDIA-NeMo/Megatron-Bridge at 067f987df, ModelOpt at a2fbac7ba
    "checkpoint clip_grad dataset global_batch_size intermediate_layer_pairs kd_config "
    "logit_kl_temperature logit_kl_topk logit_layers lr lr_decay_iters lr_decay_style "
    "lr_warmup_iters micro_batch_size min_lr model optimizer pipeline_model_parallel_size rng save "
    "scheduler seed seq_length skip_lm_loss teacher tensor_model_parallel_size train train_iters "
    "weight_decay"
)
BRIDGE_OPTIONS = (  # the same, examples/megatron_bridge/distill.py
    "student_hf_path teacher_hf_path tp_size pp_size data_paths seq_length mbs gbs train_iters lr "
    "min_lr lr_warmup_iters kd_loss_scale no_skip_lm_loss output_dir"
)
DISTILLKIT = (  # arcee-ai/DistillKit at a61c2e7, distillkit/configuration.py
    "dataset disk_path function kind kwargs loss_functions model output_path path prepacked "
    "project_name seed sequence_length split teacher temperature top_k torch_dtype train_dataset "
    "training_args weight "
    # training_args are transformers.TrainingArguments
    "bf16 gradient_accumulation_steps learning_rate lr_scheduler_kwargs lr_scheduler_type "
    "max_grad_norm max_steps min_lr_rate per_device_train_batch_size warmup_steps weight_decay"
)
TRL = (  # TRL 1.16.0, trl/trainer/distillation_config.py, trl/scripts/utils.py, TrainingArguments
    "model_name_or_path teacher_model_name_or_path dataset_name max_completion_length temperature "
    "beta use_vllm learning_rate per_device_train_batch_size gradient_accumulation_steps max_steps "
    "max_grad_norm bf16 seed output_dir"
)
