"""Do PET and MR show the head at the same place? A verdict, and how far the MR is off, from a coarse look at both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np
import SimpleITK as sitk

from ..findings import Finding, Severity
from ..prepare.register import (
    COARSE,
    LEAST_PROMINENCE,
    Pair,
    Size,
    best_motion,
    head_points,
    heads_centred,
    make_pair,
    matrix,
    no_motion,
    normalised_mutual_information,
    prominence,
    size_of,
)

ALIGNED, DOUBTFUL, MISALIGNED = "aligned", "doubtful", "misaligned"
DOUBTFUL_MM = 3.0
MISALIGNED_MM = 5.0
LEAST_OUTLINE_OVERLAP = 0.6
CHANCE_GAIN = 10.0


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
    """

    verdict: str
    offset_mm: Optional[float]
    angle_degrees: Optional[float]
    displacement_mm: Optional[float]
    outline_overlap: float
    nmi: float
    nmi_best: float
    prominence: float

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
    return (Finding(f"alignment.{found.verdict}", severity, {**found.as_dict(), **reason}),)


def measure_alignment(pet: sitk.Image, mr: sitk.Image) -> Optional[Alignment]:
    """Look for the rigid motion of the MR that fits the PET best, starting from where it lies, on 4 mm voxels.

    A motion that gains no more mutual information than chance gives to so few voxels is taken for none: a crop that
    shows little of the head can be moved by some mm and fits as well.

    Returns:
        None when one of the two shows no head.
    """
    pair = make_pair(pet, mr, COARSE)
    if pair is None:
        return None
    overlap = _outline_overlap(pair)
    start = no_motion(pair) if overlap >= LEAST_OUTLINE_OVERLAP else heads_centred(pair)
    search = best_motion(pair, COARSE, start)
    now = normalised_mutual_information(pair, no_motion(pair))
    if search is None:
        return Alignment(_verdict(None, overlap, 0.0), None, None, None, overlap, now, now, 0.0)
    motion, best = search.motion, normalised_mutual_information(pair, search.motion)
    voxels = int(sitk.GetArrayViewFromImage(pair.head).sum())
    if best - 1 < (now - 1) * (1 + CHANCE_GAIN / voxels**0.5):
        motion, best = no_motion(pair), now
    size, peak = size_of(matrix(motion), head_points(pair)), prominence(pair, motion)
    numbers = (size.offset_mm, size.degrees, size.displacement_mm, overlap, now, best, peak)
    return Alignment(_verdict(size, overlap, peak), *numbers)


def _verdict(size: Optional[Size], overlap: float, peak: float) -> str:
    apart = overlap < LEAST_OUTLINE_OVERLAP
    if size is None or peak < LEAST_PROMINENCE:
        return MISALIGNED if apart else DOUBTFUL
    if size.displacement_mm >= MISALIGNED_MM:
        return MISALIGNED
    return DOUBTFUL if apart or size.displacement_mm >= DOUBTFUL_MM else ALIGNED


def _outline_overlap(pair: Pair) -> float:
    """Dice coefficient of the two outlines, inside the PET's field of view."""
    there = sitk.Resample(pair.mr_head, pair.head, sitk.Transform(), sitk.sitkNearestNeighbor)
    pet, mr = (sitk.GetArrayViewFromImage(image).astype(bool) for image in (pair.head, there))
    return 2 * float((pet & mr).sum()) / float(np.maximum(pet.sum() + mr.sum(), 1))


def _reason(found: Alignment) -> str:
    """Why the verdict is not ``aligned``: a name in ``sentences.PHRASES``."""
    if found.displacement_mm is None or found.prominence < LEAST_PROMINENCE:
        return "nothing_in_common"
    return "outlines" if found.displacement_mm < DOUBTFUL_MM else "offset"
