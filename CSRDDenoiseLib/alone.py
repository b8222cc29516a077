"""One process at a time for what only one may write."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .errors import InputError


@contextmanager
def alone(lock: Path, what: str, folder: Path) -> Iterator[None]:
    """Run the body in one process at a time; the system frees the lock when a process ends, however it ends.

    Nothing is locked where the file system has no locks.

    Args:
        lock: a file that stands for what is written; it is made, with its folder, and stays.
        what: who may be at work already, the beginning of the error sentence.
        folder: where, for that sentence.

    Raises:
        InputError: another process holds the lock.
    """
    # torch brings it
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(str(lock))
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{what} is at work in '{folder}' already: it holds '{lock}'. Wait until it ends, or choose another folder."
        ) from None
    except (OSError, NotImplementedError):
        # a file system without locks
        pass
    try:
        yield
    finally:
        held.release()
