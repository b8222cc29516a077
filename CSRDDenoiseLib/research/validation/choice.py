"""From the results of subjects to one measurement a subject, dose and method; filters at the settings they would have.

A filter's setting is chosen twice: on the other subjects at the same dose, as one could choose it in practice, and for
each subject against its own full dose (oracle-tuned), which flatters the filter.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import Collection, Iterator, Mapping, Optional, Sequence

import numpy as np

from ..evaluation.baselines import BASELINES, baseline
from ..evaluation.measure import CEILING, Measurement
from .frequency import Band, common_bands
from .result import Measured, ScanResult, SubjectResult

ON_OTHERS, ORACLE = "tuned on the others", "oracle-tuned"
CHOSEN_BY = "psnr"
_FILTERS = {each.name for each in BASELINES}


@dataclass(frozen=True)
class Chosen:
    """A method of the tables on one subject and dose, with the settings that were chosen for it.

    Attributes:
        subject, dose: which.
        method: name in the tables.
        measured: one a scan.
        scans: those scans, in the same order.
        setting: of a filter, else None.
    """

    subject: str
    dose: str
    method: str
    measured: tuple[Measured, ...]
    scans: tuple[ScanResult, ...]
    setting: Optional[float] = None

    @property
    def measurement(self) -> Measurement:
        """Mean over the scans."""
        scores = _mean([each.scores for each in self.measured])
        seconds = float(np.mean([each.seconds for each in self.measured]))
        name, _, how = self.method.partition(", ")
        chosen = "" if self.setting is None or not how else f"{baseline(name).parameter} = {self.setting:g}"
        return Measurement(self.subject, "", self.dose, self.method, scores, seconds, chosen)

    def on(self, names: Collection[str]) -> Chosen:
        """Return the same on the scans of these names alone."""
        kept = [(each, scan) for each, scan in zip(self.measured, self.scans) if scan.name in names]
        return replace(self, measured=tuple(each for each, _ in kept), scans=tuple(scan for _, scan in kept))

    @property
    def bands(self) -> tuple[Band, ...]:
        """Mean over the scans, of the bands that all have."""
        columns = common_bands([each.bands for each in self.measured])
        return tuple(
            Band(
                column[0].low,
                column[0].high,
                *(float(np.mean([getattr(band, name) for band in column])) for name in ("power", "gain", "error")),
            )
            for column in columns
        )


def choose(results: Sequence[SubjectResult]) -> list[Chosen]:
    """Return every method of every subject and dose; by dose, largest first, then subject, then method."""
    found: list[Chosen] = []
    for dose in doses_of(results):
        curves = {result.subject: _curves(result, dose) for result in results}
        for result in results:
            scans = tuple(scan for scan in result.scans if scan.dose == dose)
            if scans:
                found += _of_subject(result.subject, dose, scans, curves)
    return found


def measurements(chosen: Sequence[Chosen]) -> list[Measurement]:
    """Return what the tables are made of, with the ceilings."""
    found = []
    for (dose, subject), group in groupby(chosen, lambda each: (each.dose, each.subject)):
        methods = list(group)
        found += [each.measurement for each in methods]
        # a method may lack a scan, such as one without an MR
        scans = {scan.name: scan.ceiling for each in methods for scan in each.scans}
        limits = [limit for limit in scans.values() if limit is not None]
        if limits:
            found.append(Measurement(subject, "", dose, CEILING, {"psnr": float(np.mean(limits))}, 0.0))
    return found


def doses_of(results: Sequence[SubjectResult]) -> list[str]:
    """Return the doses, largest first."""
    return sorted({scan.dose for result in results for scan in result.scans}, key=Fraction, reverse=True)


def names_of(chosen: Sequence[Chosen]) -> list[str]:
    """Return the names of the methods in the order of the tables."""
    return list(dict.fromkeys(each.method for each in chosen))


def filters_of(chosen: Sequence[Chosen]) -> list[str]:
    """Return the filters to compare with: tuned on the others, or, where a subject is alone, oracle-tuned."""
    names = names_of(chosen)
    others = [name for name in names if name.endswith(ON_OTHERS)]
    return others or [name for name in names if name.endswith(ORACLE)]


def _of_subject(
    subject: str, dose: str, scans: Sequence[ScanResult], curves: Mapping[str, Mapping[str, Mapping[float, float]]]
) -> Iterator[Chosen]:
    # one scan may lack what a method needs
    for method in dict.fromkeys(each.method for scan in scans for each in scan.measured):
        if method not in _FILTERS:
            yield _chosen(subject, dose, method, method, scans, None)
    for name, own in curves[subject].items():
        others = [curve[name] for other, curve in curves.items() if other != subject and name in curve]
        if others:
            best = max(own, key=lambda value: np.mean([curve[value] for curve in others if value in curve]))
            yield _chosen(subject, dose, name, f"{name}, {ON_OTHERS}", scans, best)
        oracle = max(own, key=lambda value: own[value])
        yield _chosen(subject, dose, name, f"{name}, {ORACLE}", scans, oracle)


def _chosen(
    subject: str, dose: str, method: str, title: str, scans: Sequence[ScanResult], setting: Optional[float]
) -> Chosen:
    pairs = [
        (each, scan) for scan in scans for each in scan.measured if (each.method, each.setting) == (method, setting)
    ]
    return Chosen(subject, dose, title, tuple(each for each, _ in pairs), tuple(scan for _, scan in pairs), setting)


def _curves(result: SubjectResult, dose: str) -> dict[str, dict[float, float]]:
    """Filter -> setting -> mean of what it is chosen by over the subject's scans of a dose."""
    values: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for scan in result.scans:
        for each in scan.measured if scan.dose == dose else ():
            if each.method in _FILTERS and each.setting is not None and CHOSEN_BY in each.scores:
                values[each.method][each.setting].append(each.scores[CHOSEN_BY])
    return {
        name: {setting: float(np.mean(found)) for setting, found in curve.items()} for name, curve in values.items()
    }


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for each in scores for name in each)
    return {name: float(np.mean([each[name] for each in scores if name in each])) for name in names}
