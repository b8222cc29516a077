"""Ctrl-C and requests to end: always handled, and never where an exception would be lost."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import weakref
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Callable, Iterator, Optional, Sequence

from ..errors import Cancelled

RETRY_SECONDS = 0.05
_IMPORTS = "<frozen importlib"
_FINALIZER = "__del__"
_WEAK_REFERENCES = weakref.__file__
_WHOLE = ("put_in_place", "_put_in_place", "_clear_away")
"""Begin the names of functions of this package that take a moment, and leave all or nothing unless interrupted."""
_PACKAGE = str(Path(__file__).resolve().parent.parent)


@contextmanager
def handle_interrupts() -> Iterator[Sequence[int]]:
    """Turn SIGINT, SIGTERM and SIGHUP, which a terminal or a connection sends that is closed, into KeyboardInterrupt.

    A library that is just being loaded may swallow an exception, or end the process in its C code, and Python drops the
    exceptions of finalizers; a signal that comes then, or while outputs are put in place, is delivered again, a moment
    later, until that is over; one that was not by the end of the body comes too late and is dropped. Outside the main
    thread nothing is changed.

    Gives the signals that were turned so far: compiled code may make another exception of a KeyboardInterrupt.
    """
    raised: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield raised
        return
    numbers = [signal.SIGTERM]
    # a background job of a shell is started with SIGINT ignored, one of nohup with SIGHUP, and both stay so
    others = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    numbers += [number for number in others if signal.getsignal(number) is not signal.SIG_IGN]
    again: list[threading.Timer] = []
    previous = {number: signal.signal(number, partial(_on_signal, again, raised)) for number in numbers}
    try:
        yield raised
    finally:
        for number in numbers:
            signal.signal(number, lambda *_: None)
        for timer in again:
            timer.cancel()
            timer.join()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def cancellable(what_is_left: Callable[[], str]) -> Iterator[None]:
    """Turn an interrupt of the body into an error that states what is left on disk.

    Args:
        what_is_left: gives that sentence, after the interrupt.

    Raises:
        Cancelled: the body was interrupted.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Cancelled(f"Cancelled. {what_is_left()}") from interrupt


def resumable(output: Path) -> AbstractContextManager[None]:
    """Return :func:`cancellable` of work that is kept in a folder and that the same command continues."""
    return cancellable(lambda: what_is_kept(output))


def what_is_kept(output: Path) -> str:
    """Return the sentence on work that is kept in a folder and that the same command continues."""
    return f"What is done is kept in '{output}'; the same command continues from it."


def _on_signal(again: list[threading.Timer], raised: list[int], number: int, frame: Optional[FrameType]) -> None:
    if _would_be_lost(frame):
        timer = threading.Timer(RETRY_SECONDS, _send_again, (number,))
        timer.daemon = True
        again[:] = [*(each for each in again if each.is_alive()), timer]
        timer.start()
        return
    raised.append(number)
    raise KeyboardInterrupt


def _send_again(number: int) -> None:
    if os.name == "nt":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), number)


def _would_be_lost(frame: Optional[FrameType]) -> bool:
    """Whether code is at work whose exceptions do not reach who called it, or would leave a part of its work."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_IMPORTS) or code.co_name == _FINALIZER or code.co_filename == _WEAK_REFERENCES:
            return True
        if code.co_name.startswith(_WHOLE) and code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False
