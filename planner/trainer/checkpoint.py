"""Checkpoints: complete or absent, refused when damaged.

A checkpoint holds parameters and Adam moments, so that a run may be resumed on another number of
devices. One process (or the first of several that hold the same) writes safetensors beside JSON.
Processes that share the parameters out (FSDP) each write their own part by PyTorch's distributed
checkpoints, and none gathers the whole. `model/` of a finished run is what teachers are loaded
from, always as safetensors.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from planner.trainer.engine import Engine
from planner.trainer.files import (
    StorageError,
    checksum,
    read_object,
    storage,
    verify,
    write_directory,
    write_file,
    write_json,
)
from planner.trainer.model import Config, Decoder

KEEP = 2  # checkpoints of a run that stay on disk
TENSORS, STATE = "tensors.safetensors", "state.json"
SHARED = ".metadata"  # what a distributed checkpoint has
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
ABOUT = {"config": dict, "tokenizer": str, "spec": dict, "checksum": str}


def gather(
    model: Decoder, optimizer: torch.optim.Optimizer | None = None, *, keep: bool = True
) -> dict[str, Tensor]:
    """Full parameters, and moments with an optimiser, on the CPU of the processes that `keep` them.

    Every process of a run must call this together; one tensor at a time is gathered.
    """
    tensors: dict[str, Tensor] = {}

    def add(name: str, tensor: Tensor) -> None:
        full = whole(tensor)
        if keep:
            tensors[name] = full

    for name, parameter in model.named_parameters():
        add(f"model.{name}", parameter)
        state = optimizer.state.get(parameter, {}) if optimizer is not None else {}
        for moment in MOMENTS if state else ():
            add(f"{moment}.{name}", state[moment])
    return tensors


def scatter(
    tensors: Mapping[str, Tensor], model: Decoder, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Put what `gather` collected back in place, sharded as the model is."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(placed(tensors[f"model.{name}"], parameter))
        if optimizer is not None and f"step.{name}" in tensors:
            state = {key: placed(tensors[f"{key}.{name}"], parameter) for key in MOMENTS[:2]}
            count = tensors[f"step.{name}"].clone().to(parameter.device)
            optimizer.state[parameter] = {"step": count, **state}


def whole(tensor: Tensor) -> Tensor:
    """A tensor in full on the CPU, gathered if it is sharded."""
    full = tensor.detach()
    full = full.full_tensor() if isinstance(full, DTensor) else full
    return full.cpu().contiguous()


def placed(full: Tensor, parameter: Tensor) -> Tensor:
    """What this device holds of a tensor, as it holds a parameter of that shape."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(
            full.to(parameter.device),
            parameter.device_mesh,
            parameter.placements,
            src_data_rank=None,  # every process has the whole: nothing need be sent
        )
    return full.clone().to(parameter.device)


