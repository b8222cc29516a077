"""A dynamic PET of a head by the two-tissue model: 24 frames, known curves, noise that follows the counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from conftest import as_image
from scipy import ndimage

DURATIONS = (10.0,) * 4 + (20.0,) * 4 + (60.0,) * 4 + (300.0,) * 12
"""Seconds, 24 frames, an hour and six minutes."""
STARTS = tuple(np.concatenate([[0], np.cumsum(DURATIONS)[:-1]]).tolist())
K1, K2, K4 = 0.1, 0.15, 0.03
STEP_MIN = 0.5 / 60
REFERENCE, WHITE, GREY, TARGET = 1, 2, 3, 4
K3 = {REFERENCE: 0.0, WHITE: 0.01, GREY: 0.05, TARGET: 0.09}
"""Label -> k3 of the two-tissue model (1/min); the first is the reference region."""
DELIVERY = {REFERENCE: 1.0, WHITE: 0.4, GREY: 1.0, TARGET: 1.1}
"""Label -> K1 relative to the reference region."""
BQ_ML = 2000.0
PET_FWHM_MM, NOISE_FWHM_MM, MR_SPACING_MM = 5.0, 4.0, 2.0


def plasma() -> np.ndarray:
    """The plasma input of one bolus, in steps of half a second."""
    times = np.arange(0, sum(DURATIONS) / 60, STEP_MIN)
    return 60 * times * np.exp(-times / 0.8) * 1.5 + 8 * (1 - np.exp(-times)) * np.exp(-times / 60)


def two_tissue(k3: float, delivery: float = 1.0) -> np.ndarray:
    """Mean activity of each frame by the two-tissue model, in Euler steps of half a second."""
    free = bound = 0.0
    activity = plasma()
    total = np.zeros_like(activity)
    for index, value in enumerate(activity):
        free, bound = (
            free + STEP_MIN * (delivery * K1 * value - (K2 + k3) * free + K4 * bound),
            bound + STEP_MIN * (k3 * free - K4 * bound),
        )
        total[index] = free + bound
    seconds = np.arange(len(total)) * STEP_MIN * 60
    return np.array([total[(seconds >= a) & (seconds < a + n)].mean() for a, n in zip(STARTS, DURATIONS)])


@dataclass(frozen=True)
class Phantom:
    """The phantom.

    Attributes:
        labels: (D, H, W), 0 in air.
        clean: without noise, (frames, D, H, W), Bq/mL.
        noisy: as measured.
        spacing: mm, of the cubic voxels.
    """

    labels: np.ndarray
    clean: np.ndarray
    noisy: np.ndarray
    spacing: float

    @property
    def mr(self) -> sitk.Image:
        """A T1 of the labels, on the PET's grid, in no scanner's unit."""
        tissue = np.select([self.labels == WHITE, self.labels > 0], [900.0, 600.0], 0.0)
        noise = np.random.default_rng(7).normal(0, 15, tissue.shape)
        sharp = ndimage.gaussian_filter(tissue, 0.5) + noise * (tissue > 0)
        return self.image(sharp.astype(np.float32))

    def image(self, array: np.ndarray) -> sitk.Image:
        """An array (D, H, W) on the phantom's grid, that of its file."""
        return as_image(array, (self.spacing,) * 3, (0.0, 0.0, 0.0))

    def write(self, path: Path) -> Path:
        """Write the study as a 4D NIfTI with its sidecar."""
        affine = np.diag([-self.spacing, -self.spacing, self.spacing, 1.0])
        image = nibabel.Nifti1Image(self.noisy.T, affine)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
        entries = {"Units": "Bq/mL", "FrameTimesStart": STARTS, "FrameDuration": DURATIONS}
        path.with_name(f"{path.name.split('.')[0]}.json").write_text(json.dumps(entries))
        return path


def head_labels(shape: tuple[int, int, int]) -> np.ndarray:
    """A folded cortex around white matter, two deep targets, and a reference region below (D, H, W)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt((x / 0.86) ** 2 + (y / 0.9) ** 2 + (z / 0.88) ** 2)
    folds = 0.08 * np.sin(9 * x) * np.sin(8 * y) * np.sin(8 * z)
    labels = np.select([radius + folds < 0.72, radius < 1], [WHITE, GREY], 0)
    for side in (-1, 1):
        deep = ((x - side * 0.25) / 0.2) ** 2 + (y / 0.3) ** 2 + (z / 0.25) ** 2 < 1
        labels[deep] = TARGET
    below = (radius < 1) & (z < -0.5) & (y > 0)
    labels[below] = REFERENCE
    return labels


def make_phantom(shape: tuple[int, int, int] = (44, 52, 46), spacing: float = 2.0, noise: float = 1.0) -> Phantom:
    """Make the phantom; ``noise`` scales its standard deviation, which goes with the root of counts."""
    labels = head_labels(shape)
    curves = {label: BQ_ML * two_tissue(k3, DELIVERY[label]) for label, k3 in K3.items()}
    sharp = (
        sum(curve[index] * (labels == label) for label, curve in curves.items()) for index in range(len(DURATIONS))
    )
    clean = np.array([blurred(frame, spacing) for frame in sharp], np.float32)
    return Phantom(labels, clean, add_noise(clean, noise, spacing), spacing)


def blurred(frame: np.ndarray, spacing: float) -> np.ndarray:
    """A frame at the resolution of a PET."""
    return ndimage.gaussian_filter(frame, PET_FWHM_MM / 2.355 / spacing)


def add_noise(clean: np.ndarray, noise: float, spacing: float) -> np.ndarray:
    """Add correlated noise whose variance is in proportion to activity over duration, to each frame its own."""
    random, noisy = np.random.default_rng(0), np.empty_like(clean)
    for index, duration in enumerate(DURATIONS):
        white = ndimage.gaussian_filter(random.normal(size=clean.shape[1:]), NOISE_FWHM_MM / 2.355 / spacing)
        spread = noise * np.sqrt(np.maximum(clean[index], 1) * 2e5 / duration)
        noisy[index] = clean[index] + white / white.std() * spread
    return noisy
