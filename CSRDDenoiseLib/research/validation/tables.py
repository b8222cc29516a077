"""Tables of a validation: scores by dose, gains with their intervals, regions, frequency bands, bias and variance."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import asdict
from typing import Any, Iterable, Iterator, Optional, Sequence

import numpy as np

from ...measures import bland_altman
from ..evaluation.markdown import Table
from ..evaluation.measure import Measurement
from ..evaluation.methods import INPUT
from ..evaluation.table import COLUMNS, Column, score_table
from .choice import Chosen, filters_of, measurements, names_of
from .result import SubjectResult
from .statistics import Gain, absolute_agreement, paired_gain

MEAN_STD = "mean ± standard deviation over subjects"
GAINED = ("psnr", "ssim", "nrmse", "clean_nrmse", "region_error")


def all_tables(chosen: Sequence[Chosen], results: Sequence[SubjectResult], models: Sequence[str]) -> dict[str, Table]:
    """Return name of the file -> table; those that the scans allow."""
    tables = {
        "scores": score_table(f"By dose, against the full dose ({MEAN_STD})", measurements(chosen)),
        "gains": gain_table(chosen, models),
        "agreement": agreement_table(chosen),
        "regions": region_table(chosen, models),
        "bands": band_table(chosen),
        "bias_variance": split_table(chosen, results),
    }
    return {name: table for name, table in tables.items() if table.rows}


def gain_table(chosen: Sequence[Chosen], models: Sequence[str]) -> Table:
    """Return what each model gains over the low dose and over the best filter, paired by subject."""
    rows = []
    for dose, group in by_dose(chosen):
        scores = {name: _by_subject(group, name) for name in names_of(group)}
        for model in [name for name in models if name in scores]:
            for column in [column for column in COLUMNS if column.score in GAINED]:
                best = _best(scores, filters_of(group), column)
                for other in filter(None, (INPUT, best)):
                    rows += list(_gain_row(dose, column, scores, model, other))
    header = ("dose", "score", "method", "over", "gain", "95 % interval", "p (Wilcoxon)", "n")
    caption = (
        "Gain in the direction that is better, paired by subject; 95 % confidence interval of the mean by the "
        "bootstrap (BCa), from 4 subjects on; the best filter is that with the best mean"
    )
    return Table(caption, header, tuple(rows))


def agreement_table(chosen: Sequence[Chosen]) -> Table:
    """Return how the regions' SUVR agree with those of the full dose, over regions and subjects."""
    rows = []
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            measured, full = regional_values(group, name)
            if not measured:
                continue
            found, icc = bland_altman(measured, full), absolute_agreement(measured, full)
            limits = "" if found.low is None or found.high is None else f"{found.low:+.4f} to {found.high:+.4f}"
            error = float(np.mean(np.abs(np.array(measured) / np.array(full) - 1)))
            texts = (f"{found.bias:+.4f}", limits, f"{error:.2%}", "" if icc is None else f"{icc:.4f}")
            rows.append((dose, name, *texts, str(len(measured))))
    header = ("dose", "method", "bias", "limits of agreement", "mean absolute error", "ICC(2,1)", "n")
    caption = "Regional SUVR against the full dose: Bland-Altman and intraclass correlation over regions and subjects"
    return Table(caption, header, tuple(rows))


def region_table(chosen: Sequence[Chosen], models: Sequence[str]) -> Table:
    """Return the error of each region's SUVR, over subjects, of the low dose, the models and the filters."""
    rows = []
    for dose, group in by_dose(chosen):
        names = [name for name in (INPUT, *models, *filters_of(group)) if name in names_of(group)]
        errors = {name: _errors_by_region(group, name) for name in names}
        for region in dict.fromkeys(key for found in errors.values() for key in found):
            cells = [_mean_std(100 * np.array(errors[name].get(region, []))) for name in names]
            rows.append((dose, region, *cells, str(max(len(errors[name].get(region, [])) for name in names))))
        header = ("dose", "region", *names, "n")
    if not rows:
        return Table("", (), ())
    return Table(f"Error of the SUVR of each region in % ({MEAN_STD})", header, tuple(rows))


def band_table(chosen: Sequence[Chosen]) -> Table:
    """Return what each method changes in each band of spatial frequency; means over subjects."""
    rows = []
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            for columns in zip(*(each.bands for each in group if each.method == name)):
                low, high = columns[0].low, columns[0].high
                size = f"{1 / high:.0f} to {1 / low:.0f}" if low > 0 else f"above {1 / high:.0f}"
                values = [
                    float(np.mean([getattr(band, key) for band in columns])) for key in ("gain", "power", "error")
                ]
                rows.append((dose, name, size, *(f"{value:.3f}" for value in values), str(len(columns))))
    header = ("dose", "method", "detail (mm)", "kept of the low dose", "power / full dose", "error / low dose's", "n")
    caption = (
        "By the size of detail, one over the spatial frequency: the share of each part of the low dose that the result "
        "has, power relative to the full dose, power of the error relative to that of the low dose"
    )
    return Table(caption, header, tuple(rows))


def split_table(chosen: Sequence[Chosen], results: Sequence[SubjectResult]) -> Table:
    """Return noise and bias of each method where scans were repeated, in % of the brain mean."""
    splits = {
        (result.subject, each.dose, each.method, each.setting): each for result in results for each in result.splits
    }
    rows = []
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            keys = [(c.subject, c.dose, name.partition(", ")[0], c.setting) for c in group if c.method == name]
            found = [splits[key] for key in keys if key in splits]
            if not found:
                continue
            totals = [each.total for each in found if each.total is not None]
            biases = [each.bias for each in found if each.bias is not None]
            noise = float(np.mean([each.noise for each in found]))
            rows.append((dose, name, _root(noise), _root(_mean(biases)), _root(_mean(totals)), str(len(found))))
    header = ("dose", "method", "noise (%)", "bias (%)", "error to noise-free (%)", "n")
    caption = (
        "Repeated scans: standard deviation from scan to scan, root mean square of what is wrong in every scan, and "
        "both together, in % of the brain mean, over the head"
    )
    return Table(caption, header, tuple(rows))


def records(chosen: Sequence[Chosen]) -> list[dict[str, Any]]:
    """Return every subject, dose and method as plain JSON types, unrounded."""
    return [
        {
            **{key: value for key, value in each.measurement.as_dict().items() if key != "tracer"},
            "bands": [asdict(band) for band in each.bands],
            "regions": [
                {"label": region.label, "name": region.name, "suvr": value, "full": full}
                for measured, scan in zip(each.measured, each.scans)
                for region, value, full in zip(scan.regions, measured.regions, scan.full)
            ],
        }
        for each in chosen
    ]


def table_csv(table: Table) -> str:
    """Return a table as CSV, its texts as they are shown."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()


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


def _errors_by_region(chosen: Sequence[Chosen], method: str) -> dict[str, list[float]]:
    """Region -> its relative error, one a subject: the mean over the subject's scans that have it."""
    found: dict[str, list[float]] = defaultdict(list)
    for each in chosen:
        own: dict[str, list[float]] = defaultdict(list)
        for measured, scan in zip(each.measured, each.scans) if each.method == method else ():
            for region, value, full in zip(scan.regions, measured.regions, scan.full):
                own[f"{region.label} {region.name}".strip()].append(value / full - 1)
        for name, errors in own.items():
            found[name].append(float(np.mean(errors)))
    return found


def _by_subject(group: Sequence[Chosen], method: str) -> dict[str, Measurement]:
    return {each.subject: each.measurement for each in group if each.method == method}


def _best(scores: dict[str, dict[str, Measurement]], names: Iterable[str], column: Column) -> Optional[str]:
    sign = -1 if column.less_is_better else 1
    means = {
        name: sign * np.mean([m.scores[column.score] for m in scores[name].values() if column.score in m.scores])
        for name in names
        if any(column.score in m.scores for m in scores[name].values())
    }
    return max(means, key=lambda name: means[name]) if means else None


def _gain_row(
    dose: str, column: Column, scores: dict[str, dict[str, Measurement]], model: str, other: str
) -> Iterator[tuple[str, ...]]:
    ours, theirs = scores[model], scores[other]
    common = [s for s in ours if s in theirs and column.score in ours[s].scores and column.score in theirs[s].scores]
    if not common:
        return
    sign = (-1 if column.less_is_better else 1) * column.factor
    values = [[sign * each[subject].scores[column.score] for subject in common] for each in (ours, theirs)]
    yield (dose, column.title, model, other, *_gain_texts(paired_gain(*values), column), str(len(common)))


def _gain_texts(gain: Gain, column: Column) -> tuple[str, str, str]:
    def text(value: float) -> str:
        return f"{value:+.{column.digits}f}"

    interval = "" if gain.low is None or gain.high is None else f"{text(gain.low)} to {text(gain.high)}"
    return text(gain.mean), interval, "" if gain.p is None else f"{gain.p:.2g}"


def _mean_std(values: np.ndarray) -> str:
    if not values.size:
        return ""
    return f"{values.mean():+.2f}" + (f" ± {values.std(ddof=1):.2f}" if values.size > 1 else "")


def _mean(values: Sequence[float]) -> Optional[float]:
    return float(np.mean(values)) if values else None


def _root(square: Optional[float]) -> str:
    return "" if square is None else f"{100 * max(square, 0.0) ** 0.5:.2f}"
