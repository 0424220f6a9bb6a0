"""How often the page's verdict follows a slider: a real mouse drag in Chromium, updates a second.

    python scripts/bench_page.py                # three drags of six seconds each, per slider

Needs Playwright and Debian's package chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COUNT = """([name, selector]) => {
    window[name] = 0;
    const what = { childList: true, characterData: true, subtree: true };
    const seen = new MutationObserver(() => { window[name] += 1; });
    seen.observe(document.querySelector(selector), what);
}"""
COUNTED = {"verdict": "#title", "curves": "#loss-chart .canvas"}


def drag(page: Any, slider: str, seconds: float) -> dict[str, float]:
    """Moves the slider's thumb to and fro with the mouse button down; updates a second."""
    box = page.locator(slider).bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    for name in COUNTED:
        page.evaluate(f"window.{name} = 0")
    began, step = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step += 1
        part = 0.3 + 0.35 * abs((step / 120) % 2 - 1)
        page.mouse.move(box["x"] + box["width"] * part, middle)
        time.sleep(0.012)
    took = time.perf_counter() - began
    found = {name: page.evaluate(f"window.{name}") / took for name in COUNTED}
    page.mouse.up()
    return {"mouse moves": step / took, **found}


def main() -> None:
    """Run and print."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drags", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    code = "from planner.cli import planner_entry; planner_entry()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", "0", "--workers", "2",
         "--log-level", "warning"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stderr is not None
        found = re.search(r"http://[^/]+", server.stderr.readline())
        assert found is not None
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(found[0] + "/")
            page.wait_for_selector("body[data-state=answered]")
            page.wait_for_selector("#loss-chart .u-over")
            for name, selector in COUNTED.items():
                page.evaluate(COUNT, [name, selector])
            for slider in ("#budget-slider", "#student-slider"):
                for _ in range(options.drags):
                    rates = drag(page, slider, options.seconds)
                    shown = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
                    print(f"{slider}: {shown} a second", flush=True)
                    page.wait_for_timeout(800)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
