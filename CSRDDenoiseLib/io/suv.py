"""Body-weight SUV: the factor from a header to SUV = activity (Bq/mL) x weight (g) / dose at the reference time (Bq).

Sources: DICOM PS3.3 C.8.9.1 (Units, SUV Type, Decay Correction), QIBA's vendor-neutral procedure, the vendors' private
scale factors (Philips 7053,xx00 and xx09; GE 0009,xx0D), and BIDS (PET, "Radiochemistry" and "Time"). The rules that
are numbers stand in the tables below. What is missing is named; nothing is guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Callable, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from .dicom_frames import acquisition_time, duration_s
from .dicom_tags import Private, Tags, date_time, finite, full_date_time, zone_of
from .grid import Grid
from .nrrd import SUV_TYPE_KEY
from .nuclides import Nuclide, is_in_seconds, nuclide_of_code
from .volume import ReadVolume, Suv, with_unit

SUV_UNIT = "g/mL (SUV)"
SUV_UNITS = ("g/ml (suv)", "g/ml", "suv", "suvbw", "suv (g/ml)")
LEAN_JAMES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "LBM": {"M": (1.10, 120.0), "F": (1.07, 148.0)},
    "LBMJAMES128": {"M": (1.10, 128.0), "F": (1.07, 148.0)},
}
"""SUV type -> sex -> (a, b): lean mass = a W - b (W / H)^2, W in kg, H in cm."""
LEAN_JANMA: Mapping[str, tuple[float, float]] = {"M": (6680.0, 216.0), "F": (8780.0, 244.0)}
"""Sex -> (a, b): lean mass = 9270 W / (a + b BMI)."""
IDEAL_WEIGHT: Mapping[str, tuple[float, float]] = {"M": (48.0, 1.06), "F": (45.5, 0.91)}
"""Sex -> (a, b): ideal weight = a + b (H - 152)."""
PHILIPS_SUV = Private("Philips PET Private Group", 0x7053, 0x00)
PHILIPS_ACTIVITY = Private("Philips PET Private Group", 0x7053, 0x09)
GE_DECAY_TIME = Private("GEMS_PETD_01", 0x0009, 0x0D)
LARGEST_MBQ = 1e4
"""A total dose (Bq) below this number was given in MBq."""
SMALLEST_MBQ = 40.0
"""Below it, a dose that is not in Bq may be in MBq as well as in mCi."""
SMALLEST_BQ = 1e6
"""Below it, a dose that is not in MBq may be in kBq as well as in Bq."""
LARGEST_BQ = 1e11
"""A larger dose is one in Bq to which a larger unit was given; radioembolisation takes up to 1e10."""
LARGEST_WEIGHT_KG, LARGEST_HEIGHT_M = 500.0, 2.8
SAME_HALF_LIFE = 0.05
LONGEST_DELAY, LONGEST_HALF_LIVES = timedelta(hours=1), 10
"""Between injection and scan: the larger of the two; a thousandth of the activity is left after ten half-lives."""
EARLIEST_DELAY = -timedelta(minutes=10)
"""A dynamic scan begins before its injection, by no more than this."""
LONGEST_BEFORE_FRAME = timedelta(hours=2)
"""Between the begin of a series and its first slice, where Frame Reference Time does not show more."""
LONG_LIVED_S = 6 * 3600.0
"""Half-life from which people are scanned days after the injection, so that a time of day has no date."""
_DRUGS = "RadiopharmaceuticalInformationSequence"
_OF_A_DOSE = ("RadionuclideTotalDose", "RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStartTime")
_HALF_A_DAY = timedelta(hours=12)


class UnknownFactorError(Exception):
    """A tag that the factor needs is missing; the message names it."""


@dataclass(frozen=True)
class Injection:
    """What was injected, into whom; ``notes`` name values that were corrected."""

    dose_bq: float
    weight_kg: float
    half_life_s: float
    notes: tuple[str, ...]

    def factor(self, seconds: float) -> float:
        """SUV per Bq/mL for activity that is corrected to ``seconds`` after the injection."""
        return self.weight_kg * 1000 / (self.dose_bq * 2 ** (-seconds / self.half_life_s))

    def describe(self, seconds: Optional[float]) -> str:
        """Return the injection in words, and the time since then."""
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
    """Return the SUV factor that the unit alone gives."""
    if unit.lower() in SUV_UNITS:
        return Suv((1.0,), f"the unit is {unit}")
    return Suv(None, "the file has no injected dose, weight and times")


def suv_of_image(volume: ReadVolume) -> Suv:
    """Return the SUV factor by the unit of a volume, and by the kind of SUV (DICOM tag 0054,1006) if there is one."""
    kind = volume.image.GetMetaData(SUV_TYPE_KEY).strip().upper() if volume.image.HasMetaDataKey(SUV_TYPE_KEY) else ""
    if kind in ("", "BW"):
        return suv_of_unit(volume.unit)
    return Suv(None, f"the values are SUV by {kind}, and the file has neither weight nor height")


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
            return _of_all(stack, lambda tags: _from_other_suv(tags, code), "The weight, the height or the sex")
        if code == "CNTS":
            return _from_philips(stack, series)
        if code == "BQML":
            return _from_activity(stack, series)
    except UnknownFactorError as error:
        return Suv(None, f"{error}")
    return Suv(None, f"Units (0054,1001) is {code or 'missing'}, which is not an activity concentration")


def _from_activity(stack: Sequence[Tags], series: Sequence[Tags], scale: float = 1.0) -> Suv:
    injection = _of_all(stack, _injection, "The weight, the injected dose or the half-life")
    correction = _correction(stack[0])
    if correction == "ADMIN":
        return Suv((scale * injection.factor(0),), f"DecayCorrection ADMIN: {injection.describe(None)}")
    if correction == "START":
        references, how = [_scan_start(stack[0], series, injection)], "START"
    else:
        references, how = [_middle(tags, injection) for tags in stack], "NONE, each slice by its own time"
    delays = [_delay(stack[0], reference, injection.half_life_s) for reference in references]
    factors = tuple(scale * injection.factor(delay) for delay in delays)
    if np.allclose(factors, factors[0], rtol=1e-6):
        factors = factors[:1]
    return Suv(factors, f"DecayCorrection {how}: {injection.describe(delays[0])}")


def _from_other_suv(tags: Tags, code: str) -> Suv:
    kind = tags.text("SUVType") or "BSA"
    weight = _weight(tags)
    height = _needed(tags, "PatientSize") * 100
    if height > LARGEST_HEIGHT_M * 100:
        raise UnknownFactorError(f"PatientSize (0010,1020) is {height / 100:g} m, which is not a height")
    if code == "CM2ML":
        # Du Bois: area in m^2 from kg and cm; the value is in cm^2/mL, the weight in g
        area = 0.007184 * weight**0.425 * height**0.725
        return Suv((weight * 1000 / (area * 1e4),), f"Units CM2ML, SUV by {kind}: {weight:g} kg, {height:g} cm")
    mass = _mass(kind, tags.text("PatientSex"), weight, height)
    if mass <= 0:
        raise UnknownFactorError(f"SUVType (0054,1006) {kind} gives {mass:.1f} kg for {weight:g} kg and {height:g} cm")
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
        raise UnknownFactorError(f"SUVType (0054,1006) is {kind}, which is not known")
    if not sex:
        raise UnknownFactorError("PatientSex (0010,0040) is missing")
    table, formula = formulas[kind]
    return float(np.mean([formula(*table[each]) for each in ((sex,) if sex in table else tuple(table))]))


def _from_philips(stack: Sequence[Tags], series: Sequence[Tags]) -> Suv:
    to_suv = finite(_of_all(stack, PHILIPS_SUV.of, "Philips' SUV scale factor (7053,1000)"))
    if to_suv and to_suv > 0:
        return Suv((to_suv,), "Units CNTS: Philips' SUV scale factor (7053,1000)")
    to_activity = finite(_of_all(stack, PHILIPS_ACTIVITY.of, "Philips' activity scale factor (7053,1009)"))
    if to_activity and to_activity > 0:
        suv = _from_activity(stack, series, to_activity)
        return Suv(suv.factors, f"Units CNTS: Philips' activity scale factor (7053,1009); {suv.source}")
    raise UnknownFactorError("Units CNTS without Philips' scale factors (7053,1000) and (7053,1009)")


def _of_all(stack: Sequence[Tags], value: Callable[[Tags], Any], name: str) -> Any:
    """Return the value that all slices have in common."""
    found = {value(tags) for tags in stack}
    if len(found) > 1:
        raise UnknownFactorError(f"{name} differs from slice to slice")
    return found.pop()


def _injection(tags: Tags) -> Injection:
    item = tags.item(_DRUGS)
    if item is None:
        raise UnknownFactorError(f"{_DRUGS} (0054,0016) is missing")
    doses = {tuple(str(each.get(name, "")) for name in _OF_A_DOSE) for each in tags.get(_DRUGS)}
    if len(doses) > 1:
        raise UnknownFactorError(f"{_DRUGS} (0054,0016) has {len(doses)} injections")
    drug, notes = Tags(tags.path, 0, 1, item), []
    dose = _needed(drug, "RadionuclideTotalDose")
    if dose < SMALLEST_MBQ:
        raise UnknownFactorError(
            f"RadionuclideTotalDose (0018,1074) is {dose:g}, which may be MBq or mCi and is not Bq"
        )
    if dose < LARGEST_MBQ:
        dose *= 1e6
        notes.append("RadionuclideTotalDose taken as MBq")
    if dose < SMALLEST_BQ:
        raise UnknownFactorError(f"RadionuclideTotalDose (0018,1074) is {dose:g}, which may be Bq or kBq")
    if dose > LARGEST_BQ:
        raise UnknownFactorError(f"RadionuclideTotalDose (0018,1074) is {dose:g} Bq, more than any injection")
    seconds, remarks = half_life(drug)
    return Injection(dose, _weight(tags), seconds, (*notes, *remarks))


def half_life(drug: Tags) -> tuple[float, list[str]]:
    """Return the half-life in seconds of an item of an injection, and what was corrected.

    Raises:
        UnknownFactorError: neither a half-life in seconds nor a nuclide is there.
    """
    nuclide, stated = _nuclide(drug), drug.number("RadionuclideHalfLife")
    if nuclide is None and stated and not is_in_seconds(stated):
        raise UnknownFactorError(
            f"RadionuclideHalfLife (0018,1075) is {stated:g} s, not of a nuclide or in minutes or hours, and no code "
            "names the nuclide"
        )
    if stated and stated > 0 and (nuclide is None or abs(stated / nuclide.half_life_s - 1) <= SAME_HALF_LIFE):
        return stated, []
    if nuclide is None:
        raise UnknownFactorError("RadionuclideHalfLife (0018,1075) is missing, and no code names the nuclide")
    return nuclide.half_life_s, [f"half-life of {nuclide.symbol} instead of RadionuclideHalfLife {stated or 'none'}"]


def _nuclide(drug: Tags) -> Optional[Nuclide]:
    code = drug.item("RadionuclideCodeSequence")
    return None if code is None else nuclide_of_code(str(code.get("CodeValue", "")), str(code.get("CodeMeaning", "")))


def _correction(tags: Tags) -> str:
    stated = tags.text("DecayCorrection")
    if stated in ("START", "ADMIN", "NONE"):
        return stated
    if tags.text("DecayCorrected") in ("YES", "NO"):
        return "START" if tags.text("DecayCorrected") == "YES" else "NONE"
    raise UnknownFactorError(f"DecayCorrection (0054,1102) is {stated or 'missing'}")


def _scan_start(tags: Tags, series: Sequence[Tags], injection: Injection) -> datetime:
    """Return the time that the values are corrected to (QIBA): the series', unless it was made after the scan."""
    zone = zone_of(tags)
    stated = full_date_time(tags.text("DecayCorrectionDateTime"), zone)
    if stated:
        return stated
    begins = [when for each in series if (when := acquisition_time(each))]
    begin = date_time(tags.text("SeriesDate") or tags.text("StudyDate"), tags.text("SeriesTime"))
    if begin and begins and not _has_date(series) and abs(begin - min(begins)) > _HALF_A_DAY:
        raise UnknownFactorError("AcquisitionDate (0008,0022) is missing, and the scan may have passed midnight")
    reference = tags.number("FrameReferenceTime")
    if begin and not begins:
        raise UnknownFactorError("AcquisitionTime (0008,0032) is missing, and SeriesTime may be that of a later export")
    if begin and begin <= min(begins):
        early = min(begins) - begin
        if early > LONGEST_BEFORE_FRAME and (reference or 0.0) / 1000 < early.total_seconds() / 2:
            # a series that was made the next morning, its date the only one there is
            raise UnknownFactorError(
                f"SeriesTime is {early.total_seconds() / 3600:.1f} h before the acquisition, and FrameReferenceTime "
                f"(0054,1300) is {'missing' if reference is None else f'{reference / 1000:g} s'}"
            )
        return begin
    private = full_date_time(GE_DECAY_TIME.of(tags), zone)
    if private:
        return private
    if acquisition_time(tags) is not None and reference is None:
        raise UnknownFactorError(
            "FrameReferenceTime (0054,1300) is missing, and SeriesTime is "
            f"{'later than the acquisition' if begin else 'missing'}"
        )
    return _middle(tags, injection) - timedelta(milliseconds=reference or 0.0)


