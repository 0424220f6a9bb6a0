"""What a solver process can be asked: a question's body in, its answer out; and a fit.

`work` runs in the solver processes, never in the front.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from planner.questions import QUESTIONS
from planner.questions.base import Answer
from planner.service import fitting, worker
from planner.service.reading import read_question
from planner.service.worker import Context, Reply, refusal

log = logging.getLogger("planner.service.worker")

Options = Mapping[str, Any]
Task = Callable[[bytes, Options, Context], Reply]
Batch = Callable[[Sequence[tuple[bytes, Options]], Context], list[Reply]]


def asking(name: str) -> Task:
    """The task that answers a question."""

    def ask(body: bytes, options: Options, context: Context) -> Reply:
        return _reply(read_question(name, body, context.limits).answer(), options)

    return ask


def plans(questions: Sequence[tuple[bytes, Options]], context: Context) -> list[Reply]:
    """Many plans, each as `plan` answers it; those under one coefficient set are one batch."""
    from planner.questions.plan.answer import solve_each
    from planner.questions.plan.question import PlanQuestion

    replies: dict[int, Reply] = {}
    groups: dict[Hashable, list[tuple[int, PlanQuestion]]] = {}
    for index, (body, options) in enumerate(questions):
        try:
            question = read_question("plan", body, context.limits)
        except Exception as error:  # a mistake or a fault: `refusal` tells them apart
            replies[index] = refusal(error, "plan")
            continue
        assert isinstance(question, PlanQuestion)
        if question.quick and not isinstance(question.coefficients, Mapping):
            law = (question.coefficients or "", question.context, question.vocabulary)
            groups.setdefault(law, []).append((index, question))
        else:
            replies[index] = answer("plan", body, options, context)
    for group in groups.values():
        problems, finished = [], {}
        for index, question in group:
            try:
                problems.append((index, question.problem()))
                finished[index] = question.finished
            except Exception as error:
                replies[index] = refusal(error, "plan")
        found = solve_each([each for _, each in problems], group[0][1].coefficient_set())
        for (index, _), each in zip(problems, found, strict=True):
            replies[index] = (
                refusal(each, "plan") if isinstance(each, Exception)
                else _reply(finished[index](each), questions[index][1])
            )  # fmt: skip
    return [replies[index] for index in range(len(questions))]


def _reply(found: Answer, options: Options) -> Reply:
    """An answer in the format asked for."""
    from planner.reports import FORMATS, Screen

    form = options.get("format", "json")
    screen = Screen(
        width=options.get("width", 100),
        colour=options.get("colour", False),
        unicode=options.get("unicode", True),
        details=options.get("details", False),
    )
    text = found.render(form, screen)
    return Reply(200, FORMATS[form].media_type, text.encode("utf-8", "replace"))


TASKS: dict[str, Task] = {
    **{name: asking(name) for name in QUESTIONS},
    "fit": fitting.fit,
    "check_fit": fitting.check,
}
BATCHES: dict[str, Batch] = {"plan": plans}


def warm() -> int:
    """Import everything and solve once, so that no client waits for it; the process id."""
    work("plan", [(b'{"budget": 1e21, "student": 1e9}', {})] * 2)
    return os.getpid()


def work(task: str, questions: Sequence[tuple[bytes, Mapping[str, Any]]]) -> list[Reply]:
    """The answers to questions of one task, in their order."""
    if len(questions) > 1 and task in BATCHES:
        try:
            return BATCHES[task](questions, worker.context())
        except Exception:
            log.exception("a batch of task %s failed; its questions are asked one by one", task)
    return [answer(task, body, options, worker.context()) for body, options in questions]


def answer(task: str, body: bytes, options: Mapping[str, Any], context: Context) -> Reply:
    """One task's reply; a mistake of the client becomes a problem, a fault of ours a 500."""
    try:
        return TASKS[task](body, options, context)
    except Exception as error:
        return refusal(error, task)
