"""Options that several commands share, each set in one decorator.

    @click.command()
    @problem_options()
    @output_options()
    def command(given: dict[str, Any], output: Output) -> None: ...

`given` is what Problem.from_mapping reads; `output` knows the format and where the result goes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from planner import units
from planner.cli.output import Output
from planner.problem import BOUNDS, VARIABLES, Problem
from planner.reports import FORMATS
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS

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


def _coefficient_sets() -> Iterable[str]:
    from coefficients import available

    return available()


def _option(name: str, help_text: str, metavar: str | None = None, **rest: Any) -> click.Option:
    flag = rest.get("is_flag", False)
    return click.Option([name], help=help_text, metavar=None if flag else metavar, **rest)


def _between(variable: str) -> list[click.Option]:
    words = variable.replace("_", " ").replace("size", "parameters")
    low, high = (units.format_count(end) for end in getattr(BOUNDS["practical"], variable))
    name = variable.replace("_", "-")
    return [
        _option(f"--min-{name}", f"Fewest {words} allowed; {low} unless given.", "N"),
        _option(f"--max-{name}", f"Most {words} allowed; {high} unless given.", "N"),
    ]


def _make_problem_options() -> list[click.Option]:
    return [
        _option("--budget", "Total FLOPs: 1e21, 1 ZFLOP, 30 PFLOP-days.", "FLOPS"),
        _option(
            "--student",
            "The student's non-embedding parameters, like 1B; left out, the size is planned too.",
            "SIZE",
        ),
        _option(
            "--scenario",
            f"Which of the teacher's costs the budget pays; {DEFAULT_SCENARIO} unless given.",
            "|".join(SCENARIOS),
            type=Words(lambda: SCENARIOS),
        ),
        _option("--charge-inference", "Share of the teacher's inference to pay, 0 to 1.", "SHARE"),
        _option(
            "--charge-pretraining",
            "Share of the teacher's pretraining to pay, 0 to 1 (1/k if k students share it).",
            "SHARE",
        ),
        _option(
            "--teacher",
            "A teacher that exists: size=7B,tokens=140B or size=7B,loss=2.05, also name=...; "
            "repeat to choose among several.",
            "TEACHER",
            multiple=True,
        ),
        *(option for variable in VARIABLES for option in _between(variable)),
        _option(
            "--bounds",
            "The bounds above where none is given: practical (the default), or paper (1e6 to 1e17 "
            "for all four).",
            "|".join(BOUNDS),
            type=Words(lambda: BOUNDS),
        ),
        _option(
            "--coefficients",
            "A shipped coefficient set, or the path of a TOML file; "
            f"{Problem.coefficients} unless given.",
            "NAME|FILE",
            type=Words(_coefficient_sets),
        ),
        _option(
            "--serving-tokens",
            "Tokens the student will serve; their inference is paid from the budget.",
            "TOKENS",
        ),
        _option("--round-to-architecture", "Plan with buildable model sizes only.", is_flag=True),
        _option("--stay-in-domain", "Plan only where the law was measured.", is_flag=True),
        _option(
            "--tolerance",
            f"Largest gap to the proven bound, in nats; {Problem.tolerance:g} unless given.",
            "NATS",
        ),
    ]


def problem_options(without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Every option that makes a Problem, handed on as one mapping `given`.

    `without` names options a command replaces by its own, such as ("budget",). Options left out on
    the command line are absent from `given`.
    """
    options = [each for each in _make_problem_options() if each.name not in without]
    return _bundle(options, "given", _given)


def output_options(
    formats: Collection[str] | None = None, default: str = "table"
) -> Callable[[Function], Function]:
    """--format, --output and --quiet, handed on as one `output`.

    `formats` are the names a command can write; all of FORMATS unless given.
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
        click.Option(["--quiet"], is_flag=True, help="No remarks on stderr."),
    ]
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


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, (), False)}


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
