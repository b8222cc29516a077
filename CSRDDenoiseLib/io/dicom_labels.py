"""The map of unsupported structure as a DICOM Segmentation (PS3.3 A.51), by highdicom, in the study of the PET.

Two binary segments, added (1) and removed (2), on the slices of the PET, which the frames refer to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Union

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage, generate_uid
from pydicom.valuerep import DA, TM, format_number_as_ds

from .. import __version__
from ..errors import InputError
from ..extras import missing_package
from .dicom import DicomStudy, open_dicom
from .dicom_frames import Slice
from .dicom_tags import in_little_endian, quiet
from .dicom_write import LABELS_NAME, LONGEST_LO, MANUFACTURER, MODEL_NAME, Derived, series_number
from .grid import Grid
from .volume import ReadVolume

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

_HIGHDICOM = "highdicom"
CODING_SCHEME = "99CSRD"
SEGMENTS: Mapping[int, tuple[str, str]] = {
    1: ("UNSUPPORTED_ADDED", "Structure added without support by the counts"),
    2: ("UNSUPPORTED_REMOVED", "Structure removed against the counts"),
}
"""Value in the map -> code and meaning of its segment."""
_CATEGORY = ("309825002", "SCT", "Spatial and Relational Concept")
_METHOD = ("123110", "DCM", "Artificial Intelligence")
_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
"""Tags of type 2 that highdicom requires of a source, and that may be empty."""
_SEXES = ("M", "F", "O", "")
_TIMES: Mapping[str, Callable[[str], Any]] = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
"""Tags that highdicom takes for a date or a time, and what makes one of them; anonymised series have other words."""
_MULTI_FRAME = ("NumberOfFrames", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_CHARACTERS = "ISO_IR 192"
_SAME_PLACE_MM = 1e-3


def write_labels(
    labels: sitk.Image, folder: Path, source: Union[Path, DicomStudy], like: ReadVolume, derived: Derived
) -> None:
    """Write a label map as one Segmentation object and read it back.

    Args:
        labels: scalar 3D on the grid of the input; 0 and the values of :data:`SEGMENTS`.
        folder: an existing empty folder.
        source: the input series, or its headers where they were read already.
        like: the input as it was read.
        derived: what the series is.

    Raises:
        InputError: highdicom is not installed or refuses the header, or the labels are not on the slices of the input.
        OSError: what was written reads back differently.
    """
    grid = Grid.of(like.image)
    if labels.GetSize() != grid.size:
        raise InputError(f"The map has {labels.GetSize()} voxels and the series {grid.size}.")
    values = sitk.GetArrayFromImage(labels).astype(np.uint8)
    segmentation, source_class = _in_study(values, source, like, derived)
    # not taken from the source by highdicom for Python 3.9
    segmentation.SpecificCharacterSet = _CHARACTERS
    _refer_to(segmentation, source_class)
    with quiet():
        segmentation.save_as(folder / LABELS_NAME)
    _check(values, grid, folder / LABELS_NAME)


def check_labels(source: Union[Path, DicomStudy], like: ReadVolume, derived: Derived) -> None:
    """Refuse a PET whose header does not allow a Segmentation, before there is a map; arguments as above.

    Raises:
        InputError: as :func:`write_labels`.
    """
    _in_study(np.zeros(Grid.of(like.image).size[::-1], np.uint8), source, like, derived)


def _in_study(
    values: np.ndarray, source: Union[Path, DicomStudy], like: ReadVolume, derived: Derived
) -> tuple[Segmentation, str]:
    """Return the Segmentation of a map (D, H, W), and the class of the files it refers to."""
    study, grid = source if isinstance(source, DicomStudy) else open_dicom(source, "PET"), Grid.of(like.image)
    stack = study.volumes[like.header.frame]
    try:
        number = max(1, series_number(stack[0].tags, derived))
        made = _segmentation(values, grid, _sources(stack, grid.spacing[2]), derived, number)
    # highdicom refuses headers that break the standard, each in its own way
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The map cannot be written as DICOM, because of the header of the PET: {error}. Give a name that ends in "
            ".nii.gz or .nrrd."
        ) from error
    return made, stack[0].tags.text("SOPClassUID")


def _sources(stack: list[Slice], step: float) -> list[Dataset]:
    """Return the headers of the files of a stack, in its order, with the tags that highdicom requires."""
    found: list[Dataset] = []
    files = {one.tags.path: one for one in stack}
    for path, one in files.items():
        with quiet():
            data = in_little_endian(pydicom.dcmread(path, stop_before_pixels=True, force=True))
            data.decode()
        if one.tags.groups and len(files) > 1:
            _make_classic(data, one)
        # highdicom supports some character sets, and this one contains them all
        data.SpecificCharacterSet = _CHARACTERS
        for keyword in _EMPTY:
            if keyword not in data:
                setattr(data, keyword, "")
        if data.PatientSex not in _SEXES:
            data.PatientSex = ""
        for keyword, kind in _TIMES.items():
            try:
                kind(str(data[keyword].value))
            except ValueError:
                setattr(data, keyword, "")
        if not data.get("SliceThickness"):
            data.SliceThickness = step
        if not data.get("FrameOfReferenceUID"):
            data.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(data.StudyInstanceUID), "frame of reference"])
        found.append(data)
    return found


def _make_classic(data: Dataset, one: Slice) -> None:
    """Make a classic header, in place, of that of one of several enhanced files, of which highdicom takes one alone."""
    for keyword in _MULTI_FRAME:
        if keyword in data:
            delattr(data, keyword)
    data.SOPClassUID = PositronEmissionTomographyImageStorage
    data.ImagePositionPatient = [format_number_as_ds(float(value)) for value in one.position]
    data.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in one.axes.ravel()]
    data.PixelSpacing = [format_number_as_ds(float(value)) for value in one.spacing]


def _refer_to(made: Dataset, source_class: str) -> None:
    """Give every reference to a source the class that its file has."""

    def change(_dataset: Dataset, element: Any) -> None:
        if element.keyword == "ReferencedSOPClassUID":
            element.value = source_class

    made.walk(change)


def _segmentation(
    values: np.ndarray, grid: Grid, sources: list[Dataset], derived: Derived, series_number: int
) -> Segmentation:
    hd = _highdicom()
    columns = np.array(grid.direction).reshape(3, 3)
    positions = [grid.point((0, 0, index)).tolist() for index in range(grid.size[2])]
    system = hd.CoordinateSystemNames.PATIENT
    first = sources[0]
    description = str(first.get("SeriesDescription") or "")
    with quiet():
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=values,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(number) for number in SEGMENTS],
            series_instance_uid=derived.series or generate_uid(),
            series_number=series_number,
            sop_instance_uid=generate_uid(),
            instance_number=derived.before + 1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL_NAME,
            software_versions=__version__,
            device_serial_number=__version__,
            content_label="UNSUPPORTED",
            content_description=derived.suffix[:LONGEST_LO],
            series_description=f"{description[: LONGEST_LO - len(derived.suffix) - 1]} {derived.suffix}".strip(),
            pixel_measures=hd.PixelMeasuresSequence(
                pixel_spacing=grid.spacing[1::-1],
                slice_thickness=grid.spacing[2],
                spacing_between_slices=grid.spacing[2],
            ),
            plane_orientation=hd.PlaneOrientationSequence(system, columns[:, :2].T.ravel().tolist()),
            plane_positions=[hd.PlanePositionSequence(system, position) for position in positions],
            # every slice of the PET, so that the map has the PET's grid
            omit_empty_frames=False,
        )
    return made


def _segment(number: int) -> SegmentDescription:
    hd = _highdicom()
    code, meaning = SEGMENTS[number]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=meaning,
        segmented_property_category=hd.sr.CodedConcept(*_CATEGORY),
        segmented_property_type=hd.sr.CodedConcept(code, CODING_SCHEME, meaning),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MODEL_NAME, family=hd.sr.CodedConcept(*_METHOD), version=__version__
        ),
    )


def _check(values: np.ndarray, grid: Grid, path: Path) -> None:
    found, place = read_labels(path)
    if found.shape != values.shape or not np.array_equal(found, values):
        raise OSError("the map that was written reads back differently, as from a full disk")
    if not np.allclose(place.corners(), grid.corners(), atol=_SAME_PLACE_MM):
        raise OSError("the map that was written reads back at another place")


def read_labels(path: Path) -> tuple[np.ndarray, Grid]:
    """Return the labels (D, H, W) of a Segmentation that :func:`write_labels` wrote, uint8, and their grid.

    Raises:
        InputError: highdicom is not installed.
    """
    with quiet():
        data = _highdicom().seg.segread(path)
    shared, frames = data.SharedFunctionalGroupsSequence[0], data.PerFrameFunctionalGroupsSequence
    numbers = [int(each.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for each in frames]
    positions = np.array([each.PlanePositionSequence[0].ImagePositionPatient for each in frames], dtype=float)
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    along = positions @ np.cross(*axes)
    places = np.unique(np.round(along, 4))
    labels = np.zeros((len(places), data.Rows, data.Columns), dtype=np.uint8)
    for number, place, plane in zip(numbers, np.abs(along[:, None] - places).argmin(axis=1), data.pixel_array):
        labels[place][plane > 0] = number
    rows, columns = (float(each) for each in shared.PixelMeasuresSequence[0].PixelSpacing)
    step = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
    direction = np.column_stack([*axes, np.cross(*axes)])
    origin = positions[along.argmin()]
    size = (int(data.Columns), int(data.Rows), len(places))
    return labels, Grid(size, (columns, rows, step), tuple(origin.tolist()), tuple(direction.ravel().tolist()))


def _highdicom() -> Any:
    try:
        import highdicom
        import highdicom.seg
        import highdicom.sr
    except ImportError as error:
        raise missing_package(_HIGHDICOM) from error
    return highdicom
