"""Pairs of a low and a full dose: what is found wrong in their images, and the command ``pairs``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import one_slice, save
from pair_folder import row_of, write, write_rows, write_subject
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from study_folder import SCALE

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import errors_of
from CSRDDenoiseLib.research.likeness.scans import simulate_like
from CSRDDenoiseLib.subjects.checksum import checksums
from CSRDDenoiseLib.subjects.judge import judge_doses, judge_row, judge_together
from CSRDDenoiseLib.subjects.pair import dose_of, load_pair, share_by_noise
from CSRDDenoiseLib.subjects.table import Row, judge_rows, read_table


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own scans")
    for number, name in enumerate(("A", "B")):
        write_subject(folder, name, number)
    return folder


def rows_of(folder: Path, *rows: dict[str, str]) -> tuple[Row, ...]:
    return read_table(write_rows(folder / "pairs.tsv", rows)).checked().rows


def codes(row: Row) -> set[str]:
    return {finding.code for finding in judge_row(row).findings if finding.severity.value != "info"}


def changed(root: Path, folder: Path, name: str, change, **kwargs) -> Row:
    """The row of subject A with one of its images changed."""
    source = root / "A" / f"{name}.nii.gz"
    image = sitk.ReadImage(str(source))
    path = write(folder / f"{name}.nii.gz", change(sitk.GetArrayFromImage(image)), image)
    column = {"low_dose_1_4": "low", "full_dose": "full", "t1": "mr", "regions": "labels", "lesions": "lesions"}[name]
    row = {**row_of("A"), **{key: str(root / value) for key, value in row_of("A").items() if "/" in value}, **kwargs}
    return rows_of(folder, {**row, "dose": "1/4", column: str(path)})[0]


@pytest.mark.slow
def test_pair_of_a_simulated_subject_is_understood(root):
    (row,) = rows_of(root, row_of("A"))
    judged = judge_row(row)
    assert not codes(row) - {"alignment.doubtful", "head.small"}
    assert judged.facts["regions"] == 2 and judged.facts["lesions"] == 2
    assert judged.facts["shift_mm"] is None or judged.facts["shift_mm"] < 1
    assert 0.25 / 1.3 < judged.facts["counts_by_noise"] < 0.25 * 1.3
    assert "36 x 36 x 36" in judged.line()


def test_dose_is_estimated_where_the_table_has_none(root):
    (row,) = rows_of(root, row_of("A", dose="1/10", mr=None) | {"dose": ""})
    dose, finding = dose_of(load_pair(row))
    assert 0.1 / 1.4 < dose < 0.1 * 1.4 and finding.code == "pair.dose_estimated"
    stated, finding = dose_of(load_pair(rows_of(root, row_of("A", dose="1/10"))[0]))
    assert stated == float(Fraction(1, 10)) and finding.code == "pair.dose_stated"


@pytest.mark.slow
def test_the_mean_of_two_halves_is_the_full_dose_of_each(root, tmp_path):
    image = sitk.ReadImage(str(root / "A" / "full_dose.nii.gz"))
    full, low = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(root / "A" / name)))
        for name in ("full_dose.nii.gz", "low_dose_1_4.nii.gz")
    )
    extra = (low - full) / 3**0.5
    for number, sign in ((1, 1), (2, -1)):
        write(tmp_path / f"half{number}.nii.gz", full + sign * extra, image)
    rows = rows_of(tmp_path, {"subject": "A", "half_1": "half1.nii.gz", "half_2": "half2.nii.gz"})
    pairs = [load_pair(row) for row in rows]
    for pair, other in zip(pairs, reversed(pairs)):
        ours, mean, theirs = (sitk.GetArrayFromImage(each) for each in (pair.low, pair.full, other.low))
        np.testing.assert_allclose(2 * mean - ours, theirs, atol=1e-3 * SCALE)
        assert dose_of(pair)[0] == 0.5 and not codes(pair.row) - {"alignment.doubtful", "head.small"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "code"), [(0.5, 0.5, "pair.halves"), (1.2, 0.8, "pair.halves_apart"), (1.05, 0.95, None)]
)
def test_halves_of_another_activity_cannot_be_used(root, tmp_path, first, second, code):
    for number, factor, dose in ((1, first, 4), (2, second, 10)):
        image = sitk.ReadImage(str(root / "A" / f"low_dose_1_{dose}.nii.gz"))
        write(tmp_path / f"half{number}.nii.gz", factor * sitk.GetArrayFromImage(image), image)
    halves = {f"half_{number}": str(tmp_path / f"half{number}.nii.gz") for number in (1, 2)}
    files = {name: str(root / row_of("A")[name]) for name in ("low", "full")}
    (row,) = rows_of(tmp_path, {"subject": "A", "dose": "1/4", **files, **halves})
    found = errors_of(judge_row(row).findings)
    assert [each.code for each in found] == ([code] if code else [])
    if code == "pair.halves_apart":
        (alone, _) = rows_of(tmp_path, {"subject": "A", **halves})
        assert code in {each.code for each in errors_of(judge_doses(load_pair(alone)))}


def test_halves_of_another_grid_cannot_be_used(root, tmp_path):
    """Interpolated, they would have less noise than they have; flipped axes need no interpolation."""
    one, half = (sitk.ReadImage(str(root / "A" / f"low_dose_1_{dose}.nii.gz")) for dose in (4, 10))
    halves = (tmp_path / "half1.nii.gz", tmp_path / "half2.nii.gz")
    whole = replace(rows_of(root, row_of("A", mr=None))[0], halves=halves)
    alone = replace(whole, low=halves[0], full=None)
    sitk.WriteImage(one * 1.01, str(halves[0]))
    sitk.WriteImage(sitk.Flip(half, (True, False, False)), str(halves[1]))
    assert load_pair(whole).halves and load_pair(alone).halves
    half.SetOrigin([place + 2.0 for place in half.GetOrigin()])
    sitk.WriteImage(half, str(halves[1]))
    for row in (whole, alone):
        with pytest.raises(InputError, match="another grid"):
            load_pair(row)
    with pytest.raises(InputError, match="another grid"):
        simulate_like([whole], tmp_path / "low", [Fraction(1, 4)])


@pytest.mark.slow
def test_a_full_dose_that_ends_within_the_head_cannot_be_used(root, tmp_path):
    """There are zeros in its place beyond its field of view, which a network would learn."""
    full = sitk.ReadImage(str(root / "A" / "full_dose.nii.gz"))
    row = replace(rows_of(root, row_of("A", mr=None))[0], full=tmp_path / "full.nii.gz")
    for slices, refused in ((4, False), (12, True)):
        sitk.WriteImage(full[:, :, slices:], str(row.full))
        for found in (judge_row(row).findings, judge_doses(load_pair(row))):
            assert ("pair.uncovered" in {each.code for each in errors_of(found)}) is refused


@pytest.mark.slow
def test_stated_dose_that_the_noise_denies(root):
    (row,) = rows_of(root, row_of("A", mr=None) | {"dose": "1/20"})
    assert "pair.dose_unlike" in codes(row)


@pytest.mark.slow
def test_low_and_full_swapped(root):
    row = row_of("A", mr=None)
    (swapped,) = rows_of(root, row | {"low": row["full"], "full": row["low"]})
    assert "pair.swapped" in codes(swapped)


def test_low_and_full_identical(root, tmp_path):
    shutil.copy(root / "A" / "full_dose.nii.gz", tmp_path / "copy.nii.gz")
    (row,) = rows_of(root, row_of("A", low=str(tmp_path / "copy.nii.gz")))
    (finding,) = judge_row(row).findings
    assert finding.code == "pair.unusable" and "identical" in finding.values["reason"]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("low_dose_1_4", "full"),
        ("low_dose_1_4", "mr"),
        ("full_dose", "mr"),
        ("full_dose", "half_1"),
        ("half", "half_1"),
    ],
)
@pytest.mark.parametrize("change", ["copied", "rounded", "scaled", "flipped"])
def test_one_image_under_two_names_cannot_be_used(root, tmp_path, name, column, change):
    """Copies, and what another program exported: whole numbers, another unit, axes the other way round."""
    half = sitk.ReadImage(str(root / "A" / "low_dose_1_10.nii.gz"))
    write(tmp_path / "half.nii.gz", sitk.GetArrayFromImage(half), half)
    image = sitk.ReadImage(str((tmp_path if name == "half" else root / "A") / f"{name}.nii.gz"))
    made = {
        "copied": image,
        "rounded": sitk.Cast(sitk.Round(image), sitk.sitkInt16),
        "scaled": image * 1.5,
        "flipped": sitk.Flip(image, (True, False, True)),
    }[change]
    sitk.WriteImage(made, str(tmp_path / "same.nii.gz"))
    row = rows_of(root, row_of("A", mr=None, labels=None, lesions=None))[0]
    halves = (tmp_path / "same.nii.gz", tmp_path / "half.nii.gz")
    values = {"halves": halves} if column == "half_1" else {column: tmp_path / "same.nii.gz"}
    with pytest.raises(InputError, match=r"identical to|times|up to rounding"):
        load_pair(replace(row, **values))


def test_nearly_equal_doses_are_two_images(root, tmp_path):
    """A dose of 9/10 has a third of the full dose's noise on top."""
    full, low = (sitk.ReadImage(str(root / "A" / f"{name}.nii.gz")) for name in ("full_dose", "low_dose_1_4"))
    more = (sitk.GetArrayFromImage(low) - sitk.GetArrayFromImage(full)) / 3**0.5
    path = write(tmp_path / "low.nii.gz", sitk.GetArrayFromImage(full) + more / 3, full)
    assert load_pair(replace(rows_of(root, row_of("A", mr=None))[0], low=path)).mr is None


