"""Series of the modality PT that are no PET images, or were not corrected for attenuation."""

from __future__ import annotations

import pytest
from dicom_series import enhanced, save, set_tags, write_series

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.read import read

CODE = "attenuation.not_corrected"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"CountsSource": "TRANSMISSION"}, "TRANSMISSION"),
        ({"Units": "1CM"}, "1CM"),
        ({"SeriesType": ["STATIC", "REPROJECTION"]}, "REPROJECTION"),
    ],
)
def test_what_is_no_emission_image_is_refused_as_pet(tmp_path, change, word):
    write_series(tmp_path, set_tags(**change))
    with pytest.raises(InputError, match=word):
        read(tmp_path, "PET")
    assert read(tmp_path).image.GetSize() == (10, 8, 6)


@pytest.mark.parametrize(
    ("change", "warns"),
    [
        ({}, False),
        ({"CorrectedImage": ["DECY", "NORM", "DTIM"]}, True),
        ({"CorrectedImage": "DECY"}, True),
        ({"CorrectedImage": ["NORM", "ATTN", "SCAT"]}, False),
        # empty says nothing, and the method of a correction that there was not is not named
        ({"CorrectedImage": None}, False),
        ({"CorrectedImage": ""}, False),
        ({"CorrectedImage": "DECY", "AttenuationCorrectionMethod": "CT-derived"}, False),
        ({"CorrectedImage": "DECY", "Modality": "NM"}, False),
    ],
)
def test_a_series_without_attenuation_correction_is_reported(tmp_path, change, warns):
    write_series(tmp_path, set_tags(**change))
    found = [finding for finding in read(tmp_path, "PET").findings if finding.code == CODE]
    assert len(found) == warns


@pytest.mark.parametrize(("stated", "warns"), [("YES", False), ("NO", True)])
def test_an_enhanced_file_without_attenuation_correction_is_reported(tmp_path, stated, warns):
    data = enhanced()
    del data.CorrectedImage
    data.AttenuationCorrected = stated
    findings = read(save(data, tmp_path / "pet.dcm"), "PET").findings
    assert (CODE in [finding.code for finding in findings]) == warns
    if warns:
        assert find(findings, CODE).values["what"] == "PET"
