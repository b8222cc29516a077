"""The unit of the deviation: how far a residual lies from its posterior mean, as it goes with activity and noise.

The noise of an iterative reconstruction grows with the activity (Barrett, Wilson and Tsui 1994), and so does what is
left to the posterior mean. In this unit its standard deviation is about 1 everywhere, in air as in the cortex, so that
the network of the draws only has to learn what differs from that.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

ACTIVITY_FLOOR = 0.05
LOW_DOSE, CONSTANTS = 1, 5


def activity_of(condition: Tensor, mean: Tensor) -> Tensor:
    """Return the estimate's activity relative to the brain mean, at least :data:`ACTIVITY_FLOOR`.

    Args:
        condition: (N, C, D, H, W), the low-dose PET relative to the brain mean and the logarithm of the residual's unit
            among it.
        mean: posterior mean of the residual in its unit, (N, 1, D, H, W).
    """
    activity = condition[:, LOW_DOSE : LOW_DOSE + 1] + condition[:, CONSTANTS : CONSTANTS + 1].exp() * mean
    return (activity**2 + ACTIVITY_FLOOR**2).sqrt()


def deviation_unit(condition: Tensor, mean: Tensor, weights: Sequence[float]) -> Tensor:
    """Return exp(w0 + w1 log activity + w2 c1 + w3 c2 + ...), c the scheme's constants, (N, 1, D, H, W).

    Args:
        condition, mean: as of :func:`activity_of`; the constants begin at channel 5 of the condition.
        weights: w, one for each constant behind the first two.
    """
    first, power, *others = weights
    logarithm = first + power * activity_of(condition, mean).log()
    for number, weight in enumerate(others, CONSTANTS):
        logarithm = logarithm + weight * condition[:, number : number + 1]
    return torch.exp(logarithm)
