"""Tissue maps and regression against the reference implementation's numbers, and what they must and must not do."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from bids_dataset import write_dataset
from cohort_folder import write_cohort
from conftest import as_image, head_array
from scipy import ndimage

from CSRDDenoiseLib.bids import derivatives_of
from CSRDDenoiseLib.cluster.cohort.scans import Choices, scans_of_bids, scans_of_table
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise, denoise_files
from CSRDDenoiseLib.dynamic.denoise import denoise_dynamic
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.model.details import tissue_reach, tissue_regression
from CSRDDenoiseLib.prepare.tissue import best_tissue_maps, no_tissue, tissue_classes, tissue_maps
from CSRDDenoiseLib.settings import DenoiseSettings

SPACING = (2.0, 2.0, 2.0)
# values of the reference implementation (NumPy, SciPy) for :func:`scan` at these voxels
VOXELS = [(14, 15, 16), (20, 12, 11), (12, 20, 18)]
REFERENCE_MAPS = [[0.6324, 0.36527, 0.00233], [0.00387, 0.3784, 0.61773], [0.50309, 0.44892, 0.04799]]
REFERENCE = {3: [0.98526, 0.28498, 0.84791], 5: [0.94275, 0.3303, 0.84251]}


def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MR, PET and head of a made-up brain."""
    random = np.random.default_rng(7)
    ground = ndimage.gaussian_filter(random.random((30, 32, 34)), 2.5)
    mr = np.digitize(ground, np.quantile(ground, (0.3, 0.65))) * 0.4 + 0.15
    mr = (mr + 0.03 * random.standard_normal(mr.shape)).astype(np.float32)
    pet = 1.2 - mr + 0.3 * random.standard_normal(mr.shape)
    return mr, pet.astype(np.float32), np.ones(mr.shape, bool)


def fitted(pet: np.ndarray, maps: np.ndarray, size: int) -> np.ndarray:
    return tissue_regression(torch.from_numpy(pet)[None, None], torch.from_numpy(maps)[None], size)[0, 0].numpy()


def test_maps_are_those_of_the_reference_and_sum_to_one():
    mr, _, head = scan()
    maps = tissue_maps(mr, head, SPACING)
    np.testing.assert_allclose([maps[(slice(None), *voxel)] for voxel in VOXELS], REFERENCE_MAPS, atol=2e-4)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("size", REFERENCE)
def test_the_regression_is_that_of_the_reference(size):
    mr, pet, head = scan()
    values = fitted(pet, tissue_maps(mr, head, SPACING), size)
    np.testing.assert_allclose([values[voxel] for voxel in VOXELS], REFERENCE[size], atol=2e-4)


def test_classes_go_from_dark_to_bright():
    mr, _, head = scan()
    classes = tissue_classes(mr, head)
    means = [(each * mr).sum() / each.sum() for each in classes]
    np.testing.assert_allclose(means, [0.15, 0.55, 0.95], atol=0.05)


def test_a_mixture_of_the_maps_is_found_exactly_and_noise_is_not_followed():
    mr, _, head = scan()
    maps = tissue_maps(mr, head, SPACING)
    truth = np.tensordot(np.array([0.2, 1.0, 0.4], np.float32), maps, 1)
    noise = 0.3 * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    inside = (slice(8, -8),) * 3
    exact = fitted(truth, maps, 5)
    assert np.abs(exact - truth)[inside].max() < 0.03, "the ridge alone is between them"
    assert np.std((fitted(truth + noise, maps, 5) - truth)[inside]) < 0.2 * np.std(noise)


def test_without_an_mr_it_is_a_local_mean():
    _, pet, _ = scan()
    maps = np.ascontiguousarray(no_tissue(pet.shape))
    mean = pet
    for _ in range(4):
        mean = ndimage.uniform_filter(mean, 3)
    inside = (slice(8, -8),) * 3
    np.testing.assert_allclose(fitted(pet, maps, 3)[inside], mean[inside] / 1.001, atol=1e-5)
    np.testing.assert_array_equal(tissue_maps(None, pet > 0, SPACING), maps)
    np.testing.assert_array_equal(tissue_maps(np.zeros_like(pet), pet < 9, SPACING, resolution_mm=0.01), maps)


@pytest.mark.parametrize("size", [3, 5])
def test_it_looks_no_further_than_it_says(size):
    mr, pet, head = scan()
    maps, reach = tissue_maps(mr, head, SPACING), tissue_reach(size)
    changed = pet.copy()
    changed[: 20 - reach] += 5
    np.testing.assert_array_equal(fitted(changed, maps, size)[20:], fitted(pet, maps, size)[20:])
    assert (fitted(changed, maps, size)[19] != fitted(pet, maps, size)[19]).any()


def test_bfloat16_arithmetic_around_it_changes_nothing():
    mr, pet, head = scan()
    maps = tissue_maps(mr, head, SPACING)
    with torch.autocast("cpu", torch.bfloat16):
        inside = fitted(pet, maps, 3)
    np.testing.assert_array_equal(inside, fitted(pet, maps, 3))


