"""Where a NIfTI, Analyze or MGH volume lies: its forms, their disagreement, voxel size, unit of length, shear.

The sform decides where its code is above 0, else the qform, as in nibabel, SPM, FSL and ANTs. A disagreement of the two
is measured and reported. Without either (codes 0 and 0, Analyze) nibabel's convention is taken and reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from ..errors import InputError
from ..findings import Finding, info, warning
from .grid import Grid, disagreement_mm, shear_mm

SAME_PLACE_MM = 0.1
"""Forms that agree to this distance at every corner count as equal."""
LARGEST_SHEAR = 0.5
"""Shear, as a part of the smallest voxel side, up to which the nearest rectangular grid is taken."""
SAME_VOXEL = 0.01

MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_GOOD_RAS = slice(28, 30)
"""Bytes of the flag goodRASFlag in an MGH header (https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat)."""
_PLAUSIBLE_VOXEL_MM = (0.05, 50.0)


@dataclass(frozen=True)
class Place:
    """Where the volume lies: an affine (4, 4) in mm, R-A-S, what decided it, and what was noticed."""

    affine: np.ndarray
    orientation: str
    findings: tuple[Finding, ...]


def place_of(image: Any, path: Path, what: str) -> tuple[Grid, Place]:
    """Return the rectangular grid of an image, and what decided it.

    Raises:
        InputError: there is no voxel size, no place in space, or a shear.
    """
    place = _place(image, path, what)
    size = image.shape[:3]
    grid, shear = Grid.from_affine(size, place.affine), shear_mm(size, place.affine)
    if shear > LARGEST_SHEAR * min(grid.spacing):
        raise InputError(
            f"The {place.orientation} of the {what} '{path}' is sheared: its axes are not perpendicular, and its "
            f"corners lie up to {shear:.1f} mm from those of a rectangular grid. Resample it to a rectangular grid "
            f"first{_of_other_form(place.findings)}."
        )
    if shear > SAME_PLACE_MM:
        found = warning("orientation.shear", what=what, distance_mm=round(shear, 2))
        place = Place(place.affine, place.orientation, (*place.findings, found))
    return grid, place


def _place(image: Any, path: Path, what: str) -> Place:
    size = image.shape[:3]
    if isinstance(image.header, nibabel.Nifti1Header):
        return _nifti_place(image, _raw_header(image), size, path, what)
    affine = np.array(image.affine, dtype=float)
    _check_affine(affine, "header", path, what)
    if isinstance(image, nibabel.MGHImage):
        oriented = _is_good_ras(image)
        _check_mgh_steps(image, affine, path, what)
    else:
        oriented = bool(getattr(image, "file_map", {}).get("mat") and _has_mat(image))
    if oriented:
        return Place(affine, "header", ())
    if not isinstance(image, nibabel.MGHImage):
        _check_voxel_size(np.array(_raw_header(image)["pixdim"][1:4], dtype=float), path, what)
    return Place(affine, "none", (warning("orientation.none", what=what, kind=_kind(image)),))


def _is_good_ras(image: Any) -> bool:
    """Whether an MGH file states its orientation; without one nibabel replaces the whole place without a warning."""
    with image.file_map["image"].get_prepare_fileobj("rb") as stream:
        return int.from_bytes(stream.read(_GOOD_RAS.stop)[_GOOD_RAS], "big") > 0


def _check_mgh_steps(image: Any, affine: np.ndarray, path: Path, what: str) -> None:
    """Refuse direction cosines that are no unit vectors: their lengths would change the voxel size."""
    stated, sides = np.array(image.header["delta"], dtype=float), np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(stated, sides, rtol=SAME_VOXEL):
        raise InputError(
            f"The header of the {what} '{path}' contradicts itself: its voxels are {_listed(stated)} mm, and "
            f"{_listed(sides)} mm by its direction cosines. Export it again."
        )


def _kind(image: Any) -> str:
    return "FreeSurfer file" if isinstance(image, nibabel.MGHImage) else "Analyze file"


def _has_mat(image: Any) -> bool:
    name = image.file_map["mat"].filename
    return bool(name) and Path(name).exists()


def _raw_header(image: Any) -> Any:
    """Return the header as it is stored: nibabel repairs voxel sizes of 0 on reading, without a warning."""
    entry = image.file_map.get("header") or image.file_map["image"]
    if not entry.filename:
        return image.header
    with ImageOpener(entry.filename, "rb") as stream:
        return type(image.header)(stream.read(image.header.template_dtype.itemsize), check=False)


def _nifti_place(image: Any, raw: Any, size: tuple[int, ...], path: Path, what: str) -> Place:
    sform_code, qform_code = int(raw["sform_code"]), int(raw["qform_code"])
    pixdim = np.array(raw["pixdim"][1:4], dtype=float)
    scale, findings = _scale_to_mm(raw, pixdim, what)
    if sform_code <= 0:
        _check_voxel_size(pixdim, path, what)
        affine = _qform(image.header) if qform_code > 0 else np.array(image.header.get_base_affine(), dtype=float)
        _check_affine(affine, "qform", path, what)
        if qform_code > 0:
            return Place(scale @ affine, "qform", findings)
        return Place(scale @ affine, "none", (*findings, warning("orientation.none", what=what, kind="NIfTI header")))
    sform = np.array(raw.get_sform(), dtype=float)
    _check_affine(sform, "sform", path, what)
    sides = np.linalg.norm(sform[:3, :3], axis=0)
    findings = (*findings, *_voxel_findings(sides, pixdim, size, path, what))
    if qform_code > 0 and not is_unset(pixdim):
        findings = (*findings, *_form_findings(sform, image.header, size, (sform_code, qform_code), what))
    return Place(scale @ sform, "sform", findings)


def _check_voxel_size(pixdim: np.ndarray, path: Path, what: str) -> None:
    if is_unset(pixdim):
        raise InputError(
            f"The {what} '{path}' has no voxel size: its header holds {_listed(pixdim)} mm. Export it again, or set "
            "the voxel size."
        )


def is_unset(pixdim: np.ndarray) -> bool:
    """Whether a header has no voxel size."""
    return bool((~np.isfinite(pixdim)).any() or (pixdim == 0).any())


def _voxel_findings(
    sides: np.ndarray, pixdim: np.ndarray, size: tuple[int, ...], path: Path, what: str
) -> tuple[Finding, ...]:
    """Compare the voxel size of the sform with the header's own; a unit sform beside real voxels is refused."""
    if np.allclose(sides, np.abs(pixdim), rtol=SAME_VOXEL):
        return ()
    is_default = is_unset(pixdim) or bool((np.abs(pixdim) == 1).all())
    distance = float(np.linalg.norm((np.array(size) - 1) * (sides - np.abs(pixdim))))
    if not is_default and np.allclose(sides, 1, rtol=1e-3):
        raise InputError(
            f"The two forms of the {what} '{path}' disagree: its sform has voxels of {_listed(sides)} mm (a unit "
            f"matrix) and its header (pixdim, which the qform uses) {_listed(pixdim)} mm, so they place its corners up "
            f"to {distance:.0f} mm apart. Correct the sform, for instance by setting it to the qform (nibabel: "
            "image.set_sform(image.get_qform(), 1))."
        )
    values = {"what": what, "sides": sides.round(4).tolist(), "pixdim": _listed(pixdim)}
    return (warning("orientation.voxel_size", **values),)


