"""`--server URL` on every command that has an endpoint: the bytes and sentences of a local run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import planner
from tests.service.conftest import Server, serving

HARDWARE = "64xH100*14d@40%"
ASKED: list[list[str]] = [
    ["plan", "--budget", HARDWARE, "--student", "1B", "--round-to-architecture"],
    ["compare-supervised", "--budget", "1e20:1e22:5", "--student", "300M,1B"],
    ["compare-supervised", "--budget", HARDWARE, "--teacher", "size=7B,tokens=140B"],
    ["target", "--loss", "2.3", "--student", "1B"],
    ["target", "--like", "size=3B,tokens=60B", "--student", "1B", "--bounds", "paper"],
    ["evaluate", "--student", "1B", "--student-tokens", "40B", "--teacher", "size=7B,loss=2.05",
     "--scenario", "teacher-inference"],
    ["explain", "--budget", HARDWARE, "--student", "1B", "--round-to-architecture"],
    ["near-optimal", "--budget", HARDWARE, "--student", "1B", "--compute", "10%"],
    ["family", "--budget", HARDWARE, "--student", "300M,1Bx2", "--weight", "1,2"],
    ["family", "--student", "300M,1B", "--target", "2.6,2.4", "--cached"],
    ["teachers", "--budget", HARDWARE, "--student", "1B", "--logits", "stored"],
    ["teachers", "--budget", "1e21", "--student", "1B", "--teacher", "size=7B,loss=2.05",
     "--teacher", "size=2B,tokens=40B,name=ours", "--stay-in-domain"],
]  # fmt: skip
MISTAKES: list[list[str]] = [
    ["target", "--loss", "0.5", "--student", "1B"],
    ["family", "--budget", "1e12", "--student", "300M,1B"],
    ["explain", "--budget", "much", "--student", "1B"],
    ["near-optimal", "--budget", "1e12", "--student", "1B"],
    ["compare-supervised", "--budget", "1e22:1e20", "--student", "1B"],
    ["teachers", "--budget", "1e21", "--student", "1B", "--coefficients", "hoffmann2022"],
]


def _run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(planner, list(words), catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_a_server_answers_as_the_command_does(server: Server, words: list[str]) -> None:
    """The same bytes on stdout and the same remarks, as a table and as a document."""
    for form in ("table", "json"):
        here = _run(*words, "--format", form)
        there = _run(*words, "--format", form, "--server", server.url)

        assert here[0] == 0
        assert there == here


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_server_refuses_as_the_command_does(server: Server, words: list[str]) -> None:
    """Exit code 2 and the same sentence."""
    here, there = _run(*words), _run(*words, "--server", server.url)

    assert here[0] == 2
    assert there == here


def test_ones_own_devices_travel_with_the_question(server: Server, tmp_path: Path) -> None:
    """The file of accelerators is read here, its tables are judged there."""
    path = tmp_path / "mine.toml"
    path.write_text('[[accelerator]]\nname = "My Chip"\nbf16_flops = 5e14\nsource = "ours"\n')
    words = ("target", "--loss", "2.3", "--student", "1B", "--accelerators", str(path),
             "--accelerator", "mychip", "--price", "2", "--details")  # fmt: skip
    here = _run(*words)

    assert "on 1 x My Chip" in here[1]
    assert _run(*words, "--server", server.url) == here


def test_a_recipe_file_is_judged_by_a_server(server: Server, tmp_path: Path) -> None:
    """The file is read here, its document judged there."""
    recipe = str(tmp_path / "recipe.toml")
    assert _run("plan", "--budget", "1e21", "--student", "1B", "--output", recipe)[0] == 0

    assert _run("evaluate", recipe, "--server", server.url) == _run("evaluate", recipe)


@pytest.mark.parametrize("name", ["nonexist.toml", "sets/mine", "./mine"])
def test_an_absent_coefficient_file_is_said_to_be_absent_here(server: Server, name: str) -> None:
    """A server reads none of the user's files: the sentence says whose machine is meant."""
    code, out, err = _run(
        "plan", "--budget", "1e21", "--student", "1B", "--coefficients", name,
        "--server", server.url,
    )  # fmt: skip

    assert (code, out) == (2, "")
    assert f"no coefficient file '{name}' here" in err
    assert "Unknown coefficient set" not in err


def test_own_coefficients_travel_with_every_question(server: Server, tmp_path: Path) -> None:
    """Not with `plan` alone."""
    from importlib import resources

    path = tmp_path / "mine.toml"
    text = (resources.files("coefficients") / "busbridge2025.toml").read_text()
    path.write_text(text.replace('name = "busbridge2025"', 'name = "mine"').replace("3355", "3400"))
    words = ("explain", "--budget", "1e21", "--student", "1B", "--coefficients", str(path))
    here, there = _run(*words), _run(*words, "--server", server.url)

    assert here[0] == 0
    assert there == here
    assert here[1] != _run(*words[:-2])[1]


def test_what_a_server_cannot_do_is_refused(server: Server, tmp_path: Path) -> None:
    """Pictures and files of teachers, each in one sentence; a token is sent."""
    beside = ("--server", server.url)
    plot = ("--plot", str(tmp_path / "a.png"))
    drawn = _run("explain", "--budget", "1e21", "--student", "1B", *plot, *beside)
    ranked = _run(
        "teachers", "--budget", "1e21", "--student", "1B", "--teachers", "x.toml", *beside
    )

    assert drawn[0] == ranked[0] == 2
    assert "draws no picture" in drawn[2]
    assert "reads no file of teachers" in ranked[2]
    assert not (tmp_path / "a.png").exists()
    with serving("--token", "sesame") as locked:
        words = ("target", "--loss", "2.3", "--student", "1B", "--server", locked.url)
        assert "wants a token" in _run(*words)[2]
        assert _run(*words, "--token", "sesame")[0] == 0
