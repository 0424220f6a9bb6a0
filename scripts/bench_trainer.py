"""The reference trainer side by side with plain PyTorch, in one run; ratios are printed.

    python scripts/bench_trainer.py                     # this machine, about two minutes
    python scripts/bench_trainer.py --layers 12 --aspect-ratio 128 --context 4096 --compile   # a
    GPU

1. tokens/s of the trainer's update against a plain loop of the same model (full logits,
   `cross_entropy`, `AdamW`, autocast on a GPU), and both against the machine's matrix products;
2. memory and time of the chunked distillation loss against the naive one;
3. time of a distillation step with stored logits against one with the teacher online.

Measurements of one comparison alternate, so that a busy neighbour slows both sides.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import planner.trainer  # noqa: F401  (OpenMP settings come before PyTorch)

import torch  # isort: skip
from torch import Tensor
from torch.nn import functional

from planner.trainer.benchmark import WARM_STEPS, random_tokens, training_step
from planner.trainer.data import DataSpec, Sampler, Split, prepare
from planner.trainer.engine import Engine, Machine
from planner.trainer.hardware import device_name, peak_of, probe_matmul
from planner.trainer.logits import write_logits
from planner.trainer.loss import Dense, LinearLoss, Objective, Signal
from planner.trainer.model import Config, FlopCount, build
from planner.trainer.optim import Hyper, make_optimizer
from planner.trainer.teachers import OwnHead, Teacher


def main() -> None:
    given = arguments()
    if given.threads:
        torch.set_num_threads(given.threads)
    engine = Engine(Machine(device=given.device, compile=given.compile))
    config = Config(
        given.layers, given.aspect_ratio, given.head_size, given.vocabulary, given.context,
        given.ffn_multiple,
    )  # fmt: skip
    print(f"device: {device_name(engine.device)}, {str(engine.dtype).removeprefix('torch.')}")
    print(
        f"model: {config.parameters:,} non-embedding parameters, vocabulary {config.vocabulary:,}"
    )
    throughput(config, given.batch, engine, given.repeats)
    memory(given, engine)
    stored_logits(given, engine)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the trainer with plain PyTorch.")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--aspect-ratio", type=int, default=64)
    parser.add_argument("--head-size", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=1_024)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--ffn-multiple", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--kd-vocabulary", type=int, default=32_168)
    parser.add_argument("--kd-tokens", type=int, default=1_024)
    parser.add_argument("--top-k", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="compile both sides")
    return parser.parse_args()


def throughput(config: Config, batch: int, engine: Engine, repeats: int) -> None:
    """The trainer's update, a plain loop of the same model, and matrix products."""
    ours, plain = alternate(
        (training_step(config, batch, engine), plain_step(config, batch, engine)), engine, repeats
    )
    tokens = batch * config.context
    matmul = probe_matmul(engine.device, engine.dtype)
    print(f"\n1. Training, {tokens:,} tokens a step")
    print(f"   matrix products   {matmul / 1e9:10,.1f} GFLOP/s")
    for name, seconds in (("this trainer", ours), ("plain PyTorch loop", plain)):
        rate = 3 * config.flops.causal * tokens / seconds
        print(
            f"   {name:<18}{tokens / seconds:10,.0f} tokens/s {rate / 1e9:10,.1f} GFLOP/s "
            f"{rate / matmul:6.1%} of the matrix products{mfu(rate, engine)}"
        )
    print(f"   ratio: the trainer does {plain / ours:.2f} times the tokens/s of the plain loop")


def mfu(rate: float, engine: Engine) -> str:
    peak = peak_of(engine.device).flops
    return ", MFU n/a" if peak is None else f", MFU {rate / peak:.1%}"


