"""Trials of the checks of an input and of an output on a varied head: as it is, and with each fault made on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...checks.alignment import check_alignment, measure_alignment
from ...checks.attenuation import check_attenuation
from ...checks.blank_slices import least_in_head
from ...checks.contrast import check_contrast
from ...checks.cut import ENDS, check_cut
from ...checks.filtering import check_filtering
from ...checks.inputs import Judged, judge_input
from ...checks.leftover_noise import LEFTOVER_LEVEL, LEFTOVER_LIMIT, leftover_noise
from ...checks.lost_structure import LOST_LIMIT, lost_structure
from ...checks.noise import judge_noise, texture
from ...checks.pair import Output
from ...checks.slice_scale import check_slice_scale, slice_ratios
from ...checks.unsupported import unsupported
from ...findings import Finding
from ...io.grid import Grid, resample
from ...model.bundle import ModelMetadata
from ...model.contents import NOISE_RANGE
from ...prepare.align import to_model_grid
from ...prepare.register import moved
from ...scan import Scan, smooth
from ..simulation.anatomy import BRAIN
from . import faults
from .varied import COARSE_MM, VariedHead

ATTENUATION, CUT, FILTERED = "no attenuation correction", "brain cut off", "filtered already"
NOT_T1, ENHANCED, NOISE, MISALIGNED = "MR not T1-weighted", "MR after contrast agent", "noise outside", "MR misplaced"
MIRRORED = "MR mirrored"
OTHER, SLICES = "another check of the input", "slice out of scale"
OVER_SMOOTHED, LEFTOVER, UNSUPPORTED = "over-smoothing", "leftover noise", "unsupported structure"
PREFIXES = {
    "attenuation.": (ATTENUATION, "score"),
    "cut.": (CUT, "edges_cm2"),
    "filtering.": (FILTERED, "detail_mm"),
    "mr.not_t1": (NOT_T1, "depth_contrast"),
    "mr.enhanced": (ENHANCED, "tail"),
    "noise.": (NOISE, "level"),
    "alignment.": (MISALIGNED, "displacement_mm"),
}
"""Beginning of a finding's code -> the check, and which value of the finding it was judged by."""
OFFSETS = ((4.0, 2.0), (6.0, 3.0), (10.0, 5.0))
FILTERS_MM, OVER_SMOOTHED_MM = (8.0, 10.0), 6.0
CUT_SHARE = 0.1
SLICE_FACTORS = (0.25, 4.0, 1e4)
FEWER_COUNTS = 5.0
WHOLE = 0.998


@dataclass(frozen=True)
class Trial:
    """One check on one image.

    Attributes:
        check: its name, of this module.
        case: what was done to the image; empty for nothing.
        fault: whether the check should warn.
        warned: whether it did.
        score: what it judged by, where that is one number.
    """

    check: str
    case: str
    fault: bool
    warned: bool
    score: Optional[float] = None


@dataclass(frozen=True)
class Bed:
    """A head on the grid of a model, and what of it the trials share.

    Attributes:
        head: as it was simulated.
        metadata: of the model.
        rng: of what is drawn.
        whole: PET and MR on the model's grid.
        noise_free: (D, H, W) on that grid.
        coarse: the PET on voxels of 4 mm, which attenuation and cuts are looked at on: their checks smooth it anyway.
    """

    head: VariedHead
    metadata: ModelMetadata
    rng: np.random.Generator
    whole: Judged
    noise_free: np.ndarray
    coarse: Scan

    @classmethod
    def of(cls, head: VariedHead, metadata: ModelMetadata, rng: np.random.Generator) -> Bed:
        """Bring a head to a model's grid, as a run does."""
        side = metadata.voxel_spacing_mm
        clean = to_model_grid(head.noise_free, None, side).pet
        return cls(head, metadata, rng, _judged(head.pet, head.mr, side), clean, _scan(head.pet))

    @property
    def pet(self) -> np.ndarray:
        """The PET (D, H, W) on the model's grid."""
        return self.whole.scan.pet

    def scan_of(self, values: np.ndarray) -> Scan:
        """The scan of other values (D, H, W) on the model's grid, of a head whose place is known."""
        return Scan(np.asarray(values, np.float32), self.whole.scan.grid, self.whole.scan.head)


def trials(
    head: VariedHead, metadata: ModelMetadata, rng: np.random.Generator, groups: Optional[Sequence[str]] = None
) -> Iterator[Trial]:
    """Try every check on a head: once as it is, and once with each fault that the check looks for.

    Args:
        head: to try them on.
        metadata: of the model, with the trained noise range.
        rng: of what is drawn.
        groups: names in :data:`GROUPS` to try alone; None for all.
    """
    bed = Bed.of(head, metadata, rng)
    for name, group in GROUPS.items():
        if groups is None or name in groups:
            yield from group(bed)


