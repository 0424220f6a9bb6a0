"""Click groups: commands imported when used, a user's mistake turned into exit code 2."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

MISTAKE = 2
"""Exit code for everything the person asking can mend."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

QUESTION = "question"
"""In place of a module: the command is made from the question of its name."""

EXAMPLE = "Example: plan --budget 1e21 --student 1B"

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What stdout may run into; an error of a file that a command opened carries the file's name."""


class InputError(click.ClickException):
    """A user's mistake on its way out: one line on stderr, exit code 2, no usage text."""

    exit_code = MISTAKE


class ShortContext(click.Context):
    """Writes `plan` where click would write `plan plan`."""

    @property
    def command_path(self) -> str:
        """The words a user would type to get here."""
        path = super().command_path
        return "plan" if path == "plan plan" else path


class PlannerGroup(click.Group):
    """`planner COMMAND`: commands by name, imported on demand from "module:attribute"."""

    def __init__(self, name: str, registry: Mapping[str, str]) -> None:
        super().__init__(
            name,
            help="Plan model distillation under a compute budget, with a proven optimum.",
            epilog=EXAMPLE,
            no_args_is_help=True,
            context_settings=dict(_CONTEXT),
        )
        self.registry = registry
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_version,
                help="Show the version and exit.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the registry."""
        return list(self.registry)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for an unknown name."""
        if cmd_name not in self.registry:
            return None
        command = _load(cmd_name, self.registry[cmd_name])
        command.context_class = ShortContext
        if cmd_name == "plan":  # where people start
            others = textwrap.fill(", ".join(self.registry), 90, break_on_hyphens=False)
            command.epilog = f"{EXAMPLE}\n\n\b\nOther commands:\n{others}"
        command.context_settings = {**_CONTEXT, **command.context_settings}
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name; an unknown name is answered with the nearest known ones."""
        name = str(args[0])
        if name in self.registry or ctx.resilient_parsing or name.startswith("-"):
            found = super().resolve_command(ctx, args)
            if found[1] is not None and not ctx.resilient_parsing:
                _refuse_repeated(found[1], ctx, found[2])
            return found
        near = difflib.get_close_matches(name, list(self.registry), n=2, cutoff=0.5)
        hint = (
            f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(self.registry)}."
        )
        raise InputError(f"No such command '{name}'. {hint}")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; everything in planner.errors.INPUT_ERRORS becomes one clear line."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            from planner.errors import INPUT_ERRORS

            if isinstance(error, INPUT_ERRORS):
                raise InputError(_sentence(self._options_in(ctx, str(error)))) from error
            raise

    def _options_in(self, ctx: click.Context, text: str) -> str:
        """Fields in a message as the options that the user typed: min_teacher_size and so on."""
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        for each in command.params if command is not None else ():
            if isinstance(each, click.Option) and "_" in (each.name or ""):
                text = re.sub(rf"(?<![-\w'\"]){each.name}(?![\w'\"])", each.opts[0], text)
        return text

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Click's main, except that Ctrl-C leaves with 130 as in every other tool.

        The words typed are the context's object, for an answer to say how it was asked.
        """
        args = sys.argv[1:] if args is None else list(args)
        extra.setdefault("obj", shlex.join([prog_name or self.name or "", *args]))
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            if not standalone_mode:
                raise
            sys.exit(INTERRUPTED)
        except click.ClickException as error:
            if not standalone_mode:
                raise
            error.show()
            sys.exit(error.exit_code)
        except OSError as error:
            if not standalone_mode or error.filename is not None or error.errno not in _FULL:
                raise
            _drop_output()
            reason = (error.strerror or str(error)).lower()
            click.echo(f"Error: cannot write the result: {reason}; write it elsewhere.", err=True)
            sys.exit(MISTAKE)
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


class PlanGroup(PlannerGroup):
    """`plan OPTIONS` is `planner plan OPTIONS`; `plan COMMAND` is `planner COMMAND`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options where a command's name would stand mean the command `plan`."""
        if args:
            implied = args[0].startswith("-") and args[0] != "--version"
        else:
            implied = not ctx.resilient_parsing  # while completing, a command may still follow
        return super().parse_args(ctx, ["plan", *args] if implied else args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and the options of `plan`, which may stand alone."""
        found = super().shell_complete(ctx, incomplete)
        command = self.get_command(ctx, "plan")
        if command is not None and incomplete.startswith("-"):
            known = {item.value for item in found}
            inner = command.make_context("plan", [], parent=ctx, resilient_parsing=True)
            found += [
                item
                for item in command.shell_complete(inner, incomplete)
                if item.value not in known
            ]
        return found


def _refuse_repeated(command: click.Command, parent: click.Context, args: list[str]) -> None:
    """Raises InputError for an option with one value that is given twice; click keeps the last."""
    try:
        parser = command.make_parser(click.Context(command, parent=parent))
        _, _, order = parser.parse_args(args=list(args))
    except click.UsageError:
        return  # the command itself says what is wrong
    for each in order:
        single = isinstance(each, click.Option) and not each.multiple and not each.is_flag
        if single and order.count(each) > 1:
            raise InputError(f"{each.opts[0]} is given more than once; give it one value.")


def _drop_output() -> None:
    """What stdout still holds goes nowhere: Python would try to write it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _load(name: str, place: str) -> click.Command:
    if place == QUESTION:
        from planner.cli.questions import command

        return command(name)
    module, _, attribute = place.partition(":")
    found: click.Command = getattr(importlib.import_module(module), attribute)
    return found


def _sentence(text: str) -> str:
    """With a capital, unless the first word is a name: of a file, an option, a run."""
    first = text.partition(" ")[0].rstrip(",:;'")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("distillation-planner")
        except PackageNotFoundError:
            number = "unknown (not installed as a package)"
        click.echo(f"distillation-planner {number}")
        ctx.exit()
