"""Noise sensitivity: every dose the subjects have, inside and outside of what the model was trained on."""

from __future__ import annotations

from typing import Optional

from ....sentences import as_fraction
from ..measure import CEILING
from ..methods import INPUT, ours, tuned, unchanged
from ..table import score_table
from .bench import MEAN_STD, Bench, Doses, Figure, Samples, Section, StepsOfDraws, over_subjects, plot_by_dose

SCORES = ("psnr", "ssim", "nrmse", "hot_contrast", "cold_contrast", "bias", "coverage_1", "coverage_2")


def run(bench: Bench, doses: Optional[Doses] = None, samples: Samples = 4, steps: StepsOfDraws = 8) -> Section:
    """Follow quality and coverage over dose; simulate subjects with doses from 1/2 to 1/100 to see where it breaks.

    Args:
        bench: subjects and model.
        doses: None takes every dose the subjects have.
        samples: draws whose spread is the uncertainty.
        steps: of each draw.
    """
    mine = f"Ours, K = {samples}"
    methods = {
        INPUT: unchanged,
        "Best Gaussian": tuned("Gaussian"),
        mine: ours(bench.model, bench.settings(sampler="dpmpp", steps=steps, samples=samples)),
    }
    measurements = bench.measure(doses, methods)
    low, high = bench.model.metadata.dose_range
    text = f"The model was trained on doses from {as_fraction(high)} to {as_fraction(low)} of the full dose."
    plot = plot_by_dose(measurements, "psnr", (*methods, CEILING), "PSNR (dB)")
    caption = f"PSNR against the full dose over the dose reduction, {over_subjects(measurements)}."
    table = score_table(f"By dose ({MEAN_STD})", measurements, SCORES)
    return Section("Noise sensitivity", text, (table,), (Figure("noise", caption, plot),), measurements)
