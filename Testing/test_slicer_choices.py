"""Choices of a scene that another version saved: what this one does not have gives way to the defaults, in words."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from slicer_helpers import SLICER, add_result, sentences_of

pytest_plugins = ["slicer_fixtures"]

import qt  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule import readiness, wording  # noqa: E402
from CSRDDenoiseModule.nodes import header_files, source_file  # noqa: E402
from CSRDDenoiseModule.parameters import (  # noqa: E402
    DEFAULTS_KEY,
    choices_in,
    replaced,
    save_defaults,
    saved_defaults,
    settings_of,
)
from CSRDDenoiseModule.volumes import write_volume  # noqa: E402

from CSRDDenoiseLib.settings import DenoiseSettings  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_worker")]


def load_with(scene, folder, **settings: str) -> None:
    """Save the scene, close it, and load it with other texts of settings, as another version may have written them."""
    path = folder / "scene.mrml"
    scene.SetURL(str(path))
    assert scene.Commit()
    text = path.read_text(encoding="utf-8")
    for name, value in settings.items():
        text, count = re.subn(rf'"settings\.{name} [^"]*"', f'"settings.{name} {value}"', text)
        assert count == 1
    path.write_text(text, encoding="utf-8")
    scene.Clear(0)
    scene.SetURL(str(path))
    assert scene.Import()


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("sampler", "unipc", "dpmpp"),
        ("precision", "float8", "auto"),
        ("steps", "500", 5),
        ("overlap", "0.95", 0.25),
        ("seed", "-1", 0),
        ("patchSize", "128 128 96", 0),
    ],
)
def test_setting_of_a_later_version_gives_way_to_the_default(
    ui, logic_of, scene, pair, tmp_path, capfd, name, value, default
):
    ui.petSelector.setCurrentNode(pair[0])
    load_with(scene, tmp_path, **{name: value})
    chosen = logic_of.getParameterNode()
    assert getattr(chosen.settings, name) == default and settings_of(chosen)
    assert name in ui.statusLabel.text and value in ui.statusLabel.text
    assert chosen.pet is not None and ui.applyButton.enabled
    chosen.settings.seed = 3
    assert ui.seedSpinBox.value == 3
    assert "Traceback" not in capfd.readouterr().err


def test_settings_that_this_version_has_are_kept(ui, logic_of, scene, pair, tmp_path):
    before = ui.statusLabel.text
    load_with(scene, tmp_path, sampler="heun", precision="bfloat16", steps="200", overlap="0.9", patchSize="512")
    chosen = logic_of.getParameterNode().settings
    assert (chosen.sampler, chosen.precision, chosen.steps, chosen.overlap, chosen.patchSize) == (
        "heun",
        "bfloat16",
        200,
        0.9,
        512,
    )
    assert ui.statusLabel.text == before


def test_finding_of_another_version_is_shown_by_its_code(ui, scene, pair, capfd):
    denoised, _difference = add_result(pair[0], SLICER.util.arrayFromVolume(pair[0]) * np.float32(0.9))
    found = [{"code": "alignment.doubtful", "severity": "warning", "values": {"of_a_later_version": 1}}]
    denoised.SetAttribute("CSRDDenoise.Findings", json.dumps(found))
    ui.petSelector.setCurrentNode(pair[0])
    ui.denoisedSelector.setCurrentNode(denoised)
    assert sentences_of(ui.findingsTable) == ["alignment.doubtful"] and ui.resultsTable.rowCount > 0
    assert "Traceback" not in capfd.readouterr().err


def test_scene_of_an_earlier_version_that_lacks_a_setting_has_its_default(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Choices")
    node.SetParameter("settings.sampler", "heun")
    node.SetParameter("settings.steps", "7")
    chosen = choices_in(node)
    assert settings_of(chosen) == DenoiseSettings("heun", 7) and not replaced(chosen)


@pytest.mark.parametrize("damaged", ["[]", "null", "5", "{", "NaN", 7, ["a", "b"], {"preset": "fast"}], ids=repr)
def test_settings_that_were_damaged_outside_give_way_to_the_defaults(logic, scene, damaged):
    settings, parameters = qt.QSettings(), logic.getParameterNode()
    settings.setValue(DEFAULTS_KEY, damaged)
    assert saved_defaults() == {}
    save_defaults(parameters)
    assert saved_defaults()["device"] == "auto"
    settings.setValue(readiness._key("cpu", "brain", ""), damaged)
    assert readiness.saved_speed("cpu", "brain") is None


def test_damaged_speed_is_measured_anew(scene):
    names = readiness.DeviceSpeed.__dataclass_fields__
    for value in ("fast", None, [1]):
        qt.QSettings().setValue(readiness._key("cpu", "brain", ""), json.dumps(dict.fromkeys(names, value)))
        assert readiness.saved_speed("cpu", "brain") is None


HUGE = pytest.param(10**400, id="huge")


@pytest.mark.parametrize("number", [0, -1, 1e-300, -1e300, float("nan"), float("inf"), HUGE])
def test_a_speed_that_no_device_has_is_measured_anew(ui, logic_of, pair, number):
    names = readiness.DeviceSpeed.__dataclass_fields__
    key = readiness._key("auto", logic_of.getParameterNode().model or "brain", "")
    qt.QSettings().setValue(key, json.dumps(dict.fromkeys(names, number)))
    ui.petSelector.setCurrentNode(pair[0])
    assert readiness.saved_speed("auto", "brain") is None
    assert "Measuring" in ui.estimateLabel.text


def test_a_slow_device_has_an_estimate(scene, pair):
    names = readiness.DeviceSpeed.__dataclass_fields__
    slowest = {**dict.fromkeys(names, 0), **dict.fromkeys(names, 1e-3), "bytes_for_evaluation": 1}
    qt.QSettings().setValue(readiness._key("cpu", "brain", ""), json.dumps(slowest))
    speed = readiness.saved_speed("cpu", "brain")
    assert " h " in readiness.estimate_sentence(speed, pair[0], DenoiseSettings())


@pytest.mark.parametrize("folder", ["x" * 5000, "/no/such", "a\0b"])
def test_a_folder_of_a_model_that_cannot_be_looked_at_is_not_offered(ui, folder):
    qt.QSettings().setValue(readiness.IMPORTED_KEY, json.dumps([folder]))
    assert folder not in readiness.model_choices()


def test_a_file_that_cannot_be_looked_at_is_no_source(scene, pair, tmp_path):
    write_volume(pair[0], tmp_path / "pet.nrrd")
    pet = SLICER.util.loadVolume(str(tmp_path / "pet.nrrd"))
    assert header_files(pet) == [source_file(pet)] == [tmp_path / "pet.nrrd"]
    # as of a network drive that is gone: the system answers with another error than that there is no file
    pet.GetStorageNode().SetFileName(f"{tmp_path}/{'x' * 5000}/pet.nrrd")
    assert source_file(pet) is None and header_files(pet) == []


def test_a_result_chosen_as_pet_has_a_warning(ui, pair):
    """A second run would take what the model made for a measurement."""
    denoised = add_result(pair[0], SLICER.util.arrayFromVolume(pair[0]))[0]
    ui.petSelector.setCurrentNode(pair[0])
    before = ui.petInfoLabel.text
    ui.petSelector.setCurrentNode(denoised)
    assert wording.pet_warnings(pair[0]) == [] and len(wording.pet_warnings(denoised)) == 1
    assert wording.pet_warnings(denoised)[0] in ui.petInfoLabel.text and ui.petInfoLabel.text != before
