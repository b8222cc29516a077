"""The experiment that counts detected faults and false alarms, on tiny subjects; and the faults themselves."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.model.contents import NOISE_RANGE
from CSRDDenoiseLib.research.evaluation import faults


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    root = tmp_path_factory.mktemp("signatures")
    folders = [write_study(root / f"subject_{seed}", seed) for seed in range(2)]
    known = {"levels": {}, "range": [1e-4, 1e-3]}
    model = save_tiny_model(root / "model", voxel_spacing_mm=4.0, extra={NOISE_RANGE: known}, dose_range=(0.1, 0.5))
    config = {
        "subjects": [str(folder) for folder in folders],
        "model": str(model),
        "output": str(root / "out"),
        "experiments": {"signatures": {"doses": ["1/4", "1/10"], "cache": str(root / "cache")}},
    }
    (root / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(root / "config.json")]) == 0
    return root


def row(output, name: str) -> list[str]:
    text = (output / "out" / "signatures.md").read_text()
    return re.search(rf"^\| {re.escape(name)} \|(.*)\|$", text, re.MULTILINE).group(1).split("|")


@pytest.mark.slow
def test_every_fault_is_tried_on_every_subject_and_dose(output):
    for name in ("zero-filled slices", "anisotropic voxels"):
        found, in_vain = row(output, name)
        assert found.strip() == "4 of 4 (100 %)" and in_vain.strip() == "0 of 4 (0 %)"
    for name in ("filtered", "partial head", "not attenuation-corrected", "over-smoothing", "leftover noise"):
        assert [re.search(r"of (\d+)", cell).group(1) for cell in row(output, name)] == ["4", "4"]


@pytest.mark.slow
def test_noise_is_judged_once_a_subject_at_doses_of_the_training_and_beyond(output):
    found, in_vain = row(output, "noise outside training")
    assert found.strip() == "4 of 4 (100 %)"
    assert in_vain.strip() == "6 of 6 (100 %)", "1/2, 1/4 and 1/8 of two subjects, all above this narrow range"


@pytest.mark.slow
def test_support_is_measured_with_and_without_structure(output):
    (quiet,) = row(output, "nothing added, dose 1/10: whole head")
    assert quiet.strip() == "0 of 2 (0 %)"
    (shown,) = row(output, "MR-only structure shown with 50%, dose 1/4")
    assert re.search(r"of (\d+)", shown).group(1) == "2"


@pytest.mark.slow
def test_scans_without_attenuation_correction_are_kept(output):
    stored = sorted((output / "cache").glob("*_uncorrected.nii.gz"))
    assert len(stored) == 4
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(stored[0])))
    middle = tuple(n // 2 for n in values.shape)
    assert values[middle] < 0.7 * np.quantile(values, 0.95), "the centre is cold"


def test_faults_change_what_they_say():
    pet = as_image(head_array())
    assert faults.thick(pet, 3).GetSpacing() == (2.0, 2.0, 6.0)
    box = (slice(2, 22), slice(3, 25), slice(3, 23))
    assert faults.cut(pet, box, 0, 0.5).GetSize() == (26, 28, 12)
    blank = sitk.GetArrayFromImage(faults.blanked(pet, 4, 2))
    assert not blank[4:6].any() and blank[3].any() and blank[6].any()
    assert sitk.GetArrayFromImage(faults.filtered(pet, 8.0)).std() < sitk.GetArrayFromImage(pet).std()
