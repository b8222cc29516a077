"""Learn the noise and the resolution of a scanner from full-dose scans.

With two halves of a scan's counts its noise is known: half their difference has the noise of the full dose and no
structure. Without them a model separates noise from structure, in calm places of the brain and in the cells of
:mod:`.texture`: the cross power of what the model takes from the PET and of the PET itself is the power of the noise,
where the model is the conditional mean (its error is uncorrelated with the PET); and the power of the PET is not less
than that of its noise. Where the two are near each other, noise is measured; elsewhere the prior decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage

from ...checks.counts import count_noise
from ...denoise import denoise
from ...errors import InputError
from ...model.bundle import Model
from ...prepare.align import to_model_grid
from ...prepare.tissue import tissue_maps
from ...scan import Scan, normalise_mr, smooth
from ...settings import settings_from_preset
from .prior import Prior, noise_prior
from .spectrum import EDGES, band_powers
from .texture import AROUND_VOXELS, calm_powers, noise_by_cell, radii, spectrum_of

BLURS_MM = tuple(np.arange(2.0, 11.0, 1.0).tolist())
# share of a cell's power that the model takes, and the error of the logarithm of the noise's power there; chosen on
# simulated scans that nothing is reported of (docs/own-scans.md)
_CLEAR, _FAIR = 0.8, 0.65
_ERROR_CLEAR, _ERROR_FAIR, _ERROR_GUESS = 0.15, 0.5, 0.8
_FEWEST_CELLS = 4
# cycles per voxel from which on and up to which the PET itself says more and more of its noise than what the model
# takes: the model takes structure with coarse noise, and leaves a part of fine noise
_COARSE, _FINE = 0.25, 0.6
_EXPONENT_LIMITS = (0.0, 2.0)
_BINS = 8
_LEAST_ACTIVITY = 0.15
_HERE_VOXELS, _LOWEST = 2.0, 0.02
_ROUNDS, _SURE = 3, 0.45
_TINY = 1e-30
_CUBE = (1.0,) * 3


@dataclass(frozen=True)
class ScanNoise:
    """What one full-dose scan says of its scanner.

    Attributes:
        powers: of the noise in each band, relative to the squared brain mean, (8,).
        measured: bands whose power was measured; the others follow from the prior.
        exponent: the variance of the noise goes as the activity around to this power.
        resolution_mm: FWHM of the image by its MR, or None without an MR.
        voxel_mm: voxel sides.
        head_ml: activity of the head over the brain's mean, mL.
        from_halves: whether the noise was known from two halves of the counts.
        cells: logarithm of its power in the cells of :mod:`.texture`, whose level is that of one scan, (49,); None for
            noise that is alike along all axes.
    """

    powers: np.ndarray
    measured: tuple[bool, ...]
    exponent: float
    resolution_mm: Optional[float]
    voxel_mm: tuple[float, ...]
    head_ml: float
    from_halves: bool
    cells: Optional[np.ndarray] = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "bands_cycles_per_voxel": list(EDGES),
            "powers": [float(f"{power:.4g}") for power in self.powers],
            "measured": list(self.measured),
            "exponent": round(self.exponent, 3),
            "resolution_mm": None if self.resolution_mm is None else round(self.resolution_mm, 2),
            "voxel_mm": [round(side, 4) for side in self.voxel_mm],
            "from_halves": self.from_halves,
        }


def learn_scan(
    pet: sitk.Image,
    mr: Optional[sitk.Image],
    model: Optional[Model],
    halves: Sequence[sitk.Image] = (),
    prior: Optional[Prior] = None,
) -> ScanNoise:
    """Learn from one full-dose scan.

    Args:
        pet: the full dose.
        mr: of the same head, or None.
        model: that separates noise from structure; needed where there are no halves.
        halves: two images of half of the counts each, on the grid of ``pet``, or none.
        prior: of noise spectra; None for that of the package.

    Raises:
        InputError: no head is found, or too little of it; or the noise has no power.
    """
    values, spacing = sitk.GetArrayFromImage(pet).astype(np.float32), pet.GetSpacing()[::-1]
    scan = Scan.of_array(values, spacing)
    counted = count_noise(scan, min(spacing))
    if counted is None:
        raise InputError("Too little brain is seen in a full dose to learn its noise.")
    if halves:
        parts = _by_halves(scan, halves)
    elif model is not None:
        parts = _by_model(scan, values - _estimate(pet, mr, model), prior or noise_prior())
    else:
        raise InputError("Without two halves of the counts, a model is needed to separate noise from structure.")
    if not (parts.powers > 0).all():
        raise InputError("A full dose shows no noise in some band; it may have been filtered or denoised before.")
    return ScanNoise(
        powers=parts.powers,
        measured=parts.measured,
        exponent=activity_exponent(scan, *parts.factors),
        resolution_mm=None if mr is None else resolution_by_mr(pet, mr),
        voxel_mm=tuple(spacing),
        head_ml=counted.head_ml,
        from_halves=bool(halves),
        cells=parts.cells,
    )


def combine(scans: Sequence[ScanNoise]) -> ScanNoise:
    """The scanner from several scans: geometric mean of the powers, median of the rest.

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
        measured=tuple(all(band) for band in zip(*(scan.measured for scan in scans))),
        exponent=float(np.median([scan.exponent for scan in scans])),
        resolution_mm=float(np.median(known)) if known else None,
        voxel_mm=first.voxel_mm,
        head_ml=float(np.median([scan.head_ml for scan in scans])),
        from_halves=all(scan.from_halves for scan in scans),
        cells=np.mean(cells, axis=0) if cells else None,
    )


