"""BIDS sidecars: JSON files with the unit, the times and the injection of a volume (BIDS, PET).

The file of the volume's own name and, in a BIDS dataset, those that it inherits from folders above (BIDS, "The
Inheritance Principle"): same suffix, no entity that the volume has not; the nearer one wins, entry by entry.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ..findings import Finding, warning
from .dicom_tags import finite
from .volume import UNKNOWN, Frame, unit_words

_DOUBLE_SUFFIXES = (".nii.gz", ".img.gz", ".hdr.gz")
_MODALITY_OF_SUFFIX = {"pet": "PT", **{name: "MR" for name in ("t1w", "t2w", "flair", "pdw", "t2starw", "bold")}}
_ATTENUATION, _NO_METHOD = ("AttenuationCorrection", "AttenuationCorrectionMethod"), ("none", "no", "off", "false")
"""Entries that describe a method in free text -> texts, in lower case, of none; a missing one says nothing."""
_LARGEST_BYTES = 16 << 20
LONGEST_SCAN_S = 86400.0
"""From the begin of the first frame to the end of the last; a longer scan was stated in milliseconds."""
LARGEST_OVERLAP, ROUNDED_S = 0.1, 1.0
"""Part of a frame, and seconds, by which it may last into the next one: times of some converters are rounded."""


def stem_of(path: Path) -> str:
    """Return a file's name without its image suffix, ``sub-01_pet.nii.gz`` -> ``sub-01_pet``."""
    for suffix in _DOUBLE_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def read_sidecar(path: Path, what: str) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    """Return the entries of a volume's sidecars, empty without one, and what was noticed."""
    entries: dict[str, Any] = {}
    unreadable = []
    for sidecar in sidecars_of(path):
        try:
            # a link to nothing is a sidecar whose content was not fetched
            if (sidecar.is_file() or sidecar.is_symlink()) and sidecar.stat().st_size <= _LARGEST_BYTES:
                found = json.loads(sidecar.read_text(encoding="utf-8-sig"))
                entries.update(found if isinstance(found, dict) else {})
        except (OSError, ValueError, RecursionError):
            unreadable.append(warning("sidecar.unreadable", what=what, file=sidecar.name))
    return entries, tuple(unreadable)


def sidecars_of(path: Path) -> list[Path]:
    """Return the sidecars that apply to a volume, the farthest first and the one of its own name last."""
    own, place = path.parent / f"{stem_of(path)}.json", path.absolute()
    root, entities = _dataset_root(place), _entities(stem_of(path))
    if root is None:
        return [own]
    folders = [folder for folder in reversed(place.parents) if folder == root or root in folder.parents]
    above = [
        each
        for folder in folders
        for each in sorted(folder.glob(f"*{entities[-1]}.json"), key=lambda each: (each.name.count("_"), each.name))
        if each.stem != own.stem and _applies(_entities(each.stem), entities)
    ]
    return [*above, own]


def _entities(stem: str) -> list[str]:
    """Return the parts of a BIDS name; the suffix is the last."""
    return stem.split("_")


def _applies(above: list[str], entities: list[str]) -> bool:
    return above[-1] == entities[-1] and set(above) <= set(entities)


def _dataset_root(place: Path) -> Optional[Path]:
    """Return the root of the BIDS dataset that a file of a subject's folder lies in, or None."""
    subject = _entities(place.name)[0]
    if not subject.startswith("sub-"):
        return None
    return next((folder.parent for folder in place.parents if folder.name == subject), None)


def sidecar_unit(entries: Mapping[str, Any]) -> str:
    """Return the unit of the values (BIDS ``Units``) in words, or "unknown"."""
    unit = entries.get("Units")
    return unit_words(unit) if isinstance(unit, str) else UNKNOWN


def modality_of(path: Path, entries: Mapping[str, Any]) -> str:
    """Return the DICOM modality by the sidecar (``Modality``) or by the suffix of a BIDS name, or "unknown"."""
    stated = entries.get("Modality")
    if isinstance(stated, str) and stated:
        return stated
    _, underscore, suffix = stem_of(path).rpartition("_")
    return _MODALITY_OF_SUFFIX.get(suffix.lower(), UNKNOWN) if underscore else UNKNOWN


