"""The scanner: what it blurs, attenuates, counts, and how its images are reconstructed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...limits import Between, check_limits
from ...scan import FWHM_PER_SIGMA
from .anatomy import AIR, BONE
from .projector import Projection, make_projectors

ANGLES = 96
SUBSETS = (6, 8, 12)
# linear attenuation at 511 keV, per mm
MU_SOFT, MU_BONE = 0.0096, 0.0151


@dataclass(frozen=True)
class Scanner:
    """One scanner and protocol.

    Attributes:
        spacing: voxel side of its images in mm.
        resolution_mm: FWHM of the system's point spread.
        counts: expected prompt coincidences of the full dose over the whole volume.
        background: share of the prompts that are randoms and scatter.
        iterations: OSEM iterations.
        subsets: OSEM subsets.
        model_resolution: whether the reconstruction models the point spread (PSF).
        post_filter_mm: FWHM of the Gaussian after the reconstruction; 0 is none.
        angles: of the projections, a multiple of the subsets.
        psf_error: FWHM that the reconstruction models, relative to the true one.
        attenuation_error: relative error of the attenuation that the reconstruction corrects for.
        background_error: relative error of the randoms and scatter that the reconstruction subtracts.
        fine_truth: the measurement is made of pixels half as wide as those of the images, so that no image can be
            what was measured (no inverse crime).

    Raises:
        InputError: a value cannot be simulated, or the angles do not divide into the subsets.
    """

    spacing: Annotated[float, Between(0.5, 10)] = 2.0
    resolution_mm: Annotated[float, Between(0, 30)] = 4.5
    counts: Annotated[float, Between(1e4, 1e12)] = 2e8
    background: Annotated[float, Between(0, 0.95)] = 0.3
    iterations: Annotated[int, Between(1, 200)] = 3
    subsets: Annotated[int, Between(1, 96)] = 8
    model_resolution: bool = True
    post_filter_mm: Annotated[float, Between(0, 30)] = 3.0
    angles: Annotated[int, Between(1, 1000)] = ANGLES
    psf_error: Annotated[float, Between(0.1, 10)] = 1.0
    attenuation_error: Annotated[float, Between(-0.9, 9)] = 0.0
    background_error: Annotated[float, Between(-1, 9)] = 0.0
    fine_truth: bool = False

    def __post_init__(self) -> None:
        check_limits(self, "The scanner")
        if self.angles % self.subsets:
            raise InputError(
                f"The scanner: {self.angles} angles cannot be split into {self.subsets} equal subsets; choose subsets "
                "that divide the angles."
            )


def draw_scanner(rng: np.random.Generator, fixed_spacing: float = 0.0) -> Scanner:
    """Draw a scanner from what brain PET and PET/MR systems do (voxels 1.4 to 3 mm, mostly near 2 mm)."""
    spacing = fixed_spacing or (2.0 if rng.random() < 0.6 else float(rng.uniform(1.4, 3.0)))
    model_resolution = bool(rng.random() < 0.5)
    return Scanner(
        spacing=spacing,
        resolution_mm=float(rng.uniform(3.2, 5.5)),
        counts=float(np.exp(rng.uniform(np.log(6e7), np.log(4e8)))),
        background=float(rng.uniform(0.15, 0.5)),
        iterations=int(rng.integers(2, 6)) + int(model_resolution),
        subsets=int(rng.choice(SUBSETS)),
        model_resolution=model_resolution,
        post_filter_mm=float(rng.uniform(1.0, 4.5)),
    )


@dataclass(frozen=True)
class Acquisition:
    """What one measurement leaves behind; sinograms are lists over subsets of (angles * size, slices) tensors.

    Attributes:
        counts: prompt coincidences.
        mean: expectation of the counts.
        factors: attenuation times calibration, as the reconstruction has them: trues = factors * A H activity.
        background: randoms and scatter, as the reconstruction has them.
        fraction: share of the full dose these counts are.
    """

    counts: list[Tensor]
    mean: list[Tensor]
    factors: list[Tensor]
    background: list[Tensor]
    fraction: float = 1.0


def gaussian_blur(image: Tensor, fwhm_voxels: float) -> Tensor:
    """Blur the last three axes of (..., D, H, W) by a separable, self-adjoint Gaussian of sum 1 (zero outside)."""
    if fwhm_voxels < 0.2:
        return image
    along = [_gaussian_matrix(n, fwhm_voxels / FWHM_PER_SIGMA, image) for n in image.shape[-3:]]
    image = torch.matmul(along[1], image @ along[2])
    return torch.matmul(along[0], image.flatten(-2)).reshape(image.shape)


def _gaussian_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    """A symmetric Toeplitz matrix: one matrix product an axis beats a one-channel convolution by far on a CPU."""
    offset = torch.arange(size, dtype=like.dtype, device=like.device)
    distance = (offset[:, None] - offset).abs() / sigma
    # cut at 4 sigma: the tail would be denormal numbers, which are slow
    kernel = torch.where(distance < 4, torch.exp(-0.5 * distance**2), 0.0)
    # the sum over a line without ends; of a narrow kernel it is larger than the integral
    whole = int(8 * sigma) + 1
    return kernel / float(np.exp(-0.5 * (np.arange(-whole, whole + 1) / sigma) ** 2).sum())


def attenuation_map(tissue: np.ndarray) -> np.ndarray:
    """Linear attenuation at 511 keV in 1/mm from tissue classes (D, H, W)."""
    return np.where(tissue == AIR, 0.0, np.where(tissue == BONE, MU_BONE, MU_SOFT)).astype(np.float32)


def to_columns(volume: Tensor) -> Tensor:
    """(D, n, n) -> (n * n, D), the layout projectors work on."""
    return volume.flatten(1).T.contiguous()


def from_columns(columns: Tensor, size: int) -> Tensor:
    """The inverse of :func:`to_columns`."""
    return columns.T.reshape(-1, size, size)


def acquire(
    activity: Tensor, mu: Tensor, scanner: Scanner, projectors: Sequence[Projection], generator: torch.Generator
) -> Acquisition:
    """Measure the full dose: blur, attenuate, add randoms and scatter, count.

    Args:
        activity: (D, n, n), arbitrary units.
        mu: (D, n, n) in 1/mm.
        scanner: counts, resolution and background to use.
        projectors: angular subsets for n x n slices.
        generator: source of the Poisson noise, on the tensors' device.
    """
    paths = _line_integrals(mu, scanner, projectors, blur_mm=0.0)
    lines = _line_integrals(activity, scanner, projectors, scanner.resolution_mm)
    trues = [torch.exp(-scanner.spacing * path) * line for path, line in zip(paths, lines)]
    gain = scanner.counts * (1 - scanner.background) / sum(float(t.sum(dtype=torch.float64)) for t in trues)
    background = [gain * _background(t, p, scanner.background) for t, p in zip(trues, projectors)]
    mean = [gain * t + b for t, b in zip(trues, background)]
    corrected = -scanner.spacing * (1 + scanner.attenuation_error)
    return Acquisition(
        [torch.poisson(expectation, generator=generator) for expectation in mean],
        mean,
        [gain * torch.exp(corrected * path) for path in paths],
        [(1 + scanner.background_error) * b for b in background],
    )


def thin(full: Acquisition, fraction: float, generator: torch.Generator) -> Acquisition:
    """Keep each count of a full-dose acquisition with probability ``fraction`` (binomial): the same scan, less dose."""
    probability = torch.tensor(fraction, device=full.counts[0].device)
    counts = [torch.binomial(c, probability.expand_as(c), generator=generator) for c in full.counts]
    mean, factors, background = ([fraction * x for x in part] for part in (full.mean, full.factors, full.background))
    return Acquisition(counts, mean, factors, background, fraction=full.fraction * fraction)


def expected(full: Acquisition) -> Acquisition:
    """The same acquisition without noise: counts are their expectation."""
    return replace(full, counts=full.mean)


def without_attenuation(
    full: Acquisition, mu: Tensor, scanner: Scanner, projectors: Sequence[Projection]
) -> Acquisition:
    """Return an acquisition for a reconstruction without correction for attenuation.

    Args:
        full: as acquired.
        mu: linear attenuation (D, n, n) in 1/mm.
        scanner: of the acquisition.
        projectors: one for each subset.
    """
    columns = to_columns(mu) * scanner.spacing
    factors = [factor / torch.exp(-p.forward(columns)) for factor, p in zip(full.factors, projectors)]
    return replace(full, factors=factors)


def _line_integrals(volume: Tensor, scanner: Scanner, projectors: Sequence[Projection], blur_mm: float) -> list[Tensor]:
    """Projections (angles * size, slices) of a volume (D, n, n), over subsets, in voxels of the images."""
    if not scanner.fine_truth:
        columns = to_columns(gaussian_blur(volume, blur_mm / scanner.spacing))
        return [p.forward(columns) for p in projectors]
    fine = volume.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    fine = to_columns(_blur_planes(fine, blur_mm / scanner.spacing))
    halves = make_projectors(2 * projectors[0].size, scanner.angles, scanner.subsets, volume.device.type)
    # a bin of the images' width is the mean of two fine ones, and a path counts half as wide pixels
    lines = (p.forward(fine).reshape(p.angles, p.size // 2, 2, -1).mean(2) / 2 for p in halves)
    return [line.flatten(0, 1) for line in lines]


def _blur_planes(fine: Tensor, fwhm_voxels: float) -> Tensor:
    """Blur (D, 2n, 2n), whose pixels are half as wide as its slices are apart."""
    if fwhm_voxels < 0.2:
        return fine
    sigma = fwhm_voxels / FWHM_PER_SIGMA
    across = _gaussian_matrix(fine.shape[-1], 2 * sigma, fine)
    fine = torch.matmul(across, fine @ across)
    return torch.matmul(_gaussian_matrix(fine.shape[0], sigma, fine), fine.flatten(-2)).reshape(fine.shape)


def _background(trues: Tensor, projector: Projection, share: float) -> Tensor:
    """Randoms and scatter: the trues spread wide along bins and slices, ``share`` of all prompts."""
    spread = trues.reshape(projector.angles, projector.size, -1).permute(0, 2, 1)
    kernel_bins, kernel_slices = projector.size // 3 * 2 + 1, 9
    spread = F.avg_pool2d(
        spread[:, None], (kernel_slices, kernel_bins), stride=1, padding=(kernel_slices // 2, kernel_bins // 2)
    )[:, 0]
    spread = spread.permute(0, 2, 1).reshape(trues.shape)
    return spread * (share / (1 - share) * trues.sum() / spread.sum().clamp_min(1e-12))