def at_level_of(scanner: ScanNoise, scan: ScanNoise) -> ScanNoise:
    """The scanner's noise as large as it is in one of its scans: a small head has more counts in each mL."""
    seen = np.array(scan.measured) if any(scan.measured) else np.ones(len(scan.powers), bool)
    ratio = float(np.exp(np.mean(np.log(scan.powers / scanner.powers)[seen])))
    return replace(scanner, powers=scanner.powers * ratio)


def activity_exponent(scan: Scan, first: np.ndarray, second: np.ndarray) -> float:
    """How the variance of the noise goes with the activity: slope of its logarithm over that of the activity.

    Args:
        scan: the PET.
        first, second: (D, H, W); the mean of their fine product is the variance of the noise.
    """
    cube = (1.0,) * 3
    fine = [volume - smooth(volume, cube, 2.0) for volume in (first, second)]
    activity = smooth(scan.relative, cube, AROUND_VOXELS)
    inside = ndimage.binary_erosion(scan.head.mask & (activity > _LEAST_ACTIVITY), iterations=2)
    values, product = activity[inside], (fine[0] * fine[1])[inside]
    if values.size < _BINS * 50:
        return 1.0
    order = np.array_split(np.argsort(values), _BINS)
    rows = [(float(np.mean(values[part])), float(np.mean(product[part]))) for part in order]
    known = np.log([row for row in rows if row[1] > 0])
    if len(known) < 3:
        return 1.0
    slope = float(np.polyfit(known[:, 0], known[:, 1], 1)[0])
    return float(np.clip(slope, *_EXPONENT_LIMITS))


def resolution_by_mr(pet: sitk.Image, mr: sitk.Image) -> float:
    """Resolution of a PET in mm FWHM: how wide the MR's tissue maps must be blurred for the PET to be their mixture.

    The maps that leave least of the PET in windows of a few voxels; between whole millimetres by a parabola.
    """
    aligned = to_model_grid(pet, mr, float(min(pet.GetSpacing())))
    assert aligned.mr is not None
    whole = Scan(aligned.pet, aligned.grid)
    normal, scan = normalise_mr(aligned.mr, whole.head.mask)[whole.head.box], whole.cropped()
    errors = [_left_over(scan.relative, normal, scan.head.mask, scan.spacing, blur) for blur in BLURS_MM]
    best = int(np.clip(np.argmin(errors), 1, len(errors) - 2))
    low, middle, high = errors[best - 1 : best + 2]
    bend = low - 2 * middle + high
    shift = 0.5 * (low - high) / bend if bend > 0 else 0.0
    return float(BLURS_MM[best] + np.clip(shift, -1, 1) * (BLURS_MM[1] - BLURS_MM[0]))


