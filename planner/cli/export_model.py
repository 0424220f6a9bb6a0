"""`planner export-model`: a trained model as a folder for transformers, vLLM and others."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import console
from planner.errors import require


@click.command(
    "export-model",
    short_help="Write a trained model for transformers and what reads its format.",
    epilog="Example: planner export-model runs/student student-hf",
)
@click.argument("run")
@click.argument("out", type=click.Path(path_type=Path))
def command(run: str, out: Path) -> None:
    """Write the model of RUN to the folder OUT as Qwen3, with its tokenizer.

    transformers loads it by AutoModelForCausalLM and gives the same logits; so do lm-eval, vLLM and
    TRL, which read the same format.
    """
    import planner.trainer  # noqa: F401 (OpenMP settings come before PyTorch)

    require("torch", extra="trainer")
    from planner.trainer.export import export_model

    console.result(f"wrote            {export_model(run, out)}")
