"""The table of scans: what is understood of it, and bad tables, each a sentence."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import errors_of
from CSRDDenoiseLib.sentences import CLI, sentence
from CSRDDenoiseLib.subjects.bids_table import Series, read_bids
from CSRDDenoiseLib.subjects.table import read_table, write_table

NAMES = ("a_low.nii", "a_full.nii", "b_low.nii", "b_full.nii", "t1.nii", "half1.nii", "half2.nii")


def table(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    for name in NAMES:
        (folder / name).touch()
    path = folder / "pairs.tsv"
    path.write_text("\n".join(line.replace("|", "\t") for line in lines) + "\n", encoding=encoding)
    return path


def errors(path: Path, **options) -> list[str]:
    found = errors_of(read_table(path, **options).findings)
    return [f"{finding.code}: {sentence(finding, CLI)}" for finding in found]


def test_rows_are_what_the_table_says(tmp_path):
    head = "subject|low|full|mr|dose|session|replicate|split|half_1|half_2"
    path = table(tmp_path, head, "A|a_low.nii|a_full.nii|t1.nii|1/4|s1|2|train|half1.nii|half2.nii", "", "B|b_low.nii|")
    read = read_table(path, needs=("low",))
    first, second = read.rows
    assert (first.subject, first.dose, first.session, first.replicate) == ("A", Fraction(1, 4), "s1", "2")
    assert first.full == tmp_path / "a_full.nii" and first.split == "train" and len(first.halves) == 2
    assert second.line == 4 and second.full is None and second.dose is None
    assert [finding.code for finding in read.findings] == ["table.row_length"]


def test_a_row_of_two_halves_is_two_pairs(tmp_path):
    path = table(tmp_path, "subject|mr|half_1|half_2", "A|t1.nii|half1.nii|half2.nii")
    one, other = read_table(path).checked().rows
    assert (one.low.name, other.low.name) == ("half1.nii", "half2.nii") and one.full is other.full is None
    assert one.dose == other.dose == Fraction(1, 2) and one.key != other.key and len(one.halves) == 2
    write_table(read_table(path), tmp_path / "again.tsv")
    assert [row.low for row in read_table(tmp_path / "again.tsv").checked().rows] == [one.low, other.low]
    head = "subject|low|full|half_1|half_2"
    assert "'full'" in errors(table(tmp_path, head, "A|a_low.nii|||"))[0], "a row without halves needs a full dose"
    assert "'half_2'" in errors(table(tmp_path, head, "A|||half1.nii|"))[0]
    (row,) = read_table(path, needs=("half_1",)).rows
    assert row.low is None


def test_decimal_dose_bom_and_carriage_returns(tmp_path):
    path = table(tmp_path, "subject|low|full|dose\r", "Ä|a_low.nii|a_full.nii|0.25\r", encoding="utf-8-sig")
    (row,) = read_table(path).checked().rows
    assert row.subject == "Ä" and row.dose == Fraction(1, 4) and row.name == "Ä, dose 1/4"


def test_further_columns_are_kept_where_they_are_allowed(tmp_path):
    path = table(tmp_path, "subject|low|seed|steps", "A|a_low.nii|3|n/a")
    (row,) = read_table(path, needs=("low",), extra=("seed", "steps")).checked().rows
    assert row.settings == {"seed": "3"}
    assert [text.partition(":")[0] for text in errors(path, needs=("low",), extra=("seed",))] == [
        "table.unknown_column"
    ]


BAD = {
    "table.missing_column": (["subject|low", "A|a_low.nii"], "full"),
    "table.unknown_column": (["subject|low|full|doze", "A|a_low.nii|a_full.nii|1/4"], "'dose'"),
    "table.doubled_column": (["subject|low|low|full", "A|a_low.nii|a_low.nii|a_full.nii"], "2 times"),
    "table.other_separator": (["subject,low,full", "A,a_low.nii,a_full.nii"], "','"),
    "table.empty": (["subject|low|full"], "no rows"),
    "table.row_length": (["subject|low|full", "A|a_low.nii|a_full.nii|t1.nii"], "4 cells"),
    "table.empty_cell": (["subject|low|full", "A|a_low.nii|n/a"], "'full'"),
    "table.missing_file": (["subject|low|full", "A|a_low.nii|lost.nii"], "lost.nii"),
    "table.bad_dose": (["subject|low|full|dose", "A|a_low.nii|a_full.nii|4"], "'4'"),
    "table.bad_split": (["subject|low|full|split", "A|a_low.nii|a_full.nii|tset"], "validation"),
    "table.doubled_row": (["subject|low|full", "A|a_low.nii|a_full.nii", "A|b_low.nii|b_full.nii"], "line 2"),
    "table.same_file": (["subject|low|full", "A|a_low.nii|a_full.nii", "B|b_low.nii|a_full.nii"], "line 3"),
    "table.low_is_full": (["subject|low|full", "A|a_full.nii|a_full.nii"], "the same file"),
    "table.two_splits": (
        ["subject|low|full|replicate|split", "A|a_low.nii|a_full.nii|1|train", "A|b_low.nii|a_full.nii|2|test"],
        "test and train",
    ),
}


@pytest.mark.parametrize("code", BAD)
def test_bad_table_is_a_sentence(tmp_path, code):
    lines, word = BAD[code]
    path = table(tmp_path, *lines)
    (found,) = errors(path)
    assert found.startswith(code + ":") and word in found
    with pytest.raises(InputError, match=r"\w"):
        read_table(path).checked()


def test_table_of_another_encoding_and_missing_table(tmp_path):
    latin = table(tmp_path, "subject|low|full", "Ä|a_low.nii|a_full.nii", encoding="latin-1")
    assert errors(latin)[0].startswith("table.not_text") and "byte 17" in errors(latin)[0]
    assert errors(tmp_path / "none.tsv")[0].startswith("table.unreadable")
    (tmp_path / "nothing.tsv").touch()
    assert "empty" in errors(tmp_path / "nothing.tsv")[0]


UNDER_ASCII = """
import sys
from pathlib import Path
from CSRDDenoiseLib.errors import InputError, known_error
from CSRDDenoiseLib.subjects.table import read_table
print(*[each.code for each in read_table(Path(sys.argv[1])).findings])
try:
    Path("\\u738b").mkdir()
