"""Noise range and sanity: each fault made on purpose is reported, and a head without faults gives no warning."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image
from scipy import ndimage

from CSRDDenoiseLib.checks.attenuation import attenuation_left, check_attenuation
from CSRDDenoiseLib.checks.blank_slices import check_blank_slices, least_in_head
from CSRDDenoiseLib.checks.contrast import check_contrast
from CSRDDenoiseLib.checks.cut import check_cut
from CSRDDenoiseLib.checks.depth import depth_mm
from CSRDDenoiseLib.checks.filtering import check_filtering
from CSRDDenoiseLib.checks.head_size import check_head_size
from CSRDDenoiseLib.checks.inputs import Judged, check_appearance
from CSRDDenoiseLib.checks.noise import (
    INSIDE,
    NEAR,
    OUTSIDE,
    NoiseSample,
    blur_fwhm_mm,
    estimate_dose,
    judge_noise,
    noise_facts,
    texture,
)
from CSRDDenoiseLib.checks.slice_scale import check_slice_scale, slice_ratios
from CSRDDenoiseLib.checks.unit import check_unit
from CSRDDenoiseLib.checks.voxels import check_voxels
from CSRDDenoiseLib.findings import find, warnings_of
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.model.contents import NOISE_RANGE
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.research.evaluation.trials import GROUPS
from CSRDDenoiseLib.research.simulation.subject import emulate_dose
from CSRDDenoiseLib.scan import Head, Scan
from CSRDDenoiseLib.sentences import sentence

SAMPLE = Path(__file__).parents[1] / "CSRDDenoise" / "Resources" / "SampleData"
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


def judged(pet, mr=None) -> Judged:
    pet, mr = (as_image(each, (STEP,) * 3) if isinstance(each, np.ndarray) else each for each in (pet, mr))
    aligned = to_model_grid(pet, mr, STEP)
    return Judged(pet, Scan(aligned.pet, aligned.grid), aligned.mr)


def appearance(inputs: Judged):
    return check_appearance(inputs, texture(inputs.scan))


def test_head_without_faults_gets_no_warning():
    findings = appearance(judged(head(), t1()))
    assert warnings_of(findings) == ()
    assert find(findings, "unit").values["looks_like"] == "Bq/mL"
    assert find(findings, "blank_slices").values == {"count": 0}
    assert {"head.volume", "cut.none", "attenuation.plausible", "mr.plausible"} <= {each.code for each in findings}


def test_cold_centre_as_without_attenuation_correction_is_a_finding():
    r, pet = radius(), head()
    pet[r > 0.8] *= 7
    (finding,) = check_attenuation(judged((pet * attenuation_left(r < 1, STEP)).astype(np.float32)).scan)
    assert finding.code == "attenuation.doubtful" and finding.values["cup"] == pytest.approx(1, abs=0.4)
    (finding,) = check_attenuation(judged(pet).scan)
    assert finding.code == "attenuation.plausible" and finding.values["cup"] == pytest.approx(0, abs=0.2)


def test_blank_slices_are_counted_along_any_axis():
    pet = head()
    pet[:, 20:23] = 0
    finding = check_blank_slices(pet)
    assert finding.values == {"count": 3, "axis": 2, "first": 21, "slices": 52} and finding.is_warning
    assert "3 of the PET's 52 slices" in sentence(finding)


def test_empty_slices_around_the_head_are_no_fault():
    assert not check_blank_slices(np.pad(head(), ((6, 6), (0, 0), (0, 0)))).is_warning
    few_counts = np.pad(head(), ((6, 6), (0, 0), (0, 0)))
    few_counts[-2, 3, 3] = 0.01 * few_counts.max()
    assert not check_blank_slices(few_counts).is_warning, "air between the head and a single count is no gap"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("factor", [1e4, 4, 1e-4])
def test_a_slice_out_of_scale_is_named_along_any_axis(axis, factor):
    pet = head()
    np.moveaxis(pet, axis, 0)[20] *= factor
    (finding,) = check_slice_scale(pet)
    values = {"count": 1, "axis": 3 - axis, "worst": 21, "slices": pet.shape[axis]}
    assert finding.is_warning and {name: finding.values[name] for name in values} == values
    assert finding.values["factor"] == pytest.approx(factor, rel=0.2)


def test_a_slice_out_of_scale_is_found_in_a_wide_field_of_view():
    pet = np.pad(head(), ((0, 0), (70, 70), (70, 70)))
    assert check_slice_scale(pet) == ()
    pet[20] *= 4
    (finding,) = check_slice_scale(pet)
    assert (finding.values["axis"], finding.values["worst"], finding.values["count"]) == (3, 21, 1)


def test_no_head_is_out_of_scale_with_itself():
    pet = head()
    assert check_slice_scale(pet) == ()
    assert check_slice_scale(np.pad(pet, ((6, 6), (0, 0), (3, 0)))) == () == check_slice_scale(pet[20:24])
    assert check_slice_scale(pet[25:]) == (), "a head that is cut by the edge"
    spot = pet.copy()
    spot[25, 24:28, 24:28] *= 100
    assert check_slice_scale(spot) == (), "a hot lesion in one slice is no slice of another scale"
    steps = pet * np.float32(2) ** np.arange(pet.shape[0])[:, None, None]
    assert check_slice_scale(steps) == (), "nothing is out of scale with both sides"


@pytest.mark.parametrize("name", ["low_dose_1_10", "full_dose"])
def test_the_slices_of_the_bundled_example_are_of_one_scale(name):
    pet = sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE / f"{name}.nii.gz"), sitk.sitkFloat32))
    ratios = np.concatenate([slice_ratios(pet, axis, least_in_head(pet)) for axis in range(3)])
    assert ratios.min() > 1 / 1.025 and 1.005 < ratios.max() < 1.025


def test_each_fault_of_a_slice_is_tried_and_found():
    bed = SimpleNamespace(head=SimpleNamespace(pet=as_image(head(), (STEP,) * 3)), rng=np.random.default_rng(0))
    tried = list(GROUPS["slices"](bed))
    assert [trial.fault for trial in tried] == [False, True, True, True]
    assert all(trial.warned == trial.fault for trial in tried) and 1 < tried[0].score < 1.2


@pytest.mark.parametrize("empty", [False, True])
def test_cut_head_is_found_with_its_side(empty):
    pet = head()
    if empty:
        pet[28:] = 0
    else:
        pet = pet[:28]
    finding = check_cut(judged(pet).scan)
    assert set(finding.values["edges_cm2"]) == {"top"} and finding.values["edges_cm2"]["top"] > 50
    assert finding.is_warning


def test_long_voxels_are_a_finding():
    assert "2.00 x 2.00 x 5.00 mm" in sentence(check_voxels((2.0, 2.0, 5.0)))
    assert check_voxels((2.0, 2.0, 5.0)).values["anisotropy"] == 2.5
    assert not check_voxels((2.0, 2.0, 4.0)).is_warning


def test_unit_of_the_file_is_believed_and_strange_values_are_a_finding():
    assert check_unit("Bq/mL", 1e12).values == {"stated": "Bq/mL"}
    assert check_unit("unknown", 5e9).is_warning
    assert check_unit("unknown", 5.0).values["looks_like"] == "SUV"


def test_filtering_is_found_by_the_width_of_what_is_left():
    fine = np.random.default_rng(0).standard_normal((96, 96, 96)).astype(np.float32)
    mask = np.zeros(fine.shape, bool)
    mask[20:-20, 20:-20, 20:-20] = True
    for wanted, found in ((4.0, 4.0), (11.0, 9.1)):
        pet = ndimage.gaussian_filter(mask * (1 + 3 * fine), wanted / 2.3548 / 2).astype(np.float32)
        features = texture(Scan.of_array(pet, (2.0,) * 3, Head(mask, (slice(None),) * 3, 1.0)))
        assert blur_fwhm_mm(features) == pytest.approx(found, rel=0.15)
        assert check_filtering(features)[0].is_warning == (wanted > 8.4)


def test_mr_like_t2_and_mr_with_bright_vessels_are_doubted():
    def code(mr: np.ndarray) -> str:
        inputs = judged(head(), mr)
        return check_contrast(inputs.scan, inputs.mr)[0].code

    assert code(t1()) == "mr.plausible"
    assert code(1.2 * (t1() > 0) - t1()) == "mr.not_t1"
    vessels = t1()
    vessels[20:24, 24:28, 20:24] = 2.5
    assert code(vessels) == "mr.enhanced"


def test_a_broken_voxel_of_the_mr_does_not_change_its_contrast():
    def contrast(mr: np.ndarray) -> float:
        inputs = judged(head(), mr)
        (found,) = check_contrast(inputs.scan, inputs.mr)
        assert found.code == "mr.plausible"
        return found.values["depth_contrast"]

    broken = t1()
    broken[tuple(n // 2 for n in broken.shape)] = 1e9
    assert contrast(broken) == pytest.approx(contrast(t1()), abs=0.01)


def test_depth_is_the_distance_to_what_is_not_in_a_mask():
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((20, 24, 22)), 2) > 0.02
    wanted = ndimage.distance_transform_edt(mask, sampling=(2.0, 1.5, 3.0))
    found = depth_mm(mask, (2.0, 1.5, 3.0))
    assert found[mask] == pytest.approx(wanted[mask], abs=1e-3) and (found[~mask] <= 0).all()


@pytest.mark.parametrize("whole_field, found", [(False, "head.large"), (True, "head.volume")])
def test_air_that_was_taken_for_head_is_a_finding(whole_field, found):
    grid = Grid.of(as_image(np.zeros((30, 70, 70), np.float32), (10.0, 10.0, 10.0)))
    pet = np.full((30, 70, 70), 0.3, np.float32)
    pet[10:20, 30:40, 30:40] = 1
    finding = check_head_size(Scan(pet, grid, whole_field=whole_field))
    assert finding.code == found and finding.values["head_ml"] == 147_000


def test_small_head_is_a_finding_and_not_judged_further():
    r = radius(middle=(21.5, 25.5, 22.5)) * 3
    findings = appearance(judged(np.where(r < 1, 5000, 0).astype(np.float32)))
    assert [finding.code for finding in warnings_of(findings)] == ["head.small"]
    assert find(findings, "attenuation") is None


# -- noise


def samples(count: int = 40) -> list[NoiseSample]:
    """Scans whose features determine their dose up to a small error."""
    rng = np.random.default_rng(0)
    doses = (1 / 4, 1 / 8, 1 / 40)
    drawn = [(scan, dose) for scan in range(count) for dose in doses]
    return [
        NoiseSample(scan, dose, 0.02 * dose**-0.5, _features(dose, rng), trained=dose > 1 / 10) for scan, dose in drawn
    ]


def _features(dose: float, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([[-np.log(dose) + 0.1 * rng.standard_normal()], rng.standard_normal(15)])


def test_dose_fit_estimates_the_dose_and_how_well_it_does():
    facts = noise_facts(samples())
    rng = np.random.default_rng(1)
    for dose in (1 / 4, 1 / 20, 1 / 40):
        assert estimate_dose(_features(dose, rng), facts["dose_fit"]) == pytest.approx(dose, rel=0.5)
    assert facts["dose_fit"]["right"] > 0.9 and facts["dose_fit"]["factor"] < 1.3
    assert facts["range"] == pytest.approx([0.04, 0.02 * 8**0.5], rel=1e-3)
    assert list(facts["levels"]) == ["1/4", "1/8"]


def test_noise_is_inside_near_or_outside_of_the_training():
    extra = {NOISE_RANGE: noise_facts(samples())}
    rng = np.random.default_rng(2)
    low, high = extra[NOISE_RANGE]["range"]
    levels = (1.01 * low, 1.1 * high, 2 * high, low / 2)
    found = [find(judge_noise(level, None, extra), "noise") for level in levels]
    assert [finding.values["verdict"] for finding in found] == [INSIDE, NEAR, OUTSIDE, OUTSIDE]
    assert [finding.is_warning for finding in found] == [False, False, True, True]
    assert [finding.values.get("kind") for finding in found[2:]] == ["more", "less"]
    by_texture = find(judge_noise(high, _features(1 / 40, rng), extra), "noise")
    assert by_texture.code == "noise.texture_outside" and "dose 1/" in sentence(by_texture)
    by_level = find(judge_noise(2 * high, _features(1 / 40, rng), extra), "noise")
    assert by_level.code == "noise.outside" and "dose 1/" in sentence(by_level)


def test_model_that_does_not_name_its_noise_gives_no_warning():
    (finding,) = judge_noise(9.9, None, {})
    assert finding.values == {"level": 9.9} and not finding.is_warning


def test_few_scans_give_a_range_but_no_fit_and_none_gives_nothing():
    assert "dose_fit" not in noise_facts(samples(4))
    assert noise_facts([]) == {}


def test_texture_needs_enough_brain():
    everywhere = Head(np.ones((9, 9, 9), bool), (slice(None),) * 3, 1.0)
    assert texture(Scan.of_array(np.ones((9, 9, 9), np.float32), (2.0,) * 3, everywhere)) is None


def test_emulated_dose_has_the_noise_of_that_dose():
    rng = np.random.default_rng(0)
    full, extra = rng.standard_normal((2, 100_000))
    low = full + 3 * extra  # nine times the variance of the full dose: dose 1/10
    assert np.var(emulate_dose(full, low, 1 / 10, 1 / 40)) == pytest.approx(40, rel=0.05)
    assert np.var(emulate_dose(full, low, 1 / 10, 1 / 2)) == pytest.approx(2, rel=0.05)


def test_blank_ends_count_for_nothing_in_sitk_order():
    image = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    image[3, 3, 2], image[3, 3, 5] = 1.0, 1.0
    finding = check_blank_slices(sitk.GetArrayViewFromImage(image))
    assert (finding.values["count"], finding.values["axis"], finding.values["first"]) == (2, 3, 4)
