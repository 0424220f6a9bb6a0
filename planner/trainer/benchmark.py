"""How fast this machine trains and how fast it runs a teacher, against what it could do at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planner.trainer import memory
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.hardware import Peak, device_name, peak_of, probe_matmul, utilisation
from planner.trainer.loss import LinearLoss, make_loss
from planner.trainer.model import Config, build
from planner.trainer.optim import Hyper, make_optimizer

WARM_STEPS = 3  # compilation, caches, allocator


@dataclass(frozen=True)
class Speed:
    """One kind of work, per device. FLOPs are counted with causal attention.

    `utilisation` is the share of the accelerator's peak, None where that is unknown;
    `of_matmul` the share of the measured matrix product; `law_flops` what the law's convention
    charges per second: a budget divided by it is time.
    """

    tokens_per_second: float
    flops: float
    law_flops: float
    utilisation: float | None
    of_matmul: float
    peak_memory: int | None


@dataclass(frozen=True)
class Benchmark:
    """What `benchmark` measured on one device."""

    device: str
    precision: str
    peak: Peak
    matmul: float
    training: Speed
    inference: Speed


def benchmark(
    config: Config,
    batch: int,
    machine: Machine,
    seconds: float = 10.0,
    teacher: Config | None = None,
) -> Benchmark:
    """Train `config` and run `teacher` (None: the same shape) on random tokens for a while."""
    teacher = teacher or config
    with open_engine(machine) as engine:
        matmul = probe_matmul(engine.device, engine.dtype, min(2.0, seconds))
        peak = peak_of(engine.device, machine.peak)

        def speed(shape: Config, passes: int, step: Callable[[], object]) -> Speed:
            if engine.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(engine.device)
            rate = batch * shape.context * steps_per_second(step, engine, seconds)
            flops = passes * shape.flops.causal * rate
            law = passes * float(shape.law_flops(shape.parameters)) * rate
            used = utilisation(flops, peak)
            return Speed(rate, flops, law, used, flops / matmul, engine.peak_memory())

        return Benchmark(
            device_name(engine.device),
            str(engine.dtype).removeprefix("torch."),
            peak,
            matmul,
            speed(config, 3, training_step(config, batch, engine)),
            speed(teacher, 1, inference_step(teacher, batch, engine)),
        )


def training_step(config: Config, batch: int, engine: Engine) -> Callable[[], object]:
    """One update of the trainer's own parts on random tokens."""
    decoder = build(config, 0, engine.dtype)
    model = engine.place(decoder)
    optimizer = make_optimizer(decoder, Hyper())
    machine = engine.machine
    loss = make_loss(
        machine.kernel, None, 1e-4, engine.device,
        vocabulary=config.vocabulary, compiled=machine.compile,
    )  # fmt: skip
    tokens = random_tokens(config, batch, engine)
    labels = tokens.flatten()
    parts = torch.split(tokens, memory.microbatch(config, batch, engine))

    def step() -> object:
        for part, label in zip(parts, torch.split(labels, parts[0].numel()), strict=True):

            def objective(hidden: Tensor, head: Tensor, label: Tensor = label) -> Tensor:
                return loss(hidden.flatten(0, 1), head, label)[0]

            (model(part, objective) / tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return None

    return step


def inference_step(config: Config, batch: int, engine: Engine) -> Callable[[], object]:
    """A teacher's forward pass with its head, chunk by chunk as in distillation."""
    model = engine.place(build(config, 0, engine.dtype).requires_grad_(False).to(engine.dtype))
    tokens = random_tokens(config, batch, engine)
    loss = LinearLoss(None, vocabulary=config.vocabulary, compiled=engine.machine.compile)

    @torch.no_grad()
    def step() -> object:
        return model(tokens, lambda h, w: loss(h.flatten(0, 1), w, tokens.flatten())[0])

    return step


def random_tokens(config: Config, batch: int, engine: Engine) -> Tensor:
    """Tokens (batch, context) that mean nothing."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, config.context)
    return torch.randint(config.vocabulary, shape, generator=generator).to(engine.device)


def steps_per_second(step: Callable[[], object], engine: Engine, seconds: float) -> float:
    """The median of five stretches that fill `seconds` together, after a few steps unmeasured."""
    for _ in range(WARM_STEPS):
        step()

    def stretch(count: int) -> float:
        engine.synchronise()
        start = time.perf_counter()
        for _ in range(count):
            step()
        engine.synchronise()
        return (time.perf_counter() - start) / count

    count = max(1, round(seconds / 5 / stretch(1)))
    return 1 / sorted(stretch(count) for _ in range(5))[2]
