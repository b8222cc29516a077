"""Boosting: a second evaluation of the network, on the PET mixed with the first estimate.

The mixture has less noise, and what the estimate shows stands out from it, so the network removes less of small
lesions and more of what the first evaluation left. It strengthens the input and operates again as SOS boosting does
(Romano and Elad 2015, https://arxiv.org/abs/1502.06220), and subtracts nothing afterwards. Scans of much noise gain,
scans of little noise do not, so the second estimate has a weight that rises with the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from ..model.deviation import LOW_DOSE
from ..prepare.bands import bands_in
from ..prepare.scheme import constant
from ..scan import bright_core

if TYPE_CHECKING:
    from ..model.metadata import ModelMetadata

NOISE = ("log_unit", "log_fine", "log_mid")
"""Channels of the scheme ``noise-bands`` that describe the noise, in the order of ``NoiseBands.constants``."""


@dataclass(frozen=True)
class BoostedCondition:
    """What the network sees in the second evaluation.

    Attributes:
        channels: float32 (D, H, W) each, as those of the first one.
        unit: of the residual that it then gives, in units of the first one's residual.
    """

    channels: tuple[np.ndarray, ...]
    unit: float


def boost_weight(channels: Sequence[np.ndarray], metadata: ModelMetadata) -> float:
    """Return the weight of the second estimate, 0 to 1; 0 for a model without one.

    Args:
        channels: of the first evaluation, (D, H, W) each.
        metadata: of the model.
    """
    if metadata.boost is None:
        return 0.0
    return metadata.boost.weight(float(channels[metadata.channels.index(NOISE[0])].flat[0]))


def boosted_condition(
    channels: Sequence[np.ndarray], mean: np.ndarray, head: np.ndarray, metadata: ModelMetadata
) -> BoostedCondition:
    """Mix the first estimate into the PET, and measure by how much that changes the noise.

    Args:
        channels: of the first evaluation, of the scheme ``noise-bands``.
        mean: (D, H, W), the residual that it gave, in its unit.
        head: boolean (D, H, W).
        metadata: of a model with a boost.
    """
    assert metadata.boost is not None
    place = [metadata.channels.index(name) for name in NOISE]
    known, pet = np.array([channels[index].flat[0] for index in place]), channels[LOW_DOSE]
    mixed = pet + np.float32(metadata.boost.share * np.exp(known[0])) * mean
    core = bright_core(mixed, head, (metadata.voxel_spacing_mm,) * 3)
    # a region may have no bright part
    core = core if core.any() else head
    # the change, not the noise itself: that of a region is described by the noise of the whole head
    change = np.subtract(bands_in(mixed, core).constants, bands_in(pet, core).constants)
    changed = {LOW_DOSE: mixed, **{index: constant(value, pet.shape) for index, value in zip(place, known + change)}}
    return BoostedCondition(
        tuple(changed.get(index, channel) for index, channel in enumerate(channels)), float(np.exp(change[0]))
    )
