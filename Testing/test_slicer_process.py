"""The worker process and the jobs of the Slicer module when something goes wrong, and what they leave behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from slicer_helpers import (
    ENTRY,
    SLICER,
    add_head,
    add_transform,
    add_volume,
    choose,
    click,
    raises_named,
    run_to_end,
    wait_until,
)
from tiny_model import save_tiny_model

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import job, readiness, worker_process  # noqa: E402 (needs the stand-in)

from CSRDDenoiseLib.infer.cost import DeviceSpeed  # noqa: E402

pytestmark = pytest.mark.slow
QUICK = {"device": "cpu", "steps": 1, "samples": 1}


def panel_of():
    return SLICER.modules.csrddenoise.widgetRepresentation().self().panel


def workers() -> int:
    """Return how many worker processes this process has."""
    command = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.count("CSRDDenoiseLib.worker")


def test_logic_that_nobody_holds_leaves_no_process(scene, small_model):
    before = workers()
    made = ENTRY.python.CSRDDenoiseLogic().denoise(add_head("PET"), None, model=small_model, **QUICK)
    assert made.denoisedVolume is not None
    # without a panel too the hidden estimate goes with its result
    scene.RemoveNode(made.denoisedVolume)
    assert wait_until(lambda: scene.GetFirstNodeByName("PET estimate") is None, 5)
    assert wait_until(lambda: workers() == before, 60)


def test_run_of_a_logic_that_nobody_holds_goes_on(scene, small_model):
    finished, before = [], workers()
    ENTRY.python.CSRDDenoiseLogic().start(add_head("PET"), None, model=small_model, onFinished=finished.append, **QUICK)
    gc.collect()
    assert wait_until(lambda: finished or gc.collect() < 0, 60)
    assert wait_until(lambda: workers() == before, 60)


def test_process_that_cannot_start_is_not_started_again_and_again(ui, logic_of, scene, monkeypatch):
    starts, real = [], type(logic_of.worker)._start
    # a test of reloading in the same process reads the modules anew: the one that this logic uses is meant
    monkeypatch.setitem(real.__globals__, "MODULE", "CSRDDenoiseLib.is_not_there")
    monkeypatch.setattr(type(logic_of.worker), "_start", lambda self: (starts.append(1), real(self)))
    logic_of.close()
    ui.petSelector.setCurrentNode(add_head("PET"))
    assert wait_until(lambda: "package" in ui.petInfoLabel.text, 60)
    assert not wait_until(lambda: len(starts) > 2, 1)


def test_place_without_an_interpreter_is_reported_each_time(ui, logic_of, scene, monkeypatch):
    logic_of.close()
    # as on a machine with other work, or with a large volume: a volume is not written within one turn
    monkeypatch.setattr(job, "SECONDS_A_TURN", -1.0)
    monkeypatch.setattr(worker_process.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(worker_process.sys, "executable", "")
    ui.petSelector.setCurrentNode(add_head("PET"))
    logic_of.getParameterNode().place = "tcp://127.0.0.1:1"
    for _ in range(2):
        panel_of().refresh()
        assert "PythonSlicer" in ui.estimateLabel.text and "PythonSlicer" in ui.placeLabel.text
        assert "Looking" not in ui.petInfoLabel.text


def test_estimate_that_a_killed_process_took_along_is_asked_for_again(ui, logic_of, scene, slow_model, monkeypatch):
    asked, send = [], panel_of()._questions._send
    monkeypatch.setattr(
        panel_of()._questions, "_send", lambda request: (asked.append(request["command"]), send(request))
    )
    choose(ui, logic_of, (add_head("PET"), None), slow_model)
    before = asked.count("estimate")
    # it neither measures nor hears of being cancelled
    os.kill(logic_of.worker.processId, signal.SIGSTOP)
    click(ui.applyButton)
    click(ui.applyButton)
    assert wait_until(lambda: ui.applyButton.text == "Apply", 60)
    assert asked.count("estimate") == before + 1


def test_no_place_for_temporary_files_is_one_sentence(ui, logic_of, scene, small_model, monkeypatch):
    choose(ui, logic_of, (add_head("PET"), None), small_model)
    assert wait_until(lambda: "Looking" not in ui.petInfoLabel.text, 30)
    monkeypatch.setattr(tempfile, "tempdir", "/is/not/there")
    click(ui.applyButton)
    assert "/is/not/there" in ui.statusLabel.text and ui.applyButton.text == "Apply"
    ui.batchCollapsibleButton.collapsed = False
    click(ui.addPairButton)
    click(ui.runPairsButton)
    assert wait_until(lambda: ui.pairsTable.item(0, 3).text() == "failed" and ui.applyButton.text == "Apply", 60)


class Listener:
    """Hears of every message, and fails at the first."""

    def __init__(self):
        self.heard, self.ended = [], []

    def take(self, message):
        self.heard.append(message["event"])
        assert len(self.heard) > 1, "a fault of who listens"

    def end(self, sentence, details):
        self.ended.append(sentence)


def test_process_that_cannot_even_be_made_is_reported_once_its_request_is_sent(scene):
    """Qt says so before the start returns, on Windows of every process that cannot start, here without a pipe."""
    import resource

    listener, limits = Listener(), resource.getrlimit(resource.RLIMIT_NOFILE)
    process = worker_process.WorkerProcess(listener.take, listener.end)
    open_files = {int(name) for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")}
    free = next(number for number in range(limits[0]) if number not in open_files)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        process.send({"command": "info"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    # who asks anew when it hears of it would ask without end
    assert not listener.ended and not process.running
    assert wait_until(lambda: listener.ended, 10) and "could not be started" in listener.ended[0]


def test_fault_of_who_hears_of_a_message_loses_no_other(scene, tmp_path, monkeypatch):
    (tmp_path / "two_lines.py").write_text("""print('{"event": "progress"}\\n{"event": "result"}', flush=True)""")
    monkeypatch.setattr(worker_process, "MODULE", "two_lines")
    monkeypatch.setattr(worker_process, "LIBRARY_ROOT", tmp_path)
    listener = Listener()
    worker_process.WorkerProcess(listener.take, listener.end).send({})
    assert wait_until(lambda: listener.ended, 60)
    assert listener.heard == ["progress", "result"]


def remove_each(scene, names) -> None:
    for name in sorted(names):
        scene.RemoveNode(scene.GetFirstNodeByName(name))


def assert_all_leave(scene, remove) -> None:
    """That none of six volumes stays in memory once ``remove`` has taken them from the scene."""
    left = watched()
    assert len(left) == 6
    remove(scene, left)
    SLICER.app.processEvents()
    gc.collect()
    assert not left


@pytest.mark.usefixtures("without_estimate")
@pytest.mark.parametrize("remove", [lambda scene, _names: scene.Clear(0), remove_each], ids=["scene closed", "deleted"])
def test_volumes_that_are_removed_leave_the_memory(ui, logic_of, scene, small_model, remove):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=2, samples=2)
    logic_of.getParameterNode().makeSupport = True
    run_to_end(ui)
    assert_all_leave(scene, remove)


@pytest.mark.usefixtures("without_estimate")
def test_volumes_of_a_row_that_is_done_leave_the_memory(ui, logic_of, scene, small_model):
    choose(ui, logic_of, (add_head("PET"), add_head("MR", seed=1)), small_model, steps=2, samples=2)
    ui.batchCollapsibleButton.collapsed = False
    click(ui.addPairButton)
    click(ui.runPairsButton)
    assert wait_until(lambda: ui.pairsTable.item(0, 3).text() == "done" and ui.applyButton.text == "Apply")
    assert_all_leave(scene, remove_each)
    assert [ui.pairsTable.item(0, column).text() for column in (0, 1, 3)] == ["PET", "MR", "done"]


@pytest.mark.usefixtures("without_estimate")
def test_hidden_estimate_goes_with_its_result(ui, logic_of, scene, small_model):
    choose(ui, logic_of, (add_head("PET"), None), small_model, steps=1, samples=1)
    run_to_end(ui)
    denoised = ui.denoisedSelector.currentNode()
    copy = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "copy")
    copy.Copy(denoised)
    scene.RemoveNode(denoised)
    assert not wait_until(lambda: scene.GetFirstNodeByName("PET estimate") is None, 0.1)
    scene.RemoveNode(copy)
    assert wait_until(lambda: scene.GetFirstNodeByName("PET estimate") is None, 5)


@pytest.mark.usefixtures("without_estimate")
def test_comparison_of_a_pet_that_shows_another_frame_is_reported(ui, logic_of, scene, small_model):
    pet = add_head("PET")
    choose(ui, logic_of, (pet, None), small_model, steps=1, samples=1)
    run_to_end(ui)
    assert ui.statusLabel.text.startswith("Done")
    SLICER.util.updateVolumeFromArray(pet, 2 * SLICER.util.arrayFromVolume(pet))
    click(ui.compareButton)
    assert "another frame" in ui.statusLabel.text


def watched() -> set[str]:
    """Return the names of the volumes of the scene; each leaves the set when its memory is freed."""
    names = set()
    for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        name = node.GetName()
        names.add(name)
        node.AddObserver("DeleteEvent", lambda *_, name=name: names.discard(name))
    return names


@pytest.mark.parametrize("end", ["refused", "killed"])
def test_slider_works_after_another_run_that_came_to_nothing(logic, scene, small_model, slow_model, end):
    result = logic.denoise(add_head("PET"), None, model=small_model, device="cpu", steps=2, samples=2)
    if end == "refused":
        with raises_named("InputError"):
            logic.denoise(add_volume("empty", np.zeros((24, 28, 26), np.float32)), None, model=small_model, **QUICK)
    else:
        job = logic.start(add_head("other", seed=1), None, model=slow_model, device="cpu", steps=20, samples=1)
        assert wait_until(lambda: job._sent)
        job.abort()
        logic.ask({"command": "info", "id": "info"})
    logic.startKeep(result.denoisedVolume, 20.0, result.differenceVolume).wait()
    findings = result.denoisedVolume.GetAttribute("CSRDDenoise.Findings")
    assert "keep.coarse" in findings and "20.0" in findings


def test_maps_of_another_result_are_refused(logic, scene, small_model):
    pet = add_head("PET")
    one, other = (logic.denoise(pet, None, model=small_model, seed=seed, **QUICK) for seed in (0, 1))
    before = SLICER.util.arrayFromVolume(other.differenceVolume).copy()
    with raises_named("InputError", "no difference map of"):
        logic.startKeep(one.denoisedVolume, 20.0, other.differenceVolume).wait()
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(other.differenceVolume), before)
    with raises_named("InputError", "no uncertainty map of"):
        logic.startKeep(other.denoisedVolume, 20.0, uncertaintyVolume=other.differenceVolume)


def test_result_that_was_cropped_is_not_recombined(logic, scene, small_model):
    """What changes is a part of the volume: it would land two slices beside its place."""
    denoised = logic.denoise(add_head("PET"), None, model=small_model, **QUICK).denoisedVolume
    cropped = SLICER.util.arrayFromVolume(denoised)[2:23].copy()
    SLICER.util.updateVolumeFromArray(denoised, cropped)
    for start in (lambda: logic.startKeep(denoised, 0.0, exact=False), lambda: logic.startReport(denoised)):
        with raises_named("InputError", "26 x 28 x 21 .* 26 x 28 x 24"):
            start().wait()
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(denoised), cropped)


@pytest.mark.usefixtures("without_estimate")
@pytest.mark.parametrize("exact", [False, True], ids=["before its maps follow", "while they follow"])
def test_result_left_for_another_has_no_map_of_another_width(ui, logic_of, scene, small_model, exact):
    keep, made = panel_of()._results._keep, []
    for seed in (0, 1):
        choose(ui, logic_of, (add_head(f"PET {seed}", seed=seed), None), small_model)
        run_to_end(ui)
        made.append([each.currentNode() for each in (ui.petSelector, ui.denoisedSelector, ui.uncertaintySelector)])
    for index, (pet, denoised, uncertainty) in enumerate(made):
        ui.petSelector.setCurrentNode(pet)
        ui.denoisedSelector.setCurrentNode(denoised)
        assert ui.uncertaintySelector.currentNode() is uncertainty
        ui.keepSlider.value = 20.0
        if index == 0:
            assert wait_until(lambda: keep._refining.isActive(), 60)
            assert not exact or wait_until(lambda: logic_of._refining is not None, 60)
    assert wait_until(lambda: not keep.following, 60)
    widths = [json.loads(each[1].GetAttribute("CSRDDenoise.Provenance"))["settings"]["keep_above_mm"] for each in made]
    assert widths == [20.0, 20.0]
    # the process holds the last run alone, whose maps follow
    owners = [each[2].GetNodeReference("CSRDDenoise.Denoised") for each in made]
    assert owners[0] is None


@pytest.mark.usefixtures("without_estimate")
def test_comparison_with_a_full_dose_waits_for_the_slider(ui, logic_of, scene, small_model):
    """The numbers of a result belong to its width: what is measured before they follow would go with them."""
    choose(ui, logic_of, (add_head("PET"), None), small_model)
    run_to_end(ui)
    keep = panel_of()._results._keep
    ui.fullDoseSelector.setCurrentNode(add_head("full", seed=2))
    ui.fullDoseCollapsibleButton.collapsed = False
    ui.keepSlider.value = 20.0
    assert wait_until(lambda: keep._refining.isActive(), 60)
    click(ui.fullDoseButton)
    assert wait_until(lambda: not keep.following and not logic_of.busy, 60)
    assert ui.fullDoseTable.rowCount == 0 and "slider" in ui.statusLabel.text
    click(ui.fullDoseButton)
    assert wait_until(lambda: "Compared" in ui.statusLabel.text, 60)
    assert not wait_until(lambda: not ui.fullDoseTable.rowCount, 0.6)


def test_result_refers_to_no_mr_that_left_during_its_run(logic, scene, small_model):
    """A scene that is added to one with a node of that ID would take that node for the MR."""
    mr = add_head("T1", seed=3)
    job = logic.start(add_head("PET"), mr, model=small_model, **QUICK)
    scene.RemoveNode(mr)
    made = job.wait()
    assert made.denoisedVolume.GetNodeReferenceID("CSRDDenoise.MR") is None
    assert made.provenance["inputs"]["mr"]["volume"] == "T1"


def test_no_folder_is_left_when_a_recomputation_is_refused(logic, scene, small_model):
    pet = add_head("PET")
    denoised = logic.denoise(pet, None, model=small_model, **QUICK).denoisedVolume
    SLICER.util.updateVolumeFromArray(pet, 3 * SLICER.util.arrayFromVolume(pet))
    before = set(Path(tempfile.gettempdir()).glob("CSRDDenoise-*"))
    with raises_named("InputError", "changed"):
        logic.startKeep(denoised, 12.0)
    assert set(Path(tempfile.gettempdir()).glob("CSRDDenoise-*")) == before


class PyTorchUtilsLogic:
    """Of Slicer's PyTorch extension, without the Internet: its pip fails."""

    def installTorch(self, torchVersionRequirement=None):
        raise subprocess.CalledProcessError(1, "pip install light-the-torch")


