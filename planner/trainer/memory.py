"""How many sequences a GPU can hold in one backward pass, where the user does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from planner.trainer.engine import Engine
    from planner.trainer.model import Config

USABLE = 0.9  # of a GPU's memory; the rest is for its driver, libraries and fragments
STATE_BYTES = 16  # per parameter: float32 weight, gradient, and two moments
CHUNK_COPIES = 8  # float32 arrays of the size of one chunk of logits that the loss holds at once


def activation_bytes(config: Config, dtype: torch.dtype, recompute: bool) -> int:
    """Bytes that one sequence keeps for the backward pass, from above.

    Per token and layer 22 d + 4 d_ff numbers are saved where norms save float32 copies of half
    precision (14 d + 4 d_ff otherwise), and 5 d after the layers; one more layer is what the
    backward pass itself works with. Recomputation saves d per layer.
    """
    width, layers = config.d_model, config.layers
    layer = 22 * width + 4 * config.architecture.d_ff
    numbers = layers * width + 2 * layer if recompute else (layers + 1) * layer
    return int((numbers + 5 * width) * config.context * dtype.itemsize)


def microbatch(
    config: Config,
    share: int,
    engine: Engine,
    teacher_parameters: int = 0,
    teacher_width: float = 0.0,
    teacher_logits: int = 0,
) -> int:
    """Sequences per backward pass of this device's `share`: as given, else what fits a GPU.

    Always a divisor of the share, the same in every process, and the whole share on a CPU.
    `teacher_parameters` are those that this device holds of an online teacher, `teacher_logits`
    how many it makes for a token where they are not made chunk by chunk.
    """
    import torch

    from planner.trainer.loss import ELEMENTS

    if engine.machine.microbatch is not None:
        return engine.machine.microbatch
    if engine.device.type != "cuda":
        return share
    parameters = config.parameters + config.rows * config.d_model
    size = engine.dtype.itemsize
    shards = engine.world if engine.machine.parallel == "fsdp" else 1
    held = (
        STATE_BYTES * parameters / shards
        + size * parameters  # copies in the precision of the products
        + size * teacher_parameters
        + 4 * ELEMENTS["cuda"] * CHUNK_COPIES
    )
    each = activation_bytes(config, engine.dtype, engine.machine.recompute)
    each += int(24 * teacher_width * config.context * size)  # a layer of its forward pass
    # whole logits, and a copy while they are scaled or capped
    each += 2 * teacher_logits * config.context * size
    # what other processes hold is not ours to plan with
    free = torch.cuda.mem_get_info(engine.device)[0] + torch.cuda.memory_reserved(engine.device)
    total = min(free, torch.cuda.get_device_properties(engine.device).total_memory)
    fits = engine.least(int((USABLE * total - held) / each))
    return max((d for d in range(1, share + 1) if share % d == 0 and d <= fits), default=1)
