"""Measure one subject: every method and every setting of every filter, on all its scans."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence

import numpy as np

from ... import measures
from ...errors import InputError
from ...findings import find
from ...sentences import CLI, sentence
from ...settings import DenoiseSettings
from ...subjects.pair import DOSE_ESTIMATED
from ..adaptation.held_out import clean_squares
from ..evaluation.baselines import apply, baseline
from ..evaluation.measure import ceiling, record_of
from ..evaluation.methods import INPUT, Outcome, case_of, ours, unchanged
from ..evaluation.study import Study
from .frequency import Spectra
from .replicates import overlaps, split, with_full_noise
from .result import Measured, Region, ScanResult, Split, SubjectResult
from .scans import OwnScan

if TYPE_CHECKING:
    from ...model.bundle import Model

OnStep = Callable[[int, int], None]
OnImage = Callable[["OwnScan", Outcome], None]
FILTERS = ("Gaussian", "Non-local means", "MR-guided filter")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        models: name in the tables -> loaded model.
        settings: of their runs.
        filters: names of :data:`CSRDDenoiseLib.research.evaluation.baselines.BASELINES`.
        reference: labels of the reference region of SUVR; none takes the brain.
        nested: whether the low doses' counts are a part of the full doses'.
    """

    models: Mapping[str, Model]
    settings: DenoiseSettings
    filters: tuple[str, ...] = FILTERS
    reference: tuple[int, ...] = ()
    nested: bool = True


@dataclass(frozen=True)
class Variant:
    """A method with one setting, and how it is applied to a scan."""

    method: str
    setting: Optional[float]
    apply: Callable[[OwnScan], Outcome] = field(repr=False)
    needs_mr: bool = False


def variants(plan: Plan) -> list[Variant]:
    """Return the low dose as it is, every model, and every filter with every value of its parameter."""
    found = [Variant(INPUT, None, lambda scan: unchanged(scan.study, scan.dose))]
    for name, model in plan.models.items():
        found.append(Variant(name, None, _denoised(model, plan.settings), not model.metadata.mr_optional))
    for name in plan.filters:
        chosen = baseline(name)
        found += [Variant(name, value, _filtered(name, value), chosen.needs_mr) for value in chosen.grid]
    return found


def measure_subject(
    subject: str, scans: Sequence[OwnScan], plan: Plan, on_step: OnStep, on_image: Optional[OnImage] = None
) -> SubjectResult:
    """Measure all scans of one subject.

    Args:
        subject: its name.
        scans: of it, in any order.
        plan: what to measure.
        on_step: called with how many of how many methods and settings are done.
        on_image: called with what each model made of each scan.

    Raises:
        InputError: a scan or a model cannot be used, or a scan lacks the reference region.
    """
    groups = [
        with_full_noise(list(group))
        for _, group in groupby(sorted(scans, key=_group), _group)  # scans that differ by their noise alone
    ]
    wanted, done, results, splits = variants(plan), 0, [], []
    for group in groups:
        measured: dict[int, list[Measured]] = {id(scan): [] for scan in group}
        benches = {id(scan): _Bench(scan, plan) for scan in group}
        pairs = overlaps(group)
        for variant in wanted:
            images = {}
            for scan in group:
                if scan.mr is None and variant.needs_mr:
                    continue
                outcome = variant.apply(scan)
                images[id(scan)] = outcome.image
                measured[id(scan)].append(benches[id(scan)].measure(variant, outcome))
                if on_image is not None and variant.method in plan.models:
                    on_image(scan, outcome)
            shown = [pair for pair in pairs if {id(pair.first), id(pair.second)} <= images.keys()]
            found = split(shown, images)
            if found is not None:
                splits.append(Split(str(group[0].dose), variant.method, variant.setting, *found))
            done += 1
            on_step(done, len(wanted) * len(groups))
        results += [benches[id(scan)].result(measured[id(scan)]) for scan in group]
    return SubjectResult(subject, tuple(results), tuple(splits))


