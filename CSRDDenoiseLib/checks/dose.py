"""The estimated dose of a record in words; light, because the panel of the Slicer module shows it too."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..sentences import as_fraction

REFERENCE, TYPICAL = "full-dose reference", "typical full dose of the training"
"""What a dose can be relative to."""


def dose_of(quality: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the dose of a record's ``quality``: ``estimate``, ``relative_to``, perhaps ``range``; or nothing."""
    return quality.get("noise", {}).get("dose", {})


def dose_sentence(quality: Mapping[str, Any]) -> str:
    """Return what there is to say about the dose when a full-dose reference was given, else nothing."""
    dose = dose_of(quality)
    if dose.get("relative_to") != REFERENCE:
        return ""
    return f"The PET has about {dose['estimate']:.2g} of the counts of the full-dose reference."


def dose_fact(quality: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """Return the dose in short: what it is relative to, and the estimate with its range, if any; None without one."""
    dose = dose_of(quality)
    if not dose:
        return None
    title = f"Dose relative to the {dose['relative_to']}"
    if "range" not in dose:
        return title, f"about {dose['estimate']:.2g}"
    low, high = (as_fraction(end) for end in dose["range"])
    return title, f"about {as_fraction(dose['estimate'])}, likely {high} to {low}"
