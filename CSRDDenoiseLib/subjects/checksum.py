"""Checksums of what a row of a table was read from, so that finished work is known again."""

from __future__ import annotations

from pathlib import Path

from ..io.record import describe_file
from ..io.write import sidecar_path
from .table import Row


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file and of its sidecar, or of every file in a folder, in the order of their names."""
    if path.is_dir():
        return describe_file(path, sorted(each for each in path.rglob("*") if each.is_file())).sha256
    sidecar = sidecar_path(path)
    return describe_file(path, [path, *([sidecar] if sidecar != path and sidecar.is_file() else [])]).sha256


def checksums(row: Row) -> dict[str, str]:
    """Return column -> SHA-256 of what the row names."""
    return {name: checksum(path) for name, path in row.files.items()}