class _Bench:
    """One scan with what is the same for all methods."""

    def __init__(self, scan: OwnScan, plan: Plan):
        self._reference = _reference(scan.study, plan.reference)
        study = _without(scan.study, plan.reference)
        self._scan, self._nested = replace(scan, study=study), plan.nested
        self._low = study.array(study.low_doses[scan.dose])
        self._spectra = Spectra(study, self._low)

    def measure(self, variant: Variant, outcome: Outcome) -> Measured:
        """Measure what a method made of the scan."""
        record = record_of(self._scan.study, self._scan.dose, variant.method, outcome)
        return Measured(
            variant.method,
            variant.setting,
            {**record.scores, **self._region_error(outcome.image), **self._against_clean(outcome)},
            self._ratios(outcome.image),
            self._spectra.bands(outcome.image),
            round(outcome.seconds, 3),
        )

    def result(self, measured: Sequence[Measured]) -> ScanResult:
        """Return all that was measured on the scan."""
        scan, study = self._scan, self._scan.study
        limit = ceiling(study, scan.dose, self._nested)
        voxel_ml = float(np.prod(study.spacing)) / 1000
        regions = tuple(
            Region(number, scan.names.get(number, ""), round(float(mask.sum()) * voxel_ml, 2))
            for number, mask in zip(study.masks.numbers, study.masks.regions)
        )
        noted = [finding for finding in scan.findings if finding.is_warning or finding.code == DOSE_ESTIMATED]
        return ScanResult(
            name=scan.name,
            dose=str(scan.dose),
            regions=regions,
            full=self._ratios(study.full_dose),
            measured=tuple(measured),
            ceiling=None if limit is None else limit.scores.get("psnr"),
            findings=tuple(filter(None, (sentence(finding, CLI) for finding in noted))),
        )

    def _region_error(self, image: np.ndarray) -> dict[str, float]:
        """Regional error relative to the reference region that was asked for."""
        masks, full = self._scan.study.masks, self._scan.study.full_dose
        if not masks.regions:
            return {}
        return {"region_error": measures.region_error(image, full, masks.regions, self._reference)}

    def _against_clean(self, outcome: Outcome) -> dict[str, float]:
        """Estimate what is relative to the noise-free image, which needs nested counts of low and full dose.

        ``clean_nrmse``: NRMSE. See :mod:`CSRDDenoiseLib.research.adaptation.held_out`; the full dose's own noise,
        f / (1 - f) of the mean squared difference of low and full dose, is taken from the energy of the image too.
        ``clean_spread``: root mean square of the uncertainty over that of the error, in the brain.
        """
        study, dose = self._scan.study, self._scan.share
        if not self._nested:
            return {}
        head, brain, full = study.masks.head, study.masks.brain, study.full_dose
        squares = clean_squares(outcome.image, self._low, full, dose)
        noise = dose / (1 - dose) * measures.mean_squared_error(self._low, full, head)
        energy = float(np.mean(full[head].astype(np.float64) ** 2)) - noise
        found = {"clean_nrmse": _root_ratio(float(np.mean(squares[head], dtype=np.float64)), energy)}
        if outcome.std is not None:
            spread = float(np.mean(outcome.std[brain].astype(np.float64) ** 2))
            found["clean_spread"] = _root_ratio(spread, float(np.mean(squares[brain], dtype=np.float64)))
        return {name: value for name, value in found.items() if value is not None}

    def _ratios(self, image: np.ndarray) -> tuple[float, ...]:
        reference = image[self._reference].mean(dtype=np.float64)
        return tuple(
            float(image[region].mean(dtype=np.float64) / reference) for region in self._scan.study.masks.regions
        )


def _group(scan: OwnScan) -> tuple[float, str]:
    return float(scan.dose), scan.session


def _root_ratio(square: float, over: float) -> Optional[float]:
    """Root of a ratio; noise may make an estimated square negative, and then there is none of it over that."""
    return float(np.sqrt(max(square, 0.0) / over)) if over > 0 else None


def _reference(study: Study, labels: Sequence[int]) -> np.ndarray:
    if not labels:
        return study.masks.brain
    known = dict(zip(study.masks.numbers, study.masks.regions))
    missing = [label for label in labels if label not in known]
    if not known:
        raise InputError(
            f"'{study.name}' has no label map with a region of 1 mL or more in the head, and the reference region of "
            f"SUVR is label {labels[0]}; add one in the column 'labels', or leave the reference labels out."
        )
    if missing:
        raise InputError(
            f"The label map of '{study.name}' has no region {missing[0]} of 1 mL or more, which the reference region "
            f"needs; it has {', '.join(map(str, known))}."
        )
    return np.any([known[label] for label in labels], axis=0)


def _without(study: Study, labels: Sequence[int]) -> Study:
    """Leave the reference region out of the regions: its own ratio is 1, whatever a method does."""
    if not labels:
        return study
    kept = [each for each in zip(study.masks.numbers, study.masks.regions) if each[0] not in labels]
    numbers, regions = tuple(number for number, _ in kept), tuple(mask for _, mask in kept)
    return replace(study, masks=replace(study.masks, numbers=numbers, regions=regions))


def _denoised(model: Model, settings: DenoiseSettings) -> Callable[[OwnScan], Outcome]:
    def run(scan: OwnScan) -> Outcome:
        # the MR of a pair was registered when it was read, for the filters too
        register = settings.register and scan.mr is not None and find(scan.findings, "registration") is None
        of_scan = replace(settings, register=register)
        return ours(model, of_scan, lambda _study: scan.mr)(scan.study, scan.dose)

    return run


def _filtered(name: str, value: float) -> Callable[[OwnScan], Outcome]:
    chosen = baseline(name)

    def run(scan: OwnScan) -> Outcome:
        found = apply(chosen, value, case_of(scan.study, scan.dose))
        return Outcome(found.image, found.seconds, f"{chosen.parameter} = {value:g}")

    return run
