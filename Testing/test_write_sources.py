"""Outputs like inputs that are seldom seen: byte orders, codes, units that hold for a part of the frames."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import dicom_series as series
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import complete, enhanced, save, stored_values, values, write_series
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, generate_uid
from scipy.spatial.transform import Rotation

from CSRDDenoiseLib.io.dicom_labels import read_labels, write_labels
from CSRDDenoiseLib.io.dicom_write import Derived, write_dicom
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.outputs import Target, write_output
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.write import write_image

DERIVED = Derived("denoised", "how it was made")
STEP = 2e-5
"""Of the largest value: half a step of 16 bits."""


def big_endian(folder: Path) -> Path:
    """A series as the scanners of the nineties wrote it, with an overlay of 16-bit words."""
    for index, path in enumerate(sorted(write_series(folder, complete).iterdir())):
        data = pydicom.dcmread(path)
        data.PixelData = stored_values()[index].astype(">u2").tobytes()
        data.add_new((0x6000, 0x3000), "OW", b"\x12\x34")
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        if pydicom.__version__ < "3":  # Slicer 5.6
            data.is_little_endian, data.is_implicit_VR = False, False
            data.save_as(path)
        else:
            data[(0x6000, 0x3000)].value, plain = b"\x12\x34", Dataset()
            plain.update(data)
            plain.file_meta = data.file_meta
            plain.save_as(path, enforce_file_format=True)
    return folder


def written(source: Path, folder: Path):
    volume = read(source, "PET")
    folder.mkdir()
    write_dicom(volume.image, folder, source, volume, DERIVED)
    return volume, read(folder, "PET")


def test_dicom_like_a_big_endian_series(tmp_path):
    volume, again = written(big_endian(tmp_path / "pet"), tmp_path / "out")
    largest = values().max()
    np.testing.assert_allclose(sitk.GetArrayFromImage(again.image), values(), atol=STEP * largest)
    assert again.header.suv.factors == volume.header.suv.factors and again.unit == "Bq/mL"
    header = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert header.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife == 6586.2
    # the same word, its bytes the other way round
    assert header[0x6000, 0x3000].value == b"\x34\x12"


def test_what_describes_the_source_s_pixels_is_not_in_the_output(tmp_path):
    def change(data, index):
        complete(data, index)
        data.ExtendedOffsetTable = data.ExtendedOffsetTableLengths = bytes(8)
        data.FloatPixelPaddingValue = -1.0

    written(write_series(tmp_path / "pet", change), tmp_path / "out")
    header = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    left = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "FloatPixelPaddingValue")
    assert not any(keyword in header for keyword in left)


def test_segmentation_of_a_big_endian_series(tmp_path):
    pytest.importorskip("highdicom")
    source = big_endian(tmp_path / "pet")
    volume, labels = read(source, "PET"), np.zeros(series.SHAPE, np.uint8)
    labels[2, 3, 4], labels[3, 3, 4] = 1, 2
    (tmp_path / "out").mkdir()
    write_labels(Grid.of(volume.image).image(labels), tmp_path / "out", source, volume, DERIVED)
    np.testing.assert_array_equal(read_labels(next((tmp_path / "out").iterdir()))[0], labels)


def file_for_each_frame(folder: Path) -> Path:
    """An enhanced PET whose frames have a file each, as converters of classic series write it."""
    whole = enhanced()
    pixels = np.frombuffer(whole.PixelData, np.uint16).reshape(series.SHAPE)
    for index, groups in enumerate(list(whole.PerFrameFunctionalGroupsSequence)):
        whole.PerFrameFunctionalGroupsSequence, whole.NumberOfFrames = [groups], 1
        whole.SOPInstanceUID, whole.PixelData = generate_uid(), pixels[index].tobytes()
        save(whole, folder / f"{index}.dcm")
    return folder


def test_segmentation_of_an_enhanced_pet_of_a_file_for_each_frame(tmp_path):
    pytest.importorskip("highdicom")
    source = file_for_each_frame(tmp_path / "pet")
    volume = read(source, "PET")
    labels = np.zeros(series.SHAPE, np.uint8)
    labels[1, 2, 3], labels[4, 5, 6] = 1, 2
    (tmp_path / "out").mkdir()
    write_labels(Grid.of(volume.image).image(labels), tmp_path / "out", source, volume, DERIVED)
    made = next((tmp_path / "out").iterdir())
    np.testing.assert_array_equal(read_labels(made)[0], labels)
    sources = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, source.iterdir())}
    segmentation = pydicom.dcmread(made)
    for reference in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        assert reference.ReferencedSOPClassUID == series.ENHANCED_PET_STORAGE
        assert reference.ReferencedSOPInstanceUID in sources
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        # highdicom for Python 3.9 names the sources of no frame
        for derivation in frame.DerivationImageSequence:
            (reference,) = derivation.SourceImageSequence
            (groups,) = sources[reference.ReferencedSOPInstanceUID].PerFrameFunctionalGroupsSequence
            assert frame.PlanePositionSequence == groups.PlanePositionSequence


def test_dicom_like_an_enhanced_pet_of_a_file_for_each_frame(tmp_path):
    file_for_each_frame(tmp_path / "pet")
    volume, again = written(tmp_path / "pet", tmp_path / "out")
    np.testing.assert_allclose(sitk.GetArrayFromImage(again.image), values(), atol=STEP * values().max())
    assert again.header.frames == volume.header.frames and again.header.frames[0].start_s == 0
    header = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert header.AcquisitionTime.startswith("110000") and header.SliceThickness == series.STEP[0]
    assert float(header.FrameReferenceTime) == pytest.approx(29984, abs=1)


@pytest.mark.parametrize("offset", ["", "+0100"])
def test_dicom_like_an_enhanced_study_that_gives_its_begin_once(tmp_path, offset):
    """Frames keep their own times, and those of a file without a time zone the offset that their times have."""
    data = enhanced(3)
    data.DecayCorrection = "NONE"
    if offset:
        data.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20250101090000+0000"
    else:
        data.AcquisitionDateTime = "20250101110000"
    for groups in data.PerFrameFunctionalGroupsSequence:
        groups.FrameContentSequence[0].FrameAcquisitionDateTime += offset
    source = save(data, tmp_path / "pet.dcm")
    (tmp_path / "out").mkdir()
    for frame in range(3):
        volume, folder = read(source, "PET", frame), tmp_path / f"{frame}"
        folder.mkdir()
        write_dicom(volume.image, folder, source, volume, replace(DERIVED, series="1.2.3", before=6 * frame, frames=3))
        assert read(folder, "PET").header.suv == volume.header.suv and volume.header.suv.factors is not None
        for path in folder.iterdir():
            path.rename(tmp_path / "out" / path.name)
    assert read(tmp_path / "out", "PET", 0).header.frames == volume.header.frames
    assert volume.header.frames[2].start_s == 120


def test_dicom_like_slices_that_were_converted_to_one_file(tmp_path):
    """Legacy converted enhanced PET has the injection among what the conversion put aside."""
    legacy = pytest.importorskip("highdicom.legacy")
    slices = [pydicom.dcmread(path) for path in sorted(write_series(tmp_path / "pet", complete).iterdir())]
    converted = legacy.LegacyConvertedEnhancedPETImage(slices, generate_uid(), 5, generate_uid(), 1)
    converted.save_as(tmp_path / "one.dcm")
    volume, again = written(tmp_path / "one.dcm", tmp_path / "out")
    np.testing.assert_allclose(sitk.GetArrayFromImage(again.image), values(), atol=STEP * values().max())
    assert again.header.suv == volume.header.suv and volume.header.suv.factors is not None
    header = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    kept = ("CorrectedImage", "CollimatorType", "DecayFactor", "FrameReferenceTime", "Units", "SeriesType")
    assert [header[keyword].value for keyword in kept] == [slices[0][keyword].value for keyword in kept]


def test_series_number_that_is_no_number(tmp_path):
    source = write_series(tmp_path / "pet", lambda data, _index: setattr(data, "SeriesNumber", 77717771))
    for path in source.iterdir():
        path.write_bytes(path.read_bytes().replace(b"77717771", b"head one"))
    written(source, tmp_path / "out")
    assert pydicom.dcmread(next((tmp_path / "out").iterdir())).SeriesNumber == 1000


def test_pydicom_says_nothing_on_its_own(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = write_series(tmp_path / "pet", lambda data, _: setattr(data, "FrameOfReferenceUID", "1.2.none"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(source, tmp_path / "out")


@pytest.mark.parametrize(("number", "expected"), [(2**31 - 1001, 2**31 - 1), (2**31 - 1000, 1000), (2**31 - 1, 1000)])
def test_series_number_that_leaves_no_room(tmp_path, number, expected):
    source = write_series(tmp_path / "pet", lambda data, _index: setattr(data, "SeriesNumber", number))
    written(source, tmp_path / "out")
    assert pydicom.dcmread(next((tmp_path / "out").iterdir())).SeriesNumber == expected


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_dicom_like_a_series_whose_slices_have_no_identity(tmp_path, keyword):
    """As some programs that remove identifying tags leave them."""
    for path in write_series(tmp_path / "pet", complete).iterdir():
        data = pydicom.dcmread(path)
        delattr(data, keyword)
        data.save_as(path)
    _, again = written(tmp_path / "pet", tmp_path / "out")
    np.testing.assert_allclose(sitk.GetArrayFromImage(again.image), values(), atol=STEP * values().max())
    assert "SourceImageSequence" not in pydicom.dcmread(next((tmp_path / "out").iterdir()))


@pytest.mark.parametrize("kind", ["", "STATIC", ["STATIC", "IMAGE"], ["DYNAMIC", "IMAGE"]])
def test_frames_of_a_series_of_any_type_are_dynamic(tmp_path, kind):
    source = write_series(tmp_path / "pet", lambda data, _index: setattr(data, "SeriesType", kind), frames=2)
    volume = read(source, "PET", 1)
    (tmp_path / "out").mkdir()
    write_dicom(volume.image, tmp_path / "out", source, volume, replace(DERIVED, frames=2))
    assert pydicom.dcmread(next((tmp_path / "out").iterdir())).SeriesType == ["DYNAMIC", "IMAGE"]


@pytest.mark.parametrize("embedded", [True, False])
def test_an_overlay_in_the_bits_of_the_source_is_not_one_in_those_of_the_output(tmp_path, embedded):
    def change(data, index):
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = (stored_values()[index] % 4096 | 4096).tobytes()
        for element, kind, value in ((0x10, "US", 8), (0x11, "US", 10), (0x100, "US", 16), (0x102, "US", 12)):
            data.add_new((0x6002, element), kind, value)
        if not embedded:
            data.add_new((0x6002, 0x3000), "OW", bytes(10))

    written(write_series(tmp_path / "pet", change), tmp_path / "out")
    header = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert ((0x6002, 0x0102) in header) is not embedded


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientBirthDate", "00000000"), ("PatientBirthDate", "ANON"), ("StudyTime", "11:00:00")]
)
def test_segmentation_of_an_anonymised_series(tmp_path, keyword, value):
    pytest.importorskip("highdicom")
    source = write_series(tmp_path / "pet", lambda data, _index: setattr(data, keyword, value))
    volume = read(source, "PET")
    (tmp_path / "out").mkdir()
    labels = Grid.of(volume.image).image(np.ones(series.SHAPE, np.uint8))
    write_labels(labels, tmp_path / "out", source, volume, DERIVED)
    assert pydicom.dcmread(next((tmp_path / "out").iterdir()))[keyword].value in ("", None)


def test_unit_of_some_frames_alone_is_no_unit_of_the_output(tmp_path):
    data = enhanced()
    series.name_unit_in_mapping(data, frames=2)
    _volume, again = written(save(data, tmp_path / "enhanced.dcm"), tmp_path / "out")
    assert again.unit == "unknown"


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_a_form_whose_code_is_not_known_places_the_output_too(tmp_path, form):
    array = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(array, np.diag([-2, 3, 4, 1.0]) + np.eye(4, k=3) * 20)
    image.set_sform(image.affine, 1 if form == "sform" else 0)
    image.set_qform(image.affine, 1 if form == "qform" else 0)
    content = bytearray(image.to_bytes())
    # sform_code and qform_code of NIfTI-1
    content[254 if form == "sform" else 252] = 7
    (tmp_path / "pet.nii").write_bytes(content)
    volume = read(tmp_path / "pet.nii", "PET")
    write_image(volume.image, tmp_path / "out.nii", volume)
    again = nibabel.load(tmp_path / "out.nii")
    np.testing.assert_allclose(again.affine, image.affine)
    np.testing.assert_array_equal(np.asanyarray(again.dataobj), array)


def test_axes_that_rounding_has_made_oblique_are_kept(tmp_path):
    axes = Rotation.from_euler("xyz", [13.3, 7.7, 4.1], degrees=True).as_matrix().round(3)
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((4, 5, 6)).astype(np.float32))
    image.SetSpacing((50.0, 50.0, 50.0))
    image.SetDirection(axes.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "pet.nrrd"))
    volume = read(tmp_path / "pet.nrrd", "PET")
    for name in ("out.nii.gz", "out.nrrd"):
        write_image(volume.image, tmp_path / name, volume)
    np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii.gz").affine, Grid.of(image).affine, atol=1e-5)


@pytest.mark.parametrize(("element", "stated"), [(0x09, "ADMIN"), (0x00, "NONE")], ids=["activity", "SUV"])
def test_decay_of_counts_is_stated_to_be_corrected_where_their_suv_corrects_it(tmp_path, element, stated):
    def uncorrected(data, _index):
        data.Units, data.DecayCorrection = "CNTS", "NONE"
        data.private_block(0x7053, "Philips PET Private Group", create=True).add_new(element, "DS", "0.5")

    source = write_series(tmp_path / "pet", uncorrected)
    volume = read(source, "PET")
    write_output(volume.image, tmp_path / "out", "denoised", Target(source, volume, "suv"), True)
    assert read(tmp_path / "out", "PET").header.decay_correction == stated


@pytest.mark.parametrize("is_enhanced", [False, True])
def test_suv_of_uncorrected_activity_is_corrected_to_the_injection(tmp_path, is_enhanced):
    if is_enhanced:
        data = enhanced(2)
        del data.DecayCorrection
        data.DecayCorrected = "NO"
        source = save(data, tmp_path / "pet.dcm")
    else:

        def uncorrected(data, _index):
            data.DecayCorrection, data.CorrectedImage = "NONE", ["ATTN"]

        source = write_series(tmp_path / "pet", uncorrected, frames=2)
    volume = read(source, "PET", frame=1)
    write_output(volume.image, tmp_path / "out", "denoised", Target(source, volume, "suv"), True)
    for path in (tmp_path / "out").iterdir():
        made = pydicom.dcmread(path)
        assert (made.Units, made.SUVType, made.DecayCorrection) == ("GML", "BW", "ADMIN")
        # the second frame of 60 s, an hour and a minute after the injection
        assert made.DecayFactor == pytest.approx(2 ** ((3660 + 29.97) / 6586.2), rel=1e-4)
        assert sorted(made.CorrectedImage) == ["ATTN", "DECY"] and made.get("DecayCorrected", "YES") == "YES"
    assert read(tmp_path / "out", "PET").header.decay_correction == "ADMIN"
