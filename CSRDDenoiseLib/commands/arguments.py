"""Types of command-line arguments, whose errors name what is allowed, and checks of where results go."""

from __future__ import annotations

import argparse
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Callable, Sequence, Union

from ..configuration import number_of, parse_dose
from ..errors import InputError

GIB = 1 << 30


def dose(text: str) -> Fraction:
    """A dose fraction, as in ``1/10`` or ``0.1``, between 0 and 1."""
    try:
        value = parse_dose(text)
        if value == 1:
            raise ValueError(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a dose fraction such as 1/10, between 0 and 1") from error
    return value


def fraction(text: str) -> float:
    """A number, or a fraction such as ``1/10``."""
    try:
        return number_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor a fraction such as 1/10") from error


def sides(text: str) -> Union[int, tuple[int, ...]]:
    """One side, ``64``, or three, ``64x64x48``."""
    try:
        found = tuple(int(side) for side in text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a side such as 64 nor sides such as 64x64x48") from error
    return found[0] if len(found) == 1 else found


def doses(text: str) -> list[Fraction]:
    """Dose fractions with commas between them, as in ``1/4,1/10``."""
    return [dose(part) for part in text.split(",")]


def doses_of(words: Sequence[str]) -> list[Fraction]:
    """Dose fractions, as in ``1/4 1/10`` or ``1/4,1/10``.

    Raises:
        InputError: one of them is none.
    """
    try:
        return [each for word in words for each in doses(word)]
    except argparse.ArgumentTypeError as error:
        raise InputError(f"The dose fractions '{' '.join(words)}' are not a list such as 1/4 1/10: {error}.") from error


def number(low: float, high: float) -> Callable[[str], float]:
    """A number between two bounds."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number") from error
        if not (math.isfinite(value) and low <= value <= high):
            raise argparse.ArgumentTypeError(f"{text} must lie between {low:g} and {high:g}")
        return value

    return convert


def count(low: int, high: int = 2**31) -> Callable[[str], int]:
    """A whole number between two bounds."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} must lie between {low} and {high}")
        return value

    return convert


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option for where a network runs."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: %(default)s)")


def check_folder(folder: Path) -> None:
    """Check that results can be written to a folder, or that it can be made; nothing stays.

    Raises:
        InputError: they cannot.
    """
    place = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not place.is_dir():
        raise InputError(f"The folder '{folder}' cannot be made: '{place}' is not a folder.")
    try:
        # asking for permission bits is not enough: read-only file systems, ACLs and root differ
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise InputError(f"The folder '{folder}' cannot be written to: {error.strerror}.") from error


def check_file(path: Path) -> None:
    """Check that a file of results can be written.

    Raises:
        InputError: its folder is missing or read-only, or it is a folder itself.
    """
    if path.is_dir():
        raise InputError(f"The output '{path}' is a folder; give the name of a file.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"The output folder '{path.parent}' does not exist; create it first.")
    check_folder(path.absolute().parent)
