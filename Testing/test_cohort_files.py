"""Files of a cohort: names that no scan can have, files of the user's, folders that are links or not UTF-8, DICOM."""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from bids_dataset import write_dataset
from cohort_folder import write_cohort
from conftest import as_image, head_array
from dicom_series import write_head

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.cluster import work
from CSRDDenoiseLib.cluster.cohort import task
from CSRDDenoiseLib.cluster.cohort.rows import DONE, FAILED, LOCK, Row
from CSRDDenoiseLib.cluster.cohort.scans import LONGEST_NAME, Choices, scans_of_table
from CSRDDenoiseLib.cluster.cohort.state import State
from CSRDDenoiseLib.cluster.cohort.summary import check_summary, write_summary
from CSRDDenoiseLib.cluster.cohort.thumbnail import write_thumbnail
from CSRDDenoiseLib.cluster.jobs import Job
from CSRDDenoiseLib.cluster.model_key import ModelKey, key_of_model
from CSRDDenoiseLib.cluster.models import ModelStore
from CSRDDenoiseLib.cluster.open import Where
from CSRDDenoiseLib.cluster.places import connect
from CSRDDenoiseLib.cluster.work import Done
from CSRDDenoiseLib.commands.cohort import _end
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import SOME_FAILED, CSRDError, InputError, is_disk_full
from CSRDDenoiseLib.findings import info
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.write import all_or_nothing
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import DenoiseSettings

SETTINGS = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
MODEL = ModelKey("tiny", "/nowhere", "0" * 64)


def test_a_cohort_in_the_folder_of_another_that_is_at_work_is_refused(tmp_path, model_folder):
    table, output = write_cohort(tmp_path, 1), tmp_path / "out"
    with alone(output / LOCK, "A cohort", output):
        assert main(["cohort", str(table), "--output", str(output), "--model", str(model_folder)]) == 2
    assert not [path for path in output.rglob("*") if path.is_file()]


def test_a_cohort_of_some_beside_one_of_all_is_refused(tmp_path, model_folder, mr):
    root, output = write_dataset(tmp_path / "raw", mr), tmp_path / "out"
    words = ["cohort", "--bids", str(root), "--output", str(output), "--model", str(model_folder)]
    for held, chosen in ((LOCK, ["--participant-label", "sub-01"]), (f"{LOCK}-02", [])):
        with alone(output / held, "A cohort", output):
            assert main([*words, *chosen]) == 2
    assert not output.exists()


