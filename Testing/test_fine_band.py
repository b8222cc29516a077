"""Detail finer than the model's voxels: how much of its noise is left is a finding."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_model import tiny_metadata

from CSRDDenoiseLib.checks.fine_band import check_fine_band
from CSRDDenoiseLib.checks.masked import check_masked
from CSRDDenoiseLib.checks.output import assess
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.grid import Grid, cubic_image
from CSRDDenoiseLib.restore.canvas import Canvas, Restored
from CSRDDenoiseLib.scan import Scan


@pytest.mark.parametrize("left, code", [(0.8, "fine_band.left"), (0.2, "fine_band.treated")])
def test_noise_that_is_left_is_measured(left, code):
    noise = np.random.default_rng(0).normal(0, 0.06, (24, 24, 24)).astype(np.float32)
    whole = np.ones(noise.shape, bool)
    (finding,) = check_fine_band(5000 * (1 + noise), 5000 * (1 + left * noise), whole, (1.0, 1.0, 1.0), 2.0)
    assert finding.code == code and finding.values["left"] == pytest.approx(left, abs=0.02)
    assert check_fine_band(noise, noise, whole, (2.0, 2.0, 2.0), 2.0) == ()


def test_only_what_was_denoised_is_judged():
    """Outside of a region, and outside of the head's box, the result has the noise of the PET."""
    noise = np.random.default_rng(0).normal(0, 0.06, (40, 40, 40)).astype(np.float32)
    pet = cubic_image(5000 * (1 + noise), 1.0)
    scan = Scan.of_array(5000 * np.ones((20, 20, 20), np.float32), (2.0,) * 3)
    inside = np.zeros(noise.shape, np.uint8)
    inside[10:30, 10:30, 10:30] = 1
    denoised = np.where(inside, 5000 * (1 + 0.2 * noise), 5000 * (1 + noise)).astype(np.float32)
    box = (slice(5, 15),) * 3
    for canvas in (Canvas(pet, scan.grid, Grid.of(pet).image(inside)), Canvas(pet, scan.grid.crop(box))):
        restored = Restored(Grid.of(pet).image(denoised), pet, *[np.zeros(scan.pet.shape, np.float32)] * 2)
        found = find(assess(canvas, scan, np.zeros_like(scan.pet), restored, tiny_metadata()).findings, "fine_band")
        assert found.code == "fine_band.treated" and found.values["left"] < 0.3


def test_masked_share_is_reported():
    zeros = np.zeros((10, 10, 10), bool)
    assert check_masked(zeros) == ()
    zeros[:4] = True
    (finding,) = check_masked(zeros)
    assert finding.values == {"share": 0.4} and not finding.is_warning