def _judged(pet: sitk.Image, mr: Optional[sitk.Image], side_mm: float) -> Judged:
    aligned = to_model_grid(pet, mr, side_mm)
    return Judged(pet, Scan(aligned.pet, aligned.grid), aligned.mr)


def _scan(pet: sitk.Image) -> Scan:
    return _judged(pet, None, COARSE_MM).scan


def _as_it_is(bed: Bed) -> Iterator[Trial]:
    findings = (*judge_input(bed.whole, bed.metadata), *check_alignment(bed.head.pet, bed.head.mr))
    for check, _ in PREFIXES.values():
        if check not in (NOT_T1, ENHANCED) or bed.head.has_t1:
            yield _trial(check, "", False, findings)
    # simulated activity has no unit
    known = (*PREFIXES, "unit.", "mirror.")
    others = [each for each in findings if each.is_warning and not each.code.startswith(known)]
    yield Trial(OTHER, "", False, bool(others))


def _attenuation(bed: Bed) -> Iterator[Trial]:
    yield _trial(ATTENUATION, "", True, check_attenuation(_scan(bed.head.uncorrected)))
    case = "uniform uptake, faint scalp"
    yield _trial(ATTENUATION, case, True, check_attenuation(_scan(bed.head.uniform)))


def _cut(bed: Bed) -> Iterator[Trial]:
    tissue = resample(bed.head.tissue_image, bed.coarse.grid, sitk.sitkNearestNeighbor)
    brain = np.isin(sitk.GetArrayFromImage(tissue), BRAIN)
    around = _round(brain, bed.coarse.spacing)
    yield _trial(CUT, "field of view round the brain", False, [_cut_of(bed, around)])
    for axis, ends in enumerate(ENDS):
        shares = np.cumsum(brain.sum(axis=tuple({0, 1, 2} - {axis}))) / brain.sum()
        # at the bottom and the top of every head, at one of the other ends each
        for end in ends if axis == 0 else (str(bed.rng.choice(ends)),):
            first, last = int(np.searchsorted(shares, CUT_SHARE)), int(np.searchsorted(shares, 1 - CUT_SHARE))
            part = slice(first, None) if end == ends[0] else slice(0, last + 1)
            finding = _cut_of(bed, tuple(part if each == axis else slice(None) for each in range(3)))
            area = finding.values["edges_cm2"].get(end)
            yield Trial(CUT, f"a tenth of it, {end}", True, area is not None, area)


def _cut_of(bed: Bed, kept: Sequence[slice]) -> Finding:
    whole = bed.coarse
    part = [slice(*each.indices(n)[:2]) for each, n in zip(kept, whole.pet.shape)]
    return check_cut(Scan(whole.pet[tuple(part)].copy(), whole.grid.crop(part)))


def _round(brain: np.ndarray, spacing: Sequence[float]) -> tuple[slice, ...]:
    """A field of view that ends 8 mm beside the brain and below it; half a slice of a cut cerebellum is no cut."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    below = np.cumsum(brain.sum(axis=(1, 2))) / brain.sum()
    room = round(8 / spacing[0])
    sides = (slice(max(part.start - room, 0), part.stop + room) for part in box[1:])
    return slice(int(np.searchsorted(below, 1 - WHOLE)), None), *sides


def _filtering(bed: Bed) -> Iterator[Trial]:
    """A mild filter looks like a smooth reconstruction, but it also leaves less noise than any."""
    for width in FILTERS_MM:
        scan = bed.scan_of(smooth(bed.pet, bed.whole.scan.spacing, width))
        case, features = f"Gaussian of {width:g} mm", texture(scan)
        by_width = _trial(FILTERED, case, True, check_filtering(features))
        yield by_width
        by_noise = _trial(NOISE, case, True, judge_noise(scan.noise_level, features, bed.metadata.extra))
        yield Trial(FILTERED, f"{case}, or less noise than trained", True, by_width.warned or by_noise.warned)


def _noise(bed: Bed) -> Iterator[Trial]:
    """Noise of fewer counts than any scan of the model's doses, of a level that no scanner had, and none."""
    fewest = bed.metadata.dose_range[0] / FEWER_COUNTS
    most = bed.metadata.extra[NOISE_RANGE]["range"][1]
    cases = {
        f"{FEWER_COUNTS:g} times fewer counts than the least dose": (bed.head.facts["dose"] / fewest) ** 0.5,
        "twice the largest level trained": 2 * most / bed.whole.scan.noise_level,
        "none at all": 0.0,
    }
    for case, growth in cases.items():
        scan = bed.scan_of(bed.noise_free + np.float32(growth) * (bed.pet - bed.noise_free))
        yield _trial(NOISE, case, True, judge_noise(scan.noise_level, texture(scan), bed.metadata.extra))


