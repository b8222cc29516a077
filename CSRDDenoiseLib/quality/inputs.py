"""The checks of an input, put together: its noise, and whether it looks like what the method is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..pipeline.align import Aligned
from ..pipeline.normalise import Head
from .noise import judge_noise
from .sanity import View, check_input

if TYPE_CHECKING:
    from ..model.bundle import ModelMetadata


def judge_input(
    pet: sitk.Image, aligned: Aligned, head: Head, metadata: ModelMetadata
) -> tuple[list[str], dict[str, Any]]:
    """Judge noise and sanity of the input; ``aligned`` and ``head`` are of the whole volume.

    Returns:
        Warnings, and facts under ``noise`` and ``input``.
    """
    view = View(pet, aligned, head)
    about_noise, noise = judge_noise(view.level, view.texture, metadata.extra)
    about_input, found = check_input(view)
    return [*about_input, *about_noise], {"input": found, "noise": noise}
