"""The pictures to look at, in three planes: the volumes of a run side by side, and the MR's outline on the PET."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Mapping, Optional, Sequence, Union

import numpy as np
from scipy import ndimage

from ..scan import find_head, largest_component, smooth
from .drawing import ACCENT, GRID, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL_INCHES = 2.1
GAP = 0.06
BAR_HEIGHT = 0.05
WINDOW_QUANTILE = 0.999
ALIGNMENT_INCHES = 8.7
CALM_FWHM_MM = 4.0
HEAD_SHARE = 0.2
BORDER_COLOUR = "#1098ad"
SIDES = ("RLAP", "RLSI", "APSI")
_NO_MARGINS = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": GAP, "hspace": GAP}
DIFFERENCE, UNCERTAINTY = "difference", "uncertainty"


def write_comparison(
    volumes: Mapping[str, np.ndarray],
    target: Union[Path, BinaryIO],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    unit: str = "",
    notes: Optional[Mapping[str, str]] = None,
) -> None:
    """Write the picture of :func:`comparison_figure` as a PNG."""
    figure = comparison_figure(volumes, spacing, unit, notes)
    figure.savefig(target, format="png", bbox_inches="tight", facecolor="white")


def comparison_figure(
    volumes: Mapping[str, np.ndarray],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    unit: str = "",
    notes: Optional[Mapping[str, str]] = None,
) -> Figure:
    """Draw one column per volume and one row per plane, through the centre of the head.

    Volumes called "difference..." get a diverging colour table that is symmetric about zero, those called
    "uncertainty..." one that starts at zero, and all others share one grey-level window, so that they compare by eye.

    Args:
        volumes: name -> array (D, H, W), axes to superior, posterior and left, all of one shape; the first is a PET.
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
        grid[0, column].set_title("\n".join([name, (notes or {}).get(name, "")]).strip(), fontsize=10, color=INK)
        bar = figure.colorbar(shown, cax=grid[3, column], orientation="horizontal")
        bar.ax.tick_params(labelsize=7, color=INK, labelcolor=INK)
        bar.outline.set_edgecolor(GRID)
        bar.ax.locator_params(nbins=4)
        bar.set_label(unit, fontsize=8, color=INK)
    for row, letters in enumerate(SIDES):
        _name_sides(grid[row, 0], letters)
    return figure


def alignment_figure(pet: np.ndarray, mr: np.ndarray, spacing: Sequence[float]) -> Figure:
    """Draw contours of the MR over the PET in three planes through the centre of the head, all at one scale.

    The thick line is the outline of the head in the MR, the thin ones are borders between its tissues.

    Args:
        pet, mr: arrays (D, H, W) on one grid, axes to superior, posterior and left.
        spacing: voxel spacing in mm along (D, H, W).
    """
    box, centre = _head_box(pet, spacing), centre_of(pet, spacing)
    inside = tuple(index - part.start for index, part in zip(centre, box))
    calm, calm_mr = (smooth(volume, spacing, CALM_FWHM_MM) for volume in (pet, mr))
    solid = mr_head(calm_mr)
    # a mask has stairs; smoothed a little, its contour at one half is the same line without them
    rounded = ndimage.gaussian_filter(solid.astype(np.float32), 1.0)
    levels = tissue_levels(calm_mr[solid]) if solid.any() else []
    pets, tissues, outlines = (_planes(volume[box], inside, spacing) for volume in (calm, calm_mr * solid, rounded))
    widths, heights = zip(*((extent[1], extent[3]) for _, extent in pets))
    figure = new_figure(ALIGNMENT_INCHES, ALIGNMENT_INCHES * max(heights) / sum(widths))
    cells = figure.subplots(1, len(pets), gridspec_kw={"width_ratios": widths, **_NO_MARGINS})
    window = float(np.quantile(calm, WINDOW_QUANTILE)) or 1.0
    for axes, (image, extent), (tissue, _), (outline, _), letters in zip(cells, pets, tissues, outlines, SIDES):
        axes.imshow(image, extent=extent, cmap="gray_r", vmin=0.0, vmax=window, interpolation="bilinear")
        _contour(axes, tissue, levels, extent, colors=BORDER_COLOUR, linewidths=0.8)
        _contour(axes, outline, [0.5], extent, colors=ACCENT, linewidths=1.6)
        _blank(axes)
        _name_sides(axes, letters)
    return figure


def mr_head(mr: np.ndarray) -> np.ndarray:
    """Return where the head is in a smoothed MR, boolean (D, H, W): its largest bright part with all holes filled."""
    bright = mr > HEAD_SHARE * float(np.quantile(mr, 0.99))
    return ndimage.binary_fill_holes(largest_component(bright))


def tissue_levels(values: np.ndarray) -> list[float]:
    """Return the levels that part the values of an MR inside the head into three classes (Otsu), lowest first."""
    import SimpleITK as sitk

    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    otsu.Execute(sitk.GetImageFromArray(np.asarray(values, np.float32).reshape(1, -1)))
    # a contour at one level twice would be an error
    return sorted({float(level) for level in otsu.GetThresholds()})


def _contour(axes: Any, image: np.ndarray, levels: Sequence[float], extent: Sequence[float], **style: Any) -> None:
    inside = [level for level in levels if image.min() < level < image.max()]
    if inside:
        axes.contour(image, levels=inside, extent=extent, origin="upper", **style)


def centre_of(pet: np.ndarray, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the indices (z, y, x) where the three planes of the pictures meet."""
    box = _head_box(pet, spacing)
    return tuple(part.start + index for part, index in zip(box, _centre(pet[box])))


def _cells(columns: int, heights: Sequence[float]) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns): cells of one width and the given heights over it, evenly spaced."""
    rows, width = len(heights), columns + GAP * (columns - 1)
    height = sum(heights) * (1 + GAP * (rows - 1) / rows)
    figure = new_figure(CELL_INCHES * width, CELL_INCHES * height)
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights, **_NO_MARGINS})


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
    top = min(float(np.quantile(volume, WINDOW_QUANTILE)) for volume in pets)
    return top if top > 0 else 1.0


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
        side.set_color(GRID)


def _name_sides(axes: Any, letters: str) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    alignments = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, (x, y), (horizontal, vertical) in zip(letters, places, alignments):
        axes.text(x, y, letter, transform=axes.transAxes, fontsize=7, color="0.45", ha=horizontal, va=vertical)
