"""Plans on named devices: through the command line, the questions and the service's tasks."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from coefficients import CoefficientError, load
from laws.flops import transformer
from planner import units
from planner.accelerators import named
from planner.cli import plan
from planner.errors import PlannerError, ProblemError
from planner.models import find, models
from planner.problem import Problem, Teacher
from planner.questions import ask
from planner.questions.plan.answer import Plan, solve
from planner.questions.plan.question import PlanQuestion
from planner.verify import verify
from tests.examples import examples

H100 = named("H100")
BASE = {"budget": "1e21", "student": "1B"}
ON = ("--budget", "1e21", "--student", "1B", "--accelerator", "H100")
FULL = (
    *ON, "--count", "64", "--utilisation", "40%", "--price", "2.50", "--pue", "1.2",
    "--carbon", "300",
)  # fmt: skip


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(plan, list(arguments), catch_exceptions=False)


def document(*arguments: str) -> dict[str, Any]:
    """What --format json writes."""
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_hours_energy_and_money_are_those_of_the_plans_flops() -> None:
    """Through the command line: every phase by hand, and the sums exactly the plan's."""
    found = document(*FULL)
    for flops, part in (
        (found["recipe"]["flops"], found["resources"]),
        (found["supervised"]["flops"], found["resources"]["supervised"]),
    ):
        assert part["total"]["flops"] == pytest.approx(flops["total"], rel=1e-14)
        for each in (*part["phases"], part["total"]):
            hours = each["flops"] / (989.4e12 * 0.4) / 3600
            assert each["gpu_hours"] == pytest.approx(hours, rel=1e-12)
            assert each["days"] == pytest.approx(hours / 64 / 24, rel=1e-12)
            assert each["energy_kwh"] == pytest.approx(hours * 0.7 * 1.2, rel=1e-12)
            assert each["co2_kg"] == pytest.approx(hours * 0.7 * 1.2 * 0.3, rel=1e-12)
            assert each["cost"] == pytest.approx(hours * 2.5, rel=1e-12)
        for key in ("flops", "gpu_hours", "days", "energy_kwh", "co2_kg", "cost"):
            total = sum(each[key] for each in part["phases"])
            assert part["total"][key] == pytest.approx(total, rel=1e-14)
    names = [each["name"] for each in found["resources"]["phases"]]
    assert names == ["teacher pretraining", "teacher logits", "student training"]


@examples(15)
@given(
    st.floats(1e19, 1e24),
    st.sampled_from(["full", "best-case", "teacher-inference", "teacher-pretraining"]),
    st.floats(0.01, 1.0),
    st.floats(1, 1e4),
)
def test_phases_sum_to_the_budget_that_was_spent(
    budget: float, scenario: str, share: float, count: float
) -> None:
    """Whatever the charges: the phases hold the charged FLOPs, the calendar their days."""
    found = ask(
        "plan", budget=budget, student=3e8, scenario=scenario, accelerator="a100",
        utilisation=share, count=count,
    )  # fmt: skip
    part = found.resources

    assert part.total.flops == pytest.approx(found.decisive.recipe.flops.total, rel=1e-14)
    direct = found.decisive.supervised.flops.total
    assert part.supervised.total.flops == pytest.approx(direct, rel=1e-14)
    assert part.inside_domain == (found.decisive.recipe is not found.recipe)
    if part.calendar:  # to the microsecond of Python's calendar
        assert part.calendar[-1].last_day == pytest.approx(part.total.days, abs=1e-9, rel=1e-9)


def test_nothing_is_invented() -> None:
    """No accelerator, no resources; no price, no money; no carbon intensity, no CO2."""
    assert document("--budget", "1e21", "--student", "1B")["resources"] is None
    found = document(*ON)["resources"]

    assert found["currency"] is None
    assert found["total"]["cost"] is None
    assert found["total"]["co2_kg"] is None
    assert any("no money" in each for each in found["assumptions"])
    assert any("assumed" in each for each in found["assumptions"])
    assert "Cost" not in run(*ON).stdout


def test_every_format_holds_the_hours() -> None:
    """Table, Markdown, TOML and CSV show the cost that JSON holds; TOML reads back equal."""
    cost = document(*FULL)["resources"]["total"]["cost"]
    for name in ("table", "markdown"):
        text = run(*FULL, "--format", name).stdout
        assert "Hours, energy, cost on 64 x H100 SXM" in text
        assert f"{cost:,.0f}" in text
    [row] = [
        each
        for each in csv.DictReader(io.StringIO(run(*FULL, "--format", "csv").stdout))
        if each["chosen"] == "true"
    ]
    assert float(row["total_cost"]) == cost
    assert float(row["student_training_gpu_hours"]) > 0
    assert row["supervised_total_cost"]
    found = PlanQuestion(**BASE, accelerator="H100", price="2.50").answer()
    assert Plan.from_document(found.to_dict()).resources == found.resources


