"""The error for the user that an exception of a library stands for: one on the command line, at a worker, in Slicer."""

from __future__ import annotations

import errno

import pytest

from CSRDDenoiseLib.errors import InputError, ModelError, OutOfMemoryError, known_error
from CSRDDenoiseLib.worker.serve import error_message

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error, kind",
    [
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("std::bad_alloc"), OutOfMemoryError),
        (FULL, InputError),
        (RuntimeError("3000 requested and 12 written"), InputError),
    ],
)
def test_what_a_library_says_of_memory_and_disk_becomes_an_error_for_the_user(error, kind):
    assert type(known_error(error)) is kind


def test_an_error_for_the_user_is_itself_and_others_stay_unknown():
    own = ModelError("The model is damaged.")
    assert known_error(own) is own
    assert known_error(ValueError("a fault")) is None


def test_the_worker_of_slicer_reports_a_full_disk_as_a_sentence_and_a_fault_as_one():
    assert error_message("1", FULL)["kind"] == "InputError"
    assert error_message("1", ValueError("a fault"))["kind"] == "InternalError"
