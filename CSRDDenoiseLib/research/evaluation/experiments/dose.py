"""Dose table: filters, other models and ours at every dose; the table of the model card."""

from __future__ import annotations

import io
from typing import Annotated, Optional, Sequence

from ....limits import Between
from ....report.planes import write_comparison
from ....settings import MAX_SAMPLES
from ..baselines import FILTERS
from ..measure import CEILING
from ..methods import INPUT, Method, ours, tuned, unchanged
from ..table import MODEL_CARD, paired_table, score_table
from .bench import MEAN_STD, Bench, Doses, Figure, Section, over_subjects, plot_by_dose

BASELINES = ("Gaussian", "Non-local means")
MINE = "Ours, posterior mean"
TEXT = (
    "The reference is the full dose. Filters are oracle-tuned for every scan. The ceiling is the PSNR that no method "
    "can pass on average, because the full dose itself is noisy. A positive gain is an improvement; the way to the "
    "ceiling is the gain in PSNR as a share of what lies between that baseline and the ceiling."
)


def run(
    bench: Bench,
    doses: Optional[Doses] = None,
    baselines: Annotated[Sequence[str], FILTERS] = BASELINES,
    samples: Annotated[int, Between(0, MAX_SAMPLES)] = 8,
) -> Section:
    """Compare our posterior mean, one draw in 8 steps and the mean of such draws with filters and other models.

    Args:
        bench: subjects, model and comparison models.
        doses: None takes every dose the subjects have.
        baselines: names of :data:`CSRDDenoiseLib.research.evaluation.baselines.BASELINES`.
        samples: draws that are averaged; 0 leaves draws out.
    """
    filters = {f"Best {name}": tuned(name) for name in baselines}
    methods = {INPUT: unchanged, **filters, **bench.comparison_methods(), **our_methods(bench, samples)}
    measurements = bench.measure(doses, methods)
    others = list(bench.comparisons)
    tables = (
        score_table(f"By dose, against the full dose ({MEAN_STD})", measurements, MODEL_CARD),
        paired_table("Gain over the best filter, paired by subject (t test)", measurements, MINE, list(filters)),
        *(paired_table(f"Gain over {other}, paired by subject", measurements, MINE, [other]) for other in others),
        score_table(f"Every score ({MEAN_STD})", measurements),
    )
    plot = plot_by_dose(measurements, "psnr", [*methods, CEILING], "PSNR (dB)")
    caption = f"PSNR against the full dose over the dose reduction, {over_subjects(measurements)}."
    return Section("Dose", TEXT, tables, (Figure("dose", caption, plot), _example(bench)), measurements)


def our_methods(bench: Bench, samples: int) -> dict[str, Method]:
    """The ways to run the model in the model card: posterior mean and, if it draws, one draw and the mean of draws."""
    methods = {MINE: ours(bench.model, bench.settings(sampler="mean", steps=1, samples=1))}
    for count in sorted({1, samples}) if samples and bench.model.metadata.draws else ():
        name = "Ours, one draw" if count == 1 else f"Ours, mean of {count} draws"
        settings = bench.settings(sampler="dpmpp", steps=8, samples=count, estimate="samples")
        methods[name] = ours(bench.model, settings)
    return methods


def _example(bench: Bench) -> Figure:
    study = next(bench.studies())
    dose = min(study.low_doses)
    pet, best, result = (
        each(study, dose) for each in (unchanged, tuned("Gaussian"), ours(bench.model, bench.settings()))
    )
    volumes = {
        f"PET, dose {dose}": pet.image,
        "best Gaussian": best.image,
        "denoised": result.image,
        "difference": result.image - pet.image,
        "uncertainty": result.std,
        "full dose": study.full_dose,
    }
    buffer = io.BytesIO()
    shown = {name: volume for name, volume in volumes.items() if volume is not None}
    write_comparison(shown, buffer, study.spacing, "activity (any unit)")
    caption = f"{study.name} at dose {dose}; difference is denoised - PET, uncertainty one standard deviation."
    return Figure("example", caption, buffer.getvalue())
