"""Files that are written completely or not at all, and JSON from any source, read with limits."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import socket
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Optional

LARGEST_JSON = 64 << 20
_ABANDONED_SECONDS = 24 * 3600
"""After which what another machine last wrote is taken for left over; a file is written in minutes."""


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes its place when the body succeeds, else it is removed.

    The folder is made where it is missing. What a killed process left of the same file is removed.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{process_mark()}.partial")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if is_left_over(left, left.name.split(".")[-2]):
            with suppress(OSError):
                left.unlink()
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def put_in_place(made: Path, folder: Path) -> None:
    """Move the files of one folder into another, over those of the same name; an interrupt waits for the last."""
    for path in sorted(made.iterdir()):
        os.replace(path, folder / path.name)


def process_mark() -> str:
    """Name this process in the names of its temporary files: its number and its machine, without a dot."""
    return f"{os.getpid()}-{_machine()}"


def is_left_over(path: Path, mark: str) -> bool:
    """Whether a temporary file with this :func:`process_mark` in its name was left by a process that has ended.

    A process that has just begun to write has none of its own mark, so such a file is of an earlier one of the same
    number. Windows has no harmless way to ask, so there a process is taken to run. The processes of other machines, and
    of other containers, cannot be checked: their files are left over if they were not written to for a day.
    """
    number, _, machine = mark.partition("-")
    if not (number.isascii() and number.isdigit()):
        return False
    if machine != _machine():
        return _seconds_unchanged(path) > _ABANDONED_SECONDS
    if int(number) == os.getpid():
        return True
    if sys.platform == "win32":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _seconds_unchanged(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def read_json(path: Path) -> Any:
    """Read JSON (UTF-8) of whatever origin.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, nested too deeply, a pipe or a device, or larger than :data:`LARGEST_JSON` bytes.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as stream:
        content = stream.read(LARGEST_JSON + 1)
    if len(content) > LARGEST_JSON:
        raise ValueError(f"it is larger than {LARGEST_JSON >> 20} MB")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, values: Any, indent: Optional[int] = None) -> None:
    """Write JSON (UTF-8) that is on the disk before it takes its place."""
    with complete_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(values, indent=indent) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
