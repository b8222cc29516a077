"""DICOM series: pydicom reads the headers, which decide the values, the places and the time frames.

Values are stored value x rescale slope + intercept, slice by slice (PS3.3 C.7.6.16.2.9, C.8.9.4.1.5); the photometric
interpretation is for display and changes none. A stack that is no rectangular grid is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from ..errors import InputError
from ..findings import Finding, warning
from .dicom_files import INDEX, MODALITIES, dicom_files, find_series, is_dicom_file, unusual_modality
from .dicom_frames import Slice, check_stack, split_frames
from .dicom_kind import check_emission
from .dicom_tags import Tags, frames_of, quiet, read_header
from .dicom_values import scaling_of, values_of
from .grid import Grid
from .nifti import describe_frames
from .suv import suv_from_dicom
from .volume import UNIT_WORDS, UNKNOWN, Frame, Header, ReadVolume, Suv, unit_words, with_unit

__all__ = ["DicomStudy", "dicom_files", "dicom_frame", "is_dicom_file", "open_dicom", "read_dicom"]

_TOLERATED = ("", "OT", "NM", "SC")
"""Modalities that a PET or an MR may have after processing elsewhere; reported."""
_UCUM_UNITS = {
    **{"bq/ml": "BQML", "{counts}": "CNTS", "{counts}/s": "CPS"},
    **dict.fromkeys(("g/ml", "{suvbw}g/ml", "g/ml{suvbw}"), "GML"),
}
_NO_IMAGES = {
    "SEG": "a segmentation",
    "RTDOSE": "a dose grid",
    "RTSTRUCT": "a set of contours",
    "REG": "a registration",
}
"""Modalities whose objects hold no measured image, whatever they are read as."""
_AXIS_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-3
_SAME_SCALE = 1e-3

_ONE_PER_SERIES = (
    *("Rows", "Columns", "SamplesPerPixel", "PixelRepresentation", "Modality", "Units", "PatientID"),
    *("FrameOfReferenceUID", "DecayCorrection", "DecayCorrected", "CorrectedImage", "SUVType"),
)
"""Tags that may not change from slice to slice."""


@dataclass(frozen=True)
class DicomStudy:
    """A series whose headers were read and whose pixels were not.

    Attributes:
        what: how messages call it.
        place: how messages begin.
        tags: headers of all frames.
        volumes: the slices of each time frame, sorted by position.
        frames: when the time frames are.
        findings: what was noticed in the headers.
    """

    what: str
    place: str
    tags: list[Tags] = field(repr=False)
    volumes: list[list[Slice]] = field(repr=False)
    frames: tuple[Frame, ...]
    findings: tuple[Finding, ...]


@quiet()
def open_dicom(path: Path, what: str) -> DicomStudy:
    """Read the headers of the one DICOM series of a folder, or of a multi-frame file.

    Raises:
        InputError: no series, several, another modality, slices that differ or lack tags.
    """
    tags, findings = find_series(path, what)
    if path.is_file() and path.name.upper() != INDEX and len(tags) == 1:
        raise InputError(
            f"The {what} '{path}' is one slice of a DICOM series; give the folder of the whole series instead, "
            f"'{path.parent}'."
        )
    place = f"The {what} series in '{path}'"
    findings = (*findings, *_modality_findings(tags, what, place), *check_emission(tags, what, place))
    findings = (*findings, *_lossy_findings(tags, what))
    for keyword in _ONE_PER_SERIES:
        _require_one(tags, keyword, place)
    slices = _slices(tags, place)
    _check_axes(slices, place)
    volumes, frames = split_frames(slices, place)
    if len(frames) > 1 and frames[0].start_s is None:
        findings = (*findings, warning("frames.no_times", what=what, count=len(frames)))
    return DicomStudy(what, place, tags, volumes, frames, findings)


def read_dicom(path: Path, what: str, frame: Optional[int] = None) -> ReadVolume:
    """Read one volume of a series; see :func:`CSRDDenoiseLib.io.read.read`.

    Raises:
        InputError: as :func:`open_dicom`; several time frames and none chosen; as :func:`dicom_frame`.
    """
    study = open_dicom(path, what)
    if frame is None and len(study.frames) > 1:
        raise InputError(
            f"{study.place} is a dynamic study of {describe_frames(study.frames)}; a 3D volume is needed, for instance "
            "one frame of it or the mean of several."
        )
    if not 0 <= (frame or 0) < len(study.frames):
        raise InputError(f"{study.place} has {len(study.frames)} frame(s), so there is no frame {(frame or 0) + 1}.")
    return dicom_frame(study, frame or 0)


@quiet()
def dicom_frame(study: DicomStudy, index: int) -> ReadVolume:
    """Read the pixels of one time frame.

    Raises:
        InputError: slices are missing, no rectangular grid, or damaged.
    """
    stack, first = study.volumes[index], study.tags[0]
    step, found = check_stack(stack, study.place, study.what, len(study.frames))
    values, of_values = values_of(stack, study.place, study.what)
    image = _grid(stack, step).image(values)
    code = unit_code(stack)
    header = Header(
        format="DICOM" if first.count == 1 else "DICOM multi-frame",
        files=tuple(dict.fromkeys(each.tags.path for each in stack)),
        modality=first.text("Modality") or UNKNOWN,
        orientation="ImageOrientationPatient",
        frames=study.frames,
        frame=index,
        decay_correction=decay_correction(first),
        suv=suv_from_dicom([each.tags for each in stack], study.tags, code),
    )
    unit = unit_words(code)
    return ReadVolume(with_unit(image, unit), unit, (*study.findings, *found, *of_values), header)


def _modality_findings(tags: Sequence[Tags], what: str, place: str) -> tuple[Finding, ...]:
    """Refuse a CT or a dose grid as PET; report what may be one after processing elsewhere."""
    wanted, modality = MODALITIES.get(what.lower()), tags[0].text("Modality")
    if modality in _NO_IMAGES:
        raise InputError(
            f"{place} is {_NO_IMAGES[modality]} (DICOM modality {modality}), which is not read; give an image series. "
            "Convert a label map to NIfTI or NRRD."
        )
    if wanted in (None, modality):
        return ()
    if modality not in _TOLERATED:
        raise InputError(
            f"{place} has the modality {modality} ({tags[0].text('SeriesDescription') or 'no description'}), and "
            f"{wanted} is needed. Give the right series, or correct the tag Modality (0008,0060)."
        )
    return unusual_modality(modality, what)


def _lossy_findings(tags: Sequence[Tags], what: str) -> tuple[Finding, ...]:
    if any(each.text("LossyImageCompression") == "01" for each in tags):
        return (warning("pixels.lossy", what=what),)
    return ()


def _require_one(tags: Sequence[Tags], keyword: str, place: str) -> None:
    counts = Counter(each.text(keyword) for each in tags)
    if len(counts) > 1:
        listed = ", ".join(f"{text or 'none'} in {count}" for text, count in counts.most_common(4))
        raise InputError(f"{place} mixes slices of different {keyword} ({listed}); export one series.")


def _slices(tags: Sequence[Tags], place: str) -> list[Slice]:
    if tags[0].text("SamplesPerPixel") not in ("", "1"):
        raise InputError(f"{place} has {tags[0].text('SamplesPerPixel')} values per voxel; one is needed.")
    scaling = scaling_of(tags, place)
    slices: list[Slice] = []
    lacking: Counter[str] = Counter()
    for each, (slope, intercept) in zip(tags, scaling):
        position, axes, spacing = _position(each), _axes(each), each.numbers("PixelSpacing", 2)
        values = {"ImagePositionPatient": position, "ImageOrientationPatient": axes, "PixelSpacing": spacing}
        lacking.update(name for name, value in values.items() if value is None)
        if position is not None and axes is not None and spacing is not None:
            slices.append(Slice(each, position, axes, (spacing[0], spacing[1]), slope, intercept))
    if lacking:
        listed = ", ".join(f"{name} in {count} of {len(tags)}" for name, count in lacking.items())
        raise InputError(f"{place} lacks valid tags that place its slices ({listed}); export the series again.")
    if any(min(each.spacing) <= 0 for each in slices):
        raise InputError(f"{place} has a PixelSpacing of {min(min(each.spacing) for each in slices):g} mm.")
    _check_mappings(slices, place)
    return slices


def _check_mappings(slices: Sequence[Slice], place: str) -> None:
    """Refuse a PET whose real-world values scale its slices in other proportions than the rescale slopes do."""
    mapped = [slope for each in slices if (slope := _mapped_slope(each))]
    if slices[0].tags.text("Modality") != "PT" or len(mapped) < len(slices):
        return
    factors = np.array(mapped) / [each.slope for each in slices]
    low, high = int(factors.argmin()), int(factors.argmax())
    # one mapping for all slices may be meant for the rescaled values
    if not np.isclose(factors[low], factors[high], rtol=_SAME_SCALE) and np.ptp(mapped) > 0:
        raise InputError(
            f"{place} has real-world values that are {factors[low]:.6g} times the rescaled ones in "
            f"'{slices[low].name}' and {factors[high]:.6g} times in '{slices[high].name}', so that its slices have no "
            "common scale. Export the series again."
        )


def _mapped_slope(one: Slice) -> Optional[float]:
    """Return the slope of the first real-world mapping of a slice, where it has one."""
    item = one.tags.item("RealWorldValueMappingSequence")
    return None if item is None else Tags(one.tags.path, 0, 1, item).number("RealWorldValueSlope")


def _position(tags: Tags) -> Optional[np.ndarray]:
    found = tags.numbers("ImagePositionPatient", 3)
    if tags.count == 1 or "ImagePositionPatient" in tags.groups:
        return None if found is None else np.array(found)
    # multi-frame NM: the first slice's place, the step (PS3.3 C.8.4.15) and, of tomography, each frame's slice
    detector, step, axes = tags.item("DetectorInformationSequence"), tags.number("SpacingBetweenSlices"), _axes(tags)
    first = Tags(tags.path, 0, 1, detector).numbers("ImagePositionPatient", 3) if detector is not None else found
    if first is None or step is None or axes is None:
        return None
    return np.array(first) + np.cross(axes[0], axes[1]) * step * _slice_number(tags)


def _slice_number(tags: Tags) -> int:
    """The slice that a frame of multi-frame NM shows, from 0 (Slice Vector, PS3.3 C.8.4.8); the frame's own without."""
    vector = tags.numbers("SliceVector", tags.count)
    return tags.index if vector is None else int(vector[tags.index]) - 1


