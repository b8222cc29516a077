"""What the tables of a validation compare, as numbers: gains by subject, agreement of regions, noise and bias."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Collection, Iterator, Mapping, Optional, Sequence

import numpy as np

from ...measures import bland_altman
from ..evaluation.methods import INPUT
from ..evaluation.table import COLUMNS, Column
from .choice import Chosen, filters_of, names_of
from .result import Split, SubjectResult
from .statistics import Gain, absolute_agreement, paired_gain

GAINED = tuple(column for column in COLUMNS if column.score in ("psnr", "ssim", "nrmse", "clean_nrmse", "region_error"))


@dataclass(frozen=True)
class MethodGain:
    """What a model gains over another method at a dose, in the direction that is better, in the unit of the score."""

    dose: str
    score: str
    method: str
    over: str
    gain: Gain


@dataclass(frozen=True)
class RegionAgreement:
    """How the SUVR of regions agree with those of the full dose, over regions and subjects.

    Attributes:
        dose, method: which.
        bias, low, high: mean difference and limits of agreement, None below 3 regions.
        error: mean absolute relative error.
        icc: ICC(2,1), None where it is not defined.
        count: regions.
    """

    dose: str
    method: str
    bias: float
    low: Optional[float]
    high: Optional[float]
    error: float
    icc: Optional[float]
    count: int


@dataclass(frozen=True)
class NoiseAndBias:
    """Noise and bias of a method by repeated scans, root mean squares over the brain mean.

    Attributes:
        dose, method: which.
        noise: standard deviation from scan to scan.
        bias: error that all scans share, None with one full dose only.
        total: both together, likewise.
        count: subjects.
    """

    dose: str
    method: str
    noise: float
    bias: Optional[float]
    total: Optional[float]
    count: int


def gains_of(chosen: Sequence[Chosen], models: Sequence[str]) -> Iterator[MethodGain]:
    """Yield what each model gains over the low dose and over the filter with the best mean, paired by subject."""
    for dose, group in by_dose(chosen):
        scores = _by_method(group)
        for model in [name for name in models if name in scores]:
            for column in GAINED:
                for other in filter(None, (INPUT, _best(scores, filters_of(group), column))):
                    gain = _gain(scores[model], scores[other], column)
                    if gain is not None:
                        yield MethodGain(dose, column.score, model, other, gain)


def agreements_of(chosen: Sequence[Chosen]) -> Iterator[RegionAgreement]:
    """Yield the agreement of every method whose scans have regions."""
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            measured, full = regional_values(group, name)
            if measured:
                found, icc = bland_altman(measured, full), absolute_agreement(measured, full)
                error = float(np.mean(np.abs(np.array(measured) / np.array(full) - 1)))
                yield RegionAgreement(dose, name, found.bias, found.low, found.high, error, icc, len(measured))


def splits_of(chosen: Sequence[Chosen], results: Sequence[SubjectResult]) -> Iterator[NoiseAndBias]:
    """Yield noise and bias of every method, filters at their chosen settings, where scans were repeated."""
    splits: dict[tuple, list[Split]] = defaultdict(list)
    for result in results:
        for each in result.splits:
            # one a session
            splits[result.subject, each.dose, each.method, each.setting].append(each)
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            keys = [(c.subject, c.dose, name.partition(", ")[0], c.setting) for c in group if c.method == name]
            found = [splits[key] for key in keys if key in splits]
            if found:
                noise = _root([_over_sessions(each, "noise") for each in found])
                assert noise is not None
                bias, total = (_root([_over_sessions(each, part) for each in found]) for part in ("bias", "total"))
                yield NoiseAndBias(dose, name, noise, bias, total, len(found))


def by_dose(chosen: Sequence[Chosen]) -> Iterator[tuple[str, list[Chosen]]]:
    """Yield each dose with its part, in their order."""
    for dose in dict.fromkeys(each.dose for each in chosen):
        yield dose, [each for each in chosen if each.dose == dose]


def regional_values(chosen: Sequence[Chosen], method: str) -> tuple[list[float], list[float]]:
    """Return the SUVR of all regions of all scans, of a method and of the full dose."""
    pairs = [
        pair
        for each in chosen
        if each.method == method
        for measured, scan in zip(each.measured, each.scans)
        for pair in zip(measured.regions, scan.full)
    ]
    return [one for one, _ in pairs], [full for _, full in pairs]


def best_filter(chosen: Sequence[Chosen], score: str) -> Optional[str]:
    """Return the filter with the best mean of a score at one dose, over the scans that all filters have."""
    (column,) = (column for column in GAINED if column.score == score)
    return _best(_by_method(chosen), filters_of(chosen), column)


def _by_method(chosen: Sequence[Chosen]) -> dict[str, dict[str, Chosen]]:
    return {name: {each.subject: each for each in chosen if each.method == name} for name in names_of(chosen)}


def _best(scores: Mapping[str, Mapping[str, Chosen]], names: Sequence[str], column: Column) -> Optional[str]:
    scans = {name: {scan.name for each in scores[name].values() for scan in each.scans} for name in names}
    common = set.intersection(*scans.values()) if scans else set()
    found = {name: [_on(each, common, column) for each in scores[name].values()] for name in names}
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    means = {name: _sign(column) * np.mean(values) for name, values in known.items() if values}
    return max(means, key=lambda name: means[name]) if means else None


def _gain(ours: Mapping[str, Chosen], theirs: Mapping[str, Chosen], column: Column) -> Optional[Gain]:
    pairs = [_on_common_scans(ours[subject], theirs[subject], column) for subject in ours if subject in theirs]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not known:
        return None
    return paired_gain(*([_sign(column) * value for value in values] for values in zip(*known)))


def _on_common_scans(one: Chosen, other: Chosen, column: Column) -> tuple[Optional[float], Optional[float]]:
    """Return the scores of two methods on one subject, over the scans on which both were measured."""
    names = {scan.name for scan in one.scans} & {scan.name for scan in other.scans}
    return _on(one, names, column), _on(other, names, column)


def _on(chosen: Chosen, names: Collection[str], column: Column) -> Optional[float]:
    """Return the score of a method on the scans of these names, None where it has none of them."""
    kept = chosen.on(names)
    return kept.measurement.scores.get(column.score) if kept.scans else None


def _sign(column: Column) -> int:
    return -1 if column.less_is_better else 1


def _over_sessions(splits: Sequence[Split], part: str) -> Optional[float]:
    """Mean of a squared part over the sessions of a subject in which it is known."""
    known = [value for value in (getattr(each, part) for each in splits) if value is not None]
    return float(np.mean(known)) if known else None


def _root(squares: Sequence[Optional[float]]) -> Optional[float]:
    """Root of the mean of what is known; noise may make an estimated square negative."""
    known = [value for value in squares if value is not None]
    return float(np.sqrt(max(float(np.mean(known)), 0.0))) if known else None
