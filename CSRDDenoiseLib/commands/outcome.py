"""What the commands that denoise print at the end of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Iterable, Union

from ..progress import print_json_line
from ..sentences import CLI, sentence
from .progress import describe_seconds

if TYPE_CHECKING:
    from ..dynamic.result import DynamicResult
    from ..io.record import Record


def print_run(result: Union[Record, DynamicResult], progress: str) -> None:
    """Print the end of a run on a static or a dynamic PET."""
    from ..dynamic.result import DynamicResult

    if isinstance(result, DynamicResult):
        print_dynamic(result, progress)
    else:
        print_result(result, progress)


def print_result(record: Record, progress: str) -> None:
    """Print the end of a run: its last JSON line, or warnings and a sentence on standard error."""
    if progress == "json":
        print_json_line({"result": record.as_dict()})
        return
    said = ((finding, sentence(finding, CLI)) for finding in record.findings)
    _print_lines(f"Warning: {text}" if finding.is_warning else text for finding, text in said if text)
    _print_lines([f"{_written(record.outputs.values(), record.seconds['total'])}."])


def print_dynamic(result: DynamicResult, progress: str) -> None:
    """Print the end of a run on a dynamic PET, as :func:`print_result` does."""
    if progress == "json":
        print_json_line({"result": result.provenance})
        return
    _print_lines(f"Warning: {text}" for text in result.sentences(CLI))
    done = sum(outcome.record is not None for outcome in result.frames)
    written = _written(result.outputs.values(), result.seconds["total"])
    _print_lines([f"{written}; {done} of {len(result.frames)} frames were denoised."])


def _written(outputs: Iterable[str], seconds: float) -> str:
    return f"Wrote {', '.join(outputs)} in {describe_seconds(seconds)}"


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
