"""Body-weight SUV: eight reference objects, every rule that decides, and the name of what is missing."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import dicom_series
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series

from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.nuclides import NUCLIDES, nuclide_of_text
from CSRDDenoiseLib.io.outputs import Target, write_output
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.suv import SUV_UNIT, in_suv, volume_suv
from CSRDDenoiseLib.io.volume import units_of

OBJECTS = Path(__file__).parent / "data" / "suv"
EXPECTED = (0.0, 0.2, 1.0, 4.0)
HALF_LIFE, DOSE, WEIGHT = 6586.2, 368.08e6, 70.0
AN_HOUR = WEIGHT * 1000 / (DOSE * 2 ** (-3600 / HALF_LIFE))


NAMES = sorted(path.name for path in OBJECTS.glob("*.tar.xz"))
QUICK = ("DRO_0_0.tar.xz", "DRO_2_3.tar.xz")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_reference_object(tmp_path, name):
    with tarfile.open(OBJECTS / name) as archive:
        archive.extractall(tmp_path, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(tmp_path)
    volume = read(tmp_path, "PET")
    suv = in_suv(volume.image, volume_suv(volume))
    values = sitk.GetArrayFromImage(suv)
    # what is stored is cut off to whole steps, and a step is the largest part of a small value
    step = 0.04 if "2_3" in name else 2e-3
    distance = np.abs(values[..., None] - np.array(EXPECTED)).min(axis=-1)
    assert distance.max() <= step
    assert values.max() == pytest.approx(4, rel=0.01) and units_of(suv) == SUV_UNIT
    assert {float(EXPECTED[i]) for i in np.abs(values[..., None] - np.array(EXPECTED)).argmin(-1).ravel()} == set(
        EXPECTED
    )


def factor(folder, change=None):
    suv = volume_suv(read(write_series(folder, change), "PET"))
    return suv.factor if suv.factors else suv.source


def tags(**values):
    """A change that sets tags, or removes them, also of the injection."""

    def change(data, _index):
        drug = data.RadiopharmaceuticalInformationSequence[0]
        for name, value in values.items():
            place = drug if name.startswith("Radio") and name != "RadiopharmaceuticalInformationSequence" else data
            if value is None:
                delattr(place, name)
            else:
                setattr(place, name, value)

    return change


def private(tag, vr, value, creator="A vendor", **values):
    def change(data, index):
        data.add_new((tag[0], 0x0010), "LO", "A vendor")
        data.add_new((tag[0], tag[1] >> 8), "LO", creator)
        data.add_new(tag, vr, value)
        tags(**values)(data, index)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (None, AN_HOUR),
        (tags(DecayCorrection="ADMIN"), WEIGHT * 1000 / DOSE),
        (tags(RadionuclideTotalDose=368.08), AN_HOUR),
        (tags(RadiopharmaceuticalStartDateTime=None, RadiopharmaceuticalStartTime="100000.00"), AN_HOUR),
        (tags(RadiopharmaceuticalStartDateTime="20240101100000", RadiopharmaceuticalStartTime="100000"), AN_HOUR),
        (tags(RadiopharmaceuticalStartDateTime="20250101100000.000000+0100"), AN_HOUR),
        (tags(RadiopharmaceuticalStartDateTime="20250101083000"), WEIGHT * 1000 / (DOSE * 2 ** (-9000 / HALF_LIFE))),
        (
            tags(
                **{f"{name}Date": "20250102" for name in ("Series", "Acquisition")},
                **{f"{name}Time": "003000" for name in ("Series", "Acquisition")},
                RadiopharmaceuticalStartDateTime=None,
                RadiopharmaceuticalStartTime="233000",
            ),
            AN_HOUR,
        ),
        # a late frame of a long acquisition
        (
            tags(SeriesTime="083000", FrameReferenceTime=9030000, RadiopharmaceuticalStartDateTime="20250101083000"),
            WEIGHT * 1000 / DOSE,
        ),
        (tags(Units="GML"), 1),
        (tags(Units="GML", SUVType="LBMJANMA"), 70 / (9270 * 70 / (8780 + 244 * 70 / 1.75**2))),
        (tags(Units="GML", SUVType="LBMJAMES128"), 70 / (1.07 * 70 - 148 * (70 / 175) ** 2)),
        (tags(Units="GML", SUVType="LBM", PatientSex="M"), 70 / (1.10 * 70 - 120 * (70 / 175) ** 2)),
        (private((0x7053, 0x1000), "DS", "0.0005", Units="CNTS"), 0.0005),
        (private((0x7053, 0x1009), "DS", "0.5", Units="CNTS"), 0.5 * AN_HOUR),
        (private((0x7053, 0x1009), "UN", b"0.5 ", Units="CNTS"), 0.5 * AN_HOUR),
        # in the second block of its group, behind another creator's
        (private((0x7053, 0x1100), "DS", "0.0005", "Philips PET Private Group", Units="CNTS"), 0.0005),
        (private((0x7053, 0x1109), "DS", "0.5", "Philips PET Private Group", Units="CNTS"), 0.5 * AN_HOUR),
        (tags(Units="gml"), 1),
        (tags(Units="GML", SUVType="IBW"), 70 / (45.5 + 0.91 * (175 - 152))),
        (tags(Units="CM2ML", SUVType="BSA"), 70 * 1000 / (0.007184 * 70**0.425 * 175**0.725 * 1e4)),
        # date-times of their own time zones
        (
            tags(TimezoneOffsetFromUTC="+0100", RadiopharmaceuticalStartDateTime="20250101090000.000000+0000"),
            AN_HOUR,
        ),
        (
            tags(AcquisitionDateTime="20250101110000-0500", RadiopharmaceuticalStartDateTime="20250101150000+0000"),
            AN_HOUR,
        ),
        # made anew at noon: the decay is corrected to what GE's own tag says
        (private((0x0009, 0x110D), "DT", "20250101110000", "GEMS_PETD_01", SeriesTime="120000"), AN_HOUR),
        (private((0x0009, 0x100D), "DT", "20250101110000", SeriesTime="120000", Manufacturer="GE"), AN_HOUR),
    ],
)
def test_factor_of_a_series(tmp_path, change, expected):
    assert factor(tmp_path, change) == pytest.approx(expected, rel=1e-4)


def test_outputs_in_suv_have_its_unit_and_labels_stay(tmp_path):
    volume = read(write_series(tmp_path), "PET")
    target, labels = Target(tmp_path, volume, unit="suv"), np.zeros(volume.image.GetSize()[::-1], np.uint8)
    labels[1, 2, 3] = 2
    write_output(Grid.of(volume.image).image(labels), tmp_path / "labels.nrrd", "support", target, False)
    write_output(volume.image, tmp_path / "out.nrrd", "denoised", target, False)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "labels.nrrd"))), labels)
    assert read(tmp_path / "out.nrrd", "PET").unit == SUV_UNIT


def test_series_made_after_the_scan_goes_by_the_frame_reference_time(tmp_path):
    # the frame's mean activity is 29.97 s after its begin, and 30 s after the reference
    assert factor(tmp_path, tags(SeriesTime="120000")) == pytest.approx(AN_HOUR, rel=1e-4)


@pytest.mark.parametrize(
    ("code", "meaning", "half_life"),
    [
        ("C-131A3", "^68^Gallium", 4062.6),
        ("79477007", "^66^Gallium", 34164),
        ("C-131A1", "", 34164),
        ("40565003", "^11^Carbon", 1221.8),
        ("C-159A2", "", 75.45),
        ("", "^18^Fluorine", 6586.2),
        ("X", "Fluorine F^18^", None),
        ("X", "[18F]", 6586.2),
    ],
)
@pytest.mark.parametrize("stated", [None, 6586.2])
def test_half_life_by_the_nuclide(tmp_path, code, meaning, half_life, stated):
    def change(data, index):
        drug = data.RadiopharmaceuticalInformationSequence[0]
        item = type(data)()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SRT", meaning
        drug.RadionuclideCodeSequence, drug.RadionuclideHalfLife = [item], stated
        drug.RadiopharmaceuticalStartDateTime = "20250101105900"

    found, life = factor(tmp_path, change), half_life or stated
    if life is None:
        assert "RadionuclideHalfLife" in found
    else:
        assert found == pytest.approx(WEIGHT * 1000 / (DOSE * 2 ** (-60 / life)), rel=1e-4)


def test_nuclides_are_known_by_name_and_by_code():
    assert len({code for each in NUCLIDES for code in each.codes}) == sum(len(each.codes) for each in NUCLIDES)
    for text, symbol in (("F-18", "F18"), ("18F", "F18"), ("[11C]", "C11"), ("94mTc", "TC94M"), ("Tc94m", "TC94M")):
        assert nuclide_of_text(text).symbol == symbol
    assert nuclide_of_text("^52m^Manganese").symbol == "MN52M" and nuclide_of_text("52Mn").symbol == "MN52"
    for text in ("", "F", "18", "F19", "FDG", "n/a"):
        assert nuclide_of_text(text) is None


def test_long_lived_nuclides_are_scanned_days_later(tmp_path):
    long_lived = {"RadionuclideHalfLife": 282276.0, "RadiopharmaceuticalStartDateTime": "20241229110000"}
    assert factor(tmp_path / "a", tags(**long_lived)) == pytest.approx(
        WEIGHT * 1000 / (DOSE * 2 ** (-3 * 86400 / 282276)), rel=1e-4
    )
    alone = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "100000"}
    assert "RadiopharmaceuticalStartDateTime" in factor(tmp_path / "b", tags(**{**long_lived, **alone}))


@pytest.mark.parametrize("start", ["20250101110100", "20250102110100"], ids=["date", "date of another day"])
def test_a_dynamic_scan_may_begin_before_its_injection(tmp_path, start):
    """A minute before, and not a day after an injection of the day before."""
    change = tags(RadiopharmaceuticalStartDateTime=start, RadiopharmaceuticalStartTime="110100")
    assert factor(tmp_path, change) == pytest.approx(WEIGHT * 1000 / (DOSE * 2 ** (60 / 6586.2)), rel=1e-4)


def test_a_time_of_day_that_the_half_life_rules_out_gives_no_factor(tmp_path):
    change = tags(RadiopharmaceuticalStartDateTime=None, RadiopharmaceuticalStartTime="120000")
    assert "23.0 h before the scan" in factor(tmp_path, change)


def test_a_date_time_that_the_half_life_rules_out_gives_no_factor(tmp_path):
    """Five hours off, as by a time zone: fifteen half-lives of C-11, or 33,000 times the SUV."""
    change = tags(RadionuclideHalfLife=1221.8, RadiopharmaceuticalStartDateTime="20250101055500")
    assert "within 3 h before the scan" in factor(tmp_path, change)
    assert of_sidecar(tmp_path, TracerRadionuclide="C11", InjectionStart=-15000).factor is None


def test_scan_across_midnight(tmp_path):
    """Series and injection are of the day before; the second half of the slices were acquired after midnight."""

    def change(data, index):
        data.SeriesDate, data.SeriesTime = "20250101", "235900"
        late = index >= 3
        data.AcquisitionDate, data.AcquisitionTime = ("20250102", "000100") if late else ("20250101", "235900")
        data.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20250101225900"

    assert factor(tmp_path / "a", change) == pytest.approx(AN_HOUR, rel=1e-4)

    def without_dates(data, index):
        change(data, index)
        del data.AcquisitionDate

    assert "AcquisitionDate" in factor(tmp_path / "b", without_dates)

    def by_slice(data, index):
        change(data, index)
        data.DecayCorrection = "NONE"

    expected = [3600 + 29.97] * 3 + [3600 + 120 + 29.97] * 3
    found = factor(tmp_path / "c", by_slice)
    np.testing.assert_allclose(
        found, [WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE)) for seconds in expected], rtol=1e-4
    )


@pytest.mark.parametrize("corrected_to", ["20250101110000", "20250101100000", "20250101120000+0100", None])
def test_enhanced_file(tmp_path, corrected_to):
    data = dicom_series.enhanced(2)
    del data.DecayCorrection
    data.DecayCorrected = "YES"
    if corrected_to:
        data.DecayCorrectionDateTime, data.TimezoneOffsetFromUTC = corrected_to, "+0000"
    hours = 0 if corrected_to == "20250101100000" else 1
    suv = volume_suv(read(dicom_series.save(data, tmp_path / "pet.dcm"), "PET", 1))
    assert suv.factor == pytest.approx(WEIGHT * 1000 / (DOSE * 2 ** (-3600 * hours / HALF_LIFE)), rel=1e-4)


def test_uncorrected_slices_have_a_factor_each(tmp_path):
    def change(data, index):
        data.DecayCorrection, data.AcquisitionTime = "NONE", f"11{index:02d}00"

    found = factor(tmp_path, change)
    middle = 29.97  # of 60 s
    expected = [WEIGHT * 1000 / (DOSE * 2 ** (-(3600 + 60 * i + middle) / HALF_LIFE)) for i in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (tags(PatientWeight=None), "PatientWeight"),
        (tags(PatientWeight=0), "PatientWeight"),
        (tags(PatientWeight=70000), "PatientWeight"),
        (tags(RadionuclideTotalDose=None), "RadionuclideTotalDose"),
        (tags(RadionuclideHalfLife=None), "RadionuclideHalfLife"),
        (tags(RadiopharmaceuticalStartDateTime=None), "RadiopharmaceuticalStart"),
        (tags(RadiopharmaceuticalStartDateTime="20240101100000"), "RadiopharmaceuticalStart"),
        (tags(RadiopharmaceuticalInformationSequence=None), "RadiopharmaceuticalInformationSequence"),
        (tags(DecayCorrection=None), "DecayCorrection"),
        (tags(SeriesTime="120000", FrameReferenceTime=None), "FrameReferenceTime"),
        (tags(DecayCorrection="NONE", ActualFrameDuration=None), "ActualFrameDuration"),
        (tags(SeriesTime="060000", RadiopharmaceuticalStartDateTime="20241231220000"), "5.0 h before the acquisition"),
        (tags(SeriesTime="060000", FrameReferenceTime=None), "FrameReferenceTime"),
        (tags(Units="CNTS"), "7053,1000"),
        (tags(Units="PROPCPS"), "Units"),
        (tags(Units="GML", SUVType="LBM", PatientSize=None), "PatientSize"),
        (tags(Units="GML", SUVType="OTHER"), "SUVType"),
        (tags(Units="GML", SUVType="BSA"), "SUVType"),
        (tags(Units="GML", SUVType="LBM", PatientSize=175), "PatientSize"),
        (tags(Units="GML", SUVType="IBW", PatientSex=None), "PatientSex"),
        # a child, whom the formula was not made for: -1.8 kg
        (tags(Units="GML", SUVType="IBW", PatientWeight=15, PatientSize=1.0), "IBW"),
        (tags(Units="CM2ML", PatientWeight=None), "PatientWeight"),
        (tags(Units=""), "Units"),
        (private((0x7053, 0x1000), "DS", "0", Units="CNTS"), "7053,1000"),
        (private((0x7053, 0x1009), "DS", "0.5", Units="CNTS", PatientWeight=None), "PatientWeight"),
    ],
)
def test_what_is_missing_is_named(tmp_path, change, name):
    assert name in factor(tmp_path, change)


SIDECAR = {
    "Units": "kBq/mL",
    "BodyWeight": 70,
    "InjectedRadioactivity": 368.08,
    "InjectedRadioactivityUnits": "MBq",
    "TracerRadionuclide": "F18",
    "InjectionStart": 0,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 3600,
    "FrameTimesStart": [3600],
    "FrameDuration": [600],
    "TimeZero": "10:00:00",
}


def of_sidecar(folder, **changes):
    entries = {name: value for name, value in {**SIDECAR, **changes}.items() if value is not None}
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), folder / "pet.nii")
    (folder / "pet.json").write_text(json.dumps(entries))
    return volume_suv(read(folder / "pet.nii", "PET"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1000 * AN_HOUR),
        ({"Units": "Bq/mL"}, AN_HOUR),
        ({"Units": "SUV"}, 1),
        ({"TracerRadionuclide": "[18F]"}, 1000 * AN_HOUR),
        ({"InjectionStart": 600, "ImageDecayCorrectionTime": 4200}, 1000 * AN_HOUR),
        ({"ImageDecayCorrectionTime": 0}, WEIGHT * 1e6 / DOSE),
        ({"ImageDecayCorrected": False, "FrameTimesStart": [3300.5]}, 1000 * AN_HOUR),
        ({"InjectedRadioactivity": 368.08e6, "InjectedRadioactivityUnits": "Bq"}, 1000 * AN_HOUR),
        ({"InjectedRadioactivity": "368080", "InjectedRadioactivityUnits": "kBq"}, 1000 * AN_HOUR),
        ({"InjectedRadioactivity": 368.08 / 37, "InjectedRadioactivityUnits": "mCi"}, 1000 * AN_HOUR),
        ({"Units": "MBq/ml"}, 1e6 * AN_HOUR),
        ({"Units": "BQML"}, AN_HOUR),
        # TimeZero is the scan's begin
        (
            {
                "TimeZero": "11:00:00",
                "InjectionStart": -3600,
                "ScanStart": 0,
                "FrameTimesStart": [0],
                "ImageDecayCorrectionTime": 0,
            },
            1000 * AN_HOUR,
        ),
        # times of day instead of seconds
        (
            {"InjectionStart": "10:00:00", "ScanStart": "11:00:00", "ImageDecayCorrectionTime": "11:00:00"},
            1000 * AN_HOUR,
        ),
        (
            {"TimeZero": "2025-01-02T00:30:00", "InjectionStart": "23:30:00", "ImageDecayCorrectionTime": 0},
            1000 * AN_HOUR,
        ),
        ({"InjectionStart": "0", "ImageDecayCorrected": "true"}, 1000 * AN_HOUR),
    ],
)
def test_factor_of_a_sidecar(tmp_path, changes, expected):
    assert of_sidecar(tmp_path, **changes).factor == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    "name",
    [
        *("BodyWeight", "InjectedRadioactivity", "InjectedRadioactivityUnits", "TracerRadionuclide", "InjectionStart"),
        *("ImageDecayCorrected", "ImageDecayCorrectionTime", "Units"),
    ],
)
def test_what_a_sidecar_lacks_is_named(tmp_path, name):
    suv = of_sidecar(tmp_path, **{name: None})
    assert suv.factor is None and name in suv.source


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"BodyWeight": 0}, "BodyWeight"),
        ({"BodyWeight": "n/a"}, "BodyWeight"),
        ({"InjectedRadioactivity": 0}, "InjectedRadioactivity"),
        ({"InjectedRadioactivityUnits": "GBq/kg"}, "InjectedRadioactivityUnits"),
        ({"TracerRadionuclide": "n/a"}, "TracerRadionuclide"),
        ({"InjectionStart": "10:00:00", "TimeZero": None}, "TimeZero"),
        ({"ImageDecayCorrected": False, "FrameTimesStart": None}, "FrameTimesStart"),
        ({"Units": "counts"}, "Units"),
        ({"InjectionStart": 7200}, "InjectionStart"),
        ({"InjectionStart": -1e9}, "InjectionStart"),
        ({"InjectedRadioactivityUnits": "Bq", "InjectedRadioactivity": 200}, "InjectedRadioactivity"),
    ],
)
def test_what_of_a_sidecar_cannot_be_is_named(tmp_path, changes, name):
    suv = of_sidecar(tmp_path, **changes)
    assert suv.factor is None and name in suv.source
