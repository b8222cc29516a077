"""What a classic PET slice needs and an enhanced file keeps elsewhere (PS3.3 C.8.9.1, C.8.9.4 against C.8.22).

Copied or computed if the enhanced header states it; else left empty, if the standard allows it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Mapping, Optional

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from .dicom import decay_correction
from .dicom_frames import Slice, acquisition_time, duration_s
from .dicom_tags import Tags, date_time, full_date_time, zone_of
from .suv import UnknownFactorError, half_life, mean_time

_CORRECTIONS: Mapping[str, str] = {
    "DecayCorrected": "DECY",
    "AttenuationCorrected": "ATTN",
    "ScatterCorrected": "SCAT",
    "DeadTimeCorrected": "DTIM",
    "GantryMotionCorrected": "MOTN",
    "PatientMotionCorrected": "PMOT",
    "CountLossNormalizationCorrected": "CLN",
    "RandomsCorrected": "RAN",
    "NonUniformRadialSamplingCorrected": "RADL",
    "SensitivityCalibrated": "DCAL",
    "DetectorNormalizationCorrection": "NORM",
}
"""Tag of enhanced PET (YES or NO) -> term of the classic tag Corrected Image (0028,0051)."""
_CONVERTED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
_MAY_BE_EMPTY = ("CollimatorType", "PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence")
_ENHANCED_ONLY = (
    *(name for name in _CORRECTIONS if name != "DecayCorrected"),
    *("PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique", "TableMotion"),
    *("ViewCodeSequence", "SliceProgressionDirection", "TimeOfFlightInformationUsed", "PresentationLUTShape"),
)
"""No part of the classic object; Decay Corrected and its DateTime stay, because SUV needs them."""


def add_converted(data: Dataset, index: int) -> None:
    """Add to the header of a file, in place, what a conversion from classic slices put aside (PS3.3, legacy converted).

    Args:
        data: header of the file, with its functional groups.
        index: of the frame in the file.
    """
    shared, per_frame = (data.get(f"{name}FunctionalGroupsSequence") or [] for name in ("Shared", "PerFrame"))
    for groups in (*shared[:1], *per_frame[index : index + 1]):
        for kept in (groups.get(name) for name in _CONVERTED):
            for element in kept[0] if kept else ():
                if element.tag not in data:
                    data.add(element)


def fill_from_groups(data: Dataset, one: Slice, count: int, unit_code: str) -> None:
    """Give a classic slice, in place, what an enhanced file keeps in its functional groups.

    Args:
        data: header of the slice to be written.
        one: the frame of the enhanced file.
        count: slices of the volume.
        unit_code: of the values ("BQML"), or empty.
    """
    tags = one.tags
    data.NumberOfSlices = count
    if unit_code and "Units" not in data:
        data.Units = unit_code
    correction = _correction(one)
    if "DecayCorrection" not in data and correction:
        data.DecayCorrection = correction
    thickness = tags.number("SliceThickness")
    if thickness is not None:
        data.SliceThickness = format_number_as_ds(thickness)
    if "SeriesType" not in data:
        data.SeriesType = ["STATIC", "IMAGE"]
    if not data.get("CountsSource"):
        # what is denoised is a PET, so no transmission scan
        data.CountsSource = "EMISSION"
    if "CorrectedImage" not in data:
        data.CorrectedImage = [term for name, term in _CORRECTIONS.items() if tags.text(name) == "YES"]
    for keyword in _MAY_BE_EMPTY:
        if keyword not in data:
            setattr(data, keyword, [] if keyword.endswith("Sequence") else "")
    for item in data.get("RadiopharmaceuticalInformationSequence") or ():
        if "RadionuclideCodeSequence" not in item:
            item.RadionuclideCodeSequence = []
    for keyword in _ENHANCED_ONLY:
        if keyword in data:
            delattr(data, keyword)
    _fill_times(data, one)


def _fill_times(data: Dataset, one: Slice) -> None:
    tags = one.tags
    begin, length = acquisition_time(tags), duration_s(tags)
    own = tags.text("FrameAcquisitionDateTime")
    if own:
        # the file's is that of its first frame; this one has the frame's offset from UTC too
        data.AcquisitionDateTime = own
    if begin:
        data.AcquisitionDate, data.AcquisitionTime = begin.strftime("%Y%m%d"), begin.strftime("%H%M%S.%f")
    if length is not None:
        data.ActualFrameDuration = round(length * 1000)
    life = _half_life(one)
    if begin is None or length is None:
        return
    middle = begin + timedelta(seconds=mean_time(length, life) if life else length / 2)
    corrected_to = _stated_reference(one) or begin
    if "FrameReferenceTime" not in data:
        # counted from the series' begin, which is what START corrects to
        series = date_time(str(data.get("SeriesDate", "")), str(data.get("SeriesTime", "")))
        zero = corrected_to if data.get("DecayCorrection") == "START" else series or begin
        data.FrameReferenceTime = format_number_as_ds((middle - zero).total_seconds() * 1000)
    factor = tags.number("DecayFactor")
    if factor is None and life and data.get("DecayCorrection") in ("START", "ADMIN"):
        factor = 2 ** ((middle - corrected_to).total_seconds() / life)
    if factor is not None:
        data.DecayFactor = format_number_as_ds(factor)


def _correction(one: Slice) -> Optional[str]:
    """Return how decay was corrected; an enhanced file gives only the time that it was corrected to."""
    stated, drug = _stated_reference(one), one.tags.item("RadiopharmaceuticalInformationSequence")
    text = "" if drug is None else str(drug.get("RadiopharmaceuticalStartDateTime", ""))
    injected = full_date_time(text, zone_of(one.tags))
    if stated is not None and stated == injected and one.tags.text("DecayCorrected") == "YES":
        return "ADMIN"
    return decay_correction(one.tags)


def _stated_reference(one: Slice) -> Optional[datetime]:
    return full_date_time(one.tags.text("DecayCorrectionDateTime"), zone_of(one.tags))


def _half_life(one: Slice) -> Optional[float]:
    drug = one.tags.item("RadiopharmaceuticalInformationSequence")
    try:
        return None if drug is None else half_life(Tags(one.tags.path, 0, 1, drug))[0]
    except UnknownFactorError:
        return None