def _has_date(series: Sequence[Tags]) -> bool:
    dates = ("AcquisitionDate", "AcquisitionDateTime", "FrameAcquisitionDateTime")
    return all(any(each.text(name) for name in dates) for each in series)


def _middle(tags: Tags, injection: Injection) -> datetime:
    """Return the time of a frame's mean activity: begin + ln(d T / (1 - exp(-d T))) / d, d the decay constant."""
    begin, length = acquisition_time(tags), duration_s(tags)
    if begin is None:
        raise UnknownFactorError("AcquisitionDate (0008,0022) or AcquisitionTime (0008,0032) is missing")
    if length is None:
        raise UnknownFactorError("ActualFrameDuration (0018,1242) is missing")
    return begin + timedelta(seconds=mean_time(length, injection.half_life_s))


def mean_time(length: float, half_life: float) -> float:
    """Return the seconds from a frame's begin to the time of its mean activity."""
    decay = math.log(2) / half_life * length
    return length / 2 if decay < 1e-9 else math.log(decay / -math.expm1(-decay)) / decay * length


def longest_delay(half_life_s: float) -> timedelta:
    """Return how long before a scan an injection may be, so that the scan still measures it."""
    return max(LONGEST_DELAY, LONGEST_HALF_LIVES * timedelta(seconds=half_life_s))


