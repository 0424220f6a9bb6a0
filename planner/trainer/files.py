"""Files that are either whole or absent, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.files import clear_stale, temporary_name


class StorageError(PlannerError):
    """A file cannot be written, or what it holds is damaged or belongs to another run."""


@contextmanager
def storage(what: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` (full disk, wrong path, no permission) into a sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {what} to {path}: {error.strerror or error}; nothing already written "
            "was lost, make room or choose another directory and run the same command again"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step; a failure leaves the old file as it was."""
    clear_stale(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`write_file` of indented JSON."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """The JSON at `path`; damaged text raises `StorageError`."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(f"no {what} at {path}") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"the {what} at {path} cannot be read: {error}") from error


def read_object(path: Path, what: str, remedy: str, **kinds: type) -> dict[str, Any]:
    """The JSON object at `path`, after seeing that its fields are there and of these `kinds`.

    Raises `StorageError` with the `remedy` for anything else; an int passes for a float.
    """
    try:
        found = read_json(path, what)
    except StorageError as error:
        raise StorageError(f"{error}; {remedy}") from error
    if not isinstance(found, dict):
        raise StorageError(f"the {what} at {path} is not one of ours: no JSON object; {remedy}")
    for name, kind in kinds.items():
        accepted = (int, float) if kind is float else kind
        if name not in found or not isinstance(found[name], accepted):
            raise StorageError(
                f"the {what} at {path} is not one of ours: its {name!r} is "
                f"{'wrong' if name in found else 'missing'}; {remedy}"
            )
    return found


def write_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Make directory `path` in one step from what `fill` writes into a temporary one."""
    clear_stale(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.exists():  # another process was faster: its result is as good
            return
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def undamaged(what: str, path: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong in using well-formed JSON of another shape into a sentence."""
    try:
        yield
    except PlannerError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise StorageError(f"the {what} at {path} is damaged ({reason}); {remedy}") from error


@contextmanager
def exclusive(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Only one process at a time holds `lock`; the system lets go of it when a process dies.

    Without `wait` a lock that another process holds raises `StorageError`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise StorageError(
                    f"another process is writing in {lock.parent}; wait until it has finished, or "
                    "choose another directory"
                ) from error
        yield


def checksum(path: Path) -> str:
    """BLAKE2b of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def verify(path: Path, expected: str, what: str, remedy: str) -> None:
    """Raise `StorageError` unless the file at `path` is exactly what was written."""
    if not path.is_file():
        raise StorageError(f"{what} {path} is missing; {remedy}")
    if checksum(path) != expected:
        raise StorageError(f"{what} {path} is damaged (its checksum differs); {remedy}")
