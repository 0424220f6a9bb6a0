"""The page in a real Chromium: typing, sliding, links, downloads, and the numbers it shows."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planner import Problem, solve, units
from planner.questions import ask
from planner.questions.plan import needs_sheet, sheet
from planner.questions.plan.answer import Plan
from planner.reports import words
from tests.service.conftest import ROOT, Open, Server


def _cells(page: Any, selector: str) -> list[list[str]]:
    rows = page.locator(f"{selector} tbody tr")
    return [
        [cell.strip() for cell in rows.nth(index).locator("th, td").all_inner_texts()]
        for index in range(rows.count())
    ]


def _settled(page: Any, title: str) -> None:
    page.get_by_text(title, exact=True).wait_for()
    page.wait_for_selector("body[data-state=answered]")


def test_typing_a_budget_shows_the_command_lines_numbers(open_page: Open) -> None:
    """The recipe's cells, verdict, proof and split are the table's, to the last digit."""
    page = open_page()
    page.fill("#budget", "30 PFLOP-days")
    page.fill("#student", "3B")
    plan = solve(Problem.from_mapping({"budget": "30 PFLOP-days", "student": "3B"}))
    _settled(page, sheet.title(plan))

    # where the optimum leaves the measured range, the recipes inside it are those to take
    assert plan.decisive.recipe is not plan.recipe
    supervised = plan.recommendation.method == "supervised"
    first, second, third = (2, 0, 1) if supervised else (0, 1, 2)
    expected = [
        [label, cells[first], cells[second], cells[third]]
        for label, cells in words.model_rows(plan.decisive.models)
    ]
    assert _cells(page, "#models") == expected
    assert _cells(page, "#flops") == [
        [label, flops, units.format_share(share)]
        for label, flops, share in words.flops_rows(plan.recommendation.flops)
    ]
    assert page.inner_text("#verdict-text") == plan.verdict.text
    assert page.inner_text("#certificate") == words.certificate(plan.certificate)
    assert [row[3] for row in _cells(page, "#scenario-table")] == [
        units.format_loss(each.cross_entropy) if each.cross_entropy is not None else words.NOTHING
        for each in plan.scenarios
    ]
    legend = page.locator("#loss-chart .legend")  # the curves come after the recipe
    legend.get_by_text(units.format_loss(plan.cross_entropy)).first.wait_for()


def test_devices_show_hours_and_money_of_both_methods(open_page: Open) -> None:
    """The cells are the command line's; the link, the command and further questions have them."""
    page = open_page("#budget=1e21&student=1B")
    page.wait_for_selector("body[data-state=answered]")
    assert page.is_hidden("#resources")
    page.click("#devices summary")
    for name, value in (("accelerator", "H100"), ("count", "64"), ("price", "2.50")):
        page.fill(f"[name={name}]", value)
    page.locator("#resources-title").get_by_text("64 x H100 SXM").wait_for()
    page.locator("#resources-table").get_by_text("Cost, $").wait_for()

    found = ask("plan", budget="1e21", student="1B", accelerator="H100", count=64, price="2.50")
    grid = next(needs_sheet.grids(found.resources))
    rows = _cells(page, "#resources-table")
    assert rows == [list(row) for row in grid.rows]
    assert {row[0].partition(":")[0] for row in rows} == {"distillation", "supervised"}
    assert "no CO2" in page.inner_text("#resources-note")
    assert "--accelerator H100" in page.inner_text("#command")
    assert "accelerator=H100" in page.url

    page.select_option("#further [name=question]", "target")
    page.fill("#further [name=loss]", "2.3")
    page.click("#further button[type=submit]")
    page.locator("#further-answer").get_by_text("Hours, energy, cost on 64 x H100 SXM").wait_for()
    page.fill("[name=accelerator]", "H10")
    page.locator("#problem").get_by_text("did you mean H100").wait_for()


def test_a_slider_moves_the_plan_and_the_field(open_page: Open) -> None:
    """Arrow keys on the budget slider rewrite the field, the plan and the link."""
    page = open_page("#budget=1e21&student=1B")
    slider = page.locator("#budget-slider")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")

    assert page.input_value("#budget") == "1.26e21"
    _settled(page, "Plan for 1.26e21 FLOPs, 1B student, scenario full")
    page.wait_for_url("**budget=1.26e21**")


