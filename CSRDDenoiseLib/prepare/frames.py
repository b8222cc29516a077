"""Time frames: which are chosen, which are late, and their mean."""

from __future__ import annotations

import re
from typing import Callable, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, NotFinite
from ..io.grid import image_like
from ..io.volume import Frame

_PART = re.compile(r"(\d+)(?:(-)(\d*))?")


def chosen_frames(text: Optional[str], count: int) -> tuple[int, ...]:
    """Return the frames (from 0) that a text names, ``5-``, ``3-8`` or ``2,4`` (from 1); all without one.

    Raises:
        InputError: it names none, or some that there are not.
    """
    if text is None:
        return tuple(range(count))
    chosen: set[int] = set()
    for part in text.replace(" ", "").split(","):
        found = _PART.fullmatch(part)
        if not found:
            raise InputError(f"The frames '{text}' are not understood; write for instance 5-, 3-8 or 2,4.")
        first = int(found.group(1))
        last = first if not found.group(2) else int(found.group(3) or count)
        if not 1 <= first <= last <= count:
            raise InputError(f"The frames '{part}' are not among 1 to {count}, the frames of the PET.")
        chosen.update(range(first - 1, last))
    return tuple(sorted(chosen))


def named_frames(indices: Sequence[int]) -> str:
    """Return frames (from 0) as a person names them, from 1: ``1-3, 7``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs)


def late_frames(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Return the frames that begin in the second half of the study, by time where it is known, else by number."""
    starts, last = [frame.start_s for frame in frames], frames[-1]
    known = [start for start in starts if start is not None]
    if len(known) < len(frames):
        return tuple(range(len(frames) // 2, len(frames)))
    middle = (known[0] + known[-1] + (last.duration_s or 0.0)) / 2
    return tuple(index for index, start in enumerate(known) if start >= middle) or (len(frames) - 1,)


def frame_weights(indices: Sequence[int], frames: Sequence[Frame]) -> dict[int, float]:
    """Return the share of each frame in their mean: by duration where all are known, else the same; the sum is 1."""
    durations = [frames[index].duration_s for index in indices]
    weights = [float(each) for each in durations if each and each > 0]
    if len(weights) < len(indices):
        weights = [1.0] * len(indices)
    return {index: weight / sum(weights) for index, weight in zip(indices, weights)}


def numbers_of(image: sitk.Image) -> np.ndarray:
    """Return the voxels (D, H, W) of a frame, those that are NaN or infinite as zero."""
    return np.nan_to_num(sitk.GetArrayViewFromImage(image), posinf=0.0, neginf=0.0)


def mean_frame(
    read: Callable[[int], sitk.Image], indices: Sequence[int], frames: Sequence[Frame]
) -> tuple[sitk.Image, tuple[int, ...]]:
    """Return the mean of frames, and which they are: those without NaN and infinity; one frame is held at a time.

    They are weighted by their durations where these are known.

    Raises:
        NotFinite: no frame is left.
    """
    weights = frame_weights(indices, frames)
    used: list[int] = []
    broken: list[str] = []
    total, like = np.zeros(()), sitk.Image()
    for index in indices:
        # the view does not keep its image alive
        image = read(index)
        part = sitk.GetArrayViewFromImage(image)
        count = int(part.size - np.isfinite(part).sum())
        if count:
            broken.append(f"{count} of {part.size} in frame {index + 1}")
            continue
        total = total + part.astype(np.float64) * weights[index]
        like, used = image, [*used, index]
    if not used:
        raise NotFinite(
            f"The place of the head comes from the late frames ({named_frames(indices)}) of the PET, and all of them "
            f"have voxels that are NaN or infinite ({broken[0]}); repair the PET, or have these set to zero.",
            hint="nan_to_zero",
        )
    if broken:
        total /= sum(weights[index] for index in used)
    return image_like(like, total.astype(np.float32)), tuple(used)
