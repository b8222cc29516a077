"""DICOM headers: one frame's tags wherever they stand, numbers and times that may be missing or malformed."""

from __future__ import annotations

import math
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Iterator, Optional

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

MAGIC, PREAMBLE = b"DICM", 128
_BARE_STARTS = (b"\x08\x00", b"\x02\x00")
_DIGITS = re.compile(r"^(\d{2})(?::?(\d{2}))?(?::?(\d{2}(?:\.\d+)?))?$")


@dataclass(frozen=True)
class Tags:
    """The tags of one frame: its own functional groups (PS3.3 C.7.6.16) before the shared ones before the file's.

    Attributes:
        path: file.
        index: of the frame in the file, from 0.
        count: frames in the file.
        dataset: the file's header, without pixels.
        groups: keyword -> element of the frame's and the shared functional groups.
    """

    path: Path
    index: int
    count: int
    dataset: Dataset = field(repr=False)
    groups: dict[str, Any] = field(repr=False, default_factory=dict)

    def get(self, keyword: str) -> Any:
        """Return a tag's value, or None where it is absent, empty or cannot be read."""
        try:
            value = self.groups[keyword].value if keyword in self.groups else self.dataset.get(keyword)
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
            return None
        return None if value is None or value == "" else value

    def text(self, keyword: str) -> str:
        """Return a tag as text, empty where there is none; several values are joined by a backslash."""
        value = self.get(keyword)
        if value is None:
            return ""
        if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
            return "\\".join(str(each) for each in value)
        return str(value).strip()

    def number(self, keyword: str) -> Optional[float]:
        """Return a tag as a finite number, or None."""
        return finite(self.get(keyword))

    def numbers(self, keyword: str, count: int) -> Optional[tuple[float, ...]]:
        """Return a tag of ``count`` finite numbers, or None."""
        value = self.get(keyword)
        try:
            found = [finite(each) for each in value] if value is not None else []
        except TypeError:
            return None
        if len(found) != count or None in found:
            return None
        return tuple(each for each in found if each is not None)

    def item(self, keyword: str) -> Optional[Dataset]:
        """Return the first item of a sequence, or None."""
        value = self.get(keyword)
        try:
            return value[0]
        except (TypeError, IndexError, KeyError):
            return None

    def has(self, keyword: str) -> bool:
        """Whether the tag is there at all, even empty or malformed."""
        return keyword in self.groups or keyword in self.dataset


def finite(value: Any) -> Optional[float]:
    """Return a value as a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def read_header(path: Path) -> Optional[Dataset]:
    """Return a file's header without its pixels, or None where it is no DICOM file.

    Raises:
        Exception: whatever pydicom makes of a damaged one.
    """
    with path.open("rb") as stream:
        start = stream.read(PREAMBLE + len(MAGIC))
    if start[PREAMBLE:] != MAGIC and start[:2] not in _BARE_STARTS:
        return None
    with quiet():
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return dataset if len(dataset) or getattr(dataset, "file_meta", None) else None


def sop_class_name(dataset: Dataset) -> str:
    """Return the name of the SOP class, from the file meta information where the header does not get that far."""
    uid = dataset.get("SOPClassUID") or getattr(dataset, "file_meta", Dataset()).get("MediaStorageSOPClassUID") or ""
    return UID(str(uid)).name


def frames_of(path: Path, dataset: Dataset) -> list[Tags]:
    """Return the tags of every frame of a file."""
    count = max(1, int(finite(dataset.get("NumberOfFrames")) or 1))
    shared = _flattened(next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), None))
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    own = [_flattened(per_frame[index]) if index < len(per_frame) else {} for index in range(count)]
    return [Tags(path, index, count, dataset, {**shared, **own[index]}) for index in range(count)]


def _flattened(groups: Optional[Dataset]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in groups or ():
        if group.VR == "SQ" and group.value:
            found[group.keyword] = group
            found.update({element.keyword: element for element in group.value[0] if element.keyword})
    return found


def date_time(date: str, time: str) -> Optional[datetime]:
    """Return a DICOM date (DA) and time (TM) as one, or None where they are not both there and valid."""
    digits = date.replace(".", "").replace("-", "").strip()[:8]
    parts = _DIGITS.match(time.strip())
    if len(digits) != 8 or not digits.isdigit() or not parts:
        return None
    try:
        day = datetime.strptime(digits, "%Y%m%d")
    except ValueError:
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return day + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def full_date_time(text: str) -> Optional[datetime]:
    """Return a DICOM date-time (DT); an offset from UTC is dropped, as date and time tags beside it have none."""
    return date_time(text[:8], re.split(r"[+-]", text[8:])[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks on values that break the standard off the screen; they are judged here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
