"""What noise a training pool holds, for the metadata of the model that was trained on it."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import numpy as np

from ...checks.noise import NoiseSample, noise_facts, texture
from ...scan import Head, Scan
from ..simulation.subject import emulate_dose
from .pool import Pool

DOSES_BEYOND = (1 / 2, 1 / 16, 1 / 40)


def noise_range(pool: Pool, phantoms: int = 60) -> dict[str, Any]:
    """Measure the noise of a pool's first phantoms at its own doses, and of emulated ones beyond them.

    Returns:
        What :func:`CSRDDenoiseLib.checks.noise.noise_facts` makes of them; empty without a phantom.
    """
    return noise_facts(_samples(pool, min(phantoms, pool.available()), sorted({*pool.doses, *DOSES_BEYOND})))


def _samples(pool: Pool, phantoms: int, doses: Sequence[float]) -> Iterator[NoiseSample]:
    spacing = (pool.spacing,) * 3
    for phantom in range(phantoms):
        lowest = min(pool.doses_of(phantom))
        example = pool.load(phantom, lowest)
        for dose in doses:
            pet = emulate_dose(example.full_dose, example.low_dose, lowest, dose)
            scan = _scan(pet, example.mask, spacing)
            features = texture(scan)
            if features is not None:
                yield NoiseSample(phantom, dose, scan.noise_level, features, dose in pool.doses)


def _scan(pet: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> Scan:
    """The scan of a PET that is relative to its brain mean already."""
    depth, height, width = (slice(0, side) for side in mask.shape)
    return Scan.of_array(pet, spacing, Head(mask, (depth, height, width), 1.0))
