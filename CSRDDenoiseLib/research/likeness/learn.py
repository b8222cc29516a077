"""Learn the noise and the resolution of a scanner from full-dose scans.

With two halves of a scan's counts its noise is known: half their difference has the noise of the full dose and no
structure. Without them it is what simulated scans that show the same had (:mod:`.regression`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ...checks.counts import count_noise
from ...errors import InputError
from ...prepare.align import to_model_grid
from ...prepare.tissue import left_over, tissue_maps
from ...scan import Scan, normalise_mr, smooth
from ...subjects.judge import SCALE_FACTOR
from .regression import BANDS, Regression, noise_regression
from .spectrum import EDGES, band_powers
from .texture import AROUND_VOXELS, EXPONENT_LIMITS, activity_exponent, noise_by_cell

BLURS_MM = tuple(np.arange(2.0, 11.0, 1.0).tolist())
_HERE_VOXELS, _LOWEST = 2.0, 0.02
_TINY = 1e-30
_CUBE = (1.0,) * 3
_ERROR_BY_HALVES = 0.03
"""Root mean square error of the amplitude by halves, five simulated sites (docs/own-scans.md)."""


@dataclass(frozen=True)
class ScanNoise:
    """Noise and resolution of a scanner, by one full-dose scan.

    Attributes:
        powers: of the noise in each band, relative to the squared brain mean, (8,).
        errors: expected root mean square error of its amplitude in each band, relative, (8,).
        exponent: the variance of the noise goes as the activity around to this power.
        resolution_mm: FWHM of the image by its MR, or None without an MR.
        voxel_mm: voxel sides.
        head_ml: activity of the head over the brain's mean, mL.
        from_halves: whether the noise was known from two halves of the counts.
        cells: logarithm of its power in the cells of :mod:`.texture`, whose level is that of one scan, (49,); None for
            noise that is alike along all axes.
        supported: whether the noise is known, or simulated scans show the same.
        detail: power of the finest detail (:func:`count_noise`); its ratio between scans of a scanner is
            steadier than that of estimated powers.
    """

    powers: np.ndarray
    errors: np.ndarray
    exponent: float
    resolution_mm: Optional[float]
    voxel_mm: tuple[float, ...]
    head_ml: float
    from_halves: bool
    cells: Optional[np.ndarray] = None
    supported: bool = True
    detail: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "bands_cycles_per_voxel": list(EDGES),
            "powers": [float(f"{power:.4g}") for power in self.powers],
            "expected_error_percent": [round(100 * float(error), 1) for error in self.errors],
            "supported": self.supported,
            "exponent": round(self.exponent, 3),
            "resolution_mm": None if self.resolution_mm is None else round(self.resolution_mm, 2),
            "voxel_mm": [round(side, 4) for side in self.voxel_mm],
            "from_halves": self.from_halves,
        }


def learn_scan(
    pet: sitk.Image,
    mr: Optional[sitk.Image] = None,
    halves: Sequence[sitk.Image] = (),
    regression: Optional[Regression] = None,
) -> ScanNoise:
    """Learn from one full-dose scan.

    Args:
        pet: the full dose.
        mr: of the same head; shows the resolution.
        halves: two reconstructions, each of half of its counts, on its grid; then nothing is estimated.
        regression: None for that of the package.

    Raises:
        InputError: no head is found, or too little of it; the noise has no power; or the halves have another activity.
    """
    values, spacing = sitk.GetArrayFromImage(pet).astype(np.float32), pet.GetSpacing()[::-1]
    scan = Scan.of_array(values, spacing)
    counted = count_noise(scan, min(spacing))
    if counted is None:
        raise InputError("Too little brain is seen in a full dose to learn its noise.")
    parts = _by_halves(scan, halves) if halves else _by_regression(scan, regression or noise_regression())
    if not (parts.powers > _TINY).all():
        raise InputError("A full dose shows no noise in some band; it may have been filtered or denoised before.")
    return ScanNoise(
        powers=parts.powers,
        errors=parts.errors,
        exponent=parts.exponent,
        resolution_mm=None if mr is None else resolution_by_mr(pet, mr),
        voxel_mm=tuple(spacing),
        head_ml=counted.head_ml,
        from_halves=bool(halves),
        cells=parts.cells,
        supported=parts.supported,
        detail=counted.power,
    )


def combine(scans: Sequence[ScanNoise]) -> ScanNoise:
    """The scanner from several scans: geometric mean of the powers, median of the rest.

    Errors are not smaller than those of one scan, because what is wrong with one is wrong with others of the scanner.

    Raises:
        InputError: the scans have different voxels.
    """
    first = scans[0]
    if any(not np.allclose(scan.voxel_mm, first.voxel_mm, rtol=0.01) for scan in scans):
        raise InputError("The full-dose scans have different voxels; a scanner setting belongs to one protocol.")
    known = [scan.resolution_mm for scan in scans if scan.resolution_mm is not None]
    cells = [scan.cells for scan in scans if scan.cells is not None]
    return ScanNoise(
        powers=np.exp(np.mean([np.log(scan.powers) for scan in scans], axis=0)),
        errors=np.sqrt(np.mean([scan.errors**2 for scan in scans], axis=0)),
        exponent=float(np.median([scan.exponent for scan in scans])),
        resolution_mm=float(np.median(known)) if known else None,
        voxel_mm=first.voxel_mm,
        head_ml=float(np.median([scan.head_ml for scan in scans])),
        from_halves=all(scan.from_halves for scan in scans),
        cells=np.mean(cells, axis=0) if cells else None,
        supported=all(scan.supported for scan in scans),
        detail=float(np.exp(np.mean([np.log(scan.detail) for scan in scans]))),
    )


def at_level_of(scanner: ScanNoise, scan: ScanNoise) -> ScanNoise:
    """The scanner's noise as large as it is in one of its scans: a small head has more counts in each mL."""
    ratio = scan.detail / scanner.detail
    if scan.from_halves:
        ratio = float(np.exp(np.mean(np.log(scan.powers / scanner.powers))))
    return replace(scanner, powers=scanner.powers * ratio)


