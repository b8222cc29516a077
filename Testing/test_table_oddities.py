"""Tables as spreadsheets and people write them, and the files that a row follows from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from test_subjects_table import dataset, errors, table

from CSRDDenoiseLib.bids import find_pets
from CSRDDenoiseLib.commands.arguments import doses_of
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import parse_dose
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.subjects.bids_table import Series, read_bids
from CSRDDenoiseLib.subjects.checksum import checksum, checksums
from CSRDDenoiseLib.subjects.table import Row, Table, read_table, write_table

HEAD = "subject|low|full"


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", "nan", "inf", "1/0", "25%", "0,25", "1:4", "0", "-1/4"]
)
def test_a_dose_that_is_none_is_rejected_at_once(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_dose(text)
    with pytest.raises(InputError, match="dose fraction"):
        doses_of([text])


def test_empty_cells_at_the_end_of_lines_are_no_columns(tmp_path):
    path = table(tmp_path, f"{HEAD}||", "A|a_low.nii|a_full.nii|||", "B|b_low.nii|b_full.nii|")
    assert [row.subject for row in read_table(path).checked().rows] == ["A", "B"]
    assert errors(table(tmp_path, f"{HEAD}|dose", "A|a_low.nii|a_full.nii"))[0].startswith("table.row_length")


def test_a_line_that_is_commented_out_is_no_subject(tmp_path):
    found = errors(table(tmp_path, HEAD, "#A|a_low.nii|a_full.nii", "# note", "B|b_low.nii|b_full.nii"))
    assert [text.partition(":")[0] for text in found] == ["table.comment", "table.comment"]
    assert "line 2" in found[0]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["A|a_low.nii|{0}/a_low.nii"], "table.low_is_full"),
        (["A|a_low.nii|a_full.nii", "B|../{0}/a_low.nii|b_full.nii"], "table.same_file"),
    ],
)
def test_one_file_is_one_however_its_path_is_spelled(tmp_path, lines, code):
    folder = tmp_path / "scans"
    folder.mkdir()
    place = {"table.low_is_full": str(folder), "table.same_file": "scans"}[code]
    (found,) = errors(table(folder, HEAD, *(line.format(place) for line in lines)))
    assert found.startswith(code)


def test_the_checksum_of_a_row_follows_all_that_is_read_with_its_files(tmp_path):
    root = dataset(tmp_path, "sub-01/pet/sub-01_rec-low_pet.hdr", "sub-01/pet/sub-01_rec-full_pet.nii", "01_dseg.nii")
    path = tmp_path / "pairs.tsv"
    row = "01\tsub-01/pet/sub-01_rec-low_pet.hdr\tsub-01/pet/sub-01_rec-full_pet.nii\t01_dseg.nii"
    path.write_text(f"subject\tlow\tfull\tlabels\n{row}\n")

    def changed_by(name: str) -> set[str]:
        before = checksums(read_table(path).rows[0])
        (root / name).write_text(json.dumps({"Units": name}))
        after = checksums(read_table(path).rows[0])
        return {column for column in after if after[column] != before[column]}

    assert changed_by("01_dseg.tsv") == {"labels"}, "names of the labels"
    assert changed_by("sub-01/pet/sub-01_rec-low_pet.img") == {"low"}, "voxels apart from their header"
    assert changed_by("sub-01/pet/sub-01_rec-full_pet.json") == {"full"}
    assert changed_by("pet.json") == {"low", "full"}, "the sidecar of the dataset, which both inherit"
    assert changed_by("sub-01/pet/other.json") == set()


@pytest.mark.parametrize("name", ["pet.mhd", "pet.nhdr"])
def test_the_checksum_of_a_header_follows_the_voxels_that_it_names(tmp_path, name):
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkFloat32), str(tmp_path / name))
    (voxels,) = set(tmp_path.iterdir()) - {tmp_path / name}
    header, other = (tmp_path / name).read_text(encoding="utf-8"), voxels.with_name(f"other{voxels.suffix}")
    voxels.rename(other)
    (tmp_path / name).write_text(header.replace(voxels.name, other.name), encoding="utf-8")
    before = checksum(tmp_path / name)
    other.write_bytes(b"\1" * other.stat().st_size)
    assert checksum(tmp_path / name) != before


def test_the_checksum_of_a_folder_is_that_of_its_files(tmp_path):
    first, second = (Path(tmp_path / name) for name in ("one.dcm", "two.dcm"))
    first.write_text("1")
    before = checksum(tmp_path)
    second.write_text("2")
    assert checksum(tmp_path) != before


def test_a_quote_in_a_name_is_read_as_it_was_written(tmp_path):
    row = Row('A "first"', tmp_path / '3" low.nii', tmp_path / "full.nii")
    for path in row.files.values():
        path.touch()
    write_table(Table(tmp_path / "again.tsv", (row,)), tmp_path / "again.tsv")
    (found,) = read_table(tmp_path / "again.tsv").checked().rows
    assert (found.subject, found.low, found.full) == (row.subject, row.low, row.full)


def test_a_table_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    path = table(tmp_path, HEAD, "A|a_low.nii|a_full.nii")
    assert main(["pairs", str(path), "--write", str(tmp_path / "none" / "x.tsv")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    "lines",
    [
        (f"{HEAD}|dose", "A|a_low.nii|a_full.nii|a quarter"),
        (f"{HEAD}|dos", "A|a_low.nii|a_full.nii|1/4"),
        (HEAD, "A|none.nii|a_full.nii"),
    ],
)
def test_a_table_that_is_wrong_is_not_written_again(tmp_path, lines, capsys):
    """A dose that is none would be an empty cell, and the table would look right."""
    path = table(tmp_path, *lines)
    assert main(["pairs", str(path), "--json", "--write", str(tmp_path / "x.tsv")]) == 2
    assert not (tmp_path / "x.tsv").exists()
    printed = capsys.readouterr()
    assert "was not written" in printed.err and json.loads(printed.out)["findings"]


@pytest.mark.parametrize(
    ("low", "full", "count"),
    [
        ("run-2_rec-low", "run-1_rec-full", 0),
        ("trc-PIB_rec-low", "trc-FDG_rec-full", 0),
        ("run-2_rec-low", "rec-full", 1),
        ("acq-4min_rec-low", "acq-20min_rec-full", 1),
    ],
)
def test_a_low_dose_is_never_paired_with_another_scan_of_its_session(tmp_path, low, full, count):
    root = dataset(tmp_path, *(f"sub-01/pet/sub-01_{name}_pet.nii.gz" for name in (low, full)))
    for wanted in ("rec-low", f"{low.partition('_')[0]},rec-low"):
        read = read_bids(root, [Series.of(wanted)], Series.of("rec-full"))
        assert [finding.code for finding in read.findings] == ["bids.no_full"] * (1 - count)
        assert [row.full is not None for row in read.rows] == [bool(count)]


def test_a_full_dose_of_another_run_is_taken_where_it_is_named(tmp_path):
    root = dataset(tmp_path, "sub-01/pet/sub-01_run-1_pet.nii.gz", "sub-01/pet/sub-01_run-2_pet.nii.gz")
    (row,) = read_bids(root, [Series.of("run-2")], Series.of("run-1")).checked().rows
    assert row.full is not None and "run-1" in row.full.name


def test_runs_of_two_tracers_are_no_repeated_scans(tmp_path):
    low, full = (
        "sub-01/pet/sub-01_trc-{}_run-{}_rec-low_pet.nii.gz",
        "sub-01/pet/sub-01_trc-{}_run-{}_rec-full_pet.nii.gz",
    )
    scans = (("FDG", 1), ("FDG", 2), ("PIB", 3))
    root = dataset(tmp_path, *(name.format(*scan) for scan in scans for name in (low, full)))
    rows = read_bids(root, [Series.of("rec-low")], Series.of("rec-full")).checked().rows
    assert [(row.session, row.replicate) for row in rows] == [("trc-FDG", "1"), ("trc-FDG", "2"), ("trc-PIB", "3")]


def test_a_table_names_links_as_they_are_named_beside_their_sidecars(tmp_path):
    place, rows = tmp_path / ".git" / "annex", []
    place.mkdir(parents=True)
    for name in ("low", "full"):
        (place / f"MD5E-{name}.nii.gz").touch()
        (tmp_path / f"{name}.nii.gz").symlink_to(place / f"MD5E-{name}.nii.gz")
        rows.append(tmp_path / f"{name}.nii.gz")
    write_table(Table(tmp_path, (Row("A", *rows),)), tmp_path / "pairs.tsv")
    (row,) = read_table(tmp_path / "pairs.tsv").checked().rows
    assert [row.low.name, row.full.name] == ["low.nii.gz", "full.nii.gz"]


def test_a_participant_that_is_named_twice_is_taken_once(tmp_path):
    root = dataset(tmp_path, "sub-01/pet/sub-01_pet.nii.gz")
    assert len(find_pets(root, ("01", "sub-01"))) == 1
