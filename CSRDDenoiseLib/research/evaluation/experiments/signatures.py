"""Signatures: how often each known fault is found where it is, and found in vain where it is not."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Callable, Iterator, Optional, Sequence

import numpy as np
import SimpleITK as sitk

from ....checks.attenuation import check_attenuation
from ....checks.blank_slices import check_blank_slices
from ....checks.contrast import check_contrast
from ....checks.cut import check_cut
from ....checks.filtering import check_filtering
from ....checks.inputs import Judged
from ....checks.leftover_noise import LEFTOVER_LEVEL, LEFTOVER_LIMIT, leftover_noise
from ....checks.lost_structure import LOST_LIMIT, lost_structure
from ....checks.noise import OUTSIDE, judge_noise, texture
from ....checks.pair import Output
from ....checks.unsupported import ADDED, REMOVED, unsupported
from ....checks.voxels import check_voxels
from ....findings import Finding, find, warnings_of
from ....io.grid import Grid, resample
from ....io.read import read_volume
from ....limits import Between
from ....model.contents import NOISE_RANGE
from ....prepare.align import to_model_grid
from ....scan import Head, Scan, smooth
from ...simulation.anatomy import CSF, GREY, WHITE
from ...simulation.subject import emulate_dose
from .. import faults
from ..markdown import Table
from ..study import Pair, Study
from .bench import Bench, Dose, Doses, Section, Seed, as_fraction

logger = logging.getLogger(__name__)

DOSES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
# of the smallest dose that the model was trained on
OUTSIDE_SHARES = (1 / 4, 1 / 5)
FILTER_MM, OVER_SMOOTHED_MM = 8.0, 6.0
CONTRASTS_ADDED = (0.15, 0.3, 0.5)
MR_CONTRAST, MR_ENHANCED = "MR of another contrast", "MR after contrast agent"
MOST_STRUCTURES = 2
TEXT = (
    "Each fault is made on purpose in subjects that have none; a warning there is a detection, one without the fault a "
    "false alarm. Heads without a T1-like MR (white matter brighter than grey, grey than CSF) are left out "
    "of the MR's false alarms. Faults of the output are made from the full dose, which has none. Structures that the "
    "counts do not support: the uptake of an MR-only structure is changed, or a PET-only lesion is taken away."
)


@dataclass(frozen=True)
class Subject:
    """A study at one dose, and what faults are made from."""

    study: Study
    folder: Path
    dose: float
    pet: sitk.Image
    tissue: np.ndarray
    spacing_mm: float
    rng: np.random.Generator

    def judged(self, pet: sitk.Image, mr: Optional[sitk.Image] = None) -> Judged:
        """What the checks of an input look at."""
        aligned = to_model_grid(pet, mr, self.spacing_mm)
        return Judged(pet, Scan(aligned.pet, aligned.grid), aligned.mr)

    def output(self, image: np.ndarray) -> Output:
        """What the checks of an output look at; ``image`` (D, H, W) in the head's box."""
        study, low = self.study, self.study.array(self.pet)
        grid = Grid.of(self.pet).crop(study.box)
        depth, height, width = (slice(0, side) for side in low.shape)
        scan = Scan(low, grid, Head(study.masks.head, (depth, height, width), study.scale))
        return Output(scan, image / study.scale)

    @property
    def has_t1(self) -> bool:
        """Whether the MR has the contrast of a T1."""
        values = sitk.GetArrayViewFromImage(self.study.t1)
        white, grey, fluid = (values[self.tissue == kind] for kind in (WHITE, GREY, CSF))
        return bool(fluid.size and np.median(white) > 1.1 * np.median(grey) and np.median(grey) > np.median(fluid))


class Tally:
    """Counts of found and tried, by the name of a row."""

    def __init__(self) -> None:
        self.found: dict[str, int] = defaultdict(int)
        self.tried: dict[str, int] = defaultdict(int)

    def add(self, name: str, found: bool) -> None:
        """Count one case."""
        self.found[name] += bool(found)
        self.tried[name] += 1

    def text(self, name: str) -> str:
        """ "27 of 28 (96 %)"; empty where nothing was tried."""
        found, tried = self.found[name], self.tried[name]
        return f"{found} of {tried} ({100 * found / tried:.0f} %)" if tried else ""


