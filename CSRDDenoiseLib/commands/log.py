"""The library's log on standard error, one line a message, while a command runs."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import Iterator

LOGGER = __name__.partition(".")[0]
FIGURES = "matplotlib"
"""A library that warns of its own cache and fonts; a figure is the same without them."""


@contextmanager
def show_log(level: int = logging.INFO) -> Iterator[None]:
    """Show what this library logs at ``level`` and above, and of the library that draws figures its errors alone."""
    logger, handler = logging.getLogger(LOGGER), logging.StreamHandler(sys.stderr)
    figures = logging.getLogger(FIGURES)
    before = logger.level, figures.level
    logger.addHandler(handler)
    logger.setLevel(level)
    figures.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        figures.setLevel(before[1])
