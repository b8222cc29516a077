"""PET and MR made comparable: coarse views of both, their mutual information, and the rigid motion that raises it.

A motion is a :class:`SimpleITK.Euler3DTransform` that maps points of the PET to points of the MR (mm, L-P-S), the
direction in which SimpleITK resamples.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Optional

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..io.grid import Grid
from ..scan import Head, find_head, smooth
from ..thresholds import LONGEST_HEAD_MM

BRIGHTEST_PET = 2.5
BRIGHTEST_MR = 1.2
LEAST_OVERLAP = 0.1
OUTSIDE = -1.0
PROMINENCE_MM = 20.0
LEAST_PROMINENCE = 0.25
BINS = 32
SEED = 1
SMALLEST_STEP_MM = 0.01
RELAXATION = 0.6
MOST_ITERATIONS = 200
LEAST_OUTLINE_OVERLAP = 0.6
CHANCE_GAIN = 10.0


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


@dataclass(frozen=True)
class Levels:
    """Levels of ITK's multi-resolution search over a pair of images, from coarse to fine.

    Attributes:
        shrink: factor by which both images have fewer voxels a side.
        sigmas_mm: standard deviation of the Gaussian before.
        samples: voxels, drawn with a fixed seed, over which the mutual information is estimated.
        step_mm: first step at each level.
    """

    shrink: tuple[int, ...]
    sigmas_mm: tuple[float, ...]
    samples: tuple[int, ...]
    step_mm: float


ONE_LEVEL = Levels((1,), (0.0,), (15000,), 2.0)
ROUGH = Levels((3,), (4.0,), (6000,), 4.0)
FINER = Levels((2, 1), (2.0, 0.0), (15000, 30000), 2.0)


@dataclass(frozen=True)
class Search:
    """Where a search ended.

    Attributes:
        motion: PET points to MR points.
        information: Mattes mutual information there, more is better.
        converged: the steps became small before the iterations ran out.
    """

    motion: sitk.Euler3DTransform
    information: float
    converged: bool


@dataclass(frozen=True)
class Fit:
    """How PET and MR fit where they lie, and where they would fit best.

    Attributes:
        size: of the motion to the best place; None where the images have too little in common.
        outline_overlap: Dice coefficient of the heads' outlines as they lie, 0 to 1.
        nmi: normalised mutual information as they lie, 1 to 2.
        nmi_best: the same at the best rigid motion.
        prominence: see :func:`prominence`; there.
        nmi_mirrored: the same as ``nmi_best`` of the MR with left and right exchanged.
        chance: share by which the normalised mutual information (less 1) of so few voxels may rise for no reason.
    """

    size: Optional[Size]
    outline_overlap: float
    nmi: float
    nmi_best: float
    prominence: float
    nmi_mirrored: float = 1.0
    chance: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One of two images made comparable: itself, and the head in it as uint8."""

    image: sitk.Image
    head: sitk.Image


def make_pair(pet: sitk.Image, mr: sitk.Image, view: View) -> Optional[Pair]:
    """Make PET and MR comparable; None when one of them shows no head."""
    return pair_of(see_pet(pet, view), see_mr(mr, view))


def pair_of(pet: Optional[Seen], mr: Optional[Seen]) -> Optional[Pair]:
    """Return the pair of what :func:`see_pet` and :func:`see_mr` made; None when one of them shows no head."""
    return None if pet is None or mr is None else Pair(pet.image, mr.image, pet.head, mr.head)


def see_pet(pet: sitk.Image, view: View) -> Optional[Seen]:
    """Make a PET comparable; None when it shows no head."""
    grid, activity, head = _coarse(pet, view)
    if head is None:
        return None
    activity = smooth(activity / head.brain_mean, grid.array_spacing, view.pet_smoothing_mm)
    return Seen(grid.image(np.sqrt(np.clip(activity, 0, BRIGHTEST_PET))), grid.image(head.mask.astype(np.uint8)))


def see_mr(mr: sitk.Image, view: View) -> Optional[Seen]:
    """Make an MR comparable; None when it shows no head."""
    grid, signal, head = _coarse(mr, view)
    if head is None:
        return None
    signal = np.clip(signal / np.quantile(signal[signal > 0], 0.99), 0, BRIGHTEST_MR)
    return Seen(grid.image(smooth(signal, grid.array_spacing, view.spacing_mm)), grid.image(head.mask.astype(np.uint8)))


