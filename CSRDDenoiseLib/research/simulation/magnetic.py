"""The MR of a simulated subject: the real T1 with a scanner's imperfections, or one made up from the labels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .anatomy import AIR, Anatomy, smooth_noise


def draw_mr(anatomy: Anatomy, rng: np.random.Generator, synthetic_share: float = 0.25) -> np.ndarray:
    """Draw an MR (D, H, W), float32, air near 0 and bright tissue near 1.

    Without a T1, and for ``synthetic_share`` of the others, every label gets a random intensity as in SynthSeg (Billot
    et al. 2023), so that no network relies on one contrast. A bias field and Rician noise come on top.
    """
    if anatomy.t1 is None or rng.random() < synthetic_share:
        mr = _from_labels(anatomy, rng)
    else:
        mr = anatomy.t1 / max(float(np.quantile(anatomy.t1, 0.995)), 1e-6)
    mr = np.clip(mr, 0, 1.5) ** rng.uniform(0.75, 1.3)
    mr = mr * np.exp(rng.uniform(0, 0.15) * smooth_noise(mr.shape, rng, 120 / anatomy.spacing))
    level = rng.uniform(0.005, 0.04)
    real, imaginary = (level * rng.standard_normal(mr.shape).astype(np.float32) for _ in range(2))
    return np.hypot(mr + real, imaginary).astype(np.float32)


def _from_labels(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    tissue_level = rng.uniform(0.1, 1.0, 7)
    tissue_level[AIR] = 0
    region = 1 + 0.08 * rng.standard_normal(int(anatomy.labels.max()) + 1)
    mean = tissue_level[anatomy.tissue] * np.where(anatomy.tissue == AIR, 1, region[anatomy.labels])
    texture = 1 + 0.05 * rng.standard_normal(mean.shape)
    return ndimage.gaussian_filter((mean * texture).astype(np.float32), rng.uniform(0.4, 1.2) / anatomy.spacing)
