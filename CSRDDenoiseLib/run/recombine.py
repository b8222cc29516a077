"""Another width for "keep measured above" after a run, without running the network again.

:class:`Quick` answers while a slider moves, on the PET's grid and only where the estimate differs from the PET.
:class:`Afterwards` holds what a run made on the model's grid, and makes from it what a run with that width makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..checks.output import assess
from ..findings import OF_WIDTH
from ..io.grid import Grid
from ..io.record import Record
from ..model.metadata import ModelMetadata
from ..report.summary import head_and_mean, noise_percent, reference_region
from ..restore.canvas import Canvas
from ..restore.keeping import DETAILS_MM, Details, Keeping
from ..restore.uncertainty import calibrate, spread_of_result
from ..scan import FWHM_PER_SIGMA, Scan
from .result import DenoiseResult

if TYPE_CHECKING:
    from ..infer.sampling import ResidualSamples

_TRUNCATE = 3.0
_SIGMAS_A_BLOCK = 1.5
"""A block is at most a sigma over this number; at the edge of the head that costs up to 2 % of its activity."""
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Part:
    """A result inside a box of the PET's grid; outside of it nothing differs from the PET.

    Attributes:
        box: three slices, (D, H, W).
        denoised, difference: (D, H, W) inside the box, in the PET's unit.
        numbers: some of those of :class:`~CSRDDenoiseLib.report.summary.ChangeSummary`.
    """

    box: Box
    denoised: np.ndarray
    difference: np.ndarray
    numbers: dict[str, Any]


class Quick:
    """Recombines a PET with the model's bare estimate of it for one width after another.

    Args:
        pet: the PET.
        bare: the estimate, on the same grid.
        limited: the run had a region, outside of which the estimate is the PET: the average then is over the inside.
    """

    def __init__(self, pet: sitk.Image, bare: sitk.Image, limited: bool = False):
        self._pet, self._limited = pet, limited
        values, estimate = (sitk.GetArrayViewFromImage(image) for image in (pet, bare))
        treated = estimate != values
        self._box = _box_of(treated)
        self._before = values[self._box].astype(np.float32)
        self._residual = estimate[self._box].astype(np.float32) - self._before
        self._sum = float(values.sum(dtype=np.float64))
        self._size = float(np.abs(values).sum(dtype=np.float64))
        self._never_negative = bool(values.min() >= 0)
        self._zeros = Canvas(pet, Grid.of(pet)).zeros[self._box]
        head, mean = head_and_mean(pet)
        self._head, self._head_voxels = head[self._box], max(int(head.sum()), 1)
        self._brain_mean = np.float32(mean)
        # looked for now, not when the slider moves first
        self._cube = reference_region(sitk.Cast(pet, sitk.sitkFloat32), treated if treated.any() else None)
        relative = self._residual / self._brain_mean
        blur = partial(self._smoothed, fwhm_mm=DETAILS_MM)
        self._details = Details.of(self._before / self._brain_mean + relative, relative, blur)

    def at(self, fwhm_mm: float) -> Part:
        """Return the result that keeps the measurement above a width; 0 gives the PET, infinity the estimate."""
        denoised = self._before + self._fine(fwhm_mm)
        if self._never_negative:
            np.maximum(denoised, 0, out=denoised)
        denoised[self._zeros] = 0
        difference = denoised - self._before
        return Part(self._box, denoised, difference, self._numbers(denoised, difference))

    def images(self, fwhm_mm: float) -> tuple[sitk.Image, sitk.Image]:
        """Return the same as whole images, denoised and difference."""
        part, values = self.at(fwhm_mm), sitk.GetArrayFromImage(self._pet)
        difference = np.zeros_like(values)
        values[part.box], difference[part.box] = part.denoised, part.difference
        return Grid.of(self._pet).image(values), Grid.of(self._pet).image(difference)

    def _fine(self, fwhm_mm: float) -> np.ndarray:
        if math.isinf(fwhm_mm):
            return self._residual
        if fwhm_mm <= 0:
            return np.zeros_like(self._residual)
        residual = self._residual + self._details.missing(fwhm_mm) * self._brain_mean
        if self._limited:
            residual *= self._inside
        return np.subtract(residual, self._smoothed(residual, fwhm_mm), out=residual)

    @cached_property
    def _inside(self) -> np.ndarray:
        """Where the estimate differs from the PET, 1 or 0."""
        return (self._residual != 0).astype(np.float32)

    def _smoothed(self, volume: np.ndarray, fwhm_mm: float) -> np.ndarray:
        sigmas = [fwhm_mm / FWHM_PER_SIGMA / step for step in Grid.of(self._pet).array_spacing]
        if not self._limited:
            return _smoothed(volume, sigmas)
        coarse, inside = (_smoothed(each, sigmas) for each in (volume * self._inside, self._inside))
        return np.where(self._inside > 0, coarse / np.maximum(inside, 1e-6), 0)

    def _numbers(self, denoised: np.ndarray, difference: np.ndarray) -> dict[str, Any]:
        total = 100 * float(difference.sum(dtype=np.float64)) / self._sum if self._sum > 1e-3 * self._size else None
        numbers = {
            "mean_change": float(difference[self._head].sum(dtype=np.float64)) / self._head_voxels,
            "max_change": float(max(difference.max(), -difference.min())),
            "total_change_percent": total,
        }
        if self._cube is None:
            return numbers
        after = sitk.GetArrayViewFromImage(self._pet)[self._cube].astype(np.float32)
        shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self._cube, self._box)]
        if all(side.stop > side.start for side in shared):
            here, there = (
                tuple(slice(side.start - of.start, side.stop - of.start) for side, of in zip(shared, base))
                for base in (self._cube, self._box)
            )
            after[here] = denoised[there]
        return {**numbers, "noise_after_percent": noise_percent(after)}


@dataclass(frozen=True)
class NetworkRun:
    """A run whose network is done.

    Attributes:
        result: of the run.
        canvas: the PET, and where the estimate belongs in it.
        scan: the PET on the model's grid.
        samples: of the residual on the model's grid.
        keeping: the part of the measurement that the result keeps.
        metadata: of the model.
        scale: a residual of the network times this is a residual in the PET's unit.
    """

    result: DenoiseResult
    canvas: Canvas
    scan: Scan
    samples: ResidualSamples
    keeping: Keeping
    metadata: ModelMetadata
    scale: float

    @property
    def estimate(self) -> np.ndarray:
        """The residual (D, H, W) on the model's grid, in the PET's unit."""
        return self.samples.mean * np.float32(self.scale)


class Afterwards:
    """What a run leaves behind; handed to :func:`CSRDDenoiseLib.denoise.denoise_files`, which fills it.

    A run that fails or is cancelled, at whatever step, leaves it as it was.
    """

    def __init__(self) -> None:
        self._run: Optional[NetworkRun] = None

    def remember(self, run: NetworkRun) -> None:
        """Keep a run."""
        self._run = run

    def take(self, other: Afterwards, record: Record) -> None:
        """Keep the run of another one, with the record of files in place of that of images."""
        if other._run is not None:
            self._run = replace(other._run, result=replace(other._run.result, record=record))

    @property
    def bare(self) -> Optional[tuple[sitk.Image, sitk.Image, bool]]:
        """The PET, the bare estimate, and whether there was a region; None before the run has ended."""
        run = self._run
        return None if run is None else (run.canvas.pet, run.result.bare, run.canvas.region is not None)

    def at(self, fwhm_mm: float, check: Callable[[], None] = lambda: None) -> DenoiseResult:
        """Return what the run would have made with ``keep_above_mm``; ``check`` is called between steps and may raise.

        Raises:
            ValueError: no run has ended.
        """
        run = self._run
        if run is None:
            raise ValueError("There is no run yet.")
        keeping, record = replace(run.keeping, fwhm_mm=fwhm_mm, chosen=True), run.result.record
        settings = replace(record.settings, keep_above_mm=fwhm_mm)
        check()
        estimate = run.estimate
        restored = run.canvas.result(estimate, keeping)
        check()
        drawn = run.samples.std
        left_out = restored.left_out / np.float32(run.scale)
        spread = None if drawn is None else spread_of_result(drawn, left_out)
        error, about_error = calibrate(spread, run.scan.spacing, run.metadata.recipes, settings.recipe)
        uncertainty = None if error is None else run.canvas.spread(error * (keeping.modelled * run.scale), keeping)
        check()
        assessed = assess(run.canvas, run.scan, estimate, restored, run.metadata)
        check()
        made = (keeping.finding, *about_error, *assessed.findings)
        names = {finding.check for finding in made} | OF_WIDTH
        others = tuple(finding for finding in record.findings if finding.check not in names)
        findings = (*others, *made)
        record = replace(record, settings=settings, findings=findings, mean_change=assessed.mean_change)
        bare = run.result.make_bare
        return DenoiseResult(restored.denoised, restored.difference, uncertainty, assessed.support, record, bare)


def _box_of(mask: np.ndarray) -> Box:
    """The box around True, or a single voxel without any."""
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found else (slice(0, 1),) * 3


def _smoothed(volume: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Return a volume (D, H, W) smoothed by a Gaussian, ``sigmas`` in voxels, its edges going on.

    What is as wide as the Gaussian is there in means over blocks, so it is computed on them. Along each axis filter and
    interpolation are one matrix: products of matrices are several times faster than filters.
    """
    depth, height, width = volume.shape
    for axis, sigma in enumerate(sigmas):
        volume = _block_means(volume, axis, _block(sigma))
    first, second, third = (_matrix(size, sigma) for size, sigma in zip((depth, height, width), sigmas))
    along = (volume.reshape(-1, volume.shape[2]) @ third.T).reshape(*volume.shape[:2], width)
    along = np.matmul(second, along)
    return (first @ along.reshape(along.shape[0], -1)).reshape(depth, height, width)