def _delay(tags: Tags, reference: datetime, half_life_s: float) -> float:
    """Return the seconds from the injection to a time; a time of day without a date may be of the day before."""
    item = tags.item(_DRUGS)
    drug = Tags(tags.path, 0, 1, item) if item is not None else tags
    full = full_date_time(drug.text("RadiopharmaceuticalStartDateTime"), zone_of(tags))
    longest, begin = longest_delay(half_life_s), acquisition_time(tags)
    alone = date_time(reference.strftime("%Y%m%d"), drug.text("RadiopharmaceuticalStartTime"))
    if begin and begin.time() == time() and time() in {each.time() for each in (full, alone) if each}:
        raise UnknownFactorError("Injection and acquisition are both at 00:00:00, as where times were removed")
    if full and EARLIEST_DELAY <= reference - full <= longest:
        return (reference - full).total_seconds()
    if alone is None or half_life_s > LONG_LIVED_S:
        hours = longest.total_seconds() / 3600
        why = f"no time within {hours:.0f} h before the scan" if full else "missing"
        if alone is not None:
            why += f", and with a half-life of {half_life_s / 3600:.0f} h a time of day does not give the day"
        raise UnknownFactorError(f"RadiopharmaceuticalStartDateTime (0018,1078) or ...StartTime (0018,1072) is {why}")
    if alone - reference > -EARLIEST_DELAY:
        alone -= timedelta(days=1)
    delay = reference - alone
    if delay > longest:
        raise UnknownFactorError(
            f"RadiopharmaceuticalStartTime (0018,1072) is {delay.total_seconds() / 3600:.1f} h before the scan, too "
            f"long for a half-life of {half_life_s / 60:.0f} min"
        )
    return delay.total_seconds()


