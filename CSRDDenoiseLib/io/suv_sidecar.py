"""Body-weight SUV of a volume by its BIDS sidecar (BIDS, PET, "Radiochemistry" and "Time"); nothing is guessed."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

from ..findings import Finding, warning
from .dicom_tags import finite
from .nuclides import is_in_seconds, nuclide_of_text
from .sidecar import sidecar_unit
from .suv import (
    EARLIEST_DELAY,
    LARGEST_BQ,
    LARGEST_WEIGHT_KG,
    SUV_UNITS,
    Injection,
    UnknownFactorError,
    longest_delay,
    mean_time,
    suv_of_unit,
)
from .volume import Frame, ReadVolume, Suv

_PREFIXES: Mapping[str, float] = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
"""In lower case; millibecquerels do not occur."""
_MILLILITRES = ("ml", "cc", "cm3", "cm^3")
BQ_PER_ML: Mapping[str, float] = {
    **{f"{prefix}bq/{volume}": scale for prefix, scale in _PREFIXES.items() for volume in _MILLILITRES},
    **{f"nci/{volume}": 37.0 for volume in _MILLILITRES},
}
BQ_PER_UNIT: Mapping[str, float] = {
    **{f"{prefix}bq": scale for prefix, scale in _PREFIXES.items()},
    **{"ci": 3.7e10, "mci": 3.7e7, "uci": 3.7e4, "\u00b5ci": 3.7e4, "\u03bcci": 3.7e4},
}
SMALLEST_BQ = 1e4
"""A smaller dose was given in another unit than the sidecar states."""
_DAY_S = 86400.0
LONGEST_STATIC_S, SHORT_LIVED_S = 1800.0, 600.0
"""A longer frame may sum a dynamic study; with a shorter half-life a scan begins with the injection."""
_AT_ONCE_S = 120.0
"""Within this a static scan begins with its injection, or an hour or two after it that were given in minutes."""
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?(?:Z|[+-]\d{2}:?\d{2})?$")


def entries_in_suv(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of an activity after it became SUV; of uncorrected frames the factors correct the decay."""
    changed: dict[str, Any] = {"Units": "g/mL"}
    uncorrected = str(entries.get("ImageDecayCorrected")).lower() == "false"
    if uncorrected and sidecar_unit(entries).lower() in BQ_PER_ML and "InjectionStart" in entries:
        changed.update(ImageDecayCorrected=True, ImageDecayCorrectionTime=entries["InjectionStart"])
    return {**entries, **changed}


def same_unit(one: str, other: str) -> bool:
    """Whether two units in words are one, however they are spelled: Bq/mL and Bq/ml, SUV and g/mL."""

    def plain(unit: str) -> object:
        text = unit.lower()
        return SUV_UNITS if text in SUV_UNITS else BQ_PER_ML.get(text, text)

    return plain(one) == plain(other)


def suv_from_sidecar(entries: Mapping[str, Any], unit: str, frame: Frame) -> Suv:
    """Return the factor of a volume with a BIDS sidecar; ``frame`` matters where decay was not corrected."""
    if unit.lower() in SUV_UNITS:
        return suv_of_unit(unit)
    try:
        scale = BQ_PER_ML.get(unit.lower())
        if scale is None:
            raise UnknownFactorError(f"Units is {unit}, which is not an activity concentration")
        injection = _sidecar_injection(entries)
        seconds = _sidecar_reference(entries, frame, injection) - _seconds(entries, "InjectionStart")
        _check_delay(seconds, injection.half_life_s)
    except UnknownFactorError as error:
        return Suv(None, f"{error}")
    return Suv((scale * injection.factor(seconds),), f"BIDS sidecar, {unit}: {injection.describe(seconds)}")


