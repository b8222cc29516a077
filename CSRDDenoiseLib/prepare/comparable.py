"""PET and MR made comparable: coarse views of both, their mutual information, and rigid motions between them.

A motion is a :class:`SimpleITK.Euler3DTransform` that maps points of the PET to points of the MR (mm, L-P-S), the
direction in which SimpleITK resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np
import SimpleITK as sitk

from ..io.grid import Grid
from ..scan import find_head, smooth
from ..thresholds import LONGEST_HEAD_MM

BRIGHTEST_PET = 2.5
BRIGHTEST_MR = 1.2
LEAST_OVERLAP = 0.1
OUTSIDE = -1.0
PROMINENCE_MM = 20.0
LEAST_PROMINENCE = 0.25
BINS = 32


@dataclass(frozen=True)
class View:
    """How closely PET and MR are looked at.

    Attributes:
        spacing_mm: voxels are averaged to at most this side.
        pet_smoothing_mm: FWHM that takes the noise of a low dose away.
    """

    spacing_mm: float
    pet_smoothing_mm: float


COARSE = View(4.0, 8.0)
FINE = View(3.0, 5.0)


@dataclass(frozen=True)
class Pair:
    """PET and MR made comparable, each on coarse voxels of its own grid.

    Attributes:
        pet: square root of the smoothed PET over the mean of the brain, so that the faint scalp shows beside the brain.
        mr: smoothed MR over its 99th percentile.
        head: head in the PET with a margin of air, uint8.
        mr_head: head in the MR, found in the same way.
    """

    pet: sitk.Image
    mr: sitk.Image
    head: sitk.Image
    mr_head: sitk.Image


@dataclass(frozen=True)
class Size:
    """How far a motion goes.

    Attributes:
        offset_mm: displacement of the head's centre.
        degrees: angle of the rotation.
        displacement_mm: displacement on average over the head.
    """

    offset_mm: float
    degrees: float
    displacement_mm: float


def make_pair(pet: sitk.Image, mr: sitk.Image, view: View) -> Optional[Pair]:
    """Make PET and MR comparable; None when one of them shows no head."""
    coarse_pet, coarse_mr = (_shrink(_upright(image), view.spacing_mm) for image in (pet, mr))
    grid, mr_grid = Grid.of(coarse_pet), Grid.of(coarse_mr)
    activity, signal = (sitk.GetArrayFromImage(image) for image in (coarse_pet, coarse_mr))
    head, mr_head = find_head(activity, grid.array_spacing), find_head(signal, mr_grid.array_spacing)
    if head is None or mr_head is None:
        return None
    activity = smooth(activity / head.brain_mean, grid.array_spacing, view.pet_smoothing_mm)
    signal = np.clip(signal / np.quantile(signal[signal > 0], 0.99), 0, BRIGHTEST_MR)
    return Pair(
        pet=grid.image(np.sqrt(np.clip(activity, 0, BRIGHTEST_PET))),
        mr=mr_grid.image(smooth(signal, mr_grid.array_spacing, view.spacing_mm)),
        head=grid.image(head.mask.astype(np.uint8)),
        mr_head=mr_grid.image(mr_head.mask.astype(np.uint8)),
    )


def head_points(pair: Pair, count: int = 500) -> np.ndarray:
    """Return about ``count`` points (n, 3) in mm spread evenly over the head in the PET."""
    return _points(pair.head, count)


def no_motion(pair: Pair) -> sitk.Euler3DTransform:
    """Return the identity about the head's centre."""
    motion = sitk.Euler3DTransform()
    motion.SetCenter(head_points(pair).mean(0).tolist())
    return motion


def heads_centred(pair: Pair) -> sitk.Euler3DTransform:
    """Return the shift that brings the centres of gravity of the two heads' outlines together."""
    return shifted(no_motion(pair), _points(pair.mr_head).mean(0) - head_points(pair).mean(0))


