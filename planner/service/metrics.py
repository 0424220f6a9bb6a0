"""What Prometheus may read at /metrics: counts and times, never the content of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

if TYPE_CHECKING:
    from planner.service.solvers import Lane

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """One server's figures in a registry of its own, so that two servers may share a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "planner_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "planner_request_seconds",
            "Time from a request's head to its last byte.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "planner_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.lanes = Gauge(
            "planner_lane",
            "Solver processes and requests of each lane, by state.",
            ("lane", "state"),
            registry=self.registry,
        )
        self.jobs = Gauge("planner_jobs", "Jobs by state.", ("state",), registry=self.registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self, lanes: Iterable[Lane], jobs: Mapping[str, int]) -> bytes:
        """The exposition format, with the lanes and jobs as they are now."""
        for lane in lanes:
            for state in ("size", "waiting", "running", "replaced"):
                self.lanes.labels(lane.name, state).set(getattr(lane, state))
        for state, count in jobs.items():
            self.jobs.labels(state).set(count)
        return generate_latest(self.registry)