def corrects_decay(tags: Tags, code: str) -> bool:
    """Whether the SUV of a slice whose decay was not corrected is corrected by its factor; Philips' own has none.

    Args:
        tags: of the slice.
        code: the unit's code (BQML, CNTS, ...).
    """
    return code == "BQML" or (code == "CNTS" and (finite(PHILIPS_SUV.of(tags)) or 0) <= 0)


def decay_factor(tags: Tags) -> float:
    """Return what corrects the activity of a slice, not corrected before, to the injection, as its SUV is.

    Raises:
        UnknownFactorError: a tag is missing, which the SUV needs too.
    """
    injection = _injection(tags)
    return 2 ** (_delay(tags, _middle(tags, injection), injection.half_life_s) / injection.half_life_s)


def _weight(tags: Tags) -> float:
    weight = _needed(tags, "PatientWeight")
    if weight > LARGEST_WEIGHT_KG:
        raise UnknownFactorError(f"PatientWeight (0010,1030) is {weight:g} kg, which is not a weight")
    return weight


def _needed(tags: Tags, keyword: str) -> float:
    value = tags.number(keyword)
    if value is None or value <= 0:
        raise UnknownFactorError(f"{keyword} is {'missing' if value is None else f'{value:g}'}")
    return value


def volume_suv(volume: ReadVolume) -> Suv:
    """Return how a volume becomes SUV, or why it cannot."""
    return volume.header.suv or suv_of_unit(volume.unit)
