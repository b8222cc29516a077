"""BIDS sidecars whose entries cannot be right, as converters and people write them."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from conftest import head_array

from CSRDDenoiseLib.denoise import denoise_files
from CSRDDenoiseLib.dynamic.denoise import denoise_dynamic
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.inspection import inspect_path
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import DenoiseSettings

QUICK = DenoiseSettings(precision="float32", sampler="mean")
STARTS, DURATIONS = [0, 300, 900, 1800], [300, 600, 900, 900]


def write(path, step=1.0, unit="sec", **entries):
    """Write a PET of four frames and its sidecar; the header has the time step that converters write by default."""
    image = nibabel.Nifti1Image(np.ones((4, 4, 4, 4), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    nibabel.save(image, path)
    path.with_suffix(".json").write_text(json.dumps(entries))
    return path


def codes(volume):
    return [finding.code for finding in volume.findings if finding.is_warning and finding.code.startswith("frames.")]


@pytest.mark.parametrize(
    ("starts", "durations", "code"),
    [
        # begins in seconds beside durations in milliseconds, and in minutes beside seconds
        (STARTS, [1000 * each for each in DURATIONS], "frames.contradict"),
        ([each / 60 for each in STARTS], DURATIONS, "frames.contradict"),
        ([0, 0, 0, 0], DURATIONS, "frames.contradict"),
        (STARTS[::-1], DURATIONS[::-1], "frames.contradict"),
        (STARTS, [300, 600, -900, 900], "frames.contradict"),
        (STARTS, [0, 0, 0, 0], "frames.contradict"),
        ([1000 * each for each in STARTS], [1000 * each for each in DURATIONS], "frames.too_long"),
    ],
)
def test_times_that_are_those_of_no_scan_are_reported_and_not_used(tmp_path, starts, durations, code):
    volume = read(write(tmp_path / "pet.nii", FrameTimesStart=starts, FrameDuration=durations), "PET", frame=0)
    assert codes(volume) == [code]
    assert {(frame.start_s, frame.duration_s) for frame in volume.header.frames} == {(None, None)}


@pytest.mark.parametrize(
    ("starts", "durations"),
    [
        (STARTS, DURATIONS),
        # a pause, times that were rounded, numbers as text, days after the injection
        ([0, 300, 1500, 2400], DURATIONS),
        ([0, 300, 899, 1798], [300.4, 599.6, 900, 900]),
        ([f"{each}" for each in STARTS], [f"{each}" for each in DURATIONS]),
        ([259200 + each for each in STARTS], DURATIONS),
    ],
)
def test_times_of_a_scan_are_used(tmp_path, starts, durations):
    volume = read(write(tmp_path / "pet.nii", FrameTimesStart=starts, FrameDuration=durations), "PET", frame=0)
    assert codes(volume) == []
    assert [frame.start_s for frame in volume.header.frames] == [float(each) for each in starts]
    assert [frame.duration_s for frame in volume.header.frames] == [float(each) for each in durations]


def test_a_single_duration_is_not_that_of_every_frame(tmp_path):
    """Dcm2niix gives the duration of the first frame where it does not know the others."""
    volume = read(write(tmp_path / "pet.nii", FrameTimesStart=STARTS, FrameDuration=300), "PET", frame=0)
    assert codes(volume) == ["frames.no_durations"]
    assert [frame.duration_s for frame in volume.header.frames] == [300, 600, 900, 900]


def test_a_time_step_that_converters_write_by_default_is_no_time(tmp_path):
    volume = read(write(tmp_path / "pet.nii"), "PET", frame=0)
    assert {(frame.start_s, frame.duration_s) for frame in volume.header.frames} == {(None, None)}
    volume = read(write(tmp_path / "pet.nii", step=60), "PET", frame=0)
    assert [frame.start_s for frame in volume.header.frames] == [0, 60, 120, 180]


SCANNED_LATER = {
    **{"Units": "Bq/mL", "BodyWeight": 70, "InjectedRadioactivity": 368.08, "InjectedRadioactivityUnits": "MBq"},
    **{"TracerRadionuclide": "F18", "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0},
    **{"TimeZero": "11:00:00", "InjectionStart": -3600, "FrameTimesStart": [0], "FrameDuration": [1200]},
}


def static(folder, **changes):
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), folder / "pet.nii")
    (folder / "pet.json").write_text(json.dumps({**SCANNED_LATER, **changes}))
    return read(folder / "pet.nii", "PET")


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({}, False),
        ({"InjectionStart": 0}, True),
        ({"InjectionStart": "11:00:00"}, True),
        # in minutes
        ({"InjectionStart": -60}, True),
        # corrected to the injection; the sum of a dynamic study; perfusion; values that are SUV already
        ({"InjectionStart": 0, "FrameTimesStart": [3600]}, False),
        ({"InjectionStart": 0, "FrameDuration": [3600]}, False),
        ({"InjectionStart": 0, "TracerRadionuclide": "O15", "FrameDuration": [60]}, False),
        ({"InjectionStart": 0, "Units": "g/mL", "BodyWeight": None}, False),
    ],
)
def test_an_injection_at_the_begin_of_a_static_scan_is_reported(tmp_path, changes, warns):
    found = [finding.code for finding in static(tmp_path, **changes).findings if finding.is_warning]
    assert ("suv.injection_at_start" in found) == warns


@pytest.mark.parametrize(
    ("entries", "warns"),
    [
        ({}, False),
        ({"AttenuationCorrection": "none"}, True),
        ({"AttenuationCorrectionMethod": "NONE"}, True),
        ({"AttenuationCorrection": "[137Cs] transmission, none of it segmented"}, False),
        ({"AttenuationCorrection": None}, False),
    ],
)
def test_a_pet_without_attenuation_correction_is_reported(tmp_path, entries, warns):
    found = [finding.code for finding in static(tmp_path, **entries).findings]
    assert ("attenuation.not_corrected" in found) == warns


@pytest.mark.parametrize("changes", [{"InjectedRadioactivity": 368.08e6}, {"InjectedRadioactivityUnits": "Ci"}])
def test_a_dose_of_more_than_any_injection_gives_no_suv(tmp_path, changes):
    suv = static(tmp_path, **changes).header.suv
    assert suv.factor is None and "InjectedRadioactivity" in suv.source


def head(folder, **changes):
    image = nibabel.Nifti1Image(head_array().T, np.diag([-2.0, -2.0, 2.0, 1.0]))
    nibabel.save(image, folder / "pet.nii")
    (folder / "pet.json").write_text(json.dumps({**SCANNED_LATER, **changes}))
    return folder / "pet.nii"


@pytest.mark.parametrize(
    ("changes", "suv"),
    [
        ({}, None),
        # the values are in Bq/mL; in kBq/mL, with a dose 100 times too large; SUV by name
        ({"Units": "kBq/mL"}, 995),
        ({"InjectedRadioactivity": 36.808e3}, 0.00995),
        ({"Units": "SUV"}, 3582),
        # unknown, so that there is nothing to be wrong
        ({"BodyWeight": None, "Units": "kBq/mL"}, None),
    ],
)
def test_an_suv_that_is_none_of_a_brain_is_reported(tmp_path, changes, suv):
    findings = inspect_path(head(tmp_path, **changes)).findings
    found = [finding.values["suv"] for finding in findings if finding.code == "suv.unusual"]
    assert found == ([] if suv is None else [pytest.approx(suv, rel=0.01)])


@pytest.mark.slow
def test_an_suv_that_is_none_of_a_brain_is_in_the_record(tmp_path, model_folder):
    request = FileRequest(head(tmp_path, Units="kBq/mL"), tmp_path / "out.nii", output_unit="suv")
    result = denoise_files(request, QUICK, model_folder)
    assert find(result.findings, "suv.unusual").values["suv"] > 500


def test_an_suv_that_is_none_of_a_brain_is_in_the_record_of_a_study(tmp_path, model_folder):
    path = write(tmp_path / "pet.nii", FrameTimesStart=STARTS, FrameDuration=DURATIONS)
    frames = np.stack([head_array(seed=index).T for index in range(4)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(frames, np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    entries = {**SCANNED_LATER, "Units": "kBq/mL", "FrameTimesStart": STARTS, "FrameDuration": DURATIONS}
    path.with_suffix(".json").write_text(json.dumps(entries))
    request = FileRequest(path, tmp_path / "out.nii", frames="4")
    result = denoise_dynamic(request, QUICK, model_folder)
    assert find(result.findings, "suv.unusual").values["suv"] > 500