def test_a_refused_cohort_of_a_bids_dataset_writes_nothing(tmp_path, model_folder, mr, monkeypatch, capsys):
    monkeypatch.setattr("CSRDDenoiseLib.cluster.open.connect", partial(connect, seconds=0.2))
    root, output = write_dataset(tmp_path / "raw", mr), tmp_path / "new" / "out"
    words = ["cohort", "--bids", str(root), "--output", str(output), "--model", str(model_folder)]
    assert main([*words, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err and not output.parent.exists()


# -- names, and files of the user's


@pytest.mark.parametrize("name", ["cohort.tsv", "cohort.html"])
def test_a_table_or_a_page_that_no_cohort_wrote_stays(tmp_path, model_folder, capsys, name):
    table = write_cohort(tmp_path, 1)
    own = table.rename(tmp_path / name)
    before = own.read_bytes()
    table = own if name == "cohort.tsv" else write_cohort(tmp_path, 1)
    assert main(["cohort", str(table), "--output", str(tmp_path), "--model", str(model_folder)]) == 2
    assert name in capsys.readouterr().err and own.read_bytes() == before and not (tmp_path / "cohort").exists()


def test_table_and_page_of_a_former_run_are_replaced(tmp_path):
    for _ in range(2):
        check_summary(tmp_path)
        write_summary([Row("a", status=FAILED, error="no head")], tmp_path, {})


@pytest.mark.parametrize("name", ["cohort.html", "Cohort.TSV", "x" * (LONGEST_NAME + 1), "ä" * 111])
def test_names_that_files_of_a_scan_cannot_have_are_refused(tmp_path, name):
    table = write_cohort(tmp_path, 1)
    table.write_text(table.read_text(encoding="utf-8").replace("\n00\t", f"\n{name}\t"), encoding="utf-8")
    with pytest.raises(InputError, match=name[:12]):
        scans_of_table(table, Choices(tmp_path / "out", SETTINGS))


def test_the_longest_name_is_denoised(tmp_path, model_folder):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    name, model = "x" * LONGEST_NAME, load_model(model_folder, "cpu")
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / name / "denoised.nii.gz")
    job = Job.of(name, request, SETTINGS, key_of_model(model_folder))
    assert task._shared(job, model, lambda _progress: True, tmp_path).row.status == DONE


# -- folders


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_paths_of_the_table_are_those_below_the_folder_also_where_it_is_a_link(tmp_path):
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "deeper").mkdir()
    link = tmp_path / "deeper" / "link"
    link.symlink_to(tmp_path / "real", target_is_directory=True)
    # as a run writes them, and as they are read from the row
    for folder in (tmp_path.resolve() / "real", link):
        outputs = {"denoised": str(folder / "a" / "denoised.nii.gz")}
        table, _ = write_summary([Row("a", status=DONE, outputs=outputs)], link, {})
        (row,) = csv.DictReader(table.read_text(encoding="utf-8").splitlines(), delimiter="\t")
        assert row["denoised"] == "a/denoised.nii.gz"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are text")
def test_a_folder_whose_name_is_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_thumbnail(as_image(head_array()), as_image(head_array(seed=1)), folder / "a.png")
    assert (folder / "a.png").stat().st_size
    table, page = write_summary([Row("a", status=FAILED, error=f"'{folder}' is damaged.")], folder, {})
    assert all("caf\\udce9" in path.read_text(encoding="utf-8") for path in (table, page))


def test_where_table_and_page_cannot_be_written_the_exit_code_is_that_of_some(tmp_path):
    (tmp_path / "cohort.html").mkdir()
    cohort = SimpleNamespace(scans=[SimpleNamespace(name="a")], folder=tmp_path, model=MODEL)
    with pytest.raises(CSRDError) as caught:
        _end(State(1, rows={"a": Row("a", status=DONE)}), cohort, Where(None))
    assert caught.value.exit_code == SOME_FAILED and "Nothing was written" not in str(caught.value)


def test_a_full_disk_is_named_by_the_worker(tmp_path, monkeypatch):
    store = SimpleNamespace(use_threads=lambda: None, load=lambda *_: None)
    about = SimpleNamespace(address="here", get_current_task=lambda: "a", log_event=lambda *_: None)
    monkeypatch.setattr(work, "get_worker", lambda: about)
    monkeypatch.setattr(work, "store_of", lambda _worker: store)

    def full(*_):
        raise RuntimeError("ITK ERROR: PNGImageIO(0x1): error while writing. Reason: No space left on device")

    job = Job.of("a", FileRequest(tmp_path / "pet.nii", tmp_path / "out.nii"), SETTINGS, MODEL)
    assert is_disk_full(work.doing(job.as_message(), "topic", full).error)


# -- DICOM