def _block(sigma: float) -> int:
    return max(int(sigma / _SIGMAS_A_BLOCK), 1)


def _block_means(volume: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Means over blocks along an axis; the last one is filled up with the edge."""
    if block == 1:
        return volume
    missing = [(0, -volume.shape[each] % block if each == axis else 0) for each in range(3)]
    padded = np.pad(volume, missing, mode="edge") if any(last for _first, last in missing) else volume
    parts = [
        padded[tuple(slice(part, None, block) if each == axis else slice(None) for each in range(3))]
        for part in range(block)
    ]
    return sum(parts[1:], parts[0].copy()) / np.float32(block)


def _matrix(size: int, sigma: float) -> np.ndarray:
    """(size, blocks): from means over blocks to the smoothed voxels; linear between the centres of the blocks."""
    block = _block(sigma)
    count = -(-size // block)
    # block means and interpolation smooth too: variances of a box and of a triangle of that width
    own = (block**2 - 1) / 12 + (block**2 / 6 if block > 1 else 0.0)
    left = np.sqrt(max(sigma**2 - own, 0.0)) / block
    smooth = ndimage.gaussian_filter1d(np.eye(count), left, axis=0, mode="nearest", truncate=_TRUNCATE + 1)
    centres = (np.arange(count) + 0.5) * block - 0.5
    between = np.stack([np.interp(np.arange(size), centres, column) for column in np.eye(count)], axis=1)
    return (between @ smooth).astype(np.float32)
