"""Do PET and MR show the head at the same place? A verdict, and how far the MR is off, from a coarse look at both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

import SimpleITK as sitk

from ..findings import Finding, Severity, warning
from ..prepare.comparable import LEAST_OUTLINE_OVERLAP, LEAST_PROMINENCE, Fit, Size, measure_fit

ALIGNED, DOUBTFUL, MISALIGNED = "aligned", "doubtful", "misaligned"
DOUBTFUL_MM = 3.5
MISALIGNED_MM = 5.0
MIRRORED_GAIN = 0.05
"""Share of the normalised mutual information (less 1) that a mirrored MR must gain to be the better one."""
NEAR_ENOUGH_MM = 15.0
"""From an MR that is further off the search may end beside its best place, and the mirrored one gain for that alone."""


@dataclass(frozen=True)
class Alignment:
    """How PET and MR lie to each other.

    Attributes:
        verdict: ``aligned``, ``doubtful`` or ``misaligned``.
        offset_mm: how far the centre of the head is off; None where the images have too little in common.
        angle_degrees: by which the MR is turned, about any axis.
        displacement_mm: how far the head is off on average; the verdict rests on it.
        outline_overlap: Dice coefficient of the heads' outlines as they lie, 0 to 1.
        nmi: normalised mutual information as they lie, 1 to 2.
        nmi_best: the same at the best rigid motion.
        prominence: share of it that is lost 20 mm away from the best motion; near 0 there is nothing to judge by.
        nmi_mirrored: the same as ``nmi_best`` of the MR with left and right exchanged.
        mirrored: whether that fits better by more than chance.
    """

    verdict: str
    offset_mm: Optional[float]
    angle_degrees: Optional[float]
    displacement_mm: Optional[float]
    outline_overlap: float
    nmi: float
    nmi_best: float
    prominence: float
    nmi_mirrored: float = 1.0
    mirrored: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types, rounded to what they are worth."""
        values = asdict(self).items()
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in values}


def check_alignment(pet: sitk.Image, mr: sitk.Image) -> tuple[Finding, ...]:
    """Compare the place of the head in PET and MR; without a head in one of them there is nothing to compare."""
    found = measure_alignment(pet, mr)
    if found is None:
        return ()
    severity = Severity.INFO if found.verdict == ALIGNED else Severity.WARNING
    reason = {} if found.verdict == ALIGNED else {"reason": _reason(found)}
    finding = Finding(f"alignment.{found.verdict}", severity, {**found.as_dict(), **reason})
    if not found.mirrored:
        return (finding,)
    compared = {name: round(value, 4) for name, value in vars(found).items() if name in ("nmi_best", "nmi_mirrored")}
    return finding, warning("mirror.found", **compared)


def measure_alignment(pet: sitk.Image, mr: sitk.Image) -> Optional[Alignment]:
    """Judge how PET and MR lie to each other by :func:`~CSRDDenoiseLib.prepare.comparable.measure_fit`.

    Returns:
        None when one of the two shows no head.
    """
    fit = measure_fit(pet, mr)
    if fit is None:
        return None
    size, numbers = fit.size, (fit.outline_overlap, fit.nmi, fit.nmi_best, fit.prominence, fit.nmi_mirrored)
    verdict = _verdict(size, fit.outline_overlap, fit.prominence)
    if size is None:
        return Alignment(verdict, None, None, None, *numbers)
    return Alignment(verdict, size.offset_mm, size.degrees, size.displacement_mm, *numbers, _mirrored(fit))


def _mirrored(fit: Fit) -> bool:
    near = fit.size is not None and fit.size.displacement_mm < NEAR_ENOUGH_MM and fit.prominence >= LEAST_PROMINENCE
    return near and fit.nmi_mirrored - 1 > (1 + max(MIRRORED_GAIN, fit.chance)) * (fit.nmi_best - 1)


def _verdict(size: Optional[Size], overlap: float, peak: float) -> str:
    apart = overlap < LEAST_OUTLINE_OVERLAP
    if size is None or peak < LEAST_PROMINENCE:
        return MISALIGNED if apart else DOUBTFUL
    if size.displacement_mm >= MISALIGNED_MM:
        return MISALIGNED
    return DOUBTFUL if apart or size.displacement_mm >= DOUBTFUL_MM else ALIGNED


def _reason(found: Alignment) -> str:
    """Why the verdict is not ``aligned``: a name in ``sentences.PHRASES``."""
    if found.displacement_mm is None or found.prominence < LEAST_PROMINENCE:
        return "nothing_in_common"
    return "outlines" if found.displacement_mm < DOUBTFUL_MM else "offset"