def _parts(model: Decoder, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What this process holds, by the names of `gather`; moments are made where there are none."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        tensors[f"model.{name}"] = parameter.detach()
        tensors |= {f"{moment}.{name}": state[moment] for moment in MOMENTS}
    return tensors


def save_shared(
    directory: Path,
    step: int,
    model: Decoder,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    engine: Engine,
) -> None:
    """`save` of what is shared out between processes, which call it together."""
    from torch.distributed.checkpoint.state_dict_saver import save as save_parts

    target = directory / f"step-{step:09d}"
    temporary = directory / f".step-{step:09d}.writing"
    if engine.main:
        shutil.rmtree(temporary, ignore_errors=True)
        with storage("a checkpoint", target):
            temporary.mkdir(parents=True)
    engine.wait()
    with storage("a checkpoint", target):
        save_parts(_parts(model, optimizer), checkpoint_id=temporary)
        if engine.main:
            write_json(temporary / STATE, {"step": step, **state})
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
            for old in _all(directory)[:-KEEP]:
                shutil.rmtree(old)
    engine.wait()


def restore(
    directory: Path, model: Decoder, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Put the newest checkpoint, of either kind, in place; its state, or None where there is none.

    Each process reads what it holds.
    """
    found = _all(directory)
    if not found or not (found[-1] / SHARED).exists():
        loaded = load(directory)
        if loaded is None:
            return None
        scatter(loaded[0], model, optimizer)
        return loaded[1]
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load as load_parts

    remedy = f"delete {found[-1]} to go on from what is left by the same command"
    state = read_object(found[-1] / STATE, "checkpoint", remedy, step=int, seconds=float)
    try:
        with warnings.catch_warnings():  # one process reading what several wrote is meant
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load_parts(_parts(model, optimizer), checkpoint_id=found[-1])
    except (OSError, ValueError, RuntimeError, CheckpointException) as error:
        raise StorageError(f"checkpoint {found[-1]} cannot be read: {error}; {remedy}") from error
    return state


def save(directory: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Add the checkpoint of `step`, then drop all but the newest `KEEP`."""
    target = directory / f"step-{step:09d}"
    with storage("a checkpoint", target):
        write_directory(target, lambda path: _write(path, tensors, {"step": step, **state}))
    for old in _all(directory)[:-KEEP]:
        shutil.rmtree(old)


def load(directory: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint as (tensors, state), or None where there is none."""
    found = _all(directory)
    if not found:
        return None
    remedy = (
        f"delete {found[-1]} to go on from what is left by the same command, or restore it from a "
        "copy"
    )
    return _read(found[-1], "checkpoint", remedy, step=int, seconds=float)


def save_model(
    directory: Path,
    model: Decoder,
    about: dict[str, Any],
    tensors: dict[str, Tensor],
    tokenizer: Any,
) -> None:
    """Write the finished model: parameters, `Config`, tokenizer, and what it was trained on.

    A model that is there already is as good, and is left alone; a damaged one is refused.
    """
    if directory.exists():
        _read(directory, "model", again(directory), **ABOUT)
        return
    weights = {
        name: value
        for name, value in tensors.items()
        if name.startswith("model.") and not name.startswith("model.projector.")
    }
    state = {"config": asdict(model.config), **about}

    def fill(path: Path) -> None:
        _write(path, weights, state)
        # the library's own `save` answers a full disk with a bare Exception
        write_file(path / "tokenizer.json", tokenizer.to_str(pretty=True).encode())

    with storage("the model", directory):
        write_directory(directory, fill)


def load_model(
    directory: Path,
    compute: torch.dtype,
    place: Callable[[Decoder], object] = lambda model: model.to_empty(device="cpu"),
) -> tuple[Decoder, dict[str, Any]]:
    """A finished model and what its run wrote about it.

    `place` gives the model, which has no memory yet, its device or its part of one.
    """
    tensors, state = _read(directory, "model", again(directory), **ABOUT)
    try:
        with torch.device("meta"):
            model = Decoder(Config(**state["config"]), compute)
        place(model)
        model.reset_tables()
        scatter(tensors, model)
    except (TypeError, KeyError, RuntimeError) as error:
        raise StorageError(
            f"the model in {directory} is not of the shape that its {STATE} says ({error}); "
            f"{again(directory)}"
        ) from error
    return model, state


def about_model(directory: Path) -> dict[str, Any]:
    """What its run wrote about a finished model, without reading the model."""
    return read_object(directory / STATE, "model", again(directory), **ABOUT)


def again(directory: Path) -> str:
    """How a finished model that is damaged is made once more."""
    return (
        f"delete {directory} and repeat the command that trained it, which makes it again from "
        "the run's newest checkpoint, or restore it from a copy"
    )


def _all(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*")) if directory.is_dir() else []


def _write(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    try:
        save_file(tensors, path / TENSORS)
    except SafetensorError as error:  # the library's word for a failed write
        raise OSError(str(error)) from error
    write_json(path / STATE, {**state, "checksum": checksum(path / TENSORS)})


def _read(
    path: Path, what: str, remedy: str, **kinds: type
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = read_object(path / STATE, what, remedy, **{"checksum": str, **kinds})
    verify(path / TENSORS, state["checksum"], what, remedy)
    try:
        return load_file(path / TENSORS), state
    except SafetensorError as error:
        raise StorageError(f"{what} {path / TENSORS} cannot be read: {error}; {remedy}") from error
