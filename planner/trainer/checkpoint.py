"""Checkpoints: safetensors beside JSON, complete or absent, refused when damaged.

A checkpoint holds the full parameters and Adam moments whatever the number of devices, so a run may
be resumed on another number of them. `model/` of a finished run is what teachers are loaded from.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

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
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
ABOUT = {"config": dict, "tokenizer": str, "spec": dict, "checksum": str}


def gather(model: Decoder, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Full parameters and moments on the CPU. Every process of a run must call this together."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = whole(parameter)
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{moment}.{name}": whole(state[moment]) for moment in MOMENTS if state}
    return tensors


def scatter(
    tensors: dict[str, Tensor], model: Decoder, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Put what `gather` collected back in place, sharded as the model is."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(_like(tensors[f"model.{name}"], parameter))
        if optimizer is not None and f"step.{name}" in tensors:
            state = {key: _like(tensors[f"{key}.{name}"], parameter) for key in MOMENTS[:2]}
            count = tensors[f"step.{name}"].clone().to(parameter.device)
            optimizer.state[parameter] = {"step": count, **state}


def whole(tensor: Tensor) -> Tensor:
    """A tensor in full on the CPU, gathered if it is sharded."""
    full = tensor.detach()
    full = full.full_tensor() if isinstance(full, DTensor) else full
    return full.cpu().contiguous()


def _like(full: Tensor, parameter: Tensor) -> Tensor:
    if isinstance(parameter, DTensor):
        local = full.to(parameter.device)
        return distribute_tensor(local, parameter.device_mesh, parameter.placements)
    return full.clone().to(parameter.device)


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
    weights = {name: value for name, value in tensors.items() if name.startswith("model.")}
    state = {"config": asdict(model.config), **about}

    def fill(path: Path) -> None:
        _write(path, weights, state)
        # the library's own `save` answers a full disk with a bare Exception
        write_file(path / "tokenizer.json", tokenizer.to_str(pretty=True).encode())

    with storage("the model", directory):
        write_directory(directory, fill)


def load_model(directory: Path, compute: torch.dtype) -> tuple[Decoder, dict[str, Any]]:
    """A finished model and what its run wrote about it."""
    tensors, state = _read(directory, "model", again(directory), **ABOUT)
    try:
        with torch.device("meta"):
            model = Decoder(Config(**state["config"]), compute)
        model = model.to_empty(device="cpu")
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
