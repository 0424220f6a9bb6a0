"""Open models by name: shape, size, forward FLOPs, training tokens and tokenizer, with sources.

``llama-3.1-8b``, ``Llama 3.1 8B`` and ``meta-llama/Llama-3.1-8B`` are one model. Sizes are computed
from the architecture, so that what is planned counts as the laws count.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import tomli

from laws.architecture import Architecture
from planner.errors import DocumentError, ProblemError
from planner.results import AnyModel, Warning

_FILE = Path(__file__).parent / "data" / "models.toml"


@dataclass(frozen=True)
class Model:
    """A decoder transformer as its source describes it.

    d_ff: width of the feed-forward layer, of one expert where there are `experts`, of which
    `active_experts` work on a token. tied: input and output embedding are one matrix. window,
    local_layers: layers that attend to at most `window` positions. size: non-embedding parameters
    where the source states them. tokens: of pretraining, None where not published.
    """

    name: str
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_size: int
    d_ff: int
    vocabulary: int
    tied: bool
    tokenizer: str
    source: str
    tokens: float | None = None
    ffn_matrices: int = 3
    experts: int = 1
    active_experts: int = 1
    window: int = 0
    local_layers: int = 0
    size: int | None = None

    def __post_init__(self) -> None:
        for key in ("layers", "d_model", "heads", "kv_heads", "head_size", "d_ff", "vocabulary"):
            if getattr(self, key) < 1:
                raise ProblemError(f"{key} is {getattr(self, key)}; it must be at least 1.")
        if self.heads % self.kv_heads:
            raise ProblemError(
                f"{self.heads} heads do not divide evenly among {self.kv_heads} key-value heads."
            )
        if not 1 <= self.active_experts <= self.experts:
            raise ProblemError(
                f"{self.active_experts} of {self.experts} experts cannot be active at once."
            )

    @property
    def mixture(self) -> bool:
        """Whether it is a mixture of experts."""
        return self.experts > 1

    def _count(self, experts: int) -> int:
        width = self.heads * self.head_size
        attention = 2 * self.d_model * width + 2 * self.d_model * self.kv_heads * self.head_size
        router = self.d_model * self.experts if self.mixture else 0
        layer = attention + experts * self.ffn_matrices * self.d_model * self.d_ff + router
        return self.layers * (layer + 2 * self.d_model) + self.d_model

    @property
    def parameters(self) -> int:
        """Non-embedding parameters N, all experts included."""
        return self._count(self.experts) if self.size is None else self.size

    @property
    def active_parameters(self) -> int:
        """Non-embedding parameters that work on one token: what inference costs."""
        return self._count(self.active_experts) if self.mixture else self.parameters

    @property
    def all_parameters(self) -> int:
        """Parameters with the embeddings: what a model card states."""
        return self.parameters + (1 if self.tied else 2) * self.vocabulary * self.d_model

    def forward_flops(self, context: int = 4096) -> float:
        """Forward FLOPs per token at this context: ``2 N_active + 2 n_ctx w L + 2 V d``.

        As Eq. 69 counts: causal attention needs half of the full product (w is heads times head
        size), local layers only their window's, and the output head counts.
        """
        seen = context / 2
        local = seen if not 0 < self.window < context else (
            self.window - self.window**2 / (2 * context)
        )  # fmt: skip
        positions = (self.layers - self.local_layers) * seen + self.local_layers * local
        attention = 4 * self.heads * self.head_size * positions
        return 2.0 * self.active_parameters + attention + 2.0 * self.vocabulary * self.d_model

    def as_teacher(self, loss: float | None = None, context: int = 4096) -> dict[str, Any]:
        """The fields of a `Teacher`: its size, its measured loss or its training tokens, its FLOPs.

        The law was fitted on dense models: an expert mixture needs a measured loss, and costs its
        active parameters. So does a model whose tokens are not published. Raises ProblemError for
        one without.
        """
        if loss is None and (self.mixture or self.tokens is None):
            why = (
                "is a mixture of experts, for which the law estimates no loss"
                if self.mixture
                else "has no published number of training tokens"
            )
            raise ProblemError(
                f"{self.name} {why}; measure its cross-entropy on your data and add loss=..."
            )
        return {
            "size": float(self.active_parameters),
            "tokens": self.tokens if loss is None else None,
            "loss": loss,
            "name": self.name,
            "forward_flops": self.forward_flops(context),
        }

    @property
    def architecture(self) -> Architecture | None:
        """The shape as `laws` has it; None where its fields cannot say it (experts, wider heads,
        feed-forward layers without a gate)."""
        plain = not self.mixture and self.ffn_matrices == 3
        if not plain or self.heads * self.head_size != self.d_model:
            return None
        return Architecture(
            self.layers, self.d_model, self.heads, self.kv_heads, self.d_ff, self.parameters
        )


_KEYS = tuple(each.name for each in fields(Model))


def parse_models(text: str, what: str) -> tuple[Model, ...]:
    """Models of TOML text with [[model]] tables; DocumentError listing every fault."""
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise DocumentError(f"{what} is not TOML: {error}.") from error
    tables = document.get("model")
    if not isinstance(tables, list) or not tables or set(document) != {"model"}:
        raise DocumentError(f"{what} must hold [[model]] tables and nothing else.")
    found, faults = [], []
    for position, table in enumerate(tables, 1):
        try:
            found.append(_model(table))
        except (DocumentError, ProblemError) as error:
            faults.append(f"model {position}: {error}")
    if faults:
        raise DocumentError(f"{what} has {len(faults)} wrong model(s):", faults)
    return tuple(found)


def _model(table: Any) -> Model:
    if not isinstance(table, Mapping):
        raise DocumentError("it is not a table.")
    for key in table:
        if key not in _KEYS:
            raise DocumentError(f"unknown key '{key}'; known: {', '.join(_KEYS)}.")
    for each in fields(Model):
        given = table.get(each.name)
        if given is None:
            if each.name in _REQUIRED:
                raise DocumentError(f"{each.name} is missing.")
            continue
        if isinstance(given, bool) != (each.name == "tied") or not isinstance(
            given, _TYPES[each.name]
        ):
            raise DocumentError(f"{each.name} is {given!r}, which is not of its type.")
    return Model(**table)


_TEXTS = ("name", "tokenizer", "source")
_TYPES: dict[str, type | tuple[type, ...]] = {
    key: str
    if key in _TEXTS
    else bool
    if key == "tied"
    else (int, float)
    if key == "tokens"
    else int
    for key in _KEYS
}
_REQUIRED = _KEYS[: _KEYS.index("tokens")]


@lru_cache(maxsize=1)
def models() -> tuple[Model, ...]:
    """The shipped catalogue."""
    return parse_models(_FILE.read_text(encoding="utf-8"), "the shipped catalogue")


def find(name: str, catalogue: tuple[Model, ...] | None = None) -> Model:
    """The model a person means, whatever the case, spaces, hyphens and organisation of the name.

    Raises ProblemError with the nearest names for an unknown one.
    """
    known = {_plain(each.name): each for each in (models() if catalogue is None else catalogue)}
    wanted = _plain(name.rpartition("/")[2])
    for ending in ("", "base", "pt", "hf"):
        if (model := known.get(wanted.removesuffix(ending))) is not None:
            return model
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    hint = (
        f"did you mean {' or '.join(known[each].name for each in near)}?"
        if near
        else f"known: {', '.join(each.name for each in known.values())}."
    )
    raise ProblemError(f"unknown model '{name.strip()}'; {hint} Or give size=...,tokens=...")


def _plain(name: str) -> str:
    """Letters, digits and points alone; ``meta-llama-3.1-8b`` is ``llama-3.1-8b``."""
    return re.sub(r"[^a-z0-9.]", "", name.lower()).removeprefix("meta")


class Named(Protocol):
    """A teacher, asked for or planned with."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def forward_flops(self) -> float | None:
        """Of its own shape, per token; None where it was given by its numbers."""


