"""DICOM PET series written by pydicom: classic slices or one enhanced file, every tag open to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pydicom
from conftest import head_array
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET_STORAGE, ENHANCED_PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130"
SHAPE, STEP = (6, 8, 10), (3.0, 2.0, 2.5)
ORIGIN = (-10.0, -20.0, 7.0)
STUDY, SERIES = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["series"])


def stored_values(frame: int = 0) -> np.ndarray:
    """Stored values (D, H, W) of a time frame."""
    return np.random.default_rng(frame).integers(0, 30000, SHAPE).astype(np.uint16)


def slopes() -> np.ndarray:
    """The rescale slope of each slice."""
    return np.arange(1, SHAPE[0] + 1) * 0.25


def values(frame: int = 0) -> np.ndarray:
    """What is to be read (D, H, W)."""
    return stored_values(frame) * slopes()[:, None, None]


def one_slice(index: int, frame: int = 0) -> Dataset:
    """A classic PET slice."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = PET_STORAGE, generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, SERIES
    data.Modality, data.Units, data.SeriesDescription = "PT", "BQML", "Brain"
    data.PatientName, data.PatientID, data.PatientWeight, data.PatientSize, data.PatientSex = "A^B", "1", 70, 1.75, "F"
    data.SeriesDate = data.AcquisitionDate = data.StudyDate = "20250101"
    data.SeriesTime = data.StudyTime = "110000"
    data.AcquisitionTime = f"11{frame:02d}00"
    data.ActualFrameDuration, data.FrameReferenceTime = 60000, 30000 + 60000 * frame
    data.DecayCorrection, data.CorrectedImage = "START", ["ATTN", "DECY"]
    data.NumberOfSlices, data.InstanceNumber = SHAPE[0], frame * SHAPE[0] + SHAPE[0] - index
    data.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP[0] * index]
    data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [STEP[1], STEP[2]]
    data.RescaleSlope, data.RescaleIntercept = float(slopes()[index]), 0
    data.RadiopharmaceuticalInformationSequence = Sequence([injection()])
    _add_pixels(data, stored_values(frame)[index])
    return data


def complete(data: Dataset, index: int) -> None:
    """Give a classic slice all that the standard asks of one (a change for :func:`write_series`)."""
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = "1.2.3", ""
    data.ImageType, data.SeriesType, data.CountsSource = ["ORIGINAL", "PRIMARY"], ["STATIC", "IMAGE"], "EMISSION"
    data.CollimatorType, data.SliceThickness, data.SeriesNumber = "NONE", STEP[0], 3
    data.ImageIndex, data.DecayFactor = index + 1, 1.003
    data.BodyPartExamined = "BRAIN"
    for keyword in ("AccessionNumber", "Manufacturer", "PatientBirthDate", "ReferringPhysicianName", "StudyID"):
        setattr(data, keyword, "")
    data.PatientOrientationCodeSequence, data.PatientGantryRelationshipCodeSequence = [], []
    data.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = []


def complete_dynamic(data: Dataset, index: int) -> None:
    """The same of a dynamic series of two frames."""
    complete(data, index)
    data.SeriesType, data.NumberOfTimeSlices = ["DYNAMIC", "IMAGE"], 2


def injection() -> Dataset:
    """368.08 MBq of F-18 an hour before the scan."""
    item = Dataset()
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = 368080000.0, 6586.2
    item.RadiopharmaceuticalStartDateTime = "20250101100000"
    return item


