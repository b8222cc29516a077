"""Cost curve: quality against network evaluations, for presets, samplers and the number of averaged draws."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Sequence

from ....limits import Between, OneOf
from ....settings import MAX_SAMPLES, MAX_STEPS, PRESETS, DenoiseSettings, settings_from_preset
from ..methods import ours
from ..table import score_table
from .bench import MEAN_STD, Bench, Dose, Figure, Section, line_plot, mean_score, over_subjects

SCORES = ("psnr", "ssim", "nrmse", "hot_contrast", "coverage_1")
TEXT = "Network evaluations are what a run costs. The presets are chosen from these curves."


def run(
    bench: Bench,
    dose: Dose = "1/10",
    presets: Annotated[Sequence[str], OneOf(tuple(PRESETS))] = tuple(PRESETS),
    steps: Annotated[Sequence[int], Between(1, MAX_STEPS)] = (2, 4, 8, 16),
    samples: Annotated[Sequence[int], Between(1, MAX_SAMPLES)] = (1, 2, 4, 8, 16),
    averaged_steps: Annotated[int, Between(1, MAX_STEPS)] = 8,
) -> Section:
    """Measure the presets, each sampler over its steps, and averages of draws.

    Args:
        bench: subjects and model.
        dose: the dose to look at.
        presets: names of presets.
        steps: noise levels of a single draw.
        samples: averaged draws of DPM-Solver++ ...
        averaged_steps: ... at this many steps each.
    """
    draw = partial(bench.settings, estimate="samples")
    averaged = f"dpmpp, {averaged_steps} steps, averaged"
    curves = {
        **{f"preset {name}": [settings_from_preset(name, device=bench.device)] for name in presets},
        "heun, one draw": [draw(sampler="heun", steps=n, samples=1) for n in steps],
        "dpmpp, one draw": [draw(sampler="dpmpp", steps=n, samples=1) for n in steps],
        averaged: [draw(sampler="dpmpp", steps=averaged_steps, samples=k) for k in samples],
    }
    if not bench.model.metadata.draws:
        curves = {"preset fast": [settings_from_preset("fast", device=bench.device)]}
    methods = {_name(point): ours(bench.model, point) for points in curves.values() for point in points}
    measurements = bench.measure([dose], methods)
    psnr = {
        name: ([p.evaluations for p in points], [mean_score(measurements, "psnr", method=_name(p)) for p in points])
        for name, points in curves.items()
    }
    caption = f"PSNR at dose {dose} over network evaluations per voxel, {over_subjects(measurements)}."
    plot = Figure("cost", caption, line_plot(psnr, "network evaluations", "PSNR (dB)", log_x=True))
    table = score_table(f"By sampler ({MEAN_STD})", measurements, SCORES)
    return Section("Cost", TEXT, (table,), (plot,), measurements)


def _name(settings: DenoiseSettings) -> str:
    if settings.sampler == "mean":
        return "posterior mean"
    draws = f"{settings.sampler}, {settings.steps} steps, K = {settings.samples}"
    return f"posterior mean with {draws}" if settings.estimate == "mean" else draws
