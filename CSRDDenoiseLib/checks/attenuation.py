"""Is the rim of the head hot and its middle cold, as without correction for attenuation?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info, warning
from ..scan import Scan
from .depth import depth_mm, without_holes

UNCORRECTED_SCORE = 0.5
_DEPTHS = (0.0, 0.2, 0.4, 0.7, 1.0)


def check_attenuation(scan: Scan) -> tuple[Finding, ...]:
    """Score the head; nothing where it is too small to have a rim.

    The score is rim times shell over the square of the centre, each a median of the smoothed PET at a share of the
    head's depth: 0 to 20 %, 40 to 70 % and more than 70 %.
    """
    smoothed = scan.smoothed
    depth = depth_mm(without_holes(scan.foreground()), scan.spacing)
    depth /= max(float(depth.max()), 1e-3)
    zones = (smoothed[(depth > low) & (depth <= high)] for low, high in zip(_DEPTHS, _DEPTHS[1:]))
    rim, _, shell, centre = (float(np.median(zone)) if zone.size else np.nan for zone in zones)
    score = rim * shell / max(centre, 1e-3) ** 2
    if not np.isfinite(score):
        return ()
    measured = {"rim": round(rim, 3), "centre": round(centre, 3), "score": round(score, 3)}
    if score <= UNCORRECTED_SCORE:
        return (info("attenuation.plausible", **measured),)
    shares = {"rim_share": rim / max(centre, 1e-3), "shell_share": shell / max(centre, 1e-3)}
    return (warning("attenuation.doubtful", **measured, **{name: round(share, 3) for name, share in shares.items()}),)
