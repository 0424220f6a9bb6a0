"""What holds for every test: fixed random examples, one thread per worker, golden files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import EXAMPLES

GOLDEN = Path(__file__).parent / "golden"
_NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core; set before numpy is imported
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "wide",
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    max_examples=settings.default.max_examples * EXAMPLES,
)
settings.load_profile("fixed" if EXAMPLES == 1 else "wide")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/* and pass")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text) compares text with tests/golden/name, or writes it if asked to.

    Words and layout have to be equal; numbers to 9 digits, as the last bits of exp and log differ
    between processors.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
            return
        assert path.is_file(), f"no golden file {name}; run pytest --update-golden and look at it"
        expected = path.read_bytes().decode("utf-8")
        if not _same_but_for_last_digits(text, expected):
            assert text == expected

    return check


def _same_but_for_last_digits(text: str, expected: str) -> bool:
    if _NUMBER.sub("#", text) != _NUMBER.sub("#", expected):
        return False
    pairs = zip(_NUMBER.findall(text), _NUMBER.findall(expected), strict=True)
    return all(math.isclose(_value(ours), _value(theirs), rel_tol=1e-9) for ours, theirs in pairs)


def _value(number: str) -> float:
    return float(number.replace("−", "-"))
