"""How far did the model want to change the mean activity of the brain?"""

from __future__ import annotations

from ..findings import Finding, info, warning


def check_mean(change: float, limit: float) -> Finding:
    """Judge the relative change that the model asked for against what is let through."""
    values = {"change": change, "limit": limit}
    return info("mean.kept", **values) if abs(change) <= limit else warning("mean.held", **values)
