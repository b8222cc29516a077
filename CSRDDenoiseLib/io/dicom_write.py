"""DICOM output: a derived PET series on the slices of the input series, with its header (PS3.3 A.21, C.8.9, C.7.6.1.1).

Kept: patient, study, frame of reference, injection, units, times and decay tags, so that SUV is the same. New: series,
instances, image type DERIVED, descriptions, rescale slope of each slice, references to the source images.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from .. import __version__
from ..errors import InputError
from .dicom import DicomStudy, open_dicom, read_dicom, unit_code
from .dicom_enhanced import add_converted, fill_from_groups
from .dicom_frames import Slice
from .dicom_tags import Tags, in_little_endian, quiet, read_header
from .grid import Grid
from .nrrd import UNITS_KEY
from .suv import SUV_UNIT, corrects_decay, decay_factor
from .volume import ReadVolume

MANUFACTURER, MODEL_NAME = "CSRDDenoise", "csrd-denoise"
SOURCE_OF_PROCESSING = ("121322", "DCM", "Source image for image processing operation")
MODIFYING_EQUIPMENT = ("109103", "DCM", "Modifying Equipment")
LABELS_NAME = "SEG.dcm"
_OWN_NAME = re.compile(rf"IM\d{{4,}}\.dcm|{re.escape(LABELS_NAME)}")
LONGEST_LO, LONGEST_ST = 64, 1024
SERIES_STEP, _LARGEST_IS = 1000, 2**31 - 1
"""Added to the number of the source series; the largest number of a tag of type IS (PS3.5 6.2)."""
_OVERLAYS, _OVERLAY_DATA = range(0x6000, 0x6020), 0x3000
_DROPPED = (
    *("SmallestImagePixelValue", "LargestImagePixelValue", "WindowCenter", "WindowWidth", "PixelPaddingValue"),
    *("WindowCenterWidthExplanation", "VOILUTSequence", "VOILUTFunction", "PixelPaddingRangeLimit", "NumberOfFrames"),
    *("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "DimensionIndexSequence"),
    *(
        "DimensionOrganizationSequence",
        "DimensionOrganizationType",
        "RealWorldValueMappingSequence",
        "IconImageSequence",
    ),
    *("SmallestPixelValueInSeries", "LargestPixelValueInSeries", "OriginalAttributesSequence", "RescaleType"),
    *("SourceImageSequence", "ReferencedImageSequence", "DerivationImageSequence", "DigitalSignaturesSequence"),
    *("PresentationLUTShape", "FrameIncrementPointer"),
)
_MAY_BE_EMPTY = (
    *("AccessionNumber", "StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName", "PatientBirthDate"),
    *("PatientSex", "Manufacturer", "PositionReferenceIndicator"),
)
"""Type 2: a PET image has them, empty where they are not known (PS3.3 A.21), and an enhanced one may lack them."""
_HALF_STEP = 0.51


@dataclass(frozen=True)
class Derived:
    """What a derived series is.

    Attributes:
        suffix: appended to the series description, for instance "denoised".
        description: how it was made, with model and version (at most 1024 characters).
        number: which of several series of one run, from 0; keeps the series numbers apart.
        series: Series Instance UID, where the image is one time frame of several; a new one without.
        before: instances of the series that come before, those of other frames.
        frames: time frames of the series.
    """

    suffix: str
    description: str
    number: int = 0
    series: str = ""
    before: int = 0
    frames: int = 1


def write_dicom(
    image: sitk.Image, folder: Path, source: Union[Path, DicomStudy], like: ReadVolume, derived: Derived
) -> None:
    """Write an image as a DICOM series and read it back.

    Args:
        image: scalar 3D on the grid of the input, in its unit or in SUV.
        folder: an existing empty folder.
        source: the input series, or its headers where they were read already.
        like: the input as it was read.
        derived: what the series is.

    Raises:
        InputError: the input is no DICOM series, or the image is not on its slices.
        OSError: what was written reads back differently.
    """
    study = source if isinstance(source, DicomStudy) else open_dicom(source, "PET")
    stack = study.volumes[like.header.frame]
    if Grid.of(image).size != Grid.of(like.image).size:
        raise InputError(f"The image has {image.GetSize()} voxels and the series {like.image.GetSize()}.")
    values = sitk.GetArrayFromImage(image).astype(np.float64)
    has_negative, unit = bool((values < 0).any()), image.GetMetaData(UNITS_KEY) if _has_unit(image) else ""
    series, now = derived.series or generate_uid(), datetime.now()
    code, steps = unit_code(stack), []
    for index, (one, plane) in enumerate(zip(stack, values)):
        data = _header(one, index, derived, series, now)
        if one.tags.groups:
            _fill(data, one, len(stack), code)
        if unit == SUV_UNIT:
            data.Units, data.SUVType = "GML", "BW"
            if data.get("DecayCorrection") == "NONE" and corrects_decay(one.tags, code):
                _state_correction(data, one)
        steps.append(_add_pixels(data, plane, has_negative))
        _save(data, folder / f"IM{derived.before + index + 1:04d}.dcm")
    _check(image, folder, steps)


def check_study(source: Union[Path, DicomStudy], like: ReadVolume) -> None:
    """Refuse a PET whose header names no study that a derived series could belong to; arguments as above.

    Raises:
        InputError: it names none, or the input is no DICOM series.
    """
    study = source if isinstance(source, DicomStudy) else open_dicom(source, "PET")
    if not all(one.tags.text("StudyInstanceUID") for one in study.volumes[like.header.frame]):
        raise InputError(
            "The header of the PET has no Study Instance UID (0020,000D), so a DICOM output would belong to no study. "
            "Give a name that ends in .nii.gz or .nrrd."
        )


def is_own_series(folder: Path) -> bool:
    """Whether every file of a folder is one that this package wrote, by its name and its equipment; an empty one is."""
    return all(_is_own(path) for path in folder.iterdir())


def _is_own(path: Path) -> bool:
    if not (_OWN_NAME.fullmatch(path.name) and path.is_file()):
        return False
    try:
        header = read_header(path)
    # pydicom raises whatever it makes of a damaged header
    except Exception:
        return False
    makers = [] if header is None else [header, *(header.get("ContributingEquipmentSequence") or [])]
    return any(each.get("ManufacturerModelName") == MODEL_NAME for each in makers)


def _has_unit(image: sitk.Image) -> bool:
    return image.HasMetaDataKey(UNITS_KEY)


def _header(one: Slice, index: int, derived: Derived, series: str, now: datetime) -> Dataset:
    with quiet():
        data = in_little_endian(pydicom.dcmread(one.tags.path, stop_before_pixels=True, force=True))
    source = (one.tags.text("SOPClassUID"), one.tags.text("SOPInstanceUID"))
    add_converted(data, one.tags.index)
    for keyword in _DROPPED:
        if keyword in data:
            delattr(data, keyword)
    _drop_embedded_overlays(data)
    data.SOPClassUID, data.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    data.SeriesInstanceUID, data.InstanceNumber = series, derived.before + index + 1
    data.ImageIndex = data.InstanceNumber
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.ImagePositionPatient = [format_number_as_ds(float(value)) for value in one.position]
    data.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in one.axes.ravel()]
    data.PixelSpacing = [format_number_as_ds(float(value)) for value in one.spacing]
    if derived.frames > 1 and one.tags.text("SeriesType").partition("\\")[0] in ("", "STATIC"):
        # an enhanced file has no such tags
        data.SeriesType, data.NumberOfTimeSlices = ["DYNAMIC", "IMAGE"], derived.frames
    data.SeriesDescription = _shortened(
        str(data.get("SeriesDescription", "")), f" {derived.suffix}", LONGEST_LO
    ).strip()
    data.SeriesNumber = series_number(one.tags, derived)
    data.DerivationDescription = derived.description[:LONGEST_ST]
    data.ContentDate, data.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.InstanceCreationDate, data.InstanceCreationTime = data.ContentDate, data.ContentTime
    if all(source):
        data.SourceImageSequence = [_reference(*source, frame=None if one.tags.count == 1 else one.tags.index + 1)]
    data.ContributingEquipmentSequence = [*(data.get("ContributingEquipmentSequence") or []), _equipment(now)]
    return data


def series_number(tags: Tags, derived: Derived) -> int:
    """Return the number of a derived series: that of its source and a step, or the step where there is no room."""
    step = SERIES_STEP + derived.number
    number = int(tags.number("SeriesNumber") or 0) + step
    return number if number <= _LARGEST_IS else step


def _drop_embedded_overlays(data: Dataset) -> None:
    """Remove, in place, overlays that lie in unused bits of the source's pixels, which a new image has not."""
    for tag in tuple(data.keys()):
        if tag.group in _OVERLAYS and (tag.group, _OVERLAY_DATA) not in data:
            del data[tag]


