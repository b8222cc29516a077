"""The unit of the deviation: how far a residual lies from its posterior mean, as it goes with activity and noise.

The noise of an iterative reconstruction grows with the activity (Barrett, Wilson and Tsui 1994), and so does what is
left to the posterior mean. In this unit its standard deviation is about 1 everywhere, in air as in the cortex, so that
the network of the draws only has to learn what differs from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

ACTIVITY_FLOOR = 0.05
LOW_DOSE, CONSTANTS = 1, 5
"""Channels of a condition: the low-dose PET relative to the brain mean, and the first of the scheme's constants."""


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


def deviation_unit(known: Known, mean: Tensor, weights: Sequence[float]) -> Tensor:
    """Return exp(w0 + w1 log activity + w2 c1 + w3 c2 + ...), c the constants, in the shape of ``mean``.

    Args:
        known, mean: as of :func:`activity_of`.
        weights: w, the first two and one for each constant.
    """
    first, power, *others = weights
    logarithm = first + power * activity_of(known, mean).log()
    for weight, constant in zip(others, known.constants):
        logarithm = logarithm + weight * constant
    return torch.exp(logarithm)
