"""Files written whole or not at all, and places where none can be refused before the work."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from planner.errors import PlannerError


class FileError(PlannerError):
    """A file cannot be written where it was asked to go, or not in that format."""


def check_suffix(path: str | Path, suffixes: tuple[str, ...], what: str) -> str:
    """The suffix in lower case; FileError listing the known ones otherwise."""
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        known = ", ".join(suffixes)
        given = f"ends in '{suffix}'" if suffix else "has no suffix"
        raise FileError(f"{what} '{path}' {given}; choose one of {known}.")
    return suffix


def check_folder(path: str | Path) -> Path:
    """The path itself if a file can be put there; FileError otherwise, before any work is done."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise FileError(f"cannot write '{path}': it is a folder; name a file in it.")
    if not target.parent.is_dir():
        raise FileError(
            f"cannot write '{path}': the folder '{target.parent}' does not exist; create it first "
            "or choose another path."
        )
    if not os.access(target.parent, os.W_OK):
        raise FileError(
            f"cannot write '{path}': the folder '{target.parent}' is not writable; choose another "
            "path."
        )
    return target


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write that takes `path`'s place at the end; after any failure `path` is as it was.

    Raises FileError where it cannot be written.
    """
    target = check_folder(path)
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(
            f"cannot write '{path}': {reason}; choose another path or make room."
        ) from error


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Put `content` at `path`; an existing file is replaced only by a complete one."""
    with whole(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
