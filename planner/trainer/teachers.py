"""Teachers: a model of ours, a causal language model for `transformers`, or one behind a server.

A teacher must read the data's tokens: another tokenizer is refused before anything runs. Its logits
are made from hidden states, chunk by chunk, wherever its head is one plain matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from laws.flops import ForwardFlops, transformer
from planner.errors import PlannerError, require
from planner.trainer import checkpoint
from planner.trainer.corpora import HUB
from planner.trainer.data import (
    PROBE,
    Dataset,
    DataSpec,
    digest,
    load_tokenizer,
    prepare,
    tokenizer_hash,
)
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.files import StorageError
from planner.trainer.loss import Dense, Full, Signal, Sparse
from planner.trainer.measure import Measures, evaluate
from planner.trainer.model import Config, Decoder, FlopCount, document_mask
from planner.trainer.server import Server
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

    def held(self) -> tuple[int, float, int]:
        """What its memory goes by: parameters that this device holds, width, logits per token."""
        return self.model.held()  # type: ignore[no-any-return]

    @property
    def dense(self) -> bool:
        """Whether it gives whole distributions."""
        return not isinstance(self.model, ServerHead)

    @torch.no_grad()
    def signal(self, tokens: Tensor, documents: Tensor | None = None) -> Signal:
        """The teacher's distributions after every token of (B, T), flattened to B * T rows.

        With the numbers of their documents (B, T) no token is read from another document.
        """
        return self.model(tokens, documents)  # type: ignore[no-any-return]


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
        if not teacher.dense:
            raise PlannerError(
                f"{source} gives its likeliest tokens only, from which no cross-entropy follows; "
                "measure a copy of the model here"
            )
        split = dataset.split("validation")
        found = evaluate(teacher.signal, split, context, engine, batch=batch, max_tokens=max_tokens)
        return teacher, found


def origin(source: str) -> dict[str, Any] | None:
    """What our run wrote about the model at `source`; None for a foreign one."""
    directory = own_directory(source)
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
    directory = own_directory(source)
    assert directory is not None
    return directory


def own_directory(source: str) -> Path | None:
    """The folder of a finished model of ours at `source`, a run's or its own."""
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
    directory = own_directory(source)
    if source.startswith(("http://", "https://")):
        return _server(source, dataset)
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
    placed: list[torch.nn.Module] = []

    def place(model: Decoder) -> None:
        # frozen, so half the memory: every use would cast its master weights to the same values
        placed.append(engine.place(model.requires_grad_(False).to(engine.dtype)))

    model, about = checkpoint.load_model(directory, engine.dtype, place)
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
        OwnHead(placed[0], config),
        config.vocabulary,
    )


