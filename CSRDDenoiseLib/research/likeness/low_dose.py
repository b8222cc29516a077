"""Low doses made of a full dose: noise of the scanner's spectrum, as much as the missing counts bring."""

from __future__ import annotations

from typing import Sequence, Union

import numpy as np
from scipy import fft

from ...restore.canvas import masked_zeros
from ...scan import Scan
from .learn import ScanNoise, local_amplitude
from .spectrum import MIDDLES, band_powers, frequencies
from .texture import spectrum_of

_ROUNDS = 3


def make_low_dose(full: np.ndarray, noise: ScanNoise, fraction: float, seed: Union[int, Sequence[int]]) -> np.ndarray:
    """Make a low dose of a full dose, (D, H, W), float32, in its unit.

    A low dose is the full dose and noise whose variance is 1 / fraction - 1 times that of the full dose's own: the
    counts of the low dose are a part of those of the full dose, so that what both have in common stays.

    Args:
        full: the full dose; where none of its voxels is negative, none of the low dose's is, and what a mask set to
            zero in it is zero in the low dose.
        noise: of the full dose.
        fraction: of the counts.
        seed: of the noise, the only source of randomness.
    """
    scan = Scan.of_array(np.asarray(full, np.float32), noise.voxel_mm)
    extra = _noise_field(scan, noise, np.random.default_rng(seed)) * np.float32((1 / fraction - 1) ** 0.5)
    low = np.asarray(full + extra, np.float32)
    low[masked_zeros(scan.pet, scan.spacing)] = 0
    return np.maximum(low, 0) if full.min() >= 0 else low


def _noise_field(scan: Scan, noise: ScanNoise, rng: np.random.Generator) -> np.ndarray:
    """Noise of the full dose, in the PET's unit: its bands are brought to the powers that were learned."""
    shape = scan.pet.shape
    white, at = fft.rfftn(rng.standard_normal(shape)), frequencies(shape)
    local = local_amplitude(scan, noise.exponent)
    if noise.cells is not None:
        white *= np.exp(spectrum_of(noise.cells, shape) / 2)
    logs = np.log(noise.powers) if noise.cells is None else np.zeros(len(noise.powers))
    field = np.zeros(shape)
    for _ in range(_ROUNDS):
        field = local * fft.irfftn(white * np.exp(_interpolated(at, logs) / 2), shape)
        logs = logs + np.log(noise.powers / band_powers(scan, field * scan.brain_mean))
    return (field * scan.brain_mean).astype(np.float32)


def _interpolated(at: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Logarithm of the power at each frequency; below the first band and in the corners it is constant."""
    return np.interp(at, MIDDLES, logs)
