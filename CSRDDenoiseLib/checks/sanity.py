"""Does the input look like what the method is for? One sentence for each thing that does not, with the numbers.

The limits lie between simulated heads that have a fault and such that have none; how often each is found and how
often it is found in vain is measured by the experiment ``signatures`` (docs/evaluation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..io.read import units_of
from ..prepare.align import Aligned
from ..scan import BRAIN_THRESHOLD, FWHM_PER_SIGMA, HEAD_SMOOTHING_MM, HEAD_THRESHOLD, Head, noise_level, smooth
from .noise import blur_fwhm_mm, texture

SMALLEST_HEAD_ML = 500.0
FILTERED_MM = 7.5
CUT_AREA_CM2 = 6.0
UNCORRECTED_SCORE = 0.5
LARGEST_ANISOTROPY = 2.0
T1_DEPTH_CONTRAST = 0.2
ENHANCED_TAIL = 1.42
SUV_RANGE = (0.3, 50.0)
BQ_PER_ML_RANGE = (300.0, 1e6)
_BLANK = 0.02
_DEPTHS = (0.0, 0.2, 0.4, 0.7, 1.0)
_SHALLOW_MM, _DEEP_MM = (4.0, 12.0), (18.0, 32.0)
_ENDS = (("bottom", "top"), ("front", "back"), ("right", "left"))

Finding = tuple[Optional[str], dict[str, Any]]
"""A sentence where something is wrong, and what was measured."""


@dataclass(frozen=True)
class View:
    """What the checks look at; what several of them need is worked out once.

    Attributes:
        pet: as it was read, checked to be a volume.
        aligned: PET and MR on the model's grid, the whole volume.
        head: the head in it.
    """

    pet: sitk.Image
    aligned: Aligned
    head: Head

    @property
    def spacing(self) -> Sequence[float]:
        """Voxel sides of the model's grid in mm, (D, H, W)."""
        return self.aligned.grid.array_spacing

    @property
    def volume_ml(self) -> float:
        """Volume of the head with its margin."""
        return float(self.head.mask.sum() * np.prod(self.spacing) / 1000)

    @cached_property
    def relative(self) -> np.ndarray:
        """The PET relative to the brain's mean, float32."""
        return np.asarray(self.aligned.pet / self.head.scale, np.float32)

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The same, smoothed as for finding the head."""
        return smooth(self.relative, self.spacing, HEAD_SMOOTHING_MM)

    @cached_property
    def level(self) -> float:
        """The noise level."""
        return noise_level(self.relative, self.head.mask, self.spacing, self.smoothed)

    @cached_property
    def texture(self) -> Optional[np.ndarray]:
        """What :func:`CSRDDenoiseLib.checks.noise.texture` makes of the PET."""
        return texture(self.relative, self.head.mask, self.spacing, self.smoothed)


def check_input(view: View) -> tuple[list[str], dict[str, Any]]:
    """Look for everything this module knows; returns warnings, and facts by the name of the check."""
    checks: dict[str, Callable[[View], Finding]] = {
        "unit": check_unit,
        "voxels": check_voxels,
        "blank_slices": check_blank_slices,
    }
    if view.volume_ml >= SMALLEST_HEAD_ML:
        checks |= {
            "cut": check_cut,
            "filtering": check_filtering,
            "attenuation": check_attenuation,
            "mr": check_contrast,
        }
    findings = {name: check(view) for name, check in checks.items()}
    warnings = [sentence for sentence, _ in findings.values() if sentence]
    if view.volume_ml < SMALLEST_HEAD_ML:
        warnings.append(
            f"Only {view.volume_ml:.0f} mL stand out in the PET, less than any head of the training "
            f"({SMALLEST_HEAD_ML:.0f} mL and more): part of the head may be missing."
        )
    facts = {name: measured for name, (_, measured) in findings.items() if measured}
    return warnings, {"head_ml": round(view.volume_ml), **facts}


def check_unit(view: View) -> Finding:
    """Is the unit told by the file, or at least clear from the values?"""
    told, mean = units_of(view.pet), view.head.scale
    if told != "unknown":
        return None, {"told": told}
    guesses = {"SUV": SUV_RANGE, "Bq/mL": BQ_PER_ML_RANGE}
    looks_like = next((name for name, (low, high) in guesses.items() if low <= mean <= high), None)
    facts = {"told": told, "looks_like": looks_like or "neither SUV nor Bq/mL", "brain_mean": float(f"{mean:.4g}")}
    if looks_like:
        return None, facts
    return (
        f"The file does not tell the PET's unit, and a brain mean of {mean:.3g} is like neither SUV nor Bq/mL; the "
        "result has the same unit and needs no other, but check that it is a PET and how it was scaled.",
        facts,
    )


def check_voxels(view: View) -> Finding:
    """Are the voxels far from cubes?"""
    sides = view.pet.GetSpacing()
    ratio = max(sides) / min(sides)
    facts = {"anisotropy": round(ratio, 2)}
    if ratio <= LARGEST_ANISOTROPY:
        return None, facts
    told = " x ".join(f"{side:.2f}" for side in sides)
    return (
        f"The PET's voxels of {told} mm are {ratio:.1f} times longer than wide; the model was trained on cubes, so "
        "detail along the long side is less sure.",
        facts,
    )


def check_blank_slices(view: View) -> Finding:
    """Are there slices of a single value between others?"""
    values = sitk.GetArrayViewFromImage(view.pet)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        blank = values.max(axis=others) == values.min(axis=others)
        filled = np.flatnonzero(~blank)
        gaps = [int(index) for index in np.flatnonzero(blank) if filled[0] < index < filled[-1]]
        if gaps:
            where = f"axis {3 - axis} of the file"
            return (
                f"{len(gaps)} of the PET's {blank.size} slices along {where} hold one value only, the first of them is "
                f"number {gaps[0] + 1}: data are missing there. Export the PET again.",
                {"count": len(gaps), "axis": 3 - axis, "first": gaps[0] + 1},
            )
    return None, {"count": 0}


def check_cut(view: View) -> Finding:
    """Does the brain reach an edge of the image, or of what is left of it beside empty slices?"""
    box = tuple(_filled(view.relative.max(axis=tuple({0, 1, 2} - {axis})) > _BLANK) for axis in range(3))
    areas = {}
    for axis, names in enumerate(_ENDS):
        pixel_cm2 = float(np.prod([step for a, step in enumerate(view.spacing) if a != axis])) / 100
        for name, end in zip(names, (0, -1)):
            areas[name] = float(_bright_face(view, box, axis, end).sum()) * pixel_cm2
    cut = {name: round(area, 1) for name, area in areas.items() if area > CUT_AREA_CM2}
    if not cut:
        return None, {"edges_cm2": {}}
    told = ", ".join(f"{name} ({area:.0f} cm²)" for name, area in cut.items())
    return (
        f"The head is cut off: bright tissue reaches the edge of the image at the {told}. Near the cut the result is "
        "less sure, and the brain's mean is taken from what is left.",
        {"edges_cm2": cut},
    )


def _bright_face(view: View, box: Sequence[slice], axis: int, end: int) -> np.ndarray:
    """Where the first (end 0) or last (-1) plane of a box is bright, smoothed with nothing from beyond the box."""
    seen = int(3 * HEAD_SMOOTHING_MM / FWHM_PER_SIGMA / view.spacing[axis]) + 2
    part, slab = box[axis], list(box)
    ends = (
        (part.start, min(part.start + seen, part.stop)) if end == 0 else (max(part.stop - seen, part.start), part.stop)
    )
    slab[axis] = slice(*ends)
    bright = smooth(view.relative[tuple(slab)], view.spacing, HEAD_SMOOTHING_MM) > BRAIN_THRESHOLD
    return (bright & view.head.mask[tuple(slab)]).take(end, axis)


def check_filtering(view: View) -> Finding:
    """Is the finest detail wider than any reconstruction of the training leaves it?"""
    if view.texture is None:
        return None, {}
    width = blur_fwhm_mm(view.texture)
    facts = {"detail_mm": round(width, 1)}
    if width <= FILTERED_MM:
        return None, facts
    return (
        f"The PET looks filtered already: its finest detail is about {width:.1f} mm wide, that of scans as they are "
        f"reconstructed for this model at most {FILTERED_MM:g} mm. Give the PET before filtering, if there is one.",
        facts,
    )


def check_attenuation(view: View) -> Finding:
    """Is the rim hot and the middle cold, as without correction for attenuation?

    The score is rim times shell over the square of the centre, each a median of the smoothed PET at a share of the
    head's depth: 0 to 20 %, 40 to 70 % and more than 70 %.
    """
    smoothed = view.smoothed
    depth = depth_mm(_without_holes(smoothed > HEAD_THRESHOLD * float(np.quantile(smoothed, 0.99))), view.spacing)
    depth /= max(float(depth.max()), 1e-3)
    zones = (smoothed[(depth > low) & (depth <= high)] for low, high in zip(_DEPTHS, _DEPTHS[1:]))
    rim, _, shell, centre = (float(np.median(zone)) if zone.size else np.nan for zone in zones)
    score = rim * shell / max(centre, 1e-3) ** 2
    if not np.isfinite(score):
        return None, {}
    facts = {"rim": round(rim, 3), "centre": round(centre, 3), "score": round(score, 3)}
    if score <= UNCORRECTED_SCORE:
        return None, facts
    return (
        f"The PET may lack the correction for attenuation: the rim of the head has {rim / centre:.0%} and the shell "
        f"below it {shell / centre:.0%} of the activity at its centre, a hot rim and a cold centre. Check the "
        "reconstruction.",
        facts,
    )


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """The same mask with what it encloses."""
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.view(np.uint8)))).view(bool)


def depth_mm(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm of each voxel of a mask from the nearest one that is not in it; 0 or less outside.

    Worked out in its bounding box, by Maurer's transform, which takes a third of the memory of SciPy's.
    """
    depth = np.zeros(mask.shape, np.float32)
    if mask.any() and not mask.all():
        inside = ndimage.find_objects(mask.view(np.uint8))[0]
        box = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in inside)
        outside = sitk.GetImageFromArray((~mask[box]).view(np.uint8))
        outside.SetSpacing([float(step) for step in spacing[::-1]])
        found = sitk.SignedMaurerDistanceMap(outside, squaredDistance=False, useImageSpacing=True)
        depth[box] = sitk.GetArrayViewFromImage(found)
    return depth


