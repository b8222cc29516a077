"""The checks of an input, put together: its noise, and whether it looks like what the method is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import SimpleITK as sitk

from ..prepare.align import Aligned
from ..scan import Head
from .counts import compare_counts
from .noise import judge_noise
from .sanity import View, check_input

if TYPE_CHECKING:
    from ..model.bundle import ModelMetadata


def judge_input(
    pet: sitk.Image, aligned: Aligned, head: Head, metadata: ModelMetadata, reference: Optional[sitk.Image] = None
) -> tuple[list[str], dict[str, Any]]:
    """Judge noise and sanity of the input.

    Args:
        pet: as it was read, checked to be a volume.
        aligned: on the model's grid, the whole volume.
        head: the head in it.
        metadata: of the model.
        reference: a full dose of the same scanner and protocol, checked to be a volume, or None.

    Returns:
        Warnings, and facts under ``noise`` and ``input``.
    """
    view = View(pet, aligned, head)
    about_counts, share = [], None
    if reference is not None:
        about_counts, share = compare_counts(view, reference, metadata.voxel_spacing_mm)
    about_noise, noise = judge_noise(view.level, view.texture, metadata.extra, share)
    about_input, found = check_input(view)
    return [*about_input, *about_counts, *about_noise], {"input": found, "noise": noise}