def resolution_by_mr(pet: sitk.Image, mr: sitk.Image) -> float:
    """Resolution of a PET in mm FWHM: how wide the MR's tissue maps must be blurred for the PET to be their mixture.

    The maps that leave least of the PET in windows of a few voxels; between whole millimetres by a parabola.
    """
    aligned = to_model_grid(pet, mr, float(min(pet.GetSpacing())))
    assert aligned.mr is not None
    whole = Scan(aligned.pet, aligned.grid)
    normal, scan = normalise_mr(aligned.mr, whole.head.mask)[whole.head.box], whole.cropped()
    mask = scan.head.mask
    maps = (tissue_maps(normal, mask, scan.spacing, resolution_mm=blur) for blur in BLURS_MM)
    errors = [left_over(scan.relative, each, mask) for each in maps]
    best = int(np.clip(np.argmin(errors), 1, len(errors) - 2))
    low, middle, high = errors[best - 1 : best + 2]
    bend = low - 2 * middle + high
    shift = 0.5 * (low - high) / bend if bend > 0 else 0.0
    return float(BLURS_MM[best] + np.clip(shift, -1, 1) * (BLURS_MM[1] - BLURS_MM[0]))


@dataclass(frozen=True)
class _Parts:
    """The noise of a scan, as in :class:`ScanNoise`."""

    powers: np.ndarray
    errors: np.ndarray
    cells: np.ndarray
    exponent: float
    supported: bool = True


def _by_halves(scan: Scan, halves: Sequence[sitk.Image]) -> _Parts:
    values = [sitk.GetArrayFromImage(half).astype(np.float32) for half in halves]
    one, other = (float(half[scan.core].mean() / scan.pet[scan.core].mean()) for half in values)
    ratio = (one + other) / 2
    if not 1 / SCALE_FACTOR < ratio < SCALE_FACTOR:
        raise InputError(
            f"The mean of the two halves is {ratio:.3g} times the full dose in the brain, and their noise would be "
            "wrong by as much; export all three as activity, in one unit."
        )
    if max(one, other) > SCALE_FACTOR * min(one, other):
        raise InputError(
            f"The two halves are {one:.3g} and {other:.3g} times the full dose in the brain, and what they differ by "
            "is not noise alone; each must be of half of the counts, corrected for the time of the scan and for decay."
        )
    # what they differ by as a whole is no noise
    noise = (values[0] / one - values[1] / other) / 2
    cells = np.log(np.maximum(noise_by_cell(scan, noise), _TINY))
    errors = np.full(BANDS, _ERROR_BY_HALVES)
    return _Parts(band_powers(scan, noise), errors, cells, activity_exponent(scan, noise))


def _by_regression(scan: Scan, regression: Regression) -> _Parts:
    found = regression.find(scan)
    exponent = float(np.clip(found.exponent, *EXPONENT_LIMITS))
    return _Parts(np.exp(found.bands), found.errors, found.cells, exponent, found.supported)


def local_amplitude(scan: Scan, exponent: float) -> np.ndarray:
    """How large noise is from place to place, (D, H, W).

    What iterations leave is noise relative to the image (Barrett, Wilson and Tsui 1994), whose size follows the
    activity around.
    """
    around = np.maximum(smooth(scan.relative, _CUBE, AROUND_VOXELS), _LOWEST)
    here = np.maximum(smooth(scan.relative, _CUBE, _HERE_VOXELS), _LOWEST)
    return around ** (exponent / 2 - 1) * here
