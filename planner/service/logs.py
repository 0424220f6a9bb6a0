"""Structured logs: one JSON object a line on stderr, with routes and times but no payloads."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

EXTRA = ("method", "route", "status", "milliseconds", "bytes_in", "bytes_out", "request_id",
         "lane", "pid")  # fmt: skip


class JsonLines(logging.Formatter):
    """One object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, event and whatever of EXTRA the record carries."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{key: getattr(record, key) for key in EXTRA if hasattr(record, key)},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str = "info") -> None:
    """Send everything from `level` up to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception


def _log_exception(kind: type[BaseException], error: BaseException, where: Any) -> None:
    logging.getLogger("planner.service").critical("ended", exc_info=(kind, error, where))
