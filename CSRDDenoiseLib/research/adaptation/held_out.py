"""How far an estimate is from what is not known: the noise-free image of subjects that only noisy pairs are known of.

The noise of ``rest`` (see :mod:`..training.measured`) is independent of the low dose, and so of every estimate made of
it. With f the dose, the variance of that noise is f times the mean of (rest - low)^2. Hence

    (estimate - rest)^2 - f (rest - low)^2

has the expectation of (estimate - clean)^2: the squared error to the noise-free image, without knowing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np
import torch

from ...model.edm import Preconditioned
from ..training.loop import autocast
from ..training.pool import Example, Pool
from ..training.validation import estimate_residual


@dataclass(frozen=True)
class HeldOut:
    """Errors of the posterior mean on one scan, in the head, relative to the squared brain mean.

    Attributes:
        full: mean squared error of the full dose that is predicted, f low + (1 - f) estimate.
        clean: mean squared error of the estimate to the noise-free image, estimated; for a model that estimates the
            full dose, to that.
        peak: maximum of the full dose.
    """

    full: float
    clean: float
    peak: float

    @property
    def psnr(self) -> float:
        """PSNR in dB of the predicted full dose against the full dose."""
        return float(10 * np.log10(self.peak**2 / self.full))

    @property
    def error_percent(self) -> float:
        """Root mean square error to the noise-free image, % of the brain mean."""
        return float(100 * np.sqrt(max(self.clean, 0.0)))


def judge(denoiser: Preconditioned, pool: Pool, sigma_max: float) -> dict[int, HeldOut]:
    """Judge the posterior mean on every pair of a pool: number of the pair in it -> its errors."""
    device = str(next(denoiser.parameters()).device)
    found = {}
    for number, _, example in pool.examples(pool.available()):
        start = torch.zeros(example.mask.shape)
        with autocast(device):
            residual = estimate_residual(denoiser, example, start, sigma_max)
        found[number] = _errors(example, example.low_dose + residual)
    return found


def relative_change(before: Mapping[int, HeldOut], after: Mapping[int, HeldOut]) -> float:
    """Mean over scans of the logarithm of the squared error against the full dose over that before; below 0 is better.

    The noise of the full dose is in both, so that it dilutes the change but does not turn its sign.
    """
    return float(np.mean([np.log(after[number].full / before[number].full) for number in before]))


def clean_squares(estimate: np.ndarray, low: np.ndarray, full: np.ndarray, dose: float) -> np.ndarray:
    """Unbiased estimates of the squared error of an estimate to the noise-free image; arrays of one shape and unit."""
    rest = (full - np.float32(dose) * low) / np.float32(1 - dose)
    return (estimate - rest) ** 2 - np.float32(dose) * (rest - low) ** 2


def _errors(example: Example, estimate: np.ndarray) -> HeldOut:
    mask, full, low = example.mask, example.full_dose, example.low_dose
    peak = float(full[mask].max())
    if example.target != "noise-free":
        error = float(np.mean((estimate - full)[mask] ** 2, dtype=np.float64))
        return HeldOut(error, error, peak)
    dose = np.float32(example.dose)
    predicted = dose * low + (1 - dose) * estimate
    squares = clean_squares(estimate, low, full, example.dose)[mask]
    return HeldOut(
        float(np.mean((predicted - full)[mask] ** 2, dtype=np.float64)), float(np.mean(squares, dtype=np.float64)), peak
    )
