"""What noise a training pool holds, for the metadata of the model that was trained on it."""

from __future__ import annotations

from typing import Any, Iterator, Optional, Sequence

import numpy as np

from ...checks.noise import NoiseSample, noise_facts, texture
from ...scan import Head, Scan
from ..simulation.subject import emulate_dose, nameable_dose
from .pool import Pool

DOSES_BEYOND = (1 / 2, 1 / 16, 1 / 40)
STEPS_OF_RANGE = 6


def noise_range(pool: Pool, phantoms: int = 60, trained: Optional[Sequence[float]] = None) -> dict[str, Any]:
    """Measure the noise of a pool's first phantoms at the doses of its training, and of emulated ones beyond them.

    Args:
        pool: of the training.
        phantoms: how many to look at, at most.
        trained: dose fractions that the model was trained on; None for those of the pool.

    Returns:
        What :func:`CSRDDenoiseLib.checks.noise.noise_facts` makes of them; empty without a phantom.
    """
    known = trained_doses(pool) if trained is None else tuple(trained)
    return noise_facts(_samples(pool, min(phantoms, pool.available()), known))


def trained_doses(pool: Pool) -> tuple[float, ...]:
    """The doses of every phantom of a pool, or steps over the range that each phantom's were drawn from."""
    if pool.dose_range is None:
        return pool.doses
    low, high = pool.dose_range
    steps = {nameable_dose(float(dose)) for dose in np.geomspace(low, high, STEPS_OF_RANGE)}
    return tuple(sorted({*steps, *(dose for dose in DOSES_BEYOND if low <= dose <= high)}))


def _samples(pool: Pool, phantoms: int, trained: Sequence[float]) -> Iterator[NoiseSample]:
    doses = sorted({*trained, *DOSES_BEYOND})
    spacing = (pool.spacing,) * 3
    for phantom in range(phantoms):
        lowest = min(pool.doses_of(phantom))
        example = pool.load(phantom, lowest)
        for dose in doses:
            pet = emulate_dose(example.full_dose, example.low_dose, lowest, dose)
            scan = _scan(pet, example.mask, spacing)
            features = texture(scan)
            if features is not None:
                yield NoiseSample(phantom, dose, scan.noise_level, features, dose in trained)


def _scan(pet: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> Scan:
    """The scan of a PET that is relative to its brain mean already."""
    depth, height, width = (slice(0, side) for side in mask.shape)
    return Scan.of_array(pet, spacing, Head(mask, (depth, height, width), 1.0))