def test_the_link_holds_the_whole_state(open_page: Open) -> None:
    """A fresh browser that follows the link shows the same question and the same answer."""
    first = open_page()
    first.fill("#budget", "2e22")
    first.fill("#student", "2B")
    first.get_by_text("It exists", exact=True).click()
    first.get_by_label("Parameters", exact=True).fill("12B")
    first.get_by_label("Tokens", exact=True).fill("")
    first.get_by_label("or measured loss").fill("2.0")
    first.get_by_label("teacher-inference").check()
    first.get_by_text("Limits and coefficients").click()
    first.get_by_text("Stay where the law was measured").click()
    first.get_by_label("Serving tokens").fill("10B")
    first.get_by_label("Most student tokens").fill("400B")
    _settled(first, "Plan for 2e22 FLOPs, 2B student, scenario teacher-inference")
    first.wait_for_timeout(400)
    first.wait_for_selector("body[data-state=answered]")

    second = open_page(first.url.partition("/#")[2].join(["#", ""]))

    assert _cells(second, "#models") == _cells(first, "#models")
    assert second.inner_text("#verdict-text") == first.inner_text("#verdict-text")
    for selector in ("#budget", "#student", "[name=serving_tokens]", "[name=max_student_tokens]"):
        assert second.input_value(selector) == first.input_value(selector) != ""
    assert second.is_checked("[name=stay_in_domain]")
    assert second.inner_text("#command") == first.inner_text("#command")


