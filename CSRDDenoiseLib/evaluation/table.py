"""Tables of text: mean and standard deviation over subjects, by dose and method; Markdown, and CSV of every record."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Sequence

import numpy as np

from .measure import CEILING, Measurement
from .methods import INPUT


@dataclass(frozen=True)
class Column:
    """How a score is shown: title with unit, factor to that unit, digits after the point."""

    score: str
    title: str
    factor: float = 1.0
    digits: int = 2


COLUMNS = (
    Column("psnr", "PSNR (dB)"),
    Column("ssim", "SSIM", digits=4),
    Column("nrmse", "NRMSE (%)", 100),
    Column("mae", "MAE (%)", 100),
    Column("truth_nrmse", "NRMSE to noise-free (%)", 100),
    Column("hot_contrast", "hot contrast", digits=3),
    Column("cold_contrast", "cold contrast", digits=3),
    Column("bias", "brain bias (%)", 100),
    Column("region_error", "region error (%)", 100),
    Column("white_matter_noise", "WM noise (%)", 100),
    Column("texture", "texture distance", digits=3),
    Column("leakage", "MR leakage (%)", 100),
    Column("coverage_1", "1-sigma coverage", digits=3),
    Column("coverage_2", "2-sigma coverage", digits=3),
)
MODEL_CARD = ("psnr", "ssim", "nrmse", "hot_contrast", "cold_contrast", "bias")


@dataclass(frozen=True)
class Table:
    """Texts under a caption."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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


def paired_table(caption: str, measurements: Iterable[Measurement], baselines: Sequence[str]) -> Table:
    """By dose, how much PSNR every other method gains over the best of the baselines, with a paired t test."""
    rows = []
    for dose, methods in _by_dose(measurements).items():
        psnr = {name: {m.subject: m.scores["psnr"] for m in group} for name, group in methods.items()}
        rivals = [name for name in baselines if name in psnr]
        if not rivals:
            continue
        best = max(rivals, key=lambda name: np.mean(list(psnr[name].values())))
        others = [name for name in psnr if name not in (*baselines, INPUT, CEILING)]
        rows += [(dose, name, best, *_paired(psnr[name], psnr[best])) for name in others]
    return Table(caption, ("dose", "method", "best baseline", "PSNR gain (dB)", "p", "n"), tuple(rows))


def to_markdown(table: Table) -> str:
    """A Markdown table under its caption."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join([table.caption, "", *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


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


def _paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[str, str, str]:
    from scipy import stats

    gains = np.array([ours[subject] - theirs[subject] for subject in ours if subject in theirs])
    if gains.size < 2:
        return f"{gains.mean():+.2f}", "", str(gains.size)
    p = stats.ttest_1samp(gains, 0).pvalue
    return f"{gains.mean():+.2f} ± {gains.std(ddof=1):.2f}", f"{p:.2g}", str(gains.size)
