"""The map of unsupported structure as a DICOM Segmentation: read back in its place, refused before the work."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import dicom_series as series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import save, write_series
from test_dicom_write import DERIVED, complaints, headers

from CSRDDenoiseLib.denoise import denoise_files
from CSRDDenoiseLib.dynamic.denoise import denoise_dynamic
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.dicom_labels import read_labels, write_labels
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import settings_from_preset

pytest.importorskip("highdicom")


@pytest.fixture(params=["classic", "enhanced", "tilted"])
def any_source(request, tmp_path) -> Path:
    if request.param == "enhanced":
        return save(series.enhanced(), tmp_path / "enhanced.dcm")

    def tilt(data, _index):
        turn = np.array([[0.8, 0.0, 0.6], [0.0, -1.0, 0.0], [0.6, 0.0, -0.8]])
        data.ImageOrientationPatient = [*turn[0], *turn[1]]
        data.ImagePositionPatient = [round(float(each), 6) for each in turn.T @ np.array(data.ImagePositionPatient)]
        data.FrameOfReferenceUID = "1.2.3"

    return write_series(tmp_path / "pet", tilt if request.param == "tilted" else None)


def labels_of(source: Path, empty: bool = False) -> sitk.Image:
    volume = read(source, "PET")
    labels = np.zeros(volume.image.GetSize()[::-1], np.uint8)
    if not empty:
        labels[1, 2:4, 3], labels[4, 5, 6:9] = 1, 2
    return Grid.of(volume.image).image(labels)


@pytest.mark.slow
@pytest.mark.parametrize("empty", [False, True])
def test_labels_are_read_back_in_the_same_study_and_place(tmp_path, any_source, empty):
    labels = labels_of(any_source, empty)
    (tmp_path / "out").mkdir()
    write_labels(labels, tmp_path / "out", any_source, read(any_source, "PET"), DERIVED)
    (made,) = headers(tmp_path / "out")
    found, grid = read_labels(tmp_path / "out" / "SEG.dcm")
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(labels))
    np.testing.assert_allclose(grid.corners(), Grid.of(labels).corners(), atol=1e-3)
    original = pydicom.dcmread(any_source if any_source.is_file() else sorted(any_source.iterdir())[0])
    assert (made.StudyInstanceUID, made.PatientID) == (original.StudyInstanceUID, original.PatientID)
    assert made.get("FrameOfReferenceUID") == original.get("FrameOfReferenceUID", made.FrameOfReferenceUID)
    assert made.SeriesInstanceUID != original.SeriesInstanceUID and made.Modality == "SEG"
    assert str(original.SOPInstanceUID) in str(made.ReferencedSeriesSequence)
    if shutil.which("dciodvfy"):
        source_errors = complaints(any_source if any_source.is_file() else sorted(any_source.iterdir())[0], "Image")
        assert not complaints(tmp_path / "out" / "SEG.dcm", "Segmentation") - source_errors


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientSex", "U", ""),
        ("SeriesNumber", -5000, 1),
        ("PatientName", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"),
    ],
)
def test_labels_of_a_header_that_highdicom_refuses(tmp_path, keyword, value, expected):
    def change(data, _index):
        data.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        setattr(data, keyword, value)

    source = write_series(tmp_path / "pet", change)
    (tmp_path / "out").mkdir()
    write_labels(labels_of(source), tmp_path / "out", source, read(source, "PET"), DERIVED)
    assert headers(tmp_path / "out")[0][keyword].value == expected


def test_one_frame_of_a_dynamic_series_has_its_own_labels(tmp_path):
    source = write_series(tmp_path / "pet", frames=2)
    volume = read(source, "PET", frame=1)
    labels = np.zeros(volume.image.GetSize()[::-1], np.uint8)
    labels[2, 3, 4] = 2
    (tmp_path / "out").mkdir()
    write_labels(Grid.of(volume.image).image(labels), tmp_path / "out", source, volume, DERIVED)
    np.testing.assert_array_equal(read_labels(tmp_path / "out" / "SEG.dcm")[0], labels)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize(
    ("keyword", "words"),
    [("StudyInstanceUID", "no Study Instance UID"), ("SOPInstanceUID", "because of the header of the PET")],
)
def test_a_header_that_allows_no_map_is_refused_before_the_work(model_folder, tmp_path, frames, keyword, words):
    def changed(data, _index):
        data.PixelSpacing = [4.0, 4.0]
        data.ImagePositionPatient = [*data.ImagePositionPatient[:2], 2 * data.ImagePositionPatient[2]]

    source, stages = write_series(tmp_path / "pet", changed, frames=frames), set()
    for path in source.iterdir():
        data = pydicom.dcmread(path)
        delattr(data, keyword)
        data.save_as(path)
    settings = settings_from_preset("fast", device="cpu")
    request = FileRequest(source, tmp_path / "out.nii.gz", support=tmp_path / "labels")
    denoise = denoise_files if frames == 1 else denoise_dynamic
    with pytest.raises(InputError, match=words):
        denoise(request, settings, model_folder, lambda report: stages.add(report.stage))
    assert {path.name for path in tmp_path.iterdir()} == {"pet"} and stages == {"read"}


def test_labels_without_highdicom_are_refused_before_the_work(model_folder, tmp_path, monkeypatch):
    source = write_series(tmp_path / "pet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape("csrd-denoise[dicom]")):
        request = FileRequest(source, tmp_path / "out", support=tmp_path / "labels")
        denoise_files(request, settings_from_preset("fast", device="cpu"), model_folder)
    assert {path.name for path in tmp_path.iterdir()} == {"pet"}
