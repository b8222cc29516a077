"""How many counts a PET has against a full dose of the same scanner and protocol, from the noise of both.

A dose is a share of a full dose, and one image alone does not separate counts from dose. A full dose of the same head,
or of any other that was scanned and reconstructed in the same way, gives the scale:

- Noise without structure: the power near 0.45 cycles a voxel, about the finest detail the grid holds, where there is
  least structure. What there is stands at edges; so the power is averaged over 10 mm, and the lowest quarter of the
  deep brain is looked at.
- From noise to counts: the variance of a voxel is in proportion to its activity over the counts of each mL.
- A larger head spreads the same counts over more mL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage

from ..errors import InputError
from ..findings import Finding, warning
from ..prepare.align import to_model_grid
from ..scan import HOTTEST_BRAIN, Scan, smooth
from .depth import depth_mm
from .noise import SMALLEST_BRAIN_ML

CYCLES_PER_VOXEL, BAND_WIDTH = 0.45, 0.03
# of the PET as it came, where its voxels are larger than the model's: more than 0.5, for detail across the diagonal
CYCLES_PER_PET_VOXEL = 0.68
QUANTILE = 0.25
SPACING_TOLERANCE = 0.01
_LOCAL_MM = 10.0
_WINDOW_MM = 14.0
_MARGIN_MM = 18.0
_DEEP_MM = 6.0
LEAST_ACTIVITY = 0.3


@dataclass(frozen=True)
class CountNoise:
    """Noise of a PET, from which its counts follow.

    Attributes:
        power: of the noise over the activity, relative to the brain's mean; goes as one over the counts of a mL.
        head_ml: activity of the head over the brain's mean, mL: so much brain would have the same counts. No voxel
            counts more than :data:`~CSRDDenoiseLib.scan.HOTTEST_BRAIN` times, as those of a leak on the skin would.
    """

    power: float
    head_ml: float


def compare_counts(
    scan: Scan, sides: Sequence[float], reference: sitk.Image, spacing_mm: float
) -> tuple[tuple[Finding, ...], Optional[float]]:
    """Estimate the counts of a PET as a share of those of a full dose of the same scanner and protocol.

    Args:
        scan: the PET on the model's grid.
        sides: of the PET's own voxels, mm.
        reference: the full dose, of any head, checked to be a volume; of its field as much counts as of the scan's.
        spacing_mm: voxel side of the model's grid.

    Returns:
        Warnings, and the share; None where the two cannot be compared.
    """
    reference_sides = reference.GetSpacing()
    if not np.allclose(sorted(sides), sorted(reference_sides), rtol=SPACING_TOLERANCE):
        voxels = {"pet_sides": sorted(sides), "reference_sides": sorted(reference_sides)}
        return (warning("counts.other_protocol", **voxels),), None
    aligned = to_model_grid(reference, None, spacing_mm)
    whole = Scan(aligned.pet, aligned.grid, whole_field=scan.whole_field)
    full = count_noise(whole, min(reference_sides))
    low = count_noise(scan, min(sides))
    if not full or not low:
        return (warning("counts.too_little", which="PET" if full else "full-dose reference"),), None
    return (), share_of_counts(low, full)


def share_of_counts(pet: CountNoise, reference: CountNoise) -> float:
    """Return the counts of a PET over those of a reference."""
    return reference.power / pet.power * pet.head_ml / reference.head_ml


def count_noise(scan: Scan, voxel_mm: float) -> Optional[CountNoise]:
    """Measure the noise that counts leave in a PET; ``voxel_mm`` is the smallest side of its own voxels.

    Returns:
        The noise, or None where too little brain is seen, or no noise at all.
    """
    try:
        core = scan.core
    except InputError:
        return None
    deep = depth_mm(core, scan.spacing) > _DEEP_MM
    if core.sum() * scan.voxel_ml < SMALLEST_BRAIN_ML or not deep.any():
        return None
    box = ndimage.find_objects(core.astype(np.uint8))[0]
    detail = _finest_detail(scan, box, voxel_mm)
    local = smooth(np.square(detail, out=detail), scan.spacing, _LOCAL_MM)
    power = float(np.quantile(local[deep[box]] / np.maximum(scan.smoothed[deep], LEAST_ACTIVITY), QUANTILE))
    activity = np.minimum(scan.relative[scan.head.mask], HOTTEST_BRAIN)
    head_ml = float(activity.sum(dtype=np.float64)) * scan.voxel_ml
    return CountNoise(power, head_ml) if power > 0 and head_ml > 0 else None


def _finest_detail(scan: Scan, box: tuple[slice, ...], voxel_mm: float) -> np.ndarray:
    """The PET's part near the finest detail, in the core's box; soft edges keep the rest from leaking there."""
    step = float(np.mean(scan.spacing))
    middle = min(CYCLES_PER_VOXEL / step, CYCLES_PER_PET_VOXEL / voxel_mm)
    margins = [int(_MARGIN_MM / step) for step in scan.spacing]
    fine = _with_margins(scan.relative, box, margins)
    coarse = smooth(fine, scan.spacing, _WINDOW_MM)
    fine -= coarse
    del coarse
    fine *= smooth(_with_margins(scan.core, box, margins), scan.spacing, _WINDOW_MM)
    inner = tuple(slice(n, size - n) for n, size in zip(margins, fine.shape))
    shape = tuple(fft.next_fast_len(size, real=True) for size in fine.shape)
    spectrum = fft.rfftn(fine, shape)
    del fine
    z, y = (fft.fftfreq(n, side) for n, side in zip(shape, scan.spacing[:2]))
    in_plane = y[:, None] ** 2 + fft.rfftfreq(shape[2], scan.spacing[2]) ** 2
    # plane by plane, because the frequencies would take as much memory as the spectrum
    for along, plane in zip(z, spectrum):
        plane *= np.exp(-0.5 * ((np.sqrt(along**2 + in_plane) - middle) * step / BAND_WIDTH) ** 2)
    return fft.irfftn(spectrum, shape, overwrite_x=True)[inner]


def _with_margins(volume: np.ndarray, box: tuple[slice, ...], margins: list[int]) -> np.ndarray:
    """The box of a volume with what lies around it; beyond the volume its edge is repeated."""
    wide = tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(box, margins))
    missing = [
        (max(n - part.start, 0), max(part.stop + n - size, 0)) for part, n, size in zip(box, margins, volume.shape)
    ]
    return np.pad(volume[wide].astype(np.float32), missing, mode="edge")
