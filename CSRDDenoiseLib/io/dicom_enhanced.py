"""What a classic PET slice needs and an enhanced file keeps elsewhere (PS3.3 C.8.9.1, C.8.9.4 against C.8.22).

Copied or computed where the enhanced header says it; left empty where the standard allows it and nothing says it.
"""

from __future__ import annotations

from typing import Mapping, Optional

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from .dicom import decay_correction
from .dicom_frames import Slice, acquisition_time, duration_s
from .dicom_tags import full_date_time
from .suv import mean_time

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
_MAY_BE_EMPTY = ("CollimatorType", "PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence")
_ENHANCED_ONLY = (
    *(name for name in _CORRECTIONS if name != "DecayCorrected"),
    *("PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique", "TableMotion"),
    *("ViewCodeSequence", "SliceProgressionDirection", "TimeOfFlightInformationUsed", "PresentationLUTShape"),
)
"""No part of the classic object; Decay Corrected and its DateTime stay, because SUV needs them."""


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
    if "DecayCorrection" not in data and decay_correction(tags):
        data.DecayCorrection = decay_correction(tags)
    thickness = tags.number("SliceThickness")
    if thickness is not None:
        data.SliceThickness = format_number_as_ds(thickness)
    if "SeriesType" not in data:
        data.SeriesType = ["STATIC", "IMAGE"]
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
    if begin:
        data.AcquisitionDate, data.AcquisitionTime = begin.strftime("%Y%m%d"), begin.strftime("%H%M%S.%f")
    if length is not None:
        data.ActualFrameDuration = round(length * 1000)
    middle = _reference_ms(one)
    if "FrameReferenceTime" not in data and middle is not None:
        data.FrameReferenceTime = format_number_as_ds(middle)
    factor = tags.number("DecayFactor") or _decay_factor(data, one)
    if factor is not None:
        data.DecayFactor = format_number_as_ds(factor)


def _reference_ms(one: Slice) -> Optional[float]:
    """Return the time of the frame's mean activity in ms after the reference of the decay correction (C.8.9.4.1.3)."""
    tags = one.tags
    begin, length, life = acquisition_time(tags), duration_s(tags), _half_life(one)
    start = full_date_time(tags.text("DecayCorrectionDateTime")) or begin
    if begin is None or start is None or length is None:
        return None
    return 1000 * ((begin - start).total_seconds() + (mean_time(length, life) if life else length / 2))


def _decay_factor(data: Dataset, one: Slice) -> Optional[float]:
    """Return the factor by which the frame was corrected, where it is corrected to the start of the scan."""
    life, middle = _half_life(one), _reference_ms(one)
    if data.get("DecayCorrection") != "START" or not life or middle is None:
        return None
    return float(2 ** (middle / 1000 / life))


def _half_life(one: Slice) -> Optional[float]:
    drug = one.tags.item("RadiopharmaceuticalInformationSequence")
    value = None if drug is None else drug.get("RadionuclideHalfLife")
    return float(value) if value and float(value) > 0 else None
