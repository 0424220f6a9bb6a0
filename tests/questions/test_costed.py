"""Hours, energy and money of every question whose answer is a recipe or a budget, and devices of
one's own."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.accelerators import named
from planner.cli import plan
from planner.errors import PlannerError, QuantityError
from planner.questions import QUESTIONS, ask
from planner.questions.base import Answer
from planner.service.limits import Limits
from planner.service.reading import read_question

ASKED: dict[str, dict[str, Any]] = {
    "target": {"loss": 2.3, "student": "1B"},
    "evaluate": {"student": "1B", "student_tokens": "40B", "teacher": "size=2B,tokens=40B"},
    "near-optimal": {"budget": "1e21", "student": "1B"},
    "teachers": {"budget": "1e21", "student": "1B", "teachers": ["llama-3.1-8b", "size=3B,loss=2"]},
    "family": {"budget": "1e22", "students": "300M,1Bx2"},
    "compare-supervised": {"budget": "1e20:1e21:2", "students": "300M,1B"},
}
ON = {"accelerator": "H100", "count": 64, "price": "2.50", "pue": 1.2, "carbon": 300}
CHIP = '[[accelerator]]\nname = "My Chip"\nbf16_flops = 5e14\nfp8_flops = 1e15\nsource = "ours"\n'


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(plan, list(arguments), catch_exceptions=False)


def costs(name: str, found: Any) -> dict[str, float]:
    """FLOPs of every recipe of an answer, from the answer's own numbers."""
    if name == "target":
        return {each.method: each.budget for each in found.ways if each.reachable}
    if name == "evaluate":
        best, direct = found.best.flops.total, found.supervised.flops.total
        return {"your recipe": found.cost, "best": best, "supervised": direct}
    if name == "near-optimal":
        cheap = found.cheapest_teacher.flops.total
        return {"best plan": 1e21, "cheapest teacher": cheap, "supervised": 1e21}
    if name == "teachers":
        rows = {each.entry.name: each.recipe.flops.total for each in found.candidates}
        return {**rows, "supervised": 1e21}
    if name == "family":
        return {"one teacher": found.flops.total, "supervised": 1e22}
    rows = {
        each.name(curve.scenario, k): float(curve.plans.flops[k])
        for each in found.comparisons
        for curve in each.curves
        for k in range(each.budgets.size)
    }
    direct = {
        each.name("supervised", k): float(budget)
        for each in found.comparisons
        for k, budget in enumerate(each.budgets)
    }
    return rows | direct


@pytest.mark.parametrize("name", ASKED)
def test_every_recipe_is_costed_beside_the_supervised_one(name: str) -> None:
    """Totals are the answer's FLOPs at 40% of the peak by hand; phases sum to them; nothing
    without an accelerator; the document reads back."""
    assert ask(name, **ASKED[name]).resources == ()
    found = ask(name, **ASKED[name], **ON)
    expected = costs(name, found)

    assert {each.name for each in found.resources} == set(expected)
    for each in found.resources:
        total = each.total
        hours = total.flops / (989.4e12 * 0.4) / 3600
        assert total.flops == pytest.approx(expected[each.name], rel=2e-9)
        assert sum(part.flops for part in each.phases) == pytest.approx(total.flops, rel=1e-14)
        assert total.gpu_hours == pytest.approx(hours, rel=1e-12)
        assert total.days == pytest.approx(hours / 64 / 24, rel=1e-12)
        assert total.energy_kwh == pytest.approx(hours * 0.7 * 1.2, rel=1e-12)
        assert total.co2_kg == pytest.approx(hours * 0.7 * 1.2 * 0.3, rel=1e-12)
        assert total.cost == pytest.approx(hours * 2.5, rel=1e-12)
    kind: type[Answer] = QUESTIONS[name].answer
    read: Any = kind.from_document(json.loads(json.dumps(found.to_dict())))
    assert read.resources == found.resources


@pytest.mark.parametrize("name", ["target", "evaluate", "compare-supervised"])
def test_every_format_of_them_holds_the_cost(name: str) -> None:
    """Table, Markdown and CSV show the cost that JSON holds; without an accelerator none does."""
    given = [
        word
        for key, value in ASKED[name].items()
        for word in (f"--{key.replace('students', 'student').replace('_', '-')}", str(value))
    ]  # fmt: skip
    devices = [word for key, value in ON.items() for word in (f"--{key}", str(value))]
    found = json.loads(run(name, *given, *devices, "--format", "json").stdout)["resources"]
    for form in ("table", "markdown"):
        text = run(name, *given, *devices, "--format", form, "--details").stdout
        assert "Hours, energy, cost on 64 x H100 SXM" in text
        assert f"{found[0]['total']['cost']:,.0f}" in text
    rows = list(csv.DictReader(io.StringIO(run(name, *given, *devices, "--format", "csv").stdout)))
    known = {each["total"]["cost"] for each in found}
    assert {float(row["total_cost"]) for row in rows if row["total_cost"]} <= known
    assert any(row["total_cost"] for row in rows)
    assert "total_cost" not in run(name, *given, "--format", "csv").stdout


