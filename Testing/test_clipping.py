"""A PET whose largest values did not fit into the type of a file that it came from."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from CSRDDenoiseLib.checks.clipping import check_clipping
from CSRDDenoiseLib.inspection import inspect_path
from CSRDDenoiseLib.resources import LOW_DOSE, SAMPLE_DATA, resource_folder


@pytest.fixture(scope="module")
def pet():
    return np.asarray(nibabel.load(resource_folder() / SAMPLE_DATA / LOW_DOSE).dataobj, dtype=np.float32)


def codes(values):
    return [finding.code for finding in check_clipping(values)]


def as_signed(values, times):
    """The values, up to so many times the largest number of 16 bits with a sign, taken for numbers with a sign."""
    stored = np.round(values / values.max() * times * 32767).astype(np.uint16)
    return stored.view(np.int16).astype(np.float32)


@pytest.mark.parametrize("levels", [None, 255, 32767])
@pytest.mark.parametrize("share", [0.01, 0.0005])
def test_values_that_were_cut_off_are_found(pet, share, levels):
    limit = np.quantile(pet, 1 - share)
    cut = np.minimum(pet, limit)
    cut = cut if levels is None else np.floor(cut / limit * levels)
    (found,) = check_clipping(cut)
    assert found.code == "voxels.cut_off" and found.values["count"] == (cut == cut.max()).sum()


@pytest.mark.parametrize("times", [1.05, 1.3, 1.9])
def test_values_that_turned_negative_are_found(pet, times):
    assert codes(as_signed(pet, times)) == ["voxels.turned"]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values,
        lambda values: np.round(values / values.max() * 5),
        lambda values: np.round(values / values.max() * 255),
        lambda values: as_signed(values, 1),
        lambda values: np.repeat(np.repeat(np.repeat(values, 3, 0), 3, 1), 3, 2),
        lambda values: np.random.default_rng(0).poisson(values / values.max() * 10).astype(np.float32),
        lambda values: values + np.random.default_rng(0).normal(0, 2 * values.max(), values.shape),
        np.zeros_like,
        lambda values: np.full_like(values, -1),
    ],
)
def test_few_levels_repeated_voxels_and_noise_are_no_clipping(pet, change):
    assert codes(change(pet[::2, ::2, ::2])) == []


@pytest.mark.parametrize(("name", "is_found"), [("sub-1_pet.nii", True), ("sub-1_T1w.nii", False), ("T1.nii", False)])
def test_inspect_reports_values_of_a_pet_that_were_cut_off(tmp_path, pet, name, is_found):
    """An MR of 256 levels is often cut off so, and what a file without a name holds is not known."""
    cut = np.minimum(pet, np.quantile(pet, 0.995))[::4, ::4, ::4]
    nibabel.save(nibabel.Nifti1Image(cut, np.diag([8.0, 8.0, 8.0, 1.0])), tmp_path / name)
    codes = [finding.code for finding in inspect_path(tmp_path / name).findings]
    assert ("voxels.cut_off" in codes) == is_found
