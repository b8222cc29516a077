"""Checks of the output: over-smoothing, leftover noise, and structure the counts do not support."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from scipy import ndimage

from CSRDDenoiseLib.checks.leftover_noise import leftover_noise
from CSRDDenoiseLib.checks.lost_structure import LOST_LIMIT, lost_structure
from CSRDDenoiseLib.checks.mean import check_mean
from CSRDDenoiseLib.checks.output import judge_output
from CSRDDenoiseLib.checks.pair import Output
from CSRDDenoiseLib.checks.unsupported import ADDED, REMOVED, unsupported
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise, denoise_files
from CSRDDenoiseLib.findings import find, warnings_of
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.model.contents import OF_RESULT
from CSRDDenoiseLib.prepare.region import box_region, limited_scan
from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder
from CSRDDenoiseLib.restore.uncertainty import KEY
from CSRDDenoiseLib.scan import Head, Scan
from CSRDDenoiseLib.sentences import sentence
from CSRDDenoiseLib.settings import DenoiseSettings

STEP, SIDE = 3.0, 48
STD_OF_FINE_NOISE = 0.15
FAST = DenoiseSettings(sampler="mean")
SAMPLE = resource_folder() / SAMPLE_DATA


def ball(centre, radius_mm: float) -> np.ndarray:
    """Soft-edged, 0 to 1."""
    distance = np.linalg.norm(STEP * (np.indices((SIDE,) * 3) - np.array(centre).reshape(3, 1, 1, 1)), axis=0)
    return 1 / (1 + np.exp((distance - radius_mm) / 1.5))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A head of one with folds of 10 mm and a hot spot."""
    head = ball((23.5,) * 3, 62)
    folds = 0.3 * np.sin(np.indices((SIDE,) * 3).sum(0) * STEP * 2 * np.pi / 18)
    return (head * (1 + folds) + 0.8 * ball((30, 18, 20), 8)).astype(np.float32)


@pytest.fixture(scope="module")
def low(truth) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(truth.shape), 0.6)
    return (truth + 0.2 * noise / noise.std() * np.sqrt(np.maximum(truth, 0))).astype(np.float32)


def output(low: np.ndarray, denoised: np.ndarray) -> Output:
    head = Head(np.ones(low.shape, bool), (slice(None),) * 3, 1.0)
    return Output(Scan(low, Grid.of(as_image(low, (STEP,) * 3)), head), denoised)


def test_the_truth_passes_every_check(low, truth):
    findings, labels = judge_output(output(low, truth))
    assert warnings_of(findings) == () and not labels.any()
    assert find(findings, "lost_structure").values["share"] < 0.05
    assert find(findings, "leftover_noise").values["share"] < 0.05
    assert find(findings, "unsupported").values["regions"] == 0


def test_lost_structure_grows_with_smoothing(low, truth):
    widths = (0.0, 0.3, 0.6, 1.2)
    smoothed = [output(low, ndimage.gaussian_filter(truth, width) if width else truth) for width in widths]
    shares = [lost_structure(each) for each in smoothed]
    assert shares == sorted(shares) and shares[1] < LOST_LIMIT < shares[3]
    findings, _ = judge_output(output(low, ndimage.gaussian_filter(truth, 2.0)))
    assert find(findings, "lost_structure").is_warning


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_leftover_noise_is_measured(low, truth, share):
    mixed = output(low, share * low + (1 - share) * truth)
    found, level = leftover_noise(mixed)
    assert found == pytest.approx(share, abs=0.05)
    assert level == pytest.approx(share * STD_OF_FINE_NOISE, abs=0.01)
    assert find(judge_output(mixed)[0], "leftover_noise").is_warning == (share > 0.5)


def test_structure_without_counts_is_marked_where_it_is(low, truth):
    extra = ball((16, 30, 26), 9)
    findings, labels = judge_output(output(low, truth + 0.5 * extra.astype(np.float32)))
    assert (labels == ADDED)[extra > 0.9].mean() > 0.8
    assert labels[ball((16, 30, 26), 25) < 0.1].max() == 0
    finding = find(findings, "unsupported")
    assert finding.is_warning and finding.values["regions"] == 1 and finding.values["removed_ml"] == 0
    place = Grid.of(as_image(low, (STEP,) * 3)).point((26, 30, 16))
    assert finding.values["centre_mm"] == pytest.approx(list(place), abs=2)


def test_lesion_that_is_taken_away_is_marked_as_removed(low, truth):
    lesion = ball((30, 18, 20), 8)
    labels = unsupported(output(low, truth - 0.8 * lesion.astype(np.float32)))
    assert (labels == REMOVED)[lesion > 0.9].mean() > 0.8


def test_too_little_brain_is_not_judged():
    small = np.zeros((12, 12, 12), np.float32)
    small[4:8, 4:8, 4:8] = 1
    findings, labels = judge_output(output(small, small))
    assert [finding.code for finding in findings] == ["output.too_little"] and not labels.any()