def _axes(tags: Tags) -> Optional[np.ndarray]:
    found = tags.numbers("ImageOrientationPatient", 6)
    detector = tags.item("DetectorInformationSequence")
    if found is None and detector is not None:
        found = Tags(tags.path, 0, 1, detector).numbers("ImageOrientationPatient", 6)
    if found is None:
        return None
    axes = np.array(found).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01:
        return None
    return axes / lengths[:, None]


def _check_axes(slices: Sequence[Slice], place: str) -> None:
    first = slices[0]
    turned = [each for each in slices if np.abs(each.axes - first.axes).max() > _AXIS_TOLERANCE]
    if turned:
        worst = max(np.abs(each.axes - first.axes).max() for each in turned)
        raise InputError(
            f"{place} has slices that are turned against each other ({len(turned)} of {len(slices)} differ from "
            f"'{first.name}', by up to {np.degrees(2 * np.arcsin(min(worst / 2, 1))):.1f} degrees); export one stack "
            "of parallel slices."
        )
    spacings = sorted({each.spacing for each in slices})
    if any(not np.allclose(each, spacings[0], rtol=_SPACING_TOLERANCE) for each in spacings):
        listed = "; ".join(f"{row:g} x {column:g} mm" for row, column in (spacings[0], spacings[-1]))
        raise InputError(f"{place} mixes slices of different pixel spacing ({listed}); export one series.")


