"""Parallel-beam projection of a stack of slices, with an exactly matched back projection."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class Projection(Protocol):
    """What the scanner and the reconstruction ask of a projector; see :class:`Projector`."""

    @property
    def size(self) -> int:
        """Pixels along each side of a slice."""

    @property
    def angles(self) -> int:
        """Number of angles of this subset."""

    def forward(self, image: Tensor) -> Tensor:
        """Project (size * size, K) to (angles * size, K)."""

    def back(self, sinogram: Tensor) -> Tensor:
        """Back project (angles * size, K) to (size * size, K)."""


@dataclass(frozen=True)
class Projector:
    """Line integrals of n x n slices over some of the angles of a half turn (lengths in pixels).

    The system matrix A of one slice is a sparse matrix used for every slice at once; its transpose is stored beside it,
    so that <A x, y> = <x, A'y> to rounding.

    Attributes:
        size: pixels n along each side of a slice.
        angles: number of angles of this subset.
        matrix: A, (angles * size, size * size).
        transpose: A', its transpose.
    """

    size: int
    angles: int
    matrix: Tensor
    transpose: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Project (size * size, K) columns, K slices of any images, to (angles * size, K)."""
        return self.matrix @ image

    def back(self, sinogram: Tensor) -> Tensor:
        """Back project (angles * size, K) to (size * size, K)."""
        return self.transpose @ sinogram


@lru_cache(maxsize=2)
def make_projectors(size: int, angles: int, subsets: int, device: str = "cpu") -> tuple[Projector, ...]:
    """Interleaved angular subsets for slices of size x size pixels; together they are one full projection.

    Raises:
        ValueError: ``subsets`` does not divide ``angles``.
    """
    if angles % subsets:
        raise ValueError(f"{angles} angles cannot be split into {subsets} equal subsets.")
    theta = np.pi * np.arange(angles) / angles
    return tuple(_projector(size, theta[s::subsets], device) for s in range(subsets))


def _projector(size: int, theta: np.ndarray, device: str) -> Projector:
    matrix = _system_matrix(size, theta)
    return Projector(size, len(theta), _to_torch(matrix, device), _to_torch(matrix.T.tocsr(), device))


def _system_matrix(size: int, theta: np.ndarray) -> sparse.csr_matrix:
    """Each pixel shares itself between the two bins nearest to its centre's projection (linear interpolation)."""
    axis = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    inside = np.flatnonzero((x**2 + y**2 < (size / 2 - 1) ** 2).ravel())
    x, y = x.ravel()[inside], y.ravel()[inside]
    rows, columns, values = [], [], []
    for number, angle in enumerate(theta):
        bins = x * np.cos(angle) + y * np.sin(angle) + (size - 1) / 2
        lower = np.floor(bins).astype(np.int64)
        for offset, weight in ((0, 1 - (bins - lower)), (1, bins - lower)):
            rows.append(number * size + lower + offset)
            columns.append(inside)
            values.append(weight)
    coordinates = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(theta) * size, size * size)
    return sparse.csr_matrix((np.concatenate(values).astype(np.float32), coordinates), shape=shape)


def _to_torch(matrix: sparse.csr_matrix, device: str) -> Tensor:
    crow, column = torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(matrix.indices.astype(np.int64))
    with warnings.catch_warnings():
        # torch calls its CSR tensors beta; all that is used of them here is their product with a matrix
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support is in beta|invariant checks are)")
        tensor = torch.sparse_csr_tensor(
            crow, column, torch.from_numpy(matrix.data), matrix.shape, check_invariants=True
        )
    return tensor.to(device)
