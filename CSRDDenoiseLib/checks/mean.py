"""How far does the model alone change the mean activity of the brain, and how far does the result?"""

from __future__ import annotations

from ..findings import Finding, info, warning


def check_mean(change: float, left: float, limit: float) -> Finding:
    """Judge the relative change by the bare estimate, and what is left of it in the result, against what is usual."""
    values = {"change": change, "left": left, "limit": limit}
    return info("mean.kept", **values) if abs(change) <= limit else warning("mean.changed", **values)
