"""A volume without a header of its own, as from a viewer, and the DICOM files that it was loaded from."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import SHAPE, set_tags, write_series

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.headers import with_headers
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.volume import UNKNOWN, Header, ReadVolume, with_unit
from CSRDDenoiseLib.sentences import EDGES, sentence

FACTOR = 70e3 / (368.08e6 * 2 ** (-3600 / 6586.2))


def copy_of(volume: ReadVolume, factor: float = 1.0, unit: str = UNKNOWN) -> ReadVolume:
    """What a viewer holds: voxels and a place, perhaps a unit."""
    values = sitk.GetArrayFromImage(volume.image) * np.float32(factor)
    return ReadVolume(with_unit(Grid.of(volume.image).image(values), unit), unit, (), Header("NrrdImageIO", ()))


@pytest.mark.parametrize("unit", [UNKNOWN, "Bq/mL"])
def test_a_copy_has_the_unit_and_the_factor_of_its_files(tmp_path, unit):
    whole = read(write_series(tmp_path), "PET")
    found = with_headers(copy_of(whole, unit=unit), whole.header.files)
    assert found.unit == "Bq/mL" and found.header.suv.factor == pytest.approx(FACTOR, rel=1e-4) and not found.findings


def test_values_that_were_scaled_since_are_warned_of(tmp_path):
    whole = read(write_series(tmp_path), "PET")
    found = with_headers(copy_of(whole, 1e-3, "Bq/mL"), whole.header.files)
    assert found.header.suv.factors is None and found.unit == "Bq/mL"
    doubt = find(found.findings, "unit.changed")
    assert doubt.is_warning and all("Bq/mL" in sentence(doubt, edge) for edge in EDGES)
    # of a copy that has no unit nothing is claimed, and one in another unit was converted
    for unit in (UNKNOWN, "g/mL (SUV)"):
        found = with_headers(copy_of(whole, 1e-3, unit), whole.header.files)
        assert found.unit == unit and not found.findings


def test_a_part_that_was_erased_changes_no_unit(tmp_path):
    whole = read(write_series(tmp_path), "PET")
    values = sitk.GetArrayFromImage(whole.image)
    values[: SHAPE[0] // 2] = 0
    part = replace(copy_of(whole, unit="Bq/mL"), image=Grid.of(whole.image).image(values))
    assert with_headers(part, whole.header.files).header.suv.factor == pytest.approx(FACTOR, rel=1e-4)


def test_one_frame_of_a_study_is_found_among_the_files_of_all(tmp_path):
    folder = write_series(tmp_path, frames=3)
    frame = read(folder, "PET", frame=2)
    found = with_headers(copy_of(frame, unit="Bq/mL"), sorted(folder.iterdir()))
    assert not found.findings and found.header.suv.factor == pytest.approx(FACTOR, rel=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_files_in_a_folder_whose_name_is_not_utf8(tmp_path):
    whole = read(write_series(tmp_path / os.fsdecode(b"\xfcbung")), "PET")
    assert with_headers(copy_of(whole), whole.header.files).unit == "Bq/mL"


def test_a_copy_of_a_series_without_attenuation_correction_is_reported(tmp_path):
    whole = read(write_series(tmp_path, set_tags(CorrectedImage=["DECY", "NORM"])), "PET")
    found = with_headers(copy_of(whole), whole.header.files)
    assert [finding.code for finding in found.findings] == ["attenuation.not_corrected"] and found.unit == "Bq/mL"


def test_a_copy_of_a_transmission_image_is_refused(tmp_path):
    whole = read(write_series(tmp_path, set_tags(CountsSource="TRANSMISSION")))
    with pytest.raises(InputError, match="TRANSMISSION"):
        with_headers(copy_of(whole), whole.header.files)
