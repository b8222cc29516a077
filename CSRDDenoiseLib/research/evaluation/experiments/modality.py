"""Modality ablation: the right MR, none, that of another subject, and a misplaced one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Sequence

import SimpleITK as sitk

from ..methods import INPUT, MrChoice, ours, unchanged
from ..study import Study, load_study
from ..table import score_table
from .bench import MEAN_STD, Bench, Dose, Section

SCORES = ("psnr", "ssim", "nrmse", "hot_contrast", "cold_contrast", "bias", "leakage", "imprint")
TEXT = "The contribution of the MR, and the effect of one that does not belong to the PET; all else is the same."


def run(
    bench: Bench,
    dose: Dose = "1/10",
    shifts_mm: Sequence[float] = (2, 5, 10),
    rotations_degrees: Sequence[float] = (2, 5, 10),
) -> Section:
    """Run the posterior mean with the MR changed in each of the ways.

    Args:
        bench: subjects and model; with a single subject the MR of another one is left out.
        dose: the dose to look at.
        shifts_mm: shifts of the MR to the left.
        rotations_degrees: rotations of the MR about the vertical axis through its centre.
    """
    choices: dict[str, MrChoice] = {"MR as it is": lambda study: study.t1, "no MR": lambda study: None}
    if len(bench.folders) > 1:
        choices["MR of another subject"] = lambda study: _of_another(study, bench.folders)
    choices |= {f"MR shifted by {mm:g} mm": _moved(shift_mm=mm) for mm in shifts_mm}
    choices |= {f"MR rotated by {angle:g} degrees": _moved(degrees=angle) for angle in rotations_degrees}
    settings = bench.settings(sampler="mean", steps=1, samples=1)
    methods = {INPUT: unchanged, **{name: ours(bench.model, settings, mr) for name, mr in choices.items()}}
    measurements = bench.measure([dose], methods)
    table = score_table(f"By MR ({MEAN_STD})", measurements, SCORES)
    return Section("Modality ablation", TEXT, (table,), (), measurements)


def _moved(shift_mm: float = 0.0, degrees: float = 0.0) -> MrChoice:
    def choose(study: Study) -> sitk.Image:
        centre = _centre(study.t1)
        # a resampling transform maps output points to input points: the negative moves the image forward
        transform = sitk.Euler3DTransform(centre, 0.0, 0.0, -math.radians(degrees), (-shift_mm, 0.0, 0.0))
        return sitk.Resample(study.t1, study.t1, transform, sitk.sitkLinear)

    return choose


def _of_another(study: Study, folders: Sequence[Path]) -> sitk.Image:
    names = [folder.name for folder in folders]
    other = load_study(folders[(names.index(study.name) + 1) % len(folders)]).t1
    offset = [b - a for a, b in zip(_centre(study.t1), _centre(other))]
    return sitk.Resample(other, study.t1, sitk.TranslationTransform(3, offset), sitk.sitkLinear)


def _centre(image: sitk.Image) -> tuple[float, ...]:
    return image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
