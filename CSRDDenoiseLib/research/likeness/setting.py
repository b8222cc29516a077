"""A setting of the simulator whose noise is like a user's scanner's, found on a plain phantom."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator

import numpy as np
import torch

from ...checks.counts import count_noise
from ...scan import Scan
from ..simulation.osem import reconstruct
from ..simulation.projector import make_projectors
from ..simulation.scanner import MU_SOFT, Scanner, acquire, expected, gaussian_blur
from .learn import ScanNoise
from .spectrum import band_powers

UPDATES = ((2, 8), (4, 8), (8, 12))
FILTERS_MM = (0.0, 1.5, 3.0, 4.5, 6.0, 8.0)
_RADIUS_MM, _LENGTH_MM = 80.0, 80.0
_COUNTS = 1e8
_USUAL_RESOLUTION_MM, _SHARPEST_MM, _WIDEST_MM = 5.0, 2.5, 10.0


def find_setting(noise: ScanNoise, seed: int = 0) -> tuple[Scanner, float]:
    """Find the scanner of the simulator whose noise has the learned spectrum, and the counts that give its power.

    A cylinder is measured once and reconstructed with few, usual and many updates, with and without the point spread in
    the model, and filtered by 0 to 8 mm.

    Returns:
        The scanner, and how far its spectrum is from the learned one: standard deviation over the bands of the
        logarithm of the amplitude.
    """
    side = float(np.mean(noise.voxel_mm))
    best, least = Scanner(), np.inf
    for scanner, powers, head_ml in _candidates(side, seed):
        logs = (np.log(powers) - np.log(noise.powers)) / 2
        if logs.std() < least:
            # noise goes as one over the counts of a mL
            counts = _COUNTS * float(np.exp(2 * logs.mean())) * noise.head_ml / head_ml
            best, least = replace(scanner, counts=counts), float(logs.std())
    total = noise.resolution_mm or _USUAL_RESOLUTION_MM
    own = float(np.sqrt(max(total**2 - best.post_filter_mm**2, 0.0)))
    return replace(best, resolution_mm=float(np.clip(own, _SHARPEST_MM, _WIDEST_MM))), least


def _candidates(side: float, seed: int) -> Iterator[tuple[Scanner, np.ndarray, float]]:
    """Scanners with the powers of their noise in the bands, and the activity of the cylinder in mL of brain."""
    activity = _cylinder(side)
    base = Scanner(spacing=side, resolution_mm=_USUAL_RESOLUTION_MM, counts=_COUNTS, post_filter_mm=0.0)
    for iterations, subsets in UPDATES:
        for models in (False, True):
            scanner = replace(base, iterations=iterations, subsets=subsets, model_resolution=models)
            projectors = make_projectors(activity.shape[-1], scanner.angles, scanner.subsets, "cpu")
            generator = torch.Generator().manual_seed(seed)
            full = acquire(activity, activity * MU_SOFT, scanner, projectors, generator)
            images = reconstruct([full, expected(full)], scanner, projectors)
            for width in FILTERS_MM:
                noisy, clean = (gaussian_blur(image, width / side).numpy() for image in images)
                scan = Scan.of_array(noisy, (side,) * 3)
                counted = count_noise(scan, side)
                if counted is not None:
                    found = band_powers(scan, noisy - clean)
                    yield replace(scanner, post_filter_mm=width), found, counted.head_ml


def _cylinder(side: float) -> torch.Tensor:
    """Activity (D, n, n) of a cylinder as wide as a head, 1 inside."""
    size = -(-int(2.6 * _RADIUS_MM / side) // 8) * 8
    planes = max(int(_LENGTH_MM / side), 8)
    line = (torch.arange(size) - (size - 1) / 2) * side
    inside = (line[:, None] ** 2 + line**2 < _RADIUS_MM**2).float()
    volume = inside.repeat(planes, 1, 1)
    volume[:2] = volume[-2:] = 0
    return volume
