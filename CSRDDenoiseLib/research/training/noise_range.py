"""What noise a training pool holds, for the metadata of the model that was trained on it."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

from ...checks.noise import NoiseSample, noise_facts, texture
from ...scan import noise_level
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
            features = texture(pet, example.mask, spacing)
            if features is not None:
                level = noise_level(pet, example.mask, spacing)
                yield NoiseSample(phantom, dose, level, features, dose in pool.doses)
