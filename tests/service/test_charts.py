"""What the charts say where there is nothing, or only extrapolation; and how they are read."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from coefficients import load
from planner import Problem, solve, units
from tests.service.conftest import Open

TEACHER = "#budget=1e21&student=1B&scenario=full&teacher=size=7B,tokens=140B"


def _legend(page: Any, name: str) -> list[list[str]]:
    rows = page.locator(f"#{name}-chart .legend li")
    return [
        [text for text in rows.nth(i).inner_text().split("\n") if text] for i in range(rows.count())
    ]


def _drawn(page: Any) -> Any:
    page.wait_for_selector("#split-chart .legend li")
    page.wait_for_selector("#map-chart .legend li")
    page.wait_for_timeout(400)  # charts are drawn once more when the curves arrive
    return page


def _table(page: Any, title: str, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"CSV of {title}").click()
    path = folder / "chart.csv"
    download.value.save_as(path)
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_an_existing_teacher_has_its_loss_in_the_legend(open_page: Open) -> None:
    """Under scenario `full` too: its pretraining is sunk, so the chosen curve has another name."""
    page = _drawn(open_page(TEACHER))
    plan = solve(Problem.from_mapping(
        {"budget": "1e21", "student": "1B", "teachers": ["size=7B,tokens=140B"]}
    ))  # fmt: skip
    chosen = [row for row in _legend(page, "loss") if row[0].startswith("pay teacher inference")]

    assert [row[-1] for row in chosen] == [units.format_loss(plan.cross_entropy)]
    assert "–" not in [row[-1] for row in _legend(page, "loss")]
    mark, line = page.evaluate(
        """() => {
            const wanted = getComputedStyle(document.documentElement)
              .getPropertyValue("--teacher-inference").trim();
            const canvas = document.querySelector("#loss-chart canvas");
            const pen = canvas.getContext("2d");
            const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
            const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
            // the user's mark: a run of five whole rows of its colour, wider than any line
            let widest = 0;
            for (let y = 0; y < canvas.height; y += 1) {
              let run = 0;
              for (let x = 0; x < canvas.width; x += 1) {
                const at = 4 * (y * canvas.width + x);
                const [red, green, blue] = pixels.subarray(at, at + 3);
                run = red === r && green === g && blue === b ? run + 1 : 0;
                widest = Math.max(widest, run);
              }
            }
            return [widest, 4];
        }"""
    )
    assert mark > line


def test_the_split_has_a_total_and_says_what_it_is_a_share_of(open_page: Open) -> None:
    """Where bounds leave compute over, the shares are of what is spent, and the total says so."""
    question = {"budget": "1e24", "student": "1B", "max_student_tokens": "10B",
                "scenario": "teacher-inference", "max_teacher_size": "3B"}  # fmt: skip
    page = _drawn(open_page("#" + "&".join(f"{key}={value}" for key, value in question.items())))
    plan = solve(Problem.from_mapping(question))
    total = next(row for row in _legend(page, "split") if row[0] == "total")

    assert plan.recipe.flops.total < 0.5 * plan.problem.budget
    share = f"{100 * plan.recipe.flops.total / plan.problem.budget:.1f}%"
    assert total[1] == f"{units.format_flops(plan.recipe.flops.total)} FLOPs, {share} of the budget"
    spent = plan.recommendation.flops.total
    assert spent != plan.recipe.flops.total  # the table beside it is the recommended recipe's
    assert page.inner_text("#compute-title") == "Compute of the recommended recipe"
    assert units.format_flops(spent) in page.inner_text("#flops tfoot")
    assert "share of the budget" not in page.evaluate(
        "fetch('/page/charts/split.js').then((answer) => answer.text())"
    )


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("#budget=1e21&student=20M", ("loss", "map", "split", "gap")),
        ("#budget=1e21&student=1B&teacher=size=7B,loss=5", ("loss", "map", "split", "gap")),
    ],
)
def test_every_chart_marks_a_plan_off_the_range(
    open_page: Open, question: str, names: tuple[str, ...]
) -> None:
    """A tiny student, an absurd teacher: each legend says at your point that it is extrapolated."""
    page = _drawn(open_page(question))
    for name in names:
        legend = " ".join(" ".join(row) for row in _legend(page, name))
        assert re.search(r"\(extrapolated\)|\d ✳", legend), (name, legend)


def test_ranges_hold_what_was_asked(open_page: Open, tmp_path: Path) -> None:
    """The map reaches down to a 20M student, the gap up to a teacher of loss 5."""
    small = _drawn(open_page("#budget=1e21&student=20M"))
    sizes = [float(row["student_parameters"])
             for row in _table(small, "Where distillation wins", tmp_path)]  # fmt: skip
    assert min(sizes) == pytest.approx(2e7)

    weak = _drawn(open_page("#budget=1e21&student=1B&teacher=size=7B,loss=5"))
    rows = _table(weak, "Capacity gap", tmp_path)
    assert max(float(row["teacher_cross_entropy"]) for row in rows) > 5
    assert {row["measured"] for row in rows} == {"true", "false"}


def test_crossovers_say_whether_they_are_measured(open_page: Open) -> None:
    """A crossover beyond the measured range carries the mark of extrapolation, one inside none."""
    import numpy as np

    from planner.questions.compare.answer import compare

    page = _drawn(open_page("#budget=1e20&student=500M&teacher=size=1B,tokens=20B"))
    problem = Problem.from_mapping(
        {"budget": 1e18, "student": "500M", "teachers": ["size=1B,tokens=20B"]}
    )
    curves = compare(problem, np.geomspace(1e18, 1e27, 55))[0].curves
    found = [cross for curve in curves for cross in curve.crossovers]
    shown = {row[0] for row in _legend(page, "loss")}

    assert {cross.in_domain for cross in found} == {True, False}
    for cross in found:
        text = next(line for line in shown if units.format_flops(cross.budget) in line)
        after = text.partition(units.format_flops(cross.budget))[2]
        assert after.startswith(" ✳") == (not cross.in_domain)


def test_budgets_without_a_plan_are_not_called_extrapolated(
    open_page: Open, tmp_path: Path
) -> None:
    """They have no value, no mark and nothing in the table's column; the legend says why."""
    page = _drawn(open_page("#budget=1e23&student=1B&min_student_tokens=10B"))
    rows = _table(page, "Loss against budget", tmp_path)
    empty = [row for row in rows if not row["full"]]
    assert empty
    assert {row["full_measured"] for row in empty} == {""}
    assert {row["full_measured"] for row in rows if row["full"]} <= {"true", "false"}

    page.focus("#split-chart .canvas")
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(150)
    legend = _legend(page, "split")
    assert legend[0] == ["at 1e18 FLOPs"]
    assert next(row for row in legend if row[0] == "total")[1] == "no plan fits"


