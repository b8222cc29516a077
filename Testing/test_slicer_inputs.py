"""What the panel understands of the inputs, by clicks: SUV and head, a DICOM study, a region."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_series
import numpy as np
import pydicom
import pytest
import vtk
from slicer_helpers import (
    SLICER,
    add_head,
    add_transform,
    add_volume,
    choose,
    ijk_to_ras,
    place,
    raises_named,
    run_to_end,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import wording  # noqa: E402 (needs the stand-in)

from CSRDDenoiseLib.findings import find  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_worker")]

# 70 kg, 368.08 MBq, an hour after the injection, F-18
FACTOR = 70e3 / (368.08e6 * 2 ** (-3600 / 6586.2))
PLACE = ijk_to_ras()


class Database:
    """What Slicer's DICOM database answers for files that were imported."""

    def __init__(self, files: list[Path]):
        self._headers = {str(data.SOPInstanceUID): (path, data) for path in files for data in [pydicom.dcmread(path)]}

    def fileForInstance(self, instance: str) -> str:
        return str(self._headers[instance][0]) if instance in self._headers else ""

    def instanceValue(self, instance: str, tag: str) -> str:
        number = tuple(int(part, 16) for part in tag.split(","))
        return str(self._headers[instance][1].get(number, pydicom.DataElement(number, "LO", "")).value)

    @property
    def instances(self) -> list[str]:
        return list(self._headers)


def dicom_head(folder: Path, monkeypatch, change=None):
    """A head that was loaded from DICOM, in its study in the subject hierarchy, as Slicer's plugin leaves it."""
    pet = add_head("6: Brain PET")
    array = SLICER.util.arrayFromVolume(pet)

    def slice_of(data: pydicom.Dataset, index: int) -> None:
        data.Rows, data.Columns = array.shape[1:]
        data.PixelSpacing, data.RescaleSlope = [2.0, 2.0], 0.5
        data.ImagePositionPatient = [-12.0, 7.0, 31.0 + 2.0 * index]
        data.PixelData = np.round(array[index] / 0.5).astype(np.uint16).tobytes()
        data.Manufacturer, data.FrameOfReferenceUID = "Acme", "1.2.3.4"
        if change:
            change(data)

    monkeypatch.setattr(dicom_series, "SHAPE", array.shape)
    monkeypatch.setattr(dicom_series, "slopes", lambda: np.full(array.shape[0], 0.5))
    dicom_series.write_series(folder, slice_of)
    database = Database(sorted(folder.glob("*.dcm")))
    monkeypatch.setattr(SLICER, "dicomDatabase", database, raising=False)
    array[:] = np.round(array / 0.5) * 0.5
    pet.Modified()
    pet.SetAttribute("DICOM.instanceUIDs", " ".join(database.instances))
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(SLICER.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "A^B")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientName", "A^B")
    study = hierarchy.CreateStudyItem(patient, "Study")
    # as Slicer's DICOMPlugin.addSeriesInSubjectHierarchy does it, without the prefix
    hierarchy.SetItemAttribute(study, "StudyInstanceUID", str(dicom_series.STUDY))
    item = hierarchy.GetItemByDataNode(pet)
    hierarchy.SetItemParent(item, study)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "PT")
    hierarchy.SetItemAttribute(item, "DICOM.SeriesNumber", "6")
    return pet, hierarchy, study


def text_when_looked_at(label) -> str:
    assert wait_until(lambda: "head:" in label.text or "cannot" in label.text)
    return label.text


# What inspect says


def test_line_under_the_pet_has_suv_head_and_noise_of_its_dicom_files(ui, scene, tmp_path, monkeypatch):
    pet, _hierarchy, _study = dicom_head(tmp_path / "series", monkeypatch)
    ui.petSelector.setCurrentNode(pet)
    assert "Looking at the volume" in ui.petInfoLabel.text
    text = text_when_looked_at(ui.petInfoLabel)
    assert "Bq/ml max" in text
    assert f"value x {FACTOR:.5g}" in text
    maximum = SLICER.util.arrayFromVolume(pet).max() * FACTOR
    assert f"up to {maximum:.4g}" in text
    assert "mL, brain mean" in text and "noise level" in text


def test_missing_tag_is_named_and_no_suv_is_shown(ui, logic_of, scene, small_model, tmp_path, monkeypatch):
    def without_weight(data):
        del data.PatientWeight

    pet, _hierarchy, _study = dicom_head(tmp_path / "series", monkeypatch, without_weight)
    choose(ui, logic_of, (pet, None), small_model, sampler="mean")
    assert "SUV unknown: PatientWeight" in text_when_looked_at(ui.petInfoLabel)
    run_to_end(ui)
    assert "SUV" not in ui.resultsTable.item(0, 1).text()