def test_full_dose_on_another_grid_is_resampled(root, tmp_path):
    image = sitk.ReadImage(str(root / "A" / "full_dose.nii.gz"))
    finer = sitk.Resample(image, (72, 72, 36), sitk.Transform(), sitk.sitkLinear, (-1, -1, 0), (2, 2, 4))
    sitk.WriteImage(finer, str(tmp_path / "finer.nii.gz"))
    (row,) = rows_of(root, row_of("A", full=str(tmp_path / "finer.nii.gz")))
    pair = load_pair(row)
    assert pair.full.GetSize() == pair.low.GetSize() and "pair.resampled" in {each.code for each in pair.findings}
    there, here = (sitk.GetArrayFromImage(each) for each in (image, pair.full))
    white = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "A" / "regions.nii.gz"))) == 20
    assert abs(here[white].mean() / there[white].mean() - 1) < 0.02


@pytest.mark.parametrize("cut", ["low", "full"])
def test_a_part_of_the_grid_is_not_resampled(root, tmp_path, cut):
    """Fewer slices, and axes stored the other way round: the voxels are the same ones."""
    row = rows_of(root, row_of("A", mr=None, labels=None, lesions=None))[0]
    image = sitk.ReadImage(str(row.files[cut]))
    sitk.WriteImage(sitk.Flip(image[:, :, 3:], (True, False, True)), str(tmp_path / "cut.nii.gz"))
    pair = load_pair(replace(row, **{cut: tmp_path / "cut.nii.gz"}))
    assert "pair.resampled" not in {each.code for each in pair.findings}
    full = sitk.ReadImage(str(row.full))
    first = {"low": full[:, :, 3:], "full": full}[cut]
    got = sitk.GetArrayFromImage(sitk.DICOMOrient(pair.full, "LPS"))
    wanted = sitk.GetArrayFromImage(sitk.DICOMOrient(first, "LPS"))
    kept = slice(3 if cut == "full" else 0, None)
    np.testing.assert_array_equal(got[kept], wanted[kept])


