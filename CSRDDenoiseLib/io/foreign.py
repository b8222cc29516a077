"""Files that are no image, or of a format that is not read, by how they begin, and what the user can do with them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Iterable, Mapping

from .nifti import suffix_of
from .text_header import SUFFIXES

_START = 1024
_CONVERT, _UNPACK, _AGAIN = "Convert it to NIfTI", "Unpack it, and give what is in it", "Download or copy it again"
_TEXTS: Mapping[bytes, tuple[str, str]] = {
    b"!interfile": ("of the format Interfile, which is not read", _CONVERT),
    b"matrix7": ("of the format ECAT 7, which is not read", _CONVERT),
    b"type  = ": ("of the format AFNI, which is not read", _CONVERT),
    b"matlab 5.0 mat-file": ("a MATLAB file, which is not read", _CONVERT),
    b"\x93numpy": ("a NumPy file, which states no place and is not read", _CONVERT),
    **dict.fromkeys((b"<!doctype html", b"<html"), ("a web page, as where a download needs a login", _AGAIN)),
}
"""How files begin, in lower case and without blanks -> what they are, and what to do; of scanners .hdr and .v too."""
_ARCHIVES: Mapping[bytes, str] = {
    b"PK\x03\x04": "ZIP",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_GZIP, _TAR, _TAR_AT = b"\x1f\x8b", b"ustar", 257
_ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".tar.xz")


def what_is_it(path: Path) -> str:
    """Return what a file is and what to do with it, a sentence without its subject; empty where it may be an image.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    if not start:
        return f"cannot be read: it is empty (0 bytes). {_AGAIN}."
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = next((kind for begin, kind in _TEXTS.items() if text.startswith(begin)), None)
    if found:
        return f"is {found[0]}. {found[1]}."
    inner = _unpacked(start)
    kind = _archive(inner) or _archive(start)
    if not kind and start.startswith(_GZIP):
        kind = "gzip" if inner.startswith(_GZIP) or not suffix_of(path) else ""
        twice = " twice" if inner.startswith(_GZIP) else ""
        return f"is compressed{twice} by {kind}. Decompress it once." if kind else ""
    return f"is packed ({kind}). {_UNPACK}." if kind else ""


def _archive(start: bytes) -> str:
    if start[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return "tar"
    return next((name for begin, name in _ARCHIVES.items() if start.startswith(begin)), "")


def _unpacked(start: bytes) -> bytes:
    """Return how the content of a gzip file begins, empty of other files."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, _START) if start.startswith(_GZIP) else b""
    except zlib.error:
        return b""


def instead_of_dicom(files: Iterable[Path]) -> str:
    """Return a sentence, after a blank, on what a folder without a DICOM series holds and what to do; or nothing."""
    found = list(files)
    images = [path for path in found if suffix_of(path) or path.suffix.lower() in SUFFIXES]
    packed = [path for path in found if path.name.lower().endswith(_ARCHIVE_SUFFIXES)]
    if images:
        return f" It holds images of other formats ({len(images)}), such as '{images[0].name}'; give the file."
    if packed:
        return f" It holds archives ({len(packed)}), such as '{packed[0].name}'; unpack them first."
    return ""
