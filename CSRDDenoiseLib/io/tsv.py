"""Read a table of columns with tabs between them."""

from __future__ import annotations

import csv
from pathlib import Path

from ..errors import InputError


def read_tsv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the header, and each line below it as column -> cell.

    Raises:
        InputError: the file cannot be read, is no text, or is no table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            return list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table '{path}' cannot be read: {error}.") from error