class OwnHead:
    """Hidden states and head of one of our decoders, wrapped or not."""

    def __init__(self, model: torch.nn.Module, config: Config) -> None:
        self.model, self.config = model, config

    def held(self) -> tuple[int, float, int]:
        """As `Teacher.held`."""
        return sum(local(p).numel() for p in self.model.parameters()), self.config.d_model, 0

    def __call__(self, tokens: Tensor, documents: Tensor | None = None) -> Signal:
        def dense(hidden: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
            return hidden, head.to(hidden.dtype)

        hidden, head = self.model(tokens, dense, documents)
        return Dense(hidden.flatten(0, 1), head, self.config.vocabulary)


def local(tensor: Tensor) -> Tensor:
    """What this device holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


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
    first = _first_token(tokenizer)
    room = context if first is None else context + 1
    if longest is not None and longest < room:
        raise _too_short(source, longest - (room - context), context)
    width = model.get_output_embeddings().weight.shape[0]
    if width < dataset.vocabulary:
        raise PlannerError(
            f"the teacher {source} has {width:,} logits, fewer than its tokenizer's "
            f"{dataset.vocabulary:,} entries; resize its output layer or choose another teacher"
        )
    model = model.requires_grad_(False).eval()
    identity = weights_hash(model)
    parameters = _non_embedding(model)
    if engine.world > 1 and engine.machine.parallel == "fsdp":
        engine.shard(_layers(model))  # embeddings and head stay whole: chunks of logits need them
    model = model.to(engine.device)
    layers, d_model = config.num_hidden_layers, config.hidden_size
    head = ForeignHead(model, dataset.vocabulary, first)
    return Teacher(
        source,
        identity,
        parameters,
        FlopCount(2.0 * parameters, 2.0 * d_model * width, 4.0 * layers * d_model * context),
        transformer(context, width, d_model / layers),
        head,
        dataset.vocabulary,
    )


def _non_embedding(model: Any) -> int:
    embeddings = {
        id(e.weight): e.weight.numel()
        for e in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    return int(sum(p.numel() for p in model.parameters()) - sum(embeddings.values()))


def _layers(model: Any) -> list[torch.nn.Module]:
    """The transformer layers of a foreign model: its longest list of modules."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    return list(max(lists, key=len, default=()))


def _first_token(tokenizer: Any) -> int | None:
    """The token that the model's family puts before every text (BOS), where it has one."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    given = tokenizer.encode("a", add_special_tokens=True).ids
    return None if given[: len(plain)] == plain else int(given[0])


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
    head beyond the tokenizer's entries are padding that no text ever names, and are left out.
    `first` is put before every sequence, as the family was trained, and its position left out.
    """

    def __init__(self, model: Any, vocabulary: int, first: int | None = None) -> None:
        self.model, self.vocabulary, self.first = model, vocabulary, first
        self.head: Tensor = model.get_output_embeddings().weight
        hidden = self._hidden(self._tokens())
        rebuilt = (hidden @ self.head.T).float()
        logits = self._logits(self._tokens())
        self.plain = torch.allclose(rebuilt, logits, rtol=1e-2, atol=1e-2 * logits.std().item())

    def held(self) -> tuple[int, float, int]:
        """As `Teacher.held`."""
        numbers = sum(local(p).numel() for p in self.model.parameters())
        return numbers, self.head.shape[1], 0 if self.plain else self.head.shape[0]

    def _tokens(self) -> Tensor:
        return torch.arange(1, 9, device=self.head.device)[None]

    @torch.no_grad()
    def _hidden(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.model.base_model(tokens, attention_mask=mask, use_cache=False)[0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def _logits(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.model(tokens, attention_mask=mask, use_cache=False).logits.float()  # type: ignore[no-any-return]

    def __call__(self, tokens: Tensor, documents: Tensor | None = None) -> Signal:
        length = tokens.shape[1]
        mask = None if documents is None else document_mask(documents)
        if self.first is not None:
            tokens = torch.nn.functional.pad(tokens, (1, 0), value=self.first)
            if mask is not None:  # every document reads it, and it reads nothing else
                mask = torch.nn.functional.pad(mask, (1, 0), value=True)
                mask = torch.nn.functional.pad(mask, (0, 0, 1, 0), value=False)
                mask[:, :, 0, 0] = True
        if self.plain:
            hidden = self._hidden(tokens, mask)[:, -length:]
            return Dense(hidden.flatten(0, 1), self.head, self.vocabulary)
        logits = self.model(tokens, attention_mask=mask, use_cache=False).logits[:, -length:]
        return Full(logits.flatten(0, 1)[:, : self.vocabulary])


def _server(source: str, dataset: Dataset) -> Teacher:
    """A teacher behind an OpenAI-compatible server: ``URL#MODEL``, or ``URL`` of its only model."""
    url, _, name = source.partition("#")
    server = Server(url.rstrip("/"), name)
    wanted = dataset.tokenizer.encode(PROBE, add_special_tokens=False).ids
    if server.tokens(PROBE) not in (None, wanted):
        raise _other_tokenizer(source, "--tokenizer hub:NAME or its folder")
    nothing = FlopCount(0.0, 0.0, 0.0)  # the server's, and not known here
    law = transformer(1, 1, 1.0)
    return Teacher(
        source, digest([server.url, server.name]), 0, nothing, law,
        ServerHead(server, dataset.vocabulary), dataset.vocabulary,
    )  # fmt: skip


class ServerHead:
    """The likeliest tokens that a server gives, position by position."""

    def __init__(self, server: Server, vocabulary: int) -> None:
        self.server, self.vocabulary, self.entries = server, vocabulary, 20

    def held(self) -> tuple[int, float, int]:
        """As `Teacher.held`: nothing of it is here."""
        return 0, 0.0, 0

    def __call__(self, tokens: Tensor, documents: Tensor | None = None) -> Signal:
        if documents is not None:
            raise PlannerError(
                "a teacher behind a server cannot be kept from reading other documents; leave "
                "--mask-documents out"
            )
        rows = self.server.likeliest(tokens.tolist(), self.entries)
        ids, logprobs = (
            torch.tensor(part, device=tokens.device) for part in zip(*rows, strict=True)
        )
        return Sparse(ids, logprobs)


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
