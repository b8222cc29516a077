"""Ordered-subsets expectation maximisation (Hudson and Larkin 1994), attenuation and background in the model."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from .projector import Projection
from .scanner import Acquisition, Scanner, from_columns, gaussian_blur, to_columns

_SMALL = 1e-9


def reconstruct(
    acquisitions: Sequence[Acquisition], scanner: Scanner, projectors: Sequence[Projection]
) -> list[Tensor]:
    """Reconstruct several acquisitions of one object together; they share the system matrix and one pass over it.

    Args:
        acquisitions: any doses of the same scan; each has the scan's factors times its own fraction.
        scanner: iterations, resolution modelling and post filter.
        projectors: the subsets the acquisitions were measured with.

    Returns:
        For each acquisition a (D, n, n) image in the unit of the activity it came from, post filter applied.
    """
    size, doses = projectors[0].size, len(acquisitions)
    blur_mm = scanner.psf_error * scanner.resolution_mm if scanner.model_resolution else 0.0

    def blur(columns: Tensor) -> Tensor:
        return _blur_columns(columns, doses, size, blur_mm / scanner.spacing)

    counts, factors, background = (
        [torch.cat([getattr(a, name)[s] for a in acquisitions], dim=1) for s in range(len(projectors))]
        for name in ("counts", "factors", "background")
    )
    sensitivity = [blur(p.back(f)).clamp_min(_SMALL) for p, f in zip(projectors, factors)]
    image = (sensitivity[0] > 1e-6 * sensitivity[0].max()).to(counts[0].dtype)
    for _ in range(scanner.iterations):
        for s, projector in enumerate(projectors):
            expectation = factors[s] * projector.forward(blur(image)) + background[s]
            ratio = factors[s] * counts[s] / expectation.clamp_min(_SMALL)
            image = image * blur(projector.back(ratio)) / sensitivity[s]
    volumes = from_columns(image, size).chunk(doses)
    return [gaussian_blur(v, scanner.post_filter_mm / scanner.spacing) for v in volumes]


def _blur_columns(columns: Tensor, doses: int, size: int, fwhm_voxels: float) -> Tensor:
    if fwhm_voxels <= 0:
        return columns
    volumes = from_columns(columns, size)
    volumes = gaussian_blur(volumes.reshape(doses, -1, size, size), fwhm_voxels)
    return to_columns(volumes.reshape(-1, size, size))
