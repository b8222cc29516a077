"""A designed study: blinded, counterbalanced, complete, and the same again from the same seed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import timedelta

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from full_disk import full_disk
from reader_study import BEGIN, METHODS, make_study, write_image, write_table

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.readers.answers import answers_name, read_answers
from CSRDDenoiseLib.readers.key import key_path_of, read_key
from CSRDDenoiseLib.readers.plan import PlanOptions, plan_readings
from CSRDDenoiseLib.readers.session import Session
from CSRDDenoiseLib.readers.study import PREFERENCE, RATING, check_files, read_study
from CSRDDenoiseLib.readers.table import read_table

CASES = [f"case{i}" for i in range(24)]


def plan(kind=PREFERENCE, **changes):
    return plan_readings(CASES, ["t1", "t2"], METHODS, PlanOptions(kind, **{"readers": 4, "seed": 5, **changes}))


def counted(showings):
    return [each for each in showings if not each.training and not each.repeat]


@pytest.mark.parametrize("kind", [PREFERENCE, RATING])
def test_every_reader_sees_every_case_in_every_way_once_and_training_first(kind):
    for showings in plan(kind):
        assert Counter((each.case, frozenset(each.methods)) for each in counted(showings)).most_common(1)[0][1] == 1
        assert len(counted(showings)) == 24 * 3
        assert [each.training for each in showings[:3]] == [True, True, False]
        assert all(a.block <= b.block for a, b in zip(showings, showings[1:]))


@pytest.mark.parametrize("kind", [PREFERENCE, RATING])
def test_a_case_comes_back_only_in_another_block(kind):
    for showings in plan(kind):
        blocks = Counter((each.case, each.block) for each in showings if not each.training)
        assert max(blocks.values()) == 1


def test_sides_are_balanced_within_a_reader_and_mirrored_in_the_next():
    readings = plan()
    for showings in readings:
        left = Counter(each.methods for each in counted(showings))
        assert len(left) == 6
        assert set(left.values()) == {12}
    first, second = ({(e.case, frozenset(e.methods)): e.methods for e in counted(r)} for r in readings[:2])
    assert all(first[shown] == second[shown][::-1] for shown in first)


def test_methods_are_spread_over_blocks_and_readers():
    for showings in plan(RATING):
        assert set(Counter((each.methods, each.block) for each in counted(showings)).values()) == {8}
    blocks = {(e.case, e.methods, e.block) for r in plan(RATING, readers=3) for e in counted(r)}
    assert len(blocks) == 24 * 3 * 3


def test_repeats_come_last_with_their_sides_changed():
    for showings in plan(repeats=0.25):
        repeats = [each for each in showings if each.repeat]
        assert len(repeats) == 18
        assert all(each.block == 4 for each in repeats)
        shown = {(each.case, each.methods) for each in counted(showings)}
        assert all((each.case, each.methods[::-1]) in shown for each in repeats)


def test_the_seed_alone_decides():
    assert plan(seed=1) == plan(seed=1)
    assert plan(seed=1) != plan(seed=2)
    orders = {tuple(each.case for each in counted(showings)) for showings in plan()}
    assert len(orders) == 4


@pytest.mark.parametrize(
    "changes", [{"readers": 0}, {"repeats": 1.5}, {"blocks": -1}, {"blocks": 9}], ids=lambda changes: str(changes)
)
def test_impossible_plans_are_refused(changes):
    with pytest.raises(InputError):
        plan(**changes)


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path, mr=True)


def test_nothing_in_the_folder_names_a_case_a_method_or_a_patient(tmp_path, table):
    _, _, folder = make_study(tmp_path, table)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) == 6 * 4 + 2
    for path in paths:
        assert re.fullmatch(r"[0-9a-f]{12}\.nii|study\.json|checksums\.sha256", path.name)
        content = path.read_bytes().lower()
        assert not [word for word in (b"doe", b"denoised", b"low dose", b"full", b"repeat") if word in content], path


def test_sizes_and_times_of_images_reveal_nothing(tmp_path, table):
    _, _, folder = make_study(tmp_path, table)
    stats = [path.stat() for path in (folder / "images").iterdir()]
    assert len({(stat.st_size, stat.st_mtime) for stat in stats}) == 1


def test_copies_keep_values_and_geometry_and_no_header(tmp_path, table):
    _, key, folder = make_study(tmp_path, table)
    for file, (case, method) in key.images.items():
        source = sitk.ReadImage(str(tmp_path / f"doe_{case[-1]}_{method}.nii.gz"))
        copy = sitk.ReadImage(str(folder / "images" / file))
        assert np.array_equal(sitk.GetArrayFromImage(copy), sitk.GetArrayFromImage(source))
        np.testing.assert_allclose(copy.GetOrigin(), source.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(copy.GetDirection(), source.GetDirection(), atol=1e-6)
        header = nibabel.load(folder / "images" / file).header
        assert not bytes(header["descrip"]).strip(b"\0")
        assert not bytes(header["intent_name"]).strip(b"\0")
        assert not header.extensions


def test_a_case_has_one_window_and_one_centre(tmp_path, table):
    study, key, _ = make_study(tmp_path, table, kind=PREFERENCE)
    looks = {}
    for reading in study.readings:
        for trial in reading.trials:
            case = key.trials[trial.id].case
            assert looks.setdefault(case, (trial.window, trial.centre, trial.mr)) == (
                trial.window,
                trial.centre,
                trial.mr,
            )
            assert len(trial.images) == 2
    assert len(looks) == 6
    assert all(window[0] == 0 and 900 < window[1] < 1600 for window, _, _ in looks.values())


def test_checksums_find_a_change(tmp_path, table):
    study, _, folder = make_study(tmp_path, table)
    names = [f"images/{name}" for name in study.readings[0].trials[0].images]
    check_files(folder, ["study.json", *names])
    path = folder / names[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="changed"):
        check_files(folder, names)


def test_the_same_seed_makes_the_same_study(tmp_path, table):
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(make_study(tmp_path / name, table)[:2])
    assert made[0][0] == made[1][0]
    assert made[0][1].images == made[1][1].images


def test_different_grids_nan_and_missing_truth_are_refused(tmp_path, table):
    write_image(np.ones((6, 10, 11)), tmp_path / "doe_1_low.nii.gz")
    with pytest.raises(InputError, match="different grids"):
        make_study(tmp_path, table)
    write_image(np.full((6, 10, 12), np.nan), tmp_path / "doe_1_low.nii.gz")
    with pytest.raises(InputError, match="NaN"):
        make_study(tmp_path, table)
    assert not (tmp_path / "study").exists()
    assert not (tmp_path / "study-key.json").exists()
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("\t0\n", "\t\n"), encoding="utf-8")
    with pytest.raises(InputError, match="truth"):
        make_study(tmp_path, table, scales=("lesion",))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("case\t", "name\t"),
        ("Doe_1\t", "Doe_0\t"),
        ("doe_1_low", "doe_9_low"),
        ("\t1\n", "\tperhaps\n"),
        ("Doe_1\t", '"' + 200_000 * "x"),
    ],
    ids=("no case", "doubled", "no file", "no flag", "open quote"),
)
def test_bad_tables_are_refused(table, old, new):
    table.write_text(table.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(InputError):
        read_table(table)


def test_command_line(tmp_path, table, capsys):
    study, key = tmp_path / "study", tmp_path / "safe.json"
    command = ["readers", "design", str(table), "--output", str(study), "--readers", "2", "--kind", "2afc"]
    assert main([*command, "--key", str(study / "key.json")]) == 2
    assert not study.exists()
    assert main([*command, "--key", str(key), "--methods", "low", "denoised", "--ties"]) == 0
    assert "Keep" in capsys.readouterr().out
    assert read_key(key).methods == ("low", "denoised")
    assert read_study(study).scales[0].labels[-1] == "no difference"
    assert main([*command, "--key", str(tmp_path / "other.json")]) == 2
    assert not key_path_of(study).exists()


def test_a_table_that_marks_its_training_cases_loses_no_other(tmp_path, table):
    rows = table.read_text(encoding="utf-8").splitlines()
    marked = [f"{rows[0]}\ttraining", *(f"{row}\t{int(number == 0)}" for number, row in enumerate(rows[1:]))]
    table.write_text("\n".join(marked) + "\n", encoding="utf-8")
    command = ["readers", "design", str(table), "--seed", "3"]
    for name, words, expected in (("a", [], 1), ("b", ["--training", "2"], 3)):
        assert main([*command, "--output", str(tmp_path / name), *words]) == 0
        trials = read_key(tmp_path / f"{name}-key.json").trials.values()
        assert len({each.case for each in trials if each.training}) == expected


def read_to_end(session, now, minutes=1):
    while session.trial is not None and not session.waits(now):
        session.record({scale.name: 3 for scale in session.study.scales}, 4.26, now)
        now += timedelta(minutes=minutes)
    return now


def test_a_session_goes_on_where_it_was_killed_and_keeps_the_washout(tmp_path, table):
    study, _, folder = make_study(tmp_path, table, washout_days=7)
    path = folder / answers_name("R1")
    session = Session(study, "R1", path, "test")
    assert (session.done, session.total) == (0, 1 + 5 * 3 + 3)
    session.record({scale.name: 2 for scale in study.scales}, 1.0, BEGIN)
    again = Session(study, "R1", path, "test")
    assert again.done == 1
    assert again.trial.id == study.reading("R1").trials[1].id
    now = read_to_end(again, BEGIN)
    assert again.trial.block == 2
    assert again.waits(now + timedelta(days=6, hours=23))
    assert not again.waits(now + timedelta(days=7))
    for _ in range(3):
        now = read_to_end(again, now + timedelta(days=8))
    assert again.trial is None
    assert len(read_answers(path, study).answers) == again.total
    with pytest.raises(InputError):
        again.record({}, 1.0)


def test_a_failed_save_keeps_the_answers_before(tmp_path, table, monkeypatch):
    study, _, folder = make_study(tmp_path, table)
    path = folder / answers_name("R1")
    session = Session(study, "R1", path)
    values = {scale.name: 2 for scale in study.scales}
    session.record(values, 1.0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space"):
        session.record(values, 1.0)
    assert session.done == 1
    assert len(read_answers(path, study).answers) == 1
    assert not list(folder.glob(".*partial"))
    monkeypatch.undo()
    session.take_back()
    assert Session(study, "R1", path).done == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=9),
        lambda content: content.update(study="another"),
        lambda content: content.update(reader="R9"),
        lambda content: content["answers"].append(content["answers"][0]),
        lambda content: content["answers"][0]["values"].update(noise=6),
        lambda content: content["answers"][0].update(at="yesterday"),
        lambda content: content["answers"][0].pop("seconds"),
    ],
)
def test_damaged_answers_are_refused(tmp_path, table, change):
    study, _, folder = make_study(tmp_path, table)
    path = folder / answers_name("R1")
    Session(study, "R1", path).record({scale.name: 2 for scale in study.scales}, 1.0)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError):
        read_answers(path, study)


def test_a_full_disk_leaves_neither_a_study_nor_a_key(tmp_path, capsys):
    """The library that writes the images does not notice it; what is small would still fit."""
    rng = np.random.default_rng(0)
    for name in ("a_full", "a_low", "b_full", "b_low"):
        write_image(rng.random((32, 32, 32)), tmp_path / f"{name}.nii.gz")
    rows = ["case\tfull\tlow", *(f"{case}\t{case}_full.nii.gz\t{case}_low.nii.gz" for case in "ab")]
    (tmp_path / "table.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = ["readers", "design", str(tmp_path / "table.tsv"), "--output", str(tmp_path / "study"), "--training", "0"]
    with full_disk(100_000):
        assert main(command) == 2
    assert "Nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.glob("*study*")) and not list(tmp_path.glob(".*"))
    assert main(command) == 0


def test_a_key_that_cannot_be_written_whole_is_not_left(tmp_path, table, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space"):
            make_study(tmp_path, table)
    assert not list(tmp_path.glob("*study*"))


@pytest.mark.parametrize("days", ["nan", "inf", "1e9", "-1"])
def test_a_washout_that_no_calendar_has_is_refused(tmp_path, table, capsys, days):
    """The page cannot read NaN from JSON, and a session ends with an error at its second block."""
    assert main(["readers", "design", str(table), "--output", str(tmp_path / "s"), f"--washout-days={days}"]) == 2
    assert "0 to 3650" in capsys.readouterr().err and not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["power", "--endpoint", "roc", "--reader-variance", "nan"],
        ["power", "--endpoint", "noninferiority", "--margin", "nan"],
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path, table, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main(["readers", *words]) == 2
    assert "Internal error" not in capsys.readouterr().err and not (tmp_path / "s").exists()
