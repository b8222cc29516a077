"""Detail finer than the model's voxels: how much of its noise is left is a finding."""

from __future__ import annotations

import numpy as np
import pytest

from CSRDDenoiseLib.checks.fine_band import check_fine_band
from CSRDDenoiseLib.checks.masked import check_masked


@pytest.mark.parametrize("left, code", [(0.8, "fine_band.left"), (0.2, "fine_band.treated")])
def test_noise_that_is_left_is_measured(left, code):
    noise = np.random.default_rng(0).normal(0, 0.06, (24, 24, 24)).astype(np.float32)
    (finding,) = check_fine_band(5000 * (1 + noise), 5000 * (1 + left * noise), 5000.0, (1.0, 1.0, 1.0), 2.0)
    assert finding.code == code and finding.values["left"] == pytest.approx(left, abs=0.02)
    assert check_fine_band(noise, noise, 1.0, (2.0, 2.0, 2.0), 2.0) == ()


def test_masked_share_is_reported():
    zeros = np.zeros((10, 10, 10), bool)
    assert check_masked(zeros) == ()
    zeros[:4] = True
    (finding,) = check_masked(zeros)
    assert finding.values == {"share": 0.4} and not finding.is_warning
