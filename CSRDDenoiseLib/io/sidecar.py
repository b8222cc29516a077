"""BIDS sidecars: the JSON file of a volume's own name with its unit, times and injection (BIDS, PET)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Mapping, Optional

from ..findings import Finding, warning
from .volume import UNKNOWN, Frame, unit_words

_DOUBLE_SUFFIXES = (".nii.gz", ".img.gz", ".hdr.gz")
_MODALITY_OF_SUFFIX = {"pet": "PT", **{name: "MR" for name in ("t1w", "t2w", "flair", "pdw", "t2starw", "bold")}}
_LARGEST_BYTES = 16 << 20


def stem_of(path: Path) -> str:
    """Return a file's name without its image suffix, ``sub-01_pet.nii.gz`` -> ``sub-01_pet``."""
    for suffix in _DOUBLE_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def read_sidecar(path: Path, what: str) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    """Return the entries of a volume's sidecar, empty without one, and what was noticed."""
    sidecar = path.with_name(f"{stem_of(path)}.json")
    try:
        if not sidecar.is_file() or sidecar.stat().st_size > _LARGEST_BYTES:
            return {}, ()
        entries = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}, (warning("sidecar.unreadable", what=what, file=sidecar.name),)
    return (entries if isinstance(entries, dict) else {}), ()


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


def sidecar_frames(entries: Mapping[str, Any], count: int) -> Optional[tuple[Frame, ...]]:
    """Return the time frames (BIDS ``FrameTimesStart``, ``FrameDuration``; s), or None if they are not ``count``."""
    starts, durations = (_numbers(entries.get(name)) for name in ("FrameTimesStart", "FrameDuration"))
    if len(starts) != count or len(durations) != count:
        return None
    return tuple(Frame(start, duration) for start, duration in zip(starts, durations))


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    found = [float(each) for each in values if isinstance(each, (int, float)) and not isinstance(each, bool)]
    return [each for each in found if math.isfinite(each)]