def test_a_dicom_series_of_a_former_run_is_replaced_and_nothing_else(tmp_path, model_folder):
    pet, model, key = write_head(tmp_path / "pet"), load_model(model_folder, "cpu"), key_of_model(model_folder)
    output = tmp_path / "out" / "a" / "denoised"
    request = FileRequest(pet, output, format="dicom", difference=output.with_name("difference"))

    def done(request: FileRequest, **settings) -> np.ndarray:
        job = Job.of("a", request, replace(SETTINGS, **settings), key)
        task._shared(job, model, lambda _progress: True, tmp_path / "out")
        return sitk.GetArrayFromImage(read(output, "result").image)

    first = done(request)
    with pytest.raises(InputError):
        done(request, keep_above_mm=0.0)
    second = done(replace(request, overwrite=True), keep_above_mm=0.0)
    assert not np.allclose(first, second, rtol=1e-3) and len(list(output.iterdir())) == 24
    # the row is of a run that was ended before it could write it
    row = tmp_path / "out" / "cohort" / "rows" / "a.json"
    row.write_text(row.read_text(encoding="utf-8").replace('"done"', '"running"'), encoding="utf-8")
    np.testing.assert_array_equal(done(request, keep_above_mm=0.0), second)
    (output / "notes.txt").write_text("of the user", encoding="utf-8")
    files = {path: path.read_bytes() for path in output.parent.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="not empty"):
        done(replace(request, overwrite=True))
    assert {path: path.read_bytes() for path in output.parent.rglob("*") if path.is_file()} == files


def test_a_folder_that_was_replaced_is_back_where_a_later_output_cannot_be(tmp_path, monkeypatch):
    series, file = write_head(tmp_path / "source"), tmp_path / "record.json"
    monkeypatch.setattr("CSRDDenoiseLib.io.write.is_own_series", lambda folder: True)
    before = {path.name: path.read_bytes() for path in series.iterdir()}
    file.mkdir()
    with pytest.raises(InputError), all_or_nothing([series, file]) as temporary:
        temporary[series].mkdir()
        temporary[file].write_text("{}", encoding="utf-8")
    assert {path.name: path.read_bytes() for path in series.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json", "source"]


def test_a_dicom_series_inside_of_its_input_is_refused(tmp_path, model_folder):
    pet = write_head(tmp_path / "pet")
    words = ["denoise", "--pet", pet, "--output", pet / "denoised", "--model", model_folder, "--preset", "fast"]
    assert main([str(word) for word in words]) == 2
    assert len(list(pet.iterdir())) == 24 and len(list(tmp_path.iterdir())) == 1


# -- rows and records


def test_maps_of_a_former_run_are_gone_before_the_row_of_the_new_one(tmp_path, model_folder, monkeypatch):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "a" / "denoised.nii.gz", overwrite=True)
    model, key, former = load_model(model_folder, "cpu"), key_of_model(model_folder), tmp_path / "a" / "bare.nii.gz"

    def run(request: FileRequest) -> None:
        job = Job.of("a", request, SETTINGS, key)
        task._shared(job, model, lambda _progress: True, tmp_path, {former})

    def ends(_row: Row, _folder: Path) -> None:
        raise KeyboardInterrupt

    run(replace(request, bare=former))
    assert former.exists()
    monkeypatch.setattr(task, "write_row", ends)
    with pytest.raises(KeyboardInterrupt):
        run(request)
    assert not former.exists() and request.output.exists()


def test_offset_is_that_of_the_mr_as_it_was_given(pet, mr, model_folder):
    record = denoise(pet, mr, SETTINGS, model_folder).record
    moved = replace(record, findings=(*record.findings, info("registration.applied", displacement_mm=12.5)))
    rows = [task.row_of(Job("a", {}, {}, {}, MODEL), Done(each)) for each in (record, moved)]
    assert rows[1].offset_mm == 12.5 and rows[0].offset_mm < 5
    assert rows[0].alignment == rows[1].alignment != ""


def test_the_record_names_a_model_that_travelled_where_it_was_asked_for(tmp_path, model_folder):
    key, store = key_of_model(model_folder), ModelStore(tmp_path / "store")
    there = replace(key, folder=str(tmp_path / "not" / "here"))
    store.keep(there, {path.name: path.read_bytes() for path in model_folder.iterdir()})
    assert (
        denoise(as_image(head_array()), settings=SETTINGS, model=store.load(there, "cpu")).record.model.folder
        == there.folder
    )
