"""Regions: the bias of a method, which is left when scans are averaged, and the error of single scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from ..evaluation.markdown import Table
from .ours import BARE, FULL, GAUSSIAN, INPUT, OURS
from .rows import at_dose, dose_text, doses_of

BEST = "best filter"
SHOWN = (INPUT, FULL, GAUSSIAN, BEST, OURS, BARE)

Scan = Mapping[str, Any]


@dataclass(frozen=True)
class Bias:
    """Bias of regions' means at a dose: signed error against noise-free in %, averaged over scans, region by region.

    Attributes:
        size: mean over regions of its size.
        largest: the largest, with its sign.
        region: whose that is.
        deviation: standard error of the average over scans, root mean square over regions: about as much would be left
            of a method without a bias; NaN of one scan.
    """

    size: float
    largest: float
    region: str
    deviation: float


def bias_of(errors: Sequence[Mapping[str, float]]) -> Bias:
    """Average the signed errors (% by region) of scans; a region may be missing in some, and then has fewer."""
    names = list(dict.fromkeys(name for each in errors for name in each))
    every = {name: [each[name] for each in errors if name in each] for name in names}
    means = {name: float(np.mean(values)) for name, values in every.items()}
    region = max(means, key=lambda name: abs(means[name]))
    squares = [np.var(values, ddof=1) / len(values) for values in every.values() if len(values) > 1]
    deviation = float(np.sqrt(np.mean(squares))) if squares else float("nan")
    return Bias(float(np.mean(np.abs(list(means.values())))), means[region], region, deviation)


def region_errors(scan: Scan, image: str) -> Mapping[str, Any]:
    """The errors of an image of a scan (:func:`.quantities.region_biases`); empty where it was not measured."""
    if image == BEST:
        return (scan["best_filter"] or {}).get("regions", {})
    return scan["ours"]["regions"][image]


def region_tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables of the bias and of the errors of single scans."""
    lines: tuple[list[tuple[str, ...]], ...] = [], []
    for dose in doses_of(results["scans"]):
        for image in SHOWN:
            found = [region_errors(scan, image) for scan in at_dose(results["scans"], dose)]
            found = [each for each in found if each]
            if found:
                lines[0].append((dose_text(dose), image, *_bias_cells(found), str(len(found))))
                lines[1].append((dose_text(dose), image, *_error_cells(found), str(len(found))))
    biases = ("mean size (%)", "standard error (%)", "largest (%)", "brain (%)", "grey over white (%)", "n")
    errors = ("mean size (%)", "largest (%)", "against the input (%)", "grey over white, least to largest (%)", "n")
    return [
        Table("Bias: signed error of regions' means, averaged over scans", ("dose", "image", *biases), tuple(lines[0])),
        Table("Error of single scans, without sign, averaged over regions and scans", ("dose", "image", *errors),
              tuple(lines[1])),
    ]  # fmt: skip


def _bias_cells(found: Sequence[Mapping[str, Any]]) -> list[str]:
    bias = bias_of([each["signed"] for each in found])
    brain, ratio = (float(np.mean([each[key] for each in found])) for key in ("brain", "grey_over_white"))
    deviation = "" if np.isnan(bias.deviation) else f"{bias.deviation:.2f}"
    return [f"{bias.size:.2f}", deviation, f"{bias.largest:+.2f} ({bias.region})", f"{brain:+.2f}", f"{ratio:+.2f}"]


def _error_cells(found: Sequence[Mapping[str, Any]]) -> list[str]:
    sizes, changes = (float(np.mean([each[key] for each in found])) for key in ("regions", "to_input"))
    ratios = [each["grey_over_white"] for each in found]
    largest = max(each["largest"] for each in found)
    return [f"{sizes:.2f}", f"{largest:.1f}", f"{changes:.2f}", f"{min(ratios):+.1f} to {max(ratios):+.1f}"]
