"""Standard output and error may be closed, full, or a pipe whose reader has gone: the work continues without them."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator, Optional, TextIO


class SteadyStream:
    """A text stream whose failures are kept instead of raised; after the first one nothing more is written.

    Attributes:
        failure: what went wrong, or None.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.failure: Optional[OSError] = None

    def write(self, text: str) -> int:
        """Write, with what the encoding lacks escaped."""
        if self.failure is None:
            try:
                self._write(text)
            except OSError as error:
                self._fail(error)
            except ValueError as error:
                # the stream was closed by the program that started this one
                self._fail(OSError(errno.EPIPE, str(error)))
        return len(text)

    def flush(self) -> None:
        """Flush."""
        if self.failure is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error if isinstance(error, OSError) else OSError(errno.EPIPE, str(error)))

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.failure is None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _fail(self, error: OSError) -> None:
        self.failure = error
        try:
            # what is left in the buffer would fail again, with a traceback, when Python ends
            descriptor = self._stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
        except (OSError, ValueError):
            return


@contextmanager
def steady_streams() -> Iterator[tuple[SteadyStream, SteadyStream]]:
    """Replace ``sys.stdout`` and ``sys.stderr`` by steady ones for as long as the body runs."""
    before = sys.stdout, sys.stderr
    open_descriptors()
    # None where the descriptor was closed before Python started
    output, errors = (SteadyStream(stream or io.StringIO()) for stream in before)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output, errors
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def open_descriptors() -> None:
    """Open the null device wherever descriptor 0, 1 or 2 is closed: a result file must not get their numbers.

    Libraries in C write their warnings to descriptor 2, whatever is behind it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def lost_output(stream: SteadyStream) -> Optional[str]:
    """The reason why what was printed is lost; None where nothing failed, or the reader has closed its pipe."""
    if stream.failure is None or stream.failure.errno == errno.EPIPE:
        return None
    return stream.failure.strerror or str(stream.failure)
