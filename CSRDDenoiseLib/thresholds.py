"""What counts as head and as brain in a PET, relative to its bright part; light, for the panel too."""

from __future__ import annotations

import math
from typing import Sequence

HEAD_THRESHOLD = 0.12
"""Of the bright level (:data:`BRIGHT_QUANTILE`): more is head, less is air."""

BRAIN_THRESHOLD = 0.4
"""Of the bright level of the head, or of the brain mean: more is brain."""

BRIGHT_QUANTILE = 0.99
"""Of a field of up to :data:`WIDE_FIELD_ML`; see :func:`bright_quantile`."""

WIDE_FIELD_ML = 30_000.0
"""A field of 350 x 350 x 245 mm; of a wider one a hundredth may be more than the brain."""

LONGEST_HEAD_MM = 330.0
"""From the vertex down; what is longer is head and trunk, or a whole body."""

HEAD_LENGTH_MM = 250.0
"""What is taken for the head of a longer body: from the vertex to the neck."""
REGION_MARGIN_MM = 16.0
"""Around a region, what the network sees beside it; more changes the estimate no further (docs/performance.md)."""


def bright_quantile(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the quantile of a field (D, H, W) that is its bright level; ``spacing`` in mm.

    In a wide field as high as a head it leaves the same volume above it as in one of :data:`WIDE_FIELD_ML`: a hundredth
    of the field would reach from the brain to the scalp or the air.
    """
    field_ml = math.prod(shape) * math.prod(spacing) / 1000
    if field_ml <= WIDE_FIELD_ML or shape[0] * spacing[0] > LONGEST_HEAD_MM:
        return BRIGHT_QUANTILE
    return 1 - (1 - BRIGHT_QUANTILE) * WIDE_FIELD_ML / field_ml
