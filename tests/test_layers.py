"""Imports go one way and in no circle; heavy packages load late; the map names what exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch", "matplotlib", "fastapi", "uvicorn", "cvxpy", "scipy", "pyarrow", "pandas",
    "tokenizers", "safetensors", "pydantic", "pyscipopt", "hypothesis", "mpmath", "jsonschema",
)  # fmt: skip

BASE = ("planner.errors", "planner.accelerators", "planner.files")
"""The error tree, the catalogue and the writing of whole files, which the trainer uses as well."""

CORE = "planner core"
"""planner/*.py and planner/optimise."""

FACADE = "planner facade"
"""What users import: `planner` itself, and the client of the service."""

ORDER = (
    ("laws",), ("coefficients",), ("base",), (CORE,), ("planner.reports",), ("planner.plots",),
    ("planner.questions",), ("every other package",), (FACADE,), ("planner.service",),
    ("planner.cli",),
)  # fmt: skip
"""A module imports from its own layer and from those before it. Packages that are not named answer
questions; they may import each other, but in no circle."""

TRAINER_MAY_IMPORT = {"laws", "base", "planner.trainer"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name, packages under theirs."""
    found = {}
    for top in ("laws", "coefficients", "planner"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Everything that a module imports, and whether that happens when it is imported itself.

    `from a import b` gives a.b where that is a module of the project, else a.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else str(node.module), id(node) not in lazy


@cache
def arrows() -> list[tuple[str, str]]:
    """(importing, imported) for all imports inside the project, those in functions included."""
    return [
        (name, target)
        for name, path in modules().items()
        for target, _ in imports(path)
        if target in modules() and target != name
    ]


def layer_of(module: str) -> str:
    """The layer or package that a module of this project belongs to."""
    top, *rest = module.split(".")
    if top != "planner":
        return top
    if module in BASE:
        return "base"
    if module in ("planner", "planner.client"):
        return FACADE
    inner = rest and rest[0] != "optimise" and (ROOT / "planner" / rest[0]).is_dir()
    return f"planner.{rest[0]}" if inner else CORE


def rank(layer: str) -> int:
    """The layer's place in ORDER."""
    named = {name: place for place, names in enumerate(ORDER) for name in names}
    return named.get(layer, named["every other package"])


def circles(pairs: set[tuple[str, str]]) -> list[set[str]]:
    """Groups in which everything imports everything else, directly or through others."""
    names = sorted({name for pair in pairs for name in pair})
    place = {name: number for number, name in enumerate(names)}
    rows, columns = zip(*((place[one], place[other]) for one, other in pairs), strict=True)
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    count, label = connected_components(graph, connection="strong")
    groups = [{names[i] for i in np.flatnonzero(label == number)} for number in range(count)]
    return [group for group in groups if len(group) > 1]


def test_imports_go_one_way() -> None:
    """No layer imports a later one."""
    found = [
        f"{name} imports {target}"
        for name, target in arrows()
        if rank(layer_of(target)) > rank(layer_of(name))
    ]

    assert found == []


def test_no_modules_import_each_other() -> None:
    """No import circle, those through functions included."""
    assert circles(set(arrows())) == []


def test_no_packages_import_each_other() -> None:
    """Packages form no circle either."""
    pairs = {(layer_of(name), layer_of(target)) for name, target in arrows()}

    assert circles({(one, other) for one, other in pairs if one != other}) == []


def test_circles_are_found() -> None:
    """The search itself, on a small graph."""
    assert circles({("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")}) == [{"b", "c"}]


def test_the_trainer_stands_alone() -> None:
    """It needs the laws, the error tree and PyTorch, and nothing of planning."""
    found = [
        f"{name} imports {target}"
        for name, target in arrows()
        if layer_of(name) == "planner.trainer" and layer_of(target) not in TRAINER_MAY_IMPORT
    ]

    assert found == []


def test_laws_import_only_numpy() -> None:
    """The science needs numpy and the standard library, nothing else."""
    for name, path in modules().items():
        for module, _ in imports(path) if name.startswith("laws") else ():
            top = module.split(".")[0]
            assert top in {"laws", "numpy"} or top in sys.stdlib_module_names, f"{name}: {module}"


def test_heavy_packages_are_imported_inside_functions() -> None:
    """Outside trainer and service no module pulls a heavy package in when it is imported."""
    for name, path in modules().items():
        if layer_of(name) in ("planner.trainer", "planner.service"):
            continue
        for module, at_import in imports(path):
            heavy = module.split(".")[0] in HEAVY
            assert not (heavy and at_import), f"{name} imports {module}"


def test_the_map_of_the_modules_names_what_exists() -> None:
    """CONTRIBUTING's map has every package and every module of planner/, and no other."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(r"^## Modules\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    named = set(re.findall(r"`((?:laws|coefficients|planner)/[\w/.]*)`", section[1]))
    paths = [path.relative_to(ROOT) for path in modules().values()]
    packages = {f"{path.parent}/" for path in paths} - {"planner/"}
    single = {str(path) for path in paths if path.parent == Path("planner")}
    inside = {str(path) for path in paths}

    assert sorted((packages | single) - {"planner/__init__.py"} - named) == []
    assert sorted(named - packages - inside) == []


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running some code."""
    report = "\nimport sys; print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import planner.verify_bound, planner.questions.plan.answer",
        "from planner import Problem, solve; repr(solve(Problem(1e21, 1e9)))",
        "from planner.cli import plan_entry\nimport sys\n"
        "sys.argv = ['plan', '--budget', '1e21', '--student', '1B']\n"
        "try:\n    plan_entry()\nexcept SystemExit as end:\n    assert not end.code",
    ],
    ids=["import the second proof", "solve", "plan"],
)
def test_a_plan_loads_nothing_heavy(code: str) -> None:
    """Importing the library, solving and a whole `plan` run load none of the heavy packages."""
    found = loaded(code)
    assert "numpy" in found
    assert not found & set(HEAVY)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["target", "--help"]])
def test_help_loads_no_numpy(words: list[str]) -> None:
    """The version and the options of a question are shown before any array is needed."""
    found = loaded(
        f"from planner.cli import plan_entry\nimport sys\nsys.argv = ['plan', *{words}]\n"
        "try:\n    plan_entry()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert "click" in found
    assert not found & {"numpy", "laws", *HEAVY}
