"""DICOM: what stored values stand for, padding, slices of several acquisitions, objects without the head of a file."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import dicom_series as series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import SHAPE, enhanced, save, set_tags, slopes, stored_values, tomogram, values, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.subjects.checksum import files_of

FLOAT32 = 1e-6


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(read(path, "PET").image)


def in_half(keyword, one, other):
    """A change that sets a tag to one value in every second slice, and to another in the others."""
    return lambda data, index: setattr(data, keyword, one if index % 2 else other)


def table(data, index):
    entry = Dataset()
    entry.LUTDescriptor, entry.ModalityLUTType, entry.LUTData = [4096, 0, 16], "US", bytes(8192)
    data.ModalityLUTSequence = [entry]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_tags(PhotometricInterpretation="PALETTE COLOR"), "indices of colours"),
        (table, "ModalityLUTSequence"),
        (set_tags(BitsStored=12, HighBit=15), "HighBit"),
        (set_tags(Modality="OT", RescaleSlope=None), "no valid rescale slope in 6 of 6"),
        (set_tags(Modality="OT", Units=None, RescaleSlope=None, RescaleIntercept=-9), "no valid rescale slope in 6"),
        (in_half("DecayCorrection", "START", "NONE"), "different DecayCorrection"),
        (in_half("CorrectedImage", ["ATTN", "DECY"], ["DECY"]), "different CorrectedImage"),
    ],
    ids=["palette", "table", "high bit", "unit without slope", "intercept alone", "decay", "corrections"],
)
def test_stored_values_that_are_no_measured_ones_are_refused(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        read(write_series(tmp_path, change), "PET")


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        ("i2", {"PixelPaddingValue": ("SS", -32768)}),
        ("i2", {"PixelPaddingValue": ("US", 32768)}),
        ("u2", {"PixelPaddingValue": ("US", 65535), "PixelPaddingRangeLimit": ("US", 65530)}),
    ],
    ids=["signed", "without its sign", "range"],
)
def test_padding_is_no_measurement(tmp_path, kind, padding):
    def change(data, index):
        stored = (stored_values()[index] // 2).astype(kind)
        stored[:2], stored[1, 0] = np.array(next(iter(padding.values()))[1]).astype(kind), 0
        data.PixelData, data.PixelRepresentation = stored.tobytes(), int(kind == "i2")
        for keyword, (representation, value) in padding.items():
            data.add_new(keyword, representation, value)

    write_series(tmp_path, change)
    expected = (stored_values() // 2) * slopes()[:, None, None]
    expected[:, :2] = 0
    volume = read(tmp_path, "PET")
    np.testing.assert_allclose(sitk.GetArrayFromImage(volume.image), expected, rtol=FLOAT32)
    found = find(volume.findings, "pixels.padding")
    assert found and found.is_warning and found.values["count"] == SHAPE[0] * (2 * SHAPE[2] - 1)
    assert not find(read(write_series(tmp_path / "plain", set_tags(PixelPaddingValue=0)), "PET").findings, "pixels")


def test_bits_above_the_stored_ones_are_no_values_in_a_compressed_series(tmp_path):
    for index, path in enumerate(sorted(write_series(tmp_path).iterdir())):
        data = pydicom.dcmread(path)
        data.PixelData = (stored_values()[index] & 0x0FFF | 0x4000).tobytes()
        data.compress(RLELossless)
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, 1
        data.save_as(path)
    stored = (stored_values() & 0x0FFF).astype(float)
    stored[stored >= 2048] -= 4096
    np.testing.assert_allclose(array(tmp_path), stored * slopes()[:, None, None], rtol=FLOAT32)


def test_floating_point_pixels_need_no_slope(tmp_path):
    def change(data, index):
        del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
        del data.RescaleSlope, data.RescaleIntercept
        data.FloatPixelData, data.BitsAllocated = values()[index].astype("<f4").tobytes(), 32

    np.testing.assert_allclose(array(write_series(tmp_path, change)), values(), rtol=FLOAT32)


@pytest.mark.parametrize("name", ["pet.dcm", "pet"])
def test_multi_frame_object_without_the_head_of_a_file(tmp_path, name):
    """ITK would take it, and give every frame the slope of the first."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, enhanced())
    (tmp_path / name).write_bytes(stream.getvalue())
    np.testing.assert_allclose(array(tmp_path / name), values(), rtol=FLOAT32)