def test_budgets_in_gpu_hours_and_money() -> None:
    """They come back as the hours and the money that they were."""
    hours = document(
        "--budget", "1000 GPU-hours", "--student", "1B", "--accelerator", "H100",
        "--utilisation", "30%",
    )  # fmt: skip
    money = document("--budget", "$2.5k", "--student", "1B", "--accelerator", "h100 sxm",
                     "--price", "$2.50/h")  # fmt: skip

    assert hours["resources"]["total"]["gpu_hours"] == pytest.approx(1000, rel=1e-9)
    assert hours["problem"]["budget"] == pytest.approx(1000 * 3600 * 989.4e12 * 0.3)
    assert money["resources"]["total"]["cost"] == pytest.approx(2500, rel=1e-9)
    assert money["resources"]["supervised"]["total"]["cost"] == pytest.approx(2500, rel=1e-9)


@pytest.mark.parametrize("name", ["explain", "near-optimal", "teachers", "compare-supervised"])
def test_other_questions_take_such_budgets(name: str) -> None:
    """One way to write a budget, everywhere."""
    from planner.questions import QUESTIONS

    kind: Any = QUESTIONS[name].question
    found = kind(budget="$2.5k", accelerator="H100", price="2.50").budget
    low = found[0] if isinstance(found, tuple) else found

    assert low == pytest.approx(1000 * 3600 * 989.4e12 * 0.4)