@pytest.mark.slow
def test_shift_between_low_and_full_is_reported(root, tmp_path):
    row = changed(root, tmp_path, "full_dose", lambda values: np.roll(values, 2, axis=2), mr="")
    judged = judge_row(row)
    assert "pair.shifted" in {each.code for each in judged.findings}
    assert judged.facts["shift_mm"] == pytest.approx(8, abs=1.5)


@pytest.mark.slow
def test_low_dose_that_was_not_corrected_for_its_time(root, tmp_path):
    assert "pair.scale" in codes(changed(root, tmp_path, "low_dose_1_4", lambda values: values / 4, mr=""))


@pytest.mark.slow
def test_misaligned_mr(root, tmp_path):
    found = codes(changed(root, tmp_path, "t1", lambda values: np.roll(values, 5, axis=1)))
    assert found & {"alignment.misaligned", "alignment.doubtful"}


@pytest.mark.parametrize(("name", "word"), [("low_dose_1_4", "low-dose PET is 0"), ("full_dose", "full-dose PET is 0")])
def test_which_of_the_pets_cannot_be_used(root, tmp_path, name, word):
    (finding,) = judge_row(changed(root, tmp_path, name, np.zeros_like)).findings
    assert word in finding.values["reason"]


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda values: np.zeros_like(values), "no label"), (lambda values: values + 0.5, "whole number")],
)
def test_label_map_that_is_none(root, tmp_path, change, word):
    (finding,) = judge_row(changed(root, tmp_path, "regions", change)).findings
    assert word in finding.values["reason"]


