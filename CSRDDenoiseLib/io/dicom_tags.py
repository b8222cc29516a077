"""DICOM headers: one frame's tags wherever they stand, numbers and times that may be missing or malformed."""

from __future__ import annotations

import math
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

MAGIC, PREAMBLE = b"DICM", 128
BARE_STARTS = (b"\x08\x00", b"\x02\x00")
"""First bytes of an object without a preamble: of group 0008, or of the file meta information."""
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})$")
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


@dataclass(frozen=True)
class Private:
    """A private element: its creator, group, and place in the creator's block (PS3.5, 7.8.1)."""

    creator: str
    group: int
    element: int

    def of(self, tags: Tags) -> str:
        """Return its value as text, in the creator's block or else in the first block; empty where there is none."""
        try:
            value = tags.dataset.private_block(self.group, self.creator)[self.element].value
        except KeyError:
            found = tags.dataset.get((self.group, 0x1000 + self.element))
            value = "" if found is None else found.value
        # unknown to the reader (VR UN), text is bytes
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
        return text.strip("\0 ")


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
    if start[PREAMBLE:] != MAGIC and start[:2] not in BARE_STARTS:
        return None
    with quiet():
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return dataset if len(dataset) or getattr(dataset, "file_meta", None) else None


_WORDS: Mapping[str, str] = {"OW": "u2", "OL": "u4", "OF": "u4", "OD": "u8", "OV": "u8"}
"""Representation of a value that pydicom keeps as bytes -> its words, which have a byte order."""


def in_little_endian(data: Dataset) -> Dataset:
    """Return a header that can be written in little endian; one that was read in another order is decoded for it."""
    if data.file_meta.get("TransferSyntaxUID") != ExplicitVRBigEndian:
        return data

    def swap(_dataset: Dataset, element: Any) -> None:
        if element.VR in _WORDS and element.value:
            element.value = np.frombuffer(element.value, f">{_WORDS[element.VR]}").byteswap().tobytes()

    # a walk decodes every element on its way
    data.walk(swap)
    decoded = Dataset()
    decoded.update(data)
    decoded.file_meta = FileMetaDataset(data.file_meta)
    decoded.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return decoded


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
        # a private group may repeat standard tags with other values, as (2005,140F) of Philips does
        if group.VR == "SQ" and group.value and not group.tag.is_private:
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


def full_date_time(text: str, zone: Optional[timedelta] = None) -> Optional[datetime]:
    """Return a DICOM date-time (DT) in the time zone of the date and time tags beside it, or None.

    Args:
        text: of the tag, perhaps with an offset from UTC.
        zone: offset from UTC of the date and time tags; where it is not known, the offset of the text is dropped.
    """
    found, offset = date_time(text[:8], re.split(r"[+-]", text[8:])[0]), _offset(text[8:])
    if found is None or offset is None or zone is None:
        return found
    return found - offset + zone


def zone_of(tags: Tags) -> Optional[timedelta]:
    """Return the offset from UTC of a header's dates and times: as stated, or of its acquisition's date-time."""
    texts = (tags.text(name) for name in ("TimezoneOffsetFromUTC", "FrameAcquisitionDateTime", "AcquisitionDateTime"))
    return next((offset for text in texts if (offset := _offset(text)) is not None), None)


def _offset(text: str) -> Optional[timedelta]:
    found = _OFFSET.search(text.strip())
    if not found:
        return None
    sign, hours, minutes = found.groups()
    return (-1 if sign == "-" else 1) * timedelta(hours=int(hours), minutes=int(minutes))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks on values that break the standard off the screen; they are judged here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