def test_a_downloaded_recipe_is_read_back(open_page: Open, tmp_path: Path) -> None:
    """TOML and JSON pass the recipe reader; the command shown gives the same file."""
    page = open_page("#budget=1e21&student=1B&scenario=teacher-inference")
    files = {}
    for name in ("toml", "json", "csv"):
        with page.expect_download() as download:
            page.click(f"[data-format={name}]")
        files[name] = tmp_path / f"recipe.{name}"
        download.value.save_as(files[name])

    document = Plan.read_document(files["toml"])
    assert document == Plan.read_document(files["json"])
    command = page.inner_text("#command").split()
    assert command[0] == "plan"
    code = "from planner.cli import plan_entry; plan_entry()"
    run = subprocess.run(
        [sys.executable, "-c", code, *command[1:], "--format", "json", "--quiet"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert run.stdout == files["json"].read_text()
    assert files["csv"].read_text().startswith("scenario,chosen,")


def test_warnings_are_on_the_page(open_page: Open) -> None:
    """Outside the measured range the warning stands above the recipe, with the safe recipe."""
    page = open_page("#budget=3e22&student=3B&scenario=teacher-inference")
    plan = solve(Problem.from_mapping(
        {"budget": "3e22", "student": "3B", "scenario": "teacher-inference"}
    ))  # fmt: skip
    shown = page.locator("#warnings")

    assert shown.is_visible()
    assert shown.bounding_box()["y"] < page.locator("#models").bounding_box()["y"]
    texts = page.locator("#warnings li").all_inner_texts()
    assert [text.lower() for text in texts] == [each.text.lower() for each in plan.warnings]
    assert plan.in_domain is not None
    assert page.inner_text("#in-domain") == sheet.in_domain(plan.in_domain, plan)
    assert page.locator("#badges").get_by_text("outside the measured range").is_visible()


def test_the_dagger_is_explained_only_where_it_stands(open_page: Open) -> None:
    """A sign that no line carries has no legend."""
    page = open_page("#budget=1e21&student=1B")
    note, table = page.locator("#scenario-note"), page.locator("#scenario-table")
    table.get_by_text("teacher-inference †").wait_for()
    assert note.is_visible()
    page.evaluate("location.hash = '#budget=1e20&student=500M&teacher=size=1B,tokens=20B'")
    table.get_by_text("1B on 20B").first.wait_for()
    assert "†" not in table.inner_text()
    assert note.is_hidden()


def test_a_mistake_is_shown_where_it_is(open_page: Open, server: Server) -> None:
    """The server's sentence, the field marked, and for too small a budget a way out."""
    page = open_page("#budget=1e12&student=1B")
    sentence = server.post("/v1/plan", {"budget": "1e12", "student": "1B"}).json()["detail"]

    assert page.inner_text("#problem p") == sentence
    assert page.get_attribute("#budget", "aria-invalid") == "true"
    page.click("#problem button")
    page.wait_for_selector("body[data-state=answered]")
    assert page.is_hidden("#problem")
    assert page.input_value("#budget") == "7.433e15"

    page.fill("#budget", "plenty")
    page.wait_for_selector("body[data-state=refused]")
    assert "'plenty' is not an amount of compute I know" in page.inner_text("#problem")


def test_charts_answer_hover_keys_and_downloads(open_page: Open, tmp_path: Path) -> None:
    """Under the pointer and under the arrow keys the legend tells values; CSV holds the curves."""
    page = open_page()
    canvas = page.locator("#loss-chart .u-over")
    canvas.wait_for()
    page.wait_for_timeout(300)  # charts are drawn once more when the curves arrive
    canvas.scroll_into_view_if_needed()
    assert "at your 1e21 FLOPs" in page.inner_text("#loss-chart .legend")
    canvas.hover(position={"x": 0.7 * canvas.bounding_box()["width"], "y": 40})
    page.locator("#loss-chart .legend").get_by_text("(✳ extrapolated)").wait_for()

    page.mouse.move(5, 5)
    page.focus("#gap-chart .canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(150)
    assert re.search(r"teacher at \d\.\d{4}", page.inner_text("#gap-chart .legend"))
    assert "student" in page.inner_text("#live")
    for name in ("loss", "map", "split", "gap"):
        assert page.get_attribute(f"#{name}-chart .canvas", "aria-label")

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of Loss against budget").click()
    download.value.save_as(tmp_path / "loss.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "loss.csv").read_text())))
    losses = [float(row["full"]) for row in rows if row["full"]]
    # more compute is never worse; where a bound holds the plan it changes nothing but rounding
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(losses))
    assert losses[-1] < losses[0] - 0.5
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG of Where distillation wins").click()
    download.value.save_as(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    page.get_by_role("button", name="Table of Capacity gap").click()
    assert page.locator("#gap-chart table tbody tr").count() > 50


def test_the_page_fits_a_phone_and_the_dark(open_page: Open) -> None:
    """At 390 pixels nothing scrolls sideways; the theme follows the system and the button."""
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")

    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert page.locator("#summary").is_visible()
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "light"


def test_everything_can_be_reached_by_keyboard(open_page: Open) -> None:
    """Tab goes through skip link, buttons and fields, and every control has a name."""
    page = open_page()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.locator(":focus").evaluate("e => e.id || e.name || e.className"))

    assert reached[0] == "skip"
    for wanted in ("budget", "budget-slider", "student", "student-slider", "scenario"):
        assert wanted in reached
    nameless = page.locator("input, select, button").evaluate_all(
        "all => all.filter(e => !(e.labels?.length || e.getAttribute('aria-label')"
        " || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_numbers_under_the_pointer_are_formatted_as_everywhere(open_page: Open) -> None:
    """The page's formatting of counts and FLOPs agrees with planner.units over many values."""
    page = open_page()
    values = [3.0 * 1.37**power for power in range(110)] + [999.6e6, 9.9995e12, 1e12, 1.5e9]
    counts, flops = page.locator("body").evaluate(
        """async (_, values) => {
            const format = await import('/page/format.js');
            return [values.map((v) => format.count(v)), values.map((v) => format.flops(v))];
        }""",
        values,
    )

    assert counts == [units.format_count(value) for value in values]
    assert flops == [units.format_flops(value) for value in values]


def test_charts_of_an_earlier_question_say_so(open_page: Open) -> None:
    """Where the server has no time for the curves, the old ones fade until there are new ones."""
    page = open_page("#budget=1e21&student=1B")
    page.wait_for_selector("#loss-chart .legend >> text=wins below")
    busy = '{"type": "x", "title": "busy", "status": 503, "detail": "busy", "code": "busy"}'

    def refuse_curves(route: Any) -> None:
        if '"curves"' in (route.request.post_data or ""):
            route.fulfill(status=503, content_type="application/problem+json", body=busy)
        else:
            route.continue_()

    page.route("**/v1/explore", refuse_curves)
    page.fill("#student", "10B")
    page.wait_for_selector("body[data-charts=stale]")
    _settled(page, "Plan for 1e21 FLOPs, 10B student, scenario full")

    page.unroute("**/v1/explore")
    page.fill("#student", "3B")
    page.wait_for_selector("body:not([data-charts])")


def _asked(page: Any) -> list[Any]:
    """The plans that the page asks for from now on."""
    requests: list[Any] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/explore") and '"plan"' in (request.post_data or ""):
            requests.append(request)

    page.on("request", note)
    return requests


def test_the_plan_follows_a_drag(open_page: Open) -> None:
    """Verdicts are shown while the button is down; none is aborted, one is asked at a time."""
    page = open_page()
    page.wait_for_selector("#loss-chart .u-over")
    requests = _asked(page)
    page.on("requestfailed", lambda request: pytest.fail(f"aborted: {request.post_data}"))
    page.evaluate("""() => {
        window.shown = new Set();
        window.most = 0;
        let open = 0;
        const ask = window.fetch;
        window.fetch = async (path, options) => {
            const counts = String(options?.body).includes('"plan"');
            if (counts) window.most = Math.max(window.most, open += 1);
            try { return await ask(path, options); } finally { if (counts) open -= 1; }
        };
        const title = document.querySelector("#title");
        new MutationObserver(() => window.shown.add(title.textContent))
            .observe(title, { childList: true, characterData: true, subtree: true });
    }""")
    box = page.locator("#budget-slider").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    for step in range(150):
        page.mouse.move(box["x"] + (0.3 + 0.002 * step) * box["width"], y)
        page.wait_for_timeout(15)
    during = page.evaluate("window.shown.size")
    page.mouse.up()
    budget = page.input_value("#budget")
    _settled(page, f"Plan for {budget} FLOPs, 1B student, scenario full")

    assert during >= 3, "the verdict stood still while the slider moved"
    assert page.evaluate("window.most") == 1
    assert len(requests) < 150


def test_back_undoes_a_change(open_page: Open) -> None:
    """Each gesture is an entry of the history; Back and Undo bring the question before it."""
    page = open_page()
    for budget in ("2e21", "3e21"):
        page.wait_for_timeout(1000)  # another gesture
        page.fill("#budget", budget)
        _settled(page, f"Plan for {budget} FLOPs, 1B student, scenario full")
    page.go_back()
    _settled(page, "Plan for 2e21 FLOPs, 1B student, scenario full")
    assert page.input_value("#budget") == "2e21"
    page.click("#undo")
    _settled(page, "Plan for 1e21 FLOPs, 1B student, scenario full")


def test_the_recommended_recipe_comes_first(open_page: Open) -> None:
    """Headline, first line, first column and the map agree on the method, on the first screen."""
    page = open_page(viewport={"width": 1440, "height": 900})
    plan = solve(Problem.from_mapping({"budget": "1e21", "student": "1B"}))
    page.wait_for_selector("#map-chart .scale")

    assert plan.verdict.method == "supervised"
    assert page.inner_text("#verdict-word") == "Train without a teacher"
    first = page.inner_text("#choices .recommended")
    assert units.format_loss(plan.supervised.model.cross_entropy) in first
    assert page.locator("#models thead th").nth(1).inner_text() == "Supervised"
    for selector in ("#verdict-word", "#badges", "#choices", "#map-chart .canvas"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= 900, selector
    page.set_viewport_size({"width": 390, "height": 844})
    for selector in ("#verdict-word", "#badges", "#choices", "#map-chart .canvas"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= 844, selector


def test_a_drag_on_the_map_moves_the_question(open_page: Open) -> None:
    """Budget and student follow the pointer; the plan is asked for both."""
    page = open_page()
    page.wait_for_selector("#map-chart .scale")
    over = page.locator("#map-chart .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    for step in range(10):
        page.mouse.move(
            box["x"] + (0.4 + 0.02 * step) * box["width"], box["y"] + 0.4 * box["height"]
        )
    page.mouse.up()
    budget, student = page.input_value("#budget"), page.input_value("#student")

    assert units.parse_flops(budget, "budget") == pytest.approx(10 ** (18 + 9 * 0.58), rel=0.1)
    assert units.parse_count(student, "size") == pytest.approx(10 ** (8 + 4 * 0.6), rel=0.1)
    _settled(page, f"Plan for {budget} FLOPs, {student} student, scenario full")


def test_one_polite_region_speaks(open_page: Open) -> None:
    """A changed plan is said once, after the hand rests; nothing interrupts."""
    page = open_page("#budget=1e21&student=1B")
    live = page.locator("[aria-live]:not([aria-live=off])")
    assert live.count() == 1
    assert page.locator("main [role=alert]").count() == 0
    page.get_by_text("Train without a teacher. Train 1B", exact=False).first.wait_for(
        state="attached"
    )


def test_the_narrowest_page_does_not_scroll_sideways(open_page: Open) -> None:
    """320 pixels, as at 400% zoom on 1280 (WCAG 1.4.10), with every table open."""
    page = open_page("#budget=3e22&student=3B&scenario=teacher-inference",
                     viewport={"width": 320, "height": 640})  # fmt: skip
    page.wait_for_selector("#map-chart .scale")
    page.get_by_role("button", name="Table of Capacity gap").click()
    assert page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_chart_tables_have_units(open_page: Open) -> None:
    """Heads are words with units, numbers have the digits of the command line."""
    page = open_page()
    page.wait_for_selector("#loss-chart .u-over")
    page.get_by_role("button", name="Table of Loss against budget").click()
    table = page.locator("#loss-chart table")
    heads = table.locator("thead th").all_inner_texts()

    assert heads[:2] == ["budget, FLOPs", "supervised, nats/token"]
    assert table.locator("tbody th").first.inner_text() == "1e18"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of axe-core, from the npm registry."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm fetches axe-core; it is not on this machine")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "axe-core@4.10.3"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if done.returncode != 0:
        pytest.skip("the npm registry does not give axe-core")
    return folder / "node_modules/axe-core/axe.min.js"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 320])
def test_axe_finds_no_fault(open_page: Open, axe: Path, scheme: str, width: int) -> None:
    """The rules of WCAG 2.1 A and AA hold on the answered page with a further answer."""
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.wait_for_selector("#map-chart .scale")
    page.locator("#further button").click()
    page.locator("#further-answer table").first.wait_for()
    page.evaluate(axe.read_text(encoding="utf-8"))
    faults = page.evaluate(
        """async () => (await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a",
            "wcag21aa"] })).violations.map((each) =>
            [each.id, ...each.nodes.map((node) => node.target.join(" "))])"""
    )
    assert faults == []


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("near-optimal", "0.5%"),
        ("explain", "what limits it most"),
        ("target", "2.3"),
        ("teachers", "student"),
        ("family", "300M"),
    ],
)
def test_further_questions_are_answered_below(open_page: Open, question: str, says: str) -> None:
    """Each is asked about the problem above, with its own default where it needs a value."""
    page = open_page("#budget=1e22&student=1B&scenario=full&stay_in_domain=true")
    page.locator("#further select").first.select_option(question)
    page.locator("#further button").click()
    answer = page.locator("#further-answer")
    answer.locator("table").first.wait_for()

    assert says.lower() in answer.inner_text().lower()
    assert page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_further_question_that_has_no_answer_says_why(open_page: Open) -> None:
    """The server's sentence stands where the answer would; the plan above stays."""
    page = open_page()
    page.locator("#further select").first.select_option("target")
    page.fill("#further [name=loss]", "1.0")
    page.locator("#further button").click()
    page.locator("#further-answer .fault").wait_for()
    assert page.is_hidden("#problem")


def test_nothing_moves_by_itself_where_that_is_unwanted(open_page: Open) -> None:
    """Under prefers-reduced-motion a jump to the warnings is at once."""
    page = open_page("#budget=3e22&student=3B&scenario=teacher-inference", reduced_motion="reduce")
    page.wait_for_selector("#map-chart .scale")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.evaluate("document.querySelector('#badges .more').click()")
    first = page.evaluate("window.scrollY")
    page.wait_for_timeout(300)
    assert page.evaluate("window.scrollY") == first
