"""Which coefficient sets ship with the planner; nothing here reads one."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

DEFAULT = "busbridge2025-refit"
"""What plans where no set is named."""


def available() -> list[str]:
    """Names of the shipped sets, the default first."""
    return list(_names())


@lru_cache
def _names() -> tuple[str, ...]:
    names = sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files("coefficients").iterdir()
        if entry.name.endswith(".toml")
    )
    return (DEFAULT, *(name for name in names if name != DEFAULT))