@pytest.mark.slow
def test_the_best_resolution_is_found_without_noise():
    mr, _, head = scan()
    for resolution in (3.0, 7.0):
        maps = tissue_maps(mr, head, SPACING, resolution_mm=resolution)
        pet = np.tensordot(np.array([0.2, 1.0, 0.4], np.float32), maps, 1)
        np.testing.assert_array_equal(best_tissue_maps(pet, mr, head, SPACING), maps)


def test_the_model_without_weights_denoises_and_needs_no_mr(pet, mr):
    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
    noise = np.random.default_rng(0).standard_normal(pet.GetSize()[::-1])
    values = sitk.GetArrayFromImage(pet)
    noisy = sitk.GetImageFromArray((values + 0.15 * values.max() * noise * (values > 0)).astype(np.float32))
    noisy.CopyInformation(pet)

    def error(image):
        return float(np.std((sitk.GetArrayFromImage(image) - values)[values > 0.5 * values.max()]))

    for guide in (mr, None):
        result = denoise(noisy, guide, settings, "tissue")
        assert error(result.denoised) < 0.7 * error(noisy)
        assert result.uncertainty is None


def test_the_model_without_weights_is_the_regression(pet, mr):
    model = load_model("tissue")
    assert sum(value.numel() for value in model.denoiser.state_dict().values()) == 0
    _, array, _ = scan()
    maps = np.ascontiguousarray(no_tissue(array.shape))
    condition = torch.from_numpy(np.concatenate([array[None], array[None], maps]))[None]
    noisy = torch.zeros(1, 1, *array.shape)
    residual = model.denoiser(noisy, torch.tensor([model.metadata.sigma_max]), condition)[0, 0].numpy()
    np.testing.assert_allclose(array + residual, fitted(array, maps, 3), atol=1e-5)


def test_no_uncertainty_is_asked_of_a_model_that_draws_no_samples(tmp_path, pet, mr):
    """A request has one by default, in the commands and in Slicer; one that is asked for is refused before the work."""
    settings = DenoiseSettings(device="cpu")
    model = load_model("tissue")
    assert settings.has_uncertainty and not model.metadata.settings_of(settings).has_uncertainty
    sitk.WriteImage(pet, str(tmp_path / "pet.nii"))
    request = FileRequest(tmp_path / "pet.nii", tmp_path / "out.nii", uncertainty=tmp_path / "u.nii")
    with pytest.raises(InputError, match="'tissue' draws no samples"):
        denoise_files(request, settings, model)
    assert [path.name for path in tmp_path.iterdir()] == ["pet.nii"]
    sitk.WriteImage(sitk.JoinSeries([pet, pet]), str(tmp_path / "pet.nii"))
    with pytest.raises(InputError, match="'tissue' draws no samples"):
        denoise_dynamic(request, settings, model)


@pytest.mark.slow
def test_a_dataset_and_a_table_of_scans_run_without_an_uncertainty(tmp_path, mr, capsys):
    root = write_dataset(tmp_path / "raw", mr)
    assert main(["denoise", "--bids", str(root), "--model", "tissue", "--device", "cpu"]) == 0, capsys.readouterr().err
    written = [path.name for path in derivatives_of(root).rglob("*_pet.nii.gz")]
    assert sum("desc-denoised" in name for name in written) == 4 and not any("uncertainty" in name for name in written)
    for draws in (True, False):
        choices = Choices(tmp_path / "out", DenoiseSettings(), draws=draws)
        (of_table,) = scans_of_table(write_cohort(tmp_path / f"{draws}", 1), choices)
        for scan in (of_table, *scans_of_bids(root, ["01"], choices)):
            assert (scan.request.uncertainty is not None) is draws


@pytest.mark.slow
@pytest.mark.parametrize(("times", "broken"), [(5.0, 0.0), (20.0, 0.0), (20.0, 1e8)])
def test_a_hot_lesion_is_no_broken_voxel(times, broken):
    """What is coarser than the width stays as it was measured, however much the regression would take away.

    A broken voxel far from the lesion changes nothing about it.
    """
    values = head_array((48, 52, 50)).astype(np.float32)
    distance = 2 * np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(np.indices(values.shape), (24, 20, 25))))
    lesion = times * np.quantile(values, 0.9) * np.clip((9 - distance) / 2, 0, 1)
    values[2, 3, 4] = broken
    settings = DenoiseSettings(sampler="mean", keep_above_mm=8.0, device="cpu", precision="float32")
    without, hot = (
        sitk.GetArrayFromImage(denoise(as_image(image.astype(np.float32)), None, settings, "tissue").difference)
        for image in (values, values + lesion)
    )
    assert abs((hot - without)[distance < 8 + 16].sum()) < 0.01 * lesion.sum()