def test_the_map_compares_nothing_where_a_cap_holds(open_page: Open, tmp_path: Path) -> None:
    """Beyond the budget that 20T tokens take, no method wins, and the legend says why."""
    page = _drawn(open_page("#budget=1e21&student=1B"))
    rows = _table(page, "Where distillation wins", tmp_path)
    smallest = min(float(row["student_parameters"]) for row in rows)
    row = [each for each in rows if float(each["student_parameters"]) == smallest]
    last = [float(each["budget_flops"]) for each in row if each["difference"]][-1]
    limit = 3 * load("busbridge2025-refit").flops.per_token(smallest) * 20e12

    assert last < limit
    assert all(not each["difference"] for each in row if float(each["budget_flops"]) > limit)
    page.focus("#map-chart .canvas")
    for _ in range(36):
        page.keyboard.press("ArrowRight")
    assert "held by a cap" in _legend(page, "map")[1][0]


def test_the_map_is_read_in_both_directions(open_page: Open) -> None:
    """Left and right change the budget, up and down the student, each leaving the other alone."""
    page = _drawn(open_page("#budget=1e21&student=1B"))
    page.focus("#map-chart .canvas")
    places = []
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        page.wait_for_timeout(80)
        title = _legend(page, "map")[0][0]
        found = re.fullmatch(r"near (\S+) FLOPs, (\S+) student", title)
        assert found, title
        places.append((float(found[1]), units.parse_count(found[2], "size")))
        assert title in page.inner_text("#live")
    budgets, sizes = zip(*places, strict=True)

    assert budgets[0] == budgets[1] == budgets[2] == budgets[5] < budgets[3] == budgets[4]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3] > sizes[4] == sizes[5] == sizes[1]


@pytest.mark.parametrize("width", [390, 820])
def test_tables_that_go_on_say_so(open_page: Open, width: int) -> None:
    """At 820 pixels the recipe fits; on a phone its end is shaded and the keys scroll to it."""
    page = open_page(viewport={"width": width, "height": 900})
    table = page.locator("#models-scroll")
    cut = table.evaluate("e => e.scrollWidth - e.clientWidth")

    if width == 820:
        assert cut <= 0
        return
    assert cut > 0
    assert "gradient" in table.evaluate("e => getComputedStyle(e).backgroundImage")
    table.focus()
    page.keyboard.press("End")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)
    assert table.evaluate("e => e.scrollLeft") > 0


def test_a_question_that_takes_long_is_seen_to_be_asked(open_page: Open) -> None:
    """While the server thinks a bar moves and the answer is busy; then both are gone."""
    page = _drawn(open_page("#budget=1e21&student=1B"))
    held: list[Any] = []
    page.route("**/v1/explore", lambda route: held.append(route))
    page.fill("#student", "2B")
    page.wait_for_selector("body[data-state=asking]")
    bar = "getComputedStyle(document.querySelector('main'), '::before').animationName"
    during = page.evaluate(bar)
    busy = page.get_attribute("#answer", "aria-busy")
    for route in held:
        route.continue_()
    page.wait_for_selector("body[data-state=answered]")

    assert (during, busy) == ("asking", "true")
    assert page.evaluate(bar) == "none"
    assert page.get_attribute("#answer", "aria-busy") is None
