"""`teachers`: which of the teachers that exist is best for this student."""

from __future__ import annotations

from typing import Any

import click

from planner.cli.options import output_options, plot_option, problem_options
from planner.cli.output import Output
from planner.cli.remote import Server, server_options
from planner.errors import ProblemError
from planner.reports.sheet import SHEET_FORMATS


@click.command(
    "teachers",
    short_help="Rank existing teachers by the student they make.",
    epilog="Example: plan teachers --budget 1e21 --student 1B --logits stored",
)
@click.option(
    "--teachers",
    "source",
    metavar="FILE|catalogue",
    help="A TOML file with [[teacher]] tables, or the shipped open models; these unless --teacher "
    "is given.",
)
@click.option(
    "--logits",
    type=click.Choice(("paid", "stored")),
    default="paid",
    show_default=True,
    help="Whether the budget pays for the teacher's logits or they are stored already.",
)
@problem_options(without=("scenario", "charge_pretraining", "charge_inference",
                          "round_to_architecture"))  # fmt: skip
@server_options()
@plot_option()
@output_options(SHEET_FORMATS)
def teachers(
    source: str | None,
    logits: str,
    given: dict[str, Any],
    plot: str | None,
    output: Output,
    server: Server | None,
) -> None:
    """Rank teachers that exist by the loss of the student they make under the budget.

    A stronger teacher is not always better: its logits cost more, and it may be too far ahead of
    the student. Both are pointed out.

    \b
    plan teachers --budget 1e21 --student 1B
    plan teachers --budget 1e21 --student 1B --teacher size=7B,loss=2.05 --teacher size=2B,loss=2.2
    plan teachers --budget 1e22 --student 3B --teachers mine.toml --logits stored
    """
    from planner.analysis.catalogue import SHIPPED, Entry, load
    from planner.analysis.teachers import rank_teachers
    from planner.problem import Problem
    from planner.reports.sheet import render
    from planner.reports.teachers import sheet, verdict

    if server is not None:
        if source is not None and (source != SHIPPED or given.get("teacher")):
            raise ProblemError(
                "a server ranks the teachers of --teacher or its own catalogue; leave out "
                "--teachers, or --server."
            )
        server.report("/v1/teachers", {**given, "logits": logits}, output, plot)
        return
    named = given.pop("teacher", ())
    charge = 0.0 if logits == "stored" else 1.0
    asked = Problem.from_mapping({**given, "charge_inference": charge, "charge_pretraining": 0.0})
    spoken = Problem.from_mapping({**given, "charge_inference": 0.0, "teacher": named}).teachers
    entries = [Entry(each) for each in spoken]
    if source is not None or not entries:
        entries += load(source or SHIPPED)
    if logits == "paid":
        entries = [_priced(each) for each in entries]
    ranking = rank_teachers(asked, entries)
    output.write(render(sheet(ranking), output.format, output.screen))
    if plot is not None:
        from planner.plots import style
        from planner.plots import teachers as picture

        style.save(picture.draw(ranking), plot, verdict(ranking))
        output.remark(f"Wrote {plot}")


def _priced(entry: Any) -> Any:
    if entry.teacher.size is None:
        raise ProblemError(
            f"the teacher '{entry.name}' has no size, so its logits have no price; add its size, "
            "or use --logits stored."
        )
    return entry
