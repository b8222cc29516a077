"""The picture to look at: PET, denoised, difference, uncertainty and full dose in three planes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import numpy as np
from scipy import ndimage

from ..pipeline.normalise import find_head

CELL_INCHES = 2.1
GAP = 0.06
BAR_HEIGHT = 0.05
WINDOW_QUANTILE = 0.999
DIFFERENCE, UNCERTAINTY = "difference", "uncertainty"


def comparison_figure(
    volumes: Mapping[str, np.ndarray],
    path: Path,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    unit: str = "",
    notes: Optional[Mapping[str, str]] = None,
) -> None:
    """Write a PNG with one column per volume and one row per plane, through the centre of the head.

    Volumes called "difference..." get a diverging colour table that is symmetric about zero, those called
    "uncertainty..." one that starts at zero, and all others share one grey-level window, so that they compare by eye.

    Args:
        volumes: name -> array (D, H, W), axes to superior, posterior and left, all of one shape; the first is a PET.
        path: where to write the PNG.
        spacing: voxel spacing in mm along (D, H, W).
        unit: of the voxel values, for the colour bars.
        notes: name -> a line under the column's title, for instance "31.2 dB".
    """
    first = next(iter(volumes.values()))
    box = _head_box(first, spacing)
    centre = _centre(first[box])
    planes = [_planes(volume[box], centre, spacing) for volume in volumes.values()]
    heights = [image_extent[3] / image_extent[1] for _, image_extent in planes[0]]
    figure, grid = _cells(len(volumes), [*heights, BAR_HEIGHT])
    window = _window(volumes)
    for column, name in enumerate(volumes):
        style = _style(name, volumes[name][box], window)
        for row, (image, extent) in enumerate(planes[column]):
            shown = grid[row, column].imshow(image, extent=extent, interpolation="bilinear", **style)
            _blank(grid[row, column])
        grid[0, column].set_title("\n".join([name, (notes or {}).get(name, "")]).strip(), fontsize=10)
        bar = figure.colorbar(shown, cax=grid[3, column], orientation="horizontal")
        bar.ax.tick_params(labelsize=7)
        bar.ax.locator_params(nbins=4)
        bar.set_label(unit, fontsize=8)
    for row, letters in enumerate(("RLAP", "RLSI", "APSI")):
        _name_sides(grid[row, 0], letters)
    figure.savefig(path, bbox_inches="tight", facecolor="white")


def _cells(columns: int, heights: Sequence[float]) -> tuple[Any, np.ndarray]:
    """A figure and its axes (rows, columns): cells of one width and the given heights over it, evenly spaced."""
    from matplotlib.figure import Figure

    rows, width = len(heights), columns + GAP * (columns - 1)
    height = sum(heights) * (1 + GAP * (rows - 1) / rows)
    figure = Figure(figsize=(CELL_INCHES * width, CELL_INCHES * height), dpi=130)
    layout = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": GAP, "hspace": GAP}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights, **layout})


def _head_box(pet: np.ndarray, spacing: Sequence[float]) -> tuple[slice, ...]:
    head = find_head(pet, spacing)
    return head.box if head else tuple(slice(0, n) for n in pet.shape)


def _centre(pet: np.ndarray) -> tuple[int, ...]:
    weight = np.clip(pet, 0, None)
    return tuple(round(c) for c in ndimage.center_of_mass(weight if weight.any() else np.ones_like(weight)))


def _planes(
    volume: np.ndarray, centre: Sequence[int], spacing: Sequence[float]
) -> list[tuple[np.ndarray, tuple[float, float, float, float]]]:
    """Axial, coronal and sagittal slices as the reader of a scan expects them, with their extent in mm."""
    z, y, x = centre
    dz, dy, dx = spacing
    # the first row is drawn on top: anterior in the axial plane, superior (the last one) in the two others
    slices = [(volume[z], dy, dx), (volume[::-1, y], dz, dx), (volume[::-1, :, x], dz, dy)]
    return [(image, (0.0, image.shape[1] * across, 0.0, image.shape[0] * down)) for image, down, across in slices]


def _window(volumes: Mapping[str, np.ndarray]) -> float:
    pets = [volume for name, volume in volumes.items() if not name.lower().startswith((DIFFERENCE, UNCERTAINTY))]
    # the quietest volume sets the window: the noise of a low dose would stretch it
    return max(min(float(np.quantile(volume, WINDOW_QUANTILE)) for volume in pets), np.finfo(np.float32).tiny)


def _style(name: str, volume: np.ndarray, window: float) -> dict:
    if name.lower().startswith(DIFFERENCE):
        limit = float(np.quantile(np.abs(volume), WINDOW_QUANTILE)) or 1.0
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    if name.lower().startswith(UNCERTAINTY):
        return {"cmap": "magma_r", "vmin": 0.0, "vmax": float(np.quantile(volume, WINDOW_QUANTILE)) or 1.0}
    return {"cmap": "gray_r", "vmin": 0.0, "vmax": window}


def _blank(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("0.8")


def _name_sides(axes: Any, letters: str) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    alignments = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, (x, y), (horizontal, vertical) in zip(letters, places, alignments):
        axes.text(x, y, letter, transform=axes.transAxes, fontsize=7, color="0.45", ha=horizontal, va=vertical)
