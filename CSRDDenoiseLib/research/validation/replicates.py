"""What repeated scans of one subject show: the noise of the full dose, and how much of an error is noise or bias.

Let two scans be independent, with low doses l1, l2, full doses f1, f2 and results r1, r2 of a method, and t the image
without noise. The mean over voxels of (f1 - f2)^2 is twice the variance v of a full dose; that of (r1 - r2)^2 is twice
the variance of a result; and the noise of f2 is not in r1, so that of (r1 - f2)^2 is the squared error to t plus
v. What is left of the error when the variance is taken away is the squared bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Optional, Sequence

import numpy as np

from ...io.grid import Grid, same_place
from .scans import OwnScan

_SHIFT_VOXELS = 0.05
"""How far apart two grids may be that are compared voxel by voxel."""


@dataclass(frozen=True)
class Overlap:
    """Two scans on one grid: which part of each one's box is common, and the heads in it."""

    first: OwnScan
    second: OwnScan
    own: tuple[slice, ...]
    other: tuple[slice, ...]
    mask: np.ndarray

    def distance(self, one: np.ndarray, two: np.ndarray) -> float:
        """Mean squared difference in the heads of arrays in the first's box and in the second's.

        Each is relative to the brain mean of its full dose: two injections are hardly of one activity.
        """
        first = one[self.own][self.mask].astype(np.float64) / self.first.study.scale
        return float(np.mean((first - two[self.other][self.mask] / self.second.study.scale) ** 2))

    @property
    def has_two_full_doses(self) -> bool:
        """Whether the two have full doses of their own."""
        return self.distance(self.first.study.full_dose, self.second.study.full_dose) > 0

    @property
    def has_two_low_doses(self) -> bool:
        """Whether the two have low doses of their own."""
        low = (scan.study.array(scan.study.low_doses[scan.dose]) for scan in (self.first, self.second))
        return self.distance(*low) > 0


def overlaps(scans: Sequence[OwnScan]) -> list[Overlap]:
    """Return every two of the scans that lie on one grid."""
    found = []
    for one, two in combinations(scans, 2):
        grids = [Grid.of(scan.study.low_doses[scan.dose]) for scan in (one, two)]
        if not same_place(grids[0], grids[1], _SHIFT_VOXELS):
            continue
        common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.study.box, two.study.box)]
        own, other = (
            tuple(slice(part.start - at.start, part.stop - at.start) for part, at in zip(common, box))
            for box in (one.study.box, two.study.box)
        )
        found.append(Overlap(one, two, own, other, one.study.masks.head[own] & two.study.masks.head[other]))
    return found


def with_full_noise(scans: Sequence[OwnScan]) -> list[OwnScan]:
    """Return the scans with the noise of their full doses, where two full doses of one grid show it."""
    pairs = [pair for pair in overlaps(scans) if pair.has_two_full_doses]
    if not pairs:
        return list(scans)
    relative = np.mean([pair.distance(pair.first.study.full_dose, pair.second.study.full_dose) / 2 for pair in pairs])
    return [
        replace(scan, study=replace(scan.study, full_noise=float(relative) * scan.study.scale**2))
        if scan.study.full_noise is None
        else scan
        for scan in scans
    ]


def split(pairs: Sequence[Overlap], results: dict[int, np.ndarray]) -> Optional[tuple[float, Optional[float], int]]:
    """Split the error of a method.

    Args:
        pairs: of scans of one subject, session and dose.
        results: id of a scan -> what the method made of it, in its box.

    Returns:
        Variance of the result, squared error to the noise-free image (None with one full dose only), both over the
        squared brain mean, and how many pairs they are the mean of; None without two low doses.
    """
    used = [pair for pair in pairs if pair.has_two_low_doses]
    if not used:
        return None
    noise = [pair.distance(results[id(pair.first)], results[id(pair.second)]) / 2 for pair in used]
    totals = []
    for pair in used:
        if pair.has_two_full_doses:
            variance = pair.distance(pair.first.study.full_dose, pair.second.study.full_dose) / 2
            ahead = pair.distance(results[id(pair.first)], pair.second.study.full_dose)
            back = pair.distance(pair.first.study.full_dose, results[id(pair.second)])
            totals.append((ahead + back) / 2 - variance)
    return float(np.mean(noise)), float(np.mean(totals)) if totals else None, len(used)
