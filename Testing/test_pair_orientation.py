"""A full dose that another program stored the other way round than the low dose."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.prepare.align import MODEL_SPACING_MM, to_model_grid
from CSRDDenoiseLib.resources import FULL_DOSE, LOW_DOSE, SAMPLE_DATA, resource_folder
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.subjects.judge import judge_doses, judge_row
from CSRDDenoiseLib.subjects.orientation import judge_orientation
from CSRDDenoiseLib.subjects.pair import load_pair
from CSRDDenoiseLib.subjects.table import Row

FOLDER = resource_folder() / SAMPLE_DATA
TURNS = [axes for count in (1, 2, 3) for axes in combinations(range(3), count)]


def values_of(name: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(FOLDER / name)), "LPS"))


def scan_of(values: np.ndarray) -> Scan:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values, np.float32))
    image.SetSpacing((MODEL_SPACING_MM,) * 3)
    aligned = to_model_grid(image, None, MODEL_SPACING_MM)
    return Scan(aligned.pet, aligned.grid)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1, 4])
def test_a_full_dose_the_other_way_round_is_found(noise):
    """At a dose of 1/10, and with four times the noise, as at 1/145."""
    low, full = values_of(LOW_DOSE).astype(float), values_of(FULL_DOSE).astype(float)
    scan = scan_of(full + noise * (low - full))
    for axes in TURNS:
        (found,) = judge_orientation(scan, scan_of(np.flip(full, axes)))
        assert found.severity.value == "error" and found.values["flipped"] > found.values["given"]
        assert ("left and right" in found.values["axes"]) == (2 in axes)
        assert ("head and foot" in found.values["axes"]) == (0 in axes)
    assert not list(judge_orientation(scan, scan_of(full)))
    assert not list(judge_orientation(scan, scan_of(np.roll(full, (5, 0, 3), (0, 1, 2))))), "a shift is no flip"
    part = full.copy()
    part[:30] = 0
    assert not list(judge_orientation(scan, scan_of(part))), "nor is a part"


@pytest.mark.slow
def test_pairs_and_trainings_refuse_it(tmp_path: Path):
    full = sitk.ReadImage(str(FOLDER / FULL_DOSE))
    turned = sitk.GetImageFromArray(np.ascontiguousarray(sitk.GetArrayFromImage(full)[::-1]))
    turned.CopyInformation(full)
    sitk.WriteImage(turned, str(tmp_path / "full.nii.gz"))
    row = Row("A", FOLDER / LOW_DOSE, tmp_path / "full.nii.gz")
    for found in (judge_row(row).findings, judge_doses(load_pair(row))):
        assert "pair.flipped" in {each.code for each in found}
    good = judge_doses(load_pair(Row("A", FOLDER / LOW_DOSE, FOLDER / FULL_DOSE)))
    assert "pair.flipped" not in {each.code for each in good}
