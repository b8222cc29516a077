"""Where to run, by clicks: a Dask scheduler is typed, asked who works there, estimated, and does the run."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
from certificates import write_certificates
from slicer_helpers import SLICER, add_head, choose, click, pick, run_to_end, wait_until

pytest_plugins = ["slicer_fixtures"]
pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

import qt  # noqa: E402 (needs the stand-in)
from CSRDDenoiseModule.worker_process import on_place, save_certificates  # noqa: E402

from CSRDDenoiseLib.cluster.local import WorkerPlan, local_cluster  # noqa: E402
from CSRDDenoiseLib.cluster.places import Place  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    with local_cluster([WorkerPlan(1)]) as cluster:
        yield cluster.scheduler_address


def type_in(combo, text: str) -> None:
    """Type an address and press Enter."""
    from PySide6 import QtCore, QtTest

    combo._qt.lineEdit().clear()
    QtTest.QTest.keyClicks(combo._qt.lineEdit(), text)
    QtTest.QTest.keyClick(combo._qt.lineEdit(), QtCore.Qt.Key_Return)


def test_run_on_a_scheduler_is_the_run_of_this_computer(ui, logic_of, scene, small_model, address):
    pet = add_head("PET")
    choose(ui, logic_of, (pet, None), small_model, precision="float32")
    assert ui.placeComboBox.currentText == "This computer" and not ui.placeLabel.text
    run_to_end(ui)
    here = SLICER.util.arrayFromVolume(ui.denoisedSelector.currentNode()).copy()
    type_in(ui.placeComboBox, address)
    assert logic_of.getParameterNode().place == address
    assert wait_until(lambda: "1 worker(s)" in ui.placeLabel.text), ui.placeLabel.text
    assert wait_until(lambda: "GiB of memory" in ui.estimateLabel.text)
    assert any(f"cpu@{address.replace('/', '|')}" in key for key in qt.QSettings().allKeys())
    ui.denoisedSelector.setCurrentNode(None)
    run_to_end(ui)
    assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
    np.testing.assert_allclose(SLICER.util.arrayFromVolume(ui.denoisedSelector.currentNode()), here, rtol=1e-5)
    record = json.loads(ui.denoisedSelector.currentNode().GetAttribute("CSRDDenoise.Provenance"))
    assert record["inputs"]["pet"]["volume"] == "PET"
    # back to this computer; the address stays in the list
    pick(ui.placeComboBox, "")
    assert logic_of.getParameterNode().place == "" and not ui.placeLabel.text
    assert ui.placeComboBox.findText(address) > 0


@pytest.mark.usefixtures("without_estimate")
def test_nobody_at_an_address_is_said_in_the_panel_and_by_apply(ui, logic_of, scene, small_model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    choose(ui, logic_of, (add_head("PET"), None), small_model)
    type_in(ui.placeComboBox, nobody)
    assert wait_until(lambda: "does not answer" in ui.placeLabel.text or "answers" in ui.placeLabel.text)
    run_to_end(ui)
    assert nobody.split("//")[1] in ui.statusLabel.text
    assert ui.denoisedSelector.currentNode() is None


@pytest.mark.usefixtures("without_estimate")
def test_unencrypted_address_of_another_machine_is_refused(ui, logic_of, scene, small_model):
    choose(ui, logic_of, (add_head("PET"), None), small_model)
    type_in(ui.placeComboBox, "tcp://192.0.2.1:8786")
    assert wait_until(lambda: "not encrypted" in ui.placeLabel.text)


@pytest.mark.usefixtures("without_estimate")
def test_folder_of_certificates_is_chosen_used_and_remembered(
    area, ui, logic_of, scene, small_model, tmp_path, monkeypatch
):
    own, other = write_certificates(tmp_path / "own"), write_certificates(tmp_path / "other")
    folders = iter([str(tmp_path), str(other), str(own), ""])
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: next(folders), raising=False)
    choose(ui, logic_of, (add_head("PET"), None), small_model, sampler="mean")
    assert ui.certificatesComboBox.currentText == "Those of Dask's configuration"
    with local_cluster([WorkerPlan(1)], Place("tls://127.0.0.1:0", own)) as cluster:
        type_in(ui.placeComboBox, cluster.scheduler_address)
        assert wait_until(lambda: "certificates" in ui.placeLabel.text), ui.placeLabel.text
        click(ui.certificatesButton)
        assert wait_until(lambda: "ca.pem" in ui.placeLabel.text), ui.placeLabel.text
        click(ui.certificatesButton)
        assert wait_until(lambda: "does not accept" in ui.placeLabel.text), ui.placeLabel.text
        click(ui.certificatesButton)
        assert wait_until(lambda: "1 worker(s)" in ui.placeLabel.text), ui.placeLabel.text
        # nothing changes where no folder is chosen after all
        click(ui.certificatesButton)
        assert ui.certificatesComboBox.currentText == str(own)
        run_to_end(ui)
        assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
        # by the list, without the dialog
        pick(ui.certificatesComboBox, str(other))
        assert wait_until(lambda: "does not accept" in ui.placeLabel.text), ui.placeLabel.text
        pick(ui.certificatesComboBox, str(own))
        assert wait_until(lambda: "1 worker(s)" in ui.placeLabel.text), ui.placeLabel.text
    # of this user and computer, not of the scene
    assert json.loads(qt.QSettings().value("CSRDDenoise/Certificates"))[0] == str(own)
    assert str(own) not in logic_of.getParameterNode().parameterNode.GetParameter("place")
    pick(ui.certificatesComboBox, "")
    assert on_place("tls://gpu-box:8786") == {"on": {"address": "tls://gpu-box:8786"}}


def test_certificates_go_to_encrypted_places_alone(scene):
    save_certificates("/lab/certificates")
    address = "tls://gpu-box:8786"
    assert on_place(address) == {"on": {"address": address, "tls": "/lab/certificates"}}
    assert on_place("tcp://127.0.0.1:8786") == {"on": {"address": "tcp://127.0.0.1:8786"}} and on_place("") == {}