@pytest.mark.slow
def test_lesion_outside_of_the_head(root, tmp_path):
    def in_the_corner(values: np.ndarray) -> np.ndarray:
        values[0, 0, 0] = 7
        return values

    assert "pair.lesion_outside" in codes(changed(root, tmp_path, "lesions", in_the_corner, mr=""))


def test_units_of_low_and_full_differ(root, tmp_path):
    for name, unit in (("low_dose_1_4", "Bq/mL"), ("full_dose", "SUV")):
        shutil.copy(root / "A" / f"{name}.nii.gz", tmp_path / f"{name}.nii.gz")
        (tmp_path / f"{name}.json").write_text(json.dumps({"Units": unit}))
    (row,) = rows_of(tmp_path, {"subject": "A", "low": "low_dose_1_4.nii.gz", "full": "full_dose.nii.gz"})
    with pytest.raises(InputError, match=r"Bq/mL.*SUV"):
        load_pair(row)
    (tmp_path / "full_dose.json").write_text(json.dumps({"Units": "Bq/ml"}))
    assert load_pair(row).low.GetSize() == (36, 36, 36)


@pytest.mark.slow
def test_one_image_under_two_subjects(root, tmp_path):
    shutil.copy(root / "A" / "full_dose.nii.gz", tmp_path / "other.nii.gz")
    rows = rows_of(root, row_of("A", mr=None), row_of("B", mr=None, full=str(tmp_path / "other.nii.gz")))
    (finding,) = judge_together((row, judge_row(row).checksums) for row in rows)
    assert finding.code == "table.same_image" and finding.values["other"].startswith("A")


def test_one_low_dose_in_two_rows_of_a_subject(root, tmp_path):
    """As repeated scans the two would show a noise of zero."""
    shutil.copy(root / "A" / "low_dose_1_4.nii.gz", tmp_path / "copy.nii.gz")
    (first,) = rows_of(root, row_of("A", replicate="1"))
    lows = (tmp_path / "copy.nii.gz", root / "B" / first.low.name)
    second, other = (replace(first, replicate="2", low=low, line=3) for low in lows)
    assert [found.code for found in judge_rows([first, replace(first, replicate="2")])] == ["table.low_twice"]
    assert [found.code for found in judge_rows([first, replace(first, dose=Fraction(1, 10))])] == ["table.low_twice"]
    assert not list(judge_rows([first, second]))
    # a cohort denoises one scan with several settings
    assert not list(judge_rows([replace(first, full=None), replace(first, full=None, replicate="2")]))
    read = [(row, checksums(row)) for row in (first, second)]
    assert [found.code for found in judge_together(read)] == ["table.same_low"]
    assert not list(judge_together([(row, checksums(row)) for row in (first, other)]))


def test_full_dose_of_another_protocol_gives_no_counts(root, tmp_path):
    image = sitk.ReadImage(str(root / "A" / "full_dose.nii.gz"))
    finer = sitk.Resample(image, (72, 72, 72), sitk.Transform(), sitk.sitkLinear, (-1, -1, -1), (2, 2, 2))
    sitk.WriteImage(finer, str(tmp_path / "finer.nii.gz"))
    (row,) = rows_of(root, row_of("A", full=str(tmp_path / "finer.nii.gz"), dose="1/4"))
    assert share_by_noise(load_pair(row)) is None


