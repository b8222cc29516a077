"""Rigid registration of an MR to a PET by mutual information, and the coarse views of both that it looks at.

A motion is a :class:`SimpleITK.Euler3DTransform` that maps points of the PET to points of the MR (mm, L-P-S), the
direction in which SimpleITK resamples. The MR is moved by the inverse, which changes its origin and direction alone:
no voxel is interpolated for it.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional

import numpy as np
import SimpleITK as sitk

from ..findings import Finding, info, warning
from ..io.grid import Grid
from ..scan import find_head, smooth
from ..thresholds import LONGEST_HEAD_MM

SEED = 1
BINS = 32
BRIGHTEST_PET = 2.5
BRIGHTEST_MR = 1.2
LEAST_OVERLAP = 0.1
OUTSIDE = -1.0
SMALLEST_STEP_MM = 0.01
RELAXATION = 0.6
MOST_ITERATIONS = 200
PROMINENCE_MM = 20.0
LEAST_PROMINENCE = 0.25


@dataclass(frozen=True)
class Level:
    """How closely to look.

    Attributes:
        spacing_mm: voxels are averaged to at most this side.
        pet_smoothing_mm: FWHM that takes the noise of a low dose away.
        samples: voxels, drawn with a fixed seed, over which the mutual information is estimated.
        step_mm: first step of the search.
    """

    spacing_mm: float
    pet_smoothing_mm: float
    samples: int
    step_mm: float


ROUGH = Level(8.0, 12.0, 6000, 4.0)
COARSE = Level(4.0, 8.0, 15000, 2.0)
FINE = Level(3.0, 5.0, 30000, 1.0)


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
class Registration:
    """What :func:`register` found.

    Attributes:
        motion: PET points to MR points.
        size: how far it goes.
        converged: whether the search came to an end on a peak that stands out.
        before, after: normalised mutual information as the images came and after the motion.
    """

    motion: sitk.Euler3DTransform
    size: Size
    converged: bool
    before: float
    after: float

    @property
    def applied(self) -> bool:
        """Whether the motion is to be used: it was found, and it helps."""
        return self.converged and self.after > self.before

    def as_dict(self) -> dict[str, Any]:
        """Return the registration as plain JSON types.

        ``transform`` holds the parameters of a :class:`SimpleITK.Euler3DTransform` from points of the PET to points of
        the MR; ``mr_to_pet_lps`` is its inverse as a matrix (4, 4), by which the MR was moved (mm, L-P-S).
        """
        return {
            "converged": self.converged,
            "applied": self.applied,
            "offset_mm": round(self.size.offset_mm, 2),
            "angle_degrees": round(self.size.degrees, 2),
            "nmi_before": round(self.before, 5),
            "nmi_after": round(self.after, 5),
            "transform": {
                "type": self.motion.GetName(),
                "parameters": list(self.motion.GetParameters()),
                "centre": list(self.motion.GetCenter()),
            },
            "mr_to_pet_lps": matrix(self.motion.GetInverse()).tolist(),
        }


def _ignore(_done: int, _of: int) -> None:
    """Take no notice of progress."""


def make_pair(pet: sitk.Image, mr: sitk.Image, level: Level) -> Optional[Pair]:
    """Make PET and MR comparable; None when one of them shows no head."""
    coarse_pet, coarse_mr = (_shrink(_upright(image), level.spacing_mm) for image in (pet, mr))
    grid, mr_grid = Grid.of(coarse_pet), Grid.of(coarse_mr)
    activity, signal = (sitk.GetArrayFromImage(image) for image in (coarse_pet, coarse_mr))
    head, mr_head = find_head(activity, grid.array_spacing), find_head(signal, mr_grid.array_spacing)
    if head is None or mr_head is None:
        return None
    activity = smooth(activity / head.brain_mean, grid.array_spacing, level.pet_smoothing_mm)
    signal = np.clip(signal / np.quantile(signal[signal > 0], 0.99), 0, BRIGHTEST_MR)
    return Pair(
        pet=grid.image(np.sqrt(np.clip(activity, 0, BRIGHTEST_PET))),
        mr=mr_grid.image(smooth(signal, mr_grid.array_spacing, level.spacing_mm)),
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
    return _shifted(no_motion(pair), _points(pair.mr_head).mean(0) - head_points(pair).mean(0))


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


def best_motion(pair: Pair, level: Level, start: sitk.Euler3DTransform) -> Optional[Search]:
    """Follow the mutual information uphill from ``start``; None when the two have next to nothing in common there."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(pair.head)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, level.samples / pair.pet.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        level.step_mm, SMALLEST_STEP_MM, MOST_ITERATIONS, RELAXATION, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    motion = sitk.Euler3DTransform(start)
    method.SetInitialTransform(motion, inPlace=True)
    try:
        with _one_thread():
            method.Execute(pair.pet, pair.mr)
    except RuntimeError:
        # SimpleITK's way to say that too few of the samples lie inside the MR
        return None
    return Search(motion, -method.GetMetricValue(), method.GetOptimizerIteration() + 1 < MOST_ITERATIONS)


