"""One command per entry of `planner.questions.QUESTIONS`, made from the question's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from typing import Any, get_type_hints

import click

from planner.cli.options import Words, output_options, plot_option
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.questions import QUESTIONS
from planner.questions.base import Question


def command(name: str) -> click.Command:
    """The command of a question."""
    entry = QUESTIONS[name]
    kind = entry.question
    function: Callable[..., None] = _answer(name)
    function = output_options()(function)
    if entry.has_picture:
        function = plot_option()(function)
    function = server_options()(function)
    words = _words(kind, kind.EXAMPLE)
    example = " ".join(("plan", *(() if name == "plan" else (name,)), *words))
    return click.Command(
        name,
        callback=function,
        params=[*_options(kind), *_declared(function)],
        short_help=entry.summary,
        help=inspect.getdoc(kind),
        epilog=f"Example: {example}",
    )


def question_options(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The fields of a question as options of a command of its own; they arrive as keywords."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        declared = getattr(function, "__click_params__", [])
        function.__click_params__ = [  # type: ignore[attr-defined]
            *declared,
            *reversed(_options(QUESTIONS[name].question)),
        ]
        return function

    return decorate


def _answer(name: str) -> Callable[..., None]:
    def run(output: Output, server: Server | None, plot: str | None = None, **given: Any) -> None:
        given = {key: value for key, value in given.items() if value is not None and value != ()}
        if server is not None:
            QUESTIONS[name].question.of(given)  # a mistake is answered here and at once
            server.answer(name, given, output, plot)
            return
        answer = QUESTIONS[name].question.of(given).answer()
        output.answer(answer)
        if plot is not None:
            answer.plot(plot)
            output.remark(f"Wrote {plot}")

    return run


def _declared(function: Callable[..., None]) -> list[click.Parameter]:
    """The options that decorators of the function declared, in their order."""
    found: list[click.Parameter] = getattr(function, "__click_params__", [])
    return list(reversed(found))


def _options(kind: type[Question]) -> list[click.Parameter]:
    """The question's own fields first, those of every question last."""
    shared = {each.name for each in fields(Question)}
    own = inspect.get_annotations(kind)
    ordered = sorted(fields(kind), key=lambda each: (each.name not in own, each.name in shared))
    hints = get_type_hints(kind)
    return [_option(each, hints[each.name]) for each in ordered if "description" in each.metadata]


def _option(field: Field[Any], hint: Any) -> click.Parameter:
    """One field as an option; its words are read by the question itself."""
    shown = field.metadata
    if shown["argument"]:
        return click.Argument(
            [field.name], required=False, metavar=shown["metavar"], type=click.Path()
        )
    more: dict[str, Any] = dict(shown["click"])
    if hint is bool:
        flag = f"--{field.name.replace('_', '-')}"
        more |= {"is_flag": True} if not field.default else {"default": True}
        spelling = shown["flag"] or (f"{flag}/--no-{flag[2:]}" if field.default else flag)
    else:
        spelling = shown["flag"] or f"--{field.name.replace('_', '-')}"
        more["metavar"] = shown["metavar"]
        if shown["choices"] is not None:
            more["type"] = Words(shown["choices"])
    return click.Option([spelling, field.name], help=shown["description"], **more)


def _words(kind: type[Question], given: Mapping[str, Any]) -> list[str]:
    """The example's fields as a command line has them."""
    flags = {each.name: each.metadata.get("flag") for each in fields(kind)}
    words = []
    for name, value in given.items():
        flag = flags.get(name) or f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
            continue
        values = value if isinstance(value, list | tuple) else [value]
        text = ",".join(map(str, values))
        words += [flag, f'"{text}"' if " " in text or "*" in text else text]
    return words