MISTAKES = [
    (["--accelerator", "H10"], "did you mean H100"),
    (["--accelerator", "H100", "--utilisation", "140%"], "not a utilisation between 0 and 100%"),
    (["--price", "2.50"], "--price needs a device"),
    (["--accelerator", "H100", "--price", "2.50/"], "lacks its unit of time"),
    (["--accelerator", "H100", "--price", "2.50/parsec"], "not a unit of time"),
    (["--accelerator", "H100", "--price", "free"], "not money per GPU-hour"),
    (["--accelerator", "H100", "--pue", "0.5"], "PUE is 0.5"),
    (["--accelerator", "H100", "--carbon", "-4"], "Carbon intensity is -4"),
    (["--accelerator", "H100", "--start", "tomorrow"], "is no date"),
    (["--accelerator", "H100", "--passes", "0.5"], "Passes are 0.5"),
    (["--accelerator", "H100", "--storage-price", "-1"], "cannot be negative"),
    (["--requests", "1M"], "lacks prompt"),
    (["--requests", "1M", "--prompt", "1K", "--completion", "100", "--months", "1",
      "--serving-tokens", "1T"], "keep one"),
    (["--context", "0.5"], "Context is 0.5; it must be a whole number"),
    (["--teacher", "llama-3.1-9b"], "or Llama-3.1-8B"),
    (["--teacher", "llama-3.1-8b,tokens=3T"], "only loss="),
    (["--teacher", "Qwen3-30B-A3B"], "mixture of experts"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_mistakes_are_one_sentence(arguments: list[str], said: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run("--budget", "1e21", "--student", "1B", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_load_is_served_at_its_own_utilisation() -> None:
    """Requests x tokens x months are what the plan serves; decoding takes the hours it takes."""
    load = ("--requests", "1M", "--prompt", "1000", "--completion", "250", "--months", "12")
    found = document(*ON, *load, "--decode-utilisation", "4%")
    phases = {each["name"]: each for each in found["resources"]["phases"]}
    prefill, decode = phases["serving: prefill"], phases["serving: decode"]

    assert found["problem"]["serving_tokens"] == 1e6 * 1250 * 12
    assert prefill["flops"] + decode["flops"] == pytest.approx(found["recipe"]["flops"]["serving"])
    assert prefill["flops"] == pytest.approx(4 * decode["flops"])
    per_hour = {key: each["flops"] / each["gpu_hours"] for key, each in phases.items()}
    assert per_hour["serving: decode"] == pytest.approx(0.1 * per_hour["serving: prefill"])
    assert all("serving" not in each["name"] for each in found["resources"]["calendar"])
    assert any("serving counts" in each for each in found["resources"]["assumptions"])


def test_the_calendar_starts_when_it_is_asked_to() -> None:
    """Phases follow one another; without a start they have days alone."""
    slots = document(*FULL, "--start", "2026-12-01")["resources"]["calendar"]
    assert slots[0]["begins"] == "2026-12-01T00:00+00:00"
    for one, other in pairwise(slots):
        assert one["last_day"] == other["first_day"]
        assert one["ends"] == other["begins"]
    assert document(*ON)["resources"]["calendar"][0]["begins"] is None


def test_memory_says_what_fits_and_on_how_many() -> None:
    """A 30B student with Adam does not fit one H100; the fewest devices that hold it do hold it."""
    alone = ask("plan", budget="1e23", student="30B", accelerator="H100").resources.memory
    student = next(each for each in alone if each.model == "student from stored logits")
    assert not student.fits
    assert student.checkpointing
    assert student.with_checkpointing is not None and student.with_checkpointing > 1

    many = ask(
        "plan", budget="1e23", student="30B", accelerator="H100", count=student.with_checkpointing
    ).resources.memory
    assert next(each for each in many if each.model == student.model).fits
    beside = next(each for each in many if each.model == "student beside its teacher")
    assert beside.bytes_per_device > student.limit / 10
    assert {each.model for each in many} == {
        "teacher", "student from stored logits", "student beside its teacher", "supervised",
    }  # fmt: skip


def test_logits_are_stored_where_that_is_cheaper() -> None:
    """Two passes over the same logits pay their disk unless that is dear; one pass never does."""

    def decided(**more: Any) -> Any:
        return ask("plan", **BASE, accelerator="H100", price=2.5, **more).resources

    once, twice = decided(storage_price=20.0), decided(storage_price=20.0, passes=2)
    dear = decided(storage_price=1e9, passes=2)

    assert once.decision.method == "online"
    assert twice.decision.method == "stored"
    assert twice.decision.charge_inference == 0.5
    assert dear.decision.method == "online"
    full, top, sampled = once.storage
    tokens = ask("plan", **BASE).decisive.recipe.student.tokens
    assert full.bytes == pytest.approx(4 * 32_168 * tokens)
    assert top.bytes > sampled.bytes
    speed = 989.4e12 * 0.4 / (3 * float(load("busbridge2025").flops.per_token(1e9)))
    assert full.bytes_per_second == pytest.approx(4 * 32_168 * speed)


def test_a_real_teacher_costs_what_its_shape_says() -> None:
    """Size and FLOPs of the architecture at the context asked for, in the plan and its proof."""
    model = find("llama-3.1-8b")
    for context in (None, 16_384):
        question = PlanQuestion(
            budget="1e22", student="1B", teachers=("llama-3.1-8b",), context=context
        )
        found = question.answer()
        forward = model.forward_flops(context or 4096)
        flops = found.recipe.flops

        assert found.recipe.teacher.parameters == model.parameters
        assert flops.teacher_inference == pytest.approx(forward * found.recipe.student.tokens)
        assert flops.total == pytest.approx(1e22)
        assert found.certificate.proven
        for check in verify(found.to_dict(), question.coefficient_set()):
            assert check.passed, check


def test_a_measured_loss_makes_an_expert_mixture_a_teacher() -> None:
    """It costs its active parameters."""
    mixture = next(each for each in models() if each.mixture)
    teacher = Teacher.parse(f"{mixture.name},loss=2.0")

    assert teacher.size == mixture.active_parameters
    assert teacher.forward_flops == mixture.forward_flops()
    assert (teacher.loss, teacher.tokens) == (2.0, None)


def test_the_tokenizer_is_spoken_of() -> None:
    """A warning names the teacher's vocabulary until the plan counts it; then only the demand."""

    def said(**more: Any) -> str:
        found = ask("plan", **BASE, teachers=["llama-3.1-8b"], **more)
        [warning] = [each for each in found.warnings if each.code == "teacher-vocabulary"]
        text: str = warning.text
        return text

    assert "add --vocabulary 128256" in said()
    assert "--vocabulary" not in said(vocabulary=128_256)
    assert "llama-3" in said(vocabulary=128_256)
    plain = ask("plan", **BASE, teachers=["size=7B,tokens=2T"])
    assert "teacher-vocabulary" not in {each.code for each in plain.warnings}


@pytest.mark.parametrize("name", ["busbridge2025", "busbridge2025-refit"])
def test_context_and_vocabulary_replace_those_of_the_set(name: str) -> None:
    """Both ways of counting, and the set's own numbers are the default."""
    chosen = load(name)

    assert (chosen.context, chosen.vocabulary) == (4096, 32_168)
    assert chosen.counted_at(None, None) is chosen
    assert chosen.counted_at(8192, None).flops == transformer(8192)
    assert chosen.counted_at(None, 50_000).flops == transformer(4096, 50_000)
    again = chosen.counted_at(1024, 50_000)
    assert (again.context, again.vocabulary) == (1024, 50_000)


def test_a_set_that_counts_neither_refuses_them() -> None:
    """Rather than leaving the option without effect."""
    with pytest.raises(CoefficientError, match="2N"):
        load("hoffmann2022").counted_at(8192, None)


def test_longer_contexts_leave_fewer_tokens() -> None:
    """And the second opinion is asked under the same costs."""
    short = PlanQuestion(**BASE).answer()
    long = PlanQuestion(**BASE, context=65_536).answer()

    assert long.recipe.student.tokens < short.recipe.student.tokens
    assert "65,536" in long.coefficients.flop_convention
    other = long.second_opinion
    assert other is not None and other.optimum is not None
    assert other.optimum.flops.total == pytest.approx(1e21)
    size, tokens = other.optimum.student.parameters, other.optimum.student.tokens
    assert other.optimum.flops.student_training == pytest.approx(
        3 * float(transformer(65_536).per_token(size)) * tokens
    )


def test_plans_of_a_service_hold_resources_in_batches() -> None:
    """Each request its own devices and its own context, as when asked alone."""
    from planner.service.limits import Settings
    from planner.service.tasks import plans
    from planner.service.worker import Context

    asked = [
        {**BASE, "accelerator": "H100", "count": 8},
        {**BASE, "context": 16_384},
        {**BASE, "accelerator": "A100", "price": "2"},
        {**BASE, "accelerator": "nothing"},
    ]
    context = Context(limits=Settings().limits)
    replies = plans([(json.dumps(each).encode(), {}) for each in asked], context)

    for each, reply in zip(asked[:3], replies, strict=False):
        assert reply.status == 200
        alone = PlanQuestion(**each).answer().to_dict()
        assert json.loads(reply.body)["resources"] == json.loads(json.dumps(alone["resources"]))
    assert replies[3].status == 422


def test_a_problem_with_a_real_teacher_reads_back() -> None:
    """`Problem.to_mapping` keeps the teacher's FLOPs."""
    problem = Problem(1e21, 1e9, 1.0, 0.0, (Teacher.parse("llama-3.1-8b"),))
    assert Problem.from_mapping(problem.to_mapping()) == problem
    own = solve(problem).recipe.flops
    counted = replace(problem.teachers[0], forward_flops=None)
    other = solve(replace(problem, teachers=(counted,))).recipe.flops
    assert own.teacher_inference != pytest.approx(other.teacher_inference, rel=1e-3)


def test_data_that_repeats_is_spoken_of() -> None:
    """Nothing where it does not repeat, a remark up to four epochs, an alarm above; by hand."""
    found = ask("plan", **BASE)
    pair = found.decisive
    read = pair.recipe.student.tokens + pair.recipe.teacher.tokens
    direct = pair.supervised.model.tokens

    def warned(unique: float) -> dict[str, Any]:
        answer = ask("plan", **BASE, unique_tokens=unique)
        assert answer.recipe == found.recipe  # judged, not planned again
        return {each.scope: each for each in answer.warnings if each.code == "repeated-data"}

    assert warned(1.01 * max(read, direct)) == {}
    some = warned(read / 2)
    assert some["recipe"].value == pytest.approx(2)
    assert not some["recipe"].alarm
    many = warned(read / 10)
    assert many["recipe"].alarm
    assert many["baseline"].value == pytest.approx(10 * direct / read)
    own, decay = pair.recipe.student.tokens / 10, 15.387756
    worth = own * (1 + decay * (1 - math.exp(-9 / decay)))
    assert f"worth {units.format_count(worth)} new ones" in many["recipe"].text
    assert "does not count" in many["recipe"].text


def test_errors_are_the_planners() -> None:
    """In Python as on the command line."""
    with pytest.raises(PlannerError, match="unknown accelerator"):
        PlanQuestion(**BASE, accelerator="nothing")
    with pytest.raises(ProblemError, match="unknown model"):
        Problem.from_mapping({**BASE, "teachers": ["nothing"]})