def normalised_mutual_information(pair: Pair, motion: sitk.Transform) -> float:
    """Return (H(PET) + H(MR)) / H(PET, MR) inside the head, from 1 (nothing in common) to 2 (Studholme et al. 1999).

    A motion that leaves less than a tenth of the head inside the MR counts as 1.
    """
    mr = sitk.GetArrayFromImage(sitk.Resample(pair.mr, pair.pet, motion, sitk.sitkLinear, OUTSIDE))
    head = sitk.GetArrayViewFromImage(pair.head).astype(bool)
    common = head & (mr != OUTSIDE)
    if common.sum() < LEAST_OVERLAP * head.sum():
        return 1.0
    values = sitk.GetArrayViewFromImage(pair.pet)[common], mr[common]
    joint = np.histogram2d(*values, BINS)[0] / common.sum()
    both = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both > 0 else 1.0


def outline_overlap(pair: Pair) -> float:
    """Dice coefficient of the two outlines, inside the PET's field of view."""
    there = sitk.Resample(pair.mr_head, pair.head, sitk.Transform(), sitk.sitkNearestNeighbor)
    pet, mr = (sitk.GetArrayViewFromImage(image).astype(bool) for image in (pair.head, there))
    return 2 * float((pet & mr).sum()) / float(np.maximum(pet.sum() + mr.sum(), 1))


def prominence(pair: Pair, motion: sitk.Euler3DTransform) -> float:
    """Return which share of the mutual information is lost, on average, 20 mm away along each axis.

    Near 0 the motion is as good as any other; where two images of one head meet it is about a half.
    """
    peak = normalised_mutual_information(pair, motion) - 1
    around = [step * sign for step in PROMINENCE_MM * np.eye(3) for sign in (1, -1)]
    values = [normalised_mutual_information(pair, shifted(motion, shift)) - 1 for shift in around]
    return 1 - float(np.mean(values)) / peak if peak > 0 else 0.0


def size_of(motion: np.ndarray, points: np.ndarray) -> Size:
    """Return how far a motion, as a matrix (4, 4), moves points (n, 3) of the head in mm."""
    angle = math.degrees(math.acos(float(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1))))
    moves = points @ motion[:3, :3].T + motion[:3, 3] - points
    return Size(float(np.linalg.norm(moves.mean(0))), angle, float(np.linalg.norm(moves, axis=1).mean()))


def matrix(motion: sitk.Transform) -> np.ndarray:
    """Return a linear transform as a matrix (4, 4) for homogeneous points in mm."""
    columns = [motion.TransformPoint(point) for point in np.vstack([np.zeros(3), np.eye(3)]).tolist()]
    origin = np.array(columns[0])
    result = np.eye(4)
    result[:3, :3] = (np.array(columns[1:]) - origin).T
    result[:3, 3] = origin
    return result


def _points(outline: sitk.Image, count: int = 500) -> np.ndarray:
    grid, indices = Grid.of(outline), np.argwhere(sitk.GetArrayViewFromImage(outline))
    return np.array([grid.point(index) for index in indices[:: max(1, len(indices) // count), ::-1]])


def shifted(motion: sitk.Euler3DTransform, shift: np.ndarray) -> sitk.Euler3DTransform:
    """Return a motion that goes further by a shift (mm)."""
    result = sitk.Euler3DTransform(motion)
    result.SetTranslation((np.array(motion.GetTranslation()) + shift).tolist())
    return result


def _upright(image: sitk.Image) -> sitk.Image:
    """A field of view longer than a head with z to superior, where the head is looked for; any other as it is."""
    longest = max(count * step for count, step in zip(image.GetSize(), image.GetSpacing()))
    return sitk.DICOMOrient(image, "LPS") if longest > LONGEST_HEAD_MM else image


def _shrink(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    factors = [max(1, min(int(spacing_mm / step + 0.1), n)) for step, n in zip(image.GetSpacing(), image.GetSize())]
    return sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors)


def _entropy(shares: np.ndarray) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())
