"""Body-weight SUV: the factor from a header to SUV = activity (Bq/mL) x weight (g) / dose at the reference time (Bq).

Sources: DICOM PS3.3 C.8.9.1 (Units, SUV Type, Decay Correction), QIBA's vendor-neutral procedure, the vendors' private
scale factors (Philips 7053,xx00 and xx09; GE 0009,xx0D), and BIDS (PET, "Radiochemistry" and "Time"). The rules that
are numbers stand in the tables below. What is missing is named; nothing is guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from .dicom_frames import acquisition_time, duration_s
from .dicom_tags import Tags, date_time, finite, full_date_time
from .grid import Grid
from .volume import Frame, ReadVolume, Suv, with_unit

SUV_UNIT = "g/mL (SUV)"
SUV_UNITS = ("g/ml (suv)", "g/ml", "suv", "suvbw", "suv (g/ml)")
BQ_PER_ML: Mapping[str, float] = {
    "bq/ml": 1.0,
    "kbq/ml": 1e3,
    "mbq/ml": 1e6,
    "bq/cc": 1.0,
    "kbq/cc": 1e3,
    "nci/ml": 37.0,
}
BQ_PER_UNIT: Mapping[str, float] = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "mci": 3.7e7, "uci": 3.7e4}
HALF_LIFE_S: Mapping[str, float] = {
    **{"F18": 6586.2, "C11": 1221.8, "N13": 597.9, "O15": 122.24, "GA68": 4062.6, "CU64": 45723.6, "RB82": 75.45},
    **{"ZR89": 282276.0, "I124": 360806.4, "Y86": 53064.0, "CU62": 580.2, "BR76": 58320.0, "SC44": 14292.0},
}
"""Nuclide -> half-life in seconds (NuDat)."""
NUCLIDE_CODES: Mapping[str, str] = {
    **{"C-111A1": "F18", "C-105A1": "C11", "C-107A1": "N13", "C-B1038": "O15", "C-131A1": "GA68", "C-131A3": "GA68"},
    **{
        "C-127A2": "CU64",
        "C-159A2": "RB82",
        "C-168A4": "ZR89",
        "C-114A5": "I124",
        "77004003": "F18",
        "40565009": "C11",
    },
}
"""SRT and SNOMED code (CID 4020) -> nuclide."""
LEAN_JAMES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "LBM": {"M": (1.10, 120.0), "F": (1.07, 148.0)},
    "LBMJAMES128": {"M": (1.10, 128.0), "F": (1.07, 148.0)},
}
"""SUV type -> sex -> (a, b): lean mass = a W - b (W / H)^2, W in kg, H in cm."""
LEAN_JANMA: Mapping[str, tuple[float, float]] = {"M": (6680.0, 216.0), "F": (8780.0, 244.0)}
"""Sex -> (a, b): lean mass = 9270 W / (a + b BMI)."""
IDEAL_WEIGHT: Mapping[str, tuple[float, float]] = {"M": (48.0, 1.06), "F": (45.5, 0.91)}
"""Sex -> (a, b): ideal weight = a + b (H - 152)."""
PHILIPS_SUV, PHILIPS_ACTIVITY, GE_DECAY_TIME = (0x7053, 0x1000), (0x7053, 0x1009), (0x0009, 0x100D)
LARGEST_MBQ = 1e4
"""A total dose (Bq) below this number was given in MBq."""
LARGEST_WEIGHT_KG = 500.0
SAME_HALF_LIFE = 0.05
LONGEST_DELAY = timedelta(hours=24)


class _UnknownError(Exception):
    """A tag that the factor needs is missing; the message names it."""


@dataclass(frozen=True)
class _Injection:
    dose_bq: float
    weight_kg: float
    half_life_s: float
    notes: tuple[str, ...]

    def factor(self, seconds: float) -> float:
        """SUV per Bq/mL for activity that is corrected to ``seconds`` after the injection."""
        return self.weight_kg * 1000 / (self.dose_bq * 2 ** (-seconds / self.half_life_s))

    def describe(self, seconds: Optional[float]) -> str:
        when = "" if seconds is None else f", {seconds:.0f} s after injection"
        dose = f"{self.dose_bq / 1e6:.4g} MBq, half-life {self.half_life_s:.1f} s"
        return "; ".join([f"{self.weight_kg:g} kg, {dose}{when}", *self.notes])


def in_suv(image: sitk.Image, suv: Suv) -> sitk.Image:
    """Return an image on the volume's grid in SUV.

    Raises:
        ValueError: the factor is not known, or its slices are others.
    """
    if suv.factors is None or len(suv.factors) not in (1, image.GetSize()[2]):
        raise ValueError(f"no SUV factor: {suv.source}")
    values = sitk.GetArrayFromImage(image)
    scaled = values * np.array(suv.factors).reshape(-1, 1, 1)
    return with_unit(Grid.of(image).image(scaled.astype(values.dtype)), SUV_UNIT)


def describe_suv(suv: Suv, maximum: Optional[float] = None) -> str:
    """Return the body-weight SUV in words: the factor, the largest SUV and the source, or why it is unknown."""
    if suv.factors is None:
        return f"SUV unknown: {suv.source}"
    low, high = min(suv.factors), max(suv.factors)
    factor = f"{low:.5g}" if low == high else f"{low:.5g} to {high:.5g}, by slice"
    largest = "" if maximum is None else f", up to {maximum:.4g}"
    return f"SUV (body weight) = value x {factor}{largest} ({suv.source})"


def suv_of_unit(unit: str) -> Suv:
    """Return what a unit alone says."""
    if unit.lower() in SUV_UNITS:
        return Suv((1.0,), f"the unit is {unit}")
    return Suv(None, "the file has no injected dose, weight and times")


def suv_from_dicom(stack: Sequence[Tags], series: Sequence[Tags], code: str) -> Suv:
    """Return the factors of a DICOM stack.

    Args:
        stack: headers of the slices, in slice order.
        series: headers of the whole series.
        code: the unit's code (BQML, GML, ...).
    """
    if code == "GML" and stack[0].text("SUVType") in ("", "BW"):
        return Suv((1.0,), "Units GML: body-weight SUV already")
    try:
        if code in ("GML", "CM2ML"):
            return _from_other_suv(stack[0], code)
        if code == "CNTS":
            return _from_philips(stack, series)
        if code == "BQML":
            return _from_activity(stack, series)
    except _UnknownError as error:
        return Suv(None, f"{error}")
    return Suv(None, f"Units (0054,1001) is {code or 'missing'}, which is no activity concentration")


def suv_from_sidecar(entries: Mapping[str, Any], unit: str, frame: Frame) -> Suv:
    """Return the factor of a volume with a BIDS sidecar; ``frame`` matters where decay was not corrected."""
    if unit.lower() in SUV_UNITS:
        return suv_of_unit(unit)
    try:
        scale = BQ_PER_ML.get(unit.lower())
        if scale is None:
            raise _UnknownError(f"Units is {unit}, which is no activity concentration")
        injection = _sidecar_injection(entries)
        seconds = _sidecar_reference(entries, frame, injection) - _entry(entries, "InjectionStart")
    except _UnknownError as error:
        return Suv(None, f"{error}")
    return Suv((scale * injection.factor(seconds),), f"BIDS sidecar, {unit}: {injection.describe(seconds)}")


def _from_activity(stack: Sequence[Tags], series: Sequence[Tags], scale: float = 1.0) -> Suv:
    injection = _injection(stack[0])
    correction = _correction(stack[0])
    if correction == "ADMIN":
        return Suv((scale * injection.factor(0),), f"DecayCorrection ADMIN: {injection.describe(None)}")
    if correction == "START":
        references, how = [_scan_start(stack[0], series, injection)], "START"
    else:
        references, how = [_middle(tags, injection) for tags in stack], "NONE, each slice by its own time"
    delays = [_delay(stack[0], reference) for reference in references]
    factors = tuple(scale * injection.factor(delay) for delay in delays)
    if np.allclose(factors, factors[0], rtol=1e-6):
        factors = factors[:1]
    return Suv(factors, f"DecayCorrection {how}: {injection.describe(delays[0])}")


def _from_other_suv(tags: Tags, code: str) -> Suv:
    kind = tags.text("SUVType") or "BSA"
    weight = _weight(tags)
    height = _needed(tags, "PatientSize") * 100
    if code == "CM2ML":
        # Du Bois: area in m^2 from kg and cm; the value is in cm^2/mL, the weight in g
        area = 0.007184 * weight**0.425 * height**0.725
        return Suv((weight * 1000 / (area * 1e4),), f"Units CM2ML, SUV by {kind}: {weight:g} kg, {height:g} cm")
    mass = _mass(kind, tags.text("PatientSex"), weight, height)
    return Suv((weight / mass,), f"Units GML, SUV by {kind}: {weight:g} kg against {mass:.2f} kg")


def _mass(kind: str, sex: str, weight: float, height: float) -> float:
    """Return the mass (kg) that an SUV type divides by; another sex takes the mean of the two formulas."""
    formulas = {
        "LBMJANMA": (LEAN_JANMA, lambda a, b: 9270 * weight / (a + b * weight / (height / 100) ** 2)),
        "IBW": (IDEAL_WEIGHT, lambda a, b: a + b * (height - 152)),
    }
    for name, table in LEAN_JAMES.items():
        formulas[name] = (table, lambda a, b: a * weight - b * (weight / height) ** 2)
    if kind not in formulas:
        raise _UnknownError(f"SUVType (0054,1006) is {kind}, which is not known")
    if not sex:
        raise _UnknownError("PatientSex (0010,0040) is missing")
    table, formula = formulas[kind]
    return float(np.mean([formula(*table[each]) for each in ((sex,) if sex in table else tuple(table))]))


def _from_philips(stack: Sequence[Tags], series: Sequence[Tags]) -> Suv:
    to_suv, to_activity = (_private_number(stack[0], tag) for tag in (PHILIPS_SUV, PHILIPS_ACTIVITY))
    if to_suv:
        return Suv((to_suv,), "Units CNTS: Philips' SUV scale factor (7053,1000)")
    if to_activity:
        suv = _from_activity(stack, series, to_activity)
        return Suv(suv.factors, f"Units CNTS: Philips' activity scale factor (7053,1009); {suv.source}")
    raise _UnknownError("Units CNTS without Philips' scale factors (7053,1000) and (7053,1009)")


def _private_number(tags: Tags, tag: tuple[int, int]) -> Optional[float]:
    element = tags.dataset.get(tag)
    return None if element is None else finite(_decoded(element.value))


def _decoded(value: Any) -> Any:
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else value


def _injection(tags: Tags) -> _Injection:
    item = tags.item("RadiopharmaceuticalInformationSequence")
    if item is None:
        raise _UnknownError("RadiopharmaceuticalInformationSequence (0054,0016) is missing")
    drug, notes = Tags(tags.path, 0, 1, item), []
    dose = _needed(drug, "RadionuclideTotalDose")
    if dose < LARGEST_MBQ:
        dose *= 1e6
        notes.append("RadionuclideTotalDose taken as MBq")
    half_life, remarks = _half_life(drug)
    return _Injection(dose, _weight(tags), half_life, (*notes, *remarks))


def _half_life(drug: Tags) -> tuple[float, list[str]]:
    nuclide = _nuclide(drug)
    known, stated = HALF_LIFE_S.get(nuclide), drug.number("RadionuclideHalfLife")
    if stated and stated > 0 and (known is None or abs(stated / known - 1) <= SAME_HALF_LIFE):
        return stated, []
    if known is None:
        raise _UnknownError("RadionuclideHalfLife (0018,1075) is missing")
    return known, [f"half-life of {nuclide} instead of RadionuclideHalfLife {stated or 'none'}"]


def _nuclide(drug: Tags) -> str:
    code = drug.item("RadionuclideCodeSequence")
    if code is not None and str(code.get("CodeValue", "")) in NUCLIDE_CODES:
        return NUCLIDE_CODES[str(code.get("CodeValue"))]
    parts = str(code.get("CodeMeaning", "")).strip("^").split("^") if code is not None else []
    # ^18^Fluorine
    names = {"fluorine": "F", "carbon": "C", "nitrogen": "N", "oxygen": "O", "gallium": "GA", "copper": "CU"}
    return f"{names.get(parts[1].lower(), '')}{parts[0]}" if len(parts) == 2 else ""


def _correction(tags: Tags) -> str:
    stated = tags.text("DecayCorrection")
    if stated in ("START", "ADMIN", "NONE"):
        return stated
    if tags.text("DecayCorrected") in ("YES", "NO"):
        return "START" if tags.text("DecayCorrected") == "YES" else "NONE"
    raise _UnknownError(f"DecayCorrection (0054,1102) is {stated or 'missing'}")


def _scan_start(tags: Tags, series: Sequence[Tags], injection: _Injection) -> datetime:
    """Return the time that the values are corrected to (QIBA): the series', unless it was made after the scan."""
    stated = full_date_time(tags.text("DecayCorrectionDateTime"))
    if stated:
        return stated
    begins = [when for each in series if (when := acquisition_time(each))]
    begin = date_time(tags.text("SeriesDate") or tags.text("StudyDate"), tags.text("SeriesTime"))
    if begin and (not begins or begin <= min(begins)):
        return begin
    element = tags.dataset.get(GE_DECAY_TIME)
    private = full_date_time(str(_decoded(element.value))) if element is not None else None
    if private:
        return private
    when, reference = acquisition_time(tags), tags.number("FrameReferenceTime")
    if when is None:
        raise _UnknownError("AcquisitionTime (0008,0032) is missing")
    if reference is None:
        raise _UnknownError("FrameReferenceTime (0054,1300) is missing, and SeriesTime is later than the acquisition")
    return _middle(tags, injection) - timedelta(milliseconds=reference)


