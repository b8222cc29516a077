"""One process at a time for what only one may write."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterable, Iterator

from .errors import InputError

LOOK_SECONDS = 1.0
"""How long a lock that others only look at may seem to be held."""
TURN_SECONDS = 60.0
"""How long a file is waited for that others change in a moment."""


@contextmanager
def alone(lock: Path, what: str, folder: Path, beside: Callable[[], Iterable[Path]] = tuple) -> Iterator[None]:
    """Run the body in one process at a time; the system frees the lock when a process ends, however it ends.

    Nothing is locked where the file system has no locks.

    Args:
        lock: a file that stands for what is written; it is made, with its folder, and removed at the end, as is a
            folder that was made for it and holds nothing else.
        what: who may be at work already, the beginning of the error sentence.
        folder: where, for that sentence.
        beside: returns other locks that nobody may hold when the work begins; called with the lock held, so that of two
            processes that begin at once, each with the other's lock beside its own, at least one is refused.

    Raises:
        InputError: another process holds the lock, or one of those beside it.
    """
    with _held(lock, what, folder, 0.0):
        for other in beside():
            if other.exists():
                with _held(other, what, folder, LOOK_SECONDS):
                    pass
        yield


def in_turn(lock: Path, what: str, folder: Path) -> AbstractContextManager[None]:
    """Return :func:`alone` that waits for its turn, for a body that takes a moment.

    Raises:
        InputError: after a minute another process still holds the lock.
    """
    return _held(lock, what, folder, TURN_SECONDS)


@contextmanager
def _held(lock: Path, what: str, folder: Path, seconds: float) -> Iterator[None]:
    # torch brings it
    from filelock import FileLock, Timeout

    made = [each for each in lock.parents if not each.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(str(lock))
    try:
        held.acquire(timeout=seconds)
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
        if held.is_locked:
            # before it is free: filelock never takes a file that was removed for a lock
            with suppress(OSError):
                lock.unlink()
        held.release()
        for each in made:
            # refused, and rightly so, where a result is in it
            with suppress(OSError):
                each.rmdir()
