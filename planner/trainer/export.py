"""A finished model as a folder for `transformers`: its architecture is Qwen3's.

Pre-norm RMSNorm, per-head QK-norm, rotary halves, gated SiLU, tied embeddings, grouped queries:
the same function with the same weights under other names, so the logits are the same. Padding of
the vocabulary is cut off. Written without `transformers`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from planner.trainer import checkpoint
from planner.trainer.data import DataSpec, end_tokens, load_tokenizer
from planner.trainer.files import StorageError, storage, write_directory, write_file, write_json
from planner.trainer.model import EPSILON, Config, Decoder
from planner.trainer.teachers import own_directory

NAMES = {
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "ffn.gate": "mlp.gate_proj",
    "ffn.up": "mlp.up_proj",
    "ffn.down": "mlp.down_proj",
}
"""Our names within a layer, and Qwen3's."""


def export_model(source: str, target: Path) -> Path:
    """Write the model of a run of ours at `target` for `AutoModelForCausalLM` and `AutoTokenizer`.

    Raises `StorageError` where there is no finished model, or something at `target` already.
    """
    directory = own_directory(source)
    if directory is None:
        raise StorageError(f"there is no finished model of ours at {source}")
    if target.exists():
        raise StorageError(f"{target} exists already; choose another folder, or delete it")
    model, about = checkpoint.load_model(directory, torch.float32)
    tokenizer = load_tokenizer(str(directory))
    end = end_tokens(DataSpec(**about["spec"]["data"]), tokenizer)[0]

    def fill(path: Path) -> None:
        save_file(weights(model), path / "model.safetensors", metadata={"format": "pt"})
        write_file(path / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
        write_json(path / "config.json", configuration(model.config, end))
        write_json(path / "generation_config.json", {"eos_token_id": end, "pad_token_id": end})
        word = tokenizer.id_to_token(end)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": word, "pad_token": word,
            "model_max_length": model.config.context, "clean_up_tokenization_spaces": False,
        }  # fmt: skip
        write_json(path / "tokenizer_config.json", settings)

    with storage("the exported model", target):
        write_directory(target, fill)
    return target


def weights(model: Decoder) -> dict[str, torch.Tensor]:
    """The parameters by Qwen3's names."""
    found = {}
    for name, parameter in model.named_parameters():
        tensor = parameter.detach().contiguous()
        if name == "embedding":
            found["model.embed_tokens.weight"] = tensor[: model.config.vocabulary].clone()
        elif name == "norm.weight":
            found["model.norm.weight"] = tensor
        elif name.startswith("blocks."):
            _, layer, rest = name.split(".", 2)
            part = NAMES[rest.removesuffix(".weight")]
            found[f"model.layers.{layer}.{part}.weight"] = tensor
    return found


def configuration(config: Config, end: int) -> dict[str, Any]:
    """``config.json`` of a model; `end` is the token that closes a text."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocabulary,
        "hidden_size": config.d_model,
        "intermediate_size": config.architecture.d_ff,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": config.rope_base,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "use_cache": True,
        "eos_token_id": end,
        "bos_token_id": None,
        "torch_dtype": "float32",
    }
