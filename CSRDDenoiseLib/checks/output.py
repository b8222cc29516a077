"""Does the output keep what the counts show and no more? Checks of a denoised PET against the PET it was made from.

The PET is signal plus noise. What a good denoiser takes away is noise, which has nothing to do with what it keeps; so

- what is taken away, where it looks like a piece of what is kept at 5 to 12 mm, is lost structure (over-smoothing);
- what is kept, where it looks like a piece of what is taken away at the size of voxels, is leftover noise;
- what is taken away or added, averaged over 8 to 14 mm, where counts are many, must be small; where it is larger than
  noise allows, structure was added or removed that the counts do not support.

The full dose in place of the output passes all three: thinning adds noise that is independent of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..findings import Finding, info
from ..io.grid import Grid
from ..restore.canvas import Canvas, Restored
from ..scan import Scan
from ..thresholds import BRAIN_THRESHOLD
from .fine_band import check_fine_band
from .leftover_noise import check_leftover_noise
from .lost_structure import check_lost_structure
from .masked import check_masked
from .mean import check_mean
from .noise import SMALLEST_BRAIN_ML
from .pair import Output
from .unsupported import check_unsupported

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata


@dataclass(frozen=True)
class Assessed:
    """What the checks of a result found.

    Attributes:
        findings: of all of them.
        support: the map of unsupported structure on the PET's grid.
        mean_change: relative change of the brain mean by the model's estimate.
    """

    findings: tuple[Finding, ...]
    support: sitk.Image
    mean_change: float


def assess(canvas: Canvas, scan: Scan, estimate: np.ndarray, restored: Restored, metadata: ModelMetadata) -> Assessed:
    """Judge a result by the counts of the PET.

    Args:
        canvas: the PET as it was read.
        scan: the PET on the model's grid, in the head's box.
        estimate: of the model, estimate - PET, (D, H, W) in the PET's unit.
        restored: the result.
        metadata: of the model.
    """
    change, about_mean = check_mean(scan, estimate, restored.residual, bool(metadata.training))
    about_counts, labels = judge_output(Output(scan, (scan.pet + restored.residual) / scan.brain_mean))
    fine = _fine_band(canvas, restored.denoised, scan.brain_mean, metadata.voxel_spacing_mm)
    findings = (about_mean, *about_counts, *fine, *check_masked(canvas.zeros))
    return Assessed(findings, canvas.labels(labels), change)


def _fine_band(canvas: Canvas, denoised: sitk.Image, brain_mean: float, model_mm: float) -> tuple[Finding, ...]:
    box = Grid.of(canvas.pet).box_around(canvas.grid)
    before, after = (sitk.GetArrayViewFromImage(image)[box] for image in (canvas.pet, denoised))
    # where the result, which has less noise to choose by, is as bright as brain
    brain = after > BRAIN_THRESHOLD * brain_mean
    if canvas.outside is not None:
        brain &= ~canvas.outside[box]
    return check_fine_band(before, after, brain, canvas.pet.GetSpacing(), model_mm)


def judge_output(output: Output) -> tuple[tuple[Finding, ...], np.ndarray]:
    """Run the three checks.

    Returns:
        Findings, and a label map uint8 (D, H, W): ``ADDED`` and ``REMOVED`` of :mod:`.unsupported` where the counts do
        not support the output, else 0; 0 everywhere, with the finding ``output.too_little``, where too little brain is
        seen to judge it.
    """
    if output.scan.brain.sum() * output.scan.voxel_ml < SMALLEST_BRAIN_ML:
        finding = info("output.too_little", judged=False, limit_ml=SMALLEST_BRAIN_ML)
        return (finding,), np.zeros(output.scan.pet.shape, np.uint8)
    about, labels = check_unsupported(output)
    return (check_lost_structure(output), check_leftover_noise(output), about), labels
