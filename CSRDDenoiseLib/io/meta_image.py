"""MetaImage files with another number of voxels than their header states.

SimpleITK up to 2.3 fills the missing part of a truncated file with the contents of memory, without a warning. Later
versions still do so where a list or a pattern names fewer files than slices, and where compressed values do not fill
the image.

Format: MetaIO's documentation (https://github.com/Kitware/MetaIO), tags DimSize, ElementType, ElementNumberOfChannels,
HeaderSize, BinaryData, CompressedData, CompressedDataSize, ElementDataFile; its reader: metaImage.cxx.
"""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Optional, Sequence

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
        InputError: there are fewer than the header states, or they cannot be decompressed.
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
    if named.upper().startswith(b"LIST") or b"%" in named:
        _check_names(path, what, named, start[found.end() :], tags)
        return ()
    if needed is None:
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
    if not there and _is(tags, "CompressedData", True) and not _compressed_size(tags):
        raise InputError(
            f"The {what} '{path}' does not say how many bytes its compressed values are (CompressedDataSize), so that "
            "its reader does not find them. Write it again."
        )
    if there < needed:
        raise InputError(
            f"The {what} '{path}' is cut short or damaged: its header says {needed} values, and {there} are in "
            f"{'it' if local else repr(data.name)}. Copy or export it again."
        )
    longer = there >= needed + needed // int((tags.get("DimSize") or "").split()[-1])
    return (warning("voxels.more", what=what, needed=needed, there=there),) if longer else ()


def _check_names(path: Path, what: str, named: bytes, rest: bytes, tags: TextHeader) -> None:
    """Refuse a list or a pattern that names fewer files than slices, and one that MetaIO fills with other values."""
    is_list, words = b"%" not in named, named.decode("latin-1").split()
    if not is_list and not _PATTERN.fullmatch(named):
        raise InputError(
            f"The {what} '{path}' names its files by '{named.decode('latin-1')}', which is not a pattern; a pattern "
            "has one %d. Export it again."
        )
    sides = (tags.get("DimSize") or "").split()
    if not sides or not sides[-1].isdigit() or (is_list and len(rest) >= LARGEST_HEADER // 2):
        return
    slices = int(sides[-1])
    if is_list and words[1:] not in ([], [str(len(sides) - 1)]):
        raise InputError(
            f"The {what} '{path}' names its files by '{' '.join(words)}', which is not read; give LIST and a file for "
            f"each of its {slices} slices."
        )
    # MetaIO passes over a last line that has no end
    listed = sum(bool(line.strip()) for line in rest.split(b"\n")[:-1]) if is_list else _numbered(words[1:4], slices)
    if listed < slices or (listed > slices and not is_list):
        way = "End the line of each file" if is_list else "Give the first number, the last and the step"
        raise InputError(
            f"The {what} '{path}' is cut short or damaged: it lists {listed} files, and its header says {slices} "
            f"slices. {way}, or export it again."
        )


def _numbered(numbers: Sequence[str], slices: int) -> int:
    """How many files MetaIO takes for a pattern by its first number, last number and step, as many as there are."""
    given = [int(text) if re.fullmatch(r"-?\d+", text) else 0 for text in numbers]
    first = given[0] if given else 1
    last = given[1] if len(given) > 1 else first + slices - 1
    step = given[2] if len(given) > 2 else (last - first) // slices if len(given) > 1 else 1
    return len(range(first, last + 1, step)) if step > 0 else 0


def _values_needed(tags: TextHeader) -> Optional[int]:
    """How many numbers the voxels are; None if the header does not state it, or the type is unknown."""
    try:
        count = int(np.prod([int(n) for n in (tags.get("DimSize") or "").split()], dtype=object))
        channels = int(tags.get("ElementNumberOfChannels") or "1")
    except ValueError:
        return None
    return count * channels if tags.get("ElementType") in _BYTES and count > 0 else None


def _data_begin(tags: TextHeader, start: bytes, line_end: int, local: bool) -> int:
    if _is(tags, "CompressedData", True) and not _compressed_size(tags):
        # MetaIO takes all of a file for compressed values whose size is not given
        return 0
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
    return _decompressed(stream, _compressed_size(tags)) // size


def _compressed_size(tags: TextHeader) -> int:
    """How many bytes the compressed values are; 0 where the header does not say it."""
    text = tags.get("CompressedDataSize") or ""
    return int(text) if text.isdigit() else 0


def _is(tags: TextHeader, name: str, value: bool) -> bool:
    return (tags.get(name) or "").lower()[:1] in (("t", "1") if value else ("f", "0"))


def _decompressed(stream: BinaryIO, most: int) -> int:
    """How many bytes a zlib stream of ``most`` bytes, 0 for all, holds up to its end or the first that is damaged."""
    unpacker, total, left = zlib.decompressobj(zlib.MAX_WBITS | 32), 0, most or sys.maxsize
    try:
        while left and not unpacker.eof:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                break
            left -= len(chunk)
            total += len(unpacker.decompress(chunk))
    except zlib.error:
        return total
    return total
