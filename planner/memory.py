"""Whether a plan fits: bytes on each device, the fewest devices, and bytes of stored logits.

Counted for transformers as in Busbridge et al. 2025 (pre-norm, gated feed-forward), trained with
Adam; states sharded over devices as FSDP and ZeRO-3 do. The counts are checked against
the peaks of `planner.trainer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laws.architecture import Architecture
from planner.errors import QuantityError

USABLE = 0.9
"""Of a device's memory; the rest is for its driver, libraries and fragments."""

CHUNK_COPIES = 8
"""float32 arrays of the size of one chunk of logits that a chunked loss holds at once."""

WHOLE_LOGITS_BYTES = 12
"""Per logit where they are made all at once: half precision, float32, and its gradient."""


@dataclass(frozen=True)
class Setting:
    """How a model is trained.

    compute: bytes per number of matrix products (2 for bf16). weight, gradient, optimiser: bytes
    per parameter that are kept (float32 and two moments). shards: devices over which they are
    spread. sequences: per device and backward pass. chunk: logits that a chunked loss makes at
    once, None where all exist at once. accumulating: gradients of earlier backward passes are there
    when the next begins (several passes per step); otherwise they grow as activations are freed.
    """

    context: int = 4096
    vocabulary: int = 32_168
    sequences: int = 1
    shards: int = 1
    checkpointing: bool = False
    compute: int = 2
    weight: int = 4
    gradient: int = 4
    optimiser: int = 8
    chunk: int | None = 1 << 27
    accumulating: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("context", "vocabulary", "sequences", "shards", "compute", "weight"):
            if getattr(self, name) < 1:
                raise QuantityError(f"{name} is {getattr(self, name)}; it must be at least 1.")


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the peak of a training step.

    gradients: without accumulation only what they add to the peak beyond the activations.
    """

    weights: float
    gradients: float
    optimiser: float
    working_copies: float
    activations: float
    logits: float
    teacher: float = 0.0

    @property
    def total(self) -> float:
        """Bytes in all."""
        return (
            self.weights + self.gradients + self.optimiser + self.working_copies
            + self.activations + self.logits + self.teacher
        )  # fmt: skip


def all_parameters(model: Architecture, vocabulary: int, tied: bool = True) -> int:
    """Parameters with the embedding, and the output matrix where it is another."""
    return model.parameters + (1 if tied else 2) * vocabulary * model.d_model


def layer_numbers(model: Architecture, half: bool) -> float:
    """Numbers per token that one layer keeps for the backward pass.

    22 d + 4 d_ff in half precision, where norms keep float32 copies of their input, 14 d + 4 d_ff
    in float32; with fewer key-value heads the keys' and values' part (6 d, or 4 d) shrinks.
    """
    wide, narrow = (16, 6) if half else (10, 4)
    share = model.kv_heads / model.heads
    return (wide + narrow * share) * model.d_model + 4 * model.d_ff


BACKWARD = 1.25
"""Activations of the layer that a backward pass is in, with their gradients, over the layer's."""


def activation_bytes(model: Architecture, setting: Setting) -> float:
    """Bytes of activations where the backward pass begins, for the sequences of one such pass.

    Every layer's; with checkpointing the input of each layer and the one being recomputed.
    """
    layer = layer_numbers(model, half=setting.compute < 4)
    if setting.checkpointing:
        numbers = model.layers * model.d_model + BACKWARD * layer
    else:
        numbers = model.layers * layer
    tokens = setting.sequences * setting.context
    return (numbers + 5 * model.d_model) * tokens * setting.compute


def training_memory(
    model: Architecture, setting: Setting, teacher: Architecture | None = None
) -> Memory:
    """Bytes on each device for one training step, with an online teacher beside the student.

    The teacher is kept in the precision of the products and sharded like the student; its forward
    pass needs one layer at a time.
    """
    parameters = all_parameters(model, setting.vocabulary, setting.tied)
    sharded = parameters / setting.shards
    activations, logits = activation_bytes(model, setting), _logit_bytes(setting)
    gradients = setting.gradient * sharded
    if not setting.accumulating:
        tokens = setting.sequences * setting.context
        layer = layer_numbers(model, half=setting.compute < 4) * tokens * setting.compute
        gradients = max(0.0, gradients + BACKWARD * layer - activations - logits)
    return Memory(
        weights=setting.weight * sharded,
        gradients=gradients,
        optimiser=setting.optimiser * sharded,
        working_copies=_working_copies(model, setting),
        activations=activations,
        logits=logits,
        teacher=0.0 if teacher is None else inference_memory(teacher, setting),
    )


def inference_memory(model: Architecture, setting: Setting) -> float:
    """Bytes on each device for forward passes alone: weights and one layer's activations."""
    weights = setting.compute * all_parameters(model, setting.vocabulary, setting.tied)
    gathered = 0.0 if setting.shards == 1 else _largest_units(model, setting)
    tokens = setting.sequences * setting.context
    layer = layer_numbers(model, half=setting.compute < 4) * tokens * setting.compute
    return weights / setting.shards + gathered + layer


def _working_copies(model: Architecture, setting: Setting) -> float:
    """Copies of weights in the precision of the products: the whole model's where it is not
    sharded and trains in another precision, two layers' and the embedding's where it is."""
    if setting.shards > 1:
        return _largest_units(model, setting)
    if setting.compute == setting.weight:
        return 0.0
    return float(setting.compute * all_parameters(model, setting.vocabulary, setting.tied))


