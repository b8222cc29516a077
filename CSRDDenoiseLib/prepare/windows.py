"""Windows over time: what is taken back of the residuals, so that time-activity curves keep their means.

Noise differs from frame to frame; what denoising changes in the same way in all of them is no noise. Of each frame's
residual, the mean over the five frames around it is subtracted, weighted by duration and in proportion to the frame's
activity. A fifth of the noise returns with it. Means over other windows of five frames do not stay exactly, and the
smaller a region is, the more the noise that was taken from it moves them. So of what is coarser than
:data:`COARSE_MM`, as much more is subtracted as keeps every window best for the noise that it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

WINDOW = 5
"""Frames; with fewer, nothing is taken back."""
COARSE_MM = 3.0
"""FWHM of the Gaussian that shows what is coarse."""
_NOISE_COST = 0.5
_SMALLEST_SCALE = 1e-4


@dataclass(frozen=True)
class Shares:
    """What is taken back of each denoised frame, linear in the residuals of all of them.

    Attributes:
        fine: (n, n), row: frame, column: share of that frame's residual.
        coarse: (n, n), the same for the residual smoothed by :data:`COARSE_MM`, on top.
    """

    fine: np.ndarray
    coarse: np.ndarray

    def parts(self, residuals: np.ndarray, smoothed: np.ndarray) -> np.ndarray:
        """Return what is taken back, (n, voxels), of residuals (n, voxels) and the same smoothed, in their unit."""
        return self.fine @ residuals + self.coarse @ smoothed

    def variance(self, residuals: np.ndarray, smoothed: np.ndarray) -> np.ndarray:
        """Return the variance (n, voxels) that the parts have if residuals are noise, independent between frames."""
        own, both, coarse = self.fine**2, 2 * self.fine * self.coarse, self.coarse**2
        return np.maximum(own @ residuals**2 + both @ (residuals * smoothed) + coarse @ smoothed**2, 0)


def shares_of(weights: Sequence[float], scales: Sequence[float]) -> Optional[Shares]:
    """Return what is taken back of denoised frames, in order; None where there are too few.

    Args:
        weights: of the frames in a mean, by duration.
        scales: their activity, see :func:`activity_scale`.
    """
    if len(weights) < WINDOW:
        return None
    duration, activity = np.array(weights, float), np.array(scales, float)
    near = _near(duration, activity)
    return Shares(near.astype(np.float32), (_best(duration, activity) - near).astype(np.float32))


def activity_scale(values: np.ndarray, brain: np.ndarray, late: float) -> float:
    """Return a frame's mean activity where the late frames are bright, positive; ``late`` is their own mean there."""
    bright = values[brain]
    bright = bright[np.isfinite(bright)]
    return max(float(bright.mean()) if bright.size else 0.0, _SMALLEST_SCALE * late)


def windows_of(count: int) -> tuple[slice, ...]:
    """Return for each of ``count`` denoised frames the window around it, itself included; the ends share theirs."""
    starts = (min(max(place - WINDOW // 2, 0), count - WINDOW) for place in range(count))
    return tuple(slice(start, start + WINDOW) for start in starts)


def _near(duration: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """The mean over the frames around each frame, in proportion to its activity."""
    shares = np.zeros((len(duration), len(duration)))
    for frame, window in enumerate(windows_of(len(duration))):
        shares[frame, window] = activity[frame] * duration[window] / np.dot(duration[window], activity[window])
    return shares


def _best(duration: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """The shares Q that keep the means of all windows best for the noise that they bring back.

    Q minimises the variance by which noise moves the windows' means, each relative to the noise of that mean, plus
    :data:`_NOISE_COST` times the variance that returns to each frame, relative to its own; what is in proportion
    to the activity is taken back entirely (Q activity = activity). The variance of a frame's noise is taken to be
    activity / duration, as counts have it. The minimum is that of a least squares problem with a Lagrange multiplier.
    """
    noise = activity / duration
    means = np.array([np.where(_inside(first, len(noise)), duration, 0) for first in range(len(noise) - WINDOW + 1)])
    means /= np.sqrt(means**2 @ noise)[:, None]
    normal = means.T @ means
    free = np.linalg.solve(normal + np.diag(_NOISE_COST / noise), normal)
    missing, along = activity - free @ activity, activity / noise
    return free + np.outer(missing, along) / np.dot(activity, along)


def _inside(first: int, count: int) -> np.ndarray:
    places = np.arange(count)
    return (places >= first) & (places < first + WINDOW)
