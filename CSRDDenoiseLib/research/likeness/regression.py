"""From what a full dose shows to the spectrum of its noise, as simulated full doses teach it.

Kernel ridge regression (Saunders, Gammerman and Vovk 1998) with a linear and a Gaussian kernel, from the principal
components of :func:`.texture.local_powers` and the voxel side to the logarithms of the noise's power in bands and
cells. How far off it is in each band is learned likewise, from heads that were left out. What it learned is data,
``noise_regression.npz``; :mod:`.examples` makes it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...scan import Scan
from .spectrum import EDGES, band_powers
from .texture import activity_exponent, local_powers, noise_by_cell

BANDS = len(EDGES) - 1
_PATH = Path(__file__).with_name("noise_regression.npz")
_COMPONENTS, _LENGTH, _RIDGE = 50, 0.6, 0.01
_ERROR_RIDGE = 1.0
_FOLDS = 5
_PER_VOXEL_SIDE, _SIDE_MARGIN = 21.0, 0.5
_LEAST_ERROR = 0.02
_FAR_QUANTILE, _FAR = 0.99, 1.5
_TINY, _SMALLEST = 1e-30, 1e-6


@dataclass(frozen=True)
class Examples:
    """Scans whose noise is known.

    Attributes:
        shown: of :func:`features_of`, (m, n).
        noise: of :func:`noise_of`, (m, 58).
        heads: number of the simulation that a row is of, (m,).
    """

    shown: np.ndarray
    noise: np.ndarray
    heads: np.ndarray


@dataclass(frozen=True)
class Found:
    """The noise of a scan.

    Attributes:
        bands: logarithm of its power in each band, (8,).
        cells: in each cell, (49,).
        exponent: its variance goes as the activity around to this power.
        errors: expected root mean square error of its amplitude in each band, relative, (8,).
        away: distance from the nearest example, in what is usual between examples (their 99 % quantile).
        inside: whether the voxel side is one that was learned from.
    """

    bands: np.ndarray
    cells: np.ndarray
    exponent: float
    errors: np.ndarray
    away: float
    inside: bool

    @property
    def supported(self) -> bool:
        """Whether there are examples like it."""
        return self.inside and self.away <= _FAR


@dataclass(frozen=True)
class _Ridge:
    """Kernel ridge regression: (m, k) points, (m, t) weights, (t,) offset."""

    points: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, values: np.ndarray, ridge: float) -> _Ridge:
        offset = values.mean(0)
        kernel = _kernel(points, points) + ridge * np.eye(len(points))
        return cls(points, np.linalg.solve(kernel, values - offset), offset)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return _kernel(points, self.points) @ self.weights + self.offset


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one @ other.T + np.exp(-0.5 * _squares(one, other) / _LENGTH**2)


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.maximum(squares, 0.0)


@dataclass(frozen=True)
class Regression:
    """What was learned of examples.

    Attributes:
        middle: mean of what they show, (n,).
        axes: principal components over the size of the points, (n, k).
        points: (m, k).
        weights: of the noise and of the logarithm of its errors, (m, 58 + 8).
        offset: (58 + 8,).
        apart: 99 % quantile of the distance from an example to the nearest of another head.
        sides: least and greatest of :func:`features_of` for the voxel side, (2,).
    """

    middle: np.ndarray
    axes: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    apart: float
    sides: np.ndarray

    def find(self, scan: Scan) -> Found:
        """Find the noise of a full dose."""
        return self.of(features_of(scan))

    def of(self, shown: np.ndarray) -> Found:
        """Find the noise of what :func:`features_of` returns."""
        point = ((shown - self.middle) @ self.axes)[None]
        found = _Ridge(self.points, self.weights, self.offset)(point)[0]
        noise, errors = np.split(found, [len(found) - BANDS])
        away = float(np.sqrt(_squares(point, self.points).min())) / self.apart
        inside = bool(self.sides[0] - _SIDE_MARGIN <= shown[-1] <= self.sides[1] + _SIDE_MARGIN)
        return Found(noise[:BANDS], noise[BANDS:-1], float(noise[-1]), np.exp(errors), away, inside)

    def save(self, path: Path) -> None:
        """Write it, in single precision."""
        parts: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in asdict(self).items()}
        np.savez_compressed(path, **parts)

    @classmethod
    def load(cls, path: Path) -> Regression:
        """Read what :meth:`save` wrote."""
        with np.load(path) as values:
            parts = {name: values[name].astype(float) for name in values.files}
        return cls(**{**parts, "apart": float(parts["apart"])})


def features_of(scan: Scan) -> np.ndarray:
    """What a full dose shows: :func:`.texture.local_powers`, its power in bands and the voxel side, (352,)."""
    bands = np.log(np.maximum(band_powers(scan, scan.pet), _TINY))
    side = _PER_VOXEL_SIDE * np.log(np.mean(scan.spacing))
    return np.concatenate([local_powers(scan).ravel(), bands, [side]])


def noise_of(scan: Scan, noise: np.ndarray) -> np.ndarray:
    """What is learned of a scan whose noise, (D, H, W) in the PET's unit, is known: (58,)."""
    powers = np.log(np.concatenate([band_powers(scan, noise), noise_by_cell(scan, noise)]))
    return np.append(powers, activity_exponent(scan, noise))


