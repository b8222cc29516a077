"""The header of a NRRD or MetaImage file as its text gives it, to be compared with what ITK made of it.

Formats: https://teem.sourceforge.net/nrrd/format.html; MetaIO's documentation (https://github.com/Kitware/MetaIO).
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Optional

import numpy as np

NRRD, META_IMAGE = "NRRD", "MetaImage"
SUFFIXES: Mapping[str, str] = {".nrrd": NRRD, ".nhdr": NRRD, ".mha": META_IMAGE, ".mhd": META_IMAGE}
LARGEST_HEADER = 1 << 16
_LPS_FROM: Mapping[str, tuple[int, int, int]] = {
    **{name: (1, 1, 1) for name in ("left-posterior-superior", "lps")},
    **{name: (-1, -1, 1) for name in ("right-anterior-superior", "ras")},
    **{name: (1, -1, 1) for name in ("left-anterior-superior", "las")},
}
"""Space of a NRRD file -> signs that turn its vectors into L-P-S; with time in a fourth dimension they are the same."""
_META = {
    "spacing": ("ElementSpacing", "ElementSize"),
    "axes": ("TransformMatrix", "Rotation", "Orientation"),
    "origin": ("Offset", "Position", "Origin"),
}
"""Part of a MetaImage file's place -> the tags that may state it, in MetaIO's order."""
_DATA_FILE: Mapping[str, re.Pattern[bytes]] = {
    NRRD: re.compile(rb"^data ?file: *(\S.*)$", re.MULTILINE | re.IGNORECASE),
    META_IMAGE: re.compile(rb"^[ \t]*ElementDataFile\s*[=:][ \t]*(\S.*)$", re.MULTILINE),
}
_NUMBER = re.compile(r"%\d*d")
_OF_TIME = re.compile(r"(-time|(?<=[ps])t)$")
_VECTOR = re.compile(r"\(([^()]*)\)|\bnone\b")


@dataclass(frozen=True)
class TextHeader:
    """Fields of a header.

    Attributes:
        kind: :data:`NRRD`, :data:`META_IMAGE`, or empty for other formats.
        fields: name -> value; see :meth:`get`.
        end: bytes before the voxels of a NRRD file, or before the tag ElementDataFile.
    """

    kind: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    end: int = 0

    def get(self, *names: str) -> Optional[str]:
        """Return the value of the first of these fields that is there; spaces and case do not matter."""
        return next((self.fields[key] for name in names if (key := _key(name)) in self.fields), None)

    def numbers(self, *names: str) -> Optional[np.ndarray]:
        """Return a field of numbers, NaN where one is none; None where there is no such field."""
        text = self.get(*names)
        return None if text is None else np.array([_number(part) for part in text.split()])


@dataclass(frozen=True)
class StatedPlace:
    """Where a header places a volume, in L-P-S, mm; None for what it does not state.

    Attributes:
        steps: (3, 3), columns are the steps along x, y and z.
        origin: centre of the first voxel.
        has_spacing: whether the steps have a length that is not assumed.
    """

    steps: Optional[np.ndarray] = None
    origin: Optional[np.ndarray] = None
    has_spacing: bool = True


def read_text_header(path: Path) -> TextHeader:
    """Return the header of a NRRD or MetaImage file; an empty one for other formats."""
    kind = SUFFIXES.get(path.suffix.lower(), "")
    if not kind:
        return TextHeader()
    with path.open("rb") as stream:
        start = stream.read(LARGEST_HEADER)
    if kind == META_IMAGE:
        found = re.search(rb"^\s*ElementDataFile\s*[=:]", start, re.MULTILINE)
        end = found.start() if found else len(start)
        return meta_image_header(start[:end])
    found = re.search(rb"\r?\n\r?\n", start)
    end = found.end() if found else len(start)
    lines = start[:end].decode("latin-1").splitlines()[1:]
    pairs = (line.partition(": ") for line in lines if not line.startswith("#") and ":=" not in line)
    return TextHeader(NRRD, {_key(name): value.strip() for name, separator, value in pairs if separator}, end)


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files of voxels that a NRRD or MetaImage header names; none where they follow the header."""
    kind = SUFFIXES.get(path.suffix.lower(), "")
    if not kind:
        return ()
    with path.open("rb") as stream:
        start = stream.read(LARGEST_HEADER)
    end = re.search(rb"\r?\n\r?\n", start) if kind == NRRD else None
    found = _DATA_FILE[kind].search(start, 0, end.start() if end else len(start))
    text, *listed = (start[found.start(1) :] if found else b"LOCAL").decode("utf-8", "surrogateescape").splitlines()
    if text.upper().startswith("LIST"):
        names = [path.parent / line.strip() for line in listed if line.strip()]
    elif "%" in text:
        names = sorted(path.parent.glob(_NUMBER.sub("*", glob.escape(text.split()[0]))))
    else:
        names = [] if text.upper() == "LOCAL" else [path.parent / text]
    return tuple(each for each in names if each.is_file())