def test_slices_of_two_acquisitions_that_alternate_are_refused(tmp_path):
    def change(data, index):
        acquisition, place = divmod(index, SHAPE[0])
        data.NumberOfSlices = 2 * SHAPE[0]
        data.ImagePositionPatient = [*series.ORIGIN[:2], series.ORIGIN[2] + 3 * place + 1.5 * acquisition]

    with pytest.raises(InputError, match="2 acquisitions, whose slices alternate"):
        read(write_series(tmp_path, change, frames=2), "PET")


def test_beds_of_a_long_field_of_view_are_one_volume(tmp_path):
    def change(data, index):
        data.AcquisitionTime, data.FrameReferenceTime = ("110000", 30000) if index < 3 else ("110200", 150000)

    np.testing.assert_allclose(array(write_series(tmp_path, change)), values(), rtol=FLOAT32)


@pytest.mark.parametrize("frames", [1, 2])
def test_copies_of_a_file_are_named(tmp_path, frames):
    write_series(tmp_path / "pet", frames=frames)
    shutil.copy(tmp_path / "pet" / "0_2.dcm", tmp_path / "pet" / "0_2 (1).dcm")
    with pytest.raises(InputError, match=r"copies of others.*'pet/0_2 \(1\).dcm' and 'pet/0_2.dcm'"):
        read(tmp_path / "pet", "PET")


def test_a_real_world_mapping_of_other_values_gives_no_unit(tmp_path):
    data = enhanced()
    series.name_unit_in_mapping(data, intercept=5.0)
    assert read(save(data, tmp_path / "enhanced.dcm"), "PET").unit == "unknown"


@pytest.mark.parametrize("scaled_by", ["rescale slope", "mapping", "both"])
def test_slices_whose_scale_is_in_their_mapping_alone_are_refused(tmp_path, scaled_by):
    data = enhanced()
    for groups in data.PerFrameFunctionalGroupsSequence:
        transform, mapping = groups.PixelValueTransformationSequence[0], Dataset()
        slope = float(transform.RescaleSlope)
        mapping.RealWorldValueSlope = 0.5 if scaled_by == "rescale slope" else 2 * slope
        mapping.RealWorldValueIntercept, groups.RealWorldValueMappingSequence = 0.0, [mapping]
        transform.RescaleSlope = 1.0 if scaled_by == "mapping" else slope
    path = save(data, tmp_path / "enhanced.dcm")
    if scaled_by != "mapping":
        np.testing.assert_allclose(array(path), values(), rtol=FLOAT32)
        return
    with pytest.raises(InputError, match="no common scale"):
        read(path, "PET")


def test_frames_of_a_tomogram_lie_at_the_slices_that_it_names(tmp_path):
    volume = array(save(tomogram([3, 1, 6, 2, 5, 4]), tmp_path / "nm.dcm"))
    in_order = array(save(tomogram([1, 2, 3, 4, 5, 6]), tmp_path / "other.dcm"))
    np.testing.assert_array_equal(volume, in_order[[1, 3, 0, 5, 4, 2]])
    # two gates of three slices
    with pytest.raises(InputError, match="3 of 6 slices at a position that another slice already has"):
        read(save(tomogram([1, 2, 3, 1, 2, 3]), tmp_path / "gated.dcm"), "PET")


