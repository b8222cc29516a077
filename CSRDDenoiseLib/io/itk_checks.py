"""NRRD and MetaImage as ITK reads them, compared with their headers.

ITK passes over fields that change values or lengths, and takes what it cannot parse for zero or one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..findings import Finding, warning
from .grid import Grid
from .text_header import NRRD, TextHeader, has_patient_space, stated_place
from .volume import UNKNOWN, unit_words, units_of

READABLE = ("NrrdImageIO", "MetaImageIO")
"""ITK's readers whose headers are checked here. Others lose directions (VTK, GIPL, MRC), lengths or scales."""
_SCALES = {
    "ElementToIntensityFunctionSlope": 1.0,
    "ElementToIntensityFunctionOffset": 0.0,
    "ElementToIntensityFunctionIntercept": 0.0,
}
"""Tags of MetaImage that scale the stored values -> the number that changes none."""
_QUANTISED = ("old min", "old max")
_UNITS = ("space units", "units", "DistanceUnits")
_MILLIMETRES = ("mm", "millimeter", "millimetre", "millimeters", "millimetres")
_NO_LENGTHS = ("", "?", "none", "unknown", "s", "sec", "second", "seconds", "ms", "min")
_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "signed short", "int16", "int16_t", "ushort", "unsigned short", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "int64", "int64_t", "ulonglong", "uint64", "uint64_t", "double"), 8),
}
"""Type of a NRRD file -> bytes a voxel."""
_SAME_PLACE = 1e-4
"""Part of a voxel."""
_AXIS_TOLERANCE = 1e-3


def check_kind(place: str, path: Path, what: str) -> None:
    """Refuse a format that ITK reads, and whose values and place cannot be checked."""
    kind = sitk.ImageFileReader.GetImageIOFromFileName(place)
    if not kind or kind in READABLE:
        return
    name = kind.replace("ImageIO", "")
    if name == "Nifti":
        raise InputError(f"The {what} '{path}' has no name of a NIfTI file; give one that ends in .nii or .nii.gz.")
    raise InputError(
        f"The {what} '{path}' is of the format {name}, of which neither place nor values can be checked. Convert it to "
        "NIfTI, NRRD or MetaImage."
    )


def check_fields(header: TextHeader, path: Path, what: str) -> None:
    """Refuse fields that change values or lengths, and that ITK passes over."""
    for name, neutral in _SCALES.items():
        numbers = header.numbers(name)
        if numbers is not None and not np.array_equal(numbers, [neutral]):
            raise InputError(
                f"The {what} '{path}' stores values to be scaled ({name} = {header.get(name)}), which its reader "
                "ignores; write it with the scaled values."
            )
    if header.kind == NRRD and any(header.get(name) is not None for name in _QUANTISED):
        raise InputError(
            f"The {what} '{path}' stores values that were quantised between {header.get(_QUANTISED[0])} and "
            f"{header.get(_QUANTISED[1])} (old min, old max), which its reader ignores; write it with the values."
        )
    named = {unit.strip('"') for name in _UNITS for unit in (header.get(name) or "").split()}
    others = {unit for unit in named if unit.lower() not in (*_MILLIMETRES, *_NO_LENGTHS)}
    if others:
        raise InputError(f"The {what} '{path}' gives lengths in {', '.join(sorted(others))}; write it in mm.")


def check_axes(image: sitk.Image, what: str) -> None:
    """Refuse directions of a 3D image that are no three perpendicular unit vectors."""
    directions = np.reshape(image.GetDirection(), (3, 3))
    lengths = np.linalg.norm(directions, axis=0)
    if np.abs(lengths - 1).max() > _AXIS_TOLERANCE:
        raise InputError(
            f"The direction vectors of the {what} have the lengths {', '.join(f'{each:g}' for each in lengths)}, and 1 "
            "is needed; give the sides of the voxels as the spacing."
        )
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear > _AXIS_TOLERANCE:
        raise InputError(
            f"The axes of the {what} are not perpendicular (off by {np.degrees(np.arcsin(min(shear, 1))):.1f} "
            "degrees: a shear, or a damaged header); resample it to a rectangular grid first."
        )


def check_place(image: sitk.Image, header: TextHeader, path: Path, what: str) -> None:
    """Refuse a volume that ITK placed elsewhere than its header states, as where it cannot parse a number."""
    stated, grid = stated_place(header), Grid.of(image)
    steps = np.reshape(grid.direction, (3, 3)) * grid.spacing
    pairs = {
        "steps along its axes": (stated.steps, steps),
        "the place of the first voxel": (stated.origin, np.array(grid.origin)),
    }
    limit = _SAME_PLACE * min(grid.spacing)
    for name, (said, found) in pairs.items():
        if said is not None and not np.allclose(said, found, rtol=1e-6, atol=limit):
            raise InputError(
                f"The header of the {what} '{path}' gives {name} as {_listed(said)} mm, and its reader has "
                f"{_listed(found)} mm. Correct the header, or export it again."
            )


def _listed(numbers: np.ndarray) -> str:
    return " ".join(f"{number:g}" for number in numbers.ravel())


def findings_of(header: TextHeader, size: tuple[int, ...], path: Path, what: str) -> tuple[Finding, ...]:
    """Return warnings of a header that does not state the place, and of more voxels than it states.

    Args:
        header: of the file.
        size: voxels along every axis, as ITK reads it.
        path: of the file.
        what: how messages call it.
    """
    findings = []
    if not has_patient_space(header):
        findings.append(warning("orientation.none", what=what, kind=f"{header.kind} header"))
    if not stated_place(header).has_spacing:
        findings.append(warning("orientation.no_spacing", what=what))
    there, needed = _voxels_there(header, path), int(np.prod(size, dtype=object))
    if there is not None and there >= needed + needed // size[-1]:
        findings.append(warning("voxels.more", what=what, needed=needed, there=there))
    return tuple(findings)


def _voxels_there(header: TextHeader, path: Path) -> Optional[int]:
    """Return how many voxels a raw NRRD file holds; MetaImage has a check of its own."""
    name, kind = header.get("data file"), _BYTES.get((header.get("type") or "").lower())
    is_raw = (header.get("encoding") or "").lower() == "raw" and header.get("byte skip", "line skip") is None
    data = path if name is None else path.parent / name
    if header.kind != NRRD or kind is None or not is_raw or not data.is_file():
        return None
    return (data.stat().st_size - (header.end if name is None else 0)) // kind


def unit_in(header: TextHeader, image: sitk.Image) -> str:
    """Return the unit of the voxels: the image's own, or the field "sample units" of NRRD."""
    unit = units_of(image)
    return unit if unit != UNKNOWN else unit_words((header.get("sample units") or "").strip('"'))