def _middle(tags: Tags, injection: _Injection) -> datetime:
    """Return the time of a frame's mean activity: begin + ln(d T / (1 - exp(-d T))) / d, d the decay constant."""
    begin, length = acquisition_time(tags), duration_s(tags)
    if begin is None:
        raise _UnknownError("AcquisitionTime (0008,0032) is missing")
    if length is None:
        raise _UnknownError("ActualFrameDuration (0018,1242) is missing")
    return begin + timedelta(seconds=mean_time(length, injection.half_life_s))


def mean_time(length: float, half_life: float) -> float:
    """Return the seconds from a frame's begin to the time of its mean activity."""
    decay = math.log(2) / half_life * length
    return length / 2 if decay < 1e-9 else math.log(decay / -math.expm1(-decay)) / decay * length


def _delay(tags: Tags, reference: datetime) -> float:
    """Return the seconds from the injection to a time; a time of day without a date may be of the day before."""
    item = tags.item("RadiopharmaceuticalInformationSequence")
    drug = Tags(tags.path, 0, 1, item) if item is not None else tags
    full = full_date_time(drug.text("RadiopharmaceuticalStartDateTime"))
    if full and timedelta(0) <= reference - full <= LONGEST_DELAY:
        return (reference - full).total_seconds()
    alone = date_time(reference.strftime("%Y%m%d"), drug.text("RadiopharmaceuticalStartTime"))
    if alone is None:
        why = "no time within 24 h before the scan" if full else "missing"
        raise _UnknownError(f"RadiopharmaceuticalStartDateTime (0018,1078) or ...StartTime (0018,1072) is {why}")
    if alone > reference:
        alone -= timedelta(days=1)
    return (reference - alone).total_seconds()


