"""The service beside the solver: plans per second, latencies, and memory over many requests.

Both sides solve the same questions on two cores, uncached, in turn, so that whatever else the
machine does weighs on both: in process with two processes, and over HTTP with `--workers 2`.

    python scripts/bench_service.py                      # rates and latencies, about a minute
    python scripts/bench_service.py --requests 100000    # memory over many requests as well
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).parents[1]
CORES = 2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def question(index: int) -> dict[str, float]:
    """The question of that number; no two are the same."""
    budget = 1e20 * 10 ** (3.0 * ((index * 0.6180339887498949) % 1.0))
    return {"budget": budget * (1 + 1e-9 * index), "student": 1e9 * (1 + (index % 50) / 20)}


def solve_one(index: int) -> int:
    """What the server does for one request, less HTTP: read, solve, render."""
    from planner import Problem, solve
    from planner.reports.json import render

    return len(render(solve(Problem.from_mapping(question(index)))))


def in_process(pool: ProcessPoolExecutor, first: int, count: int) -> float:
    """Plans per second of two solving processes."""
    began = time.perf_counter()
    sum(pool.map(solve_one, range(first, first + count), chunksize=4))
    return count / (time.perf_counter() - began)


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """(address, process id) of a fresh server."""
    code = "from planner.cli import planner_entry; planner_entry()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", "0", "--workers", str(CORES),
         "--log-level", "warning"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        found = re.search(r"http://[^/]+", process.stderr.readline())
        assert found is not None
        while True:
            try:
                if httpx.get(found[0] + "/v1/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait()


async def over_http(
    address: str, first: int, count: int, clients: int, rate: float | None = None
) -> tuple[float, list[float]]:
    """(plans per second, seconds of each), from `clients` at once or at a steady `rate`."""
    seconds: list[float] = []
    waiting = iter(range(first, first + count))
    began = time.perf_counter()

    async def one(link: Link, index: int, due: float) -> None:
        await link.ask(json.dumps(question(index)).encode())
        seconds.append(time.perf_counter() - due)

    async def client() -> None:
        link = await Link.open(address)
        for index in waiting:
            due = time.perf_counter()
            if rate is not None:
                due = began + (index - first) / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await one(link, index, due)
        link.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return count / (time.perf_counter() - began), seconds


async def repeated(address: str, count: int, clients: int) -> None:
    """The same question that often."""
    body = json.dumps(question(0)).encode()
    waiting = iter(range(count))

    async def client() -> None:
        link = await Link.open(address)
        for _ in waiting:
            await link.ask(body)
        link.close()

    await asyncio.gather(*(client() for _ in range(clients)))


class Link:
    """A keep-alive connection that costs the client's core next to nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, address: str) -> Link:
        """Connect."""
        host, _, port = address.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(self, body: bytes) -> bytes:
        """One plan; raises unless the answer is a 200."""
        head = (
            "POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert length is not None
        return await self.reader.readexactly(int(length[1]))

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


def tree(process: int) -> list[str]:
    """A process and its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [str(process), *children]


def cpu_seconds(processes: Iterable[str]) -> float:
    """Processor time of these so far: what a busy machine cannot distort."""
    ticks = 0
    for each in processes:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """MiB of the server and its solvers, resident."""
    total = 0
    for each in tree(process):
        status = Path(f"/proc/{each}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        total += int(found[1]) if found else 0
    return total / 1024


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--plans", type=int, default=300, help="plans per round and side")
    parser.add_argument("--requests", type=int, default=0, help="further requests for memory")
    options = parser.parse_args()
    count, direct, served, step = options.plans, [], [], 0
    cost = {"direct": 0.0, "served": 0.0}
    os.environ.update(ONE_THREAD)  # for the processes started from here on
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, spawn) as pool, serving() as (address, process):
        in_process(pool, 0, 40)
        asyncio.run(over_http(address, 40, 40, 4))
        solvers = [str(each) for each in pool._processes]
        for _ in range(options.rounds):
            step += count
            before = cpu_seconds(solvers)
            direct.append(in_process(pool, step, count))
            cost["direct"] += cpu_seconds(solvers) - before
            step += count
            before = cpu_seconds(tree(process))
            served.append(asyncio.run(over_http(address, step, count, 8))[0])
            cost["served"] += cpu_seconds(tree(process)) - before
        ratio = np.median(np.array(served) / np.array(direct))
        print(f"in process, {CORES} processes: {np.median(direct):7.1f} plans/s")
        print(f"over HTTP,  {CORES} workers:   {np.median(served):7.1f} plans/s")
        print(f"served over direct:      {ratio:7.2f} (target: at least 0.5)")
        each = {side: 1e3 * total / (count * options.rounds) for side, total in cost.items()}
        print(
            f"processor time of a plan:   {each['direct']:.1f} ms in process, {each['served']:.1f} "
            f"ms served, front included ({each['direct'] / each['served']:.2f} of the rate)"
        )
        before, began = cpu_seconds([str(process)]), time.perf_counter()
        asyncio.run(repeated(address, 4000, 8))
        took, spent = time.perf_counter() - began, cpu_seconds([str(process)]) - before
        print(
            f"the same question again:  {4000 / took:7.0f} answers/s, {spent / 4:.2f} ms of the "
            "front each (target: 5,000/s)"
        )
        rate = float(np.median(served)) / 2
        step += count
        _, seconds = asyncio.run(over_http(address, step, 2 * count, 32, rate))
        shown = ", ".join(
            f"p{q} {1e3 * float(np.quantile(seconds, q / 100)):.1f}" for q in (50, 90, 95, 99)
        )
        print(f"latency at half load ({rate:.0f}/s), ms: {shown} (target: p99 below 50)")
        print(f"memory: {memory(process):.0f} MiB resident, server and solvers")
        done = 0
        while done < options.requests:
            part = min(5000, options.requests - done)
            step += part
            asyncio.run(over_http(address, 10**6 + step, part, 8))
            done += part
            print(f"memory after {done:7,} more: {memory(process):.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
