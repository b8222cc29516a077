"""Square planes round the planes of a volume, as the projectors take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

_MULTIPLE = 8
Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True)
class SquarePlanes:
    """Square planes with the planes of a volume in the middle; their side is a multiple of 8 voxels.

    Attributes:
        shape: (D, H, W) of the volume.
        margin: voxels by which the side is at least longer than the longer side of the volume's planes.
    """

    shape: tuple[int, ...]
    margin: int = 0

    @property
    def side(self) -> int:
        """Voxels along a side."""
        return -(-(max(self.shape[1:]) + self.margin) // _MULTIPLE) * _MULTIPLE

    def pad(self, volume: np.ndarray) -> Tensor:
        """Return a volume (D, H, W) in the planes: (D, side, side) float32, zero around it."""
        padded = torch.zeros(volume.shape[0], self.side, self.side)
        self.crop(padded)[:] = torch.from_numpy(np.ascontiguousarray(volume, np.float32))
        return padded

    def crop(self, planes: Array) -> Array:
        """Return the volume's part of planes (..., side, side): a view (..., H, W)."""
        rows, columns = (slice((self.side - n) // 2, (self.side - n) // 2 + n) for n in self.shape[1:])
        return planes[..., rows, columns]
