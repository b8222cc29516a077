"""Trust: lesion contrast, structures that only the MR shows, and coverage of the uncertainty."""

from __future__ import annotations

from math import erf, sqrt

from ..measure import COVERAGE_SIGMAS
from ..methods import INPUT, ours, tuned, unchanged
from ..table import score_table
from .bench import MEAN_STD, Bench, Dose, Figure, Samples, Section, StepsOfDraws, line_plot, mean_score, over_subjects

SCORES = (
    "hot_contrast",
    "cold_contrast",
    "leakage",
    "imprint",
    "bias",
    "total_bias",
    "region_error",
    "texture",
    "coverage_1",
    "coverage_2",
    "calibration_error",
)
TEXT = (
    "Contrast recovery is relative to the full dose (1 keeps lesions as they are). Leakage is the mean change of "
    "contrast at structures that only the MR shows: compare with the Gaussian, which cannot see the MR. Imprint is "
    "its signed part, towards the contrast of the MR. Coverage is the share of brain voxels whose true value lies "
    "within 1 or 2 standard deviations of the result (the noise-free image for a model that estimates it, else the "
    "full dose; where that image is missing it is left out); normal errors would give 0.683 and 0.954. The calibration "
    "error is the mean gap, over ten bins of the standard deviation, between it and the root mean square error, as a "
    "share of the latter over all."
)


def run(bench: Bench, dose: Dose = "1/10", samples: Samples = 16, steps: StepsOfDraws = 8) -> Section:
    """Measure what a reader must be able to rely on: the estimate, and the spread of ``samples`` draws about it."""
    mine = f"Ours, K = {samples}"
    methods = {
        INPUT: unchanged,
        "Best Gaussian": tuned("Gaussian"),
        mine: ours(bench.model, bench.settings(sampler="dpmpp", steps=steps, samples=samples)),
    }
    measurements = bench.measure([dose], methods)
    expected = [erf(sigmas / sqrt(2)) for sigmas in COVERAGE_SIGMAS]
    observed = [mean_score(measurements, f"coverage_{sigmas:g}", method=mine) for sigmas in COVERAGE_SIGMAS]
    reliability = {"normal errors": (expected, expected), mine: (expected, observed)}
    plot = line_plot(reliability, "expected coverage", "observed coverage")
    caption = (
        "Reliability of the uncertainty: share of brain voxels inside 0.5, 1, 1.5, 2 and 3 standard deviations, "
        f"{over_subjects(measurements)}."
    )
    table = score_table(f"What must not change ({MEAN_STD})", measurements, SCORES)
    return Section("Trust", TEXT, (table,), (Figure("reliability", caption, plot),), measurements)
