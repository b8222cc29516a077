"""Progress on the command line: a bar on standard error, or JSON lines on standard output."""

from __future__ import annotations

import sys
from typing import Optional, TextIO

from ..progress import Progress, ProgressCallback, describe_seconds, print_json_line

PROGRESS_KINDS = ("bar", "json", "none")
_BAR_WIDTH = 30


def progress_callback(kind: str) -> Optional[ProgressCallback]:
    """Return what shows reports as ``bar``, ``json`` or (None) not at all."""
    kinds: dict[str, Optional[ProgressCallback]] = {"bar": ProgressBar(sys.stderr), "json": _print_json, "none": None}
    return kinds[kind]


class ProgressBar:
    """One line that is rewritten in a terminal; one line a stage in a file."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        """Show a report."""
        if self._stream.isatty():
            end = "\n" if progress.fraction >= 1 else ""
            self._stream.write(f"\r\033[K{describe(progress)}{end}")
        elif progress.stage != self._stage:
            self._stream.write(f"{progress.stage} ({progress.fraction:.0%})\n")
        self._stage = progress.stage
        self._stream.flush()


def describe(progress: Progress) -> str:
    """Return a report as one line: bar, percent, stage, step and remaining time."""
    filled = round(_BAR_WIDTH * progress.fraction)
    bar = "#" * filled + "." * (_BAR_WIDTH - filled)
    step = f" {progress.step}/{progress.of}" if progress.of > 1 else ""
    left = "" if progress.eta_seconds is None else f", {describe_seconds(progress.eta_seconds)} left"
    return f"[{bar}] {progress.fraction:4.0%} {progress.stage}{step}{left}"


def _print_json(progress: Progress) -> None:
    print_json_line(progress.as_dict())
