"""Which of the series in a folder, and which of the volumes in a series, is meant."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import SHAPE, enhanced, one_slice, save, set_tags, values, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.inspection import inspect_path
from CSRDDenoiseLib.io.read import read

FLOAT32 = 1e-6
NO_PET = ("Units", "DecayCorrection", "CorrectedImage", "RadiopharmaceuticalInformationSequence", "FrameReferenceTime")


def single_image(path, modality):
    """A projection or a scout, a series of its own."""
    data = one_slice(0)
    data.SeriesInstanceUID, data.SeriesDescription, data.Modality = generate_uid(), "single", modality
    save(data, path)


def as_mr(**kinds):
    """A change that makes an MR of two volumes at one place, which differ in these tags and in their times."""

    def change(data, index):
        for keyword in (*NO_PET, "NumberOfSlices"):
            delattr(data, keyword)
        data.Modality, volume = "MR", index // SHAPE[0]
        for keyword, pair in kinds.items():
            setattr(data, keyword, pair[volume])

    return change


@pytest.mark.parametrize(("what", "modality"), [("PET", "PT"), ("MR", "MR")])
def test_a_single_image_beside_the_series_is_passed_over(tmp_path, what, modality):
    write_series(tmp_path, set_tags(Modality=modality))
    single_image(tmp_path / "single.dcm", modality)
    volume = read(tmp_path, what)
    np.testing.assert_allclose(sitk.GetArrayFromImage(volume.image), values(), rtol=FLOAT32)
    assert find(volume.findings, "series.others_ignored").values["count"] == 1


def test_inspect_finds_the_pet_beside_a_projection_and_a_ct(tmp_path):
    write_series(tmp_path / "pet")
    write_series(tmp_path / "ct", set_tags(Modality="CT", SeriesInstanceUID="1.2.5"))
    single_image(tmp_path / "projection.dcm", "PT")
    assert inspect_path(tmp_path).grid.size == SHAPE[::-1]


def test_not_more_series_are_named_than_can_be_read(tmp_path):
    """Each slice has a series of its own, as some programs that remove names leave it."""
    for index in range(40):
        single_image(tmp_path / f"{index}.dcm", "PT")
    with pytest.raises(InputError, match="40 DICOM series") as caught:
        read(tmp_path, "PET")
    assert str(caught.value).count("'single'") == 20


@pytest.mark.parametrize(
    ("keyword", "pair"),
    [
        ("ImageType", (["DERIVED", "PRIMARY", "W"], ["DERIVED", "PRIMARY", "F"])),
        ("EchoTime", (2, 4)),
        ("InversionTime", (700, 2500)),
    ],
)
def test_volumes_of_an_mr_that_are_no_time_frames_are_named_by_what_they_are(tmp_path, keyword, pair):
    write_series(tmp_path, as_mr(**{keyword: pair}), frames=2)
    with pytest.raises(InputError, match=keyword):
        read(tmp_path, "MR")


@pytest.mark.parametrize(
    ("keyword", "pair"),
    [
        ("ComplexImageComponent", ("MAGNITUDE", "PHASE")),
        ("FrameType", (["DERIVED", "PRIMARY", "DIXON", "WATER"], ["DERIVED", "PRIMARY", "DIXON", "FAT"])),
    ],
)
def test_volumes_of_an_enhanced_mr_are_named_by_what_they_are(tmp_path, keyword, pair):
    data = enhanced(frames=2)
    for name in NO_PET[:-1]:
        delattr(data, name)
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.4.1", "MR"
    for groups in data.PerFrameFunctionalGroupsSequence:
        kind, content = Dataset(), groups.FrameContentSequence[0]
        setattr(kind, keyword, pair[content.TemporalPositionIndex - 1])
        groups.MRImageFrameTypeSequence = Sequence([kind])
        del content.TemporalPositionIndex
        content.FrameAcquisitionDateTime = "20250101110000"
    with pytest.raises(InputError, match=keyword):
        read(save(data, tmp_path / "mr.dcm"), "MR")


@pytest.mark.parametrize(
    ("keyword", "pair"),
    [
        ("ReconstructionMethod", ("OSEM", "FBP")),
        ("ConvolutionKernel", ("Gauss 2", "Gauss 5")),
        ("AttenuationCorrectionMethod", ("CT", "NONE")),
        ("SeriesDescription", ("corrected", "not corrected")),
    ],
)
def test_two_reconstructions_in_one_series_are_named_by_what_differs(tmp_path, keyword, pair):
    def change(data, index):
        data.AcquisitionTime, data.FrameReferenceTime = "110000", 30000
        setattr(data, keyword, pair[index // SHAPE[0]])

    write_series(tmp_path, change, frames=2)
    with pytest.raises(InputError, match=f"{keyword}.*{pair[0]}"):
        read(tmp_path, "PET")


def test_two_reconstructions_are_no_time_frames_by_their_image_index(tmp_path):
    def change(data, index):
        data.AcquisitionTime, data.FrameReferenceTime, data.ImageIndex = "110000", 30000, index + 1
        data.ReconstructionMethod = ("OSEM", "FBP")[index // SHAPE[0]]

    write_series(tmp_path, change, frames=2)
    with pytest.raises(InputError, match="ReconstructionMethod"):
        read(tmp_path, "PET", frame=0)
