"""Errors for the user: each message states what was wrong, with the numbers, and what to do."""

from __future__ import annotations

import errno
import os
import re
from typing import Optional

SOME_FAILED = 4
"""Exit code of a command that did some of many and names the others."""


class CSRDError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: one sentence, the same at every edge.
        hint: name of an option that helps, a key of ``sentences.HINTS``; it is called otherwise on the command line
            than in Slicer, so ``sentences.error_sentence`` adds it where the error is shown.

    Attributes:
        exit_code: what the command line returns.
        hint: as given; empty without one.
    """

    exit_code = 1

    def __init__(self, message: str = "", hint: str = ""):
        super().__init__(message)
        self.hint = hint


class InputError(CSRDError):
    """The input, the settings or the chosen model cannot be used as given."""

    exit_code = 2


class TooFewCounts(InputError):
    """A time frame shows no head."""


class NotFinite(InputError):
    """Voxels are NaN or infinite."""


class ModelError(InputError):
    """A model folder is unknown, damaged, or written by a newer version."""


class OutOfMemoryError(InputError):
    """The volume does not fit memory even with the smallest patches."""


class PlaceError(InputError):
    """The machine that was to do the work cannot be reached, cannot be used, or was lost."""


class NotComplete(CSRDError):
    """Something of many could not be done or written; the rest is complete and stays."""

    exit_code = SOME_FAILED


MEMORY_IS_USED_UP = "The memory is used up. Choose smaller patches or close other programs."
_WORDS_OF_MEMORY = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "failed to map segment",
    "seems to be oom",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that there was no memory; libraries have many words for it."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _WORDS_OF_MEMORY)


_ORIGIN_OF_ERROR = re.compile(r"^(sitk::ERROR|ITK ERROR|itk::ERROR): |\w+\(0x[0-9a-f]+\): ")


def reason_of(error: BaseException) -> str:
    """Return the reason in a library's error: its last line, without a full stop and without ITK's source line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _ORIGIN_OF_ERROR.sub("", lines[-1]).rstrip(".") if lines else type(error).__name__


DISK_IS_FULL = (
    "A file could not be written, because the disk is full or a limit is reached ({reason}). Free some space, or "
    "choose another output folder, and run the same command again."
)
_DISK_NUMBERS = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
# NumPy and PyTorch drop the number of the error
_WORDS_OF_DISK = re.compile(
    r"no space left|quota exceeded|file too large|requested and \d+ written|failed writing file|unexpected pos \d+",
    re.I,
)


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception means that there was no room for a file; libraries have many words for it."""
    numbered = isinstance(error, OSError) and error.errno in _DISK_NUMBERS
    return numbered or bool(_WORDS_OF_DISK.search(str(error)))


UNNAMEABLE = (
    "The names of files are encoded as {encoding} here, which has no letters for '{name}'. Set the environment "
    "variable PYTHONUTF8=1 or LC_ALL=C.UTF-8, and run the same command again."
)


def unnameable(name: str) -> Optional[InputError]:
    """Return the error for a name that no file can have in the locale, which Python takes for no file; else None."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        return InputError(UNNAMEABLE.format(encoding=error.encoding, name=name))
    return None


def known_error(error: BaseException) -> Optional[CSRDError]:
    """Return the error for the user that an exception means: itself, no memory, a full disk, a name that
    no file can have; None for others."""
    if isinstance(error, CSRDError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(MEMORY_IS_USED_UP)
    if is_disk_full(error):
        return InputError(DISK_IS_FULL.format(reason=reason_of(error)))
    return unnameable(error.object) if isinstance(error, UnicodeEncodeError) else None


NOTHING_WRITTEN = "Cancelled. Nothing was written."


class Cancelled(CSRDError):
    """The caller asked to stop; nothing was written."""

    exit_code = 3