def test_a_plans_file_is_evaluated_in_hours(tmp_path: Path) -> None:
    """Devices go with a document; parts of a recipe do not."""
    path = tmp_path / "plan.toml"
    written = run("--budget", "1e21", "--student", "1B", "--format", "toml", "--output", str(path))
    assert written.exit_code == 0
    found = json.loads(
        run("evaluate", str(path), "--accelerator", "H100", "--format", "json").stdout
    )
    assert found["resources"][0]["total"]["gpu_hours"] == pytest.approx(
        1e21 / (989.4e12 * 0.4) / 3600, rel=1e-6
    )
    assert run("evaluate", str(path), "--student", "1B").exit_code == 2


def test_devices_of_ones_own(tmp_path: Path) -> None:
    """In the budget and as the accelerator, from a file and as objects; the catalogue stays."""
    path = tmp_path / "mine.toml"
    path.write_text(CHIP)
    budget = {"budget": "64xMyChip*14d", "student": "1B"}
    filed = ask("plan", **budget, accelerators=str(path), accelerator="my-chip")
    sent = ask(
        "plan", **budget, accelerator="MyChip",
        accelerators=({"name": "My Chip", "bf16_flops": 5e14, "source": "ours"},),
    )  # fmt: skip

    assert filed.problem.budget == pytest.approx(64 * 5e14 * 14 * 86400 * 0.4)
    assert filed.resources.accelerator == "My Chip"
    assert filed.resources.total.gpu_hours == sent.resources.total.gpu_hours
    assert filed.resources.total.energy_kwh is None
    both = ask("plan", **budget, accelerators=str(path), accelerator="H100").resources
    assert both.accelerator == "H100 SXM"


def test_a_service_opens_no_file_of_accelerators(tmp_path: Path) -> None:
    """Text is refused before it could be a path, objects are taken."""
    path = tmp_path / "mine.toml"
    path.write_text(CHIP)
    asked = {"budget": "64xMyChip*14d", "student": "1B"}
    with pytest.raises(PlannerError, match="as an object"):
        read_question("plan", json.dumps({**asked, "accelerators": str(path)}).encode(), Limits())
    own = [{"name": "MyChip", "bf16_flops": 5e14, "source": "ours"}]
    found: Any = read_question(
        "plan", json.dumps({**asked, "accelerators": own}).encode(), Limits()
    )
    assert found.budget == pytest.approx(64 * 5e14 * 14 * 86400 * 0.4)


MISTAKES = [
    ('[[accelerator]]\nname = "A"\nbf16_flops = 5e14\n', "source is missing"),
    ('[[accelerator]]\nname = "A"\nbf16_flops = -1\nsource = "x"\n', "must be a positive number"),
    ('[[accelerator]]\nname = "A"\nbf16_flops = 1\nsource = "x"\npeak = 3\n', "unknown key 'peak'"),
    ("accelerator = 3\n", "must hold [[accelerator]] tables"),
    ("[[accelerator\n", "is not TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Exit code 2 and the fault."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    result = run("--budget", "1e21", "--student", "1B", "--accelerators", str(path))
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_fp8_counts_its_own_peak() -> None:
    """Hours and hardware budgets at the FP8 peak; a device without it is refused by name."""
    base = {"budget": "1e21", "student": "1B", "accelerator": "H100"}
    plain, fast = (ask("plan", **base, precision=each).resources for each in ("bf16", "fp8"))
    device = named("H100")
    assert device.fp8_flops is not None

    ratio = plain.total.gpu_hours / fast.total.gpu_hours
    assert ratio == pytest.approx(device.fp8_flops / device.bf16_flops)
    assert any("FP8" in each for each in fast.assumptions)
    found = ask("plan", **{**base, "budget": "64xH100*14d"}, precision="fp8")
    assert found.problem.budget == pytest.approx(64 * device.fp8_flops * 14 * 86400 * 0.4)
    with pytest.raises(QuantityError, match="has no FP8 products"):
        ask("plan", **{**base, "accelerator": "A100"}, precision="fp8")
    with pytest.raises(PlannerError, match="unknown precision 'fp4'"):
        ask("plan", **base, precision="fp4")


def test_prefill_has_its_own_utilisation() -> None:
    """Apart from the teacher's logits, whose share it takes unless given."""
    load = {"requests": "1M", "prompt": 1000, "completion": 250, "months": 12}
    base = {"budget": "1e21", "student": "1B", "accelerator": "H100", **load}
    found = ask("plan", **base, inference_utilisation="30%", prefill_utilisation="60%").resources
    same = ask("plan", **base, inference_utilisation="30%").resources

    def speed(resources: Any, name: str) -> float:
        [each] = [each for each in resources.phases if each.name == name]
        return float(each.flops / each.gpu_hours)

    logits, prefill = "teacher logits", "serving: prefill"
    assert speed(found, prefill) == pytest.approx(2 * speed(found, logits))
    assert speed(same, prefill) == pytest.approx(speed(same, logits))


@pytest.mark.parametrize("name", ASKED)
def test_mistakes_are_one_sentence_everywhere(name: str) -> None:
    """140%, an unknown device and a price without its unit, in each of these questions."""
    for more, said in (
        ({"accelerator": "H100", "utilisation": "140%"}, "not a utilisation"),
        ({"accelerator": "H10"}, "did you mean H100"),
        ({"accelerator": "H100", "price": "2.50/"}, "lacks its unit of time"),
        ({"count": 8}, "--count needs a device"),
    ):
        with pytest.raises(PlannerError, match=said):
            ask(name, **ASKED[name], **more)