def fit_regression(examples: Examples) -> Regression:
    """Learn from examples; errors from heads that were left out, a fifth at a time."""
    middle = examples.shown.mean(0)
    axes = _axes(examples.shown - middle)
    points = (examples.shown - middle) @ axes
    fold = np.unique(examples.heads, return_inverse=True)[1] % _FOLDS
    sizes = np.empty((len(points), BANDS))
    nearest = np.empty(len(points))
    for number in range(_FOLDS):
        out = fold == number
        found = _Ridge.fit(points[~out], examples.noise[~out], _RIDGE)(points[out])
        sizes[out] = np.abs(found - examples.noise[out])[:, :BANDS] / 2
        nearest[out] = _squares(points[out], points[~out]).min(1) ** 0.5
    noise = _Ridge.fit(points, examples.noise, _RIDGE)
    errors = _errors(points, np.maximum(sizes, _LEAST_ERROR), fold)
    return Regression(
        middle,
        axes,
        points,
        np.concatenate([noise.weights, errors.weights], axis=1),
        np.concatenate([noise.offset, errors.offset]),
        float(np.quantile(nearest, _FAR_QUANTILE)),
        examples.shown[:, -1][[examples.shown[:, -1].argmin(), examples.shown[:, -1].argmax()]],
    )


def _errors(points: np.ndarray, sizes: np.ndarray, fold: np.ndarray) -> _Ridge:
    """The logarithm of the root mean square error, brought to what the errors of heads that were left out have."""
    logs = np.log(sizes)
    squares = np.empty_like(sizes)
    for number in range(_FOLDS):
        out = fold == number
        squares[out] = np.exp(2 * (logs[out] - _Ridge.fit(points[~out], logs[~out], _ERROR_RIDGE)(points[out])))
    found = _Ridge.fit(points, logs, _ERROR_RIDGE)
    return _Ridge(found.points, found.weights, found.offset + np.log(squares.mean(0)) / 2)


def _axes(shown: np.ndarray) -> np.ndarray:
    """Principal components, half whitened, over the root mean square length of the examples in them: (n, k)."""
    _, sizes, axes = np.linalg.svd(shown, full_matrices=False)
    count = min(_COMPONENTS, int((sizes > _SMALLEST * sizes[0]).sum()))
    chosen = axes[:count].T / np.sqrt(sizes[:count])
    return chosen / np.sqrt(((shown @ chosen) ** 2).sum(1).mean())


@lru_cache(maxsize=1)
def noise_regression() -> Regression:
    """The regression of this package."""
    return Regression.load(_PATH)