def write_series(
    folder: Path, change: Optional[Callable[[Dataset, int], Any]] = None, frames: int = 1, skip: tuple[int, ...] = ()
) -> Path:
    """Write a classic series; ``change`` gets every slice with its index before it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        for index in range(SHAPE[0]):
            data = one_slice(index, frame)
            if change:
                change(data, index + frame * SHAPE[0])
            if index + frame * SHAPE[0] not in skip:
                save(data, folder / f"{frame}_{index}.dcm")
    return folder


def enhanced(frames: int = 1) -> Dataset:
    """An enhanced PET, its frames not in the order of their positions."""
    data = one_slice(0)
    data.SOPClassUID = ENHANCED_PET_STORAGE
    for keyword in ("RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(data, keyword)
    del data.PixelSpacing, data.NumberOfSlices, data.AcquisitionTime, data.FrameReferenceTime
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = _item(PixelSpacing=[STEP[1], STEP[2]], SliceThickness=STEP[0])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    order = [(frame, index) for index in (2, 0, 5, 1, 4, 3) for frame in range(frames)]
    data.PerFrameFunctionalGroupsSequence = Sequence([_groups(frame, index) for frame, index in order])
    data.NumberOfFrames = len(order)
    _add_pixels(data, np.stack([stored_values(frame)[index] for frame, index in order]))
    return data


def tomogram(slice_vector: Optional[list[int]] = None) -> Dataset:
    """A multi-frame NM, its slices 3 mm apart; the vector names the slice, from 1, that each frame shows."""
    data = enhanced()
    del data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence, data.Units
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.20", "NM"
    data.PixelSpacing, data.SpacingBetweenSlices = [2, 2.5], 3
    data.DetectorInformationSequence = _item(
        ImagePositionPatient=[-10, -20, 7], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    if slice_vector is not None:
        data.SliceVector = slice_vector
    return data


def name_unit_in_mapping(data: Dataset, frames: Optional[int] = None, intercept: float = 0.0) -> None:
    """Name the unit of an enhanced PET in the real world mappings alone, of its first frames or of all."""
    del data.Units
    for groups in data.PerFrameFunctionalGroupsSequence[:frames]:
        groups.RealWorldValueMappingSequence = _item(
            RealWorldValueSlope=float(groups.PixelValueTransformationSequence[0].RescaleSlope),
            RealWorldValueIntercept=intercept,
            MeasurementUnitsCodeSequence=_item(
                CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Becquerels/milliliter"
            ),
        )


def set_tags(only: Optional[int] = None, **tags: Any) -> Callable[[Dataset, int], None]:
    """A change that sets tags in one slice or in all; None deletes one."""

    def change(data: Dataset, index: int) -> None:
        if only is None or index == only:
            for keyword, value in tags.items():
                if value is None:
                    delattr(data, keyword)
                else:
                    setattr(data, keyword, value)

    return change


def save(data: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    if pydicom.__version__ < "3":  # Slicer 5.6
        data.is_little_endian, data.is_implicit_VR = True, False
        data.save_as(path, write_like_original=False)
    else:
        data.save_as(path, enforce_file_format=True)
    return path


def _groups(frame: int, index: int) -> Dataset:
    groups = Dataset()
    groups.FrameContentSequence = _item(
        TemporalPositionIndex=frame + 1,
        InStackPositionNumber=index + 1,
        StackID="1",
        FrameAcquisitionDateTime=f"2025010111{frame:02d}00",
        FrameAcquisitionDuration=60000.0,
    )
    groups.PlanePositionSequence = _item(ImagePositionPatient=[ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP[0] * index])
    groups.PixelValueTransformationSequence = _item(
        RescaleSlope=float(slopes()[index]), RescaleIntercept=0, RescaleType="US"
    )
    return groups


def _item(**tags: Any) -> Sequence:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _add_pixels(data: Dataset, array: np.ndarray) -> None:
    data.Rows, data.Columns, data.SamplesPerPixel = *array.shape[-2:], 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelData = array.tobytes()


def write_head(folder: Path, seed: int = 0, frames: int = 1) -> Path:
    """Write the small head as a series of 24 slices a frame."""
    for frame in range(frames):
        stored = (2 * head_array(seed=seed + frame)).astype(np.uint16)
        for index, plane in enumerate(stored):
            data = one_slice(0, frame)
            data.NumberOfSlices, data.InstanceNumber = len(stored), (frame + 1) * len(stored) - index
            data.ImagePositionPatient, data.PixelSpacing = [-20.0, 10.0, 5.0 + 2 * index], [2.0, 2.0]
            data.SliceThickness, data.RescaleSlope = 2, 0.5
            _add_pixels(data, plane)
            save(data, folder / f"{frame}_{index}.dcm")
    return folder