def check_contrast(view: View) -> Finding:
    """Is the MR in doubt as T1 without contrast agent: deep brain no brighter than cortex, or very bright spots?"""
    if view.aligned.mr is None:
        return None, {}
    brain = ndimage.binary_opening(view.head.mask & (view.smoothed > BRAIN_THRESHOLD), iterations=2)
    depth = depth_mm(_without_holes(brain), view.spacing)
    values = view.aligned.mr
    shallow, deep = (values[(depth > low) & (depth <= high)] for low, high in (_SHALLOW_MM, _DEEP_MM))
    inside = values[depth > _SHALLOW_MM[0]]
    if not deep.size:
        return None, {}
    middle, top, tail = np.quantile(inside, (0.5, 0.95, 0.998))
    if middle <= 0:
        return None, {}
    contrast = float((np.median(deep) - np.median(shallow)) / middle)
    facts = {"depth_contrast": round(contrast, 3), "tail": round(float(tail / top), 3)}
    if contrast < T1_DEPTH_CONTRAST:
        return (
            f"The MR may not be T1-weighted: the deep brain is {contrast:+.0%} brighter than the cortex, and "
            f"{T1_DEPTH_CONTRAST:.0%} or more is usual for T1. The model was trained mostly on T1.",
            facts,
        )
    if facts["tail"] > ENHANCED_TAIL:
        return (
            f"The MR may be taken after contrast agent: its brightest spots in the brain are {facts['tail']:.2f} times "
            f"as bright as its bright tissue, and up to {ENHANCED_TAIL:g} is usual. Vessels could show in the PET.",
            facts,
        )
    return None, facts


def _filled(present: np.ndarray) -> slice:
    found = np.flatnonzero(present)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(None)
