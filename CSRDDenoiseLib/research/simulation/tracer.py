"""Tracer uptake: what each region takes up, drawn anew for every subject."""

from __future__ import annotations

import numpy as np

from .anatomy import AIR, BONE, BRAINSTEM, CSF, GREY, SOFT, WHITE, Anatomy, smooth_noise

TRACERS = ("fdg", "amyloid", "random")

# uptake relative to mean grey matter: tissue -> (low, high)
_RANGES = {
    "fdg": {
        GREY: (0.85, 1.1),
        WHITE: (0.22, 0.42),
        CSF: (0.02, 0.1),
        BRAINSTEM: (0.4, 0.65),
        SOFT: (0.06, 0.25),
        BONE: (0.03, 0.15),
    },
    "amyloid": {
        GREY: (0.45, 1.3),
        WHITE: (0.8, 1.1),
        CSF: (0.03, 0.15),
        BRAINSTEM: (0.8, 1.1),
        SOFT: (0.1, 0.35),
        BONE: (0.05, 0.3),
    },
    "random": {
        GREY: (0.3, 1.4),
        WHITE: (0.2, 1.2),
        CSF: (0.02, 0.3),
        BRAINSTEM: (0.2, 1.3),
        SOFT: (0.03, 0.5),
        BONE: (0.02, 0.4),
    },
}
_REGION_SPREAD = {"fdg": 0.12, "amyloid": 0.18, "random": 0.3}


def draw_uptake(anatomy: Anatomy, tracer: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a noise-free activity image.

    Args:
        anatomy: labels and tissue, (D, H, W).
        tracer: one of :data:`TRACERS`: FDG-like (cortex over white matter), amyloid-like (white-matter binding, cortex
            below or above it) or random (any order of the tissues).
        rng: source of the draw.

    Returns:
        Activity (D, H, W) float32, arbitrary units with grey matter near 1, zero in air.
    """
    ranges = _RANGES[tracer]
    level = np.zeros(BRAINSTEM + 1, np.float32)
    for tissue, (low, high) in ranges.items():
        level[tissue] = rng.uniform(low, high)
    spread = rng.lognormal(0, _REGION_SPREAD[tracer], int(anatomy.labels.max()) + 1).astype(np.float32)
    spread[0] = 1
    activity = level[anatomy.tissue] * np.where(anatomy.tissue == CSF, 1, spread[anatomy.labels])
    # uptake is not constant inside a region: slow gradients, and finer mottling that no MR shows
    activity *= np.exp(rng.uniform(0.02, 0.08) * smooth_noise(activity.shape, rng, 60 / anatomy.spacing))
    activity *= np.exp(rng.uniform(0.02, 0.1) * smooth_noise(activity.shape, rng, 12 / anatomy.spacing))
    activity[anatomy.tissue == AIR] = 0
    return activity.astype(np.float32)
