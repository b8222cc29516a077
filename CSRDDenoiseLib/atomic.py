"""Files that whoever reads them finds complete: as they were before, or as they are after."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Optional


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes its place when the body succeeds, else it is removed.

    The folder is made where it is missing.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_json(path: Path, values: Any, indent: Optional[int] = None) -> None:
    """Write JSON (UTF-8) that is on the disk before it takes its place."""
    with complete_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(values, indent=indent) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