def run(
    bench: Bench,
    doses: Doses = ("1/4", "1/10"),
    subjects: Optional[Annotated[int, Between(1, 1_000_000)]] = None,
    cache: Optional[str] = None,
    seed: Seed = 0,
) -> Section:
    """Count detections and false alarms; for the support by counts on a few structures of each scan.

    Args:
        bench: subjects, and the model whose range of noise is asked for; the network is not run.
        doses: of the scans; every subject is used at each of them that it has.
        subjects: use the first ones only.
        cache: folder that keeps the scans without attenuation correction, the only ones that are simulated anew.
        seed: of what is drawn.
    """
    right, wrong, support = Tally(), Tally(), Tally()
    rng = np.random.default_rng(seed)
    for subject in _subjects(bench, doses, subjects, rng):
        _try_input(subject, right, wrong, None if cache is None else Path(cache))
        if subject.dose == float(min(map(as_fraction, doses))):
            _try_noise(subject, bench, right, wrong)
        _try_output(subject, right, wrong)
        _try_support(subject, support)
        logger.info(f"{subject.study.name}, dose {subject.dose:.3g}: done")
    names = list(dict.fromkeys([*right.tried, *wrong.tried]))
    rows = tuple((name, right.text(name), wrong.text(name)) for name in names)
    tables = (
        Table("Faults: with a warning", ("fault", "where it is", "where it is not (false alarm)"), rows),
        Table("Unsupported structure: marked", ("case", "marked"), tuple((n, support.text(n)) for n in support.tried)),
    )
    return Section("Signatures", TEXT, tables, (), ())


def _subjects(bench: Bench, doses: Sequence[Dose], most: Optional[int], rng: np.random.Generator) -> Iterator[Subject]:
    folders = bench.folders[:most]
    for folder, study in zip(folders, bench.studies()):
        tissue = sitk.DICOMOrient(read_volume(folder / "tissue.nii.gz"), "LPS")
        classes = np.rint(sitk.GetArrayFromImage(tissue)).astype(int)
        for dose in (dose for dose in map(as_fraction, doses) if dose in study.low_doses):
            spacing = bench.model.metadata.voxel_spacing_mm
            yield Subject(study, folder, float(dose), study.low_doses[dose], classes, spacing, rng)


