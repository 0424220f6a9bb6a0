"""Imports go one way: laws <- coefficients <- planner core <- reports <- cli and service."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch", "matplotlib", "fastapi", "uvicorn", "cvxpy", "scipy", "pyarrow", "pandas",
    "tokenizers", "safetensors", "pyscipopt", "hypothesis", "mpmath", "jsonschema",
)  # fmt: skip
CORE = "planner core"
SHARED = ("planner.errors", "planner.accelerators", "planner.files")
"""The error tree, the catalogue and the writing of whole files, which the trainer uses as well."""

MAY_IMPORT = {
    "laws": {"laws"},
    "coefficients": {"laws", "coefficients"},
    CORE: {"laws", "coefficients", CORE, *SHARED},
    "planner.trainer": {"laws", "planner.trainer", *SHARED},
    "planner.export": {"laws", "planner.export", *SHARED},
}
EDGES = ("planner.cli", "planner.service")
LAZY = {"planner.reports", "planner.plots"}
"""What the core may reach for inside functions: results render themselves."""


def files(layer: str) -> list[Path]:
    """The modules of a layer; the core is planner/*.py and planner/optimise."""
    if layer != CORE:
        return sorted((ROOT / layer.replace(".", "/")).rglob("*.py"))
    return sorted((ROOT / "planner").glob("*.py")) + sorted(
        (ROOT / "planner/optimise").rglob("*.py")
    )


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute import of a module, and whether it runs at import time."""
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
            module = node.module or ""
            yield module, id(node) not in lazy
            if module == "planner":  # `from planner import reports` names a module too
                for alias in node.names:
                    yield f"planner.{alias.name}", id(node) not in lazy


def layer_of(module: str) -> str | None:
    """The layer that a module of this project belongs to; None for other packages."""
    top, _, rest = module.partition(".")
    if top in ("laws", "coefficients"):
        return top
    if top != "planner":
        return None
    if module in SHARED:
        return module
    package = rest.split(".")[0]
    inner = package and (ROOT / "planner" / package).is_dir() and package != "optimise"
    return f"planner.{package}" if inner else CORE


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_layers_import_only_downwards(layer: str) -> None:
    """No module of a lower layer knows of a higher one (renderings inside functions excepted)."""
    assert files(layer)
    for path in files(layer):
        for module, at_import in imports(path):
            found = layer_of(module)
            if found is None or (found in LAZY and not at_import and layer == CORE):
                continue
            assert found in MAY_IMPORT[layer], f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize(
    "package", sorted(p.name for p in (ROOT / "planner").iterdir() if (p / "__init__.py").is_file())
)
def test_only_edges_know_of_edges(package: str) -> None:
    """Nothing but the command line and the service themselves imports either, one not the other."""
    own = f"planner.{package}"
    for path in files(own):
        for module, _ in imports(path):
            found = layer_of(module)
            allowed = found not in EDGES or found == own or own in EDGES
            assert allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_laws_import_only_numpy() -> None:
    """The science needs numpy and the standard library, nothing else."""
    for path in files("laws"):
        for module, _ in imports(path):
            top = module.split(".")[0]
            assert top in {"laws", "numpy"} or top in sys.stdlib_module_names, f"{path}: {module}"


def test_heavy_packages_are_imported_inside_functions() -> None:
    """Outside trainer and service no module pulls a heavy package in when it is imported."""
    for path in sorted((ROOT / "planner").rglob("*.py")):
        if {"trainer", "service"} & set(path.relative_to(ROOT).parts):
            continue
        for module, at_import in imports(path):
            heavy = module.split(".")[0] in HEAVY
            assert not (heavy and at_import), f"{path.relative_to(ROOT)} imports {module}"


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
        "import planner",
        "import planner.convex, planner.solve",
        "from planner import Problem, solve; repr(solve(Problem(1e21, 1e9)))",
        "from planner.cli import plan_entry\nimport sys\n"
        "sys.argv = ['plan', '--budget', '1e21', '--student', '1B']\n"
        "try:\n    plan_entry()\nexcept SystemExit as end:\n    assert not end.code",
    ],
    ids=["import", "import convex", "solve", "plan"],
)
def test_a_plan_loads_nothing_heavy(code: str) -> None:
    """Importing the library, solving and a whole `plan` run load none of the heavy packages."""
    found = loaded(code)
    assert "numpy" in found
    assert not found & set(HEAVY)