def model_of(teacher: Named) -> Model | None:
    """The catalogue's model that a teacher was taken from; None for one given by its numbers."""
    if teacher.forward_flops is None:
        return None
    return next((each for each in models() if each.name == teacher.name), None)


def vocabulary_warnings(teacher: AnyModel, vocabulary: int | None) -> tuple[Warning, ...]:
    """What distilling from an open model's logits demands of the tokenizer and of the FLOPs.

    vocabulary: whose output head the student's FLOPs count, None where they count none.
    """
    model = model_of(teacher) if teacher.existing else None
    if model is None:
        return ()
    text = vocabulary_remark(model)
    if vocabulary is not None and vocabulary != model.vocabulary:
        text = (
            f"{text.rstrip('.')}; the student's FLOPs here count a vocabulary of {vocabulary:,}: "
            f"add --vocabulary {model.vocabulary}."
        )
    return (Warning("teacher-vocabulary", text[:1].lower() + text[1:]),)


def vocabulary_remark(teacher: Model, student: Model | None = None) -> str:
    """What the teacher's tokenizer means for distilling from its logits."""
    demand = (
        f"Distilling from logits needs the teacher's vocabulary: the student must use the "
        f"{teacher.tokenizer} tokenizer ({teacher.vocabulary:,} entries)"
    )
    if student is None:
        return f"{demand}, and its losses per token compare with no other tokenizer's."
    if student.tokenizer == teacher.tokenizer:
        return f"{teacher.name} and {student.name} share the {teacher.tokenizer} tokenizer."
    return (
        f"{demand}; {student.name} has {student.tokenizer} ({student.vocabulary:,}). Across "
        "tokenizers only the teacher's text can be learned from, which this law does not describe."
    )
