"""Does the output keep what the counts tell and no more? Checks of a denoised PET against the PET it was made from.

The PET is signal plus noise. What a good denoiser takes away is noise, which has nothing to do with what it keeps; so

- what is taken away, where it looks like a piece of what is kept at 5 to 12 mm, is lost structure (over-smoothing);
- what is kept, where it looks like a piece of what is taken away at the size of voxels, is leftover noise;
- what is taken away or added, averaged over 8 to 14 mm, where counts are many, must be small; where it is larger than
  noise allows, structure was added or removed that the counts do not support.

The full dose in place of the output passes all three: thinning adds noise that is independent of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np
from scipy import ndimage

from ..io.grid import Grid
from ..scan import BRAIN_THRESHOLD, HEAD_SMOOTHING_MM, robust_std, smooth

ADDED, REMOVED = 1, 2
LOST_LIMIT = 0.25
LEFTOVER_LIMIT = 0.4
LEFTOVER_LEVEL = 0.01
SCALES_MM = (8.0, 14.0)
UNSUPPORTED_Z = 5.0
LEAST_CHANGE = 0.06
SMALLEST_ML = 0.2
_STRUCTURE_MM = (5.0, 12.0)
_AROUND = 3.0
_SMALLEST_BRAIN_ML = 100.0
NOT_JUDGED = (
    "The map of unsupported structure is empty because the PET shows less than "
    f"{_SMALLEST_BRAIN_ML:g} mL of brain, too little to judge the result by its counts."
)
"""The warning where the map was asked for."""


@dataclass(frozen=True)
class Output:
    """A result on the model's grid, in the head's box, relative to the brain's mean; arrays (D, H, W).

    Attributes:
        pet: the input.
        denoised: the output.
        mask: the head.
        grid: where they lie.
    """

    pet: np.ndarray
    denoised: np.ndarray
    mask: np.ndarray
    grid: Grid

    @property
    def spacing(self) -> Sequence[float]:
        """Voxel sides in mm, (D, H, W)."""
        return self.grid.array_spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing)) / 1000

    def activity(self) -> np.ndarray:
        """The heavily smoothed PET."""
        return smooth(self.pet, self.spacing, HEAD_SMOOTHING_MM)


def check_output(output: Output) -> tuple[list[str], dict[str, Any], np.ndarray]:
    """Run the three checks.

    Returns:
        Warnings, facts, and a label map uint8 (D, H, W): :data:`ADDED` and :data:`REMOVED` where the counts do not
        support the output, else 0, and 0 everywhere with ``judged`` False where too little brain is seen.
    """
    brain = brain_of(output)
    if brain.sum() * output.voxel_ml < _SMALLEST_BRAIN_ML:
        return [], {"judged": False}, np.zeros(brain.shape, np.uint8)
    lost, leftover, level = lost_structure(output, brain), *leftover_noise(output, brain)
    labels = unsupported(output)
    facts = {
        "judged": True,
        "lost_structure": round(lost, 3),
        "leftover_noise": round(leftover, 3),
        "leftover_level": round(level, 4),
    }
    warnings = []
    if lost > LOST_LIMIT:
        warnings.append(
            f"The result is over-smoothed: about {lost:.0%} of the structure of 5 to 12 mm that the PET's counts show "
            f"is missing (up to {LOST_LIMIT:.0%} is usual). Small lesions may have lost contrast; compare with the PET."
        )
    if leftover > LEFTOVER_LIMIT and level > LEFTOVER_LEVEL:
        warnings.append(
            f"Noise is left over: about {leftover:.0%} of the fine noise that was found is still in the result, "
            f"{level:.1%} of the brain's mean."
        )
    sentence, regions = _tell_regions(output, labels)
    return [*warnings, *sentence], {**facts, "unsupported": regions}, labels


def brain_of(output: Output) -> np.ndarray:
    """Where the checks look: bright tissue, boolean (D, H, W)."""
    return output.mask & (output.activity() > BRAIN_THRESHOLD)


def lost_structure(output: Output, brain: np.ndarray) -> float:
    """Share of the structure of 5 to 12 mm that the output lacks, 0 to 1.

    The regression of what was taken away on the output in that band: 0 for an output that what was taken away is
    independent of, as for the full dose; (1 - g) / g where the band is damped by a factor g.
    """
    # brain voxels only, taken at once: at whole-body size every volume kept is another half gigabyte
    fine, coarse = (smooth(output.denoised, output.spacing, width)[brain] for width in _STRUCTURE_MM)
    kept, taken = fine - coarse, output.pet[brain] - output.denoised[brain]
    energy = float(kept @ kept)
    slope = max(float(taken @ kept) / energy, 0.0) if energy > 0 else 0.0
    return slope / (1 + slope)


def leftover_noise(output: Output, brain: np.ndarray) -> tuple[float, float]:
    """Share of the fine noise that is still in the output, 0 to 1, and its standard deviation."""
    whole, kept = (_fine(volume, brain) for volume in (output.pet, output.denoised))
    taken = whole - kept
    energy = float(taken @ taken)
    slope = max(float(kept @ taken) / energy, 0.0) if energy > 0 else 0.0
    return slope / (1 + slope), slope * float(taken.std())


def unsupported(output: Output) -> np.ndarray:
    """Mark where the output differs from the PET by more than noise allows, uint8 (D, H, W).

    The change is averaged with Gaussians of 8 and 14 mm and divided by the root of the activity, to which the noise of
    counts is proportional; what is usual is the robust standard deviation over the brain. More than 5 of it, and more
    than 6 % of the brain's mean, over 0.2 mL is marked: added where it raises the contrast to the surroundings, removed
    where it lowers it.
    """
    activity = output.activity()
    brain = output.mask & (activity > BRAIN_THRESHOLD)
    root = np.sqrt(activity[brain])
    del activity
    labels = np.zeros(brain.shape, np.uint8)
    for width in SCALES_MM:
        change = smooth(output.denoised - output.pet, output.spacing, width)[brain]
        usual = robust_std(change / root)
        if usual <= 0:
            continue
        marked = brain.copy()
        marked[brain] = np.abs(change) > np.maximum(UNSUPPORTED_Z * usual * root, LEAST_CHANGE)
        marked = _large_enough(marked, output.voxel_ml)
        if not marked.any():
            continue
        here, around = (smooth(output.denoised, output.spacing, factor * width)[marked] for factor in (1.0, _AROUND))
        labels[marked] = np.where(change[marked[brain]] * (here - around) > 0, ADDED, REMOVED)
    return labels


def _tell_regions(output: Output, labels: np.ndarray) -> tuple[list[str], dict[str, Any]]:
    parts, count = ndimage.label(labels > 0)
    facts = {
        "regions": int(count),
        "added_ml": round(float((labels == ADDED).sum()) * output.voxel_ml, 2),
        "removed_ml": round(float((labels == REMOVED).sum()) * output.voxel_ml, 2),
    }
    if not count:
        return [], facts
    sizes = np.bincount(parts.ravel())[1:]
    centre = ndimage.center_of_mass(parts == int(sizes.argmax()) + 1)
    place = ", ".join(f"{value:.0f}" for value in output.grid.point(centre[::-1]))
    change = smooth(output.denoised - output.pet, output.spacing, SCALES_MM[0])[labels > 0]
    largest = float(change[np.abs(change).argmax()])
    facts["largest_change"] = round(largest, 3)
    return [
        f"The PET's counts do not support the result in {count} place{'s' if count > 1 else ''}: structure of "
        f"{facts['added_ml']:.1f} mL was added and of {facts['removed_ml']:.1f} mL removed, by up to {largest:+.0%} of "
        f"the brain's mean, most around ({place}) mm (L, P, S). Look at the PET there."
    ], facts


def _large_enough(marked: np.ndarray, voxel_ml: float) -> np.ndarray:
    parts, count = ndimage.label(marked)
    if not count:
        return marked
    enough = np.bincount(parts.ravel()) * voxel_ml >= SMALLEST_ML
    enough[0] = False
    return enough[parts]


def _fine(volume: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """What a mean over 3 x 3 x 3 voxels takes away, in the brain."""
    return volume[brain] - ndimage.uniform_filter(volume, 3)[brain]
