"""Rigid registration of an MR to a PET by mutual information.

The MR is moved by the inverse of the motion found, which changes its origin and direction alone: no voxel is
interpolated for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional

import numpy as np
import SimpleITK as sitk

from ..findings import Finding, info, warning
from ..io.grid import Grid
from .comparable import (
    BINS,
    COARSE,
    FINE,
    LEAST_PROMINENCE,
    Pair,
    Size,
    head_points,
    heads_centred,
    make_pair,
    matrix,
    no_motion,
    normalised_mutual_information,
    outline_overlap,
    prominence,
    shifted,
    size_of,
)

SEED = 1
SMALLEST_STEP_MM = 0.01
RELAXATION = 0.6
MOST_ITERATIONS = 200
LEAST_OUTLINE_OVERLAP = 0.6
CHANCE_GAIN = 10.0


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
    """

    size: Optional[Size]
    outline_overlap: float
    nmi: float
    nmi_best: float
    prominence: float


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


def best_motion(pair: Pair, start: sitk.Euler3DTransform, levels: Levels = ONE_LEVEL) -> Optional[Search]:
    """Follow the mutual information uphill from ``start``; None when the two have next to nothing in common there."""
    voxels = pair.pet.GetNumberOfPixels()
    shares = [min(1.0, count * factor**3 / voxels) for count, factor in zip(levels.samples, levels.shrink)]
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(pair.head)
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
            method.Execute(pair.pet, pair.mr)
    except RuntimeError:
        # SimpleITK raises it when too few of the samples lie inside the MR
        return None
    return Search(motion, -method.GetMetricValue(), method.GetOptimizerIteration() + 1 < MOST_ITERATIONS)


def moved(mr: sitk.Image, motion: sitk.Transform) -> sitk.Image:
    """Return the MR at its place on the PET: the same voxels, with another origin and direction."""
    back = matrix(motion.GetInverse())
    result = sitk.Image(mr)
    result.SetOrigin((back[:3, :3] @ mr.GetOrigin() + back[:3, 3]).tolist())
    result.SetDirection((back[:3, :3] @ np.reshape(mr.GetDirection(), (3, 3))).ravel().tolist())
    return result


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
    voxels = int(sitk.GetArrayViewFromImage(pair.head).sum())
    if best - 1 < (now - 1) * (1 + CHANCE_GAIN / voxels**0.5):
        motion, best = here, now
    return Fit(size_of(matrix(motion), head_points(pair)), overlap, now, best, prominence(pair, motion))


def register(pet: sitk.Image, mr: sitk.Image, on_step: Callable[[int, int], None] = _ignore) -> Registration:
    """Find the rigid motion between PET and MR: roughly from three starts, then from the best one by ITK's levels.

    Args:
        pet: PET of a head, as noisy as a tenth of the usual dose.
        mr: MR of the same head; it may lie anywhere.
        on_step: receives how many of the searches are done, and how many there are.
    """
    pair = make_pair(pet, mr, FINE)
    if pair is None:
        return _failed(sitk.Euler3DTransform())
    best = best_motion(pair, rough.motion, FINER) if (rough := _rough(pair, on_step)) else None
    if best is None:
        return _failed(no_motion(pair))
    before, after = (normalised_mutual_information(pair, motion) for motion in (no_motion(pair), best.motion))
    found = best.converged and prominence(pair, best.motion) > LEAST_PROMINENCE
    return Registration(best.motion, size_of(matrix(best.motion), head_points(pair)), found, before, after)


def _rough(pair: Pair, on_step: Callable[[int, int], None]) -> Optional[Search]:
    """Search roughly from each start, and return the best.

    ITK's levels begin at one transform. With the start that fits best before any search, 1 of 18 heads moved by 5 to
    400 mm was placed more than 1.5 mm off; with the best after a rough search none was.
    """
    starts, searches = _starts(pair), []
    for done, start in enumerate(starts):
        on_step(done, len(starts) + 1)
        searches.append(best_motion(pair, start, ROUGH))
    on_step(len(starts), len(starts) + 1)
    return max(filter(None, searches), key=lambda search: search.information, default=None)


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
    return [no_motion(pair), heads_centred(pair), shifted(no_motion(pair), volumes)]


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