def _fill(data: Dataset, one: Slice, count: int, code: str) -> None:
    fill_from_groups(data, one, count, code)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in data:
            setattr(data, keyword, "")


def _state_correction(data: Dataset, one: Slice) -> None:
    """State, in place, that the decay of a slice in SUV is corrected to the injection, which its factor has done."""
    data.DecayCorrection, data.DecayFactor = "ADMIN", format_number_as_ds(decay_factor(one.tags))
    terms = data.get("CorrectedImage") or ()
    data.CorrectedImage = sorted({*([terms] if isinstance(terms, str) else terms), "DECY"})
    for keyword in ("DecayCorrected", "DecayCorrectionDateTime"):
        if keyword in data:
            delattr(data, keyword)


def _reference(sop_class: str, instance: str, frame: Optional[int]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [_code(*SOURCE_OF_PROCESSING)]
    return item


def _equipment(now: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code(*MODIFYING_EQUIPMENT)]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = MANUFACTURER, MODEL_NAME, __version__
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _shortened(text: str, ending: str, most: int) -> str:
    return f"{text[: most - len(ending)]}{ending}"


def _add_pixels(data: Dataset, plane: np.ndarray, has_negative: bool) -> float:
    """Store a plane (H, W) as 16-bit integers with a slope of its own; return the slope."""
    top = 32767 if has_negative else 65535
    slope = float(np.abs(plane).max()) / top or 1.0
    # sixteen characters hold the slope only nearly; a little more of it keeps the largest value inside
    text = format_number_as_ds(slope * (1 + 1e-9))
    slope = float(text)
    stored = np.clip(np.round(plane / slope), -top if has_negative else 0, top)
    data.Rows, data.Columns, data.SamplesPerPixel = *plane.shape, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", int(has_negative)
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.RescaleSlope, data.RescaleIntercept = text, "0"
    data.PixelData = stored.astype("<i2" if has_negative else "<u2").tobytes()
    data["PixelData"].VR = "OW"
    return slope


def _save(data: Any, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta, data.preamble = meta, bytes(128)
    with quiet():
        if int(pydicom.__version__.partition(".")[0]) < 3:
            # later ones take it from the file meta information
            data.is_little_endian, data.is_implicit_VR = True, False
            data.save_as(path, write_like_original=False)
        else:
            data.save_as(path, enforce_file_format=True)


def _check(image: sitk.Image, folder: Path, steps: Sequence[float]) -> None:
    written = read_dicom(folder, "result")
    expected, found = (sitk.GetArrayFromImage(each).astype(np.float64) for each in (image, written.image))
    # float32 on the way back adds its own rounding to half a step
    limit = _HALF_STEP * np.array(steps).reshape(-1, 1, 1) + np.abs(expected) * 2e-7
    if expected.shape != found.shape or (np.abs(expected - found) > limit).any():
        raise OSError("the series that was written reads back differently, as from a full disk")
    if not np.allclose(Grid.of(image).corners(), Grid.of(written.image).corners(), atol=1e-3):
        raise OSError("the series that was written reads back at another place")
