"""What a PET series shows by its header: an emission image, corrected for attenuation, or something else.

Tags: PS3.3 C.8.9.1 (Series Type, Counts Source, Units, Corrected Image) and C.8.22.5 (Attenuation Corrected).
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from ..errors import InputError
from ..findings import Finding, warning
from .dicom_files import MODALITIES
from .dicom_tags import Tags

_NO_EMISSION: Mapping[str, Callable[[Tags], bool]] = {
    "a transmission image (CountsSource TRANSMISSION)": lambda tags: tags.text("CountsSource") == "TRANSMISSION",
    "an attenuation map (Units 1CM)": lambda tags: tags.text("Units").upper() in ("1CM", "1/CM"),
    "a series of projections (SeriesType REPROJECTION)": lambda tags: "REPROJECTION" in _terms(tags, "SeriesType"),
}


def check_emission(tags: Sequence[Tags], what: str, place: str) -> tuple[Finding, ...]:
    """Refuse what is no emission image where a PET is wanted, and warn of one that was not corrected for attenuation.

    Raises:
        InputError: a transmission image, an attenuation map or projections.
    """
    first = tags[0]
    if first.text("Modality") != "PT":
        return ()
    kind = next((kind for kind, is_so in _NO_EMISSION.items() if is_so(first)), "")
    if kind and MODALITIES.get(what.lower()) == "PT":
        raise InputError(f"{place} is {kind}, and no PET image. Give the series of the PET images.")
    corrections = _terms(first, "CorrectedImage")
    is_without = bool(corrections) and "ATTN" not in corrections and not first.text("AttenuationCorrectionMethod")
    if kind or not (is_without or first.text("AttenuationCorrected") == "NO"):
        return ()
    stated = f"CorrectedImage {', '.join(corrections)}" if corrections else "AttenuationCorrected NO"
    return (warning("attenuation.not_corrected", what=what, stated=stated),)


def _terms(tags: Tags, keyword: str) -> list[str]:
    return [term.strip().upper() for term in tags.text(keyword).split("\\") if term.strip()]
