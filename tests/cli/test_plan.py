"""`plan` as people run it: results on stdout, remarks on stderr, mistakes in one sentence."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner import solve
from planner.cli import COMMANDS, plan
from planner.cli import planner as planner_group
from planner.problem import Problem
from planner.questions.plan import answer as solver
from planner.questions.plan.answer import Plan
from planner.reports import FORMATS
from tests.plans import PLANS

Golden = Callable[[str, str], None]
QUESTION = ["--budget", "1e21", "--student", "1B"]


def run(arguments: Sequence[str], group: Any = plan, **environment: str) -> Result:
    """The command in this process; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100", **environment}).invoke(
        group, list(arguments), catch_exceptions=False
    )


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Problem]]:
    """answer(name) makes the solver answer with that plan and records what it was asked."""

    def use(name: str) -> list[Problem]:
        asked: list[Problem] = []

        def solve(problem: Problem, *others: object, **options: object) -> Plan:
            asked.append(problem)
            return PLANS[name]()

        monkeypatch.setattr(solver, "solve", solve)
        return asked

    return use


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("name", PLANS)
def test_stdout_is_the_report(
    name: str, format_name: str, answer: Any, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the report on stdout; what data formats cannot shout goes to stderr."""
    monkeypatch.setattr("planner.reports.brief.made", lambda: "2026-01-01, distillation-planner 0")
    answer(name)
    result = run([*QUESTION, "--format", format_name])
    typed = "\n```sh\nplan --budget 1e21 --student 1B --format brief\n```\n"

    assert result.exit_code == 0
    assert result.stdout.endswith(typed) == (format_name == "brief")
    golden(f"{name}{FORMATS[format_name].suffix}", result.stdout.removesuffix(typed))
    warnings = [] if FORMATS[format_name].shows_warnings else PLANS[name]().warnings
    assert result.stderr == "".join(f"Warning: {each.text}\n" for each in warnings)


def test_plan_and_planner_are_one_program(answer: Any) -> None:
    """`plan OPTIONS`, `plan plan OPTIONS` and `planner plan OPTIONS` give the same output."""
    answer("happy")
    outputs = {
        run(QUESTION).stdout,
        run(["plan", *QUESTION]).stdout,
        run(["plan", *QUESTION], planner_group).stdout,
    }

    assert len(outputs) == 1
    assert run(["schema"]).stdout == run(["schema"], planner_group).stdout


def test_every_option_reaches_the_problem(answer: Any) -> None:
    """The words of the command line and the words of the library are the same."""
    asked = answer("happy")
    run(
        [
            "--budget", "30 PFLOP-days", "--student", "300M", "--charge-inference", "0.5",
            "--charge-pretraining", "0.125", "--min-student-size", "10M",
            "--max-student-size", "20B", "--min-student-tokens", "2B", "--max-student-tokens", "3T",
            "--min-teacher-size", "200M", "--max-teacher-size", "7B", "--min-teacher-tokens", "1B",
            "--max-teacher-tokens", "15T", "--bounds", "paper", "--coefficients", "busbridge2025",
            "--serving-tokens", "1T", "--round-to-architecture", "--stay-in-domain",
            "--tolerance", "1e-5",
        ]
    )  # fmt: skip
    run(
        [*QUESTION, "--scenario", "teacher-inference", "--teacher", "size=7B,tokens=140B",
         "--teacher", "size=7B,loss=2.05,name=ours"]
    )  # fmt: skip

    assert asked[0] == Problem.from_mapping(
        {
            "budget": 30e15 * 86400, "student": 3e8, "charge_inference": 0.5,
            "charge_pretraining": 0.125, "min_student_size": 1e7, "max_student_size": 2e10,
            "min_student_tokens": 2e9, "max_student_tokens": 3e12, "min_teacher_size": 2e8,
            "max_teacher_size": 7e9, "min_teacher_tokens": 1e9, "max_teacher_tokens": 15e12,
            "bounds": "paper", "serving_tokens": 1e12, "round_to_architecture": True,
            "stay_in_domain": True, "tolerance": 1e-5, "coefficients": "busbridge2025",
        }
    )  # fmt: skip
    assert asked[1].charge_pretraining == 0.0
    assert [each.name for each in asked[1].teachers] == ["", "ours"]


MISTAKES = {
    "no-budget": [],
    "unknown-unit": ["--budget", "1 parsec"],
    "negative": ["--budget", "-1e21"],
    "zero-student": ["--budget", "1e21", "--student", "0"],
    "nan": ["--budget", "nan"],
    "absurd": ["--budget", "1e300"],
    "size-without-sense": ["--budget", "1e21", "--student", "huge"],
    "unknown-scenario": [*QUESTION, "--scenario", "ful"],
    "unknown-bounds": [*QUESTION, "--bounds", "papier"],
    "no-such-file": [*QUESTION, "--coefficients", "mine.toml"],
    "supervised-only": [*QUESTION, "--coefficients", "hoffmann2022"],
    "crossed-bounds": [*QUESTION, "--min-teacher-size", "7B", "--max-teacher-size", "1B"],
    "student-outside": [*QUESTION, "--max-student-size", "100M"],
    "bad-teacher": [*QUESTION, "--teacher", "7B"],
    "half-a-teacher": [*QUESTION, "--teacher", "size=7B"],
    "teacher-without-size": [*QUESTION, "--teacher", "loss=2.05"],
    "unreachable-teacher": [*QUESTION, "--teacher", "size=7B,loss=0.9"],
    "share": [*QUESTION, "--charge-inference", "1.5"],
    "tolerance": [*QUESTION, "--tolerance", "0"],
    "too-small-a-budget": ["--budget", "1e12", "--student", "1B"],
    "unknown-option": ["--budgt", "1e21"],
    "unknown-format": [*QUESTION, "--format", "xml"],
    "two-students": [*QUESTION, "--student", "3B"],
    "charged-pretraining": [
        *QUESTION,
        "--teacher",
        "size=7B,tokens=140B",
        "--charge-pretraining",
        "0.25",
    ],
    "trained-teacher": [*QUESTION, "--teacher", "size=7B,tokens=140B", "--scenario", "full"],
    "suffix-of-another-format": [*QUESTION, "--output", "plan.json", "--format", "toml"],
    "unknown-suffix": [*QUESTION, "--output", "plan.xyz"],
}


def test_mistakes(golden: Golden) -> None:
    """Every mistake: exit code 2, nothing on stdout, one clear text on stderr."""
    lines = []
    for name, arguments in MISTAKES.items():
        result = run(arguments)
        assert result.exit_code == 2, name
        assert result.stdout == "", name
        assert "Error: " in result.stderr, name
        lines.append(f"$ plan {' '.join(arguments)}\n{result.stderr}")

    golden("mistakes.txt", "\n".join(lines))


def test_an_unknown_command_is_met_with_the_nearest() -> None:
    """Suggestions for commands as for everything else."""
    result = run(["pln"])

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No such command 'pln'. Did you mean plan")


def test_a_bad_coefficient_file_lists_every_problem(tmp_path: Path) -> None:
    """All faults at once, with key and value."""
    path = tmp_path / "mine.toml"
    path.write_text("[supervised]\nE = -1\nA = 'x'\nB = 1\nalpha = 0.4\nbeta = 0.4\n")
    result = run([*QUESTION, "--coefficients", str(path)])

    assert result.exit_code == 2
    for fault in ("supervised.E = -1", "supervised.A = 'x'", "supervised.gamma"):
        assert fault in result.stderr


def test_output_takes_its_format_from_the_suffix(answer: Any, tmp_path: Path) -> None:
    """`--output plan.toml` writes TOML, says so on stderr, and prints nothing."""
    answer("extrapolated")
    path = tmp_path / "plan.toml"
    result = run([*QUESTION, "--output", str(path)])

    assert result.stdout == ""
    assert result.stderr.startswith(f"Wrote {path}\nWarning: ")
    assert Plan.read(path) == PLANS["extrapolated"]()


def test_quiet_leaves_stderr_empty(answer: Any, tmp_path: Path) -> None:
    """--quiet silences remarks, never the result."""
    answer("extrapolated")
    path = tmp_path / "plan.json"
    result = run([*QUESTION, "--quiet", "--output", str(path)])

    assert (result.stdout, result.stderr) == ("", "")
    assert json.loads(path.read_text())["schema_version"] == 2


def test_a_file_is_replaced_whole_and_keeps_its_mode(answer: Any, tmp_path: Path) -> None:
    """Old content stays until the new is complete; links are followed; no leftovers."""
    answer("happy")
    path, link = tmp_path / "plan.json", tmp_path / "link.json"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    run([*QUESTION, "--output", str(link)])

    assert json.loads(path.read_text())["kind"] == "plan"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.json", "plan.json"]


def test_a_failed_write_keeps_the_old_file(
    answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing but the new result."""
    answer("happy")
    path = tmp_path / "plan.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run([*QUESTION, "--output", str(path)])

    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: Cannot write '{path}': no space left on device; choose another path or make "
        "room.\n"
    )
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("", "it is a folder; name a file in it."), ("none/plan.json", "does not exist; create it")],
)
def test_an_unwritable_path_is_one_sentence(
    answer: Any, tmp_path: Path, name: str, sentence: str
) -> None:
    """A path that cannot be is a mistake like any other."""
    answer("happy")
    result = run([*QUESTION, "--output", str(tmp_path / name)])

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts can tell an interruption from a mistake."""

    def interrupted(problem: Problem, *others: object, **options: object) -> Plan:
        raise KeyboardInterrupt

    monkeypatch.setattr(solver, "solve", interrupted)

    assert run(QUESTION).exit_code == 130


def test_a_defect_is_not_dressed_up_as_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors meant for the user lose their traceback."""

    def defective(problem: Problem, *others: object, **options: object) -> Plan:
        raise ValueError("a defect")

    monkeypatch.setattr(solver, "solve", defective)

    with pytest.raises(ValueError, match="a defect"):
        run(QUESTION)


