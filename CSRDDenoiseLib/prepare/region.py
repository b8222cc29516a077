"""Region: the part of a PET that is denoised; outside of it the result is the PET as it was measured.

A region is a mask in physical space on any grid: a point is inside where the nearest voxel is above zero, and outside
beyond the mask. A box, an oblique one too, is a mask of 2 x 2 x 2 voxels (:func:`box_region`).

The head is still found in the whole PET, so brain mean and noise description are those of a run without a region. The
network sees the region with :data:`~CSRDDenoiseLib.thresholds.REGION_MARGIN_MM` around it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import InputError
from ..findings import Finding, info
from ..io.grid import Grid, resample
from ..scan import Scan
from ..thresholds import REGION_MARGIN_MM

LEAST_HEAD_ML = 8.0
"""A cube of 20 mm, the smallest place whose noise is measured."""

Box = tuple[slice, ...]


def box_region(centre: Sequence[float], size: Sequence[float], axes: Sequence[Sequence[float]]) -> sitk.Image:
    """Return a box as a region.

    Args:
        centre: of the box, mm, L-P-S.
        size: length of its three sides, mm.
        axes: its three unit vectors, perpendicular, L-P-S, one after another.
    """
    directions = np.array(axes, float).T
    spacing = np.array(size, float) / 2
    origin = np.array(centre, float) - directions @ (spacing / 2)
    grid = Grid((2, 2, 2), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(directions.ravel().tolist()))
    return grid.image(np.ones((2, 2, 2), np.uint8))


def check_region(region: sitk.Image, pet: sitk.Image) -> None:
    """Refuse a region that holds nothing, or nothing of the PET.

    Raises:
        InputError: it is empty, or it lies outside of the PET.
    """
    values = sitk.GetArrayViewFromImage(region)
    if not (values > 0).any():
        raise InputError(f"The region is empty: none of its {values.size} voxels is above zero.")
    if not inside(region, Grid.of(pet)).any():
        apart = float(np.linalg.norm(Grid.of(region).corners().mean(0) - Grid.of(pet).corners().mean(0)))
        raise InputError(
            f"The region lies outside of the PET: the centres of the two are {apart:.0f} mm apart. Draw it on this PET."
        )


def inside(region: sitk.Image, grid: Grid) -> np.ndarray:
    """Return where a grid lies inside a region, boolean (D, H, W)."""
    mask = sitk.Cast(region > 0, sitk.sitkUInt8)
    return sitk.GetArrayFromImage(resample(mask, grid, sitk.sitkNearestNeighbor)).astype(bool)


def limited_scan(scan: Scan, region: sitk.Image) -> tuple[Scan, Box, Finding]:
    """Return the part of a scan that the network is to see, and where in the scan it lies.

    The head of the part is the head inside the region; brain mean and noise level are the whole head's.

    Args:
        scan: the PET on the model's grid, in the head's box.
        region: see :func:`check_region`.

    Raises:
        InputError: the region holds less than :data:`LEAST_HEAD_ML` of the head.
    """
    head, chosen = scan.head, scan.head.mask & inside(region, scan.grid)
    part_ml, head_ml = (float(mask.sum()) * scan.voxel_ml for mask in (chosen, head.mask))
    if part_ml < LEAST_HEAD_ML:
        raise InputError(
            f"The region holds {part_ml:.1f} mL of the head in the PET; at least {LEAST_HEAD_ML:g} mL are needed. "
            "Enlarge it, or denoise the whole head."
        )
    box = _with_margin(chosen, scan.spacing)
    whole = tuple(slice(0, side.stop - side.start) for side in box)
    part = Scan(scan.pet[box].copy(), scan.grid.crop(box), replace(head, mask=chosen[box].copy(), box=whole))
    for name in ("relative", "smoothed"):
        if name in scan.__dict__:
            part.__dict__[name] = scan.__dict__[name][box].copy()
    # noise is measured in the margin too: a cold region has no bright part of its own
    part.__dict__["core"] = scan.core[box].copy()
    part.__dict__["noise_level"] = scan.noise_level
    share = round(part_ml / head_ml, 4)
    return part, box, info("region.used", head_ml=round(part_ml, 1), share=share, margin_mm=REGION_MARGIN_MM)


def _with_margin(mask: np.ndarray, spacing: Sequence[float]) -> Box:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    margins = [int(np.ceil(REGION_MARGIN_MM / step)) for step in spacing]
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, margin, size in zip(found, margins, mask.shape)
    )