@pytest.mark.slow
def test_command_prints_a_line_a_scan_and_every_problem(root, capsys):
    table = write_rows(root / "two.tsv", [row_of("A", mr=None), row_of("B", mr=None) | {"low": "B/none.nii.gz"}])
    assert main(["pairs", str(table)]) == 2
    printed = capsys.readouterr().out
    assert "A, dose 1/4: 36 x 36 x 36" in printed and "none.nii.gz" in printed and "1 error(s)" in printed


@pytest.mark.slow
def test_command_reads_rows_of_halves(root, tmp_path, capsys):
    half = str(root / "B" / "low_dose_1_4.nii.gz")
    halves = {"half_1": str(root / "A" / "low_dose_1_4.nii.gz"), "half_2": half}
    table = write_rows(tmp_path / "halves.tsv", [{"subject": "A", **halves}])
    main(["pairs", str(table)])
    printed = capsys.readouterr().out
    assert "replicate half 1: 36 x 36" in printed and "replicate half 2: 36 x 36" in printed
    assert "2 pair(s) read" in printed


@pytest.mark.slow
def test_command_gives_json_and_writes_a_table(root, tmp_path, capsys):
    table = write_rows(root / "one.tsv", [row_of("A", mr=None)])
    assert main(["pairs", str(table), "--json", "--write", str(tmp_path / "again.tsv")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pairs"][0]["subject"] == "A" and printed["findings"] == []
    assert read_table(tmp_path / "again.tsv").checked().rows[0].dose == Fraction(1, 4)
    assert main(["pairs", str(table), "--write", str(tmp_path / "again.tsv")]) == 2
    assert main(["pairs"]) == 2


@pytest.mark.slow
def test_command_takes_a_bids_dataset(root, tmp_path, capsys):
    folder = tmp_path / "sub-01" / "pet"
    folder.mkdir(parents=True)
    for rec, name in (("low", "low_dose_1_4"), ("full", "full_dose")):
        shutil.copy(root / "A" / f"{name}.nii.gz", folder / f"sub-01_rec-{rec}_pet.nii.gz")
    assert main(["pairs", "--bids", str(tmp_path), "--low", "rec-low=1/4", "--full", "rec-full"]) == 0
    assert "01, dose 1/4" in capsys.readouterr().out
    assert main(["pairs", "--bids", str(tmp_path), "--low", "rec-low"]) == 2


def test_scale_of_the_fixture_is_kept(root):
    (row,) = rows_of(root, row_of("A"))
    assert sitk.GetArrayViewFromImage(load_pair(row).full).max() > SCALE


def write_dicom(folder: Path, volume: Path) -> Path:
    """Write an image with axis-parallel voxels as a classic DICOM series."""
    image = sitk.ReadImage(str(volume))
    values, (x, y, z) = sitk.GetArrayFromImage(image), image.GetSpacing()
    slope = float(values.max()) / 30000
    series = generate_uid(entropy_srcs=[str(folder)])

    def change(data: Dataset, index: int) -> None:
        plane = np.clip(values[index] / slope, 0, None).round().astype(np.uint16)
        data.SeriesInstanceUID, data.NumberOfSlices = series, len(values)
        data.Rows, data.Columns, data.PixelSpacing, data.PixelData = *plane.shape, [y, x], plane.tobytes()
        data.RescaleSlope, data.ImagePositionPatient = slope, [0.0, 0.0, z * index]

    folder.mkdir(parents=True)
    for index in range(len(values)):
        data = one_slice(0)
        change(data, index)
        save(data, folder / f"{index:03d}.dcm")
    return folder


@pytest.mark.slow
def test_pair_of_dicom_folders(root, tmp_path):
    for name in ("low_dose_1_4", "full_dose"):
        write_dicom(tmp_path / "01" / name, root / "A" / f"{name}.nii.gz")
    (row,) = rows_of(tmp_path, {"subject": "01", "low": "01/low_dose_1_4", "full": "01/full_dose", "dose": "1/4"})
    judged = judge_row(row)
    assert not {each.code for each in judged.findings if each.code.startswith("pair.") and each.is_warning}
    assert judged.facts["unit"] == "Bq/mL" and judged.facts["size"] == [36, 36, 36]
    (expected,) = rows_of(root, row_of("A", mr=None))
    there, here = (sitk.GetArrayFromImage(load_pair(each).full) for each in (expected, row))
    assert np.abs(here - np.clip(there, 0, None)).max() <= there.max() / 30000
