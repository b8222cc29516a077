"""Checks of the output: over-smoothing, leftover noise, and structure the counts do not support."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from scipy import ndimage

from CSRDDenoiseLib.checks.unsupported import (
    ADDED,
    LOST_LIMIT,
    NOT_JUDGED,
    REMOVED,
    Output,
    brain_of,
    check_output,
    leftover_noise,
    lost_structure,
    unsupported,
)
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise, denoise_files
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.settings import DenoiseSettings

STEP, SIDE = 3.0, 48
STD_OF_FINE_NOISE = 0.15
FAST = DenoiseSettings(sampler="mean")


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
    return Output(low, denoised, np.ones(low.shape, bool), Grid.of(as_image(low, (STEP,) * 3)))


def test_the_truth_passes_every_check(low, truth):
    warnings, facts, labels = check_output(output(low, truth))
    assert warnings == [] and not labels.any()
    assert facts["lost_structure"] < 0.05 and facts["leftover_noise"] < 0.05 and facts["unsupported"]["regions"] == 0


def test_lost_structure_grows_with_smoothing(low, truth):
    shares = []
    for width in (0.0, 0.3, 0.6, 1.2):
        smoothed = output(low, ndimage.gaussian_filter(truth, width) if width else truth)
        shares.append(lost_structure(smoothed, brain_of(smoothed)))
    assert shares == sorted(shares) and shares[1] < LOST_LIMIT < shares[3]
    assert "over-smoothed" in check_output(output(low, ndimage.gaussian_filter(truth, 2.0)))[0][0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_leftover_noise_is_measured(low, truth, share):
    mixed = output(low, share * low + (1 - share) * truth)
    found, level = leftover_noise(mixed, brain_of(mixed))
    assert found == pytest.approx(share, abs=0.05)
    assert level == pytest.approx(share * STD_OF_FINE_NOISE, abs=0.01)
    told = [warning for warning in check_output(mixed)[0] if "Noise is left over" in warning]
    assert len(told) == (share > 0.5)


def test_structure_without_counts_is_marked_where_it_is(low, truth):
    extra = ball((16, 30, 26), 9)
    warnings, facts, labels = check_output(output(low, truth + 0.5 * extra.astype(np.float32)))
    assert (labels == ADDED)[extra > 0.9].mean() > 0.8
    assert labels[ball((16, 30, 26), 25) < 0.1].max() == 0
    assert facts["unsupported"]["regions"] == 1 and facts["unsupported"]["removed_ml"] == 0
    told = [float(number) for number in re.search(r"\((.*?)\) mm", warnings[0]).group(1).split(", ")]
    assert told == pytest.approx(Grid.of(as_image(low, (STEP,) * 3)).point((26, 30, 16)), abs=2)


def test_lesion_that_is_taken_away_is_marked_as_removed(low, truth):
    lesion = ball((30, 18, 20), 8)
    labels = unsupported(output(low, truth - 0.8 * lesion.astype(np.float32)))
    assert (labels == REMOVED)[lesion > 0.9].mean() > 0.8


def test_too_little_brain_is_not_judged():
    small = np.zeros((12, 12, 12), np.float32)
    small[4:8, 4:8, 4:8] = 1
    warnings, facts, labels = check_output(output(small, small))
    assert warnings == [] and facts == {"judged": False} and not labels.any()


def test_a_run_tells_its_quality_and_writes_the_map(tmp_path, pet, zero_model_folder):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out.nii.gz", support=tmp_path / "support.nii.gz")
    result = denoise_files(request, FAST, zero_model_folder)
    assert {"input", "noise", "output", "uncertainty"} <= set(result.provenance["quality"])
    assert set(result.provenance["outputs"]) == {"denoised", "support"}
    written = sitk.ReadImage(str(tmp_path / "support.nii.gz"))
    assert written.GetSize() == pet.GetSize() and written.GetPixelID() == sitk.sitkUInt8


def test_map_that_could_not_be_judged_is_told_where_it_was_asked_for(tmp_path, pet, zero_model_folder, capsys):
    sitk.WriteImage(pet, str(tmp_path / "pet.nrrd"))
    call = ["denoise", "--pet", tmp_path / "pet.nrrd", "--output", tmp_path / "out.nrrd", "--model", zero_model_folder]
    call = [str(part) for part in [*call, "--preset", "fast", "--progress", "none", "--overwrite"]]
    assert main(call) == 0
    assert NOT_JUDGED not in capsys.readouterr().err
    for option in ("--unsupported", "--support"):
        assert main([*call, option, str(tmp_path / "support.nrrd")]) == 0
        assert f"Warning: {NOT_JUDGED}" in capsys.readouterr().err
    assert json.loads((tmp_path / "out_provenance.json").read_text())["warnings"][-1] == NOT_JUDGED


def test_calibrated_model_gives_the_error_to_expect(pet, model_folder):
    from dataclasses import replace

    from CSRDDenoiseLib.model.bundle import load_model
    from CSRDDenoiseLib.uncertainty import KEY

    model = load_model(model_folder)
    table = {"spread": [1e-6, 4e5], "error": [2e-6, 8e5], "smoothing_mm": 0.0}
    doubled = replace(model, metadata=replace(model.metadata, extra={KEY: table}))
    settings = DenoiseSettings(samples=2, steps=2)
    plain, calibrated = (denoise(pet, None, settings, each) for each in (model, doubled))
    once, twice = (sitk.GetArrayFromImage(each.uncertainty) for each in (plain, calibrated))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-3, atol=1e-3 * once.max())
    assert plain.provenance["quality"]["uncertainty"] == {"calibrated": False}
    assert calibrated.provenance["quality"]["uncertainty"]["calibrated"] is True


def test_a_head_too_small_is_not_judged_and_marked_nowhere(zero_model_folder):
    result = denoise(as_image(head_array()), None, FAST, zero_model_folder)
    assert result.provenance["quality"]["output"] == {"judged": False}
    assert not sitk.GetArrayViewFromImage(result.support).any()
