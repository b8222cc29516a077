"""Compare images with the full dose of the same scan: over the head, over the brain, and region by region."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Mapping, Optional

import numpy as np
import SimpleITK as sitk

from . import measures
from .errors import InputError
from .findings import Finding, info, warning
from .io.grid import Grid, resample, same_lattice, same_place
from .io.suv_sidecar import same_unit
from .io.volume import UNKNOWN, ReadVolume
from .prepare.align import ORIENTATION, to_grid_of
from .report.regions import check_labels, labels_on
from .scan import Scan

LEAST_COVERAGE = 0.99
"""Share of the head that the full dose must reach for nothing to be said."""
UNLIKE_MEANS = 0.25
"""Difference of the brain means from which a user should look at units and decay correction."""


@dataclass(frozen=True)
class Scores:
    """One image against the full dose; see :mod:`CSRDDenoiseLib.measures` for the definitions.

    Attributes:
        psnr: dB, over the head; None for equal images.
        ssim, nrmse: over the head, without unit.
        bias: over the brain, as a share.
        total_bias: over the head, as a share.
    """

    psnr: Optional[float]
    ssim: float
    nrmse: float
    bias: float
    total_bias: float


@dataclass(frozen=True)
class RegionMeans:
    """One label.

    Attributes:
        label: number in the label map.
        millilitres: volume.
        full: mean of the full dose, in its unit.
        images: name of the image -> its mean.
        errors: name of the image -> difference of the means as a share of that of the full dose; None where that is 0.
    """

    label: int
    millilitres: float
    full: float
    images: Mapping[str, float]
    errors: Mapping[str, Optional[float]]


@dataclass(frozen=True)
class FullDoseComparison:
    """What :func:`compare_with_full_dose` found.

    Attributes:
        scores: name of the image -> its scores.
        regions: one a label, in the order of the labels; none without a label map.
        agreement: name of the image -> how the regions' means agree with those of the full dose; empty without regions.
        unit: of the regions' means, or "unknown".
        findings: resampled, cut, of unknown unit, of another brightness.
    """

    scores: Mapping[str, Scores]
    regions: tuple[RegionMeans, ...]
    agreement: Mapping[str, measures.Agreement]
    unit: str
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {**asdict(self), "findings": [finding.as_dict() for finding in self.findings]}


@dataclass(frozen=True)
class Reference:
    """The full dose on an image's grid, in anatomical order, and where to measure.

    Attributes:
        grid: of the images, turned to L-P-S.
        box: the head's bounding box, slices (D, H, W); the arrays below are cut to it.
        full: the full dose.
        head: the head with a margin, as far as the full dose reaches: PSNR, SSIM, NRMSE, total activity.
        brain: where the smoothed full dose is as bright as brain: bias.
        findings: of the comparison.
    """

    grid: Grid
    box: tuple[slice, ...]
    full: np.ndarray
    head: np.ndarray
    brain: np.ndarray
    findings: tuple[Finding, ...]

    def cut(self, image: sitk.Image) -> np.ndarray:
        """Return the part of an image on the same grid that lies in the head's box, (D, H, W).

        Raises:
            InputError: the image lies on another grid, or has voxels that are no number.
        """
        oriented = sitk.DICOMOrient(image, ORIENTATION)
        if not same_place(Grid.of(oriented), self.grid):
            raise InputError("The images to compare do not lie on one grid.")
        return _finite(sitk.GetArrayFromImage(oriented)[self.box], "PET")

    def scores(self, image: np.ndarray) -> Scores:
        """Measure an image that :meth:`cut` returned."""
        psnr = measures.psnr(image, self.full, self.head)
        return Scores(
            psnr if math.isfinite(psnr) else None,
            measures.ssim(image, self.full, self.head),
            measures.nrmse(image, self.full, self.head),
            measures.bias(image, self.full, self.brain),
            measures.bias(image, self.full, self.head),
        )


def compare_with_full_dose(
    images: Mapping[str, ReadVolume], full: ReadVolume, labels: Optional[sitk.Image] = None
) -> FullDoseComparison:
    """Measure images against the full dose of the same scan.

    Args:
        images: name -> image, all on one grid and in one unit; one or more.
        full: the full dose; on another grid it is resampled as ``validate`` does, and a finding reports it.
        labels: regions to measure, on any grid, or None.

    Raises:
        InputError: the units differ, the two do not overlap, the full dose shows no head, or the label map is none.
    """
    first = next(iter(images.values()))
    findings = list(_judge_units(first.unit, full.unit))
    reference = reference_for(first.image, full.image)
    arrays = {name: reference.cut(volume.image) for name, volume in images.items()}
    scores = {name: reference.scores(array) for name, array in arrays.items()}
    ratio = 1 + next(iter(scores.values())).bias
    if abs(ratio - 1) > UNLIKE_MEANS:
        findings.append(warning("full_dose.unlike", ratio=ratio))
    regions = () if labels is None else _regions(labels, reference, arrays)
    agreement = {}
    if regions:
        full_means = [region.full for region in regions]
        for name in images:
            agreement[name] = measures.bland_altman([region.images[name] for region in regions], full_means)
    unit = first.unit if first.unit != UNKNOWN else full.unit
    return FullDoseComparison(scores, regions, agreement, unit, (*findings, *reference.findings))


def reference_for(image: sitk.Image, full: sitk.Image) -> Reference:
    """Return the full dose as a reference for an image on any grid.

    Raises:
        InputError: the two do not overlap, or the full dose shows no head there.
    """
    own, oriented = (sitk.DICOMOrient(each, ORIENTATION) for each in (image, full))
    grid = Grid.of(own)
    findings = [] if same_lattice(Grid.of(oriented), grid) else [_resampled(full, image)]
    reached = np.ones(grid.size[::-1], bool)
    if not same_place(Grid.of(oriented), grid):
        reached = sitk.GetArrayFromImage(resample(_ones(oriented), grid, sitk.sitkNearestNeighbor)) > 0
    if not reached.any():
        raise InputError("The full-dose volume does not overlap the PET. Register it first, or choose another.")
    array = sitk.GetArrayFromImage(to_grid_of(oriented, own))
    scan = Scan(_finite(array, "full-dose volume"), grid)
    box = scan.head.box
    head = scan.head.mask[box] & reached[box]
    share = float(head.sum() / scan.head.mask[box].sum())
    if share < LEAST_COVERAGE:
        findings.append(warning("full_dose.cut", percent=100 * share))
    return Reference(grid, box, array[box], head, scan.brain[box] & head, tuple(findings))


def _judge_units(ours: str, theirs: str) -> tuple[Finding, ...]:
    if UNKNOWN in (ours, theirs):
        return () if ours == theirs else (info("full_dose.unit_unknown", pet=ours, full=theirs),)
    if not same_unit(ours, theirs):
        raise InputError(
            f"The PET is in {ours}, the full-dose volume in {theirs}. Convert one of them, so that both have one unit."
        )
    return ()


def _finite(array: np.ndarray, what: str) -> np.ndarray:
    odd = int((~np.isfinite(array)).sum())
    if odd:
        raise InputError(f"The {what} has {odd} voxels that are not numbers. Repair it first.")
    return array


def _resampled(full: sitk.Image, image: sitk.Image) -> Finding:
    return info("full_dose.resampled", full=str(Grid.of(full)), pet=str(Grid.of(image)))


def _ones(image: sitk.Image) -> sitk.Image:
    return Grid.of(image).image(np.ones(image.GetSize()[::-1], np.uint8))


def _regions(labels: sitk.Image, reference: Reference, arrays: Mapping[str, np.ndarray]) -> tuple[RegionMeans, ...]:
    check_labels(labels, reference.grid.image(np.zeros(reference.grid.size[::-1], np.uint8)))
    found = np.where(reference.head, labels_on(labels, reference.grid)[reference.box], 0)
    numbers = [int(number) for number in np.unique(found) if number]
    if not numbers:
        raise InputError("No region of the label map lies in the head; check that both lie in the same space.")
    volumes = np.bincount(np.searchsorted(numbers, found[found != 0])) * math.prod(reference.grid.spacing) / 1000
    full = measures.region_means(reference.full, found, numbers)
    means = {name: measures.region_means(array, found, numbers) for name, array in arrays.items()}
    return tuple(
        _region(number, float(volumes[k]), float(full[k]), {name: float(each[k]) for name, each in means.items()})
        for k, number in enumerate(numbers)
    )


def _region(label: int, millilitres: float, full: float, images: Mapping[str, float]) -> RegionMeans:
    errors = {name: mean / full - 1 if full else None for name, mean in images.items()}
    return RegionMeans(label, millilitres, full, images, errors)
