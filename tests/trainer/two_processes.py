"""Run by `torchrun` from test_train: the same run under DDP and, cut in two, under FSDP2."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from planner.trainer import train as module
from planner.trainer.engine import Machine, _native_bf16_on_cpu
from planner.trainer.spec import RunSpec


class InterruptedRunError(Exception):
    """Stands for a job that was stopped."""


def main() -> None:
    torch.set_num_threads(1)
    given, out, cache = sys.argv[1:]
    spec = RunSpec.from_dict(json.loads(given))
    dist.init_process_group("gloo")
    ddp = Machine(device="cpu", parallel="ddp", microbatch=1)
    module.train(spec, Path(out) / "ddp", ddp, cache=Path(cache))

    fsdp = Machine(device="cpu", parallel="fsdp", microbatch=1, checkpoint_every=2)
    update, calls = module._Run._update, 0

    def interrupted(run: module._Run, *parts: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise InterruptedRunError
        return update(run, *parts)  # type: ignore[arg-type]

    module._Run._update = interrupted  # type: ignore[assignment,method-assign]
    try:
        module.train(spec, Path(out) / "fsdp", fsdp, cache=Path(cache))
    except InterruptedRunError:
        module._Run._update = update  # type: ignore[method-assign]
        module.train(spec, Path(out) / "fsdp", fsdp, cache=Path(cache))
    if _native_bf16_on_cpu():
        half = Machine(device="cpu", parallel="fsdp", precision="bfloat16")
        module.train(spec, Path(out) / "half", half, cache=Path(cache))
    dist.destroy_process_group()


main()
