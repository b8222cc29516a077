"""DICOM output: archives accept it, values and places are the same, and SUV still follows from its header."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import dicom_series as series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from conftest import head_array
from dicom_series import save, write_series

from CSRDDenoiseLib.denoise import denoise_files
from CSRDDenoiseLib.dynamic.denoise import denoise_dynamic
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.dicom_write import Derived, write_dicom
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.suv import in_suv, volume_suv
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_preset

DATA = Path(__file__).parent / "data"
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="the Debian package dicom3tools is not installed"
)
DERIVED = Derived("denoised", "Denoised by csrd-denoise 0.2, model brain")


def derived_series(source: Path, folder: Path, change=None, **options) -> Path:
    volume = read(source, "PET", **options)
    array = sitk.GetArrayFromImage(volume.image) * 0.9
    image = Grid.of(volume.image).image(change(array).astype(np.float32) if change else array.astype(np.float32))
    folder.mkdir()
    write_dicom(image, folder, source, volume, DERIVED)
    return folder


def headers(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("negative", [False, True])
def test_values_and_places_are_read_back(tmp_path, negative):
    source = write_series(tmp_path / "pet")
    folder = derived_series(source, tmp_path / "out", (lambda array: array - 1000) if negative else None)
    before, after = read(source, "PET"), read(folder, "PET")
    expected = sitk.GetArrayFromImage(before.image) * np.float32(0.9) - (1000 if negative else 0)
    steps = np.array([float(data.RescaleSlope) for data in headers(folder)]).reshape(-1, 1, 1)
    assert (np.abs(sitk.GetArrayFromImage(after.image) - expected) <= 0.51 * steps + 1e-6 * np.abs(expected)).all()
    np.testing.assert_allclose(Grid.of(after.image).corners(), Grid.of(before.image).corners(), atol=1e-6)
    assert (after.unit, after.header.frames) == (before.unit, before.header.frames)
    assert volume_suv(after).factor == volume_suv(before).factor
    assert after.findings == ()


def test_header_is_new_where_it_must_be_and_kept_elsewhere(tmp_path):
    source = write_series(tmp_path / "pet")
    made = headers(derived_series(source, tmp_path / "out"))
    sources = {str(pydicom.dcmread(path).SOPInstanceUID): pydicom.dcmread(path) for path in source.iterdir()}
    assert len({data.SOPInstanceUID for data in made}) == 6 and len({data.SeriesInstanceUID for data in made}) == 1
    for data in made:
        reference = data.SourceImageSequence[0]
        original = sources[reference.ReferencedSOPInstanceUID]
        assert data.ImagePositionPatient == original.ImagePositionPatient
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        for name in ("PatientID", "StudyInstanceUID", "SeriesTime", "AcquisitionTime", "DecayCorrection", "Units"):
            assert data[name].value == original[name].value
        assert data.SeriesInstanceUID != original.SeriesInstanceUID and data.SOPInstanceUID not in sources
        assert list(data.ImageType) == ["DERIVED", "PRIMARY"] and data.SeriesDescription == "Brain denoised"
        assert "model brain" in data.DerivationDescription
        assert data.ContributingEquipmentSequence[0].ManufacturerModelName == "csrd-denoise"


def test_one_frame_of_a_dynamic_and_an_enhanced_study(tmp_path):
    source = write_series(tmp_path / "pet", frames=2)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(read(derived_series(source, tmp_path / "a", frame=1), "PET").image),
        0.9 * series.values(1),
        atol=0.4,
    )
    source = save(series.enhanced(), tmp_path / "enhanced.dcm")
    again = read(derived_series(source, tmp_path / "b"), "PET")
    assert volume_suv(again).factor == pytest.approx(volume_suv(read(source, "PET")).factor)
    assert headers(tmp_path / "b")[0].ActualFrameDuration == 60000 and headers(tmp_path / "b")[0].NumberOfSlices == 6
    np.testing.assert_allclose(sitk.GetArrayFromImage(again.image), 0.9 * series.values(), atol=0.4)


def test_suv_is_said_to_be_suv(tmp_path):
    source = write_series(tmp_path / "pet")
    volume = read(source, "PET")
    (tmp_path / "out").mkdir()
    write_dicom(in_suv(volume.image, volume_suv(volume)), tmp_path / "out", source, volume, DERIVED)
    again = read(tmp_path / "out", "PET")
    assert volume_suv(again).factor == 1 and again.unit == "g/mL (SUV)"


def test_compressed_and_inverted_source(tmp_path):
    def change(data, _index):
        data.PhotometricInterpretation, data.WindowCenter, data.WindowWidth = "MONOCHROME1", 100, 50

    made = headers(derived_series(write_series(tmp_path / "pet", change), tmp_path / "out"))
    assert all(data.PhotometricInterpretation == "MONOCHROME2" and "WindowCenter" not in data for data in made)


@needs_dciodvfy
@pytest.mark.parametrize("name", ["suv/DRO_0_0.tar.xz", "suv/DRO_2_4.tar.xz", "cases/monochrome1.tar.gz", "own"])
def test_dciodvfy_finds_no_error_that_the_source_did_not_have(tmp_path, name):
    source = tmp_path / "pet"
    if name == "own":
        write_series(source, series.complete)
    else:
        with tarfile.open(DATA / name) as archive:
            archive.extractall(source, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(source)
    folder = derived_series(source, tmp_path / "out")
    before = {error for path in list(source.rglob("*.dcm"))[:3] for error in complaints(path)}
    after = {error for path in sorted(folder.iterdir())[:3] for error in complaints(path)}
    assert not after - before, after - before


def complaints(path: Path, iod: str = "PETImage") -> set[str]:
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace")
    assert iod in run.stdout + run.stderr
    lines = (run.stdout + run.stderr).splitlines()
    # the modules of classic and enhanced objects differ, the elements do not
    return {re.sub(r" Module=<.*", "", line).strip() for line in lines if line.startswith("Error")}


@needs_dciodvfy
@pytest.mark.parametrize("shift", [0, 1000])
def test_dciodvfy_on_an_enhanced_source(tmp_path, shift):
    source = save(series.enhanced(), tmp_path / "enhanced.dcm")
    folder = derived_series(source, tmp_path / "out", lambda array: array - shift)
    after = {error for path in folder.iterdir() for error in complaints(path)}
    assert not after - complaints(source, "EnhancedPETImage")
    first = headers(folder)[0]
    # half of a minute, less the decay within it
    assert first.FrameReferenceTime == pytest.approx(29970, abs=20)
    decay = np.log(2) / 6586.2 * 60
    assert first.DecayFactor == pytest.approx(decay / (1 - np.exp(-decay)), rel=1e-9)


HEAD = (6, 28, 26)


@needs_dciodvfy
@pytest.mark.slow
@pytest.mark.parametrize("unit", ["same", "suv"])
@pytest.mark.parametrize("kind", ["static", "dynamic", "enhanced", "enhanced dynamic"])
def test_dciodvfy_on_every_output_of_a_run(tmp_path, monkeypatch, model_folder, kind, unit):
    pytest.importorskip("highdicom")
    monkeypatch.setattr(series, "SHAPE", HEAD)
    monkeypatch.setattr(series, "STEP", (5.0, 2.0, 2.0))
    monkeypatch.setattr(series, "slopes", lambda: np.full(HEAD[0], 0.3))
    monkeypatch.setattr(series, "stored_values", lambda frame=0: (head_array(HEAD, frame) * 3).astype(np.uint16))
    frames, is_enhanced = (2 if "dynamic" in kind else 1), "enhanced" in kind
    if is_enhanced:
        source = first = save(series.enhanced(frames), tmp_path / "pet.dcm")
    else:
        change = series.complete if frames == 1 else series.complete_dynamic
        source = write_series(tmp_path / "pet", change, frames)
        first = next(source.iterdir())
    names = {"output": "denoised", **{name: name for name in ("difference", "uncertainty", "bare", "support")}}
    request = FileRequest(source, **{name: tmp_path / value for name, value in names.items()}, output_unit=unit)
    settings = DenoiseSettings(sampler="dpmpp", steps=2, samples=2, device="cpu", precision="float32")
    (denoise_dynamic if frames > 1 else denoise_files)(request, settings, str(model_folder))
    before = complaints(first, "EnhancedPETImage" if is_enhanced else "PETImage")
    assert is_enhanced or not before
    for name in names.values():
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == frames * (1 if name == "support" else HEAD[0])
        for file in (files[0], files[-1]):
            assert not complaints(file, "Segmentation" if name == "support" else "PETImage") - before, name


GENERAL = {
    **dict.fromkeys(
        ("PatientBirthDate", "ReferringPhysicianName", "AccessionNumber", "PositionReferenceIndicator"), ""
    ),
    **{
        "StudyID": "1",
        "SeriesNumber": 3,
        "FrameOfReferenceUID": "1.2.3",
        "Manufacturer": "X",
        "BodyPartExamined": "BRAIN",
    },
    **{"CountsSource": "EMISSION", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "TableMotion": "STATIC"},
    **{"PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME", "PresentationLUTShape": "IDENTITY"},
}
"""What every enhanced PET has, and what only an enhanced one has."""


@pytest.mark.parametrize(("corrected_to", "correction"), [("20250101110000", "START"), ("20250101100000", "ADMIN")])
def test_an_enhanced_source_without_classic_tags(tmp_path, corrected_to, correction):
    data = series.enhanced()
    for keyword, value in GENERAL.items():
        setattr(data, keyword, value)
    del data.Units, data.DecayCorrection, data.CorrectedImage, data.AcquisitionDate, data.ActualFrameDuration
    data.DecayCorrected, data.AttenuationCorrected, data.DecayCorrectionDateTime = "YES", "YES", corrected_to
    for index, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        slope = groups.PixelValueTransformationSequence[0].RescaleSlope
        unit = series._item(CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Bq/ml")
        groups.RealWorldValueMappingSequence = series._item(
            RealWorldValueSlope=float(slope), RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=unit
        )
        groups.FrameContentSequence[0].DimensionIndexValues = [index + 1]
    source = save(data, tmp_path / "enhanced.dcm")
    before, after = read(source, "PET"), read(derived_series(source, tmp_path / "out"), "PET")
    first = headers(tmp_path / "out")[0]
    assert (first.Units, first.DecayCorrection, list(first.CorrectedImage)) == ("BQML", correction, ["DECY", "ATTN"])
    assert (after.unit, after.header.frames[0].duration_s) == ("Bq/mL", 60)
    assert volume_suv(after).factor == pytest.approx(volume_suv(before).factor)
    assert first.FrameReferenceTime == pytest.approx(29984, abs=1)
    seconds = 29.984 + (3600 if correction == "ADMIN" else 0)
    assert first.DecayFactor == pytest.approx(2 ** (seconds / 6586.2), rel=1e-6)
    if shutil.which("dciodvfy"):
        assert not complaints(tmp_path / "out" / "IM0001.dcm")


# -- whole runs


@pytest.fixture(scope="module")
def pet_series(tmp_path_factory) -> Path:
    """The simulated example as a DICOM series, with an injection."""
    folder = tmp_path_factory.mktemp("series")
    with tarfile.open(DATA / "cases" / "monochrome1.tar.gz") as archive:
        archive.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(folder)
    for path in folder.rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.RadiopharmaceuticalInformationSequence = [series.injection()]
        data.SeriesDate, data.SeriesTime, data.DecayCorrection, data.PatientWeight = "20250101", "110000", "START", 70
        data.AcquisitionDate, data.AcquisitionTime = "20250101", "110000"
        data.FrameOfReferenceUID = "1.2.3.4"
        data.save_as(path)
    return folder


def run(pet: Path, model: Path, **request):
    sampler = {"sampler": "dpmpp", "steps": 2, "samples": 2} if "uncertainty" in request else {}
    return denoise_files(FileRequest(pet, **request), settings_from_preset("fast", device="cpu", **sampler), model)


@pytest.mark.slow
def test_run_from_dicom_to_dicom(pet_series, model_folder, tmp_path):
    pytest.importorskip("highdicom")
    from CSRDDenoiseLib.io.dicom_labels import read_labels

    names = ("denoised", "difference", "uncertainty", "bare", "support")
    places = {name: tmp_path / name for name in names[1:]}
    result = run(pet_series, model_folder, output=tmp_path / "denoised", format="dicom", **places)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "denoised_provenance.json"}
    for name in names[:-1]:
        volume = read(tmp_path / name, "PET")
        expected = sitk.GetArrayFromImage(getattr(result, name))
        steps = np.array([float(data.RescaleSlope) for data in headers(tmp_path / name)]).reshape(-1, 1, 1)
        found = sitk.GetArrayFromImage(volume.image)
        assert (np.abs(found - expected) <= 0.51 * steps + 1e-6 * np.abs(expected)).all()
        assert volume.unit == "Bq/mL"
    found, grid = read_labels(tmp_path / "support" / "SEG.dcm")
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(result.support))
    np.testing.assert_allclose(grid.corners(), Grid.of(result.denoised).corners(), atol=1e-3)
    assert sitk.GetArrayFromImage(read(tmp_path / "difference", "PET").image).min() < 0
    first = [headers(tmp_path / name)[0] for name in names]
    assert len({int(data.SeriesNumber) for data in first}) == len({data.SeriesInstanceUID for data in first}) == 5
    if shutil.which("dciodvfy"):
        before = complaints(next(pet_series.rglob("*.dcm")))
        for name in names:
            file = sorted((tmp_path / name).iterdir())[0]
            assert not complaints(file, "Segmentation" if name == "support" else "PETImage") - before, name
    assert len({data.StudyInstanceUID for data in first}) == len({data.FrameOfReferenceUID for data in first}) == 1
    assert volume_suv(read(tmp_path / "denoised", "PET")).factor == volume_suv(read(pet_series, "PET")).factor


@pytest.mark.slow
def test_run_in_suv(pet_series, model_folder, tmp_path):
    result = run(pet_series, model_folder, output=tmp_path / "out.nii.gz", output_unit="suv")
    factor = volume_suv(read(pet_series, "PET")).factor
    expected = sitk.GetArrayFromImage(result.denoised) * factor
    found = sitk.GetArrayFromImage(read(tmp_path / "out.nii.gz", "PET").image)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


REFERENCE = DATA / "cases" / "reference" / "pet.nii.gz"


@pytest.mark.parametrize(
    ("pet", "request_", "words"),
    [
        (REFERENCE, {"output": "out.nii.gz", "output_unit": "suv"}, "SUV"),
        (REFERENCE, {"output": "out", "format": "dicom"}, "no DICOM series"),
        (REFERENCE, {"output": "out"}, "does not end"),
        (REFERENCE, {"output": "out.nii", "format": "dicom"}, "no DICOM series"),
        (None, {"output": "out.nii", "format": "dicom"}, "names a file"),
        (None, {"output": "full"}, "not empty"),
        (None, {"output": "out", "output_unit": "kBq"}, "'output_unit' is 'kBq'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(pet_series, model_folder, tmp_path, pet, request_, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    paths = {name: value if name in ("output_unit", "format") else tmp_path / value for name, value in request_.items()}
    with pytest.raises(InputError, match=words):
        run(pet or pet_series, model_folder, **paths)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
