"""What experiments share: the studies and the model they work on, and the section they return."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Iterator, Mapping, Optional, Sequence, Union

import numpy as np

from ....errors import CSRDError, InputError
from ....limits import Between, Length
from ....model.bundle import Model
from ....settings import MAX_SAMPLES, MAX_STEPS, DenoiseSettings, settings_from_preset
from ....spread import Spread, in_turn
from ..markdown import Table
from ..measure import Measurement, measure
from ..methods import Method, ours
from ..study import Study, load_study

logger = logging.getLogger(__name__)

Dose = Union[str, float]
Doses = Annotated[Sequence[Dose], Length(1, 100)]
Samples = Annotated[int, Between(1, MAX_SAMPLES)]
StepsOfDraws = Annotated[int, Between(2, MAX_STEPS)]
"""Draws of one step are the posterior mean, and have no spread."""
Seed = Annotated[int, Between(0, 2**63 - 1)]
MEAN_STD = "mean ± standard deviation over subjects"
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Figure:
    """A PNG with its caption."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """One experiment's part of the report."""

    title: str
    text: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class ComparisonModel:
    """Another trained model to compare with, and how it is run."""

    model: Model
    settings: DenoiseSettings


@dataclass(frozen=True)
class Bench:
    """What is evaluated, and on what.

    Attributes:
        folders: of the simulated subjects.
        model: the model.
        device: of the model, as in :class:`DenoiseSettings`.
        comparisons: name in the tables -> another trained model.
        spread: where subjects are measured; a function and its subjects leave for there.
    """

    folders: tuple[Path, ...]
    model: Model
    device: str = "auto"
    comparisons: Mapping[str, ComparisonModel] = field(default_factory=dict)
    spread: Spread = in_turn

    def studies(self) -> Iterator[Study]:
        """Load one subject after another."""
        return (load_study(folder) for folder in self.folders)

    def settings(self, **changes: Any) -> DenoiseSettings:
        """The settings of a run on the bench's device, from the ``balanced`` preset."""
        return settings_from_preset(device=self.device, **changes)

    def comparison_methods(self) -> dict[str, Method]:
        """The comparison models, ready to be measured."""
        return {name: ours(other.model, other.settings) for name, other in self.comparisons.items()}

    def measure(self, doses: Optional[Sequence[Dose]], methods: Mapping[str, Method]) -> tuple[Measurement, ...]:
        """Apply every method to every dose (None: all) of every subject."""
        fractions = None if doses is None else [as_fraction(dose) for dose in doses]
        done: dict[Path, list[Measurement]] = {}
        for folder, found in self.spread(partial(_measure_folder, fractions, dict(methods)), self.folders):
            if isinstance(found, CSRDError):
                raise found
            for measurement in found:
                psnr = measurement.scores["psnr"]
                logger.info("%s, dose %s, %s: %.2f dB", folder.name, measurement.dose, measurement.method, psnr)
            done[folder] = found
        return tuple(measurement for folder in self.folders for measurement in done[folder])


def _measure_folder(
    fractions: Optional[Sequence[Fraction]], methods: Mapping[str, Method], folder: Path
) -> list[Measurement]:
    return list(measure(load_study(folder), fractions, methods))


def as_fraction(dose: Dose) -> Fraction:
    """A dose as a configuration has it, "1/10" or 0.1, as a fraction.

    Raises:
        InputError: it is none, or not between 0 and 1.
    """
    try:
        value = Fraction(dose).limit_denominator(1000)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise InputError(f"The dose {dose!r} is not a fraction such as 1/10.") from error
    if not 0 < value < 1:
        raise InputError(f"The dose {dose} must lie between 0 and 1.")
    return value


def mean_score(measurements: Sequence[Measurement], score: str, **where: str) -> float:
    """Mean of a score over the measurements whose fields (method, dose, ...) are as given; NaN without any."""
    chosen = [m for m in measurements if all(getattr(m, field) == value for field, value in where.items())]
    values = [m.scores[score] for m in chosen if score in m.scores]
    return float(np.mean(values)) if values else float("nan")


def over_subjects(measurements: Sequence[Measurement]) -> str:
    """The sample size, for captions."""
    return f"mean over n = {len({m.subject for m in measurements})} subjects"


def plot_by_dose(measurements: Sequence[Measurement], score: str, methods: Sequence[str], y_label: str) -> bytes:
    """A PNG of a score over the dose reduction, one line a method, mean over subjects."""
    doses = sorted({measurement.dose for measurement in measurements}, key=as_fraction, reverse=True)
    reduction = [1 / float(as_fraction(dose)) for dose in doses]
    series = {
        name: (reduction, [mean_score(measurements, score, dose=dose, method=name) for dose in doses])
        for name in methods
    }
    return line_plot(series, "full dose / dose", y_label, log_x=True)


def line_plot(series: Series, x_label: str, y_label: str, log_x: bool = False) -> bytes:
    """A PNG of lines with markers; ``series`` is name -> (x, y)."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(7.2, 3.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    for name, (x, y) in series.items():
        axes.plot(x, y, marker="o", markersize=4, linewidth=1.4, label=name)
    if log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
