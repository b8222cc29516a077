"""Results of subjects on disk, each under a checksum of all its inputs, so that a run can continue."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from ...atomic import read_json
from ...configuration import structure
from ...digests import digest_of_values
from ...errors import InputError
from ...io.write import all_or_nothing
from .result import SubjectResult

FORMAT = 3


class Store:
    """A folder of results, one file a subject.

    Args:
        folder: made when the first result is written.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, key: str) -> Optional[SubjectResult]:
        """Return a result, or None where there is none that can be read."""
        try:
            values = read_json(self.folder / f"{key}.json")
            return structure(values, SubjectResult, "The result of a subject", text=False)
        except (OSError, ValueError, InputError):
            return None

    def save(self, key: str, result: SubjectResult) -> None:
        """Write a result; it is there whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}.json"
        with all_or_nothing([path]) as temporary:
            temporary[path].write_text(json.dumps(asdict(result)), encoding="utf-8")


def key_of(**depends_on: Any) -> str:
    """Return the name of a result that depends on plain JSON values."""
    return digest_of_values({"format": FORMAT, **depends_on})[:32]
