"""Prints the files and folders of tests that a run of pytest skipped, to run them elsewhere.

python scripts/skipped_tests.py report.xml    (from pytest --junitxml=report.xml)
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]


def skipped(report: Path) -> list[str]:
    """Paths below the root with a skipped test; a folder where its conftest.py was."""
    found = set()
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            found.add(_path(case.get("classname") or case.get("name") or ""))
    return sorted(found)


def _path(dotted: str) -> str:
    """tests.service.test_page -> tests/service/test_page.py"""
    path = ROOT / dotted.replace(".", "/")
    if path.is_dir():
        return str(path.relative_to(ROOT))
    if path.with_suffix(".py").is_file():
        return str(path.with_suffix(".py").relative_to(ROOT))
    raise SystemExit(f"no test file belongs to {dotted!r}")


if __name__ == "__main__":
    print(*skipped(Path(sys.argv[1])), sep="\n")
