"""SHA-256 of files and of plain values: what a file is known by, and what names the results that depend on values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterable

_BLOCK = 1 << 20


def digest_of_files(*files: Path) -> str:
    """Return the SHA-256 of files one after another, as hexadecimal digits.

    Raises:
        OSError: one cannot be read.
    """
    digest = hashlib.sha256()
    for block in (block for path in files for block in _blocks(path)):
        digest.update(block)
    return digest.hexdigest()


def digest_of_values(values: Any) -> str:
    """Return the SHA-256 of values as JSON has them, keys sorted, as hexadecimal digits; other values by their text."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _blocks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
