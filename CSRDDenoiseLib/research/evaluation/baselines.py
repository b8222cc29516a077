"""What people use today: filters with one parameter each, oracle-tuned.

Every filter takes a PET volume (D, H, W), its voxel spacing in mm in the same order, the value of its parameter, and
the MR on the same grid (only the MR-guided filter looks at it). Filters work on PET divided by its brain mean, so one
parameter grid serves every unit; :func:`tune` takes the best value per image by PSNR against the full dose, which
flatters the baselines and not us.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...configuration import unknown_key
from ...errors import InputError
from ...extras import require
from ...limits import OneOf
from ...measures import psnr
from ...scan import find_head, normalise_mr, smooth

GUIDED_RADIUS_MM = 2.5
TISSUE_WINDOW_MM = 6.0
DIFFUSION_STEPS = 10

Filter = Callable[[np.ndarray, Sequence[float], float, Optional[np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Baseline:
    """A filter, the parameter it is tuned by (with its unit), the values that are tried, and whether it needs an MR."""

    name: str
    parameter: str
    grid: tuple[float, ...]
    apply: Filter
    needs_mr: bool = False


@dataclass(frozen=True)
class Tuned:
    """The best image of a baseline, the parameter value that gave it, and the seconds that one value takes."""

    image: np.ndarray
    value: float
    seconds: float


def gaussian(pet: np.ndarray, spacing: Sequence[float], fwhm_mm: float, mr: Optional[np.ndarray] = None) -> np.ndarray:
    """Gaussian post filter; ``fwhm_mm`` is its full width at half maximum in mm."""
    return smooth(pet, spacing, fwhm_mm) if fwhm_mm > 0 else pet


def median(pet: np.ndarray, spacing: Sequence[float], width: float, mr: Optional[np.ndarray] = None) -> np.ndarray:
    """Median over a cube of ``width`` voxels."""
    return ndimage.median_filter(pet, size=int(width))


def non_local_means(pet: np.ndarray, spacing: Sequence[float], h: float, mr: Optional[np.ndarray] = None) -> np.ndarray:
    """Non-local means (Buades et al. 2005) in 3D, patches of 3, search of 7 voxels; ``h`` as a share of brain mean."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(pet, patch_size=3, patch_distance=3, h=h, fast_mode=True)


def total_variation(
    pet: np.ndarray, spacing: Sequence[float], weight: float, mr: Optional[np.ndarray] = None
) -> np.ndarray:
    """Total variation (Chambolle 2004) in 3D; a greater ``weight`` is smoother."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(pet, weight=weight)


def anisotropic_diffusion(
    pet: np.ndarray, spacing: Sequence[float], conductance: float, mr: Optional[np.ndarray] = None
) -> np.ndarray:
    """Gradient anisotropic diffusion (Perona and Malik 1990), ten steps; a greater ``conductance`` is smoother."""
    image = sitk.GetImageFromArray(pet)
    diffused = sitk.GradientAnisotropicDiffusion(
        image, timeStep=0.0625, conductanceParameter=conductance, numberOfIterations=DIFFUSION_STEPS
    )
    return sitk.GetArrayFromImage(diffused)


def mr_guided(pet: np.ndarray, spacing: Sequence[float], epsilon: float, mr: Optional[np.ndarray] = None) -> np.ndarray:
    """Guided filter (He et al. 2013): PET as a local linear function of the MR; a greater ``epsilon`` is smoother."""
    if mr is None:
        raise ValueError("The MR-guided filter needs an MR.")
    size = [2 * round(GUIDED_RADIUS_MM / step) + 1 for step in spacing]

    def mean(volume: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(volume, size)

    guide = mr / (mr.std() or 1.0)
    mean_guide, mean_pet = mean(guide), mean(pet)
    slope = (mean(guide * pet) - mean_guide * mean_pet) / (mean(guide**2) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_pet - slope * mean_guide)


def tissue_fit(
    pet: np.ndarray, spacing: Sequence[float], fwhm_mm: float, mr: Optional[np.ndarray] = None
) -> np.ndarray:
    """Regression of the PET on tissue classes of the MR in windows of about 5 mm (:mod:`prepare.tissue`).

    ``fwhm_mm`` is the scale below which the PET itself is kept: 0 gives the PET, infinity the bare regression.
    """
    from ...prepare.tissue import best_tissue_maps, regressed
    from ...restore.keeping import keep_coarse

    head = find_head(pet, spacing)
    if mr is None or head is None:
        raise ValueError("The tissue regression needs an MR, and a head in the PET.")
    maps = best_tissue_maps(pet, normalise_mr(mr, head.mask), head.mask, spacing)
    size = 2 * max(round(TISSUE_WINDOW_MM / float(np.mean(spacing)) / 2), 0) + 1
    return pet + keep_coarse(regressed(pet, maps, max(size, 3)) - pet, spacing, fwhm_mm)


def block_matching(
    pet: np.ndarray, spacing: Sequence[float], std: float, mr: Optional[np.ndarray] = None
) -> np.ndarray:
    """BM4D (Maggioni et al. 2013) with white noise of standard deviation ``std``, as a share of the brain mean.

    Raises:
        InputError: the package bm4d, whose licence is not for commercial use, is not installed.
    """
    require("bm4d")
    import bm4d

    return np.asarray(bm4d.bm4d(pet.astype(np.float64), std), np.float32)


BASELINES = (
    Baseline("Gaussian", "FWHM mm", tuple(np.arange(0, 12.1, 0.5).tolist()), gaussian),
    Baseline("Median", "width voxels", (1, 3, 5), median),
    Baseline("Non-local means", "h / brain mean", (0.03, 0.06, 0.1, 0.15, 0.25), non_local_means),
    Baseline("Total variation", "weight", (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45), total_variation),
    Baseline("Anisotropic diffusion", "conductance", (0.5, 1, 2, 4, 8), anisotropic_diffusion),
    Baseline("MR-guided filter", "epsilon", (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), mr_guided, True),
    Baseline("Tissue regression", "kept below mm", (2, 4, 6, 8, 12, float("inf")), tissue_fit, True),
    Baseline("BM4D", "std / brain mean", (0.03, 0.06, 0.1, 0.2, 0.3), block_matching),
)


FILTERS = OneOf(tuple(entry.name for entry in BASELINES))
"""Limit of names of filters."""


def baseline(name: str) -> Baseline:
    """Return a baseline by its name.

    Raises:
        InputError: there is none of that name.
    """
    known = {entry.name: entry for entry in BASELINES}
    if name not in known:
        raise InputError(unknown_key(name, list(known), "The filters"))
    return known[name]


@dataclass(frozen=True)
class Case:
    """One image to be filtered, and the answer: arrays (D, H, W), ``scale`` the PET's brain mean, ``mask`` the head."""

    pet: np.ndarray
    reference: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]
    scale: float
    mr: Optional[np.ndarray] = None


def tune(method: Baseline, case: Case) -> Tuned:
    """Apply a baseline with every value of its grid and return the one whose PSNR against the answer is best."""
    tried = [apply(method, value, case) for value in method.grid]
    return max(tried, key=lambda result: psnr(result.image, case.reference, case.mask))


def apply(method: Baseline, value: float, case: Case) -> Tuned:
    """Apply a baseline with one value of its parameter."""
    began = time.perf_counter()
    normalised = (case.pet / case.scale).astype(np.float32)
    filtered = method.apply(normalised, case.spacing, value, case.mr) * case.scale
    return Tuned(image=filtered, value=value, seconds=time.perf_counter() - began)