def test_values_changed_since_they_were_loaded_have_no_suv(ui, scene, tmp_path, monkeypatch):
    pet, _hierarchy, _study = dicom_head(tmp_path / "series", monkeypatch)
    SLICER.util.arrayFromVolume(pet)[:] *= 1.5
    SLICER.util.arrayFromVolumeModified(pet)
    ui.petSelector.setCurrentNode(pet)
    assert "SUV unknown: the values are no longer those" in text_when_looked_at(ui.petInfoLabel)


def test_a_run_on_values_that_were_scaled_warns_of_their_unit(logic, scene, small_model, tmp_path, monkeypatch):
    pet, _hierarchy, _study = dicom_head(tmp_path / "series", monkeypatch)
    SLICER.util.arrayFromVolume(pet)[:] *= 1e-3
    SLICER.util.arrayFromVolumeModified(pet)
    result = logic.denoise(pet, None, model=small_model, preset="fast", sampler="mean", device="cpu")
    assert find(result.findings, "unit.changed").values["unit"] == "Bq/mL"


@pytest.mark.parametrize(("code", "text"), [("{SUVbw}g/ml", "value x 1,"), ("{SUVlbm}g/ml", "SUV unknown: the values")])
def test_units_of_the_pet_extension_are_understood(ui, scene, code, text):
    pet = add_head("PET")
    entry = SLICER.vtkCodedEntry()
    entry.SetValueSchemeMeaning(code, "UCUM", "Standardized Uptake Value")
    pet.SetVoxelValueUnits(entry)
    ui.petSelector.setCurrentNode(pet)
    assert text in text_when_looked_at(ui.petInfoLabel)


def test_volume_is_looked_at_again_when_it_changes_and_not_while_it_does_not(ui, logic_of, scene, pair, monkeypatch):
    asked = []
    start = logic_of.startInspect
    panel = SLICER.modules.csrddenoise.widgetRepresentation().self().panel
    monkeypatch.setattr(panel._inspections, "_start", lambda *a, **o: (asked.append(a[0].GetName()), start(*a, **o)))
    ui.petSelector.setCurrentNode(pair[0])
    before = text_when_looked_at(ui.petInfoLabel)
    ui.seedSpinBox.value = 5
    assert asked == ["PET low dose"] and ui.petInfoLabel.text == before
    SLICER.util.arrayFromVolume(pair[0])[:] = 0
    SLICER.util.arrayFromVolumeModified(pair[0])
    ui.seedSpinBox.value = 6
    assert wait_until(lambda: "head: none" in ui.petInfoLabel.text)
    assert asked == ["PET low dose"] * 2
    pair[0].SetSpacing(3.0, 3.0, 3.0)
    ui.seedSpinBox.value = 7
    assert asked == ["PET low dose"] * 3


# A DICOM study


EXPORTED = ("SeriesDescription", "Modality", "Manufacturer", "Model", "SeriesDate", "SeriesTime", "SeriesNumber")
"""With the next line, of a series, as Slicer's DICOMScalarVolumePlugin.examineForExport names them."""
EXPORTED_UIDS = ("SeriesInstanceUID", "FrameOfReferenceUID", "FrameOfReferenceInstanceUID")


def export_tags(hierarchy, item) -> dict[str, str]:
    """Return the tags that Slicer's export dialog reads (qSlicerDICOMTagEditorWidget::setExportables).

    Those of patient and study come from the items above, whatever the series says; those of the series from its item.
    """
    constants, study = SLICER.vtkMRMLSubjectHierarchyConstants, hierarchy.GetItemParent(item)
    patient = hierarchy.GetItemParent(study)
    assert hierarchy.GetItemLevel(study) == "Study" and hierarchy.GetItemLevel(patient) == "Patient"
    above = {name: study for name in constants.GetDICOMStudyTagNames()}
    above.update({name: patient for name in constants.GetDICOMPatientTagNames()})
    places = {**dict.fromkeys((*EXPORTED, *EXPORTED_UIDS), item), **above}
    return {name: hierarchy.GetItemAttribute(place, f"DICOM.{name}") for name, place in places.items()}


