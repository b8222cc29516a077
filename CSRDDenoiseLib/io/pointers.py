"""Pointer files: what Git LFS and git-annex leave in place of content that was not fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

_POINTERS: Mapping[bytes, str] = {b"version https://git-lfs": "git lfs pull", b"/annex/objects/": "git annex get"}
"""How such a file begins -> what brings its content."""


def command_for(path: Path) -> str:
    """Return the command that brings a file's content, empty where the file has it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(max(map(len, _POINTERS)))
    return next((command for start, command in _POINTERS.items() if content.startswith(start)), "")