except UnicodeEncodeError as error:
    print(type(known_error(error)).__name__)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="names of files are Unicode there")
def test_a_name_that_the_locale_has_no_letters_for_is_no_missing_file(tmp_path):
    path = table(tmp_path, "subject|low|full", "A|\u4f4e.nii|a_full.nii")
    (tmp_path / "\u4f4e.nii").touch()
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", UNDER_ASCII, str(path)]
    done = subprocess.run(words, env={**ENVIRONMENT, **locale}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["table.unnameable", "InputError"]


def test_every_problem_is_found_at_once(tmp_path):
    path = table(tmp_path, "subject|low|full|dose", "A|gone.nii|lost.nii|x", "|a_low.nii|a_full.nii|1/4")
    assert len(errors(path)) == 4
    with pytest.raises(InputError) as raised:
        read_table(path).checked()
    assert len(str(raised.value).splitlines()) == 5


def test_a_table_that_is_written_is_read_as_it_was(tmp_path):
    head = "subject|low|full|mr|dose|half_1|half_2|split"
    read = read_table(table(tmp_path, head, "A|a_low.nii|a_full.nii|t1.nii|1/4|half1.nii|half2.nii|test")).checked()
    write_table(read, tmp_path / "again.tsv")
    (row,) = read_table(tmp_path / "again.tsv").checked().rows
    assert row == read.rows[0]
    assert str(tmp_path) not in (tmp_path / "again.tsv").read_text(encoding="utf-8")


def dataset(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_bids_series_are_paired_within_a_session(tmp_path):
    names = [
        f"sub-{subject}/ses-1/pet/sub-{subject}_ses-1_run-{run}_rec-{rec}_pet.nii.gz"
        for subject in ("01", "02")
        for run in (1, 2)
        for rec in ("low", "full")
    ]
    root = dataset(tmp_path, *names, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    read = read_bids(root, [Series.of("rec-low=1/4")], Series.of("rec-full")).checked()
    assert read.subjects == ("01", "02") and len(read.rows) == 4
    first = read.rows[0]
    assert (first.dose, first.session, first.replicate) == (Fraction(1, 4), "1", "1")
    assert first.full is not None and "run-1_rec-full" in first.full.name and first.mr is not None
    assert read.of("02")[0].mr is None


def test_bids_series_that_is_missing_is_a_sentence(tmp_path):
    root = dataset(tmp_path, "sub-01/pet/sub-01_rec-low_pet.nii.gz", "sub-02/pet/sub-02_rec-low_pet.nii.gz")
    found = read_bids(root, [Series.of("rec-low"), Series.of("rec-tenth")], Series.of("rec-full")).findings
    assert [finding.code for finding in found] == ["bids.no_full", "bids.no_full", "bids.no_low"]
    assert "rec-tenth" in sentence(found[-1], CLI)
    assert [finding.values["advice"] for finding in found[:2]] == ["no_other", "no_other"]
    # a filter that both reconstructions pass
    names = [f"sub-01/pet/sub-01_acq-{acq}_rec-{rec}_pet.nii.gz" for acq in "ab" for rec in ("low", "full")]
    wide = read_bids(dataset(tmp_path / "two", *names), [Series.of("rec-low")], Series.of("rec-full")).findings
    assert [finding.code for finding in wide] == ["bids.doubled"]
    assert "sub-01_acq-a_rec-low" in sentence(wide[0], CLI)


@pytest.mark.parametrize(("full", "count", "advice"), [("rec-ful", 0, "others_are"), ("rec-full", 2, "many_match")])
def test_a_full_dose_that_a_filter_misses_is_not_to_be_filtered_for_more(tmp_path, full, count, advice):
    names = [f"sub-01/pet/sub-01_{name}_pet.nii.gz" for name in ("rec-low", "acq-a_rec-full", "acq-b_rec-full")]
    (found,) = read_bids(dataset(tmp_path, *names), [Series.of("rec-low")], Series.of(full)).findings
    assert (found.code, found.values["count"], found.values["advice"]) == ("bids.no_full", count, advice)
    assert ("sub-01_acq-a_rec-full_pet.nii.gz" in sentence(found, CLI)) == (count == 0)
    with pytest.raises(InputError, match="rec-low"):
        Series.of("low")
