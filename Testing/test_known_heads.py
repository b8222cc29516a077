"""Heads that a model was trained with, or that are kept for a test: they are reported, or left out."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from pair_folder import row_of, write_rows, write_subject
from tiny_model import change_metadata, save_tiny_model

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import Model, load_model
from CSRDDenoiseLib.research.adaptation import adapt as adaptation
from CSRDDenoiseLib.research.adaptation.adapt import Job, adapt
from CSRDDenoiseLib.research.adaptation.facts import Changes, training_facts
from CSRDDenoiseLib.research.adaptation.prepared import PreparedPairs, PreparedRow
from CSRDDenoiseLib.research.adaptation.settings import AdaptSettings
from CSRDDenoiseLib.research.validation.run import Subject
from CSRDDenoiseLib.research.validation.subject import Plan
from CSRDDenoiseLib.settings import settings_from_preset
from CSRDDenoiseLib.subjects.checksum import checksum
from CSRDDenoiseLib.subjects.judge import judge_together
from CSRDDenoiseLib.subjects.table import Row, read_table

CODE = "pair.trained_on"


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> tuple[Row, ...]:
    folder = tmp_path_factory.mktemp("scans")
    for number, name in enumerate("ABC"):
        write_subject(folder, name, number)
    found = read_table(write_rows(folder / "pairs.tsv", [row_of(name, labels=None, lesions=None) for name in "ABC"]))
    # the phantoms have one MR
    return tuple(replace(row, mr=None) for row in found.checked().rows)


def model_of(folder: Path, *known: Path) -> Model:
    """A model that was adapted to the images."""
    save_tiny_model(folder, mean_from="zero")
    data = [checksum(path) for path in known]
    change_metadata(folder, training={"steps": 3, "adapted": {"subjects": 1, "data_sha256": data}})
    return load_model(folder, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("column", ["low", "full"])
def test_a_validation_reports_scans_that_a_model_was_trained_with(rows, tmp_path, column):
    models = {"ours": model_of(tmp_path / "ours", rows[0].files[column]), "other": model_of(tmp_path / "other")}
    plan = Plan(models, settings_from_preset("fast", device="cpu"), ())
    known, new = (Subject(row.subject, (row,)).load(plan)[0].findings for row in rows[:2])
    (found,) = [each for each in known if each.code == CODE]
    assert found.is_warning and (found.values["model"], found.values["columns"]) == ("ours", column)
    assert CODE not in {each.code for each in new}


def begun(rows: tuple[Row, ...], start: Model, folder: Path, monkeypatch) -> Job:
    """An adaptation that ends before its folds."""
    job = Job(rows, start, folder / "adapted", folder / "work", AdaptSettings(minutes=3))

    def planned(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adaptation, "_judged", planned)
    with pytest.raises(KeyboardInterrupt):
        adapt(job)
    return job


@pytest.mark.slow
@pytest.mark.parametrize("known", [0, 1])
def test_an_adaptation_warns_of_subjects_that_the_start_was_trained_with(rows, tmp_path, monkeypatch, caplog, known):
    start = model_of(tmp_path / "start", *[row.low for row in rows[:known]])
    with caplog.at_level(logging.WARNING):
        begun(rows, start, tmp_path, monkeypatch)
    assert ("1 of the 3 subjects" in caplog.text) == bool(known)


def test_one_mr_of_two_subjects_is_a_warning(rows):
    seen = [(replace(rows[0], subject=name), {"mr": mr, "low": f"low {name}"}) for name, mr in zip("ABCC", "1211")]
    found = list(judge_together(seen))
    assert [(each.code, each.is_warning) for each in found] == [("table.same_mr", True)]
    assert (found[0].values["subject"], found[0].values["other"]) == ("C", "A")


@pytest.mark.slow
def test_an_adaptation_leaves_out_subjects_that_are_kept_for_a_test(rows, tmp_path, monkeypatch):
    fourth = replace(rows[0], subject="D", low=tmp_path / "not there.nii.gz", split="test")
    parts = [replace(row, split=split) for row, split in zip(rows, ("train", "train", "validation"))]
    job = begun((*parts, fourth), model_of(tmp_path / "start"), tmp_path, monkeypatch)
    assert len(list((job.work / "pairs").glob("*.npy"))) == 3
    with pytest.raises(InputError, match="2 subject"):
        adapt(replace(job, rows=(*parts[:2], fourth)))


def test_a_second_adaptation_keeps_the_scans_of_the_first(tmp_path):
    start = replace(model_of(tmp_path / "start").metadata, training={"adapted": {"data_sha256": ["first"]}})
    prepared = PreparedPairs(tmp_path, (PreparedRow("A", 0.25, False, ("low", "full")),))
    facts = training_facts(start, AdaptSettings(), prepared, (), Changes(-0.1, -0.1), "cpu")
    assert replace(start, training=facts).data_sha256 == {"first", "low", "full"}
    assert not replace(start, training={"data_sha256": "text", "pairs": [{"data_sha256": ["x"]}, 3]}).data_sha256
