"""Padding: a volume of any size for a network that takes multiples of some number of voxels.

Beyond its faces nothing is known of a volume. The condition's outermost voxels are repeated there. With zeros instead,
the network takes the margin for a scan of other noise at another place, and its estimate is wrong several voxels into
the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from .memory import Shape

Box = Sequence[slice]


@dataclass(frozen=True)
class Padding:
    """What is added to a volume.

    Attributes:
        size: (D, H, W) of the volume.
        margins: voxels before and after it along each axis.
    """

    size: Shape
    margins: tuple[tuple[int, int], ...]

    @classmethod
    def to_multiple(cls, size: Sequence[int], multiple: int) -> Padding:
        """Return the padding that makes each side a multiple, the volume in the middle."""
        missing = [-side % multiple for side in size]
        depth, height, width = size
        return cls((depth, height, width), tuple((each // 2, each - each // 2) for each in missing))

    @property
    def shape(self) -> Shape:
        """(D, H, W) of the padded volume."""
        depth, height, width = (low + side + high for side, (low, high) in zip(self.size, self.margins))
        return depth, height, width

    def condition(self, channels: Sequence[np.ndarray], box: Optional[Box] = None) -> Tensor:
        """Channels (D, H, W) of the volume as (1, C, D, H, W), padded with their outermost voxels.

        Args:
            channels: float32, one array each.
            box: the part of the padded volume that is wanted, with some of the volume in it; None for all.
        """
        inside, margins = [], [(0, 0)]
        for part, side, (before, _) in zip(box or self._whole, self.size, self.margins):
            low, high = (min(max(end - before, 0), side) for end in (part.start, part.stop))
            inside.append(slice(low, high))
            margins.append((low + before - part.start, part.stop - high - before))
        stacked = np.stack([channel[tuple(inside)] for channel in channels])
        return torch.from_numpy(np.pad(stacked, margins, mode="edge") if np.any(margins) else stacked)[None]

    def noise(self, volume: Tensor) -> Tensor:
        """Noise (N, C, D, H, W) of the volume, padded with its mirror image, which is as noisy."""
        for axis, (side, margins) in enumerate(zip(self.size, self.margins), start=2):
            if any(margins):
                order = np.pad(np.arange(side), margins, mode="symmetric")
                volume = volume.index_select(axis, torch.from_numpy(order).to(volume.device))
        return volume

    def crop(self, volume: Tensor) -> Tensor:
        """Drop the channel and what was added: (N, 1, D, H, W) -> (N, D, H, W)."""
        depth, height, width = (slice(low, low + side) for side, (low, _) in zip(self.size, self.margins))
        return volume[:, 0, depth, height, width]

    @property
    def _whole(self) -> tuple[slice, ...]:
        return tuple(slice(0, side) for side in self.shape)
