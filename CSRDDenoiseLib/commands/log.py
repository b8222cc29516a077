"""The library's log on standard error, one line a message, while a command runs."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import Iterator

LOGGER = __name__.partition(".")[0]


@contextmanager
def show_log(level: int = logging.INFO) -> Iterator[None]:
    """Show what the library logs at ``level`` and above."""
    logger, handler = logging.getLogger(LOGGER), logging.StreamHandler(sys.stderr)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
