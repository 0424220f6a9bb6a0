"""Dependencies and extras: every package that is imported is declared, every extra exists."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import tomli

ROOT = Path(__file__).parents[1]
OWN = ("laws", "coefficients", "planner")
COMES_WITH = {"starlette": "fastapi", "pydantic-core": "pydantic"}
"""Packages that another one is built on and re-exports."""

PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SELF = re.compile(rf"{PROJECT['name']}\[(.*)\]")


def names(requirements: list[str]) -> set[str]:
    """The distributions that a list of requirements names, our own extras resolved."""
    found = set()
    for requirement in requirements:
        own = SELF.fullmatch(requirement)
        if own is not None:
            for extra in own[1].split(","):
                found |= names(EXTRAS[extra])
        else:
            found.add(re.split(r"[\[<>=!~; ]", requirement)[0])
    return found


def distribution(module: str) -> str:
    """The distribution that a module comes with."""
    top = module.split(".")[0].replace("_", "-")
    return COMES_WITH.get(top, top)


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the project."""
    for package in OWN:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_every_imported_package_is_declared() -> None:
    """Nothing is imported that neither the core nor an extra installs."""
    declared = names(PROJECT["dependencies"])
    for extra in EXTRAS.values():
        declared |= names(extra)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                if top not in OWN and top not in sys.stdlib_module_names:
                    assert distribution(module) in declared, f"{path} imports {module}"


def test_what_require_names_is_in_the_extra_it_names() -> None:
    """`require(module, extra)` tells the user what to install: the extra exists and helps."""
    seen = 0
    for path, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            extra = {word.arg: word.value for word in node.keywords}.get("extra")
            if node.func.id != "require" or not isinstance(extra, ast.Constant):
                continue
            seen += 1
            assert extra.value in EXTRAS, f"{path}:{node.lineno}: no extra {extra.value}"
            module = node.args[0]
            if isinstance(module, ast.Constant):
                brought = names(EXTRAS[str(extra.value)])
                assert distribution(str(module.value)) in brought, f"{path}:{node.lineno}"
    assert seen


def test_the_test_command_installs_nothing_large() -> None:
    """[test] brings no PyTorch (CUDA libraries from PyPI), nor what needs or surrounds it."""
    large = names(EXTRAS["trainer"]) | {"transformers", "liger-kernel", "wandb", "ray"}

    assert not names(EXTRAS["test"]) & large


def test_the_full_test_extra_leaves_nothing_out() -> None:
    """[test-all] brings every other extra but the linters."""
    everything = {name for extra in EXTRAS if extra != "lint" for name in names(EXTRAS[extra])}

    assert names(EXTRAS["test-all"]) == everything


def test_the_readme_names_every_extra() -> None:
    """The section on extras is complete."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"## Extras\n(.*?)\n## ", text, re.DOTALL)
    assert section is not None
    core = {"core", *re.findall(r"[a-z-]+", section[1].split(".")[0])}

    assert [extra for extra in EXTRAS if f"`{extra}`" not in section[1]] == []
    assert [name for name in sorted(names(PROJECT["dependencies"])) if name not in core] == []
