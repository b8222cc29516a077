"""Windows over time: what is taken back of the residuals, so that time-activity curves keep their means.

Noise differs from frame to frame; what denoising changes in the same way in all of them is no noise. Of each frame's
residual, the mean over the five frames around it is subtracted, weighted by duration and in proportion to the frame's
activity. So the counts of every region over five frames stay those of the PET, and a fifth of the noise comes back.
"""

from __future__ import annotations

from typing import Callable, Iterator, Mapping, Optional, Sequence

import numpy as np

WINDOW = 5
"""Frames; with fewer, nothing is taken back."""
_SMALLEST_SCALE = 0.01


def windows_of(done: Sequence[int], size: int = WINDOW) -> dict[int, tuple[int, ...]]:
    """Return for each denoised frame the frames around it, itself included; nothing where there are too few."""
    if len(done) < size:
        return {}
    starts = (min(max(place - size // 2, 0), len(done) - size) for place in range(len(done)))
    return {frame: tuple(done[start : start + size]) for frame, start in zip(done, starts)}


def activity_scale(values: np.ndarray, brain: np.ndarray, late: float) -> float:
    """Return a frame's mean activity where the late frames are bright, positive; ``late`` is their own mean there."""
    bright = values[brain]
    bright = bright[np.isfinite(bright)]
    return max(float(bright.mean()) if bright.size else 0.0, _SMALLEST_SCALE * late)


def common_parts(
    read: Callable[[int], np.ndarray], done: Sequence[int], weights: Mapping[int, float], scales: Mapping[int, float]
) -> Iterator[tuple[int, np.ndarray]]:
    """Give for each denoised frame the part of its residual that it shares with the frames around it.

    Args:
        read: returns the residual of a frame, float (D, H, W); each is read twice.
        done: the denoised frames, in order.
        weights: frame -> weight in a mean, by duration.
        scales: frame -> its activity.
    """
    total: Optional[np.ndarray] = None
    inside: tuple[int, ...] = ()
    for index, window in windows_of(done).items():
        for frame, sign in (*((each, 1) for each in window), *((each, -1) for each in inside)):
            if (frame in window) == (frame in inside):
                continue
            part = read(frame) * np.float32(sign * weights[frame])
            total = part if total is None else total + part
        inside = window
        if total is not None:
            share = scales[index] / sum(weights[frame] * scales[frame] for frame in window)
            yield index, total * np.float32(share)
