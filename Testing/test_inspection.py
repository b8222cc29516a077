"""Inspection: what the command says about a volume is what the file holds."""

from __future__ import annotations

import json

import dicom_series as series
import nibabel
import numpy as np
import pytest
from conftest import head_array
from dicom_series import save, write_series

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.inspection import inspect_path

KEYS = {
    *("modality", "size", "spacing_mm", "frames", "frame_start_s", "frame_duration_s", "unit", "suv_factor"),
    *("suv_source", "minimum", "maximum", "suv_maximum", "findings"),
}
FACTOR = 70 * 1000 / (368.08e6 * 2 ** (-3600 / 6586.2))


def inspected(path, capsys):
    assert main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def head_file(path, **header):
    image = nibabel.Nifti1Image(head_array().T, np.diag([-2, -2, 2, 1.0]))
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def test_dynamic_series(tmp_path, capsys):
    facts = inspected(write_series(tmp_path, frames=3), capsys)
    assert set(facts) >= KEYS
    assert (facts["modality"], facts["size"], facts["frames"], facts["unit"]) == ("PT", [10, 8, 6], 3, "Bq/mL")
    assert facts["spacing_mm"] == pytest.approx([2.5, 2, 3])
    assert facts["frame_start_s"] == [0, 60, 120] and facts["frame_duration_s"] == [60, 60, 60]
    largest = max(series.values(frame).max() for frame in range(3))
    assert facts["maximum"] == pytest.approx(largest, rel=1e-6)
    assert facts["suv_factor"] == pytest.approx(FACTOR, rel=1e-4)
    assert facts["suv_maximum"] == pytest.approx(FACTOR * largest, rel=1e-4)
    assert facts["axes"] == "LPS" and facts["series"][0]["files"] == 18


def test_enhanced_file(tmp_path, capsys):
    facts = inspected(save(series.enhanced(frames=2), tmp_path / "enhanced.dcm"), capsys)
    assert (
        facts["frames"] == 2
        and facts["frame_start_s"] == [0, 60]
        and facts["suv_factor"] == pytest.approx(FACTOR, 1e-4)
    )


def test_nifti_with_sidecar(tmp_path, capsys):
    (tmp_path / "sub-01_pet.json").write_text(json.dumps({"Units": "SUV"}))
    facts = inspected(head_file(tmp_path / "sub-01_pet.nii.gz"), capsys)
    assert (facts["modality"], facts["unit"], facts["suv_factor"]) == ("PT", "SUV", 1)
    assert facts["suv_maximum"] == facts["maximum"] == pytest.approx(head_array().max())
    assert facts["orientation"] == "sform" and facts["frame_start_s"] == [None]
    head = facts["head"]
    assert 20 < head["volume_ml"] < 140 and head["brain_mean"] == pytest.approx(3600, rel=0.1)
    assert [finding["code"] for finding in facts["findings"]] == ["unit.sidecar"]


def test_what_is_unknown_is_null(tmp_path, capsys):
    array = head_array().T
    array[0, 0, 0] = np.nan
    nibabel.save(nibabel.AnalyzeImage(array, np.diag([-2, 2, 2, 1.0])), tmp_path / "pet.img")
    (tmp_path / "pet.mat").unlink(missing_ok=True)
    facts = inspected(tmp_path / "pet.hdr", capsys)
    assert facts["suv_factor"] is None and facts["suv_maximum"] is None and "dose" in facts["suv_source"]
    assert (facts["orientation"], facts["unit"], facts["not_finite"]) == ("none", "unknown", 1)
    assert facts["findings"][0]["severity"] == "warning" and "orientation" in facts["findings"][0]["sentence"]


def test_of_a_study_the_pet_is_shown_with_all_series(tmp_path, capsys):
    def as_mr(data, _index):
        data.Modality, data.SeriesInstanceUID = "MR", "1.2.3"

    write_series(tmp_path / "pet")
    write_series(tmp_path / "mr", as_mr)
    facts = inspected(tmp_path, capsys)
    assert facts["modality"] == "PT" and sorted(each["modality"] for each in facts["series"]) == ["MR", "PT"]


def test_text_says_the_same(tmp_path, capsys):
    assert main(["inspect", str(write_series(tmp_path))]) == 0
    text = capsys.readouterr().out
    for word in ("DICOM", "10 x 8 x 6", "2.5 x 2 x 3 mm", "Bq/mL", f"{FACTOR:.5g}", "0 + 60"):
        assert word in text, text


def test_no_head_in_noise_and_none_sought_in_an_mr(tmp_path):
    def as_mr(data, _index):
        data.Modality = "MR"

    assert inspect_path(write_series(tmp_path, as_mr)).head is None
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), tmp_path / "pet.nii")
    assert inspect_path(tmp_path / "pet.nii").head is None


def test_what_cannot_be_read_is_a_sentence(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none.nii")]) == 2
    assert "does not exist" in capsys.readouterr().err
