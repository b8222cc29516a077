"""Cost curve: quality against network evaluations, for each sampler and for the number of averaged samples."""

from __future__ import annotations

from typing import Sequence

from ...settings import DenoiseSettings
from ..methods import ours
from ..table import score_table
from .bench import MEAN_STD, Bench, Dose, Figure, Section, line_plot, mean_score

SCORES = ("psnr", "ssim", "nrmse", "hot_contrast", "coverage_1")
TEXT = "Network evaluations are what a run costs. The presets are chosen from these curves."


def run(
    bench: Bench,
    dose: Dose = "1/10",
    steps: Sequence[int] = (2, 4, 8, 16),
    samples: Sequence[int] = (1, 2, 4, 8, 16),
    averaged_steps: int = 8,
) -> Section:
    """Measure the posterior mean, each sampler over its steps, and averages of samples.

    Args:
        bench: subjects and model.
        dose: the dose to look at.
        steps: noise levels of a single sample.
        samples: averaged samples of DPM-Solver++ ...
        averaged_steps: ... at this many steps each.
    """
    curves = {
        "posterior mean": [bench.settings(sampler="mean", steps=1, samples=1)],
        "heun, one sample": [bench.settings(sampler="heun", steps=n, samples=1) for n in steps],
        "dpmpp, one sample": [bench.settings(sampler="dpmpp", steps=n, samples=1) for n in steps],
        f"dpmpp, {averaged_steps} steps, averaged": [
            bench.settings(sampler="dpmpp", steps=averaged_steps, samples=k) for k in samples
        ],
    }
    methods = {_name(point): ours(bench.model, point) for points in curves.values() for point in points}
    measurements = bench.measure([dose], methods)
    psnr = {
        name: ([p.evaluations for p in points], [mean_score(measurements, "psnr", method=_name(p)) for p in points])
        for name, points in curves.items()
    }
    caption = f"PSNR at dose {dose} over network evaluations per voxel, mean over subjects."
    plot = Figure("cost", caption, line_plot(psnr, "network evaluations", "PSNR (dB)", log_x=True))
    table = score_table(f"By sampler ({MEAN_STD})", measurements, SCORES)
    return Section("Cost", TEXT, (table,), (plot,), measurements)


def _name(settings: DenoiseSettings) -> str:
    if settings.sampler == "mean":
        return "posterior mean"
    return f"{settings.sampler}, {settings.steps} steps, K = {settings.samples}"
