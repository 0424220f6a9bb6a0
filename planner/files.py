"""Files written whole or not at all, and places where none can be refused before the work."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
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
        clear_stale(target.parent)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=f".{_writer()}.tmp"
        )
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


def temporary_name(name: str) -> str:
    """What a file or folder is called while this process writes it, before it becomes `name`."""
    return f".{name}.{_writer()}.tmp"


def clear_stale(folder: Path) -> None:
    """Remove what killed writers left half-written in a folder.

    Only names that `temporary_name` and `whole` give, of processes of this machine that are gone.
    """
    if sys.platform == "win32":  # has no way to ask for a process without touching it
        return
    ours = re.compile(rf"\..+\.{re.escape(_host())}-(\d+)\.tmp")
    with contextlib.suppress(OSError):  # clearing up must not fail a write
        for path in folder.iterdir():
            match = ours.fullmatch(path.name)
            if match and not _alive(int(match[1])):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _writer() -> str:
    return f"{_host()}-{os.getpid()}"


@lru_cache(maxsize=1)
def _host() -> str:
    # a folder may be shared with machines and containers whose processes are not seen from here
    node = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:32]
    with contextlib.suppress(OSError):
        return f"{node}-{os.stat('/proc/self/ns/pid').st_ino}"
    return node


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is someone else's
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
