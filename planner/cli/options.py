"""Options that several commands share, each set in one decorator.

    @click.command()
    @output_options()
    def command(output: Output) -> None: ...

`output` knows the format and where the result goes. Options of questions come from their fields
(`planner.cli.questions`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from planner.cli.output import Output
from planner.errors import ProblemError
from planner.reports import FORMATS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])


class Words(click.ParamType):  # type: ignore[type-arg]
    """Text that completes from known words; the library judges it, with its own suggestions."""

    name = "text"

    def __init__(self, words: Callable[[], Iterable[str]]) -> None:
        self.words = words

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The known words that start with what is typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.words() if word.startswith(incomplete)]


class OneOf(Words):
    """One of a registry's names, which is imported when a name is read."""

    def convert(self, value: Any, param: click.Parameter | None, _: click.Context | None) -> str:
        """The name; ProblemError for another."""
        known = list(self.words())
        if value not in known:
            option = param.opts[0] if param is not None else "the name"
            raise ProblemError(f"{option} '{value}' is unknown; known: {', '.join(known)}.")
        return str(value)


def output_options(
    formats: Collection[str] | None = None, default: str = "table", file: bool = True
) -> Callable[[Function], Function]:
    """--format, --output and --quiet, handed on as one `output`.

    `formats` are the names a command can write; all of FORMATS unless given. file: whether there
    is --output; without it the result goes to stdout.
    """
    names = tuple(FORMATS if formats is None else formats)
    options = [
        click.Option(
            ["--format", "format_name"],
            type=click.Choice(names),
            help=f"How to write the result; {default} unless given or shown by FILE's suffix.",
        ),
        click.Option(
            ["--output", "path"],
            type=click.Path(),
            metavar="FILE",
            help="Write to this file, replacing it whole; stdout unless given.",
        ),
        click.Option(["--details"], is_flag=True, help="Everything, not the brief alone."),
        click.Option(["--quiet"], is_flag=True, help="No remarks on stderr."),
    ]
    if not file:
        del options[1]
    return _bundle(options, "output", functools.partial(Output.choose, names, default))


def plot_option(words: str = "Draw it") -> Callable[[Function], Function]:
    """--plot, handed on as `plot`: a path where a picture can be written, or None."""
    return click.option(
        "--plot",
        metavar="FILE",
        type=click.Path(),
        callback=_can_draw,
        help=f"{words}: FILE ends in .png, .svg, .pdf or .html.",
    )


def _can_draw(_: click.Context, __: click.Parameter, path: str | None) -> str | None:
    """The path, refused before any work where nothing can be drawn there."""
    if path is not None:
        from planner.plots import style

        style.check(path)
    return path


def _bundle(
    options: list[click.Option], name: str, gather: Callable[..., Any]
) -> Callable[[Function], Function]:
    """Adds the options to a command's function and hands their values on as one argument."""
    keys = [option.name for option in options if option.name is not None]

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **values: Any) -> Any:
            own = {key: values.pop(key) for key in keys}
            return function(*args, **values, **{name: gather(**own)})

        params = list(getattr(function, "__click_params__", []))
        # click reverses the list: decorators nearest to the function come last in its help
        wrapper.__click_params__ = params + options[::-1]  # type: ignore[attr-defined]
        return wrapper  # type: ignore[return-value]

    return decorate
