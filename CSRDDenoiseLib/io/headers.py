"""Unit, modality and SUV factor of a volume without a header, from the files that it was loaded from.

A viewer holds voxels and a place; the injected dose, the weight and the times stay in the DICOM files, or in the BIDS
sidecar of a NIfTI file. They hold for the copy as long as its values are still those of the files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..findings import warning
from .dicom import emission_findings, planes_of, unit_and_suv
from .dicom_files import is_dicom_file
from .read import with_sidecar
from .sidecar import read_sidecar
from .volume import UNKNOWN, ReadVolume, Suv, with_unit

_VALUE_TOLERANCE = 1e-3
_CHANGED = "the values are no longer those of the files that the volume was loaded from"
_BY_SLICE = "the factor differs from slice to slice (DecayCorrection NONE), so take the DICOM folder itself"


def with_headers(volume: ReadVolume, files: Sequence[Path], what: str = "PET") -> ReadVolume:
    """Return a volume with the unit, the modality and the SUV factor that the headers of its files give.

    Args:
        volume: a copy of what the files hold.
        files: the DICOM files in any order, or one other file, whose BIDS sidecars are read; nothing is done without.
        what: how findings call the volume.

    Raises:
        InputError: the files are no PET images, as those of a transmission scan, and ``what`` is a PET.
    """
    if not files:
        return volume
    if not is_dicom_file(files[0]):
        return with_sidecar(volume, *read_sidecar(files[0], what), what)
    volume = replace(volume, findings=(*volume.findings, *emission_findings(files[0], what)))
    try:
        unit, suv = unit_and_suv(files)
        if volume.unit not in (unit, UNKNOWN):
            # converted since, for instance to SUV, which the unit then states
            return volume
        changed = not _holds_one_of(volume.image, files)
    except InputError as error:
        return replace(volume, header=replace(volume.header, suv=Suv(None, f"{error}")))
    if changed:
        doubt = warning("unit.changed", what=what, unit=volume.unit, count=len(files))
        findings = (*volume.findings, doubt) if volume.unit != UNKNOWN else volume.findings
        return replace(volume, findings=findings, header=replace(volume.header, suv=Suv(None, _CHANGED)))
    if suv.factors is not None and len(suv.factors) > 1:
        suv = Suv(None, _BY_SLICE)
    image = with_unit(sitk.Image(volume.image), unit)
    return replace(volume, image=image, unit=unit, header=replace(volume.header, modality="PT", suv=suv))


def _holds_one_of(image: sitk.Image, files: Sequence[Path]) -> bool:
    """Whether a slice of the files with activity is one of the image, by its maximum and the sum above zero."""
    found = np.array([_size_of(plane) for plane in sitk.GetArrayViewFromImage(image)])
    # large files first: of compressed ones, those with activity
    for path in sorted(files, key=lambda each: each.stat().st_size, reverse=True):
        for plane in planes_of(path):
            same = np.isclose(found, _size_of(plane), rtol=_VALUE_TOLERANCE, atol=0).all(axis=1)
            if plane.max() > 0 and same.any():
                return True
    return False


def _size_of(plane: np.ndarray) -> tuple[float, float]:
    return float(plane.max()), float(plane.sum(where=plane > 0, dtype=np.float64))