def process(
    arguments: Sequence[str], entry: str = "plan_entry", **environment: str
) -> subprocess.CompletedProcess[str]:
    """A whole process, as a shell would start it, with its output in pipes."""
    code = f"from planner.cli import {entry}; {entry}()"
    inherited = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**inherited, "PYTHONIOENCODING": "utf-8", **environment},
    )


def test_the_main_job_for_real() -> None:
    """The promised command gives a proven recipe beside the baseline, in plain text when piped."""
    result = process(QUESTION)

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b[" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    for piece in (
        "Train without a teacher",
        "Student",
        "Teacher",
        "▸ Supervised",
        "▸ full",
        "How sure",
        "FLOPs",
    ):
        assert piece in result.stdout
    assert len(result.stdout.splitlines()) <= 20
    assert "Proven optimum" in process([*QUESTION, "--details"]).stdout


def test_a_real_plan_out_of_domain_is_loud() -> None:
    """3B at 1e21 FLOPs with free teacher training: the headline itself says so."""
    result = process(["--budget", "1e21", "--student", "3B", "--scenario", "teacher-inference"])

    headline = result.stdout.splitlines()[1]
    assert "Not measured here" in headline or "Inside the measured range" in headline
    assert "! Optimum outside the measured range" in result.stdout
    assert len(result.stdout.splitlines()) <= 24


