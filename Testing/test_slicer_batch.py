"""Several PETs at once, by clicks: a table of pairs that runs in the background, one failure stopping no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slicer_helpers import SLICER, add_head, add_volume, choose, click, wait_until

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import batch, nodes, volumes  # noqa: E402 (needs the stand-in)

from CSRDDenoiseLib.errors import InputError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]


def states(ui) -> list[str]:
    return [ui.pairsTable.item(row, 3).text() for row in range(ui.pairsTable.rowCount)]


def add(ui, pet, mr) -> None:
    ui.petSelector.setCurrentNode(pet)
    ui.mrSelector.setCurrentNode(mr)
    click(ui.addPairButton)


@pytest.fixture
def table(area, ui, logic_of, pair, small_model):
    """The panel with the table open and a quick model chosen."""
    ui.batchCollapsibleButton.collapsed = False
    choose(ui, logic_of, pair, small_model)
    SLICER.app.processEvents()
    return ui


def test_table_runs_every_pair_and_one_failure_stops_no_other(table, logic_of, scene, pair):
    empty = add_volume("empty PET", np.zeros((8, 8, 8), np.float32))
    other = add_head("PET other", seed=3)
    assert not table.runPairsButton.isEnabled()
    for pet, mr in (pair, (empty, None), (other, None)):
        add(table, pet, mr)
    assert states(table) == ["waiting"] * 3
    click(table.runPairsButton)
    assert table.runPairsButton.text == "Cancel all" and table.applyButton.text == "Cancel"
    assert wait_until(lambda: table.runPairsButton.text == "Denoise all" and table.applyButton.text == "Apply")
    assert states(table) == ["done", "failed", "done"]
    assert table.pairsTable.item(1, 4).text()
    assert table.statusLabel.text.startswith("2 of 3 pairs")
    for pet, mr in (pair, (other, None)):
        (result,) = [
            node
            for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetNodeReference("CSRDDenoise.PET") is pet and node.GetName().endswith("denoised")
        ]
        assert result.GetNodeReference("CSRDDenoise.MR") is mr


def test_cancel_stops_what_runs_and_what_waits(table, logic_of, scene, pair, slow_model):
    logic_of.getParameterNode().model = slow_model
    logic_of.getParameterNode().settings.steps = 200
    add(table, *pair)
    add(table, add_head("PET other", seed=3), None)
    click(table.runPairsButton)
    assert wait_until(lambda: "Sampling" in table.statusLabel.text)
    click(table.runPairsButton)
    assert wait_until(lambda: table.applyButton.text == "Apply" and table.pairsTable.item(0, 3).text() != "running")
    assert states(table) == ["cancelled", "cancelled"]
    click(table.clearPairsButton)
    assert table.pairsTable.rowCount == 0


def test_pair_whose_mr_was_removed_is_not_run(table, scene, pair):
    add(table, *pair)
    scene.RemoveNode(pair[1])
    click(table.runPairsButton)
    assert wait_until(lambda: table.runPairsButton.text == "Denoise all")
    assert states(table) == ["failed"] and "MR" in table.pairsTable.item(0, 4).text()


def test_each_row_has_its_own_region_or_none(table, logic_of, scene, pair):
    others = [add_head(f"PET other {number}", seed=number) for number in (3, 4)]
    regions = [scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", f"Box {number}") for number in (0, 1)]
    centre = np.mean(nodes.world_bounds(pair[0]), axis=0)
    for region, side in zip(regions, (24.0, 40.0)):
        region.SetCenter(centre)
        region.SetSize([side] * 3)
    for pet, region in zip((pair[0], *others), (*regions, None)):
        table.regionSelector.setCurrentNode(region)
        add(table, pet, None)
    # the third row again: with a region it is another one, which waits till its region is gone
    table.regionSelector.setCurrentNode(regions[1])
    add(table, others[1], None)
    scene.RemoveNode(regions[1])
    named = [table.pairsTable.item(row, 2).text() for row in range(4)]
    assert named == ["Box 0", "Box 1", "whole head", "Box 1"]
    click(table.runPairsButton)
    assert wait_until(lambda: table.runPairsButton.text == "Denoise all" and table.applyButton.text == "Apply")
    assert states(table) == ["done", "failed", "done", "failed"]
    assert [table.pairsTable.item(row, 2).text() for row in range(4)] == named
    changed = {}
    for node in SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetName().endswith("difference"):
            share = np.mean(SLICER.util.arrayFromVolume(node) != 0)
            changed[node.GetNodeReference("CSRDDenoise.PET")] = share
    assert set(changed) == {pair[0], others[1]} and changed[pair[0]] < 0.6 * changed[others[1]]


def test_closing_the_scene_forgets_the_table(table, logic_of, scene, pair, slow_model):
    logic_of.getParameterNode().model = slow_model
    add(table, *pair)
    add(table, add_head("PET other", seed=3), None)
    click(table.runPairsButton)
    scene.Clear(0)
    assert table.pairsTable.rowCount == 0 and "closed" in table.statusLabel.text
    # no end of the table is reported later
    assert not wait_until(lambda: "closed" not in table.statusLabel.text, 0.1)
    assert table.runPairsButton.text == "Denoise all" and table.applyButton.text == "Apply"


def test_pairs_come_from_a_table_in_a_file(table, scene, pair, tmp_path, monkeypatch):
    import qt

    for node, name in zip(pair, ("pet", "mr")):
        volumes.write_volume(node, tmp_path / f"{name}.nrrd")
    (tmp_path / "pairs.tsv").write_text("pet\tmr\npet.nrrd\tmr.nrrd\npet.nrrd\tn/a\n", encoding="utf-8")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "pairs.tsv"), raising=False)
    before = len(SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
    click(table.loadPairsButton)
    assert [[table.pairsTable.item(row, column).text() for column in (0, 1)] for row in (0, 1)] == [
        ["pet", "mr"],
        ["pet", "none"],
    ]
    assert len(SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == before + 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pet\tmr\n\tx.nii\n", "Line 2"),
        ("pet\tmr\ngone.nii\t\n", "does not exist"),
        ("pet\tmr\n", "no line"),
        ("mr\n x\n", "Line 2"),
    ],
)
def test_table_that_cannot_be_used_is_refused_before_anything_is_loaded(scene, tmp_path, text, words):
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        batch.load_table(tmp_path / "t.tsv")
    assert not SLICER.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_files_of_one_name_are_told_apart_by_their_folders(scene, pair, tmp_path):
    for folder in ("P1", "P2"):
        (tmp_path / folder).mkdir()
        volumes.write_volume(pair[0], tmp_path / folder / "pet.nrrd")
    volumes.write_volume(pair[1], tmp_path / "mr.nrrd")
    (tmp_path / "t.tsv").write_text("pet\tmr\nP1/pet.nrrd\tmr.nrrd\nP2/pet.nrrd\t\n", encoding="utf-8")
    loaded = batch.load_table(tmp_path / "t.tsv")
    assert [pet.GetName() for pet, _mr in loaded] == ["P1_pet", "P2_pet"] and loaded[0][1].GetName() == "mr"


def test_files_whose_names_have_dots_keep_all_of_them():
    names = ("1.2.840.113619.1.nii.gz", "1.2.840.113619.2.nii.gz", "P1.pet.nrrd", "P1.mr.nrrd", "mr.nii")
    called = batch.names_of([Path("scans") / name for name in names])
    assert list(called.values()) == ["1.2.840.113619.1", "1.2.840.113619.2", "P1.pet", "P1.mr", "mr"]


def test_a_file_that_is_no_volume_leaves_none_of_the_table(scene, pair, tmp_path):
    volumes.write_volume(pair[0], tmp_path / "whole.nrrd")
    (tmp_path / "broken.nrrd").write_text("no image", encoding="utf-8")
    (tmp_path / "t.tsv").write_text("pet\tmr\nwhole.nrrd\tbroken.nrrd\n", encoding="utf-8")
    with pytest.raises(InputError, match="broken"):
        batch.load_table(tmp_path / "t.tsv")
    assert scene.GetFirstNodeByName("whole") is None
    files = [node.GetFileName() for node in SLICER.util.getNodesByClass("vtkMRMLStorageNode")]
    assert not any("whole" in (name or "") for name in files)
