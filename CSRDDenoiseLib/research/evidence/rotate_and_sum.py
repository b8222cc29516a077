"""The projector of the package pytomography: the image is rotated, and summed along one axis.

Its projectors of PET need the library parallelproj, which PyPI does not have; the one of SPECT, without attenuation and
collimator, is a parallel projection, as the simulator's.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from ...extras import require


class RotateAndSum:
    """As :class:`~CSRDDenoiseLib.research.simulation.projector.Projector`.

    Args:
        size: pixels along each side of a slice.
        theta: angles of the subset in degrees, from the direction of the simulator's first projection.

    Raises:
        InputError: pytomography is not installed.
    """

    def __init__(self, size: int, theta: Sequence[float]):
        require("pytomography")
        self._size, self._theta = size, [(angle + 270) % 360 for angle in theta]

    @property
    def size(self) -> int:
        """Pixels along each side of a slice."""
        return self._size

    @property
    def angles(self) -> int:
        """Number of angles."""
        return len(self._theta)

    def forward(self, image: Tensor) -> Tensor:
        """Project (size * size, K) to (angles * size, K), lengths in pixels."""
        volume = image.reshape(self.size, self.size, -1)
        return self._matrix(volume.shape[2]).forward(volume).flatten(0, 1)

    def back(self, sinogram: Tensor) -> Tensor:
        """Back project (angles * size, K) to (size * size, K)."""
        views = sinogram.reshape(self.angles, self.size, -1)
        return self._matrix(views.shape[2]).backward(views).reshape(self.size**2, -1)

    def _matrix(self, slices: int):  # type: ignore[no-untyped-def]
        from pytomography.metadata.SPECT import SPECTObjectMeta, SPECTProjMeta
        from pytomography.projectors.SPECT import SPECTSystemMatrix

        sides = [1.0, 1.0, 1.0]
        views = SPECTProjMeta((self.size, slices), sides[1:], self._theta)
        return SPECTSystemMatrix([], [], SPECTObjectMeta(sides, [self.size, self.size, slices]), views)


def rotate_and_sum(size: int, angles: int, subsets: int) -> tuple[RotateAndSum, ...]:
    """Interleaved angular subsets, as those of the simulator's :func:`make_projectors`."""
    theta = 180 * np.arange(angles) / angles
    return tuple(RotateAndSum(size, theta[s::subsets].tolist()) for s in range(subsets))


def mean_of_views(projections: Sequence[Tensor], angles: Sequence[int], size: int) -> np.ndarray:
    """Sum of each view, (angles of all subsets,)."""
    return torch.cat([p.reshape(n, size, -1).sum((1, 2)) for p, n in zip(projections, angles)]).numpy()