def test_a_private_group_of_a_frame_changes_neither_its_values_nor_its_place(tmp_path):
    plain, data = enhanced(), enhanced()
    for groups in data.PerFrameFunctionalGroupsSequence:
        other = Dataset()
        other.RescaleSlope, other.RescaleIntercept, other.ImagePositionPatient = 7, 100, [0, 0, 0]
        groups.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", [other])
    first, second = (read(save(each, tmp_path / f"{n}.dcm"), "PET").image for n, each in enumerate((plain, data)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    assert first.GetOrigin() == second.GetOrigin() and first.GetSpacing() == second.GetSpacing()


def test_damaged_compressed_pixels_are_refused_without_words_of_the_library(tmp_path):
    write_series(tmp_path)
    data = pydicom.dcmread(tmp_path / "0_2.dcm")
    data.PixelData, data["PixelData"].VR = encapsulate([b"\xff\x4f\xff\x51" + bytes(40)]), "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.save_as(tmp_path / "0_2.dcm")
    with pytest.raises(InputError, match=r"'0_2.dcm'") as error:
        read(tmp_path, "PET")
    assert ".cxx" not in str(error.value) and "Copy it again" in str(error.value)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.102", "1.2.3.4"])
def test_a_compression_that_is_not_known_is_named(tmp_path, syntax):
    """High-throughput JPEG 2000, as image archives of the cloud hand out; a video; a private one."""
    write_series(tmp_path)
    data = pydicom.dcmread(tmp_path / "0_2.dcm")
    data.PixelData, data["PixelData"].VR = encapsulate([bytes(100)]), "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(tmp_path / "0_2.dcm")
    with pytest.raises(InputError, match=r"'0_2.dcm'") as error:
        read(tmp_path, "PET")
    assert pydicom.uid.UID(syntax).name in str(error.value) and "without compression" in str(error.value)


def philips(data, index):
    data.Units = "CNTS"
    data.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0, "DS", f"0.000{index % 2 + 1}")


@pytest.mark.parametrize(
    ("change", "word"),
    [(in_half("PatientWeight", 70, 90), "weight"), (philips, "7053,1000")],
    ids=["weight", "Philips' factor"],
)
def test_suv_is_unknown_where_its_factor_differs_from_slice_to_slice(tmp_path, change, word):
    suv = read(write_series(tmp_path, change), "PET").header.suv
    assert suv.factors is None and word in suv.source and "slice to slice" in suv.source


@pytest.mark.parametrize(
    ("name", "pack"),
    [("0_0.dcm.gz", gzip.compress), ("0_0", lambda _content: b"version https://git-lfs.github.com/spec/v1\n")],
    ids=["compressed", "pointer"],
)
def test_a_slice_that_is_packed_is_no_end_of_the_stack(tmp_path, name, pack):
    write_series(tmp_path / "pet", set_tags(NumberOfSlices=None))
    content = (tmp_path / "pet" / "0_0.dcm").read_bytes()
    (tmp_path / "pet" / "0_0.dcm").unlink()
    (tmp_path / "pet" / name).write_bytes(pack(content))
    with pytest.raises(InputError, match=f"1 of 6 DICOM files that cannot be read.*{name}"):
        read(tmp_path / "pet", "PET")


def test_folders_that_are_links_are_followed_once_and_never_in_a_circle(tmp_path):
    write_series(tmp_path / "archive" / "part", skip=(5,))
    write_series(tmp_path / "pet" / "own", skip=(0, 1, 2, 3, 4))
    for name, target in (("a", "../archive"), ("b", "../archive/part"), ("loop", "."), ("up", "..")):
        (tmp_path / "pet" / name).symlink_to(target, target_is_directory=True)
    (tmp_path / "archive" / "back").symlink_to(tmp_path / "pet", target_is_directory=True)
    np.testing.assert_allclose(array(tmp_path / "pet"), values(), rtol=FLOAT32)
    assert len(files_of(tmp_path / "pet")) == SHAPE[0]
