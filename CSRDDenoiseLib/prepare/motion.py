"""Motion of the head between time frames: found by rigid registration of coarse frames, reported and not corrected."""

from __future__ import annotations

from typing import Optional

import SimpleITK as sitk

from .comparable import (
    COARSE,
    LEAST_PROMINENCE,
    Seen,
    Size,
    best_motion,
    head_points,
    matrix,
    no_motion,
    pair_of,
    prominence,
    see_mr,
    see_pet,
    size_of,
)

MOTION_LIMIT_MM = 3.0


def frame_motion(frame: sitk.Image, late: sitk.Image) -> Optional[Size]:
    """Measure how far the head in a frame lies from that in the late frames.

    Args:
        frame: one time frame, as noisy as it comes.
        late: mean of the late frames.

    Returns:
        The rigid motion between them, or None where none was found with certainty.
    """
    return motion_against(frame, see_late(late))


def see_late(late: sitk.Image) -> Optional[Seen]:
    """Return what :func:`motion_against` needs of the mean of the late frames, made once for all frames."""
    return see_mr(late, COARSE)


def motion_against(frame: sitk.Image, late: Optional[Seen]) -> Optional[Size]:
    """Measure as :func:`frame_motion`, against what :func:`see_late` made of the late frames."""
    pair = None if late is None else pair_of(see_pet(frame, COARSE), late)
    if pair is None:
        return None
    search = best_motion(pair, no_motion(pair))
    if search is None or not search.converged or prominence(pair, search.motion) <= LEAST_PROMINENCE:
        return None
    return size_of(matrix(search.motion), head_points(pair))
