"""Devices: one CPU, one GPU, or many processes under `torchrun`, by PyTorch's own DDP and FSDP2.

`Clock` times what an engine does.
"""

from __future__ import annotations

import atexit
import inspect
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from planner.errors import PlannerError
from planner.trainer.model import Decoder

DEVICES = ("cpu", "cuda", "mps", "meta")
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Machine:
    """How to run, as opposed to what: none of this changes the run's identity.

    `microbatch` is sequences per device and backward pass (None: what the GPU's memory holds by
    `memory.microbatch`, and on a CPU all of its share at once);
    `kernel` is how head and loss are computed: our chunks, or Liger-Kernel's fused kernel;
    `recompute` trades a second forward pass for activation memory; `peak` is the FLOP/s that MFU is
    measured against instead of the catalogue's. A checkpoint is written every `checkpoint_every`
    updates or every `checkpoint_minutes` (None: a tenth of the run, at most 1,000 updates), and
    held-out text is measured every `evaluate_every` updates (None: at the end alone).
    """

    device: str | None = None
    precision: Precision = "auto"
    compile: bool = False
    kernel: Literal["chunked", "liger"] = "chunked"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    microbatch: int | None = None
    recompute: bool = False
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None
    evaluate_every: int | None = None
    deterministic: bool = False
    peak: float | None = None

    def __post_init__(self) -> None:
        for name in ("microbatch", "checkpoint_every", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PlannerError(f"{name} must be at least 1, not {value}")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise PlannerError(
                f"checkpoint_minutes must be positive, not {self.checkpoint_minutes}"
            )


class Engine:
    """The devices of this process. Use `open_engine`, which also sees to the process group."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if machine.device is not None and machine.device.partition(":")[0] not in DEVICES:
            raise PlannerError(
                f"device '{machine.device}' is not known; choose {' or '.join(DEVICES[:2])}"
            )
        kind = machine.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if kind.startswith("cuda") and not torch.cuda.is_available():
            raise PlannerError("no CUDA device is available here; use --device cpu")
        self.device = _device(kind, local)
        self.dtype = _precision(machine.precision, self.device)
        if self.device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before counters can be reset
            torch.cuda.set_device(self.device)
            torch.set_float32_matmul_precision("high")
        if machine.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)

    @property
    def main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def place(self, model: Decoder) -> nn.Module:
        """The model on this device, compiled, recomputing and wrapped as the machine asks.

        A model on the `meta` device is cut up for FSDP before it takes memory, so that no process
        ever holds all of it; its weights are then for `Decoder.initialise` or a checkpoint to fill.
        """
        empty = next(model.parameters()).is_meta and self.device.type != "meta"
        sharded = self.world > 1 and self.machine.parallel == "fsdp"
        if empty and not sharded:
            model = model.to_empty(device=self.device)
            model.reset_tables()
        elif not empty:
            model = model.to(self.device)
        model.compute = self.dtype
        model.recompute = self.machine.recompute
        if self.machine.compile:
            for block in model.blocks:
                block.compile(dynamic=False)
        if self.world == 1:
            return model
        if sharded:
            self.shard([*model.blocks, model])
            if empty:
                model.to_empty(device=self.device)
                model.reset_tables()
            return model
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model  # a teacher: nothing to reduce
        ids = [self.device.index] if self.device.type == "cuda" else None
        # the only buffers are rotary tables, the same everywhere
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {"gradient_as_bucket_view": True, name: False}
        return DistributedDataParallel(model, device_ids=ids, **options)

    def shard(self, modules: Iterable[nn.Module]) -> None:
        """Cut the parameters of modules, inner ones first, between all processes (FSDP2)."""
        mesh = init_device_mesh(self.device.type, (self.world,))
        policy = MixedPrecisionPolicy(param_dtype=self.dtype, reduce_dtype=torch.float32)
        for module in modules:
            fully_shard(module, mesh=mesh, mp_policy=policy)

    def accumulating(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Hold gradients back from the other devices until the last backward pass of a step."""
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(last)
        elif isinstance(model, DistributedDataParallel) and not last:
            return model.no_sync()
        return nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return not self.least(int(not value))

    def least(self, value: int) -> int:
        """The least of a number over all processes."""
        if self.world == 1:
            return value
        found = torch.tensor(value, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return int(found)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()

    def synchronise(self) -> None:
        """Until the device has done its work, so that a clock read next is honest."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def tensor(self, array: Any) -> Tensor:
        """A NumPy array on this device, without waiting for the copy."""
        host = torch.from_numpy(array)
        if self.device.type == "cuda":
            return host.pin_memory().to(self.device, non_blocking=True)
        return host.to(self.device)

    def reset_peak_memory(self) -> None:
        """Forget the most memory held so far: an earlier run in this process may have held more."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> int | None:
        """Most bytes of GPU memory held at once since the last reset; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None


@contextmanager
def open_engine(machine: Machine) -> Iterator[Engine]:
    """An engine, inside the process group if `torchrun` started this process.

    Running out of memory inside is a `PlannerError` that names the options which need less.
    """
    engine = Engine(machine)
    engine.reset_peak_memory()
    if machine.compile:
        torch.compiler.reset()  # else the models of earlier runs use up the limit of recompilations
    if engine.world > 1 and not dist.is_initialized():
        # one group as long as the process lives: a second would meet the first one's keys
        if engine.device.type == "cuda":
            dist.init_process_group("nccl", device_id=engine.device)
        else:
            dist.init_process_group("gloo")
        atexit.register(dist.destroy_process_group)
    try:
        yield engine
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        raise PlannerError(_less_memory(engine)) from error


LOG_SECONDS = 2.0  # between flushes of the log, each of which waits for the device


class Clock:
    """Training time, without the first steps and without what is not training."""

    def __init__(self, engine: Engine, settle: int) -> None:
        self.engine, self.settle = engine, settle
        self.ticks = self.timed_steps = 0
        self.timed_seconds = self.lost = self.settled = 0.0
        self.begun = self.reported = time.perf_counter()

    @property
    def total(self) -> float:
        return time.perf_counter() - self.begun - self.lost

    @property
    def steps_per_second(self) -> float:
        return self.timed_steps / self.timed_seconds if self.timed_steps else 0.0

    def tick(self) -> None:
        """After every step."""
        self.ticks += 1
        if self.ticks == self.settle:
            self.engine.synchronise()
            self.settled = self.total

    def due(self) -> bool:
        return time.perf_counter() - self.reported > LOG_SECONDS

    def report(self) -> None:
        """After the device was waited for."""
        self.reported = time.perf_counter()
        if self.ticks > self.settle:
            self.timed_steps = self.ticks - self.settle
            self.timed_seconds = self.total - self.settled

    @contextmanager
    def paused(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.lost += time.perf_counter() - start


MEMORY_SIGNS = (
    "out of memory", "not enough memory", "can't allocate memory", "STATUS_ALLOC_FAILED"
)  # fmt: skip
"""What PyTorch's errors say that are not of its own kind for this: CPU allocators, cuBLAS."""


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in MEMORY_SIGNS)


def _less_memory(engine: Engine) -> str:
    """What to change, of what is not changed yet; all but the last leaves the run the same run."""
    machine = engine.machine
    advice = {
        "fewer sequences at a time (--microbatch 1)": machine.microbatch != 1,
        "--recompute": not machine.recompute,
        "--parallel fsdp": engine.world > 1 and machine.parallel != "fsdp",
        "a smaller model or a shorter --context": True,
    }
    return (
        f"{engine.device} ran out of memory; try {', '.join(a for a, ok in advice.items() if ok)}. "
        "Nothing already written was lost: with the same model the run goes on from its newest "
        "checkpoint"
    )


def _device(kind: str, local: int) -> torch.device:
    """The device of this name; plain `cuda` is the one of this process under `torchrun`."""
    try:
        device = torch.device("cuda", local) if kind == "cuda" else torch.device(kind)
    except RuntimeError as error:
        raise PlannerError(f"device '{kind}' is not known: {error}") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise PlannerError(
            f"there is no {device} here, only {count} CUDA device{'s' if count != 1 else ''}; "
            "start as many processes as devices, or choose another --device"
        )
    return device


def _precision(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "float32":
        return torch.float32
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = device.type == "cpu" and _native_bf16_on_cpu()
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and supported else torch.float32
    if not supported:
        raise PlannerError(
            f"this {device.type} has no bfloat16 arithmetic of its own and would emulate it many "
            "times more slowly than float32; use --precision float32"
        )
    return torch.bfloat16


def _native_bf16_on_cpu() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