def attenuation_findings(entries: Mapping[str, Any], what: str) -> tuple[Finding, ...]:
    """Warn where a sidecar states that attenuation was not corrected."""
    texts = {name: entries[name] for name in _ATTENUATION if isinstance(entries.get(name), str)}
    found = next((f"{name} {text}" for name, text in texts.items() if text.strip().lower() in _NO_METHOD), None)
    return () if found is None else (warning("attenuation.not_corrected", what=what, stated=found),)


def sidecar_frames(entries: Mapping[str, Any], count: int) -> Optional[tuple[Frame, ...]]:
    """Return the time frames (BIDS ``FrameTimesStart``, ``FrameDuration``; s), or None if they are not ``count``.

    Where there are no durations at all, a frame lasts until the next begins (:func:`_lacks_durations`). Times that
    cannot be those of one scan are none.
    """
    frames = _stated_frames(entries, count)
    return None if frames is None or _contradiction(frames) is not None or _span_s(frames) > LONGEST_SCAN_S else frames


def frame_findings(entries: Mapping[str, Any], count: int, what: str) -> tuple[Finding, ...]:
    """Return warnings of times of frames that a sidecar does not state, or that were not used."""
    found = [warning("frames.no_durations", what=what)] if _lacks_durations(entries, count) else []
    stated = _other_frames(entries, count)
    if stated:
        found.append(warning("frames.other_number", what=what, stated=stated, count=count))
    frames = _stated_frames(entries, count)
    index = None if frames is None else _contradiction(frames)
    if frames is None:
        return tuple(found)
    if index is not None:
        start = frames[index].start_s or 0.0
        end = start + (frames[index].duration_s or 0.0)
        found.append(warning("frames.contradict", what=what, frame=index + 1, start_s=start, end_s=end))
    elif _span_s(frames) > LONGEST_SCAN_S:
        found.append(warning("frames.too_long", what=what, hours=round(_span_s(frames) / 3600, 1)))
    return tuple(found)


def _stated_frames(entries: Mapping[str, Any], count: int) -> Optional[tuple[Frame, ...]]:
    starts, durations = (_numbers(entries.get(name)) for name in ("FrameTimesStart", "FrameDuration"))
    if _lacks_durations(entries, count):
        durations = [later - start for start, later in zip(starts, starts[1:])]
        durations.append(durations[-1])
    if len(starts) != count or len(durations) != count:
        return None
    return tuple(Frame(start, duration) for start, duration in zip(starts, durations))


def _contradiction(frames: Sequence[Frame]) -> Optional[int]:
    """Return the first frame (from 0) of a dynamic study that takes no time, or that lasts well into the next."""
    times = [(frame.start_s or 0.0, frame.duration_s or 0.0) for frame in frames]
    begins = [start for start, _ in times[1:]] + [math.inf]
    wrong = (
        index
        for index, ((start, duration), following) in enumerate(zip(times, begins))
        if duration <= 0 or start + duration > following + LARGEST_OVERLAP * duration + ROUNDED_S
    )
    return next(wrong, None) if len(frames) > 1 else None


def _span_s(frames: Sequence[Frame]) -> float:
    """Return the seconds from the begin of the first frame to the end of the last."""
    return (frames[-1].start_s or 0.0) + (frames[-1].duration_s or 0.0) - (frames[0].start_s or 0.0)


def _other_frames(entries: Mapping[str, Any], count: int) -> int:
    """Return of how many frames times are stated, if not of the ``count`` frames of a dynamic study; else 0."""
    stated = [len(_numbers(entries.get(name))) for name in ("FrameTimesStart", "FrameDuration")]
    if _lacks_durations(entries, count):
        return 0
    return next((number for number in stated if count > 1 and number not in (0, count)), 0)


def _lacks_durations(entries: Mapping[str, Any], count: int) -> bool:
    """Whether ``count`` rising times of frames are stated, and no durations, or a single one as of the first frame."""
    starts = _numbers(entries.get("FrameTimesStart"))
    rising = all(start < later for start, later in zip(starts, starts[1:]))
    return not isinstance(entries.get("FrameDuration"), list) and len(starts) == count > 1 and rising


def _numbers(value: Any) -> list[float]:
    """Return the finite numbers of an entry; some tools write them as text."""
    values = value if isinstance(value, list) else [value]
    found = [finite(each) for each in values if not isinstance(each, bool)]
    return [each for each in found if each is not None]
