"""MetaImage files whose voxels are not as many as their header says.

Of a file that is cut short, SimpleITK up to 2.3 fills the rest with what lies in memory, and says nothing.

Format: MetaIO's documentation (https://github.com/Kitware/MetaIO), tags DimSize, ElementType, ElementNumberOfChannels,
HeaderSize, BinaryData, CompressedData, ElementDataFile.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import BinaryIO, Optional

import numpy as np

from ..errors import InputError
from ..findings import Finding, warning
from .text_header import LARGEST_HEADER, TextHeader, meta_image_header

SUFFIXES = (".mha", ".mhd")
_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_CHUNK = 1 << 20
_PATTERN = re.compile(rb"[^%]*%0?\d{0,2}d[^%]*")
_DATA_FILE = re.compile(rb"^[ \t]*ElementDataFile\s*[=:]\s*(.*?)\s*$", re.MULTILINE)


def check_length(path: Path, what: str) -> tuple[Finding, ...]:
    """Compare the voxels of a MetaImage file with its header; other formats, and lists of files, pass.

    Returns:
        A warning where there are more by a slice, as where the header names another type or size than was written.

    Raises:
        InputError: there are fewer than the header says, or they cannot be decompressed.
    """
    if path.suffix.lower() not in SUFFIXES:
        return ()
    with path.open("rb") as stream:
        start = stream.read(LARGEST_HEADER)
    found = _DATA_FILE.search(start)
    if found is None:
        return ()
    tags, named = meta_image_header(start[: found.start()]), found.group(1)
    needed = _values_needed(tags)
    _check_names(path, what, named, start[found.end() :], tags)
    if needed is None or named.upper().startswith(b"LIST") or b"%" in named:
        return ()
    local = named.upper() == b"LOCAL"
    data = path if local else path.parent / named.decode("utf-8", "surrogateescape")
    if data.exists() and not data.is_file():
        raise InputError(f"The {what} '{path}' has its values in '{data}', which is not a file. Export it again.")
    if not data.is_file():
        return ()
    with data.open("rb") as stream:
        stream.seek(_data_begin(tags, start, found.end(), local))
        there = _values_there(stream, tags)
    if there < needed:
        raise InputError(
            f"The {what} '{path}' is cut short or damaged: its header says {needed} values, and {there} are in "
            f"{'it' if local else repr(data.name)}. Copy or export it again."
        )
    longer = there >= needed + needed // int((tags.get("DimSize") or "").split()[-1])
    return (warning("voxels.more", what=what, needed=needed, there=there),) if longer else ()


def _check_names(path: Path, what: str, named: bytes, rest: bytes, tags: TextHeader) -> None:
    """Refuse a list of fewer files than slices, and a pattern that MetaIO would fill with more than one number."""
    if b"%" in named and not _PATTERN.fullmatch(named):
        raise InputError(
            f"The {what} '{path}' names its files by '{named.decode('latin-1')}', which is not a pattern; a pattern "
            "has one %d. Export it again."
        )
    if named.upper() == b"LIST" and len(rest) < LARGEST_HEADER // 2:
        listed, slices = len(rest.split()), (tags.get("DimSize") or "0").split()[-1:]
        if slices and slices[0].isdigit() and listed < int(slices[0]):
            raise InputError(
                f"The {what} '{path}' is cut short or damaged: it lists {listed} files, and its header says "
                f"{slices[0]} slices. Export it again."
            )


def _values_needed(tags: TextHeader) -> Optional[int]:
    """How many numbers the voxels are; None where the header does not say it, or in a type that is not known."""
    try:
        count = int(np.prod([int(n) for n in (tags.get("DimSize") or "").split()], dtype=object))
        channels = int(tags.get("ElementNumberOfChannels") or "1")
    except ValueError:
        return None
    return count * channels if tags.get("ElementType") in _BYTES and count > 0 else None


def _data_begin(tags: TextHeader, start: bytes, line_end: int, local: bool) -> int:
    if local:
        return start.find(b"\n", line_end) + 1 or line_end
    try:
        return max(int(tags.get("HeaderSize") or "0"), 0)
    except ValueError:
        return 0


def _values_there(stream: BinaryIO, tags: TextHeader) -> int:
    """How many numbers follow from here."""
    if _is(tags, "BinaryData", False):
        return len(stream.read().split())
    size = _BYTES[tags.get("ElementType") or ""]
    if not _is(tags, "CompressedData", True):
        here = stream.tell()
        return (stream.seek(0, 2) - here) // size
    return _decompressed(stream) // size


def _is(tags: TextHeader, name: str, value: bool) -> bool:
    return (tags.get(name) or "").lower()[:1] in (("t", "1") if value else ("f", "0"))


def _decompressed(stream: BinaryIO) -> int:
    """How many bytes a zlib stream holds, up to its end or the first that is damaged."""
    unpacker, total = zlib.decompressobj(zlib.MAX_WBITS | 32), 0
    try:
        while not unpacker.eof:
            chunk = stream.read(_CHUNK)
            if not chunk:
                break
            total += len(unpacker.decompress(chunk))
    except zlib.error:
        return total
    return total