def plain_step(config: Config, batch: int, engine: Engine) -> Callable[[], object]:
    """What one would write without this package, around the same model."""
    model = build(config, 0, torch.float32).to(engine.device)
    if engine.machine.compile:
        model.compile(dynamic=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = random_tokens(config, batch, engine)

    def step() -> object:
        with torch.autocast(engine.device.type, torch.bfloat16, engine.dtype == torch.bfloat16):
            logits = model(tokens, lambda hidden, head: hidden @ head.T)
        loss = functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return None

    return step


def memory(given: argparse.Namespace, engine: Engine) -> None:
    """Peak memory and time of the loss of one batch, forward and backward."""
    width, wide, vocabulary = 256, 512, given.kd_vocabulary
    rows = given.kd_tokens
    print(f"\n2. Distillation loss, vocabulary {vocabulary:,}, widths {width} and {wide}")
    for count in (rows, 2 * rows):
        hidden, head, teacher, teacher_head = (
            torch.randn(*shape, device=engine.device, dtype=engine.dtype) * shape[1] ** -0.5
            for shape in ((count, width), (vocabulary, width), (count, wide), (vocabulary, wide))
        )
        hidden.requires_grad_()
        head.requires_grad_()
        labels = torch.randint(vocabulary, (count,), device=engine.device)
        chunked = LinearLoss(Objective())

        def ours() -> float:
            loss, _ = chunked(hidden, head, labels, Dense(teacher, teacher_head))  # noqa: B023
            (loss / len(labels)).backward()  # noqa: B023
            return loss.item() / len(labels)  # noqa: B023

        def naive() -> float:
            log_q = torch.log_softmax((hidden @ head.T).float(), -1)  # noqa: B023
            log_p = torch.log_softmax((teacher @ teacher_head.T).float(), -1)  # noqa: B023
            kl = functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
            kl.backward()
            return (kl - (log_p.exp() * log_p).sum(-1).mean()).item()

        values, peaks = [], []
        for step in (ours, naive):
            hidden.grad = head.grad = None
            values.append(step())
            hidden.grad = head.grad = None
            peaks.append(peak_memory(step, engine))
        seconds = alternate((ours, naive), engine, 3)
        assert abs(values[0] - values[1]) < 1e-2 * abs(values[1]), values
        print(f"   {count:,} tokens: chunked {peaks[0] / 2**20:,.0f} MiB, {seconds[0]:.2f} s; "
              f"naive {peaks[1] / 2**20:,.0f} MiB, {seconds[1]:.2f} s")  # fmt: skip
        print(f"   ratio: naive takes {peaks[1] / peaks[0]:.1f} times the memory and "
              f"{seconds[1] / seconds[0]:.2f} times the time")  # fmt: skip


def peak_memory(step: Callable[[], object], engine: Engine) -> int:
    """Most bytes that a step holds at once beyond what it found."""
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    held = most = 0
    for change in changes(found):
        held += change
        most = max(most, held)
    return most


def changes(found: torch.profiler.profile) -> list[int]:
    """Bytes allocated (positive) and released (negative), in order of time."""
    assert found.profiler is not None
    assert found.profiler.kineto_results is not None
    events = [
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    return [size for _, size in sorted(events)]


def stored_logits(given: argparse.Namespace, engine: Engine) -> None:
    """A student's distillation step on real text, teacher online and from the store."""
    spec = DataSpec(vocabulary=given.vocabulary, max_documents=25)
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare(spec, Path(folder))
        split, context = dataset.split("student"), given.context
        size = (
            given.aspect_ratio,
            given.head_size,
            dataset.vocabulary,
            context,
            given.ffn_multiple,
        )
        student, big = Config(max(1, given.layers - 1), *size), Config(given.layers, *size)
        teacher = as_teacher(big, engine)
        start = time.perf_counter()
        stored = write_logits(
            Path(folder) / "logits", teacher, dataset, split, context, given.top_k, engine
        )
        took = time.perf_counter() - start
        megabytes = sum(p.stat().st_size for p in Path(folder).glob("logits/*/*")) / 2**20
        steps = [
            distillation_step(student, split, given.batch, engine, source)
            for source in (
                None,
                lambda indices, tokens: teacher.signal(tokens),
                lambda indices, tokens: stored.signal(indices, engine),
            )
        ]
        alone, online, offline = alternate(steps, engine, given.repeats)
    tokens = split.windows(context) * context
    print(f"\n3. Distilling {student.parameters:,} from {big.parameters:,} parameters, "
          f"top {given.top_k} of {dataset.vocabulary:,} stored")  # fmt: skip
    print(f"   writing the store: {took:.1f} s for {tokens:,} tokens, {megabytes:.0f} MiB")
    print(f"   a step: supervised {alone * 1e3:.0f} ms, online {online * 1e3:.0f} ms, "
          f"stored {offline * 1e3:.0f} ms")  # fmt: skip
    print(f"   ratio: the online teacher adds {online / alone - 1:.0%} to a supervised step, "
          f"stored logits {offline / alone - 1:.0%}; "
          f"stored / online = {offline / online:.2f}")  # fmt: skip


def as_teacher(config: Config, engine: Engine) -> Teacher:
    """An untrained teacher: its speed is that of a trained one."""
    model = engine.place(build(config, 1, engine.dtype).requires_grad_(False))
    flops: FlopCount = config.flops
    return Teacher(
        "untrained", "untrained", config.parameters, flops, config.law_flops,
        OwnHead(model, config), config.vocabulary,
    )  # fmt: skip


def distillation_step(
    config: Config,
    split: Split,
    batch: int,
    engine: Engine,
    source: Callable[[NDArray[np.int64], Tensor], Signal] | None,
) -> Callable[[], object]:
    """One update of a student as the trainer makes it, batches read from the shards."""
    decoder = build(config, 0, engine.dtype)
    model, optimizer = engine.place(decoder), make_optimizer(decoder, Hyper())
    loss = LinearLoss(None if source is None else Objective(), 1e-4)
    sampler, count = Sampler(split.windows(config.context), batch, 0), iter(range(10**9))

    def step() -> None:
        indices = sampler.indices(next(count))
        data = split.batch(indices, config.context).astype(np.int64)
        tokens, labels = engine.tensor(data[:, :-1].copy()), engine.tensor(data[:, 1:].copy())
        signal = None if source is None else source(indices, tokens)
        value = model(tokens, lambda h, w: loss(h.flatten(0, 1), w, labels.flatten(), signal)[0])
        (value / tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def alternate(
    steps: list[Callable[[], object]] | tuple[Callable[[], object], ...],
    engine: Engine,
    repeats: int,
) -> list[float]:
    """Median seconds of each step, taken in turns."""
    for step in steps:
        for _ in range(WARM_STEPS):
            step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for number, step in enumerate(steps):
            engine.synchronise()
            start = time.perf_counter()
            step()
            engine.synchronise()
            times[number].append(time.perf_counter() - start)
    return [statistics.median(each) for each in times]


if __name__ == "__main__":
    main()
