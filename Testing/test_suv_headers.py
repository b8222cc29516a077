"""Body-weight SUV of headers that say something twice, in another unit, or not on which day."""

from __future__ import annotations

import copy

import dicom_series
import pydicom
import pytest
from test_suv import AN_HOUR, HALF_LIFE, factor, of_sidecar, tags

from CSRDDenoiseLib.io.dicom_write import Derived, write_dicom
from CSRDDenoiseLib.io.nuclides import NUCLIDES, is_in_seconds
from CSRDDenoiseLib.io.read import read

NO_DATES = {"SeriesDate": None, "AcquisitionDate": None}
OF_TIME = "RadiopharmaceuticalStartTime"
OF_DAY = {"RadiopharmaceuticalStartDateTime": None, OF_TIME: "100000"}


def second_injection(**values):
    def change(data, _index):
        items = data.RadiopharmaceuticalInformationSequence
        items.append(copy.deepcopy(items[0]))
        for keyword, value in values.items():
            setattr(items[1], keyword, value)

    return change


@pytest.mark.parametrize("series_time", ["110000", "180000"])
def test_an_acquisition_without_a_date_is_of_the_day_of_the_study(tmp_path, series_time):
    """A series made anew in the evening: the decay is corrected to the scan."""
    found = factor(tmp_path, tags(SeriesTime=series_time, **NO_DATES, **OF_DAY))
    assert found == pytest.approx(AN_HOUR, rel=1e-4)


@pytest.mark.parametrize(
    "change", [{"RadionuclideTotalDose": 100e6}, {"RadiopharmaceuticalStartDateTime": "20250101103000"}]
)
def test_two_injections_give_no_factor(tmp_path, change):
    assert "2 injections" in factor(tmp_path, second_injection(**change))


def test_an_injection_that_is_said_twice_is_one(tmp_path):
    assert factor(tmp_path, second_injection()) == pytest.approx(AN_HOUR, rel=1e-4)


@pytest.mark.parametrize("per_second", [60, 3600])
@pytest.mark.parametrize("nuclide", NUCLIDES, ids=lambda each: each.symbol)
def test_a_half_life_in_minutes_or_hours_is_none_in_seconds(nuclide, per_second):
    assert is_in_seconds(nuclide.half_life_s) and not is_in_seconds(nuclide.half_life_s / per_second)


@pytest.mark.parametrize("stated", [HALF_LIFE / 60, HALF_LIFE / 3600, 1e40])
def test_a_half_life_in_another_unit_gives_no_factor(tmp_path, stated):
    assert "RadionuclideHalfLife" in factor(tmp_path, tags(RadionuclideHalfLife=stated))
    suv = of_sidecar(tmp_path, TracerRadionuclide=None, RadionuclideHalfLife=stated)
    assert suv.factor is None and "RadionuclideHalfLife" in suv.source


def test_other_half_lives_without_a_code_are_taken(tmp_path):
    """Of germanium-68 in a phantom."""
    assert is_in_seconds(270.93 * 86400)
    assert factor(tmp_path, tags(RadionuclideHalfLife=6600)) == pytest.approx(AN_HOUR, rel=1e-3)


@pytest.mark.parametrize(
    ("dose", "is_known"), [(9.95, False), (37.0, False), (40.0, True), (368080.0, False), (368.08e12, False)]
)
def test_a_dose_in_mbq_or_mci_or_kbq_gives_no_factor(tmp_path, dose, is_known):
    found = factor(tmp_path, tags(RadionuclideTotalDose=dose))
    assert (found == pytest.approx(AN_HOUR * 368.08 / dose, rel=1e-4)) if is_known else "RadionuclideTotalDose" in found


NO_TIMES = {"SeriesTime": "000000", "AcquisitionTime": "000000", "StudyTime": "000000"}


@pytest.mark.parametrize("correction", ["START", "NONE"])
@pytest.mark.parametrize(
    "injected", [{"RadiopharmaceuticalStartDateTime": "20250101000000.00"}, {**OF_DAY, OF_TIME: "000000"}]
)
def test_times_that_were_removed_give_no_factor(tmp_path, correction, injected):
    """Zeros, as programs that remove names leave them: 0 s after the injection."""
    assert "00:00:00" in factor(tmp_path, tags(DecayCorrection=correction, **NO_TIMES, **injected))


def test_a_scan_at_midnight_has_a_factor(tmp_path):
    dates = {"SeriesDate": "20250102", "AcquisitionDate": "20250102"}
    injected = {"RadiopharmaceuticalStartDateTime": "20250101230000"}
    assert factor(tmp_path, tags(**NO_TIMES, **dates, **injected)) == pytest.approx(AN_HOUR, rel=1e-4)


def test_a_series_without_a_time_of_acquisition_gives_no_factor(tmp_path):
    assert "AcquisitionTime" in factor(tmp_path, tags(AcquisitionTime=None, SeriesTime="183000"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({**NO_DATES, "StudyDate": None}, "AcquisitionDate (0008,0022)"),
        ({"SeriesTime": None, "FrameReferenceTime": None}, "SeriesTime is missing"),
    ],
)
def test_the_sentence_names_what_is_missing(tmp_path, change, name):
    assert name in factor(tmp_path, tags(**change))


def test_the_decay_factor_of_an_enhanced_source_is_that_of_the_nuclide(tmp_path):
    """Where its header gives the half-life in minutes, and the nuclide."""
    data, code = dicom_series.enhanced(), pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    data.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = [code]
    data.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife = 109.77
    data.DecayCorrectionDateTime = "20250101100000"
    source = dicom_series.save(data, tmp_path / "pet.dcm")
    (tmp_path / "out").mkdir()
    volume = read(source, "PET")
    write_dicom(volume.image, tmp_path / "out", source, volume, Derived("denoised", ""))
    written = pydicom.dcmread(tmp_path / "out" / "IM0001.dcm")
    assert written.DecayFactor == pytest.approx(2 ** ((3600 + 29.984) / HALF_LIFE), rel=1e-5)


@pytest.mark.parametrize("stated", [0, -60000])
def test_a_frame_that_takes_no_time_has_no_duration(tmp_path, stated):
    """The activity of a frame that was not corrected is that of its middle, which is not known then."""
    change = tags(DecayCorrection="NONE", ActualFrameDuration=stated)
    assert "ActualFrameDuration" in factor(tmp_path, change)
    assert read(tmp_path, "PET").header.frames[0].duration_s is None
