"""`export`: runnable files for a trainer, from a recipe that `plan` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli import console
from planner.cli.options import Words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.export import Way


def _targets() -> Iterable[str]:
    from planner.export import EXPORTS

    return EXPORTS


@click.command(
    "export",
    short_help="Write a recipe as files for a trainer.",
    epilog="Example: planner export recipe.toml --to maxtext --output run",
)
@click.argument("recipe", metavar="FILE|-", type=click.Path())
@click.option(
    "--to",
    "target",
    required=True,
    metavar="NAME",
    type=Words(_targets),
    help="The trainer: maxtext, megatron-lm, megatron-bridge, distillkit, trl, torchtitan, "
    "planner, slurm.",
)
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(),
    help="Write the files into this folder, made where it is missing; stdout unless given.",
)
@click.option(
    "--method",
    type=click.Choice(["distil", "supervised"]),
    help="Train this way instead of the recommended one.",
)
@click.option("--context", type=int, metavar="TOKENS", help="Tokens of a sequence; 4,096.")
@click.option("--vocabulary", type=int, metavar="N", help="Entries of the tokenizer; 32,168.")
@click.option(
    "--batch", type=int, metavar="N", help="Sequences per step; the Step Law's unless given."
)
@click.option(
    "--lambda",
    "mixing",
    type=float,
    metavar="SHARE",
    help="Weight of the teacher's part of the loss; 1.",
)
@click.option("--temperature", type=float, metavar="T", help="Of the teacher's logits; 1.")
@click.option(
    "--top-k",
    type=int,
    metavar="K",
    help="Train from the K largest stored logits; an online teacher unless given.",
)
@click.option("--devices", type=int, metavar="N", help="Devices of the run; 8.")
@click.option("--seed", type=int, metavar="N", help="Seed of the runs; 42.")
@click.option("--quiet", is_flag=True, help="No remarks on stderr.")
def command(
    recipe: str,
    target: str,
    folder: str | None,
    method: Way | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Write the runs of the recommended recipe as files for a trainer.

    The recipe is a file that `plan --format toml` or `json` wrote. Every file says at its head what
    it cannot carry, and where its keys come from.
    """
    from planner.documents import parse, read_text
    from planner.export import Settings, export

    settings = Settings(**{key: value for key, value in given.items() if value is not None})
    files = export(parse(read_text(recipe), recipe), target, settings, method)
    if folder is None:
        several = len(files) > 1
        console.result(
            "\n".join(
                f"==> {name} <==\n{text}" if several else text for name, text in files.items()
            )
        )
        return
    for name, text in files.items():
        path = _place(folder) / name
        console.write_file(str(path), text)
        if not quiet:
            console.remark(f"Wrote {path}")


def _place(folder: str) -> Path:
    """The folder, made where it is missing; FileError where it cannot be."""
    from planner.files import FileError

    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"cannot make the folder '{folder}': {reason}; name another.") from error
    return place
