"""What reading a volume gives: the image, its unit, the findings about the file, and the header as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..findings import Finding
from .nrrd import UNITS_KEY

LARGEST_VALUE, SMALLEST_RANGE = 1e30, 1e-30
"""What float32 arithmetic carries with room for squares of sums."""
LARGEST_EXACT = 1 << 24
"""Up to this, float32 holds every integer; labels of some atlases have nine digits."""
UNKNOWN = "unknown"
UNIT_WORDS: Mapping[str, str] = {
    "BQML": "Bq/mL",
    "GML": "g/mL (SUV)",
    "CNTS": "counts",
    "CPS": "counts/s",
    "PROPCPS": "relative counts/s",
    "PROPCNTS": "relative counts",
    "CM2ML": "cm2/mL (SUV by body surface)",
    "NONE": "none",
    "1CM": "1/cm",
}
"""Code of the DICOM tag Units (0054,1001; PS3.3 C.8.9.1) -> the unit in words."""


@dataclass(frozen=True)
class Frame:
    """When a time frame began and how long it took, in seconds, as far as the file states it.

    Attributes:
        start_s: from the zero of the study (BIDS TimeZero; in DICOM the begin of the first frame).
        duration_s: length.
    """

    start_s: Optional[float] = None
    duration_s: Optional[float] = None


@dataclass(frozen=True)
class Suv:
    """How the values of a volume become body-weight SUV.

    Attributes:
        factors: SUV per unit of value, one for all slices or one a slice in slice order; None where unknown.
        source: how they were derived, or why they are unknown.
    """

    factors: Optional[tuple[float, ...]]
    source: str

    @property
    def factor(self) -> Optional[Any]:
        """The factor: a number, a list of one a slice, or None."""
        if self.factors is None:
            return None
        return self.factors[0] if len(self.factors) == 1 else list(self.factors)


@dataclass(frozen=True)
class Header:
    """The header as typed values, to write an output like the input and for ``inspect``.

    Attributes:
        format: for instance "NIfTI-1", "DICOM", "NrrdImageIO".
        files: the files that were read, in slice order for DICOM.
        modality: the DICOM modality ("PT", "MR", ...), or "unknown".
        orientation: what decided where the volume lies: "sform", "qform", "header", "none", ...
        frames: every time frame of the study; one for a static volume.
        frame: index of the frame that was read.
        decay_correction: "START", "ADMIN" or "NONE", if the header states it.
        suv: how the values become body-weight SUV, or why they cannot.
        nifti: nibabel's header with all that is carried over to a NIfTI output, or None.
    """

    format: str
    files: tuple[Path, ...]
    modality: str = UNKNOWN
    orientation: str = "header"
    frames: tuple[Frame, ...] = (Frame(),)
    frame: int = 0
    decay_correction: Optional[str] = None
    suv: Optional[Suv] = None
    nifti: Optional[Any] = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ReadVolume:
    """A volume as it was read.

    Attributes:
        image: scalar 3D, float64 if it was stored so, or as integers beyond float32, and float32 otherwise; mm, L-P-S;
            NaN as they were stored.
        unit: of the voxel values, in words ("Bq/mL"), or "unknown".
        findings: what was noticed about the file.
        header: as typed values.
    """

    image: sitk.Image
    unit: str
    findings: tuple[Finding, ...]
    header: Header


def units_of(image: sitk.Image) -> str:
    """Return the unit of the voxel values in words where the file named it, else "unknown"."""
    code = image.GetMetaData(UNITS_KEY).strip() if image.HasMetaDataKey(UNITS_KEY) else ""
    return unit_words(code)


def unit_words(code: str) -> str:
    """Return a unit's code (DICOM) or text (BIDS) in words; empty becomes "unknown"."""
    return UNIT_WORDS.get(code.strip().upper(), code.strip() or UNKNOWN)


def with_unit(image: sitk.Image, unit: str) -> sitk.Image:
    """Set the unit that :func:`units_of` returns, in place, and return the image."""
    if unit != UNKNOWN:
        image.SetMetaData(UNITS_KEY, unit)
    return image


def are_wide(values: np.ndarray) -> bool:
    """Whether values are integers beyond those that float32 tells apart (:data:`LARGEST_EXACT`)."""
    if values.dtype.kind not in "iu" or values.size == 0:
        return False
    return max(int(values.max()), -int(values.min())) > LARGEST_EXACT


def times(size: tuple[int, ...]) -> str:
    """Return a size as messages show it: ``8 x 8 x 3``."""
    return " x ".join(str(n) for n in size)


def check_range(image: sitk.Image, name: str) -> None:
    """Refuse values that the float32 arithmetic of a run cannot carry.

    Args:
        image: scalar, any unit; NaN and infinite voxels are passed over.
        name: how the message calls it, for instance "PET".

    Raises:
        InputError: the largest value is above :data:`LARGEST_VALUE`, or below :data:`SMALLEST_RANGE` and not 0.
    """
    values = sitk.GetArrayViewFromImage(image)
    finite = np.isfinite(values)
    largest = max(abs(float(end(values, initial=0.0, where=finite))) for end in (np.max, np.min))
    if largest > LARGEST_VALUE or 0 < largest < SMALLEST_RANGE:
        raise InputError(
            f"The {name} has values of up to {largest:.3g}, beyond what is computed with "
            f"({SMALLEST_RANGE:g} to {LARGEST_VALUE:g}); scale it to its unit first."
        )
