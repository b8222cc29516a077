"""Another width after a run: what a run with that width makes, without the network; and fast."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from tiny_model import save_tiny_model

from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.errors import Cancelled
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.report.summary import head_and_mean
from CSRDDenoiseLib.restore.canvas import keep_above
from CSRDDenoiseLib.run.recombine import Afterwards, Quick
from CSRDDenoiseLib.settings import DenoiseSettings

SETTINGS = {"steps": 2, "samples": 3, "device": "cpu", "precision": "float32"}


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(save_tiny_model(tmp_path_factory.mktemp("recombine") / "tiny")), "cpu")


@pytest.fixture(scope="module")
def pet(tmp_path_factory):
    path = tmp_path_factory.mktemp("recombine-pet") / "pet.nii.gz"
    sitk.WriteImage(as_image(head_array((40, 48, 44)), (1.5, 1.5, 2.0)), str(path))
    return path


def run(pet, model, folder, afterwards=None, **settings):
    request = FileRequest(pet, folder / "out.nrrd", overwrite=True)
    return denoise_files(request, DenoiseSettings(**{**SETTINGS, **settings}), model, afterwards=afterwards)


@pytest.mark.parametrize("estimate", ["mean", "samples"])
def test_afterwards_is_what_a_run_with_that_width_makes(pet, model, tmp_path, estimate):
    afterwards = Afterwards()
    run(pet, model, tmp_path, afterwards, keep_above_mm=8.0, estimate=estimate)
    wanted, found = run(pet, model, tmp_path, keep_above_mm=15.0, estimate=estimate), afterwards.at(15.0)
    for name in ("denoised", "difference", "uncertainty"):
        one, other = values(getattr(wanted, name)), values(getattr(found, name))
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4 * values(wanted.denoised).max())
    np.testing.assert_array_equal(values(found.support), values(wanted.support))
    assert {each.code for each in found.findings} == {each.code for each in wanted.findings}
    assert found.record.settings == wanted.record.settings
    assert find(found.findings, "keep").values["above_mm"] == 15.0


def test_check_between_the_steps_can_stop_it(pet, model, tmp_path):
    afterwards, calls = Afterwards(), []
    run(pet, model, tmp_path, afterwards)

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        afterwards.at(4.0, check)
    assert len(calls) == 2


def test_a_run_that_is_cancelled_while_it_writes_leaves_what_was_before(pet, model, tmp_path):
    afterwards = Afterwards()
    first = run(pet, model, tmp_path, afterwards, seed=1)
    second = FileRequest(pet, tmp_path / "second.nrrd")
    with pytest.raises(Cancelled):
        denoise_files(second, DenoiseSettings(**SETTINGS), model, lambda at: at.stage != "write", afterwards=afterwards)
    assert afterwards.at(4.0).record.settings.seed == 1
    assert afterwards.bare is not None
    np.testing.assert_array_equal(values(afterwards.bare[1]), values(first.bare))


@pytest.mark.parametrize("width", [0.0, 3.0, 12.0, 40.0, math.inf])
def test_quick_is_the_filter_on_the_pets_grid(pet, model, tmp_path, width):
    afterwards = Afterwards()
    run(pet, model, tmp_path, afterwards)
    before, bare, limited = afterwards.bare
    part = Quick(before, bare, limited).at(width)
    wanted = values(keep_above(before, bare, width, head_and_mean(before)[1]))
    top = values(before).max()
    # where the estimate is the PET a Gaussian of the whole grid reaches out by its tail, and a run does not
    assert np.abs(part.denoised - wanted[part.box]).max() < 0.02 * top
    np.testing.assert_allclose(part.denoised - part.difference, values(before)[part.box], atol=1e-3 * top)
    if width == 0:
        assert not part.difference.any()
    outside = np.ones(wanted.shape, bool)
    outside[part.box] = False
    np.testing.assert_array_equal(values(bare)[outside], values(before)[outside])


def test_quick_numbers_are_those_of_the_summary(pet, model, tmp_path):
    from CSRDDenoiseLib.report.summary import summarise_change

    afterwards = Afterwards()
    run(pet, model, tmp_path, afterwards)
    quick = Quick(*afterwards.bare)
    summary = summarise_change(*quick.images(10.0)).as_dict()
    numbers = quick.at(10.0).numbers
    assert set(numbers) >= {"mean_change", "max_change", "total_change_percent", "noise_after_percent"}
    for name, number in numbers.items():
        assert number == pytest.approx(summary[name], rel=1e-3, abs=1e-3), name


def test_quick_in_a_region_is_near_what_a_run_makes_and_leaves_the_rest(pet, model, tmp_path):
    mask = np.zeros((40, 48, 44), np.uint8)
    mask[14:26, 16:32, 14:30] = 1
    region = as_image(mask, (1.5, 1.5, 2.0))
    sitk.WriteImage(region, str(tmp_path / "region.nrrd"))
    afterwards = Afterwards()
    request = FileRequest(pet, tmp_path / "out.nrrd", region=tmp_path / "region.nrrd")
    denoise_files(request, DenoiseSettings(**SETTINGS), model, afterwards=afterwards)
    before, bare, limited = afterwards.bare
    assert limited
    quick = values(Quick(before, bare, limited).images(10.0)[1])
    exact = values(afterwards.at(10.0).difference)
    for change in (quick, exact):
        assert not change[mask == 0].any()
    inside = mask == 1
    assert np.sqrt(np.mean((quick - exact)[inside] ** 2)) < 0.25 * np.sqrt(np.mean(exact[inside] ** 2))
