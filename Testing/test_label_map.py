"""A label map in place of the PET is reported; whole numbers, few levels and phantoms are not taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.checks.inputs import Judged, check_appearance
from CSRDDenoiseLib.checks.label_map import check_label_map
from CSRDDenoiseLib.checks.volumes import check_mr
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read_volume
from CSRDDenoiseLib.io.volume import UNKNOWN
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.report.regions import check_labels
from CSRDDenoiseLib.scan import Scan

SAMPLE = Path(__file__).parents[1] / "CSRDDenoise" / "Resources" / "SampleData"
WHITE, GREY, FLUID = (2, 7, 41, 46), (3, 8, 42, 47), (4, 5, 14, 15, 24, 43, 44)
SKULL_AND_SKIN = 500


def sample(name: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE / f"{name}.nii.gz"))).astype(np.float32)


def classes(labels: np.ndarray) -> np.ndarray:
    """Grey, white, fluid, and the rest of the head in two parts, as 1 to 5."""
    parts = [np.isin(labels, GREY), np.isin(labels, WHITE), np.isin(labels, FLUID), labels > SKULL_AND_SKIN, labels > 0]
    return np.select(parts, range(1, 6)).astype(np.float32)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("kind", [np.asarray, classes])
def test_a_label_map_in_place_of_the_pet_is_reported(kind, step):
    labels = kind(sample("labels")[::step, ::step, ::step])
    (found,) = check_label_map(labels, UNKNOWN)
    assert found.code == "label_map.likely" and found.is_warning
    assert found.values["count"] == np.unique(labels).size - 1 and found.values["largest"] == labels.max()
    assert check_label_map(labels, "Bq/mL") == () and check_label_map(labels + np.float32(0.5), UNKNOWN) == ()


@pytest.mark.parametrize("levels", [3, 6, 10, 20, 50, 200])
@pytest.mark.parametrize("name", ["full_dose", "low_dose_1_10"])
def test_a_pet_rounded_to_a_few_whole_numbers_is_none(name, levels):
    pet = sample(name)
    assert check_label_map(np.round(pet / pet.max() * levels), UNKNOWN) == ()


@pytest.mark.parametrize("counts", [0.3, 1, 3, 10])
def test_counts_are_none(counts):
    full = sample("full_dose")
    pet = np.random.default_rng(0).poisson(full / np.quantile(full, 0.95) * counts).astype(np.float32)
    assert check_label_map(pet, UNKNOWN) == ()


def test_phantoms_masks_and_repeated_voxels_are_none():
    labels = sample("labels")
    phantom = np.select([np.isin(labels, GREY), np.isin(labels, WHITE)], [100, 25]).astype(np.float32)
    phantom[40:44, 50:54, 40:44] = 150
    repeated = sample("low_dose_1_10")[20:60, 20:60, 20:60].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    for pet in (phantom, (labels > 0).astype(np.float32), np.zeros_like(labels), repeated):
        assert check_label_map(pet, UNKNOWN) == ()


def test_a_label_map_in_place_of_the_mr_is_reported():
    pet, labels, mr = (read_volume(SAMPLE / f"{name}.nii.gz", name) for name in ("full_dose", "labels", "mr"))
    (found,) = check_mr(labels, pet, False)[1]
    assert found.code == "label_map.likely" and found.values["what"] == "MR"
    assert check_mr(mr, pet, False)[1] == ()


@pytest.mark.parametrize("name", ["mr", "full_dose"])
def test_an_image_in_place_of_the_label_map_is_refused(name):
    pet, labels = (read_volume(SAMPLE / f"{name}.nii.gz", name) for name in ("low_dose_1_10", "labels"))
    check_labels(labels, pet)
    image = sitk.Cast(sitk.RescaleIntensity(read_volume(SAMPLE / f"{name}.nii.gz", name), 0, 250), sitk.sitkInt16)
    with pytest.raises(InputError, match=r"only [0-9]+% of neighbouring voxels"):
        check_labels(image, pet)


def test_labels_of_single_voxels_are_no_image(mr):
    spots = np.zeros(mr.GetSize()[::-1], np.int16)
    spots[::3, ::3, ::3] = np.arange(spots[::3, ::3, ::3].size).reshape(spots[::3, ::3, ::3].shape) % 1500 + 1
    image = sitk.GetImageFromArray(spots)
    image.CopyInformation(mr)
    check_labels(image, mr)


@pytest.mark.slow
def test_inspection_and_run_report_it(capsys):
    path = SAMPLE / "labels.nii.gz"
    assert main(["inspect", str(path), "--json"]) == 0
    assert "label_map.likely" in [each["code"] for each in json.loads(capsys.readouterr().out)["findings"]]
    image = sitk.Cast(read_volume(path, "PET"), sitk.sitkFloat32)
    aligned = to_model_grid(image, None, 2.0)
    findings = check_appearance(Judged(image, Scan(aligned.pet, aligned.grid)), None)
    assert findings[0].code == "label_map.likely"
