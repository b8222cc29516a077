"""Tracer uptake: what each region takes up, drawn anew for every subject."""

from __future__ import annotations

import numpy as np

from .anatomy import AIR, BONE, BRAINSTEM, CSF, GREY, SOFT, WHITE, Anatomy, smooth_noise

TRACERS = ("fdg", "amyloid", "random", "tau", "dopamine")
SHARES = (0.4, 0.2, 0.2, 0.08, 0.12)
# FreeSurfer and MUSE labels of accumbens, caudate, pallidum and putamen
_STRIATUM = {"freesurfer": (11, 12, 13, 26, 50, 51, 52, 58), "muse": (23, 30, 36, 37, 55, 56, 57, 58)}

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
    "tau": {
        GREY: (0.5, 0.9),
        WHITE: (0.45, 0.85),
        CSF: (0.05, 0.3),
        BRAINSTEM: (0.5, 0.9),
        SOFT: (0.1, 0.5),
        BONE: (0.1, 0.6),
    },
    "dopamine": {
        GREY: (0.3, 0.7),
        WHITE: (0.25, 0.6),
        CSF: (0.05, 0.3),
        BRAINSTEM: (0.3, 0.8),
        SOFT: (0.1, 0.5),
        BONE: (0.05, 0.4),
    },
}
_REGION_SPREAD = {"fdg": 0.12, "amyloid": 0.18, "random": 0.3, "tau": 0.3, "dopamine": 0.1}


def draw_uptake(anatomy: Anatomy, tracer: str, rng: np.random.Generator, varied: bool = False) -> np.ndarray:
    """Draw a noise-free activity image.

    Args:
        anatomy: labels and tissue, (D, H, W).
        tracer: one of :data:`TRACERS`: FDG-like (cortex over white matter), amyloid-like (white-matter binding, cortex
            below or above it), random (any order of the tissues), tau-like (some regions far above a low rest) or
            dopamine-like (the striatum alone).
        rng: source of the draw.
        varied: with stronger gradients inside regions, and in half of the heads with uptake of skin, muscles and
            glands that comes up to that of the brain.

    Returns:
        Activity (D, H, W) float32, arbitrary units with grey matter near 1, zero in air.
    """
    ranges = _RANGES[tracer]
    level = np.zeros(BRAINSTEM + 1, np.float32)
    for tissue, (low, high) in ranges.items():
        level[tissue] = rng.uniform(low, high)
    spread = rng.lognormal(0, _REGION_SPREAD[tracer], int(anatomy.labels.max()) + 1).astype(np.float32)
    spread[0] = 1
    _raise_regions(spread, anatomy, tracer, rng)
    activity = level[anatomy.tissue] * np.where(anatomy.tissue == CSF, 1, spread[anatomy.labels])
    # uptake is not constant inside a region: slow gradients, and finer mottling that no MR shows
    slow, fine = (0.2, 0.15) if varied else (0.08, 0.1)
    activity *= np.exp(rng.uniform(0.02, slow) * smooth_noise(activity.shape, rng, 60 / anatomy.spacing))
    activity *= np.exp(rng.uniform(0.02, fine) * smooth_noise(activity.shape, rng, 12 / anatomy.spacing))
    if varied and rng.random() < 0.5:
        activity *= _of_the_face(anatomy, rng)
    activity[anatomy.tissue == AIR] = 0
    return activity.astype(np.float32)


def _raise_regions(spread: np.ndarray, anatomy: Anatomy, tracer: str, rng: np.random.Generator) -> None:
    if tracer == "tau":
        count = int(rng.integers(0, 12))
        chosen = rng.integers(0, spread.size, count)
        spread[chosen] *= rng.uniform(1.5, 3.0, count).astype(np.float32)
    if tracer == "dopamine":
        known = np.array(_STRIATUM["muse" if anatomy.name.startswith("ixi/") else "freesurfer"])
        known = known[known < spread.size]
        spread[known] *= np.float32(rng.uniform(2.0, 6.0)) * rng.lognormal(0, 0.2, known.size).astype(np.float32)


def _of_the_face(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """A factor that lets soft tissue and bone outside of the brain vary in patches."""
    patches = smooth_noise(anatomy.tissue.shape, rng, rng.uniform(15, 40) / anatomy.spacing)
    factor = rng.uniform(1.0, 3.0) * np.exp(rng.uniform(0.3, 0.8) * patches)
    return np.where(np.isin(anatomy.tissue, (SOFT, BONE)), np.clip(factor, 0.2, 6.0), 1.0).astype(np.float32)
