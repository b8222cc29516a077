"""The checks of an input, put together: what the PET and the MR look like, and how noisy the PET is.

The limits lie between simulated heads that have a fault and heads that have none. The experiment ``heads`` counts
detections and false alarms of each check (docs/faults.md, part C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np
import SimpleITK as sitk

from ..findings import Finding
from ..io.volume import units_of
from ..model.contents import NOISE_RANGE
from ..scan import Scan
from .attenuation import check_attenuation
from .back_projection import check_back_projection
from .blank_slices import check_blank_slices
from .clipping import check_clipping
from .contrast import check_contrast
from .counts import compare_counts
from .cut import check_cut
from .filtering import check_filtering
from .head_size import SMALLEST_HEAD_ML, check_field, check_head_size
from .label_map import check_label_map
from .noise import judge_noise, texture
from .slice_scale import check_slice_scale
from .unit import check_unit
from .voxels import check_broken, check_voxels

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata


@dataclass(frozen=True)
class Judged:
    """What is judged.

    Attributes:
        pet: as it was read, checked to be a volume.
        scan: the same on the model's grid, the whole volume.
        mr: (D, H, W) on that grid, or None.
        reference: a full dose of the same scanner and protocol, checked to be a volume, or None.
    """

    pet: sitk.Image
    scan: Scan
    mr: Optional[np.ndarray] = None
    reference: Optional[sitk.Image] = None


def judge_input(inputs: Judged, metadata: ModelMetadata) -> tuple[Finding, ...]:
    """Run every check of an input."""
    features = texture(inputs.scan)
    counts: tuple[Finding, ...] = ()
    share: Optional[float] = None
    if inputs.reference is not None:
        sides = inputs.pet.GetSpacing()
        counts, share = compare_counts(inputs.scan, sides, inputs.reference, metadata.voxel_spacing_mm)
    noise = judge_noise(inputs.scan.noise_level, features, metadata.extra, share)
    return (*check_appearance(inputs, features), *_reconstruction(inputs.scan, metadata), *counts, *noise)


def judge_frame(inputs: Judged, metadata: ModelMetadata) -> tuple[Finding, ...]:
    """Run the checks of an input that each time frame of a study needs: its noise, broken voxels, blank slices."""
    noise = judge_noise(inputs.scan.noise_level, texture(inputs.scan), metadata.extra)
    values = sitk.GetArrayViewFromImage(inputs.pet)
    of_values = (*check_broken(values), *check_clipping(values), check_blank_slices(values))
    return (*of_values, *_reconstruction(inputs.scan, metadata), *noise)


def judge_study(inputs: Judged) -> tuple[Finding, ...]:
    """Run the checks of an input that a study needs once, on the mean of its late frames."""
    return check_appearance(inputs, texture(inputs.scan))


def check_appearance(inputs: Judged, features: Optional[np.ndarray]) -> tuple[Finding, ...]:
    """Run the checks of what PET and MR look like; ``features`` of :func:`.noise.texture`."""
    pet, scan = inputs.pet, inputs.scan
    of_all = (
        *check_label_map(sitk.GetArrayViewFromImage(pet), units_of(pet)),
        check_unit(units_of(pet), scan.brain_mean),
        check_voxels(pet.GetSpacing()),
        *check_broken(sitk.GetArrayViewFromImage(pet)),
        *check_clipping(sitk.GetArrayViewFromImage(pet)),
        check_blank_slices(sitk.GetArrayViewFromImage(pet)),
        *check_slice_scale(sitk.GetArrayViewFromImage(pet)),
        *check_field(scan),
    )
    size = check_head_size(scan)
    if size.values["head_ml"] < SMALLEST_HEAD_ML:
        return (*of_all, size)
    about_mr = () if inputs.mr is None else check_contrast(scan, inputs.mr)
    return (*of_all, size, check_cut(scan), *check_filtering(features), *check_attenuation(scan), *about_mr)


def _reconstruction(scan: Scan, metadata: ModelMetadata) -> tuple[Finding, ...]:
    """Of what a trained model needs to be warned of; a regression without weights knows no reconstruction."""
    return check_back_projection(scan) if metadata.extra.get(NOISE_RANGE) else ()
