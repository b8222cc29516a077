"""The whole job in one call: what must hold whatever the network has learned."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import as_image, head_array, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import save_tiny_model

from CSRDDenoiseLib import devices
from CSRDDenoiseLib.checks.volumes import check_pet
from CSRDDenoiseLib.denoise import DenoiseResult, FileRequest, denoise, denoise_files
from CSRDDenoiseLib.errors import Cancelled, InputError, ModelError
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.nrrd import UNITS_KEY
from CSRDDenoiseLib.io.volume import units_of
from CSRDDenoiseLib.model.bundle import Model, load_model
from CSRDDenoiseLib.prepare.scheme import make_condition
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.settings import PRESETS, DenoiseSettings

TWO_SAMPLES = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32")
MEAN = DenoiseSettings(sampler="mean", samples=1, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    return load_model(model_folder)


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def test_network_that_changes_nothing_returns_the_pet(pet, mr, zero_model_folder):
    result = denoise(pet, mr, TWO_SAMPLES, zero_model_folder)
    np.testing.assert_allclose(values(result.denoised), values(pet), atol=1e-5 * values(pet).max())


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.6, 1.4, 2.7)])
@pytest.mark.parametrize("dtype", [sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkUInt16])
def test_result_lies_on_the_pet_grid_in_its_type(mr, model, spacing, dtype):
    pet = sitk.Cast(as_image(head_array(), spacing, direction=rotation(12)), dtype)
    result = denoise(pet, mr, TWO_SAMPLES, model)
    for image in (result.denoised, result.difference, result.uncertainty):
        assert Grid.of(image) == Grid.of(pet)
        assert image.GetPixelID() == (sitk.sitkFloat64 if dtype == sitk.sitkFloat64 else sitk.sitkFloat32)
    before = values(pet).astype(values(result.denoised).dtype)
    np.testing.assert_array_equal(values(result.difference), values(result.denoised) - before)
    assert np.abs(values(result.difference)).max() > 0.01 * before.max()
    assert values(result.uncertainty).max() > 0


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(exponent=st.floats(-3, 6))
def test_result_scales_with_the_pet(model, exponent):
    factor = 10.0**exponent
    array = head_array()
    once = denoise(as_image(array), None, TWO_SAMPLES, model)
    scaled = denoise(as_image((array * factor).astype(np.float32)), None, TWO_SAMPLES, model)
    top = np.abs(values(once.denoised)).max()
    for name in ("denoised", "uncertainty"):
        one, other = values(getattr(once, name)), values(getattr(scaled, name)) / factor
        np.testing.assert_allclose(other, one, atol=1e-4 * top, rtol=0)


@pytest.mark.parametrize("axes", ["RAS", "SPL", "AIR"])
def test_order_of_axes_in_memory_does_not_matter(pet, mr, model, axes):
    upright = denoise(pet, mr, TWO_SAMPLES, model)
    turned = denoise(sitk.DICOMOrient(pet, axes), sitk.DICOMOrient(mr, "RSA"), TWO_SAMPLES, model)
    again = sitk.DICOMOrient(turned.denoised, "LPS")
    np.testing.assert_allclose(values(again), values(upright.denoised), atol=1e-4 * values(pet).max())


def test_air_far_from_the_head_is_returned_bit_for_bit(model):
    array = np.pad(head_array(), 10)
    array += np.random.default_rng(5).normal(0, 20, array.shape).astype(np.float32)
    pet = as_image(array)
    changed = values(denoise(pet, None, MEAN, model).denoised) != array
    assert changed.any()
    assert not changed[:3].any() and not changed[:, :, -3:].any()


def test_mean_brain_activity_is_kept(pet, mr, model):
    """By what the result keeps of the measurement: the bare estimate of random weights changes it."""
    brain = values(pet) > 2000

    def change(width):
        after = values(denoise(pet, mr, replace(TWO_SAMPLES, keep_above_mm=width), model).denoised)
        return abs(after[brain].mean() / values(pet)[brain].mean() - 1)

    assert change(None) < 0.003 < 0.008 < change(np.inf)


def test_mr_matters_and_may_be_missing(pet, mr, model):
    with_mr, without = denoise(pet, mr, MEAN, model), denoise(pet, None, MEAN, model)
    assert with_mr.provenance["inputs"]["mr"]["size"] == [36, 44, 40]
    assert without.provenance["inputs"]["mr"] is None
    assert not np.array_equal(values(with_mr.denoised), values(without.denoised))


def test_same_seed_same_voxels_other_seed_others(pet, model):
    one, same = denoise(pet, None, TWO_SAMPLES, model), denoise(pet, None, TWO_SAMPLES, model)
    other = denoise(pet, None, replace(TWO_SAMPLES, seed=1), model)
    for name in ("denoised", "uncertainty"):
        np.testing.assert_array_equal(values(getattr(one, name)), values(getattr(same, name)))
    assert not np.array_equal(values(one.uncertainty), values(other.uncertainty))


def test_every_preset_gives_the_same_denoised_pet(pet, mr, tmp_path):
    model = load_model(save_tiny_model(tmp_path / "tiny", mean_from="zero"))
    few = [
        replace(preset, samples=min(preset.samples, 2), device="cpu", precision="float32")
        for preset in PRESETS.values()
    ]
    fast, *others = (values(denoise(pet, mr, each, model).denoised) for each in few)
    for other in others:
        np.testing.assert_array_equal(other, fast)


ONE_SAMPLE = DenoiseSettings(steps=2, samples=1, estimate="samples")


ONE_STEP = DenoiseSettings(steps=1, samples=2, precision="float32")


@pytest.mark.parametrize(
    "chosen",
    [MEAN, ONE_SAMPLE, ONE_STEP, replace(ONE_STEP, estimate="samples")],
    ids=["mean", "one sample", "one step", "mean of samples of one step"],
)
def test_one_sample_or_one_step_has_no_uncertainty(pet, model, chosen):
    assert denoise(pet, None, chosen, model).uncertainty is None


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_precision_is_recorded_and_auto_follows_the_processor(pet, model, monkeypatch, has_bfloat16):
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda device: has_bfloat16)
    auto, exact, reduced = (
        denoise(pet, None, replace(MEAN, precision=precision), model) for precision in ("auto", "float32", "bfloat16")
    )
    assert auto.provenance["precision"] == ("bfloat16" if has_bfloat16 else "float32")
    assert (exact.provenance["precision"], reduced.provenance["precision"]) == ("float32", "bfloat16")
    np.testing.assert_array_equal(values(auto.denoised), values((reduced if has_bfloat16 else exact).denoised))
    assert not np.array_equal(values(exact.denoised), values(reduced.denoised))


def test_pet_without_a_head_is_reported(model):
    speck = np.zeros((64, 64, 64), np.float32)
    speck[32, 32, 32] = 1.0
    with pytest.raises(InputError, match="No head"):
        denoise(as_image(speck), None, MEAN, model)


def test_model_that_gives_nan_is_reported(pet, model_folder):
    model = load_model(model_folder)
    model.denoiser.model.exit.bias[0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        denoise(pet, None, MEAN, model)


def test_cancel_at_the_last_report_writes_nothing(pet, mr, model, tmp_path):
    request = _on_disk(tmp_path, pet, mr)
    with pytest.raises(Cancelled):
        denoise_files(request, TWO_SAMPLES, model, lambda report: report.fraction < 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_normalisation_that_is_not_known_is_reported():
    with pytest.raises(ModelError, match=r"'brightest'.*noise-level"):
        make_condition("brightest", Scan.of_array(head_array(), (2.0,) * 3), None)


def test_progress_names_the_stages_in_order_and_ends_at_one(pet, mr, model, tmp_path):
    request = _on_disk(tmp_path, pet, mr)
    reports = []
    denoise_files(request, TWO_SAMPLES, model, reports.append)
    stages = list(dict.fromkeys(report.stage for report in reports))
    assert stages == ["read", "align", "normalise", "sample", "restore", "write"]
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.parametrize("stage", ["read", "normalise", "sample", "write"])
def test_cancel_at_any_stage_writes_nothing(pet, mr, model, tmp_path, stage):
    request = _on_disk(tmp_path, pet, mr)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        denoise_files(request, TWO_SAMPLES, model, lambda report: report.stage != stage)
    assert sorted(tmp_path.iterdir()) == before


def test_files_and_their_record(pet, mr, model_folder, tmp_path):
    request = _on_disk(tmp_path, pet, mr)
    result = denoise_files(request, TWO_SAMPLES, model_folder)
    for name, path in request.volumes.items():
        np.testing.assert_array_equal(values(sitk.ReadImage(str(path))), values(getattr(result, name)))
    record = json.loads((tmp_path / "denoised_provenance.json").read_text())
    page = (Path(__file__).parent.parent / "docs" / "formats.md").read_text(encoding="utf-8")
    table = page.partition("### The record")[2].partition("### ")[0]
    keys = {key for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for key in re.findall(r"`(\w+)`", row)}
    assert set(record) == keys - {"place"} and record["created"].endswith("+00:00")
    for name in ("pet", "mr"):
        content = (tmp_path / f"{name}.nii.gz").read_bytes()
        assert record["inputs"][name]["sha256"] == hashlib.sha256(content).hexdigest()
    assert record["model"]["name"] == "tiny" and len(record["model"]["weights_sha256"]) == 64
    assert record["settings"] == TWO_SAMPLES.as_dict()
    assert record["evaluations"] == TWO_SAMPLES.evaluations
    assert record["device"] == "cpu" and record["precision"] and record["peak_memory_bytes"] > 0
    assert set(record["seconds"]) == {"read", "align", "normalise", "sample", "restore", "write", "total"}
    assert record["scale_factor"] == pytest.approx(4000, rel=0.3)
    assert 0 < record["residual_scale"] < record["scale_factor"]
    assert {"csrd-denoise", "torch", "SimpleITK", "python"} <= set(record["versions"])


def test_same_run_writes_the_same_bytes(pet, mr, model, tmp_path):
    request = _on_disk(tmp_path, pet, mr)
    contents = []
    for _ in range(2):
        denoise_files(request, TWO_SAMPLES, model)
        contents.append([path.read_bytes() for path in request.volumes.values()])
    assert contents[0] == contents[1]


def _on_disk(folder, pet: sitk.Image, mr: sitk.Image) -> FileRequest:
    for name, image in (("pet", pet), ("mr", mr)):
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    names = ("denoised", "difference", "uncertainty")
    # text, as the README has it
    output, difference, uncertainty = (str(folder / f"{name}.nii.gz") for name in names)
    given = (str(folder / f"{name}.nii.gz") for name in ("pet", "mr"))
    return FileRequest(next(given), output, next(given), difference, uncertainty, overwrite=True)


def test_result_is_frozen(pet, model):
    result = denoise(pet, None, MEAN, model)
    assert isinstance(result, DenoiseResult)
    with pytest.raises(AttributeError):
        result.denoised = pet


@pytest.mark.parametrize("dose", [0.5, 0.1])
def test_the_uncertainty_of_a_known_dose_is_that_of_what_is_not_measured(pet, mr, model, dose):
    """Calibrated too: a full dose that is expected differs from the truth by the modelled share of the error."""
    table = {"spread": [0.0, 0.5, 1.0], "error": [0.3, 0.4, 2.0], "smoothing_mm": 0.0, "of_result": True}
    recipes = ({**TWO_SAMPLES.recipe.as_dict(), "calibration": table},)
    noise_free = replace(model, metadata=replace(model.metadata, target="noise-free", recipes=recipes))
    without = denoise(pet, mr, TWO_SAMPLES, noise_free)
    known = denoise(pet, mr, replace(TWO_SAMPLES, dose=dose), noise_free)
    assert any(finding.code == "uncertainty.calibrated" for finding in known.findings)
    np.testing.assert_allclose(
        values(known.uncertainty), (1 - dose) * values(without.uncertainty), rtol=1e-4, atol=1e-3
    )


def test_draws_that_are_no_numbers_are_refused(pet, mr, model):
    class Broken(torch.nn.Module):
        """Right at the largest noise level, where the posterior mean is evaluated."""

        def __init__(self, denoiser):
            super().__init__()
            self.model, self.denoiser_ = denoiser.model, denoiser
            self.prepare = denoiser.prepare

        def denoise(self, noisy, sigma, prepared):
            estimate = self.denoiser_.denoise(noisy, sigma, prepared)
            return estimate if sigma.max() >= model.metadata.sigma_max * (1 - 1e-6) else estimate * torch.nan

    with pytest.raises(ModelError, match="NaN or infinite"):
        denoise(pet, mr, TWO_SAMPLES, replace(model, denoiser=Broken(model.denoiser)))


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_the_unit_survives_what_is_repaired(pet, dtype):
    array = values(pet).astype(dtype)
    if dtype == np.float32:
        array[0, 0, 0] = np.nan
    image = Grid.of(pet).image(array)
    image.SetMetaData(UNITS_KEY, "BQML")
    assert units_of(check_pet(image, True)[0]) == units_of(image)