def _left_over(pet: np.ndarray, mr: np.ndarray, mask: np.ndarray, spacing: Sequence[float], blur: float) -> float:
    import torch

    from ...model.details import tissue_regression

    maps = tissue_maps(mr, mask, spacing, resolution_mm=blur)
    volume, classes = (torch.from_numpy(np.ascontiguousarray(x, np.float32))[None] for x in (pet[None], maps))
    fitted = tissue_regression(volume, classes, 5)[0, 0].numpy()
    return float(np.mean((pet - fitted)[mask] ** 2, dtype=np.float64))


def _estimate(pet: sitk.Image, mr: Optional[sitk.Image], model: Model) -> np.ndarray:
    """The model's bare estimate of the noise-free image."""
    result = denoise(pet, mr, settings_from_preset("fast", keep_above_mm=float("inf")), model)
    return sitk.GetArrayFromImage(result.bare).astype(np.float32)


@dataclass(frozen=True)
class _Parts:
    """Powers of the noise, which bands were measured, the cells, and two volumes whose mean product is its variance."""

    powers: np.ndarray
    measured: tuple[bool, ...]
    cells: np.ndarray
    factors: tuple[np.ndarray, np.ndarray]


def _by_halves(scan: Scan, halves: Sequence[sitk.Image]) -> _Parts:
    first, second = (sitk.GetArrayFromImage(half).astype(np.float32) for half in halves)
    noise = (first - second) / 2
    cells = np.log(np.maximum(noise_by_cell(scan, noise), _TINY))
    return _Parts(band_powers(scan, noise), (True,) * (len(EDGES) - 1), cells, (noise, noise))


def _by_model(scan: Scan, taken: np.ndarray, prior: Prior) -> _Parts:
    """The more of a cell's power the model takes, the more its measure counts."""
    found = calm_powers(scan, scan.pet - taken)
    logs, errors = measured_cells(found.whole, found.cross)
    cells = prior.complete(logs, errors)
    exponent = activity_exponent(scan, taken, scan.pet)
    powers = band_powers(scan, like_cells(scan, cells, exponent, seed=0))
    bands = np.digitize(radii(), EDGES)
    measured = tuple(bool(np.mean(errors[bands == band] < _ERROR_GUESS) >= 0.5) for band in range(1, len(EDGES)))
    return _Parts(powers, measured, cells, (taken, scan.pet))


def measured_cells(whole: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the noise's power in cells, from that of the PET and that which the model takes, and their errors.

    An error is infinite where nothing is known.
    """
    share = np.clip(cross / np.maximum(whole, _TINY), _TINY, 1.0)
    errors = np.select([share > _CLEAR, share > _FAIR], [_ERROR_CLEAR, _ERROR_FAIR], np.inf)
    if np.isfinite(errors).sum() < _FEWEST_CELLS:
        best = np.argsort(-share)[:_FEWEST_CELLS]
        errors[best] = np.minimum(errors[best], _ERROR_GUESS)
    weight = np.interp(radii(), (_COARSE, _FINE), (1.0, 0.0))
    return np.log(np.maximum(whole, _TINY)) + weight * np.log(share), errors


def like_cells(scan: Scan, cells: np.ndarray, exponent: float, seed: int) -> np.ndarray:
    """Noise with the powers of cells in the brain of a scan, (D, H, W), in the PET's unit."""
    shape = scan.pet.shape
    white = fft.rfftn(np.random.default_rng(seed).standard_normal(shape))
    local = local_amplitude(scan, exponent) * scan.brain_mean
    logs, away, noise = cells, np.zeros(len(cells)), np.zeros(shape)
    for _ in range(_ROUNDS):
        # what is coarse leaks to where there is little, as the noise differs from place to place
        logs = logs + away
        noise = local * fft.irfftn(white * np.exp(spectrum_of(logs, shape) / 2), shape)
        away = cells - np.log(noise_by_cell(scan, noise))
    return noise * np.exp(np.median(away[radii() < _SURE]) / 2)


def local_amplitude(scan: Scan, exponent: float) -> np.ndarray:
    """How large noise is from place to place, (D, H, W).

    What iterations leave is noise relative to the image (Barrett, Wilson and Tsui 1994), whose size follows the
    activity around.
    """
    around = np.maximum(smooth(scan.relative, _CUBE, AROUND_VOXELS), _LOWEST)
    here = np.maximum(smooth(scan.relative, _CUBE, _HERE_VOXELS), _LOWEST)
    return around ** (exponent / 2 - 1) * here
