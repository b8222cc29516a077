"""From a pair, or a simulated subject's folder, to what the evaluation measures on: a study and where it is from."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...errors import InputError
from ...findings import Finding
from ...io.grid import Grid
from ...io.sidecar import stem_of
from ...io.tsv import read_tsv
from ...measures import contrast, shell
from ...prepare.align import ORIENTATION
from ...prepare.register import register_mr
from ...report.summary import reference_region
from ...scan import Scan
from ...subjects.pair import Pair, dose_of, on_grid
from ..evaluation.study import SMALLEST_REGION_ML, Masks, Study, load_study
from ..evaluation.study import Pair as Structure

WHITE = "white"
ESTIMATED = tuple(Fraction(1, whole) for whole in (2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 100))
"""Doses that estimated ones are called, so that scans of one dose stay together."""
_EROSIONS = 2


@dataclass(frozen=True)
class OwnScan:
    """One low dose with its full dose, ready to be measured.

    Attributes:
        subject: name.
        name: of the scan, in words.
        session: name, empty without.
        study: images and masks; it has this dose, and its MR lies on the PET's grid.
        dose: of the scan, as tables name it.
        share: the same, not rounded where it was estimated.
        mr: the MR as a method may use it, on any grid, or None.
        names: label -> name of a region, as far as they are known.
        findings: of reading and judging it.
    """

    subject: str
    name: str
    session: str
    study: Study
    dose: Fraction
    share: float
    mr: Optional[sitk.Image]
    names: Mapping[int, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def scans_of_folder(folder: Path) -> Iterator[OwnScan]:
    """Yield every dose of a folder that ``csrd-denoise simulate`` wrote."""
    study = load_study(folder)
    for dose in study.low_doses:
        yield OwnScan(study.name, f"{study.name}, dose {dose}", "", study, dose, float(dose), study.mr)


def scan_of_pair(pair: Pair, findings: Sequence[Finding] = (), register: bool = False) -> OwnScan:
    """Return a pair as a study, in anatomical orientation, with its MR registered to the low dose where asked.

    Where it is measured: head and brain from the full dose alone (smoothed; the labels are the brain where there are
    some); noise in the white matter where the label map names it and 1 mL is inside of it, and else in the most even
    cube of 20 mm; regions of 1 mL or more; lesions against the brain around them, of the region that surrounds them
    where there are labels.

    Raises:
        InputError: no head stands out, or the dose is not known.
    """
    share, how = dose_of(pair)
    dose = pair.row.dose or min(ESTIMATED, key=lambda each: abs(np.log(share / float(each))))
    if dose >= 1:
        raise InputError(f"The dose of {pair.row.name} is {dose}; that of a low dose is below 1.")
    low, full = (sitk.DICOMOrient(image, ORIENTATION) for image in (pair.low, pair.full))
    scan = Scan(sitk.GetArrayFromImage(full), Grid.of(full))
    head, names = scan.head, _names_of(pair.row.labels)
    mr = None if pair.mr is None else sitk.DICOMOrient(pair.mr, ORIENTATION)
    if register and mr is not None:
        mr, found = register_mr(low, mr)
        findings = (*findings, found)
    labels, lesions = (_oriented(values, pair.low, head.box) for values in (pair.labels, pair.lesions))
    study = Study(
        name=pair.row.subject,
        low_doses={dose: low},
        mr=None if mr is None else on_grid(mr, low),
        box=head.box,
        spacing=scan.spacing,
        scale=head.brain_mean,
        full_dose=scan.pet[head.box],
        noise_free=None,
        masks=_masks(scan, labels, lesions, names, _even_cube(full, head.box)),
        facts={"tracer": "unknown"},
        full_noise=_noise_of_halves(pair, scan),
    )
    row = pair.row
    return OwnScan(row.subject, row.name, row.session, study, dose, share, mr, names, (*findings, how))


def _oriented(values: Optional[np.ndarray], like: sitk.Image, box: tuple[slice, ...]) -> Optional[np.ndarray]:
    if values is None:
        return None
    image = Grid.of(like).image(values)
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, ORIENTATION))[box]


def _masks(
    scan: Scan,
    labels: Optional[np.ndarray],
    lesions: Optional[np.ndarray],
    names: Mapping[int, str],
    even: np.ndarray,
) -> Masks:
    box = scan.head.box
    head, brain = scan.head.mask[box], scan.brain[box]
    hurt = np.zeros(head.shape, bool) if lesions is None else lesions != 0
    if labels is not None:
        brain = ((labels != 0) | hurt) & head
    hot, cold = _lesions(lesions, scan.pet[box], brain & ~hurt, labels, scan.spacing)
    numbers = _large(labels, brain & ~hurt, scan.voxel_ml)
    white = [number for number in numbers if WHITE in names.get(number, "").lower()]
    if white and labels is not None:
        core = head & ndimage.binary_erosion(np.isin(labels, white) & ~hurt, iterations=_EROSIONS)
        # thin white matter, or large voxels: a few voxels have a deviation of chance, or none
        even = core if core.sum() * scan.voxel_ml >= SMALLEST_REGION_ML else even
    return Masks(
        head=head,
        brain=brain,
        white_matter=even & head & ~hurt,
        regions=tuple((labels == number) & brain & ~hurt for number in numbers),
        hot=hot,
        cold=cold,
        mr_only=(),
        numbers=numbers,
    )


def _large(labels: Optional[np.ndarray], brain: np.ndarray, voxel_ml: float) -> tuple[int, ...]:
    if labels is None:
        return ()
    found, counts = np.unique(labels[brain & (labels != 0)], return_counts=True)
    return tuple(int(number) for number in found[counts * voxel_ml >= SMALLEST_REGION_ML])


def _lesions(
    lesions: Optional[np.ndarray],
    full: np.ndarray,
    allowed: np.ndarray,
    labels: Optional[np.ndarray],
    spacing: Sequence[float],
) -> tuple[tuple[Structure, ...], tuple[Structure, ...]]:
    """Return hot and cold lesions with what surrounds them, by their contrast in the full dose."""
    hot: list[Structure] = []
    cold: list[Structure] = []
    for number in () if lesions is None else np.unique(lesions[lesions != 0]):
        part = lesions == number
        around = shell(part, spacing, allowed)
        if labels is not None and around.any():
            # the tissue is that of the region which most of the surroundings belong to
            found, counts = np.unique(labels[around], return_counts=True)
            around &= labels == found[counts.argmax()]
        if around.any():
            (hot if contrast(full, part, around) > 0 else cold).append((part, around))
    return tuple(hot), tuple(cold)


def _even_cube(full: sitk.Image, box: tuple[slice, ...]) -> np.ndarray:
    cube = reference_region(full)
    mask = np.zeros(full.GetSize()[::-1], bool)
    if cube is not None:
        mask[cube] = True
    return mask[box]


def _noise_of_halves(pair: Pair, full: Scan) -> Optional[float]:
    """Mean squared noise of the full dose in the head: of the mean of two halves, a quarter of their difference's.

    Both are brought to its brain mean first: what they differ by as a whole is no noise.
    """
    if not pair.halves:
        return None
    halves = [sitk.GetArrayFromImage(sitk.DICOMOrient(half, ORIENTATION)) for half in pair.halves]
    one, other = (half * (full.pet[full.brain].mean() / half[full.brain].mean()) for half in halves)
    return float(np.mean((one - other)[full.head.mask].astype(np.float64) ** 2)) / 4


def _names_of(labels: Optional[Path]) -> dict[int, str]:
    """Return the names of labels from the table beside a label map, as BIDS has it (``_dseg.tsv``: index, name)."""
    beside = None if labels is None else labels.with_name(f"{stem_of(labels)}.tsv")
    if beside is None or not beside.is_file():
        return {}
    _, rows = read_tsv(beside)
    try:
        return {int(row["index"]): str(row["name"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The names of the labels, '{beside}', cannot be read ({error}); it needs the columns 'index' and 'name'."
        ) from error