def _contrast(bed: Bed) -> Iterator[Trial]:
    if not bed.head.has_t1:
        return

    def check(image: sitk.Image) -> Iterable[Finding]:
        mr = sitk.GetArrayFromImage(resample(image, bed.whole.scan.grid, sitk.sitkLinear))
        return check_contrast(bed.whole.scan, mr)

    for name in faults.CONTRASTS:
        other = faults.other_contrast(bed.head.mr, bed.head.tissue, name, bed.rng)
        yield _trial(NOT_T1, name, True, check(other))
    yield _trial(ENHANCED, "", True, check(faults.enhanced(bed.head.mr, bed.head.tissue, bed.rng)))


def _alignment(bed: Bed) -> Iterator[Trial]:
    pet = bed.head.pet
    centre = pet.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in pet.GetSize()])
    for shift, degrees in OFFSETS:
        findings = check_alignment(pet, moved(bed.head.mr, faults.random_motion(centre, shift, degrees, bed.rng)))
        yield _trial(MISALIGNED, f"{shift:g} mm, {degrees:g} degrees", True, findings)


def _mirror(bed: Bed) -> Iterator[Trial]:
    """The MR as it is, and with left and right exchanged; judged by the information that it would gain mirrored."""
    mr = bed.head.mr
    exchanged = Grid.of(mr).image(sitk.GetArrayFromImage(mr)[..., ::-1].copy())
    for image, fault in ((mr, False), (exchanged, True)):
        found = measure_alignment(bed.head.pet, image)
        if found is not None:
            gain = (found.nmi_mirrored - 1) / max(found.nmi_best - 1, 1e-6)
            yield Trial(MIRRORED, "", fault, found.mirrored, gain)


def _output(bed: Bed) -> Iterator[Trial]:
    """A perfect output is the noise-free image; faults are made from it and from the input."""
    scan = bed.whole.scan
    clean = (bed.noise_free / scan.brain_mean).astype(np.float32)
    good = Output(scan, clean)
    over = Output(scan, smooth(clean, scan.spacing, OVER_SMOOTHED_MM))
    half = Output(scan, ((scan.relative + clean) / 2).astype(np.float32))
    for output, fault in ((good, False), (over, True)):
        lost = lost_structure(output)
        yield Trial(OVER_SMOOTHED, "", fault, lost > LOST_LIMIT, lost)
    for output, fault in ((good, False), (half, True)):
        share, level = leftover_noise(output)
        yield Trial(LEFTOVER, "", fault, share > LEFTOVER_LIMIT and level > LEFTOVER_LEVEL, share)
    yield Trial(UNSUPPORTED, "", False, bool(unsupported(good).any()))


def _slices(bed: Bed) -> Iterator[Trial]:
    """A slice of the middle half, on a random axis, times a factor, as by a wrong rescale slope."""
    values = sitk.GetArrayFromImage(bed.head.pet)
    ratios = np.concatenate([slice_ratios(values, axis, least_in_head(values)) for axis in range(3)])
    yield Trial(SLICES, "", False, bool(check_slice_scale(values)), float(max(ratios.max(), 1 / ratios.min())))
    for factor in SLICE_FACTORS:
        wrong, axis = values.copy(), int(bed.rng.integers(3))
        slices = np.moveaxis(wrong, axis, 0)
        slices[bed.rng.integers(len(slices) // 4, len(slices) - len(slices) // 4)] *= factor
        yield Trial(SLICES, f"one slice times {factor:g}", True, bool(check_slice_scale(wrong)))


def _trial(check: str, case: str, fault: bool, findings: Iterable[Finding]) -> Trial:
    """What the findings of a check make of a case; a check that found nothing to look at did not warn."""
    codes = {prefix: value for prefix, (name, value) in PREFIXES.items() if name == check}
    (prefix, value), *_ = codes.items()
    group = prefix.partition(".")[0] + "."
    found = [each for each in findings if each.code.startswith(group)]
    warned = any(each.is_warning and each.code.startswith(prefix) for each in found)
    score = next((each.values[value] for each in found if isinstance(each.values.get(value), (int, float))), None)
    if check == CUT:
        score = max((max(each.values["edges_cm2"].values(), default=0.0) for each in found), default=None)
    return Trial(check, case, fault, warned, None if score is None else float(score))


GROUPS: dict[str, Callable[[Bed], Iterator[Trial]]] = {
    "as it is": _as_it_is,
    "attenuation": _attenuation,
    "cut": _cut,
    "filtering": _filtering,
    "noise": _noise,
    "contrast": _contrast,
    "alignment": _alignment,
    "mirror": _mirror,
    "output": _output,
    "slices": _slices,
}
"""What can be tried: the head without a fault, and the faults of each check."""