def _try_input(subject: Subject, right: Tally, wrong: Tally, cache: Optional[Path]) -> None:
    pet, study, rng = subject.pet, subject.study, subject.rng
    depth, axis = study.box[0], int(rng.integers(3))
    first = int(rng.integers(depth.start + len(range(depth.start, depth.stop)) // 3, depth.stop - 10))
    contrast = str(rng.choice(list(faults.CONTRASTS)))
    as_it_is = subject.judged(pet, study.t1)

    # two checks look at the PET alone and two at the MR alone: what they do not look at may stay
    def with_pet(image: sitk.Image) -> Judged:
        return replace(as_it_is, pet=image)

    def with_mr(image: sitk.Image) -> Judged:
        return replace(as_it_is, mr=sitk.GetArrayFromImage(resample(image, as_it_is.scan.grid, sitk.sitkLinear)))

    checks: dict[str, tuple[Callable[[Judged], Sequence[Finding]], Callable[[], Judged]]] = {
        "filtered": (_filtering, lambda: subject.judged(faults.filtered(pet, FILTER_MM))),
        "partial head": (_cut, lambda: subject.judged(faults.cut(pet, study.box, axis, rng.uniform(0.2, 0.45)))),
        "zero-filled slices": (
            _blank,
            lambda: with_pet(faults.blanked(pet, first, int(rng.integers(1, 5)))),
        ),
        "anisotropic voxels": (_voxels, lambda: with_pet(faults.thick(pet, 3))),
        "not attenuation-corrected": (_attenuation, lambda: subject.judged(_uncorrected(subject, cache))),
        MR_CONTRAST: (_contrast, lambda: with_mr(faults.other_contrast(study.t1, subject.tissue, contrast, rng))),
        MR_ENHANCED: (_contrast, lambda: with_mr(faults.enhanced(study.t1, subject.tissue, rng))),
    }
    for name, (check, make) in checks.items():
        if check is not _contrast or subject.has_t1:
            wrong.add(name, bool(warnings_of(check(as_it_is))))
        if name != MR_ENHANCED or subject.has_t1:
            right.add(name, bool(warnings_of(check(make()))))


def _filtering(judged: Judged) -> Sequence[Finding]:
    return check_filtering(texture(judged.scan))


def _cut(judged: Judged) -> Sequence[Finding]:
    return (check_cut(judged.scan),)


def _blank(judged: Judged) -> Sequence[Finding]:
    return (check_blank_slices(sitk.GetArrayViewFromImage(judged.pet)),)


def _voxels(judged: Judged) -> Sequence[Finding]:
    return (check_voxels(judged.pet.GetSpacing()),)


def _attenuation(judged: Judged) -> Sequence[Finding]:
    return check_attenuation(judged.scan)


def _contrast(judged: Judged) -> Sequence[Finding]:
    return () if judged.mr is None else check_contrast(judged.scan, judged.mr)


def _uncorrected(subject: Subject, cache: Optional[Path]) -> sitk.Image:
    stored = cache and cache / f"{subject.study.name}_{subject.dose:.4f}_uncorrected.nii.gz"
    if stored and stored.is_file():
        return read_volume(stored)
    image = faults.uncorrected(subject.folder, subject.dose, seed=0)
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(stored))
    return image


def _try_noise(subject: Subject, bench: Bench, right: Tally, wrong: Tally) -> None:
    extra = bench.model.metadata.extra
    if not extra.get(NOISE_RANGE):
        return
    full, thinned = subject.study.full_dose, subject.study.array(subject.pet)
    low, high = bench.model.metadata.dose_range
    outside_doses = [low * share for share in OUTSIDE_SHARES]
    for dose in (*(dose for dose in DOSES if low <= dose <= high), *outside_doses):
        grid = Grid.of(subject.pet).crop(subject.study.box)
        scan = subject.judged(grid.image(emulate_dose(full, thinned, subject.dose, dose).astype(np.float32))).scan
        noise = find(judge_noise(scan.noise_level, texture(scan), extra), "noise")
        outside = noise is not None and noise.values["verdict"] == OUTSIDE
        (right if dose in outside_doses else wrong).add("noise outside training", outside)


def _try_output(subject: Subject, right: Tally, wrong: Tally) -> None:
    full, low, spacing = subject.study.full_dose, subject.study.array(subject.pet), subject.study.spacing
    good = subject.output(full)
    smoothed, halfway = subject.output(smooth(full, spacing, OVER_SMOOTHED_MM)), subject.output((low + full) / 2)
    for tally, over, left in ((right, smoothed, halfway), (wrong, good, good)):
        tally.add("over-smoothing", lost_structure(over) > LOST_LIMIT)
        share, level = leftover_noise(left)
        tally.add("leftover noise", share > LEFTOVER_LIMIT and level > LEFTOVER_LEVEL)


def _try_support(subject: Subject, support: Tally) -> None:
    full, masks, dose = subject.study.full_dose, subject.study.masks, f"dose {as_fraction(subject.dose)}"
    good = subject.output(full)
    brain, labels = good.scan.brain, unsupported(good)
    support.add(f"nothing added, {dose}: whole head", bool(labels.any()))
    for pair in (*masks.hot, *masks.cold):
        support.add(f"PET-only lesion kept, {dose}", bool(labels[pair[0]].any()))
    in_brain = [pair for pair in masks.mr_only if (pair[0] & brain).sum() >= pair[0].sum() / 2]
    for pair in in_brain[:MOST_STRUCTURES]:
        support.add(f"MR-only structure not shown, {dose}", bool(labels[pair[0]].any()))
        for contrast in CONTRASTS_ADDED:
            shown = unsupported(subject.output(_with_contrast(full, pair, subject, contrast)))
            support.add(f"MR-only structure shown with {contrast:.0%}, {dose}", bool((shown == ADDED)[pair[0]].any()))
    for pair in (*masks.hot[:1], *masks.cold[:1]):
        shown = unsupported(subject.output(_without(full, pair, subject)))
        support.add(f"PET-only lesion taken away, {dose}", bool((shown == REMOVED)[pair[0]].any()))


def _with_contrast(full: np.ndarray, pair: Pair, subject: Subject, contrast: float) -> np.ndarray:
    return full + contrast * full[pair[1]].mean() * _blurred(pair, subject)


def _without(full: np.ndarray, pair: Pair, subject: Subject) -> np.ndarray:
    part = _blurred(pair, subject)
    return full * (1 - part) + full[pair[1]].mean() * part


def _blurred(pair: Pair, subject: Subject) -> np.ndarray:
    width = float(subject.study.facts.get("scanner", {}).get("resolution_mm", 4.5))
    return np.clip(smooth(pair[0], subject.study.spacing, width), 0, 1)