def test_a_terminal_that_knows_only_ascii() -> None:
    """Nothing fails for want of a sign."""
    result = process(QUESTION, PYTHONIOENCODING="ascii")

    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()


def test_real_json_is_a_recipe(tmp_path: Path) -> None:
    """What the real solver gives is a valid document, and asking its question again agrees."""
    path = tmp_path / "plan.json"
    result = process([*QUESTION, "--format", "json", "--output", str(path)])
    found = Plan.read(path)

    assert result.returncode == 0, result.stderr
    assert found.certificate.proven
    assert solve(found.problem).cross_entropy == pytest.approx(found.cross_entropy)


def test_a_mistake_in_a_process() -> None:
    """Exit code 2 and no traceback through the console script too."""
    result = process(["plan", "--budget", "much"], "planner_entry")

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: Budget 'much'")


def test_a_closed_pipe_is_quiet() -> None:
    """`plan ... | head -1` ends without a traceback."""
    code = "from planner.cli import plan_entry; plan_entry()"
    options = "--budget 1e21 --student 1B --format json --quiet"
    command = f"\"{sys.executable}\" -c '{code}' {options} | head -c 1"
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, encoding="utf-8", timeout=120
    )

    assert result.stdout == "{"
    assert result.stderr == ""


def test_the_main_job_imports_nothing_heavy() -> None:
    """Start-up stays far below that of cvxpy because none of these is imported."""
    heavy = (
        "pydantic",
        "cvxpy",
        "scipy",
        "matplotlib",
        "pandas",
        "torch",
        "asyncio",
        "fastapi",
        "pyarrow",
    )
    code = (
        "import sys\n"
        "from planner.cli import plan\n"
        f"plan.main({QUESTION!r}, prog_name='plan', standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120
    )

    assert result.stderr == "[]\n"


