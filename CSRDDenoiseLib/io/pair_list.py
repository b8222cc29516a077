"""Read a list of pairs of a PET and an MR, a TSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ..errors import InputError, unnameable
from .tsv import read_tsv

COLUMNS = ("pet", "mr")


def read_pairs(path: Path) -> list[tuple[Path, Optional[Path]]]:
    """Read a TSV file with the columns ``pet`` and ``mr``; paths may be relative to the file, an MR may be left out.

    Raises:
        InputError: the file cannot be read, a column or a value is missing, or a volume does not exist.
    """
    pairs: list[tuple[Path, Optional[Path]]] = []
    for number, row in enumerate(read_tsv(path)[1], start=2):
        pet, mr = ((row.get(name) or "").strip() for name in COLUMNS)
        if not pet:
            raise InputError(f"Line {number} of '{path.name}' has no PET; the columns are 'pet' and 'mr', tab between.")
        found = path.parent / pet, (path.parent / mr if mr and mr != "n/a" else None)
        gone = next((str(each) for each in found if each is not None and not each.exists()), None)
        if gone is not None:
            raise unnameable(gone) or InputError(
                f"Line {number} of '{path.name}' names '{gone}', which does not exist."
            )
        pairs.append(found)
    if not pairs:
        raise InputError(f"The table '{path}' has no line below its header.")
    return pairs