def _form_findings(
    sform: np.ndarray, header: Any, size: tuple[int, ...], codes: tuple[int, int], what: str
) -> tuple[Finding, ...]:
    distance = disagreement_mm(size, sform, _qform(header))
    if not np.isfinite(distance):
        return (warning("orientation.qform_broken", what=what),)
    if distance <= SAME_PLACE_MM:
        return ()
    values = {"what": what, "distance_mm": round(distance, 2), "sform_code": codes[0], "qform_code": codes[1]}
    return (warning("orientation.forms_disagree", **values),)


def _qform(header: Any) -> np.ndarray:
    """Return the qform (4, 4), NaN where its quaternion is none."""
    try:
        return np.array(header.get_qform(), dtype=float)
    except (ValueError, HeaderDataError):
        return np.full((4, 4), np.nan)


def _of_other_form(findings: tuple[Finding, ...]) -> str:
    found = next((each for each in findings if each.code == "orientation.forms_disagree"), None)
    if not found:
        return ""
    distance = found.values["distance_mm"]
    return f" (or correct the sform: the qform beside it places the corners up to {distance:.1f} mm away)"


def _scale_to_mm(raw: Any, pixdim: np.ndarray, what: str) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the factor (4, 4) from the header's unit of length to mm; one that cannot be is ignored."""
    unit = units_of_header(raw)[0]
    factor = MM_PER_UNIT.get(unit, 1.0)
    if factor == 1.0:
        return np.eye(4), ()
    sides = np.linalg.norm(raw.get_sform()[:3, :3], axis=0) if int(raw["sform_code"]) > 0 else np.abs(pixdim)
    low, high = _PLAUSIBLE_VOXEL_MM
    if bool(((sides * factor >= low) & (sides * factor <= high)).all()):
        return np.diag([factor, factor, factor, 1.0]), (info("units.length", what=what, unit=unit),)
    return np.eye(4), (warning("units.length_ignored", what=what, unit=unit, sides=sides.tolist()),)


def _check_affine(affine: np.ndarray, form: str, path: Path, what: str) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(
            f"The {form} of the {what} '{path}' is not a valid transform: its matrix is singular or not finite "
            f"({_listed(affine[:3].ravel())}). Export it again, or correct its header."
        )


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def units_of_header(header: Any) -> tuple[str, str]:
    """Return the units of length and time of a NIfTI header."""
    try:
        return header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