def _grid(stack: Sequence[Slice], step: float) -> Grid:
    first = stack[0]
    columns, rows = (int(first.tags.number(name) or 0) for name in ("Columns", "Rows"))
    direction = np.column_stack([*first.axes, first.normal])
    return Grid(
        size=(columns, rows, len(stack)),
        spacing=(first.spacing[1], first.spacing[0], step),
        origin=tuple(first.position.tolist()),
        direction=tuple(direction.ravel().tolist()),
    )


def unit_code(stack: Sequence[Slice]) -> str:
    """Return the unit's code: of the tag Units, or of a real-world mapping of the same values (enhanced PET)."""
    codes = {_code(one.tags.text("Units")) or _mapped_unit(one) for one in stack}
    return codes.pop() if len(codes) == 1 else ""


def _code(text: str) -> str:
    """Return the code of a unit, also in UCUM's letters, as some converters write "Bq/ml"; another text as it is."""
    capitals = text.strip().upper()
    return _UCUM_UNITS.get(text.strip().lower(), capitals if capitals in UNIT_WORDS else text)


def _mapped_unit(one: Slice) -> str:
    for item in one.tags.get("RealWorldValueMappingSequence") or ():
        mapped = Tags(one.tags.path, 0, 1, item)
        slope, intercept = (mapped.number(name) for name in ("RealWorldValueSlope", "RealWorldValueIntercept"))
        unit = mapped.item("MeasurementUnitsCodeSequence")
        if unit is None or slope is None or intercept is None:
            continue
        if np.allclose((slope, intercept), (one.slope, one.intercept), rtol=1e-5, atol=0):
            return _code(str(unit.get("CodeValue", "")))
    return ""


