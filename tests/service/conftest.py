"""Real servers on free ports, and a real Chromium where the machine has one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the browser and drives it for all tests that look at a page."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))


NICENESS = {"quick": 0, "wide": 2}
"""Of the lanes of `planner.service.solvers`."""


@dataclass
class Server:
    """A running `planner serve`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.post(self.url + path, json=body, timeout=60, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.get(self.url + path, timeout=60, **more)

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; every line but the greeting must be JSON."""
        text = self.log.read_text().splitlines()
        return [json.loads(line) for line in text if not line.startswith("Planner at ")]

    def solvers(self, lane: str) -> list[int]:
        """Process ids of a lane's solvers, which are told apart by how nice they are."""
        mine = os.getpriority(os.PRIO_PROCESS, self.process.pid)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = [
            int(pid)
            for pid in children.split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            and os.getpriority(os.PRIO_PROCESS, int(pid)) == mine + NICENESS[lane]
        ]
        assert found, f"no solver of the lane '{lane}' among {children}"
        return found

    def count(self, lane: str, state: str) -> float:
        """How many questions of a lane are `running` or `waiting`."""
        line = f'planner_lane{{lane="{lane}",state="{state}"}} '
        return float(self.get("/metrics").text.partition(line)[2].split()[0])

    @contextmanager
    def paused(self, lane: str) -> Iterator[None]:
        """Its solvers stand still: what they are asked is answered afterwards, however quick it is.

        So that what happens beside a long question never depends on how fast the machine is.
        """
        pids = self.solvers(lane)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):  # it overran its time and was ended
                    os.kill(pid, signal.SIGCONT)

    def stop(self) -> int:
        """End it as a supervisor would; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def until(true: Callable[[], object]) -> None:
    """Waits for something that must come true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_async(work: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread of its own: the browser's driver keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from planner.cli import planner_entry; planner_entry()"
)
"""As from a terminal: a test run in the background hands on that it ignores Ctrl-C."""


@contextmanager
def serving(*options: str, code: str = COMMAND, port: int = 0) -> Iterator[Server]:
    """A server process with these options of `planner serve`."""
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PLANNER_TOKEN": ""}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--port", str(port), "--workers", "1", *options],
            cwd=tempfile.gettempdir(),
            env=environment,
            stderr=sink,
        )
    server = Server(process, "", log)
    try:
        server.url = _address(server)
        yield server
    finally:
        server.stop()
        log.unlink()


def _address(server: Server) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"Planner at (http://\S+?)/ ", server.log.read_text())
        if found:
            try:
                if httpx.get(found[1] + "/v1/ready", timeout=5).status_code in (200, 401, 421):
                    return found[1]
            except httpx.TransportError:
                pass
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended: {server.log.read_text()}")
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {server.log.read_text()}")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests that only ask."""
    with serving() as running:
        yield running


def limited(**limits: Any) -> str:
    """The code of a server process with other limits than the usual ones."""
    return (
        "import sys; from planner.service.run import run;"
        "from planner.service.limits import Limits, Settings;"
        f"run(Settings(port=0, workers=1, limits=Limits(**{limits!r})),"
        " say=lambda text: print(text, file=sys.stderr, flush=True))"
    )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; tests that need one are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; install Debian's package chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the package playwright drives the browser"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, server: Server) -> Iterator[Open]:
    """Opens the page in a fresh profile; any script error fails the test."""
    contexts, faults = [], []

    def open_(fragment: str = "", **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(server.url + "/" + fragment)
        page.wait_for_selector("body[data-state=answered], body[data-state=refused]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []
