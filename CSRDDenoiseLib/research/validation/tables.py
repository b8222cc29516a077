"""Tables of a validation: scores by dose, gains with their intervals, regions, frequency bands, bias and variance."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import asdict
from typing import Any, Optional, Sequence

import numpy as np

from ..evaluation.experiments.bench import MEAN_STD
from ..evaluation.markdown import Table
from ..evaluation.measure import CEILING
from ..evaluation.methods import INPUT
from ..evaluation.table import score_table
from .choice import Chosen, filters_of, measurements, names_of
from .comparison import GAINED, MethodGain, agreements_of, by_dose, gains_of, splits_of
from .frequency import common_bands
from .result import SubjectResult


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
    rows = [_gain_row(each) for each in gains_of(chosen, models)]
    header = ("dose", "score", "method", "over", "gain", "95 % interval", "p (Wilcoxon)", "n")
    caption = (
        "Gain in the direction that is better, paired by subject; 95 % confidence interval of the mean by the "
        "bootstrap (BCa), from 4 subjects on; the best filter is that with the best mean"
    )
    return Table(caption, header, tuple(rows))


def agreement_table(chosen: Sequence[Chosen]) -> Table:
    """Return how the regions' SUVR agree with those of the full dose, over regions and subjects."""
    rows = [
        (
            each.dose,
            each.method,
            f"{each.bias:+.4f}",
            _interval(each.low, each.high, "{:+.4f}"),
            f"{each.error:.2%}",
            _text(each.icc, "{:.4f}"),
            str(each.count),
        )
        for each in agreements_of(chosen)
    ]
    header = ("dose", "method", "bias", "limits of agreement", "mean absolute error", "ICC(2,1)", "n")
    caption = "Regional SUVR against the full dose: Bland-Altman and intraclass correlation over regions and subjects"
    return Table(caption, header, tuple(rows))


def region_table(chosen: Sequence[Chosen], models: Sequence[str]) -> Table:
    """Return the error of each region's SUVR, over subjects, of the low dose, the models and the filters."""
    shown = {
        dose: [name for name in (INPUT, *models, *filters_of(group)) if name in names_of(group)]
        for dose, group in by_dose(chosen)
    }
    # a dose of one subject has other methods than one of several
    columns = list(dict.fromkeys(name for names in shown.values() for name in names))
    rows = []
    for dose, group in by_dose(chosen):
        errors = {name: _errors_by_region(group, name) if name in shown[dose] else {} for name in columns}
        for region in dict.fromkeys(key for found in errors.values() for key in found):
            found = [errors[name].get(region, []) for name in columns]
            cells = [_mean_std(100 * np.array(each)) for each in found]
            rows.append((dose, region, *cells, str(max(map(len, found)))))
    if not rows:
        return Table("", (), ())
    header = ("dose", "region", *columns, "n")
    return Table(f"Error of the SUVR of each region in % ({MEAN_STD})", header, tuple(rows))


def band_table(chosen: Sequence[Chosen]) -> Table:
    """Return what each method changes in each band of spatial frequency; means over subjects."""
    rows = []
    for dose, group in by_dose(chosen):
        for name in names_of(group):
            for columns in common_bands([each.bands for each in group if each.method == name]):
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
    rows = [
        (each.dose, each.method, *(_percent(part) for part in (each.noise, each.bias, each.total)), str(each.count))
        for each in splits_of(chosen, results)
    ]
    header = ("dose", "method", "noise (%)", "bias (%)", "error to noise-free (%)", "n")
    caption = (
        "Repeated scans: standard deviation from scan to scan, root mean square of what is wrong in every scan, and "
        "both together, in % of the brain mean, over the head"
    )
    return Table(caption, header, tuple(rows))


def records(chosen: Sequence[Chosen], results: Sequence[SubjectResult], models: Sequence[str]) -> dict[str, Any]:
    """Return all numbers of the tables as plain JSON types, unrounded."""
    ceilings = [each for each in measurements(chosen) if each.method == CEILING]
    return {
        "measurements": [_record(each) for each in chosen],
        "ceilings": [{"subject": each.subject, "dose": each.dose, **each.scores} for each in ceilings],
        "gains": [asdict(each) for each in gains_of(chosen, models)],
        "agreement": [asdict(each) for each in agreements_of(chosen)],
        "bias_variance": [asdict(each) for each in splits_of(chosen, results)],
    }


def _record(each: Chosen) -> dict[str, Any]:
    return {
        **{key: value for key, value in each.measurement.as_dict().items() if key != "tracer"},
        "bands": [asdict(band) for band in each.bands],
        "regions": [
            {"label": region.label, "name": region.name, "suvr": value, "full": full}
            for measured, scan in zip(each.measured, each.scans)
            for region, value, full in zip(scan.regions, measured.regions, scan.full)
        ],
    }


def table_csv(table: Table) -> str:
    """Return a table as CSV, its texts as they are shown."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()


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


def _gain_row(each: MethodGain) -> tuple[str, ...]:
    (column,) = (column for column in GAINED if column.score == each.score)
    gain, form = each.gain, f"{{:+.{column.digits}f}}"
    mean, low, high = (None if value is None else column.factor * value for value in (gain.mean, gain.low, gain.high))
    texts = (_text(mean, form), _interval(low, high, form), _text(gain.p, "{:.2g}"))
    return (each.dose, column.title, each.method, each.over, *texts, str(gain.count))


def _text(value: Optional[float], form: str) -> str:
    return "" if value is None else form.format(value)


def _interval(low: Optional[float], high: Optional[float], form: str) -> str:
    return "" if low is None or high is None else f"{form.format(low)} to {form.format(high)}"


def _percent(share: Optional[float]) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _mean_std(values: np.ndarray) -> str:
    if not values.size:
        return ""
    return f"{values.mean():+.2f}" + (f" ± {values.std(ddof=1):.2f}" if values.size > 1 else "")
