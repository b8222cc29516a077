"""A cohort that is run once more: what may be replaced, who is waited for, what its page says; files that are odd."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_folder import write_cohort
from conftest import as_image, head_array
from dicom_series import one_slice, save
from dynamic_study import write_study

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster import work
from CSRDDenoiseLib.cluster.cohort import run as cohort_run
from CSRDDenoiseLib.cluster.cohort import task
from CSRDDenoiseLib.cluster.cohort.rows import Row
from CSRDDenoiseLib.cluster.cohort.scans import Choices, scans_of_table
from CSRDDenoiseLib.cluster.cohort.sizes import UNKNOWN_MM, extent_of
from CSRDDenoiseLib.cluster.cohort.state import State
from CSRDDenoiseLib.cluster.jobs import Job
from CSRDDenoiseLib.cluster.model_key import ModelKey, key_of_model
from CSRDDenoiseLib.cluster.open import Where
from CSRDDenoiseLib.cluster.parcels import Parcel, pack_inputs, unpack
from CSRDDenoiseLib.cluster.remote import receive
from CSRDDenoiseLib.cluster.work import Done
from CSRDDenoiseLib.commands.cohort import _end
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.dynamic.result import DENOISED, DynamicResult, FrameOutcome
from CSRDDenoiseLib.errors import Cancelled, InputError, NotComplete, PlaceError
from CSRDDenoiseLib.findings import warning
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.volume import Frame
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.run.request import FileRequest
from CSRDDenoiseLib.settings import DenoiseSettings

SETTINGS = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", precision="float32")
MODEL = ModelKey("tiny", "/nowhere", "0" * 64)


def test_other_settings_replace_nothing_at_the_second_time_either(tmp_path, model_folder):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out" / "a" / "denoised.nii.gz")
    model, key = load_model(model_folder, "cpu"), key_of_model(model_folder)

    def done_before(settings: DenoiseSettings) -> bool:
        job = Job.of("a", request, settings, key)
        return task._shared(job, model, lambda _progress: True, tmp_path / "out").done_before

    assert not done_before(SETTINGS)
    before = request.output.read_bytes()
    for _ in range(2):
        with pytest.raises(InputError, match="exists already"):
            done_before(replace(SETTINGS, keep_above_mm=3.0))
    assert request.output.read_bytes() == before and done_before(SETTINGS)


@pytest.mark.parametrize("former", [True, False])
def test_what_a_run_that_failed_left_as_it_was_is_still_done(tmp_path, model_folder, former):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out" / "a" / "denoised.nii.gz", overwrite=True)
    model, key = load_model(model_folder, "cpu"), key_of_model(model_folder)
    job, again = (Job.of("a", request, each, key) for each in (SETTINGS, replace(SETTINGS, keep_above_mm=3.0)))

    def ends(_progress) -> bool:
        if not former:
            # another cohort into the same folder is ready first
            task._shared(job, model, lambda _progress: True, tmp_path / "out")
        return False

    if former:
        assert not task._shared(job, model, lambda _progress: True, tmp_path / "out").done_before
    with pytest.raises(Cancelled):
        task._shared(again, model, ends, tmp_path / "out")
    assert task._shared(job, model, lambda _progress: True, tmp_path / "out").done_before


def test_a_folder_that_was_moved_or_copied_resumes_from_its_own_files(tmp_path, model_folder):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    model, key = load_model(model_folder, "cpu"), key_of_model(model_folder)

    def run(folder: Path) -> tuple[bool, list[bool]]:
        request = FileRequest(tmp_path / "pet.nii.gz", folder / "a" / "denoised.nii.gz")
        answer = task._shared(Job.of("a", request, SETTINGS, key), model, lambda _progress: True, folder)
        paths = [answer.row.record, *answer.row.outputs.values()]
        return answer.done_before, [folder in Path(path).parents and Path(path).exists() for path in paths]

    assert run(tmp_path / "first") == (False, [True, True])
    (tmp_path / "first").rename(tmp_path / "moved")
    assert run(tmp_path / "moved") == (True, [True, True])
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert run(tmp_path / "copy") == (True, [True, True])
    shutil.rmtree(tmp_path / "copy" / "a")
    assert run(tmp_path / "copy") == (False, [True, True])


class Sessions:
    """Connections to a scheduler that ends after hours of the first one, while no scan is over."""

    def __init__(self, monkeypatch, back):
        self.now, self.opened, self.back = 0.0, 0, back
        monkeypatch.setattr(cohort_run, "_Session", lambda *_: self)
        monkeypatch.setattr(cohort_run, "open_client", self.open)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(cohort_run, "time", clock)
        self.seen = 0.0

    def sleep(self, _seconds: float) -> None:
        self.now += 10

    @contextmanager
    def open(self, _where, _plan):
        self.opened += 1
        if self.opened > 1 and (self.back is None or self.opened < self.back):
            raise PlaceError("Nothing answers.")
        yield None

    def run(self, left):
        if self.opened == 1:
            self.now += 3600
            self.seen = self.now
            raise PlaceError("The connection was lost.")
        yield from list(left)


@pytest.mark.parametrize("back", [10, None])
def test_a_scheduler_that_ends_during_a_long_scan_is_waited_for(monkeypatch, back):
    sessions = Sessions(monkeypatch, back)
    cohort = SimpleNamespace(scans=[None])
    state = SimpleNamespace(active={})

    def run() -> None:
        cohort_run.run_cohort(cohort, Where("tcp://127.0.0.1:1"), tuple, state, lambda *_: None)

    if back is None:
        with pytest.raises(PlaceError, match="Nothing answers"):
            run()
        assert sessions.now == pytest.approx(3600 + cohort_run.RECONNECT_SECONDS, abs=11)
    else:
        run()
        assert sessions.opened == back


def test_warnings_of_single_frames_are_on_the_page():
    record = SimpleNamespace(findings=(warning("device.fallback", device="mps", reason="none"),))
    frame = FrameOutcome(2, Frame(0.0, 60.0), DENOISED, record=record)
    result = DynamicResult(SETTINGS, None, (frame,), (0,), (), {}, {}, {})
    row = task.row_of(Job("a", {}, {}, {}, MODEL), Done(result))
    assert row.codes == ("device.fallback",) and len(row.warnings) == 1 and "Frame 3" in row.warnings[0]


def test_report_of_a_dynamic_pet_is_worded_for_who_asked(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(work, "denoise_dynamic", lambda *_args, **options: asked.update(options))
    job = Job("a", {}, {}, SETTINGS.as_dict(), MODEL, edge="slicer")
    work._result(job, FileRequest(tmp_path / "pet.nii", tmp_path / "out.nii", frames="1"), None, None)
    assert asked["edge"] == "slicer"


@pytest.mark.parametrize("content", [{}, {"README.txt": b"x" * 200}, {"a.dcm": bytes(128) + b"DICMnonsense"}])
def test_size_of_a_folder_that_holds_no_series_is_a_usual_one(tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).write_bytes(text)
    assert extent_of(tmp_path) == UNKNOWN_MM


def test_size_of_a_series_comes_from_a_file_of_it(tmp_path):
    (tmp_path / "README.txt").write_text("x" * 200, encoding="utf-8")
    data = one_slice(0)
    data.SliceThickness = 3
    save(data, tmp_path / "z.dcm")
    assert extent_of(tmp_path) == (8 * 2.0, 10 * 2.5, 2 * 3.0)
    data.SliceThickness = None
    save(data, tmp_path / "z.dcm")
    assert extent_of(tmp_path) == UNKNOWN_MM


def test_series_of_an_index_goes_as_its_folder(tmp_path):
    study = tmp_path / "study"
    (study / "IMAGES").mkdir(parents=True)
    for index in range(6):
        save(one_slice(index), study / "IMAGES" / f"{index}.dcm")
    (study / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    paths = unpack(pack_inputs({"pet": study / "DICOMDIR"}), tmp_path / "there")
    here, there = (sitk.GetArrayFromImage(read(path, "PET").image) for path in (study / "DICOMDIR", paths["pet"]))
    np.testing.assert_array_equal(here, there)


def test_options_that_would_be_ignored_are_refused(tmp_path, model_folder, capsys):
    table: Path = write_cohort(tmp_path / "in", 1)
    words = ["cohort", "--output", str(tmp_path / "out"), "--model", str(model_folder)]
    for more, said in (
        ([str(table), "--participant-label", "01"], "--participant-label"),
        (["--bids", str(tmp_path), "--maps", "difference", "support"], "'support'"),
    ):
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    words = ["denoise", "--pet", str(tmp_path / "in" / "pet00.nii.gz"), "--output", str(tmp_path / "o.nii")]
    assert main([*words, "--participant-label", "01"]) == 2
    assert "--participant-label" in capsys.readouterr().err


def test_what_failed_is_said_also_where_table_and_page_cannot_be_written(tmp_path, capsys):
    (tmp_path / "cohort.html").mkdir()
    scans = [SimpleNamespace(name=name) for name in ("a", "b")]
    rows = {"a": Row("a", status="done"), "b": Row("b", status="failed", error="Error 17.")}
    cohort = SimpleNamespace(scans=scans, folder=tmp_path, model=MODEL)
    with pytest.raises(NotComplete):
        _end(State(2, rows=rows), cohort, Where(None))
    said = capsys.readouterr().err
    assert "b: Error 17." in said and "1 of 2" in said


@pytest.mark.parametrize("comes", [False, True])
def test_sidecar_of_a_former_dynamic_result_goes_where_files_come_back(tmp_path, comes):
    (tmp_path / "out.json").write_text('{"CSRDDenoise": {}, "Units": "Bq/mL"}', encoding="utf-8")
    (tmp_path / "pet.nii.gz").write_bytes(b"image")
    sidecar = {"output/out.json": b'{"CSRDDenoise": {}, "Units": "kBq/mL"}'} if comes else {}
    request = FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out.nii.gz", overwrite=True)
    receive(Parcel({"output/out.nii.gz": b"image", **sidecar}), request)
    assert (tmp_path / "out.nii.gz").read_bytes() == b"image"
    assert [path.read_bytes() for path in tmp_path.glob("*.json")] == list(sidecar.values())


def test_choice_of_frames_is_for_the_dynamic_pets_of_a_table(tmp_path):
    table = write_cohort(tmp_path, 2)
    write_study(tmp_path / "pet01.nii", np.array([head_array(seed=index) for index in range(3)]))
    table.write_text(table.read_text(encoding="utf-8").replace("pet01.nii.gz", "pet01.nii"), encoding="utf-8")
    scans = scans_of_table(table, Choices(tmp_path / "out", SETTINGS, frames="2-"))
    assert [scan.request.frames for scan in scans] == [None, "2-"]