def test_results_stay_in_the_study_with_the_attributes_of_dicom_export(
    ui, logic_of, scene, small_model, tmp_path, monkeypatch
):
    pet, hierarchy, study = dicom_head(tmp_path / "series", monkeypatch)
    choose(ui, logic_of, (pet, None), small_model)
    parameters = logic_of.getParameterNode()
    parameters.makeSupport = True
    run_to_end(ui)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(pet)) == study
    results = {name: getattr(parameters, name) for name in ("denoised", "difference", "uncertainty", "support")}
    numbers = []
    for name, node in results.items():
        item = hierarchy.GetItemByDataNode(node)
        assert hierarchy.GetItemParent(item) == study, name
        tags = {
            tag: hierarchy.GetItemAttribute(item, f"DICOM.{tag}")
            for tag in ("Modality", "SeriesDescription", "SeriesNumber", "StudyInstanceUID", "Manufacturer")
        }
        assert tags["Modality"] == ("SC" if name == "support" else "PT")
        assert "(research)" in tags["SeriesDescription"] and len(tags["SeriesDescription"]) <= 64
        assert tags["StudyInstanceUID"] == str(dicom_series.STUDY) and tags["Manufacturer"] == "Acme"
        assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceInstanceUID") == "1.2.3.4"
        assert hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs") == pet.GetAttribute(
            "DICOM.instanceUIDs"
        )
        # a result has no files of its own
        assert node.GetAttribute("DICOM.instanceUIDs") is None
        numbers.append(tags["SeriesNumber"])
    assert sorted(numbers) == ["601", "602", "603", "604"]
    # an export of the study takes all that lies in it, also what no list shows
    inside = vtk.vtkIdList()
    hierarchy.GetItemChildren(study, inside)
    nodes = [hierarchy.GetItemDataNode(inside.GetId(index)) for index in range(inside.GetNumberOfIds())]
    assert {*results.values(), pet} == set(nodes)
    exported = export_tags(hierarchy, hierarchy.GetItemByDataNode(results["denoised"]))
    assert exported["StudyInstanceUID"] == str(dicom_series.STUDY) and exported["FrameOfReferenceUID"] == "1.2.3.4"
    assert exported["PatientName"] == "A^B" and exported["Modality"] == "PT" and exported["SeriesInstanceUID"] == ""
    assert "denoised" in hierarchy.GetItemAttribute(
        hierarchy.GetItemByDataNode(results["denoised"]), "DICOM.SeriesDescription"
    )
    # SUV beside the unit, in the table and in the record
    largest = json.loads(results["denoised"].GetAttribute("CSRDDenoise.Summary"))["max_change"]
    assert f"(SUV {largest * FACTOR:.3g})" in ui.resultsTable.item(1, 1).text()
    record = json.loads(results["denoised"].GetAttribute("CSRDDenoise.Provenance"))
    assert record["inputs"]["pet"]["suv_factor"] == pytest.approx(FACTOR, rel=1e-3)


def test_results_of_a_volume_without_a_study_get_no_dicom_attributes(logic, scene, small_model):
    pet = add_head("PET")
    result = logic.denoise(pet, None, model=small_model, preset="fast", device="cpu")
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(result.denoisedVolume)
    assert not [name for name in hierarchy.GetItemAttributeNames(item) if name.startswith("DICOM.")]


# A region


def add_roi(centre, size):
    roi = SLICER.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    roi.SetCenter(centre)
    roi.SetSize(size)
    return roi


