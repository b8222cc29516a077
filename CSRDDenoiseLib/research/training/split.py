"""Which subject is for what: decided once, written down, never changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from ...atomic import read_json, write_json
from ...errors import InputError

PARTS = ("train", "validation", "test")
Split = dict[str, list[str]]


def load_or_make_split(
    path: Path, subjects: Sequence[str], shares: Sequence[float], seed: int, needed: Sequence[str] = ()
) -> Split:
    """Return the split recorded at ``path``, or draw one by subject and record it.

    Each source (the part of a name before the slash) is split with the same shares.

    Args:
        path: JSON file of the split.
        subjects: names to divide.
        shares: of training, validation and test.
        seed: of the draw.
        needed: parts that must not be empty.

    Raises:
        InputError: a needed part is empty, and nothing is recorded then; or the file is no split.
    """
    if path.is_file():
        split = load_split(path)
        _check_parts(split, needed, f"The split '{path}'")
        return split
    split = draw_split(subjects, shares, seed)
    given = ", ".join(f"{share:g}" for share in shares)
    _check_parts(split, needed, f"The split of {len(subjects)} subjects with the shares {given}")
    write_json(path, split, indent=2)
    return split


def load_split(path: Path) -> Split:
    """Read a recorded split.

    Raises:
        InputError: it cannot be read, or a part is no list of names.
    """
    try:
        split: Any = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"The split '{path}' cannot be read: {error}.") from error
    parts = [split.get(part) for part in PARTS] if isinstance(split, dict) else [None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in parts):
        raise InputError(f"The split '{path}' must have a list of names for each of {', '.join(PARTS)}.")
    return split


def draw_split(subjects: Sequence[str], shares: Sequence[float], seed: int) -> Split:
    """Divide subjects among the parts at random, each source with the same shares."""
    rng = np.random.default_rng(seed)
    split: Split = {part: [] for part in PARTS}
    for source in sorted({name.split("/")[0] for name in subjects}):
        names = sorted(name for name in subjects if name.split("/")[0] == source)
        rng.shuffle(names)
        ends = np.round(np.cumsum(shares) / sum(shares) * len(names)).astype(int)
        for part, start, end in zip(PARTS, (0, *ends), ends):
            split[part] += names[start:end]
    return split


def _check_parts(split: Split, needed: Sequence[str], what: str) -> None:
    empty = next((part for part in needed if not split[part]), None)
    if empty is not None:
        raise InputError(
            f"{what} leaves none for '{empty}'; give more anatomies or other shares ('subjects')"
            + (", or set 'validation_phantoms' to 0." if empty == "validation" else ".")
        )
