"""Inspection: what the command says about a volume is what the file holds."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_series as series
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from dicom_series import save, write_series

from CSRDDenoiseLib import inspection
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.inspection import head_line, inspect_image, inspect_path, suv_line
from CSRDDenoiseLib.io.dicom import unit_and_suv
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.suv import mean_time

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
    # the air of this head is exactly zero, as after a mask
    assert [finding["code"] for finding in facts["findings"]] == ["unit.sidecar", "masked.zeros", "suv.unusual"]


def test_head_is_measured_in_the_mean_of_what_was_counted(tmp_path):
    frames = np.stack([head_array().T * factor for factor in (3.0, 1.0)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(frames, np.diag([-2, -2, 2, 1.0])), tmp_path / "pet.nii")
    times = {"FrameTimesStart": [0, 10], "FrameDuration": [10, 90]}
    (tmp_path / "pet.json").write_text(json.dumps(times))
    of_one = inspect_path(head_file(tmp_path / "one.nii")).head.brain_mean
    assert inspect_path(tmp_path / "pet.nii").head.brain_mean == pytest.approx(1.2 * of_one, rel=1e-4)


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


@pytest.mark.parametrize(("finite", "words"), [(1.0, "values 1 to 1; 63 voxels"), (np.nan, "no finite value; 64")])
def test_voxels_that_are_no_numbers_are_counted_and_never_shown_as_a_range(tmp_path, capsys, finite, words):
    array = np.full((4, 4, 4), np.inf, np.float32)
    array[0], array[0, 0, 0] = np.nan, finite
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "pet.nii")
    assert main(["inspect", str(tmp_path / "pet.nii")]) == 0
    text = capsys.readouterr().out
    assert words in text and "inf " not in text
    assert main(["inspect", str(tmp_path / "pet.nii"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert facts["not_finite"] == 63 + int(np.isnan(finite))
    assert facts["minimum"] == facts["maximum"] == (None if np.isnan(finite) else 1)


def test_frames_whose_voxels_are_no_numbers_are_named(tmp_path, capsys):
    frames = np.stack([head_array().T] * 4, axis=3)
    frames[5, 5, 5, 1] = frames[5, 5, 5, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(frames, np.diag([-2, -2, 2, 1.0])), tmp_path / "pet.nii")
    facts = inspected(tmp_path / "pet.nii", capsys)
    assert (facts["not_finite"], facts["not_finite_frames"]) == (2, [2, 4])


def test_no_head_in_noise_and_none_sought_in_an_mr(tmp_path):
    def as_mr(data, _index):
        data.Modality = "MR"

    assert inspect_path(write_series(tmp_path, as_mr)).head is None
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), tmp_path / "pet.nii")
    assert inspect_path(tmp_path / "pet.nii").head is None


def change(**values):
    """A change that sets tags of every slice; None removes one."""

    def of(data, _index):
        for name, value in values.items():
            delattr(data, name) if value is None else setattr(data, name, value)

    return of


def test_ct_and_mr(tmp_path, capsys):
    gone = {"Units": None, "RadiopharmaceuticalInformationSequence": None}
    ct = write_series(tmp_path / "ct", change(Modality="CT", RescaleIntercept=-1024, **gone))
    mr = write_series(tmp_path / "mr", change(Modality="MR", RescaleSlope=None, **gone))
    for path, modality, lowest in ((ct, "CT", series.values().min() - 1024), (mr, "MR", series.stored_values().min())):
        facts = inspected(path, capsys)
        assert set(facts) == {*KEYS, *inspection.KEYS} and facts["modality"] == modality
        assert facts["minimum"] == pytest.approx(lowest) and facts["suv_factor"] is None and facts["head"] is None
        assert "Units" in facts["suv_source"]


def refused(path, capsys):
    """The JSON of what cannot be read; the sentence stands on standard error too."""
    assert main(["inspect", str(path), "--json"]) == 2
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert set(facts) >= KEYS and facts["size"] is None and facts["error"] in printed.err
    return facts


@pytest.mark.parametrize(("modality", "word"), [("SEG", "segmentation"), ("RTDOSE", "dose grid")])
def test_objects_without_an_image_are_named(tmp_path, capsys, modality, word):
    data = series.enhanced()
    data.Modality = modality
    assert word in refused(save(data, tmp_path / "object.dcm"), capsys)["error"]


def test_several_series_of_a_folder_are_listed(tmp_path, capsys):
    for name in ("a", "b"):
        write_series(tmp_path / name, change(SeriesInstanceUID=f"1.2.{ord(name)}", SeriesDescription=f"PET {name}"))
    facts = refused(tmp_path, capsys)
    assert [(each["description"], each["files"]) for each in facts["series"]] == [("PET a", 6), ("PET b", 6)]
    assert "PET a" in facts["error"]


def test_damaged_files_are_a_sentence(tmp_path, capsys):
    write_series(tmp_path / "cut", change())
    first = next((tmp_path / "cut").iterdir())
    first.write_bytes(first.read_bytes()[:-50])
    (tmp_path / "empty").mkdir()
    for name, content in {"zero.nii": b"", "text.nrrd": b"NRRD", "x.nii.gz": b"\x1f\x8bxx", "none.dcm": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    for name in ("cut", "empty", "zero.nii", "text.nrrd", "x.nii.gz", "none.dcm"):
        assert name in refused(tmp_path / name, capsys)["error"]


@pytest.mark.parametrize("name", ["pet.nrrd", "pet.mha", "pet.mgz", "pet.hdr"])
def test_other_formats_have_every_key(tmp_path, capsys, name):
    if name.endswith("mgz"):
        nibabel.save(nibabel.MGHImage(head_array().T, np.diag([-2, -2, 2, 1.0])), tmp_path / name)
    elif name.endswith("hdr"):
        nibabel.save(nibabel.AnalyzeImage(head_array().T, np.diag([-2, 2, 2, 1.0])), tmp_path / name)
    else:
        sitk.WriteImage(as_image(head_array()), str(tmp_path / name))
    facts = inspected(tmp_path / name, capsys)
    assert set(facts) == {*KEYS, *inspection.KEYS}
    assert (facts["size"], facts["frames"], facts["frame_duration_s"]) == ([26, 28, 24], 1, [None])
    assert facts["maximum"] == pytest.approx(head_array().max()) and facts["head"]["volume_ml"] > 20


def test_frames_with_factors_of_their_own_are_named(tmp_path, capsys):
    entries = {"Units": "Bq/mL", "BodyWeight": 70, "InjectedRadioactivity": 368.08, "InjectedRadioactivityUnits": "MBq"}
    entries.update(TracerRadionuclide="C11", InjectionStart=0, ImageDecayCorrected=False)
    entries.update(FrameTimesStart=[0, 600], FrameDuration=[600, 600])
    (tmp_path / "pet.json").write_text(json.dumps(entries))
    both = np.stack([head_array().T] * 2, -1)
    nibabel.save(nibabel.Nifti1Image(both, np.diag([-2, -2, 2, 1.0])), tmp_path / "pet.nii")
    facts = inspected(tmp_path / "pet.nii", capsys)
    factors = [70e3 / (368.08e6 * 2 ** (-(start + mean_time(600, 1221.8)) / 1221.8)) for start in (0, 600)]
    assert facts["suv_factor"] == pytest.approx(factors[0], rel=1e-4) and "first frame" in facts["suv_source"]
    assert facts["suv_maximum"] == pytest.approx(factors[1] * head_array().max(), rel=1e-4)


def test_an_image_in_memory_is_inspected_as_its_files(tmp_path):
    folder = write_series(tmp_path)
    unit, suv = unit_and_suv(sorted(folder.iterdir(), reverse=True))
    of_files = inspect_path(folder)
    of_image = inspect_image(read(folder, "PET").image, unit, "PT", suv, "Brain")
    assert unit == "Bq/mL" and suv.factor == pytest.approx(FACTOR, rel=1e-4)
    assert suv_line(of_image) == suv_line(of_files) and head_line(of_image) == head_line(of_files)
    facts, others = of_image.as_dict(), of_files.as_dict()
    for name in ("size", "spacing_mm", "origin_mm", "axes", "unit", "modality", "minimum", "suv_maximum", "models"):
        assert facts[name] == others[name], name
    assert inspect_image(as_image(head_array()), "SUV").as_dict()["suv_factor"] == 1
    with pytest.raises(InputError, match="DICOM"):
        unit_and_suv([Path(__file__)])


def test_what_cannot_be_read_is_a_sentence(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none.nii")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mask_and_a_long_field_of_view_are_reported(tmp_path, capsys):
    body = np.random.default_rng(0).normal(1, 0.1, (70, 30, 30)).astype(np.float32) * 1500
    body[-30:, 8:22, 8:22] *= 3
    body[:, :4] = body[:, -4:] = 1
    found = {}
    for name, values in (("masked", np.pad(head_array(), 6)), ("body", body)):
        sitk.WriteImage(as_image(values, (6.0, 6.0, 6.0)), str(tmp_path / f"{name}.nii.gz"))
        findings = inspected(tmp_path / f"{name}.nii.gz", capsys)["findings"]
        found[name] = {each["code"]: each["values"] for each in findings}
    assert found["masked"]["masked.zeros"]["share"] == pytest.approx((np.pad(head_array(), 6) == 0).mean(), abs=0.05)
    assert found["body"]["field.long"]["body_mm"] == pytest.approx(420, abs=20)
    assert "field.long" not in found["masked"] and "masked.zeros" not in found["body"]
