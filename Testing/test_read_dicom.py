"""DICOM: what the header says about values, places and frames is what arrives, and everything else is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dicom_series as series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import SHAPE, one_slice, save, set_tags, values, write_series
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.read import dicom_files, read, read_volume
from CSRDDenoiseLib.io.write import record_path
from CSRDDenoiseLib.run.request import FileRequest, check_request
from CSRDDenoiseLib.settings import DenoiseSettings

FLOAT32 = 1e-6


def array(volume) -> np.ndarray:
    return sitk.GetArrayFromImage(volume.image)


def refuse(folder, *words: str, what: str = "PET") -> None:
    with pytest.raises(InputError) as error:
        read(folder, what)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_series_has_values_place_unit_and_times(tmp_path):
    volume = read(write_series(tmp_path / "pet"), "PET")
    np.testing.assert_allclose(array(volume), values(), rtol=FLOAT32)
    assert volume.image.GetSpacing() == pytest.approx((2.5, 2.0, 3.0))
    assert volume.image.GetOrigin() == pytest.approx(series.ORIGIN)
    assert (volume.unit, volume.header.modality, volume.header.decay_correction) == ("Bq/mL", "PT", "START")
    assert volume.header.frames[0].duration_s == 60
    assert len(volume.header.files) == SHAPE[0] and not volume.findings


def not_a_number(data, index):
    if index == 2:
        data.add_new("RescaleSlope", "LO", "one")


@pytest.mark.parametrize(
    "change",
    [
        set_tags(2, RescaleSlope=None),
        set_tags(2, RescaleSlope=0),
        set_tags(2, RescaleSlope=""),
        set_tags(2, RescaleSlope=-1),
        not_a_number,
    ],
    ids=["absent", "zero", "empty", "negative", "not a number"],
)
def test_bad_slope_is_refused_with_its_slice(tmp_path, change):
    refuse(write_series(tmp_path, change), "slope in 1 of 6", "0_2.dcm")


def test_slope_absent_from_all_slices_of_a_pet_is_refused(tmp_path):
    refuse(write_series(tmp_path, set_tags(RescaleSlope=None)), "slope in 6 of 6")


def test_intercept_is_added(tmp_path):
    volume = read(write_series(tmp_path, set_tags(RescaleIntercept=-100)), "PET")
    np.testing.assert_allclose(array(volume), values() - 100, rtol=FLOAT32)


def test_signed_values_stay_negative(tmp_path):
    def change(data, index):
        data.PixelRepresentation = 1
        data.PixelData = (series.stored_values()[index].astype(np.int16) - 15000).tobytes()

    volume = read(write_series(tmp_path, change), "PET")
    expected = (series.stored_values().astype(float) - 15000) * series.slopes()[:, None, None]
    np.testing.assert_allclose(array(volume), expected, rtol=FLOAT32)


def shifted(data, index):
    if index == 3:
        data.ImagePositionPatient = [series.ORIGIN[0] + 1.5, series.ORIGIN[1], series.ORIGIN[2] + 9]


def turned(data, index):
    if index == 3:
        data.ImageOrientationPatient = [0.9962, 0.0872, 0, -0.0872, 0.9962, 0]


def uneven(data, index):
    if index >= 3:
        data.ImagePositionPatient = [*series.ORIGIN[:2], series.ORIGIN[2] + 3 * index + 1]


def tilted(data, index):
    data.ImagePositionPatient = [series.ORIGIN[0] + 0.5 * index, series.ORIGIN[1], series.ORIGIN[2] + 3 * index]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shifted, ["1 of 6 slices beside", "1.50 mm", "0_3.dcm"]),
        (turned, ["turned", "1 of 6", "5.0 degrees"]),
        (uneven, ["unevenly spaced", "3.00 to 4.00 mm"]),
        (tilted, ["tilted", "2.5 mm"]),
        (set_tags(3, PixelSpacing=[2.0, 2.6]), ["pixel spacing", "2 x 2.6 mm"]),
        (set_tags(3, Units="CNTS"), ["Units", "BQML in 5"]),
        (set_tags(3, ImagePositionPatient=None), ["ImagePositionPatient in 1 of 6"]),
        (set_tags(NumberOfSlices=9), ["6 of 9 slices"]),
        (set_tags(Modality="CT"), ["modality CT", "PT is needed"]),
        (set_tags(Modality="RTDOSE"), ["modality RTDOSE"]),
    ],
)
def test_what_is_no_pet_on_a_grid_is_refused(tmp_path, change, words):
    refuse(write_series(tmp_path, change), *words)


def test_missing_slice_at_an_end_is_refused(tmp_path):
    refuse(write_series(tmp_path, skip=(5,)), "5 of 6 slices", "NIfTI")


def test_missing_slice_in_the_middle_is_refused(tmp_path):
    refuse(write_series(tmp_path, skip=(3,)), "lacks about 1", "6.00 mm")


def test_mr_is_no_pet_and_pet_no_mr(tmp_path):
    refuse(write_series(tmp_path / "mr", set_tags(Modality="MR")), "modality MR", "PT is needed")
    refuse(write_series(tmp_path / "pet"), "modality PT", "MR is needed", what="MR")


@pytest.mark.parametrize("modality", ["NM", "OT"])
def test_processed_elsewhere_is_reported(tmp_path, modality):
    volume = read(write_series(tmp_path, set_tags(Modality=modality)), "PET")
    assert find(volume.findings, "modality.unusual").values["modality"] == modality


def test_one_slice_names_the_folder(tmp_path):
    write_series(tmp_path / "pet")
    refuse(tmp_path / "pet" / "0_2.dcm", "folder", str(tmp_path / "pet"))


def test_series_in_sub_folders_without_hidden_files_and_reports(tmp_path):
    folder = write_series(tmp_path / "study" / "1" / "pet")
    (folder / "._0_1.dcm").write_bytes(b"\x00\x05\x16\x07" + bytes(200))
    (tmp_path / "study" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    report = one_slice(0)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "study" / "2" / "report.dcm")
    for path in (tmp_path / "study", tmp_path / "study" / "DICOMDIR"):
        np.testing.assert_allclose(array(read(path, "PET")), values(), rtol=FLOAT32)
    assert len(dicom_files(tmp_path / "study")) == SHAPE[0]


def test_of_several_series_the_one_of_the_modality_is_taken(tmp_path):
    def as_mr(data, _index):
        data.Modality, data.SeriesInstanceUID = "MR", "1.2.3"

    write_series(tmp_path / "pet")
    write_series(tmp_path / "mr", as_mr)
    volume = read(tmp_path, "PET")
    assert volume.header.modality == "PT" and find(volume.findings, "series.others_ignored").values["count"] == 1
    refuse(tmp_path, "2 DICOM series", "MR", "PT", what="volume")


def test_two_series_of_the_modality_are_listed(tmp_path):
    write_series(tmp_path / "ac")
    write_series(tmp_path / "nac", set_tags(SeriesInstanceUID="1.2.4"))
    refuse(tmp_path, "2 DICOM series", "'Brain', PT, 6 files")


def test_time_frames_are_frames_and_not_slices(tmp_path):
    folder = write_series(tmp_path, frames=3)
    refuse(folder, "dynamic study of 3 frames (0 to 180 s)")
    for frame in range(3):
        volume = read(folder, "PET", frame=frame)
        np.testing.assert_allclose(array(volume), values(frame), rtol=FLOAT32)
        assert volume.header.frame == frame and len(volume.header.files) == SHAPE[0]
    assert [(each.start_s, each.duration_s) for each in volume.header.frames] == [(0, 60), (60, 60), (120, 60)]
    with pytest.raises(InputError, match="no frame 4"):
        read(folder, "PET", frame=3)


@pytest.mark.parametrize("times", [["110000"] * 3, ["235900", "000000", "000100"], [""] * 3])
def test_frames_whose_acquisition_times_do_not_rise_have_no_times(tmp_path, times):
    def change(data, index):
        data.AcquisitionTime, data.AcquisitionDate = times[index // SHAPE[0]], ""

    volume = read(write_series(tmp_path, change, frames=3), "PET", frame=1)
    np.testing.assert_allclose(array(volume), values(1), rtol=FLOAT32)
    assert [(each.start_s, each.duration_s) for each in volume.header.frames] == [(None, 60)] * 3
    assert find(volume.findings, "frames.no_times").values["count"] == 3


def test_time_frame_that_lacks_a_slice_is_refused(tmp_path):
    refuse(write_series(tmp_path, frames=3, skip=(8,)), "3 frames", "frame 2 has 5 of 6")


def test_doubled_slices_are_no_frames(tmp_path):
    write_series(tmp_path)
    save(one_slice(3), tmp_path / "again.dcm")
    refuse(tmp_path, "1 of 7 slices at a position")


def test_echoes_are_no_frames(tmp_path):
    def change(data, index):
        data.Modality, data.EchoTime = "MR", 2.0 + index // SHAPE[0]
        for keyword in ("AcquisitionTime", "FrameReferenceTime", "Units"):
            delattr(data, keyword)

    refuse(write_series(tmp_path, change, frames=2), "2 volumes", "EchoTime (2.0, 3.0)", what="MR")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_enhanced_file_in_position_order(tmp_path, what):
    path = save(series.enhanced(), tmp_path / "enhanced.dcm")
    volume = read(path if what == "file" else tmp_path, "PET")
    np.testing.assert_allclose(array(volume), values(), rtol=FLOAT32)
    assert volume.image.GetSpacing() == pytest.approx((2.5, 2.0, 3.0))


def test_enhanced_time_frames(tmp_path):
    path = save(series.enhanced(frames=2), tmp_path / "enhanced.dcm")
    refuse(path, "2 frames (0 to 120 s)")
    np.testing.assert_allclose(array(read(path, "PET", frame=1)), values(1), rtol=FLOAT32)


def drop(data, index):
    keep = [each for each in range(SHAPE[0]) if each != index]
    pixels = np.frombuffer(data.PixelData, np.uint16).reshape(SHAPE)
    data.PerFrameFunctionalGroupsSequence = [data.PerFrameFunctionalGroupsSequence[each] for each in keep]
    data.PixelData, data.NumberOfFrames = pixels[keep].tobytes(), len(keep)


# the order of the frames in the file is 2, 0, 5, 1, 4, 3: the third in place is gone, and the first
@pytest.mark.parametrize(("index", "words"), [(0, ["lacks about 1"]), (1, ["5 of 6"])])
def test_enhanced_file_that_lacks_a_frame_is_refused(tmp_path, index, words):
    data = series.enhanced()
    drop(data, index)
    refuse(save(data, tmp_path / "enhanced.dcm"), *words)


def test_enhanced_frame_without_a_slope_is_refused(tmp_path):
    data = series.enhanced()
    del data.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence
    refuse(save(data, tmp_path / "enhanced.dcm"), "slope in 1 of 6", "frame 4")


def test_unit_in_the_letters_of_ucum(tmp_path):
    data = series.enhanced()
    series.name_unit_in_mapping(data)
    assert read(save(data, tmp_path / "enhanced.dcm"), "PET").unit == "Bq/mL"
    assert read(write_series(tmp_path / "series", set_tags(Units="Bq/ml")), "PET").unit == "Bq/mL"


@pytest.mark.parametrize(
    ("stated", "unit"),
    [
        ("g/ml{SUVbw}", "g/mL (SUV)"),
        ("{SUVbw}g/ml", "g/mL (SUV)"),
        ("{SUVlbm}g/ml", "{SUVlbm}g/ml"),
        ("kBq/ml", "kBq/ml"),
    ],
)
def test_letters_of_a_unit_stay_as_they_are(tmp_path, stated, unit):
    """In capitals mega and milli are one."""
    data = series.enhanced()
    series.name_unit_in_mapping(data)
    for groups in data.PerFrameFunctionalGroupsSequence:
        groups.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = stated
    assert read(save(data, tmp_path / "enhanced.dcm"), "PET").unit == unit


def test_compressed_series(tmp_path):
    """Lossless JPEG, which pydicom alone does not decode, and MONOCHROME1 on top."""
    write_series(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        data = pydicom.dcmread(path)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.SetFileName(str(tmp_path / "packed.dcm"))
        stored = sitk.GetImageFromArray(data.pixel_array[None])
        writer.Execute(stored)
        packed = pydicom.dcmread(tmp_path / "packed.dcm")
        assert packed.file_meta.TransferSyntaxUID.is_compressed
        data.PixelData, data.PhotometricInterpretation = packed.PixelData, "MONOCHROME1"
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        data.save_as(path)
    np.testing.assert_allclose(array(read(tmp_path / "plain", "PET")), values(), rtol=FLOAT32)


def test_slice_cut_short_is_refused(tmp_path):
    write_series(tmp_path)
    path = tmp_path / "0_2.dcm"
    path.write_bytes(path.read_bytes()[:-50])
    refuse(tmp_path, "0_2.dcm", "Copy it again")


def test_public_function_gives_the_image(tmp_path):
    assert read_volume(write_series(tmp_path), "PET").GetSize() == SHAPE[::-1]


def implicit(path):
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.is_little_endian, data.is_implicit_VR = True, True
    pydicom.dcmwrite(path, data)


def bare(path):
    """The tags alone, without the head of a file, as some archives hand them out."""
    data, stream = pydicom.dcmread(path), DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, data)
    path.with_suffix("").write_bytes(stream.getvalue())
    path.unlink()


def run_lengths(path):
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)


@pytest.mark.filterwarnings("ignore:.*will be removed")
@pytest.mark.parametrize("change", [implicit, bare, run_lengths])
def test_encodings(tmp_path, change):
    for path in list(write_series(tmp_path).iterdir()):
        change(path)
    np.testing.assert_allclose(array(read(tmp_path, "PET")), values(), rtol=FLOAT32)


def test_bits_above_the_stored_ones_are_no_values(tmp_path):
    def change(data, index):
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = (series.stored_values()[index] & 0x0FFF | 0xF000).astype("<u2").tobytes()

    expected = (series.stored_values() & 0x0FFF) * series.slopes()[:, None, None]
    np.testing.assert_allclose(array(read(write_series(tmp_path, change), "PET")), expected, rtol=FLOAT32)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_folder_that_is_not_utf8(tmp_path):
    folder = write_series(tmp_path / os.fsdecode(b"caf\xe9"))
    np.testing.assert_allclose(array(read(folder, "PET")), values(), rtol=FLOAT32)


def test_series_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_series(tmp_path / "series"))
    np.testing.assert_allclose(array(read(Path("."), "PET")), values(), rtol=FLOAT32)
    check_request(FileRequest(pet=Path("."), output=tmp_path / "out.nii.gz"), DenoiseSettings())
    assert record_path(Path(".")).parent == Path(".")


def test_multi_frame_nm_by_its_detector(tmp_path):
    volume = read(save(series.tomogram(), tmp_path / "nm.dcm"), "PET")
    np.testing.assert_array_equal(array(volume), series.stored_values()[[2, 0, 5, 1, 4, 3]])
    assert volume.image.GetSpacing() == pytest.approx((2.5, 2, 3)) and find(volume.findings, "modality.unusual")


def test_sagittal_slices_lie_where_itk_puts_them(tmp_path):
    def change(data, index):
        data.ImageOrientationPatient, data.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [30 - 3 * index, -20, 7]

    image = read(write_series(tmp_path, change), "PET").image
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    itk = sitk.ReadImage(names, sitk.sitkFloat32)
    assert image.GetDirection() == itk.GetDirection() and image.GetOrigin() == itk.GetOrigin()
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(itk), rtol=FLOAT32)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", "other"), ("FrameOfReferenceUID", "1.2.3"), ("PixelRepresentation", 1)],
)
def test_a_slice_of_another_patient_place_or_sign_is_refused(tmp_path, keyword, value):
    refuse(write_series(tmp_path / "pet", set_tags(2, **{keyword: value})), "mixes slices", keyword)
