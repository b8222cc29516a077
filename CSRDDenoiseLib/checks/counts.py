"""How many counts a PET has against a full dose of the same scanner and protocol, from the noise of both.

A dose is a share of a full dose, and nothing in one image tells counts and dose apart. A full dose of the same head, or
of any other that was scanned and reconstructed in the same way, gives the scale:

- Noise without structure: the power near 0.45 cycles a voxel, about the finest detail the grid holds, where there is
  least structure. What there is stands at edges; so the power is averaged over 10 mm, and the lowest quarter of the
  deep brain is looked at.
- From noise to counts: the variance of a voxel is in proportion to its activity over the counts of each mL.
- A larger head spreads the same counts over more mL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage

from ..prepare.align import to_model_grid
from ..scan import bright_core, find_head, smooth
from .noise import SMALLEST_BRAIN_ML
from .sanity import View, depth_mm

CYCLES_PER_VOXEL, BAND_WIDTH = 0.45, 0.03
# of the PET as it came, where its voxels are larger than the model's: more than 0.5, for detail across the diagonal
CYCLES_PER_PET_VOXEL = 0.68
QUANTILE = 0.25
SPACING_TOLERANCE = 0.01
_LOCAL_MM = 10.0
_WINDOW_MM = 14.0
_MARGIN_MM = 18.0
_DEEP_MM = 6.0
_LEAST_ACTIVITY = 0.3


@dataclass(frozen=True)
class CountNoise:
    """What the noise of a PET says about its counts.

    Attributes:
        power: of the noise over the activity, relative to the brain's mean; goes as one over the counts of a mL.
        head_ml: activity of the head over the brain's mean, mL: so much brain would have the same counts.
    """

    power: float
    head_ml: float


def compare_counts(view: View, reference: sitk.Image, spacing_mm: float) -> tuple[list[str], Optional[float]]:
    """Estimate the counts of a PET as a share of those of a full dose of the same scanner and protocol.

    Args:
        view: the PET.
        reference: the full dose, of any head, checked to be a volume.
        spacing_mm: voxel side of the model's grid.

    Returns:
        Warnings, and the share; None where the two cannot be compared.
    """
    voxels = [sorted(image.GetSpacing()) for image in (view.pet, reference)]
    if not np.allclose(*voxels, rtol=SPACING_TOLERANCE):
        pet, other = (" x ".join(f"{side:.2f}" for side in sides) for sides in voxels)
        return [
            f"The full-dose reference has voxels of {other} mm and the PET of {pet} mm, so they are not of one "
            "protocol and their noise was not compared. Give a full dose that was reconstructed like the PET."
        ], None
    aligned = to_model_grid(reference, None, spacing_mm)
    head = find_head(aligned.pet, aligned.grid.array_spacing)
    full = head and count_noise(View(reference, aligned, head))
    low = count_noise(view)
    if not full or not low:
        which = "PET" if full else "full-dose reference"
        return [f"The {which} shows too little noise or brain to compare its counts; the dose is not known."], None
    return [], share_of_counts(low, full)


def share_of_counts(pet: CountNoise, reference: CountNoise) -> float:
    """Return the counts of a PET over those of a reference."""
    return reference.power / pet.power * pet.head_ml / reference.head_ml


def count_noise(view: View) -> Optional[CountNoise]:
    """Measure the noise that counts leave in a PET; None where too little brain is seen, or no noise at all."""
    core = bright_core(view.relative, view.head.mask, view.spacing, view.smoothed)
    voxel_ml = float(np.prod(view.spacing)) / 1000
    deep = depth_mm(core, view.spacing) > _DEEP_MM
    if core.sum() * voxel_ml < SMALLEST_BRAIN_ML or not deep.any():
        return None
    box = ndimage.find_objects(core.astype(np.uint8))[0]
    detail = _finest_detail(view, core, box)
    local = smooth(np.square(detail, out=detail), view.spacing, _LOCAL_MM)
    power = float(np.quantile(local[deep[box]] / np.maximum(view.smoothed[deep], _LEAST_ACTIVITY), QUANTILE))
    head_ml = float(view.relative[view.head.mask].sum(dtype=np.float64)) * voxel_ml
    return CountNoise(power, head_ml) if power > 0 and head_ml > 0 else None


def _finest_detail(view: View, core: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    """The PET's part near the finest detail, in the core's box; soft edges keep the rest from leaking there."""
    step = float(np.mean(view.spacing))
    middle = min(CYCLES_PER_VOXEL / step, CYCLES_PER_PET_VOXEL / min(view.pet.GetSpacing()))
    margins = [int(_MARGIN_MM / step) for step in view.spacing]
    fine = _with_margins(view.relative, box, margins)
    coarse = smooth(fine, view.spacing, _WINDOW_MM)
    fine -= coarse
    del coarse
    fine *= smooth(_with_margins(core, box, margins), view.spacing, _WINDOW_MM)
    inner = tuple(slice(n, size - n) for n, size in zip(margins, fine.shape))
    shape = tuple(fft.next_fast_len(size, real=True) for size in fine.shape)
    spectrum = fft.rfftn(fine, shape)
    del fine
    z, y = (fft.fftfreq(n, side) for n, side in zip(shape, view.spacing[:2]))
    in_plane = y[:, None] ** 2 + fft.rfftfreq(shape[2], view.spacing[2]) ** 2
    # plane by plane, because the frequencies would take as much memory as the spectrum
    for along, plane in zip(z, spectrum):
        plane *= np.exp(-0.5 * ((np.sqrt(along**2 + in_plane) - middle) * step / BAND_WIDTH) ** 2)
    return fft.irfftn(spectrum, shape, overwrite_x=True)[inner]


def _with_margins(volume: np.ndarray, box: tuple[slice, ...], margins: list[int]) -> np.ndarray:
    """The box of a volume with what lies around it; beyond the volume its edge goes on."""
    wide = tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(box, margins))
    missing = [
        (max(n - part.start, 0), max(part.stop + n - size, 0)) for part, n, size in zip(box, margins, volume.shape)
    ]
    return np.pad(volume[wide].astype(np.float32), missing, mode="edge")
