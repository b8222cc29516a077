"""Things only one modality shows, so that a network cannot learn to copy the MR into the PET or to trust neither."""

from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import ndimage

from .anatomy import COLD_LABEL, GREY, HOT_LABEL, MR_ONLY_LABEL, WHITE, Anatomy, smooth_noise


def draw_blob(shape: Sequence[int], centre: Sequence[int], radius: float, rng: np.random.Generator) -> np.ndarray:
    """A boolean ellipsoid with a bumpy surface; centre and radius in voxels."""
    axes = rng.uniform(0.75, 1.3, 3) * radius
    reach = int(np.ceil(1.8 * axes.max()))
    size = 2 * reach + 1
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij")).astype(np.float32)
    distance = np.sqrt(sum((o / a) ** 2 for o, a in zip(offset, axes)))
    local = distance + 0.12 * smooth_noise((size,) * 3, rng, max(radius, 2.0)) < 1
    blob = np.zeros(shape, bool)
    low = [max(c - reach, 0) for c in centre]
    high = [min(c + reach + 1, n) for c, n in zip(centre, shape)]
    part = tuple(slice(a - c + reach, b - c + reach) for a, b, c in zip(low, high, centre))
    blob[tuple(slice(a, b) for a, b in zip(low, high))] = local[part]
    return blob


def place_blobs(
    anatomy: Anatomy, count: int, radius_mm: tuple[float, float], rng: np.random.Generator
) -> list[np.ndarray]:
    """Up to ``count`` blobs inside the brain that do not touch one another, radii drawn in mm."""
    free = ndimage.binary_erosion(np.isin(anatomy.tissue, (GREY, WHITE)), iterations=1)
    blobs = []
    for _ in range(count):
        places = np.flatnonzero(free)
        if places.size == 0:
            break
        centre = [int(index) for index in np.unravel_index(int(rng.choice(places)), free.shape)]
        radius = rng.uniform(*radius_mm) / anatomy.spacing
        blobs.append(draw_blob(free.shape, centre, radius, rng) & (anatomy.tissue > 0))
        low = [max(int(c - 4 * radius), 0) for c in centre]
        free[tuple(slice(a, int(c + 4 * radius) + 1) for a, c in zip(low, centre))] = False
    return blobs


def add_pet_lesions(
    activity: np.ndarray, labels: np.ndarray, blobs: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make each blob hot (1.3 to 3 times the activity around) or cold (0.1 to 0.7 times) in the PET alone.

    Returns:
        The new activity and a label map with 1001, 1002, ... for hot and 2001, 2002, ... for cold lesions.
    """
    activity, labels = activity.copy(), labels.copy()
    hot, cold = HOT_LABEL, COLD_LABEL
    for blob in blobs:
        if not blob.any():
            continue
        around = float(activity[blob].mean())
        if rng.random() < 0.6:
            activity[blob], labels[blob], hot = around * rng.uniform(1.3, 3.0), hot, hot + 1
        else:
            activity[blob], labels[blob], cold = around * rng.uniform(0.1, 0.7), cold, cold + 1
    return activity, labels


def add_mr_lesions(
    mr: np.ndarray, labels: np.ndarray, blobs: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Change the MR inside each blob by a random factor, PET untouched; labels 3001, 3002, ..."""
    mr, labels = mr.copy(), labels.copy()
    for number, blob in enumerate(blobs):
        factor = rng.uniform(0.2, 0.7) if rng.random() < 0.5 else rng.uniform(1.3, 1.8)
        mr[blob] *= factor
        labels[blob & (labels < HOT_LABEL)] = MR_ONLY_LABEL + number
    return mr, labels


def add_white_matter_lesions(mr: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Return the MR with up to 20 small spots in white matter, darker (or brighter) together, PET untouched."""
    mr, white = mr.copy(), np.flatnonzero(anatomy.tissue == WHITE)
    factor = rng.uniform(0.5, 0.85) if rng.random() < 0.7 else rng.uniform(1.15, 1.6)
    for place in white[rng.integers(white.size, size=int(rng.integers(0, 21)))] if white.size else ():
        centre = [int(index) for index in np.unravel_index(int(place), mr.shape)]
        spot = draw_blob(mr.shape, centre, rng.uniform(1.5, 5.0) / anatomy.spacing, rng)
        mr[spot & (anatomy.tissue == WHITE)] *= factor
    return mr
