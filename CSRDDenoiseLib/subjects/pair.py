"""A pair: low and full dose of one scan on the low dose's grid, with all that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ..checks.counts import compare_counts
from ..checks.overlap import check_gap
from ..checks.volumes import check_mr, check_pet, same_values
from ..errors import InputError
from ..findings import Finding, info, warning
from ..io.grid import Grid, corners_apart_mm, same_lattice, same_place
from ..io.read import read
from ..io.record import describe_file
from ..io.suv_sidecar import same_unit
from ..io.volume import UNKNOWN, ReadVolume
from ..prepare.align import MODEL_SPACING_MM, ORIENTATION, to_grid_of, to_model_grid
from ..prepare.motion import frame_motion
from ..report.regions import check_labels, labels_on
from ..scan import Scan
from .table import HALVES, PAIR, Row

INPUT_WORDS: Mapping[str, str] = {
    "low": "low-dose PET",
    "full": "full-dose PET",
    "mr": "MR",
    "labels": "label map",
    "lesions": "label map of lesions",
    "half_1": "first half",
    "half_2": "second half",
}
"""Column of the table -> what messages call its image."""
_READ_AS = {"low": "PET", "full": "PET", "half_1": "PET", "half_2": "PET", "mr": "MR"}
DOSE_ESTIMATED = "pair.dose_estimated"
RESAMPLED = "pair.resampled"


@dataclass(frozen=True)
class Pair:
    """One row of the table with its images.

    Attributes:
        row: of the table.
        low: as it was read; its grid is that of all the others but the MR.
        full: the full dose on that grid.
        full_as_read: the full dose on its own grid.
        mr: on its own grid, or None.
        labels: regions, whole numbers, (D, H, W) in the order of ``low``'s array, or None.
        lesions: lesions, likewise; each label is one lesion.
        halves: two images of half of the full dose's counts, or empty.
        findings: of reading and pairing; what is wrong with the content is :mod:`.judge`'s to find.
        checksums: column -> SHA-256 of the files it was read from.
    """

    row: Row
    low: sitk.Image
    full: sitk.Image
    full_as_read: sitk.Image
    mr: Optional[sitk.Image]
    labels: Optional[np.ndarray]
    lesions: Optional[np.ndarray]
    halves: tuple[sitk.Image, ...]
    findings: tuple[Finding, ...]
    checksums: Mapping[str, str]


def load_pair(row: Row) -> Pair:
    """Read the images of a row, and compare them with each other.

    A full dose whose voxels lie elsewhere is resampled to the grid of the low dose (linear), after a low-pass where
    voxels get larger.
    The mean of two halves replaces a full dose that the row does not name.

    Raises:
        InputError: a file cannot be read or holds no such image; low and full differ in their units or do not
            overlap; one image is named twice; or halves are not on one grid with each other and the full dose.
    """
    if row.lacks:
        raise InputError(f"The row {row.name} is not a pair: it has no {INPUT_WORDS[row.lacks[0]]}.")
    volumes = {name: read(path, _READ_AS.get(name, INPUT_WORDS[name])) for name, path in row.files.items()}
    pets, findings = _checked_pets(volumes)
    low = pets["low"]
    check_halves([pets[name] for name in HALVES if name in pets], pets.get("full"))
    halves = tuple(on_grid(pets[name], low) for name in HALVES if name in pets)
    full_as_read = pets["full"] if "full" in pets else _mean(*halves)
    full = on_grid(full_as_read, low)
    _check_two("low", low, "full", full, "so there is nothing to compare")
    mr = None
    if "mr" in volumes:
        mr, found = check_mr(volumes["mr"].image, low, False)
        _check_two("mr", mr, "full", full_as_read, "and would show a method the answer; give the MR, or none")
        check_gap(low, mr)
        findings += found
    return Pair(
        row=row,
        low=low,
        full=full,
        full_as_read=full_as_read,
        mr=mr,
        labels=_labels(volumes.get("labels"), low),
        lesions=_labels(volumes.get("lesions"), low),
        halves=halves,
        findings=(*(finding for volume in volumes.values() for finding in volume.findings), *findings),
        checksums={name: describe_file(row.files[name], volumes[name].header.files).sha256 for name in volumes},
    )


def check_halves(halves: Sequence[sitk.Image], full: Optional[sitk.Image]) -> None:
    """Refuse halves that would be interpolated to the full dose's grid, or to each other's: their noise is smoothed.

    Refuse one image that is named for two of the three, too: their difference would show no noise, or half of it.

    Raises:
        InputError: the grids differ, or two of the images are one.
    """
    named = [*zip(HALVES, halves), *([("full", full)] if halves and full is not None else [])]
    for (one, image), (two, other_image) in combinations(named, 2):
        _check_two(one, image, two, other_image, "so they show no noise; give two halves of the counts, or none")
    grids = [_oriented(image) for image in (full, *halves) if image is not None]
    other = next((grid for grid in grids[1:] if halves and not same_place(grids[0], grid)), None)
    if other is not None:
        raise InputError(
            f"The halves have another grid than the full dose, or than each other ({grids[0]} and {other}, corners up "
            f"to {corners_apart_mm(grids[0], other):.2g} mm apart), and interpolation would smooth their noise; "
            "reconstruct them on one grid."
        )


def _check_two(one: str, image: sitk.Image, two: str, other: sitk.Image, why: str) -> None:
    """Refuse one image under two names."""
    same = same_values(image, other)
    if same:
        raise InputError(f"The {INPUT_WORDS[one]} is {same.format(f'the {INPUT_WORDS[two]}')}, {why}.")


def _oriented(image: sitk.Image) -> Grid:
    """The grid in anatomical order: a flipped axis moves no voxel."""
    return Grid.of(sitk.DICOMOrient(image, ORIENTATION))


def on_grid(image: sitk.Image, like: sitk.Image) -> sitk.Image:
    """Return an image on the grid of another (:func:`CSRDDenoiseLib.prepare.align.to_grid_of`).

    Raises:
        InputError: the two do not overlap.
    """
    check_gap(like, image)
    return to_grid_of(image, like)


def _mean(one: sitk.Image, other: sitk.Image) -> sitk.Image:
    values = [sitk.GetArrayViewFromImage(each).astype(np.float32) for each in (one, other)]
    mean = sitk.GetImageFromArray((values[0] + values[1]) / 2)
    mean.CopyInformation(one)
    return mean


def shift_mm(pair: Pair) -> Optional[float]:
    """Measure how far the head in the full dose lies from that in the low dose; None where it is not certain."""
    size = frame_motion(pair.low, pair.full)
    return None if size is None else size.displacement_mm


def share_by_noise(pair: Pair) -> Optional[float]:
    """Estimate the dose fraction from the noise of low and full; None where they cannot be compared."""
    aligned = to_model_grid(pair.low, None, MODEL_SPACING_MM)
    scan = Scan(aligned.pet, aligned.grid)
    return compare_counts(scan, pair.low.GetSpacing(), pair.full_as_read, MODEL_SPACING_MM)[1]


def dose_of(pair: Pair) -> tuple[float, Finding]:
    """Return the dose fraction that the table states, or else the one that the noise shows, and where it is from.

    Raises:
        InputError: the table states none, and the noise shows none between 0.01 and 0.9.
    """
    if pair.row.dose is not None:
        return float(pair.row.dose), info("pair.dose_stated", dose=float(pair.row.dose))
    share = share_by_noise(pair)
    if share is None or not 0.01 <= share <= 0.9:
        found = "none" if share is None else f"{share:.2g}"
        raise InputError(
            f"The table states no dose for {pair.row.name}, and the noise of low and full shows {found}; add "
            "the column 'dose'."
        )
    return share, info(DOSE_ESTIMATED, dose=round(share, 4))


def _checked_pets(volumes: Mapping[str, ReadVolume]) -> tuple[dict[str, sitk.Image], tuple[Finding, ...]]:
    pets: dict[str, sitk.Image] = {}
    findings: tuple[Finding, ...] = ()
    for name in (*PAIR, *HALVES):
        if name in volumes:
            _check_units(volumes["low"], volumes[name], name)
            pets[name], found = check_pet(volumes[name].image, False, INPUT_WORDS[name])
            findings += found
    own, other = (_oriented(pets[name]) for name in ("low", "full" if "full" in pets else "low"))
    if not same_lattice(own, other):
        sides = {"low_sides": list(own.spacing), "full_sides": list(other.spacing)}
        apart = corners_apart_mm(own, other)
        findings += (warning(RESAMPLED, low=str(own), full=str(other), corners_mm=apart, **sides),)
    return pets, findings


def _check_units(low: ReadVolume, other: ReadVolume, name: str) -> None:
    if UNKNOWN not in (low.unit, other.unit) and not same_unit(low.unit, other.unit):
        raise InputError(
            f"The low-dose PET is in {low.unit}, and the {INPUT_WORDS[name]} in {other.unit}; export both in one unit."
        )


def _labels(volume: Optional[ReadVolume], low: sitk.Image) -> Optional[np.ndarray]:
    if volume is None:
        return None
    check_labels(volume.image, low)
    return labels_on(volume.image, Grid.of(low))