def _coarse(image: sitk.Image, view: View) -> tuple[Grid, np.ndarray, Optional[Head]]:
    """An image upright on coarse voxels: its grid, values (D, H, W) and head."""
    coarse = _shrink(_upright(image), view.spacing_mm)
    grid, values = Grid.of(coarse), sitk.GetArrayFromImage(coarse)
    return grid, values, find_head(values, grid.array_spacing)


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


def best_motion(pair: Pair, start: sitk.Euler3DTransform, levels: Levels = ONE_LEVEL) -> Optional[Search]:
    """Follow the mutual information uphill from ``start``; None when the two have next to nothing in common there."""
    pet, head = _around_head(pair)
    voxels = pet.GetNumberOfPixels()
    shares = [min(1.0, count * factor**3 / voxels) for count, factor in zip(levels.samples, levels.shrink)]
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(head)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(shares, SEED)
    method.SetShrinkFactorsPerLevel(levels.shrink)
    method.SetSmoothingSigmasPerLevel(levels.sigmas_mm)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        levels.step_mm, SMALLEST_STEP_MM, MOST_ITERATIONS, RELAXATION, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    motion = sitk.Euler3DTransform(start)
    method.SetInitialTransform(motion, inPlace=True)
    try:
        with _one_thread():
            method.Execute(pet, pair.mr)
    except RuntimeError:
        # SimpleITK raises it when too few of the samples lie inside the MR
        return None
    return Search(motion, -method.GetMetricValue(), method.GetOptimizerIteration() + 1 < MOST_ITERATIONS)


def measure_fit(pet: sitk.Image, mr: sitk.Image) -> Optional[Fit]:
    """Look for the rigid motion of the MR that fits the PET best, starting from where it lies, on 4 mm voxels.

    A motion that gains no more mutual information than chance gives to so few voxels is taken for none: a crop that
    shows little of the head can be moved by some mm and fits as well.

    Returns:
        None when one of the two shows no head.
    """
    pair = make_pair(pet, mr, COARSE)
    if pair is None:
        return None
    overlap = outline_overlap(pair)
    here = no_motion(pair)
    search = best_motion(pair, here if overlap >= LEAST_OUTLINE_OVERLAP else heads_centred(pair))
    now = normalised_mutual_information(pair, here)
    if search is None:
        return Fit(None, overlap, now, now, 0.0)
    motion, best = search.motion, normalised_mutual_information(pair, search.motion)
    chance = CHANCE_GAIN / int(sitk.GetArrayViewFromImage(pair.head).sum()) ** 0.5
    if best - 1 < (now - 1) * (1 + chance):
        motion, best = here, now
    size = size_of(matrix(motion), head_points(pair))
    return Fit(size, overlap, now, best, prominence(pair, motion), _mirrored_fit(pair, motion), chance)


def _mirrored_fit(pair: Pair, motion: sitk.Euler3DTransform) -> float:
    """Normalised mutual information at the best motion of the MR that lies mirrored where a motion brings it."""
    pet, head = _around_head(pair)
    mirrored = _mirrored(sitk.Resample(pair.mr, pet, motion, sitk.sitkLinear))
    other = Pair(pet, mirrored, head, _mirrored(head))
    search = best_motion(other, heads_centred(other))
    return 1.0 if search is None else normalised_mutual_information(other, search.motion)


def _mirrored(image: sitk.Image) -> sitk.Image:
    """The same image with left and right exchanged within its field of view."""
    axis = int(np.abs(np.reshape(image.GetDirection(), (3, 3)))[0].argmax())
    return Grid.of(image).image(np.flip(sitk.GetArrayViewFromImage(image), 2 - axis))


def _around_head(pair: Pair) -> tuple[sitk.Image, sitk.Image]:
    """PET and head in the head's box: of samples from a wide field of view few would lie in the head."""
    z, y, x = ndimage.find_objects(sitk.GetArrayViewFromImage(pair.head))[0]
    return pair.pet[x, y, z], pair.head[x, y, z]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let the metric sum in one order: over several threads its last bits differ from run to run."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


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