@quiet()
def unit_and_suv(files: Sequence[Path]) -> tuple[str, Suv]:
    """Return the unit in words and the SUV factor of a static PET by the headers of its DICOM files, in any order.

    Raises:
        InputError: they are no volume.
    """
    tags = [frame for path in files if (data := read_header(path)) is not None for frame in frames_of(path, data)]
    if not tags:
        raise InputError(f"None of the {len(files)} files is DICOM.")
    slices = _slices(tags, "The PET series")
    code = unit_code(slices)
    stack = sorted(slices, key=lambda each: float(each.position @ slices[0].normal))
    return unit_words(code), suv_from_dicom([each.tags for each in stack], tags, code)


@quiet()
def emission_findings(path: Path, what: str) -> tuple[Finding, ...]:
    """Return what the header of one DICOM file states about its series; see :func:`.dicom_kind.check_emission`.

    Raises:
        InputError: it is no PET image, and ``what`` is a PET.
    """
    data = read_header(path)
    return () if data is None else check_emission(frames_of(path, data), what, f"The {what} series of '{path.name}'")


@quiet()
def planes_of(path: Path) -> np.ndarray:
    """Return the values of the frames of a DICOM file, (frames, H, W), float32, in the order of the file.

    Raises:
        InputError: it is no DICOM image, or damaged.
    """
    data, place = read_header(path), f"The DICOM file '{path}'"
    if data is None:
        raise InputError(f"{place} is none.")
    return values_of(_slices(frames_of(path, data), place), place, "volume")[0]


def decay_correction(tags: Tags) -> Optional[str]:
    """Return how decay was corrected: START, ADMIN or NONE, or None if no tag states it."""
    correction = tags.text("DecayCorrection")
    if correction:
        return correction
    return {"YES": "START", "NO": "NONE"}.get(tags.text("DecayCorrected"))