def _weight(tags: Tags) -> float:
    weight = _needed(tags, "PatientWeight")
    if weight > LARGEST_WEIGHT_KG:
        raise _UnknownError(f"PatientWeight (0010,1030) is {weight:g} kg, which is none")
    return weight


def _needed(tags: Tags, keyword: str) -> float:
    value = tags.number(keyword)
    if value is None or value <= 0:
        raise _UnknownError(f"{keyword} is {'missing' if value is None else f'{value:g}'}")
    return value


def _entry(entries: Mapping[str, Any], name: str) -> float:
    value = finite(entries.get(name))
    if value is None:
        raise _UnknownError(f"{name} is missing from the sidecar")
    return value


def _sidecar_injection(entries: Mapping[str, Any]) -> _Injection:
    dose = _entry(entries, "InjectedRadioactivity")
    unit = str(entries.get("InjectedRadioactivityUnits") or "missing")
    scale = BQ_PER_UNIT.get(unit.lower())
    if scale is None:
        raise _UnknownError(f"InjectedRadioactivityUnits is {unit}")
    weight_name = "BodyWeight" if "BodyWeight" in entries else "PatientWeight" if "PatientWeight" in entries else ""
    weight = _entry(entries, weight_name or "BodyWeight")
    nuclide = str(entries.get("TracerRadionuclide") or "").upper().replace("-", "").strip("[]")
    swapped = nuclide.lstrip("0123456789") + nuclide[: len(nuclide) - len(nuclide.lstrip("0123456789"))]
    half_life = HALF_LIFE_S.get(nuclide) or HALF_LIFE_S.get(swapped) or finite(entries.get("RadionuclideHalfLife"))
    if not half_life:
        raise _UnknownError(f"TracerRadionuclide is {nuclide or 'missing'}")
    dose *= scale
    if dose <= 0 or not 0 < weight <= LARGEST_WEIGHT_KG:
        raise _UnknownError(f"InjectedRadioactivity is {dose:g} Bq and BodyWeight {weight:g} kg")
    return _Injection(dose, weight, half_life, ())


def _sidecar_reference(entries: Mapping[str, Any], frame: Frame, injection: _Injection) -> float:
    """Return the time (s, from TimeZero) that the values are corrected to."""
    corrected = entries.get("ImageDecayCorrected")
    if corrected is True:
        return _entry(entries, "ImageDecayCorrectionTime")
    if corrected is not False:
        raise _UnknownError("ImageDecayCorrected is missing from the sidecar")
    if frame.start_s is None or frame.duration_s is None:
        raise _UnknownError("FrameTimesStart and FrameDuration are missing from the sidecar")
    return frame.start_s + mean_time(frame.duration_s, injection.half_life_s)


def volume_suv(volume: ReadVolume) -> Suv:
    """Return how a volume becomes SUV, or why it cannot."""
    return volume.header.suv or suv_of_unit(volume.unit)
