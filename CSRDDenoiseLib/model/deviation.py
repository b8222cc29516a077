"""The unit of the deviation: the expected distance of a residual from its posterior mean, by activity and noise.

The noise of an iterative reconstruction grows with the activity (Barrett, Wilson and Tsui 1994), and so does what is
left to the posterior mean. It also depends on what the mean removes nearby, which measures the noise of this scan:
the scheme's constants take fine anatomy for noise in a sharp scan, and miss the smooth noise of a filtered one. In this
unit the standard deviation is about 1 everywhere, in air as in the cortex, so that the network of the draws only has to
learn what differs from that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

ACTIVITY_FLOOR = 0.05
REMOVED_FLOOR, NEARBY = 0.05, 13
"""Least of what the mean removes, in the residual's unit, and side in voxels of the cube that is near."""
LOW_DOSE, CONSTANTS = 1, 5
"""Channels of a condition: the low-dose PET relative to the brain mean, and the first of the scheme's constants."""


@dataclass(frozen=True)
class Unit:
    """What the unit of a model is made of.

    Attributes:
        weights: intercept, exponent of the activity, and one for each constant of the scheme.
        removed: exponent of what the posterior mean removes nearby; 0 in models that do not look at it.
    """

    weights: tuple[float, ...] = ()
    removed: float = 0.0

    @property
    def constants(self) -> int:
        """How many constants of the scheme it looks at."""
        return len(self.weights) - 2


@dataclass(frozen=True)
class Known:
    """What the unit depends on besides the posterior mean.

    Attributes:
        low_dose: relative to the brain mean, of any shape.
        constants: of the scheme, the logarithm of the residual's unit first; each broadcasts to ``low_dose``.
    """

    low_dose: Tensor
    constants: tuple[Tensor, ...]


def known_of(condition: Tensor, count: int) -> Known:
    """Return the low dose, (N, 1, D, H, W), and the first ``count`` constants, (N, 1, 1, 1, 1), of (N, C, D, H, W)."""
    constants = (condition[:, [number], :1, :1, :1] for number in range(CONSTANTS, CONSTANTS + count))
    return Known(condition[:, LOW_DOSE : LOW_DOSE + 1], tuple(constants))


def activity_of(known: Known, mean: Tensor) -> Tensor:
    """Return the estimate's activity relative to the brain mean, at least :data:`ACTIVITY_FLOOR`.

    Args:
        known: with one constant or more.
        mean: posterior mean of the residual in its unit, as ``known.low_dose``.
    """
    activity = known.low_dose + known.constants[0].exp() * mean
    return (activity**2 + ACTIVITY_FLOOR**2).sqrt()


def removed_of(mean: Tensor) -> Tensor:
    """Return what the mean removes nearby: its root mean square in cubes of 13 voxels, at least 0.05, as ``mean``.

    Args:
        mean: posterior mean of the residual in its unit, (..., D, H, W); beyond its faces there is nothing to count.
    """
    squares = mean.reshape(-1, 1, *mean.shape[-3:]).float().square()
    for axis, side in enumerate(mean.shape[-3:], start=2):
        reach = (min(NEARBY, side) - 1) // 2
        lines = squares.movedim(axis, -1)
        pooled = avg_pool1d(lines.flatten(0, -2)[:, None], 2 * reach + 1, 1, reach, count_include_pad=False)
        squares = pooled.reshape(lines.shape).movedim(-1, axis)
    return (squares + REMOVED_FLOOR**2).sqrt().reshape(mean.shape)


def deviation_unit(known: Known, mean: Tensor, unit: Unit) -> Tensor:
    """Return exp(w0 + w1 log activity + w2 c1 + w3 c2 + ... + v log removed), in the shape of ``mean``.

    c are the constants, w the unit's ``weights``, v its ``removed``, and removed is :func:`removed_of` the mean.

    Args:
        known, mean: as of :func:`activity_of`.
        unit: of the model.
    """
    first, power, *others = unit.weights
    logarithm = first + power * activity_of(known, mean).log()
    for weight, constant in zip(others, known.constants):
        logarithm = logarithm + weight * constant
    if unit.removed:
        logarithm = logarithm + unit.removed * removed_of(mean).log()
    return torch.exp(logarithm)
