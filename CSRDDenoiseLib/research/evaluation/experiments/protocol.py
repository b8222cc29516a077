"""Scanners and protocols: the gain over the best Gaussian, by tracer and by what the scanner did."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from ..markdown import Table
from ..methods import INPUT, ours, tuned, unchanged
from ..table import score_table
from .bench import MEAN_STD, Bench, Dose, Section, mean_score

FACTS = (
    "tracer",
    "scanner.spacing",
    "scanner.resolution_mm",
    "scanner.counts",
    "scanner.background",
    "scanner.iterations",
    "scanner.post_filter_mm",
)
MINE, FILTER = "Ours, posterior mean", "Best Gaussian"
TEXT = (
    "Subjects are grouped by a fact of their simulation: by its value where it is a word, below and above its median "
    "where it is a number. Groups overlap from fact to fact. To look outside the training draw, simulate such subjects."
)


def run(bench: Bench, dose: Dose = "1/10", facts: Sequence[str] = FACTS) -> Section:
    """Run the posterior mean and the tuned Gaussian, and report the gain for each group of subjects.

    Args:
        bench: subjects and model.
        dose: the dose to look at; subjects that lack it are in no group.
        facts: entries of ``subject.json``, a dot leading inside.
    """
    settings = bench.settings(sampler="mean", steps=1, samples=1)
    methods = {INPUT: unchanged, FILTER: tuned("Gaussian"), MINE: ours(bench.model, settings)}
    measurements = bench.measure([dose], methods)
    measured = {m.subject for m in measurements}
    known = {study.name: study.facts for study in bench.studies() if study.name in measured}
    rows = []
    for fact in facts:
        values = {name: _look_up(record, fact) for name, record in known.items()}
        for group, members in _groups(values).items():
            chosen = [m for m in measurements if m.subject in members]
            psnr = [mean_score(chosen, "psnr", method=method) for method in methods]
            gain = psnr[2] - psnr[1]
            rows.append((fact, group, *(f"{value:.2f}" for value in psnr), f"{gain:+.2f}", str(len(members))))
    header = ("fact", "group", *(f"{method} PSNR (dB)" for method in methods), "gain (dB)", "n")
    tables = (
        Table(f"By group of subjects, dose {dose} (mean over subjects)", header, tuple(rows)),
        score_table(f"All subjects ({MEAN_STD})", measurements),
    )
    return Section("Scanners and protocols", TEXT, tables, (), measurements)


def _look_up(record: Any, fact: str) -> Any:
    for key in fact.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _groups(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name of the group -> subjects in it; subjects that lack the fact are in none."""
    present = {name: value for name, value in values.items() if value is not None}
    if not all(isinstance(value, (int, float)) for value in present.values()):
        return {word: [n for n, v in present.items() if str(v) == word] for word in sorted(map(str, present.values()))}
    if len(set(present.values())) < 2:
        return {f"{value:g}": list(present) for value in set(present.values())}
    middle = float(np.median(list(present.values())))
    sides = {
        f"below {middle:.4g}": [name for name, value in present.items() if value < middle],
        f"from {middle:.4g}": [name for name, value in present.items() if value >= middle],
    }
    return {group: members for group, members in sides.items() if members}
