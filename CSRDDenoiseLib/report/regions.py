"""What denoising did to each region of a label map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..io.grid import Grid, resample
from ..scan import neighbours

MOST_REGIONS = 2000
FEWEST_OF_IMAGE, FEWEST_PAIRS, EQUAL_IN_IMAGE = 12, 1000, 0.2


@dataclass(frozen=True)
class Region:
    """One label, measured on the PET's grid.

    Attributes:
        label: number in the label map.
        millilitres: volume.
        before, after: mean activity in the PET and in the denoised PET, in the PET's unit.
        spread_before, spread_after: standard deviation over the voxels: noise and true differences together.
        uncertainty: mean of the uncertainty over what was denoised, or None.
    """

    label: int
    millilitres: float
    before: float
    after: float
    spread_before: float
    spread_after: float
    uncertainty: Optional[float]

    @property
    def change_percent(self) -> Optional[float]:
        """Change of the mean in percent; None where the mean was not positive."""
        return 100 * (self.after / self.before - 1) if self.before > 0 else None


def check_labels(labels: sitk.Image, pet: sitk.Image) -> None:
    """Refuse what is no label map, or one that does not reach the PET.

    Raises:
        InputError: values that are not whole numbers, too many of them, values of an image, or no label inside the PET.
    """
    values = sitk.GetArrayViewFromImage(labels)
    odd = int((~np.isfinite(values) | (values != np.floor(values))).sum())
    if odd:
        raise InputError(
            f"The label map has {odd} of {values.size} voxels that are not whole numbers; it may be an image."
        )
    found = labels_on(labels, Grid.of(pet))
    count = np.unique(found[found != 0]).size
    if not count:
        raise InputError("The label map has no label inside the PET; check that both lie in the same space.")
    if count > MOST_REGIONS:
        raise InputError(f"The label map has {count} labels, more than {MOST_REGIONS}; it may be an image.")
    equal = _equal_neighbours(values)
    if count >= FEWEST_OF_IMAGE and equal < EQUAL_IN_IMAGE:
        raise InputError(
            f"The label map looks like an image: it has {count} labels, and only {equal:.0%} of neighbouring voxels "
            f"have the same one ({EQUAL_IN_IMAGE:.0%} and more in regions). Choose a label map, or leave it out."
        )


def _equal_neighbours(values: np.ndarray) -> float:
    """Share of the pairs of labelled neighbours that have one label; 1 with too few pairs, as of single voxels.

    The limit was chosen on the bundled example: 47 to 76 % in its label map at 8 to 2 mm, 4 to 5 % in its MR and 6 % in
    its PET, both of whole numbers.
    """
    pairs = equal = 0
    for one, other in neighbours(values):
        labelled = (one != 0) & (other != 0)
        pairs += int(np.count_nonzero(labelled))
        equal += int(np.count_nonzero(labelled & (one == other)))
    return equal / pairs if pairs >= FEWEST_PAIRS else 1.0


def labels_on(labels: sitk.Image, grid: Grid) -> np.ndarray:
    """Return the labels (D, H, W) on a grid, each voxel with the label nearest to its centre; 0 outside the map."""
    return sitk.GetArrayFromImage(resample(labels, grid, sitk.sitkNearestNeighbor)).astype(np.int64)


def measure_regions(
    labels: np.ndarray, pet: np.ndarray, denoised: np.ndarray, uncertainty: Optional[np.ndarray], voxel_ml: float
) -> list[Region]:
    """Measure every label but 0 in arrays of one shape, in the order of the labels; ``voxel_ml`` in millilitres."""
    inside = labels != 0
    found, which = np.unique(labels[inside], return_inverse=True)
    numbers = np.arange(len(found))
    before, after = pet[inside], denoised[inside]
    means = (ndimage.mean(values, which, numbers) for values in (before, after))
    spreads = (ndimage.standard_deviation(values, which, numbers) for values in (before, after))
    measured = (np.asarray(values, float).tolist() for values in (np.bincount(which) * voxel_ml, *means, *spreads))
    uncertain = [None] * len(found) if uncertainty is None else _means_of_known(uncertainty[inside], which, len(found))
    return [Region(*values) for values in zip(found.tolist(), *measured, uncertain)]


def _means_of_known(values: np.ndarray, which: np.ndarray, count: int) -> list[Optional[float]]:
    """Mean of each group's values above 0, None without any: what was not denoised has no uncertainty."""
    known = values > 0
    sums, counts = (np.bincount(which[known], weights, count) for weights in (values[known], None))
    return [float(total) / int(voxels) if voxels else None for total, voxels in zip(sums, counts)]
