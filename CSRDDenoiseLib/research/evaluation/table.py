"""Tables of measurements: mean and standard deviation over subjects, by dose and method; CSV of every record."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Sequence

import numpy as np

from .markdown import Table
from .measure import CEILING, Measurement


@dataclass(frozen=True)
class Column:
    """How a score is shown: title with unit, factor to that unit, digits after the point, whether less is better."""

    score: str
    title: str
    factor: float = 1.0
    digits: int = 2
    less_is_better: bool = False


COLUMNS = (
    Column("psnr", "PSNR (dB)"),
    Column("ssim", "SSIM", digits=4),
    Column("nrmse", "NRMSE (%)", 100, less_is_better=True),
    Column("mae", "MAE (%)", 100, less_is_better=True),
    Column("truth_nrmse", "NRMSE to noise-free (%)", 100, less_is_better=True),
    Column("clean_nrmse", "NRMSE to noise-free, estimated (%)", 100, less_is_better=True),
    Column("hot_contrast", "hot contrast", digits=3),
    Column("cold_contrast", "cold contrast", digits=3),
    Column("bias", "brain bias (%)", 100),
    Column("total_bias", "total activity bias (%)", 100),
    Column("region_error", "regional SUVR error (%)", 100, less_is_better=True),
    Column("white_matter_noise", "noise (CoV, %)", 100),
    Column("texture", "texture distance", digits=3),
    Column("leakage", "MR leakage (%)", 100),
    Column("imprint", "MR imprint (%)", 100),
    Column("coverage_1", "1-sigma coverage", digits=3),
    Column("coverage_2", "2-sigma coverage", digits=3),
    Column("calibration_error", "calibration error (%)", 100, 1),
    Column("clean_spread", "uncertainty over error to noise-free, estimated"),
)
MODEL_CARD = ("psnr", "ssim", "truth_nrmse", "hot_contrast", "cold_contrast", "bias", "region_error")
PAIRED = ("psnr", "ssim", "truth_nrmse")


def score_table(caption: str, measurements: Iterable[Measurement], scores: Optional[Sequence[str]] = None) -> Table:
    """Mean +- standard deviation over subjects by dose and method, in the order in which they first occur.

    Args:
        caption: what the table shows.
        measurements: of any number of subjects.
        scores: which to show; None shows all that occur.
    """
    groups = _by_dose_and_method(measurements)
    present = {name for group in groups.values() for measurement in group for name in measurement.scores}
    wanted = present if scores is None else present & set(scores)
    columns = [column for column in COLUMNS if column.score in wanted]
    header = ("dose", "method", *(column.title for column in columns), "seconds", "n", "tuned")
    return Table(caption, header, tuple(_row(*key, group, columns) for key, group in groups.items()))


def paired_table(
    caption: str,
    measurements: Iterable[Measurement],
    method: str,
    baselines: Sequence[str],
    scores: Sequence[str] = PAIRED,
) -> Table:
    """By dose and score, what a method gains over the best of the baselines, with a paired t test over subjects.

    The way to the ceiling is the gain in PSNR as a share of what lies between that baseline and the ceiling.

    Args:
        caption: what the table shows.
        measurements: of any number of subjects.
        method: the one that is compared.
        baselines: the best of them, by the mean of each score, is the one it is compared with.
        scores: in which to compare.
    """
    columns = [column for column in COLUMNS if column.score in scores]
    rows = [
        row
        for dose, methods in _by_dose(measurements).items()
        for column in columns
        if (row := _paired_row(dose, column, methods, method, baselines))
    ]
    header = ("dose", "score", "method", "best baseline", "gain (mean ± SD)", "p", "way to the ceiling", "n")
    return Table(caption, header, tuple(rows))


def to_csv(measurements: Iterable[Measurement]) -> str:
    """Every measurement as one line, unrounded, for other programs."""
    records = [measurement.as_dict() for measurement in measurements]
    scores = dict.fromkeys(name for record in records for name in record["scores"])
    text = io.StringIO()
    fields = ["subject", "tracer", "dose", "method", "seconds", "chosen", *scores]
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record.pop("scores"), **record})
    return text.getvalue()


def _by_dose(measurements: Iterable[Measurement]) -> dict[str, dict[str, list[Measurement]]]:
    doses: dict[str, dict[str, list[Measurement]]] = defaultdict(lambda: defaultdict(list))
    for measurement in measurements:
        doses[measurement.dose][measurement.method].append(measurement)
    return doses


def _by_dose_and_method(measurements: Iterable[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    nested = _by_dose(measurements)
    return {(dose, method): group for dose, methods in nested.items() for method, group in methods.items()}


def _row(dose: str, method: str, group: Sequence[Measurement], columns: Sequence[Column]) -> tuple[str, ...]:
    seconds = float(np.mean([measurement.seconds for measurement in group]))
    texts = [_mean_text(column, group) for column in columns]
    return (dose, method, *texts, f"{seconds:.2f}" if seconds else "", str(len(group)), _tuned_text(group))


def _mean_text(column: Column, group: Sequence[Measurement]) -> str:
    values = [column.factor * m.scores[column.score] for m in group if column.score in m.scores]
    if not values:
        return ""
    text = f"{np.mean(values):.{column.digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{column.digits}f}"
    return text if len(values) == len(group) else f"{text} (n = {len(values)})"


def _tuned_text(group: Sequence[Measurement]) -> str:
    chosen = [m.chosen.split(" = ") for m in group if m.chosen]
    if not chosen:
        return ""
    values = sorted((text for _, text in chosen), key=float)
    return f"{chosen[0][0]} {values[0]}" + (f" to {values[-1]}" if values[-1] != values[0] else "")


def _paired_row(
    dose: str, column: Column, methods: Mapping[str, Sequence[Measurement]], method: str, baselines: Sequence[str]
) -> Optional[tuple[str, ...]]:
    values = {name: _by_subject(column, group) for name, group in methods.items()}
    present = [name for name in baselines if values.get(name)]
    if not present or not values.get(method):
        return None
    sign = -1 if column.less_is_better else 1
    best = max(present, key=lambda name: sign * np.mean(list(values[name].values())))
    common = [subject for subject in values[method] if subject in values[best]]
    ours, theirs = (np.array([values[name][subject] for subject in common]) for name in (method, best))
    way = _way(ours, theirs, [values.get(CEILING, {}).get(subject, np.nan) for subject in common])
    return (dose, column.title, method, best, *_t_test(sign * (ours - theirs), column), way, str(len(common)))


def _by_subject(column: Column, group: Sequence[Measurement]) -> dict[str, float]:
    return {m.subject: column.factor * m.scores[column.score] for m in group if column.score in m.scores}


def _way(ours: np.ndarray, theirs: np.ndarray, ceiling: Sequence[float]) -> str:
    span = float(np.mean(ceiling) - theirs.mean())
    return f"{(ours.mean() - theirs.mean()) / span:.0%}" if span > 0 else ""


def _t_test(gains: np.ndarray, column: Column) -> tuple[str, str]:
    from scipy import stats

    mean = f"{gains.mean():+.{column.digits}f}"
    if gains.size < 2:
        return mean, ""
    return f"{mean} ± {gains.std(ddof=1):.{column.digits}f}", f"{stats.ttest_1samp(gains, 0).pvalue:.2g}"
