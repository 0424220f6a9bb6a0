"""Teachers: a model of ours, or any causal language model that `transformers` can load.

A teacher must read the data's tokens: another tokenizer is refused before anything runs. Its logits
are made from hidden states, chunk by chunk, wherever its head is one plain matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from laws.flops import ForwardFlops, transformer
from planner.errors import PlannerError, require
from planner.trainer import checkpoint
from planner.trainer.corpora import HUB
from planner.trainer.data import (
    Dataset,
    DataSpec,
    digest,
    load_tokenizer,
    prepare,
    tokenizer_hash,
)
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.files import StorageError
from planner.trainer.loss import Dense, Full, Signal
from planner.trainer.measure import Measures, evaluate
from planner.trainer.model import Config, FlopCount
from planner.trainer.spec import RunSpec


@dataclass(frozen=True)
class Teacher:
    """A frozen model. `parameters` are non-embedding, `flops` and `law_flops` per token forward
    through sequences of the student's length."""

    name: str
    hash: str
    parameters: int
    flops: FlopCount
    law_flops: ForwardFlops
    model: Any
    vocabulary: int

    def held(self) -> tuple[int, float]:
        """Parameters that this device holds, and the width: what its memory goes by."""
        numbers = sum(p.numel() for p in self.model.model.parameters())
        return numbers, self.flops.head / 2 / self.vocabulary

    @torch.no_grad()
    def signal(self, tokens: Tensor) -> Signal:
        """The teacher's distributions after every token of (B, T), flattened to B * T rows."""
        return self.model(tokens, self.vocabulary)  # type: ignore[no-any-return]


def measure_teacher(
    source: str,
    data: DataSpec,
    context: int,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    *,
    cache: Path | None = None,
    max_tokens: int | None = None,
    batch: int = 8,
) -> tuple[Teacher, Measures]:
    """A teacher and its worth on held-out text of the user's corpus: its L_T is `cross_entropy`."""
    with open_engine(machine) as engine:
        dataset = prepare(data, cache)
        teacher = load_teacher(source, dataset, engine, context)
        split = dataset.split("validation")
        found = evaluate(teacher.signal, split, context, engine, batch=batch, max_tokens=max_tokens)
        return teacher, found


def origin(source: str) -> dict[str, Any] | None:
    """What our run wrote about the model at `source`; None for a foreign one."""
    directory = _own_directory(source)
    if directory is None:
        return None
    state = checkpoint.about_model(directory)
    try:
        RunSpec.from_dict(state["spec"])
        Config(**state["config"])
    except (TypeError, KeyError) as error:
        raise StorageError(
            f"what is written about the model in {directory} is not ours ({error}); "
            f"{checkpoint.again(directory)}"
        ) from error
    return state


def tokenizer_of(source: str) -> Path:
    """The directory that holds the tokenizer of one of our models."""
    directory = _own_directory(source)
    assert directory is not None
    return directory


def _own_directory(source: str) -> Path | None:
    path = Path(source).expanduser()
    files = (checkpoint.STATE, checkpoint.TENSORS)  # one alone: a damaged model, no foreign one
    found = (d for d in (path / "model", path) if any((d / file).is_file() for file in files))
    return next(found, None)


def load_teacher(source: str, dataset: Dataset, engine: Engine, context: int) -> Teacher:
    """The teacher at `source`: a run or model directory of ours, a directory that `transformers`
    reads, or ``hub:NAME``.

    Raises `PlannerError` where nothing can be loaded, the tokenizer is not the data's, or the
    teacher cannot read sequences of `context` tokens.
    """
    directory = _own_directory(source)
    if directory is not None:
        return _ours(source, directory, dataset, engine, context)
    if (Path(source).expanduser() / "checkpoints").is_dir():
        raise PlannerError(
            f"the run at {source} has not finished, or its model was deleted; repeat the command "
            "that trains it first"
        )
    if not source.startswith(HUB) and not Path(source).expanduser().is_dir():
        raise PlannerError(
            f"there is no run and no model at {source}; a model on the hub is named {HUB}{source}"
        )
    return _transformers(source, dataset, engine, context)


def _ours(source: str, directory: Path, dataset: Dataset, engine: Engine, context: int) -> Teacher:
    model, about = checkpoint.load_model(directory, engine.dtype)
    config = model.config
    if about["tokenizer"] != dataset.tokenizer_hash:
        raise _other_tokenizer(source, "the corpus, vocabulary and --tokenizer it was trained with")
    if config.context < context:
        raise _too_short(source, config.context, context)
    read = replace(config, context=context)  # the student's sequences, however long its own
    return Teacher(
        source,
        digest([about["config"], about["checksum"]]),
        config.parameters,
        read.flops,
        read.law_flops,
        # frozen, so half the memory: every use would cast its master weights to the same values
        OwnHead(engine.place(model.requires_grad_(False).to(engine.dtype))),
        config.vocabulary,
    )


