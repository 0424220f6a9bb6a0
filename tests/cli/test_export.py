"""`export` as people run it, on recipes that `plan` wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import planner
from planner.export import EXPORTS


def run(*arguments: str, given: str | None = None) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner().invoke(planner, list(arguments), input=given, catch_exceptions=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan as TOML."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    assert run("plan", "--budget", "1e21", "--student", "1B", "--output", str(path)).exit_code == 0
    return path


@pytest.mark.parametrize("target", EXPORTS)
def test_a_written_plan_becomes_files(target: str, recipe: Path, tmp_path: Path) -> None:
    """Every target, from the very file that plan writes; the folder is made."""
    folder = tmp_path / "a" / "run"
    words = ["--to", target, "--method", "distil", "--output", str(folder)]
    result = run("export", str(recipe), *words)

    assert result.exit_code == 0
    written = sorted(folder.iterdir())
    assert written
    for path in written:
        assert "Not carried: " in path.read_text()
        assert str(path) in result.stderr


def test_the_recommended_method_is_exported(recipe: Path) -> None:
    """The plan recommends supervised training: one run without a teacher, or the way to ask."""
    assert 'method = "supervised"' in recipe.read_text()
    alone = run("export", str(recipe), "--to", "planner")
    assert "planner train supervised" in alone.stdout
    assert "--teacher" not in alone.stdout
    refused = run("export", str(recipe), "--to", "distillkit")
    assert refused.exit_code == 2
    assert "--method distil" in refused.stderr
    assert refused.stdout == ""


def test_options_reach_the_files(recipe: Path) -> None:
    """Context, lambda and the devices; a recipe on standard input; text on stdout."""
    result = run(
        "export", "-", "--to", "maxtext", "--method", "distil", "--context", "2048",
        "--lambda", "0.7", given=recipe.read_text(),
    )  # fmt: skip

    assert result.exit_code == 0
    assert "==> student.yml <==" in result.stdout
    assert "max_target_length: 2048" in result.stdout
    assert "distill_alpha: 0.7" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "maxtex"], "did you mean maxtext?"),
        (["--to", "maxtext", "--context", "0"], "Context is 0"),
        (["--to", "maxtext", "--lambda", "2"], "Lambda is 2"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], said: str, recipe: Path) -> None:
    """Exit code 2 and nothing on stdout."""
    result = run("export", str(recipe), *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_document_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    """Also a file where a folder was to be made."""
    path = tmp_path / "other.toml"
    path.write_text("kind = 'target'\n")

    result = run("export", str(path), "--to", "maxtext")
    assert result.exit_code == 2
    assert "holds no recipe" in result.stderr