def prominence(pair: Pair, motion: sitk.Euler3DTransform) -> float:
    """Return which share of the mutual information is lost, on average, 20 mm away along each axis.

    Near 0 the motion is as good as any other; where two images of one head meet it is about a half.
    """
    peak = normalised_mutual_information(pair, motion) - 1
    around = [step * sign for step in PROMINENCE_MM * np.eye(3) for sign in (1, -1)]
    values = [normalised_mutual_information(pair, _shifted(motion, shift)) - 1 for shift in around]
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


def moved(mr: sitk.Image, motion: sitk.Transform) -> sitk.Image:
    """Return the MR at its place on the PET: the same voxels, with another origin and direction."""
    back = matrix(motion.GetInverse())
    result = sitk.Image(mr)
    result.SetOrigin((back[:3, :3] @ mr.GetOrigin() + back[:3, 3]).tolist())
    result.SetDirection((back[:3, :3] @ np.reshape(mr.GetDirection(), (3, 3))).ravel().tolist())
    return result


def register(pet: sitk.Image, mr: sitk.Image, on_step: Callable[[int, int], None] = _ignore) -> Registration:
    """Find the rigid motion between PET and MR, from rough to fine, from the best of three starts.

    Args:
        pet: PET of a head, as noisy as a tenth of the usual dose.
        mr: MR of the same head; it may lie anywhere.
        on_step: receives how many of the searches are done, and how many there are.
    """
    levels = (ROUGH, COARSE, FINE)
    on_step(0, len(levels))
    rough = make_pair(pet, mr, ROUGH)
    if rough is None:
        return _failed(sitk.Euler3DTransform())
    pair = rough
    searches = [search for search in (best_motion(pair, ROUGH, start) for start in _starts(pair)) if search]
    best = max(searches, key=lambda search: search.information, default=None)
    for done, level in enumerate(levels[1:], 1):
        finer = make_pair(pet, mr, level)
        if best is None or finer is None:
            return _failed(no_motion(pair))
        on_step(done, len(levels))
        pair = finer
        best = best_motion(pair, level, best.motion)
    if best is None:
        return _failed(no_motion(pair))
    before, after = (normalised_mutual_information(pair, motion) for motion in (no_motion(pair), best.motion))
    found = best.converged and prominence(pair, best.motion) > LEAST_PROMINENCE
    return Registration(best.motion, size_of(matrix(best.motion), head_points(pair)), found, before, after)


def register_mr(
    pet: sitk.Image, mr: sitk.Image, on_step: Callable[[int, int], None] = _ignore
) -> tuple[sitk.Image, Finding]:
    """Move an MR to a PET.

    Returns:
        The MR, moved if that was found to help; and the finding ``registration``: ``applied``, ``not_converged`` or
        ``no_gain``, with the values of :meth:`Registration.as_dict`.
    """
    found = register(pet, mr, on_step)
    if found.applied:
        return moved(mr, found.motion), info("registration.applied", **found.as_dict())
    if not found.converged:
        return mr, warning("registration.not_converged", **found.as_dict())
    return mr, warning("registration.no_gain", **found.as_dict())


def _starts(pair: Pair) -> list[sitk.Euler3DTransform]:
    """Where to begin: as they lie, with the heads centre on centre, and with the volumes centre on centre."""
    volumes = Grid.of(pair.mr).corners().mean(0) - Grid.of(pair.pet).corners().mean(0)
    return [no_motion(pair), heads_centred(pair), _shifted(no_motion(pair), volumes)]


def _points(outline: sitk.Image, count: int = 500) -> np.ndarray:
    grid, indices = Grid.of(outline), np.argwhere(sitk.GetArrayViewFromImage(outline))
    return np.array([grid.point(index) for index in indices[:: max(1, len(indices) // count), ::-1]])


def _shifted(motion: sitk.Euler3DTransform, shift: np.ndarray) -> sitk.Euler3DTransform:
    result = sitk.Euler3DTransform(motion)
    result.SetTranslation((np.array(motion.GetTranslation()) + shift).tolist())
    return result


def _failed(motion: sitk.Euler3DTransform) -> Registration:
    return Registration(motion, Size(0.0, 0.0, 0.0), False, 1.0, 1.0)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let the metric sum in one order: over several threads its last bits differ from run to run."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


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
