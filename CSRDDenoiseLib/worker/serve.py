"""A process that denoises on request and keeps its model loaded: JSON lines in, JSON lines out.

``python -m CSRDDenoiseLib.worker`` reads one JSON object a line from standard input and writes one a line to standard
output. The Slicer module sends it requests, so that Slicer does not wait and a crash of the work does not end it.

A request has a ``command``, an ``id`` that the caller chooses and every answer repeats, and the fields of a class in
:mod:`CSRDDenoiseLib.worker.messages`, by which cattrs checks it:

=============  =======================================================================================
``denoise``    :class:`~CSRDDenoiseLib.worker.messages.DenoiseMessage`: denoise files
``inspect``    :class:`~CSRDDenoiseLib.worker.messages.InspectMessage`: inspect a volume
``report``     :class:`~CSRDDenoiseLib.worker.messages.ReportMessage`: write the quality report of a run
``keep``       :class:`~CSRDDenoiseLib.worker.messages.KeepMessage`: recompute a result for another width
``compare``    :class:`~CSRDDenoiseLib.worker.messages.CompareMessage`: measure a result against the full dose
``estimate``   :class:`~CSRDDenoiseLib.worker.messages.EstimateMessage`: time one evaluation of the network
``info``       :class:`~CSRDDenoiseLib.worker.messages.InfoMessage`: devices and versions
``reach``      :class:`~CSRDDenoiseLib.worker.messages.ReachMessage`: the workers of a place, or why there are none
``cancel``     stop the request of that ``id``
=============  =======================================================================================

Answers have an ``event``: ``ready`` (once, at start), ``progress``, ``result``, or ``error`` with ``kind`` (name of the
class in :mod:`CSRDDenoiseLib.errors`, or ``InternalError``), ``message`` (one sentence) and ``details`` (a traceback).

The process ends at the end of its input, also while it is working, so it never outlives the one that started it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Callable, Optional, Union

from ..configuration import structure
from ..errors import (
    NOTHING_WRITTEN,
    Cancelled,
    CSRDError,
    InputError,
    known_error,
)
from ..limits import OneOf, check_limits
from ..progress import Progress
from ..sentences import SLICER, error_sentence
from .engine import WHERE, Engine, Fields

SECONDS_TO_STOP = 2.0
WORK = ("denoise", "inspect", "keep", "report", "compare", "estimate", "info", "reach")
CANCEL = "cancel"

Send = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Address:
    """What every request has: what to do, and how its answers are marked."""

    command: Annotated[str, OneOf((*WORK, CANCEL))]
    id: Optional[Union[int, str]] = None

    def __post_init__(self) -> None:
        check_limits(self, WHERE)


class Channel:
    """Writes messages to a binary stream, one JSON object a line; safe to use from several threads."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; a reader that has gone away is ignored, because the end of input follows."""
        line = json.dumps(message, allow_nan=False, default=str).encode() + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                return


class Worker:
    """Takes requests in one thread and works on them, one after the other, in another."""

    def __init__(self, send: Send, engine: Engine):
        self._send = send
        self._engine = engine
        self._waiting: queue.Queue[Optional[tuple[Address, Fields]]] = queue.Queue()
        self._cancelled: set[Union[int, str, None]] = set()
        self._closing = threading.Event()

    def listen(self, lines: Iterable[bytes]) -> None:
        """Accept requests until ``lines`` ends, then make the work stop."""
        for line in lines:
            if line.strip():
                self._accept(line)
        self._closing.set()
        self._waiting.put(None)

    def work(self) -> None:
        """Answer requests in the order they came until the input has ended."""
        while True:
            request = self._waiting.get()
            if request is None or self._closing.is_set():
                return
            self._answer(*request)
            self._cancelled.discard(request[0].id)
            if self._waiting.empty():
                # a request for what could not be prepared, as for lack of memory, gets the error as the answer
                with suppress(Exception):
                    self._engine.idle()

    def _accept(self, line: bytes) -> None:
        try:
            address, values = _opened(line)
        except InputError as error:
            self._send(error_message(None, error))
            return
        if address.command == CANCEL:
            self._cancelled.add(address.id)
        else:
            self._waiting.put((address, values))

    def _answer(self, address: Address, values: Fields) -> None:
        identity = address.id

        def report(progress: Progress) -> bool:
            self._send({"event": "progress", "id": identity, **progress.as_dict()})
            return identity not in self._cancelled and not self._closing.is_set()

        try:
            if identity in self._cancelled:
                raise Cancelled(NOTHING_WRITTEN)
            self._engine.begin(identity)
            answer = getattr(self._engine, address.command)(values, report)
            self._send({"event": "result", "id": identity, **answer})
        except Exception as error:
            self._send(error_message(identity, error))


def _opened(line: bytes) -> tuple[Address, Fields]:
    """Return where a request goes, and its other fields.

    Raises:
        InputError: it is no JSON object with a known command.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The line is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"A request is a JSON object whose 'command' is one of {', '.join((*WORK, CANCEL))}.")
    head = {name: values.pop(name) for name in ("command", "id") if name in values}
    return structure(head, Address, WHERE), values


def error_message(identity: Any, error: Exception) -> dict[str, Any]:
    """Return the ``error`` event for an exception; errors not raised on purpose become an ``InternalError``."""
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, ModuleNotFoundError):
        error = InputError(f"The Python package '{error.name}' is missing. Install it and try again.")
    error = known_error(error) or error
    kind = type(error).__name__ if isinstance(error, CSRDError) else "InternalError"
    failed = f"The run failed with {type(error).__name__}: {error}"
    message = failed if kind == "InternalError" else error_sentence(error, SLICER)
    return {"event": "error", "id": identity, "kind": kind, "message": message, "details": details}


def _end_soon() -> None:
    """End the process even if the work does not come to a point where it can be cancelled."""
    timer = threading.Timer(SECONDS_TO_STOP, os._exit, args=(0,))
    timer.daemon = True
    timer.start()


def main() -> None:
    """Run the worker on standard input and output until the input ends."""
    # libraries print, and C code writes to descriptor 1: both go to standard error, the messages to a private copy
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    channel = Channel(private)
    worker = Worker(channel.send, Engine())

    def listen() -> None:
        worker.listen(sys.stdin.buffer)
        _end_soon()

    threading.Thread(target=listen, daemon=True).start()
    channel.send({"event": "ready", "pid": os.getpid()})
    worker.work()
