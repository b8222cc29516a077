"""Checksums of the files of a table's row, by which finished work is recognised."""

from __future__ import annotations

from pathlib import Path

from ..io.dicom_files import INDEX, files_below
from ..io.record import describe_file
from ..io.sidecar import sidecars_of, stem_of
from ..io.text_header import data_files
from .table import Row

_BESIDE = (".tsv", ".hdr", ".hdr.gz", ".img", ".img.gz", ".raw", ".raw.gz", ".zraw")


def files_of(path: Path) -> list[Path]:
    """Return the files that the image at a path, and what is known of it, follow from.

    Of a folder or a DICOMDIR every file below that is not hidden, in the order of their names; of a file also the
    voxels or the header apart from it, the table that names its labels, and its sidecars, those that it inherits in a
    BIDS dataset too.
    """
    if path.is_dir() or path.name.upper() == INDEX:
        folder = path if path.is_dir() else path.parent
        return sorted(each for each in files_below(folder) if each.is_file())
    beside = [path.with_name(f"{stem_of(path)}{ending}") for ending in _BESIDE]
    found = [path, *(each for each in (*beside, *sidecars_of(path)) if each.is_file())]
    # a header may name any file of voxels
    return list(dict.fromkeys([*found, *data_files(path)]))


def checksum(path: Path) -> str:
    """Return the SHA-256 of :func:`files_of` a path."""
    return describe_file(path, files_of(path)).sha256


def checksums(row: Row) -> dict[str, str]:
    """Return column -> SHA-256 of what the row names."""
    return {name: checksum(path) for name, path in row.files.items()}