def _largest_units(model: Architecture, setting: Setting) -> float:
    embedding = setting.vocabulary * model.d_model
    return setting.compute * (2 * model.parameters / model.layers + embedding)


def _logit_bytes(setting: Setting) -> float:
    logits = setting.sequences * setting.context * setting.vocabulary
    if setting.chunk is None:
        return float(WHOLE_LOGITS_BYTES * logits)
    return float(4 * CHUNK_COPIES * min(setting.chunk, logits))


@dataclass(frozen=True)
class Fit:
    """The fewest devices that hold a training step.

    devices: None where no number does, because one sequence's activations alone are too large.
    """

    devices: int | None
    memory: Memory
    limit: float
    reason: str = ""


def least_devices(
    model: Architecture,
    setting: Setting,
    device_memory: float,
    teacher: Architecture | None = None,
    most: int = 65_536,
) -> Fit:
    """The smallest power of two of devices, with states sharded over all of them, that fits."""
    limit = USABLE * device_memory
    shards = 1
    while True:
        each = Setting(**{**vars(setting), "shards": shards})
        memory = training_memory(model, each, teacher)
        if memory.total <= limit:
            return Fit(shards, memory, limit)
        if shards >= most:
            break
        shards *= 2
    advice = "fewer sequences at a time" if setting.sequences > 1 else "a shorter context"
    if not setting.checkpointing:
        advice = "activation checkpointing"
    return Fit(
        None,
        memory,
        limit,
        f"{memory.total / 1e9:.1f} GB are needed on each device however many share the states, and "
        f"{limit / 1e9:.1f} GB are usable; try {advice}, or tensor parallelism, which is not "
        "planned here.",
    )


Storage = Literal["full", "top-k", "sampled"]


@dataclass(frozen=True)
class LogitFormat:
    """A way to store the teacher's distributions, as `planner.trainer` writes them.

    full: every logit in float32 (which the trainer does not write). top-k: the likeliest `entries`
    tokens. sampled: that many drawn without bias, where top-k is biased (the random-sampling
    distillation of arXiv 2503.16870, in which 12 match the full distribution). Both store an id of
    two bytes (four for a vocabulary beyond 65,536) and a logarithm of two for each entry, and a
    number of eight bytes for each sequence.
    """

    kind: Storage
    entries: int = 0
    context: int = 4096

    def __post_init__(self) -> None:
        if self.kind != "full" and self.entries < 1:
            raise QuantityError(f"{self.kind} logits need at least one entry per token.")

    def bytes_per_token(self, vocabulary: int) -> float:
        """Bytes for the distribution at one position; headers of files are left out."""
        if self.kind == "full":
            return 4.0 * vocabulary
        if self.entries > vocabulary:
            raise QuantityError(
                f"{self.entries} entries per token are more than the vocabulary of {vocabulary:,}."
            )
        return self.entries * (6.0 if vocabulary > 1 << 16 else 4.0) + 8 / self.context

    def bytes(self, tokens: float, vocabulary: int) -> float:
        """Bytes for the distributions over so many tokens."""
        return self.bytes_per_token(vocabulary) * tokens

    def stream(self, tokens_per_second: float, vocabulary: int) -> float:
        """Bytes per second that a student reading so many tokens per second needs."""
        return self.bytes_per_token(vocabulary) * tokens_per_second


@dataclass(frozen=True)
class LogitsDecision:
    """Online teacher or stored logits, by cost.

    online, stored: money, or device-hours where there is no price (`unit`). charge_inference: the
    share of F(N_T) per token of each student's training that the choice costs, for Eq. 9.
    """

    method: Literal["online", "stored"]
    online: float
    stored: float
    unit: str
    charge_inference: float
    text: str


def decide_logits(
    inference_hours: float,
    stored_bytes: float,
    *,
    passes: float = 1.0,
    price: float | None = None,
    storage_price: float | None = None,
    months: float = 1.0,
    currency: str = "$",
) -> LogitsDecision:
    """Compare a teacher that runs beside every pass with one whose logits are stored once.

    inference_hours: device-hours of the teacher over the distillation tokens once. passes: how
    often these tokens are learned from (students times epochs). price: money per device-hour;
    storage_price: money per TB and month. Without both prices device-hours alone are compared, and
    the disk counts as free.
    """
    if not passes >= 1:
        raise QuantityError(f"passes are {passes}; the tokens are learned from at least once.")
    priced = price is not None and storage_price is not None
    rate, unit = (price, currency) if priced and price is not None else (1.0, "device-hours")
    disk = stored_bytes / 1e12 * (storage_price or 0.0) * months if priced else 0.0
    online, stored = inference_hours * passes * rate, inference_hours * rate + disk
    better: Literal["online", "stored"] = "stored" if stored < online else "online"
    share = 1.0 / passes if better == "stored" else 1.0
    text = (
        f"{'Store the logits' if better == 'stored' else 'Run the teacher online'}: "
        f"{stored:,.0f} {unit} stored ({stored_bytes / 1e12:,.3g} TB) against {online:,.0f} "
        f"{unit} online for {passes:g} pass{'es' if passes != 1 else ''}."
    )
    return LogitsDecision(better, online, stored, unit, share, text)