def world_points(node) -> np.ndarray:
    """Points (D, H, W, 3) of the voxels, R-A-S."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine = SLICER.util.arrayFromVTKMatrix(matrix)
    shape = SLICER.util.arrayFromVolume(node).shape
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)[..., ::-1]
    return index @ affine[:3, :3].T + affine[:3, 3]


def centre_of(node) -> np.ndarray:
    return world_points(node).reshape(-1, 3).mean(0)


def test_roi_is_chosen_and_outside_of_it_nothing_changes(ui, logic_of, scene, pair, small_model):
    pet = pair[0]
    roi = add_roi(centre_of(pet), [26.0, 22.0, 24.0])
    # turned, and moved by a transform
    move = np.array([[np.cos(0.5), -np.sin(0.5), 0, 0], [np.sin(0.5), np.cos(0.5), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    about = np.eye(4)
    about[:3, 3] = centre_of(pet)
    move = about @ move @ np.linalg.inv(about)
    roi.SetAndObserveTransformNodeID(add_transform(move).GetID())
    choose(ui, logic_of, pair, small_model, sampler="mean")
    ui.regionSelector.setCurrentNode(roi)
    assert logic_of.getParameterNode().region is roi
    run_to_end(ui)
    assert ui.statusLabel.text.startswith("Done in"), ui.statusLabel.text
    change = SLICER.util.arrayFromVolume(ui.differenceSelector.currentNode())
    own = np.linalg.inv(move) @ np.append(world_points(pet), np.ones((*change.shape, 1)), -1)[..., None]
    offset = np.abs(own[..., :3, 0] - centre_of(pet))
    inside = (offset <= np.array([13.0, 11.0, 12.0]) + 1e-6).all(-1)
    assert inside.sum() > 500
    assert not change[~inside].any()
    assert (change[inside] != 0).mean() > 0.95
    rows = [ui.findingsTable.item(row, 1).text() for row in range(ui.findingsTable.rowCount)]
    assert any("Only the region was denoised" in row for row in rows)
    record = json.loads(ui.denoisedSelector.currentNode().GetAttribute("CSRDDenoise.Provenance"))
    assert record["inputs"]["region"]["volume"] == "R"


def test_visible_segments_are_the_region(logic, scene, small_model):
    pet = add_head("PET")
    labels = np.zeros((24, 28, 26), np.uint8)
    labels[6:18, 8:20, 6:18], labels[6:18, 8:20, 18:22] = 1, 2
    drawn = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "drawn")
    SLICER.util.updateVolumeFromArray(drawn, labels)
    place(drawn, PLACE)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    segmentation.CreateDefaultDisplayNodes()
    SLICER.modules.segmentations.logic().ImportLabelmapToSegmentationNode(drawn, segmentation)
    segmentation.GetDisplayNode().SetSegmentVisibility(segmentation.GetSegmentation().GetNthSegmentID(1), False)
    result = logic.denoise(pet, None, model=small_model, preset="fast", device="cpu", regionNode=segmentation)
    change = SLICER.util.arrayFromVolume(result.differenceVolume)
    assert not change[labels != 1].any()
    assert (change[labels == 1] != 0).any()
    segmentation.GetDisplayNode().SetSegmentVisibility(segmentation.GetSegmentation().GetNthSegmentID(0), False)
    with pytest.raises(Exception, match="no visible segment"):
        logic.start(pet, None, model=small_model, regionNode=segmentation)
    with raises_named("InputError", "'drawn' is neither"):
        logic.start(pet, None, model=small_model, regionNode=drawn)


def test_region_elsewhere_is_refused_with_one_sentence_and_the_scene_stays(ui, logic_of, scene, pair, small_model):
    choose(ui, logic_of, pair, small_model)
    ui.regionSelector.setCurrentNode(add_roi(centre_of(pair[0]) + 400, [20.0, 20.0, 20.0]))
    run_to_end(ui)
    assert "region lies outside of the PET" in ui.statusLabel.text
    assert ui.denoisedSelector.currentNode() is None
    # and a volume is no region
    assert ui.regionSelector.nodeCount() == 1


def test_roi_without_a_box_is_refused_by_its_name(logic, scene, small_model):
    # no corner is drawn yet
    roi = SLICER.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    with raises_named("InputError", "'Box' has sides of 0 x 0 x 0 mm"):
        logic.start(add_head("PET"), None, model=small_model, regionNode=roi)


def test_region_that_is_deleted_leaves_the_whole_head(ui, logic_of, scene, pair):
    ui.petSelector.setCurrentNode(pair[0])
    regions = [add_roi([0, 0, 0], [9, 9, 9]) for _ in range(2)]
    ui.regionSelector.setCurrentNode(regions[0])
    scene.RemoveNode(regions[0])
    assert ui.regionSelector.currentNode() is None and logic_of.getParameterNode().region is None


def test_scene_that_is_added_leaves_the_choices(ui, logic_of, scene, pair, tmp_path):
    """The selectors begin anew when a scene was read, and choose nothing."""
    from slicer import vtkMRMLScene

    other = vtkMRMLScene()
    other.AddNewNodeByClass("vtkMRMLTextNode", "Remarks")
    assert other.Commit(str(tmp_path / "other.mrml"))
    roi = add_roi([0, 0, 0], [9, 9, 9])
    for selector, node in zip((ui.petSelector, ui.mrSelector, ui.regionSelector), (*pair, roi)):
        selector.setCurrentNode(node)
    scene.SetURL(str(tmp_path / "other.mrml"))
    assert scene.Import() and scene.GetFirstNodeByName("Remarks") is not None
    chosen = logic_of.getParameterNode()
    assert (chosen.pet, chosen.mr, chosen.region) == (*pair, roi)
    assert [each.currentNode() for each in (ui.petSelector, ui.mrSelector, ui.regionSelector)] == [*pair, roi]
    assert ui.applyButton.enabled


def test_lines_name_what_is_not_finite(scene):
    answer = {"lines": ["a"], "not_finite": 3, "findings": []}
    assert any("3 voxels" in line for line in wording.inspected_lines(answer))
    assert add_volume("x", np.zeros((4, 4, 4), np.float32), PLACE) is not None


def test_region_of_a_scene_is_chosen_when_the_scene_is_loaded(ui, logic_of, scene, pair, tmp_path):
    """The region comes after the choices in the file, so their reference to it leads nowhere at first."""
    roi = add_roi([0, 0, 0], [9, 9, 9])
    ui.petSelector.setCurrentNode(pair[0])
    ui.regionSelector.setCurrentNode(roi)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Clear(0)
    assert logic_of.getParameterNode().region is None
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Import()
    assert logic_of.getParameterNode().region.GetName() == "R"
    assert ui.regionSelector.currentNode() is logic_of.getParameterNode().region
