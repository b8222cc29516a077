"""Inputs that users reported as misread: every one is read as the reference in physical space, or refused."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read

CASES = Path(__file__).parent / "data" / "cases"
HALF_A_STEP = 1e-4
"""The series store 16 bits of the maximum."""


@pytest.fixture(scope="module")
def reference() -> sitk.Image:
    return read(CASES / "reference" / "pet.nii.gz", "PET").image


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(CASES / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(folder)
    return folder


def assert_same(image: sitk.Image, reference: sitk.Image, factor: float = 1.0) -> None:
    there = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, -1e6)
    expected = sitk.GetArrayFromImage(reference) * factor
    np.testing.assert_allclose(sitk.GetArrayFromImage(there), expected, atol=HALF_A_STEP * expected.max())


def test_monochrome1_is_for_display(tmp_path, reference):
    volume = read(unpacked("monochrome1", tmp_path), "PET")
    assert_same(volume.image, reference)
    assert volume.unit == "Bq/mL" and volume.header.modality == "PT"


@pytest.mark.parametrize("name", ["", "enhanced.dcm"], ids=["folder", "file"])
def test_each_frame_of_an_enhanced_file_has_its_own_slope(name, reference):
    volume = read(CASES / "enhanced-per-frame-slope" / name, "PET")
    assert_same(volume.image, reference)
    assert volume.unit == "Bq/mL"


def test_missing_slope_is_refused_with_the_slices(tmp_path):
    with pytest.raises(InputError, match=r"slope in 7 of 66 slices \(IM0004"):
        read(unpacked("slope-missing", tmp_path), "PET")


def test_tilted_stack_is_refused_with_its_angle(tmp_path):
    with pytest.raises(InputError, match=r"52\.0 mm \(14\.9 degrees\)"):
        read(unpacked("tilted-stack", tmp_path), "PET")


def test_companions_of_macos_are_ignored(tmp_path, reference):
    folder = unpacked("monochrome1", tmp_path)
    slices = next(folder.rglob("IM0001.dcm")).parent
    for companion in unpacked("apple-double", tmp_path / "other").rglob("._*"):
        shutil.copy(companion, slices / companion.name)
    assert (slices / "._IM0001.dcm").exists()
    assert_same(read(folder, "PET").image, reference)


def test_sform_is_followed_where_the_forms_disagree(reference):
    volume = read(CASES / "forms-disagree" / "pet.nii.gz", "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), sitk.GetArrayFromImage(reference))
    moved = np.subtract(volume.image.GetOrigin(), reference.GetOrigin())
    # 20 mm to the right and 15 mm up in R-A-S: -20 in L-P-S
    np.testing.assert_allclose(moved, (-20, 0, 15), atol=1e-4)
    finding = find(volume.findings, "orientation.forms_disagree")
    assert finding.is_warning and finding.values["distance_mm"] == pytest.approx(25)


def test_shear_is_refused_with_its_size():
    with pytest.raises(InputError, match=r"9\.6 mm .* 49\.3 mm"):
        read(CASES / "forms-disagree" / "sheared.nii.gz", "PET")


def test_unit_sform_beside_real_voxels_is_refused_with_both_sizes():
    with pytest.raises(InputError, match=r"forms of .*disagree: .*1, 1, 1 mm.*3, 3, 3 mm.*227 mm"):
        read(CASES / "unit-sform" / "pet.nii.gz", "PET")


def test_unit_of_the_sidecar(reference):
    volume = read(CASES / "bids-unit" / "sub-01_pet.nii.gz", "PET")
    assert volume.unit == "kBq/mL"
    assert_same(volume.image, reference, 1e-3)


def test_zeros_of_a_mask_stay_zeros(reference):
    volume = read(CASES / "skull-stripped" / "pet_brain.nii.gz", "PET")
    assert Grid.of(volume.image) == Grid.of(reference)
    brain = sitk.GetArrayFromImage(volume.image)
    assert 0.5 < (brain == 0).mean() < 1
    np.testing.assert_array_equal(brain[brain != 0], sitk.GetArrayFromImage(reference)[brain != 0])