class OwnHead:
    """Hidden states and head of one of our decoders."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __call__(self, tokens: Tensor, vocabulary: int) -> Signal:
        hidden, head = self.model(tokens, lambda hidden, head: (hidden, head.to(hidden.dtype)))
        return Dense(hidden.flatten(0, 1), head)


def decoder_logits(model: torch.nn.Module) -> Callable[[Tensor], Signal]:
    """`evaluate`'s view of one of our decoders, wrapped or not."""
    own = OwnHead(model)
    return lambda tokens: own(tokens, 0)


def _transformers(source: str, dataset: Dataset, engine: Engine, context: int) -> Teacher:
    transformers = require("transformers", extra="hub")
    name = source.removeprefix(HUB)
    try:
        tokenizer = load_tokenizer(source)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            name, dtype=engine.dtype, local_files_only=name == source
        )
    except PlannerError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise PlannerError(
            f"no causal language model can be loaded from {source!r}: {error}"
        ) from error
    if tokenizer_hash(tokenizer) != dataset.tokenizer_hash:
        raise _other_tokenizer(source, f"--tokenizer {source}")
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and longest < context:
        raise _too_short(source, longest, context)
    width = model.get_output_embeddings().weight.shape[0]
    if width < dataset.vocabulary:
        raise PlannerError(
            f"the teacher {source} has {width:,} logits, fewer than its tokenizer's "
            f"{dataset.vocabulary:,} entries; resize its output layer or choose another teacher"
        )
    model = model.requires_grad_(False).eval().to(engine.device)
    layers, d_model = config.num_hidden_layers, config.hidden_size
    embeddings = {
        id(e.weight): e.weight.numel()
        for e in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    parameters = sum(p.numel() for p in model.parameters()) - sum(embeddings.values())
    head = ForeignHead(model)
    return Teacher(
        source,
        weights_hash(model),
        parameters,
        FlopCount(2.0 * parameters, 2.0 * d_model * width, 4.0 * layers * d_model * context),
        transformer(context, width, d_model / layers),
        head,
        dataset.vocabulary,
    )


def weights_hash(model: torch.nn.Module) -> str:
    """Identifies weights by a rounded sample of each tensor: precision and device drop out."""
    samples = []
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)].bfloat16().float().cpu()
        samples.append([name, list(parameter.shape), sample.tolist()])
    return digest(samples)


class ForeignHead:
    """A `transformers` model: hidden states and head where that reproduces its logits, else logits.

    Some models scale, cap or bias their logits; a probe finds out which kind this is. Rows of the
    head beyond the tokenizer's entries are padding that no text ever names, and are cut off.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.head: Tensor = model.get_output_embeddings().weight
        hidden = self._hidden(self._tokens())
        rebuilt = (hidden @ self.head.T).float()
        logits = self._logits(self._tokens())
        self.plain = torch.allclose(rebuilt, logits, rtol=1e-2, atol=1e-2 * logits.std().item())

    def _tokens(self) -> Tensor:
        return torch.arange(1, 9, device=self.head.device)[None]

    @torch.no_grad()
    def _hidden(self, tokens: Tensor) -> Tensor:
        return self.model.base_model(tokens, use_cache=False)[0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def _logits(self, tokens: Tensor) -> Tensor:
        return self.model(tokens, use_cache=False).logits.float()  # type: ignore[no-any-return]

    def __call__(self, tokens: Tensor, vocabulary: int) -> Signal:
        if self.plain:
            return Dense(self._hidden(tokens).flatten(0, 1), self.head[:vocabulary])
        return Full(self.model(tokens, use_cache=False).logits.flatten(0, 1)[:, :vocabulary])


def _other_tokenizer(source: str, remedy: str) -> PlannerError:
    return PlannerError(
        f"the teacher {source} reads another tokenizer than the data was cut with, so its "
        f"distributions mean other tokens; prepare the data with the teacher's: {remedy}"
    )


def _too_short(source: str, longest: int, context: int) -> PlannerError:
    return PlannerError(
        f"the teacher {source} reads at most {longest:,} tokens and the student's context is "
        f"{context:,}; use --context {longest}"
    )
