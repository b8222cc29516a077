"""Noise range and sanity: each fault made on purpose is told, and a head without faults is left in peace."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image
from scipy import ndimage

from CSRDDenoiseLib.checks.noise import (
    INSIDE,
    KEY,
    NEAR,
    OUTSIDE,
    NoiseSample,
    blur_fwhm_mm,
    estimate_dose,
    judge_noise,
    noise_facts,
    texture,
)
from CSRDDenoiseLib.checks.sanity import (
    View,
    check_attenuation,
    check_blank_slices,
    check_contrast,
    check_cut,
    check_filtering,
    check_input,
    check_unit,
    check_voxels,
    depth_mm,
)
from CSRDDenoiseLib.io.read import UNITS_TAG
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.research.simulation.subject import emulate_dose
from CSRDDenoiseLib.scan import Head, find_head

STEP = 4.0
SHAPE = (44, 52, 46)
MIDDLE = (21.5, 25.5, 22.5)


def radius(shape=SHAPE, middle=MIDDLE) -> np.ndarray:
    """Distance from the middle, 1 on the surface of the head."""
    offset = np.indices(shape) - np.array(middle).reshape(3, 1, 1, 1)
    return np.sqrt(sum((part / (side / 2 - 4)) ** 2 for part, side in zip(offset, SHAPE)))


def head(noise: float = 0.1, blur: float = 0.0, seed: int = 0) -> np.ndarray:
    """A dim scalp around a brain of 5000, with noise in proportion."""
    r = radius()
    activity = 5000 * np.where(r < 0.8, 1.0, np.where(r < 1, 0.2, 0.0))
    noisy = activity * (1 + noise * np.random.default_rng(seed).standard_normal(SHAPE))
    return ndimage.gaussian_filter(noisy, blur).astype(np.float32) if blur else noisy.astype(np.float32)


def t1() -> np.ndarray:
    r = radius()
    return np.where(r < 0.65, 1.0, np.where(r < 0.8, 0.7, np.where(r < 1, 0.5, 0.0))).astype(np.float32)


def view(pet, mr=None) -> View:
    pet, mr = (as_image(each, (STEP,) * 3) if isinstance(each, np.ndarray) else each for each in (pet, mr))
    aligned = to_model_grid(pet, mr, STEP)
    found = find_head(aligned.pet, aligned.grid.array_spacing)
    return View(pet, aligned, found)


def test_head_without_faults_is_left_in_peace():
    warnings, facts = check_input(view(head(), t1()))
    assert warnings == []
    assert facts["unit"]["looks_like"] == "Bq/mL" and facts["blank_slices"] == {"count": 0}


def test_rim_and_centre_out_of_balance_is_told():
    r = radius()
    sentence, facts = check_attenuation(view(np.where(r < 1, 5000 * (0.3 + 0.7 * r), 0).astype(np.float32)))
    assert "attenuation" in sentence and facts["rim"] > facts["centre"]
    assert check_attenuation(view(head()))[0] is None


def test_blank_slices_are_counted_along_any_axis():
    pet = head()
    pet[:, 20:23] = 0
    sentence, facts = check_blank_slices(view(pet))
    assert "3 of the PET's 52 slices" in sentence and facts == {"count": 3, "axis": 2, "first": 21}


def test_empty_slices_around_the_head_are_no_fault():
    assert check_blank_slices(view(np.pad(head(), ((6, 6), (0, 0), (0, 0)))))[0] is None


@pytest.mark.parametrize("empty", [False, True])
def test_cut_head_is_told_with_its_side(empty):
    pet = head()
    if empty:
        pet[28:] = 0
    else:
        pet = pet[:28]
    sentence, facts = check_cut(view(pet))
    assert set(facts["edges_cm2"]) == {"top"} and facts["edges_cm2"]["top"] > 50 and "top" in sentence


def test_long_voxels_are_told():
    image = as_image(head(), (2.0, 2.0, 5.0))
    sentence, _ = check_voxels(View(image, None, None))
    assert "2.00 x 2.00 x 5.00 mm" in sentence and "2.5 times" in sentence


def test_unit_of_the_file_is_believed_and_strange_values_are_told():
    image = as_image(head(), (STEP,) * 3)
    image.SetMetaData(UNITS_TAG, "BQML")
    assert check_unit(view(image)) == (None, {"told": "Bq/mL"})
    assert "neither SUV nor Bq/mL" in check_unit(view(1e6 * head()))[0]
    assert check_unit(view(head() / 1000))[1]["looks_like"] == "SUV"


def test_filtering_is_told_by_the_width_of_what_is_left():
    fine = np.random.default_rng(0).standard_normal((96, 96, 96)).astype(np.float32)
    mask = np.zeros(fine.shape, bool)
    mask[20:-20, 20:-20, 20:-20] = True
    for wanted in (4.0, 9.0):
        pet = ndimage.gaussian_filter(mask * (1 + 3 * fine), wanted / 2.3548 / 2)
        found = blur_fwhm_mm(texture(pet, mask, (2.0,) * 3))
        assert found == pytest.approx(wanted, rel=0.15)
        image = as_image(pet.astype(np.float32))
        seen = View(image, to_model_grid(image, None, 2.0), Head(mask, (slice(None),) * 3, 1.0))
        assert (check_filtering(seen)[0] is not None) == (wanted > 7.5)


def test_mr_like_t2_and_mr_with_bright_vessels_are_doubted():
    assert check_contrast(view(head(), t1()))[0] is None
    assert "may not be T1" in check_contrast(view(head(), 1.2 * (t1() > 0) - t1()))[0]
    vessels = t1()
    vessels[20:24, 24:28, 20:24] = 2.5
    assert "contrast agent" in check_contrast(view(head(), vessels))[0]
    assert check_contrast(view(head())) == (None, {})


def test_depth_is_the_distance_to_what_is_not_in_a_mask():
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((20, 24, 22)), 2) > 0.02
    wanted = ndimage.distance_transform_edt(mask, sampling=(2.0, 1.5, 3.0))
    found = depth_mm(mask, (2.0, 1.5, 3.0))
    assert found[mask] == pytest.approx(wanted[mask], abs=1e-3) and (found[~mask] <= 0).all()


def test_small_head_is_told_and_not_judged_further():
    r = radius(middle=(21.5, 25.5, 22.5)) * 3
    warnings, facts = check_input(view(np.where(r < 1, 5000, 0).astype(np.float32)))
    assert len(warnings) == 1 and "part of the head may be missing" in warnings[0]
    assert "attenuation" not in facts


# -- noise


def samples(count: int = 40) -> list[NoiseSample]:
    """Scans whose features tell their dose but for a little."""
    rng = np.random.default_rng(0)
    doses = (1 / 4, 1 / 8, 1 / 40)
    drawn = [(scan, dose) for scan in range(count) for dose in doses]
    return [
        NoiseSample(scan, dose, 0.02 * dose**-0.5, _features(dose, rng), trained=dose > 1 / 10) for scan, dose in drawn
    ]


def _features(dose: float, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([[-np.log(dose) + 0.1 * rng.standard_normal()], rng.standard_normal(15)])


def test_dose_fit_tells_the_dose_and_how_well_it_does():
    facts = noise_facts(samples())
    rng = np.random.default_rng(1)
    for dose in (1 / 4, 1 / 20, 1 / 40):
        assert estimate_dose(_features(dose, rng), facts["dose_fit"]) == pytest.approx(dose, rel=0.5)
    assert facts["dose_fit"]["right"] > 0.9 and facts["dose_fit"]["factor"] < 1.3
    assert facts["range"] == pytest.approx([0.04, 0.02 * 8**0.5], rel=1e-3)
    assert list(facts["levels"]) == ["1/4", "1/8"]


def test_noise_is_inside_near_or_outside_of_the_training():
    extra = {KEY: noise_facts(samples())}
    rng = np.random.default_rng(2)
    low, high = extra[KEY]["range"]
    verdicts = {level: judge_noise(level, None, extra) for level in (1.01 * low, 1.1 * high, 2 * high, low / 2)}
    assert [facts["verdict"] for _, facts in verdicts.values()] == [INSIDE, NEAR, OUTSIDE, OUTSIDE]
    assert [len(warnings) for warnings, _ in verdicts.values()] == [0, 0, 1, 1]
    sentence = judge_noise(high, _features(1 / 40, rng), extra)[0][0]
    assert "may have more noise than anything" in sentence and "about dose 1/" in sentence and "likely 1/" in sentence
    sentence = judge_noise(2 * high, _features(1 / 40, rng), extra)[0][0]
    assert "is noisier than anything" in sentence and "about dose 1/" in sentence


def test_model_that_does_not_tell_its_noise_is_silent():
    assert judge_noise(9.9, None, {}) == ([], {"level": 9.9})


def test_few_scans_give_a_range_but_no_fit_and_none_gives_nothing():
    assert "dose_fit" not in noise_facts(samples(4))
    assert noise_facts([]) == {}


def test_texture_needs_enough_brain():
    assert texture(np.ones((9, 9, 9)), np.ones((9, 9, 9), bool), (2.0,) * 3) is None


def test_emulated_dose_has_the_noise_of_that_dose():
    rng = np.random.default_rng(0)
    full, extra = rng.standard_normal((2, 100_000))
    low = full + 3 * extra  # nine times the variance of the full dose: dose 1/10
    assert np.var(emulate_dose(full, low, 1 / 10, 1 / 40)) == pytest.approx(40, rel=0.05)
    assert np.var(emulate_dose(full, low, 1 / 10, 1 / 2)) == pytest.approx(2, rel=0.05)


def test_blank_ends_count_for_nothing_in_sitk_order():
    image = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    image[3, 3, 2], image[3, 3, 5] = 1.0, 1.0
    _, facts = check_blank_slices(View(image, None, None))
    assert facts == {"count": 2, "axis": 3, "first": 4}