def test_data_formats_do_not_import_rich() -> None:
    """Scripts that read JSON do not pay for the table."""
    code = (
        "import sys\n"
        "from planner.cli import plan\n"
        f"arguments = {[*QUESTION, '--format', 'json', '--quiet']!r}\n"
        "plan.main(arguments, prog_name='plan', standalone_mode=False)\n"
        "print('rich.table' in sys.modules, file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120
    )

    assert result.stderr == "False\n"


def test_commands_are_imported_when_used() -> None:
    """A command's module is not loaded for another command's sake."""
    code = (
        "import sys\n"
        "from planner.cli import COMMANDS, plan\n"
        "plan.main(['coefficients'], prog_name='plan', standalone_mode=False)\n"
        "modules = {each.partition(':')[0] for each in COMMANDS.values()}\n"
        "modules |= {'pydantic'}\n"
        "print(sorted(modules & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120
    )

    assert result.stderr == "['planner.cli.coefficients']\n"
    assert len(COMMANDS) > 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--min-student-size", "1B", "--max-student-size", "1.1B"], "No buildable student"),
        (
            ["--student", "1B", "--min-teacher-size", "1B", "--max-teacher-size", "1.1B"],
            "No buildable teacher",
        ),
    ],
)
def test_bounds_between_two_buildable_sizes_are_answered(words: list[str], says: str) -> None:
    """Rounding to a size that is not there is a sentence, not a traceback."""
    found = run(["--budget", "1e21", "--round-to-architecture", *words])
    assert found.exit_code == 2
    assert says in found.output


def test_a_small_largest_teacher_plans_without_noise() -> None:
    """The inner problem's ends may be infinite; numpy's doubts are no user's business."""
    found = run([*QUESTION, "--max-teacher-size", "100M", "--quiet"])
    assert found.exit_code == 0
    assert "Warning" not in found.stderr


def test_the_picture_marks_what_is_recommended_and_what_was_measured(tmp_path: Path) -> None:
    """`--plot` and `plot()` draw the recommended recipe first; hollow dots are extrapolations."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    found = solve(Problem(budget=1e21, student=1e9, charge_pretraining=0.0))
    figure = found.plot(str(tmp_path / "plan.png"))
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    losses = figure.axes[0]
    names = [tick.get_text() for tick in losses.get_yticklabels()]
    dots = {
        round(float(line.get_ydata()[0])): line
        for line in losses.get_lines()
        if line.get_marker() == "o"
    }
    taken = found.recommendation.student.cross_entropy
    assert names[0].startswith("recommended: teacher-inference")
    assert float(dots[0].get_xdata()[0]) == pytest.approx(taken)
    hollow = {name.split("\n")[0] for k, name in enumerate(names)
              if dots[k].get_markerfacecolor() == "white"}  # fmt: skip
    outside = {each.name for each in found.scenarios if each.outside_domain and not each.chosen}
    assert hollow == outside | {"teacher-inference, unrestricted"}