def test_pytorch_that_cannot_be_downloaded_is_one_sentence(ui, logic_of, scene, small_model, monkeypatch):
    choose(ui, logic_of, (add_head("PET"), None), small_model)
    real = readiness.importlib.util.find_spec
    found = {"torch": None, "PyTorchUtils": real("json")}
    monkeypatch.setattr(
        readiness.importlib.util, "find_spec", lambda name: found[name] if name in found else real(name)
    )
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
    click(ui.applyButton)
    assert "PyTorch was not installed" in ui.statusLabel.text and "light-the-torch" in ui.statusLabel.text


@pytest.mark.usefixtures("without_worker")
def test_names_are_no_markup(ui, scene):
    from PySide6 import QtCore

    pet = add_head("PET")
    pet.SetAndObserveTransformNodeID(add_transform(np.eye(4), "<b>moved</b>").GetID())
    ui.petSelector.setCurrentNode(pet)
    assert "'<b>moved</b>'" in ui.petInfoLabel.text
    for label in (ui.petInfoLabel, ui.mrInfoLabel, ui.statusLabel, ui.modelCardLabel, ui.fullDoseInfoLabel):
        assert label._qt.textFormat() == QtCore.Qt.PlainText


def test_a_run_ends_within_two_seconds_of_cancel():
    assert job.GRACE_MILLISECONDS + worker_process.MILLISECONDS_TO_END < 2000


def test_speed_is_that_of_the_weights_and_of_the_pytorch_that_were_timed(ui, logic_of, pair, tmp_path, monkeypatch):
    """A model folder is written anew, and an update of the extension brings another model of the same name."""
    folder, asked = str(save_tiny_model(tmp_path / "tiny")), []
    monkeypatch.setattr(logic_of.worker, "send", asked.append)
    measured = DeviceSpeed(**dict.fromkeys(DeviceSpeed.__dataclass_fields__, 1e6))
    readiness.save_speed("cpu", folder, measured)
    choose(ui, logic_of, pair, folder)
    assert readiness.saved_speed("cpu", folder) == measured and "About" in ui.estimateLabel.text
    asked.clear()
    for seed in (1, 2):
        save_tiny_model(tmp_path / "tiny", seed)
        panel_of().refresh()
        assert readiness.saved_speed("cpu", folder) is None and "About" not in ui.estimateLabel.text
        assert [message["command"] for message in asked] == ["estimate"] * seed
    save_tiny_model(tmp_path / "tiny")
    assert readiness.saved_speed("cpu", folder) == measured
    monkeypatch.setattr(readiness.installed, "version_of", lambda name: "2.99.0+cu999")
    assert readiness.saved_speed("cpu", folder) is None
