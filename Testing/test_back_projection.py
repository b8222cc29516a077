"""Noise around the head as filtered back projection leaves it is reported, and that of OSEM is not."""

from __future__ import annotations

import numpy as np
import pytest
from test_quality_input import head, judged, radius

from CSRDDenoiseLib.checks.back_projection import check_back_projection
from CSRDDenoiseLib.checks.inputs import judge_frame, judge_input
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.scan import Scan


def everywhere(share: float) -> np.ndarray:
    """A head with noise of 10 % of the brain, and this share of it around the head, of both signs."""
    noise = 500 * share * np.random.default_rng(1).standard_normal(radius().shape)
    return np.where(radius() < 1, head(), noise).astype(np.float32)


def found(pet):
    return check_back_projection(judged(pet).scan)


def test_noise_of_both_signs_around_the_head_is_reported():
    (finding,) = found(everywhere(0.2))
    assert finding.code == "back_projection.found" and finding.is_warning
    assert finding.values["negative"] == pytest.approx(0.5, abs=0.02)
    assert finding.values["noise_share"] == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("pet", [np.abs(everywhere(0.2)), everywhere(0.02)], ids=["positive", "little"])
def test_positive_noise_and_what_a_spline_leaves_are_not(pet):
    (finding,) = found(pet)
    assert finding.code == "back_projection.none" and not finding.is_warning


def test_an_osem_image_on_another_grid_is_not():
    pet = judged(head()).pet
    resampled = to_model_grid(pet, None, 2.7)
    assert (resampled.pet < 0).any()
    (finding,) = check_back_projection(Scan(resampled.pet, resampled.grid))
    assert finding.code == "back_projection.none"


def test_air_that_was_set_to_zero_gives_nothing():
    assert found(np.where(radius() < 1.1, everywhere(0.2), 0).astype(np.float32)) == ()


def test_a_trained_model_is_warned_of_and_a_regression_is_not():
    inputs = judged(everywhere(0.2))
    for judge in (judge_input, judge_frame):
        assert find(judge(inputs, load_model("brain").metadata), "back_projection").is_warning
        assert find(judge(inputs, load_model("tissue").metadata), "back_projection") is None
