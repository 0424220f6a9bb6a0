"""torchtitan: the teacher's or the supervised run as a configuration module in Python."""

from __future__ import annotations

from planner.errors import DocumentError
from planner.export.job import STEP_LAW, Exporter, Job, Leg

_HEAD = """
from torchtitan.components.checkpoint import CheckpointManager
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optimizer import LRSchedulersContainer, default_adamw
from torchtitan.config import TrainingConfig
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models import llama3
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.trainer import Trainer


def _model(layers, dim, heads, kv_heads, hidden, vocabulary, context):
    def build(attn_backend, tp_gemm_backend="default"):
        return llama3.Llama3Model.Config(
            dim=dim,
            vocab_size=vocabulary,
            enable_weight_tying=True,
            tok_embeddings=Embedding.Config(
                num_embeddings=vocabulary,
                embedding_dim=dim,
                param_init=llama3._EMBEDDING_SKIP_INIT,
            ),
            norm=RMSNorm.Config(normalized_shape=dim, param_init=llama3._NORM_INIT),
            lm_head=Linear.Config(
                in_features=dim,
                out_features=vocabulary,
                param_init=llama3._output_linear_init(dim),
            ),
            layers=llama3._build_llama3_layers(
                n_layers=layers,
                dim=dim,
                n_heads=heads,
                n_kv_heads=kv_heads,
                hidden_dim=hidden,
                rope=ComplexRoPE.Config(
                    dim=dim // heads, max_seq_len=context, theta=500000
                ),
                attn_backend=attn_backend,
                tp_gemm_backend=tp_gemm_backend,
            ),
        )

    return build


def _run(name, context, steps, batch, local_batch, rate, warmup, final, clip):
    spec = llama3.model_registry(name)
    return Trainer.Config(
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(spec)),
        ),
        hf_assets_path="TOKENIZER",
        model_spec=spec,
        optimizer=default_adamw(lr=rate),
        lr_scheduler=LRSchedulersContainer.Config(
            warmup_steps=warmup, decay_type="cosine", min_lr_factor=final
        ),
        training=TrainingConfig(
            local_batch_size=local_batch,
            global_batch_size=batch,
            seq_len=context,
            steps=steps,
            max_norm=clip,
        ),
        dataloader=HuggingFaceTextDataLoader.Config(dataset="c4"),
        checkpoint=CheckpointManager.Config(interval=1000),
    )
"""


def _leg(leg: Leg) -> str:
    model, settings = leg.shape, leg.settings
    name = f"plan_{leg.role}"
    return f'''

llama3.llama3_configs["{name}"] = _model(
    layers={model.layers},
    dim={model.d_model},
    heads={model.heads},
    kv_heads={model.kv_heads},
    hidden={model.d_ff},
    vocabulary={settings.vocabulary},
    context={settings.context},
)


def {name}():
    return _run(
        "{name}",
        context={settings.context},
        steps={leg.steps},
        batch={leg.batch},
        local_batch={max(1, leg.batch // settings.devices)},
        rate={leg.learning_rate!r},
        warmup={leg.warmup},
        final={settings.final_fraction!r},
        clip={settings.clip!r},
    )
'''


def _make(job: Job) -> dict[str, str]:
    if not job.legs:
        raise DocumentError(
            "torchtitan cannot distil, and this recipe's teacher exists, so there is nothing to "
            "train; export to maxtext, or the supervised model with --method supervised."
        )
    runs = "".join(f"# Run: --module plan_config --config plan_{leg.role}\n" for leg in job.legs)
    return {"plan_config.py": runs + _HEAD + "".join(_leg(leg) for leg in job.legs)}


EXPORTER = Exporter(
    "torchtitan",
    "torchtitan 0.3.0 on PyPI, torchtitan/models/llama3/{__init__,config_registry}.py",
    _make,
    (
        "a distillation: torchtitan trains on data alone.",
        "QK-norm, z-loss and muP, which its llama3 model lacks; the learning rate is that of the "
        f"{STEP_LAW}.",
        "weight decay: default_adamw keeps its own.",
    ),
    carries="the teacher alone; distil the student from it with another target",
)
