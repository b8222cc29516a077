"""Dose table: every method at every dose, the table of the model card."""

from __future__ import annotations

import io
from typing import Optional, Sequence

from ..figure import comparison_figure
from ..methods import INPUT, Method, ours, tuned, unchanged
from ..study import Study
from ..table import MODEL_CARD, paired_table, score_table
from .bench import MEAN_STD, Bench, Dose, Figure, Section

BASELINES = ("Gaussian", "Non-local means")
TEXT = (
    "Reference is the full dose. Baselines are tuned for every single scan with the answer in hand. The ceiling is "
    "what no method can pass on average, because the full dose is noisy itself."
)


def run(bench: Bench, doses: Optional[Sequence[Dose]] = None, baselines: Sequence[str] = BASELINES) -> Section:
    """Compare our posterior mean, one sample in 8 steps and the mean of 8 such samples with tuned baselines.

    Args:
        bench: subjects and model.
        doses: None takes every dose the subjects have.
        baselines: names of :data:`CSRDDenoiseLib.evaluation.baselines.BASELINES`.
    """
    mine = our_methods(bench)
    methods = {INPUT: unchanged, **{f"Best {name}": tuned(name) for name in baselines}, **mine}
    measurements = bench.measure(doses, methods)
    rivals = [f"Best {name}" for name in baselines]
    tables = (
        score_table(f"By dose, against the full dose ({MEAN_STD})", measurements, MODEL_CARD),
        paired_table("Gain over the best baseline, paired by subject (t test)", measurements, rivals),
        score_table(f"Every score ({MEAN_STD})", measurements),
    )
    example = _example(next(bench.studies()), mine["Ours, mean of 8"])
    return Section("Dose", TEXT, tables, (example,), measurements)


def our_methods(bench: Bench) -> dict[str, Method]:
    """The three ways to run the model that the model card tells of."""
    return {
        "Ours, posterior mean": ours(bench.model, bench.settings(sampler="mean", steps=1, samples=1)),
        "Ours, 8 steps": ours(bench.model, bench.settings(sampler="dpmpp", steps=8, samples=1)),
        "Ours, mean of 8": ours(bench.model, bench.settings(sampler="dpmpp", steps=8, samples=8)),
    }


def _example(study: Study, method: Method) -> Figure:
    dose = min(study.low_doses)
    pet, best, result = (each(study, dose) for each in (unchanged, tuned("Gaussian"), method))
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
    comparison_figure(shown, buffer, study.spacing, "activity")
    caption = f"{study.name} at dose {dose}; difference is denoised - PET, uncertainty the spread of the samples."
    return Figure("example", caption, buffer.getvalue())
