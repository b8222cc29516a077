"""Every baseline denoises, keeps activity, and is tuned to its best."""

from __future__ import annotations

import numpy as np
import pytest

from CSRDDenoiseLib.measures import bias, psnr
from CSRDDenoiseLib.research.evaluation.baselines import BASELINES, Case, baseline, mr_guided, tune

SPACING = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def case() -> Case:
    shape = (20, 22, 24)
    structure = np.zeros(shape)
    structure[5:15, 6:16, 6:18] = 1.0
    truth = 2000 * (1 + structure)
    pet = truth + np.random.default_rng(0).normal(0, 500, shape)
    mask = np.ones(shape, bool)
    return Case(pet=pet, reference=truth, mask=mask, spacing=SPACING, scale=3000.0, mr=300 * structure + 50)


SLOW = ("BM4D", "Tissue regression")


@pytest.mark.parametrize(
    "method",
    [pytest.param(each, marks=pytest.mark.slow if each.name in SLOW else ()) for each in BASELINES],
    ids=lambda method: method.name,
)
def test_tuned_baseline_beats_its_input_and_keeps_activity(method, case):
    if method.name == "BM4D":
        pytest.importorskip("bm4d")
    best = tune(method, case)
    assert best.image.shape == case.pet.shape
    assert psnr(best.image, case.reference, case.mask) > psnr(case.pet, case.reference, case.mask) + 1
    assert abs(bias(best.image, case.reference, case.mask)) < 0.02
    assert best.value in method.grid and best.seconds > 0


def test_tuning_takes_the_best_value(case):
    method = baseline("Gaussian")
    scores = [psnr(method.apply(case.pet, SPACING, value, None), case.reference, case.mask) for value in method.grid]
    assert tune(method, case).value == method.grid[int(np.argmax(scores))]


def test_gaussian_may_leave_the_image_as_it_is(case):
    assert baseline("Gaussian").grid[0] == 0
    assert np.array_equal(baseline("Gaussian").apply(case.pet, SPACING, 0.0, None), case.pet)


def test_guided_filter_copies_edges_from_the_mr_and_needs_one(case):
    sharp = mr_guided(case.pet / case.scale, SPACING, 0.01, case.mr) * case.scale
    blurred = baseline("Gaussian").apply(case.pet, SPACING, 8.0, None)
    assert psnr(sharp, case.reference, case.mask) > psnr(blurred, case.reference, case.mask)
    with pytest.raises(ValueError, match="needs an MR"):
        mr_guided(case.pet, SPACING, 0.01)
