"""Errors a user is meant to read: each message says what was wrong, with the numbers, and what to do."""

from __future__ import annotations


class CSRDError(Exception):
    """Base of every error this package raises on purpose. ``exit_code`` is what the command line returns."""

    exit_code = 1


class InputError(CSRDError):
    """The input, the settings or the chosen model cannot be used as given."""

    exit_code = 2


class ModelError(InputError):
    """A model folder is unknown, damaged, or written by a newer version."""


class OutOfMemoryError(InputError):
    """The volume does not fit memory even with the smallest patches."""


class Cancelled(CSRDError):
    """The caller asked to stop; nothing was written."""

    exit_code = 3