def meta_image_header(start: bytes) -> TextHeader:
    """Return the tags of a MetaImage header."""
    pairs = (re.split("[=:]", line, maxsplit=1) for line in start.decode("latin-1").splitlines())
    return TextHeader(META_IMAGE, {_key(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}, len(start))


def stated_place(header: TextHeader) -> StatedPlace:
    """Return where a header places the volume; NaN where its text is no number."""
    return _PLACES[header.kind](header) if header.kind else StatedPlace()


def _meta_image_place(header: TextHeader) -> StatedPlace:
    spacing, axes, origin = (_three(header.numbers(*_META[name])) for name in ("spacing", "axes", "origin"))
    directions, numbers = np.eye(3), header.numbers(*_META["axes"])
    if axes is not None and numbers is not None:
        directions = _square(numbers)
    return StatedPlace(directions.T * (1.0 if spacing is None else spacing), origin, spacing is not None)


def _nrrd_place(header: TextHeader) -> StatedPlace:
    signs = np.array(_LPS_FROM.get(_space(header), (1, 1, 1)))
    origin, of_space, spacing = _vectors(header.get("space origin")), header.get("space directions"), None
    if of_space is None:
        spacing = _three(header.numbers("spacings"))
        known = spacing is not None and bool(np.isfinite(spacing).all())
        return StatedPlace(np.diag(spacing) if known and spacing is not None else None, None, known)
    # an axis of values has no direction, and neither has one of time
    rows = [_three(row) for row in _vectors(of_space) if len(row)]
    steps = np.array(rows[:3]) if len(rows) >= 3 else np.full((3, 3), np.nan)
    first = _three(origin[0]) if origin else None
    return StatedPlace(signs[:, None] * steps.T, None if first is None else signs * first)


_PLACES = {NRRD: _nrrd_place, META_IMAGE: _meta_image_place}


def has_patient_space(header: TextHeader) -> bool:
    """Whether a header gives directions and a place in the patient's axes."""
    if header.kind == NRRD:
        return _space(header) in _LPS_FROM and None not in (header.get("space directions"), header.get("space origin"))
    return None not in (header.get(*_META["axes"]), header.get(*_META["origin"]))


def _space(header: TextHeader) -> str:
    return _OF_TIME.sub("", (header.get("space") or "").lower())


def _vectors(text: Optional[str]) -> list[np.ndarray]:
    """Return the vectors of ``(1,0,0) none (0,0,2)``, empty for ``none``."""
    found = [match.group(1) for match in _VECTOR.finditer(text or "")]
    return [np.array([_number(part) for part in each.split(",")] if each else []) for each in found]


def _square(numbers: np.ndarray) -> np.ndarray:
    """Return the first three rows and columns of a square matrix."""
    side = round(numbers.size**0.5)
    return numbers.reshape(side, side)[:3, :3] if side >= 3 and side * side == numbers.size else np.full((3, 3), np.nan)


def _three(numbers: Optional[np.ndarray]) -> Optional[np.ndarray]:
    if numbers is None:
        return None
    return numbers[:3] if numbers.size >= 3 else np.full(3, np.nan)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _key(name: str) -> str:
    return "".join(name.split()).lower()
