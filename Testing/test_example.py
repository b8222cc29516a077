"""The bundled model denoises the bundled example by what the example's README claims, in float32."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read_volume
from CSRDDenoiseLib.measures import psnr
from CSRDDenoiseLib.resources import resource_folder
from CSRDDenoiseLib.scan import find_head, smooth
from CSRDDenoiseLib.settings import settings_from_preset

FOLDER = resource_folder() / "SampleData"
WIDTHS_MM = np.arange(3.0, 8.0, 0.5)
DECIBELS = 0.03


def claimed() -> dict[str, float]:
    rows = re.findall(r"^\| (\w[^|]*) \| (\d+\.\d+) \|$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M)
    return {name: float(value) for name, value in rows}


@pytest.mark.slow
def test_the_bundled_model_gains_the_decibels_it_claims():
    pet, mr, full = (read_volume(FOLDER / name) for name in ("low_dose_1_10.nii.gz", "mr.nii.gz", "full_dose.nii.gz"))
    result = denoise(pet, mr, replace(settings_from_preset("fast"), device="cpu", precision="float32"))
    before, after, truth = (sitk.GetArrayFromImage(image) for image in (pet, result.denoised, full))
    spacing = Grid.of(full).array_spacing
    mask = find_head(truth, spacing).mask
    measured = {
        "low dose": psnr(before, truth, mask),
        "oracle-tuned Gaussian": max(psnr(smooth(before, spacing, width), truth, mask) for width in WIDTHS_MM),
        "bundled model": psnr(after, truth, mask),
    }
    assert measured == pytest.approx(claimed(), abs=DECIBELS)