def test_a_run_reports_its_quality_and_writes_the_map(tmp_path, pet, zero_model_folder):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out.nii.gz", support=tmp_path / "support.nii.gz")
    result = denoise_files(request, FAST, zero_model_folder)
    assert {"input", "noise", "output", "uncertainty"} <= set(result.provenance["quality"])
    assert set(result.provenance["outputs"]) == {"denoised", "support"}
    written = sitk.ReadImage(str(tmp_path / "support.nii.gz"))
    assert written.GetSize() == pet.GetSize() and written.GetPixelID() == sitk.sitkUInt8


def test_map_that_could_not_be_judged_is_reported_where_it_was_asked_for(tmp_path, pet, zero_model_folder, capsys):
    sitk.WriteImage(pet, str(tmp_path / "pet.nrrd"))
    call = ["denoise", "--pet", tmp_path / "pet.nrrd", "--output", tmp_path / "out.nrrd", "--model", zero_model_folder]
    call = [str(part) for part in [*call, "--preset", "fast", "--progress", "none", "--overwrite"]]
    assert main(call) == 0
    assert "map of unsupported" not in capsys.readouterr().err
    for option in ("--unsupported", "--support"):
        assert main([*call, option, str(tmp_path / "support.nrrd")]) == 0
        assert "Warning: The map of unsupported structure is empty" in capsys.readouterr().err
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert record["findings"][-1]["code"] == "output.not_judged"


def test_calibration_holds_for_its_recipe_and_for_no_other(pet, model_folder):
    model = load_model(model_folder)
    settings = DenoiseSettings(samples=2, steps=2, precision="float32")
    table = {"spread": [1e-5, 1e4], "error": [2e-5, 2e4], "smoothing_mm": 0.0, OF_RESULT: True}
    recipes = ({**settings.recipe.as_dict(), KEY: table},)
    doubled = replace(model, metadata=replace(model.metadata, recipes=recipes))
    plain, calibrated = (denoise(pet, None, settings, each) for each in (model, doubled))
    once, twice = (sitk.GetArrayFromImage(each.uncertainty) for each in (plain, calibrated))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-3, atol=1e-3 * once.max())
    assert find(plain.findings, "uncertainty").code == "uncertainty.spread"
    assert calibrated.provenance["quality"]["uncertainty"]["calibrated"] is True
    other = replace(settings, samples=3)
    spread, marked = (denoise(pet, None, other, each) for each in (model, doubled))
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(each.uncertainty) for each in (spread, marked)))
    finding = find(marked.findings, "uncertainty")
    assert finding.code == "uncertainty.not_calibrated" and finding.values["calibrated"] is False
    assert finding.values["fitted"]["samples"] == 2 and "samples 3" in sentence(finding)


def test_a_head_too_small_is_not_judged_and_marked_nowhere(zero_model_folder):
    result = denoise(as_image(head_array()), None, FAST, zero_model_folder)
    assert find(result.findings, "output").code == "output.too_little"
    assert not sitk.GetArrayViewFromImage(result.support).any()


@pytest.mark.parametrize(("extra", "most", "least"), [(0.0, 2, 0), (0.3, 40, 40)])
def test_the_noise_of_a_small_region_is_no_change_of_its_mean(extra, most, least):
    """The full dose in place of the result, in cubes of 24 mm: noise alone moves their means by up to 6 %."""
    names = ("low_dose_1_10", "full_dose")
    images = [sitk.ReadImage(str(SAMPLE / f"{name}.nii.gz"), sitk.sitkFloat32) for name in names]
    low, full = map(sitk.GetArrayFromImage, images)
    scan, rng, found = Scan(low, Grid.of(images[0])), np.random.default_rng(0), []
    deep = np.argwhere(ndimage.binary_erosion(scan.brain, iterations=4))
    for place in deep[rng.integers(len(deep), size=40)]:
        region = box_region(scan.grid.point(place[::-1]), (24, 24, 24), np.eye(3))
        part, box, _ = limited_scan(scan, region)
        change = ((1 + extra) * full - low)[box]
        found.append(check_mean(part, change, change)[1].is_warning)
    assert least <= sum(found) <= most


@pytest.mark.parametrize(("trained", "code"), [(True, "mean.changed"), (False, "mean.kept")])
def test_a_model_without_training_is_judged_by_its_result_alone(trained, code):
    """The regression on tissue classes changes the mean of the brain by more than 1 %, and the result does not."""
    scan = Scan.of_array(sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE / "low_dose_1_10.nii.gz"))), (2.0,) * 3)
    estimate = np.float32(0.015) * scan.pet
    assert check_mean(scan, estimate, estimate / 15, trained)[1].code == code
    assert check_mean(scan, estimate, estimate, False)[1].code == "mean.moved"