def injection_findings(entries: Mapping[str, Any], volume: ReadVolume, what: str) -> tuple[Finding, ...]:
    """Warn where the only frame begins with the injection, as converters state that do not know when it was."""
    suv, frames = volume.header.suv, volume.header.frames
    if suv is None or suv.factors is None or volume.unit.lower() not in BQ_PER_ML or len(frames) != 1:
        return ()
    start, duration = frames[0].start_s, frames[0].duration_s or 0.0
    is_short_lived = _sidecar_injection(entries).half_life_s < SHORT_LIVED_S
    if start is None or is_short_lived or duration > LONGEST_STATIC_S:
        return ()
    after = start - _seconds(entries, "InjectionStart")
    return (warning("suv.injection_at_start", what=what, seconds=after),) if abs(after) <= _AT_ONCE_S else ()


def _entry(entries: Mapping[str, Any], name: str) -> float:
    value = finite(entries.get(name))
    if value is None:
        raise UnknownFactorError(f"{name} is missing from the sidecar")
    return value


def _seconds(entries: Mapping[str, Any], name: str) -> float:
    """Return an entry in seconds from TimeZero; some tools write a time of day instead."""
    value = entries.get(name)
    moment = _time_of_day(value)
    if moment is None:
        return _entry(entries, name)
    zero = _time_of_day(entries.get("TimeZero"))
    if zero is None:
        raise UnknownFactorError(f"TimeZero is missing from the sidecar or no time of day, and {name} is one, {value}")
    # the nearer of before and after, across midnight
    return (moment - zero + _DAY_S / 2) % _DAY_S - _DAY_S / 2


def _time_of_day(value: Any) -> Optional[float]:
    """Return the seconds since midnight of ``10:30:00``, perhaps after a date, or None."""
    found = _CLOCK.search(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _sidecar_injection(entries: Mapping[str, Any]) -> Injection:
    dose = _entry(entries, "InjectedRadioactivity")
    unit = str(entries.get("InjectedRadioactivityUnits") or "missing")
    scale = BQ_PER_UNIT.get(unit.strip().lower())
    if scale is None:
        raise UnknownFactorError(f"InjectedRadioactivityUnits is {unit}")
    weight_name = "BodyWeight" if "BodyWeight" in entries else "PatientWeight" if "PatientWeight" in entries else ""
    weight = _entry(entries, weight_name or "BodyWeight")
    text = str(entries.get("TracerRadionuclide") or "")
    nuclide = nuclide_of_text(text)
    half_life = nuclide.half_life_s if nuclide else finite(entries.get("RadionuclideHalfLife"))
    if not half_life or half_life <= 0:
        raise UnknownFactorError(f"TracerRadionuclide is {text or 'missing'}")
    if nuclide is None and not is_in_seconds(half_life):
        raise UnknownFactorError(f"RadionuclideHalfLife is {half_life:g} s, not of a nuclide or in minutes or hours")
    dose *= scale
    if not SMALLEST_BQ <= dose <= LARGEST_BQ or not 0 < weight <= LARGEST_WEIGHT_KG:
        raise UnknownFactorError(f"InjectedRadioactivity is {dose:g} Bq and BodyWeight {weight:g} kg")
    return Injection(dose, weight, half_life, ())


def _sidecar_reference(entries: Mapping[str, Any], frame: Frame, injection: Injection) -> float:
    """Return the time (s, from TimeZero) that the values are corrected to."""
    corrected = {"true": True, "false": False}.get(str(entries.get("ImageDecayCorrected")).lower())
    if corrected is None:
        raise UnknownFactorError("ImageDecayCorrected is missing from the sidecar")
    if corrected:
        return _seconds(entries, "ImageDecayCorrectionTime")
    if frame.start_s is None or frame.duration_s is None:
        raise UnknownFactorError("FrameTimesStart and FrameDuration are missing from the sidecar")
    return frame.start_s + mean_time(frame.duration_s, injection.half_life_s)


def _check_delay(seconds: float, half_life_s: float) -> None:
    longest = longest_delay(half_life_s).total_seconds()
    if not EARLIEST_DELAY.total_seconds() <= seconds <= longest:
        raise UnknownFactorError(f"InjectionStart is {seconds:.6g} s before the time that decay is corrected to")
