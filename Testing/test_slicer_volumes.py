"""Volumes between the real MRML and files: geometry and values exact, the user's nodes untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from slicer_helpers import (
    RAS_FROM_LPS,
    SLICER,
    add_head,
    add_result,
    add_transform,
    add_volume,
    identities,
    ijk_to_ras,
    matrix_of,
    oblique,
    raises_named,
    wait_until,
)

pytest_plugins = ["slicer_fixtures"]

from CSRDDenoiseModule import job, nodes, volumes, wording  # noqa: E402 (the stand-in makes it importable)
from CSRDDenoiseModule.views import full_dose  # noqa: E402

from CSRDDenoiseLib.errors import InputError  # noqa: E402

GEOMETRIES = {
    "plain": ijk_to_ras(),
    "flipped": ijk_to_ras(np.diag([-1.0, -1.0, 1.0]), (1.2, 1.3, 2.5)),
    "left-handed": ijk_to_ras(np.diag([1.0, -1.0, 1.0]), (1.2, 1.3, 2.5)),
    "swapped axes": ijk_to_ras(np.eye(3)[[1, 2, 0]], (2.0, 1.0, 3.0)),
    "oblique": ijk_to_ras(oblique(), (1.1, 1.2, 2.3), (-40.5, 12.25, 3.125)),
}


def file_matrix(image: sitk.Image) -> np.ndarray:
    """IJK to RAS of an image in a file."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return RAS_FROM_LPS @ matrix


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("kind", [np.float32, np.int16, np.float64])
def test_written_volume_lies_where_the_node_lies_with_the_same_values(scene, tmp_path, name, kind):
    values = np.random.default_rng(0).normal(100, 50, (4, 5, 6)).astype(kind)
    node = add_volume("v", values, GEOMETRIES[name])
    volumes.write_volume(node, tmp_path / "v.nrrd")
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    np.testing.assert_allclose(file_matrix(image), matrix_of(node), atol=1e-9)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)
    assert sitk.GetArrayFromImage(image).dtype == kind


def test_parent_transform_is_applied_to_a_copy_only(scene, tmp_path):
    node = add_head(matrix=GEOMETRIES["oblique"])
    move = ijk_to_ras(oblique(40), (1.0, 1.0, 1.0), (5.0, 6.0, 7.0))
    node.SetAndObserveTransformNodeID(add_transform(move).GetID())
    before, voxels, changed = matrix_of(node), SLICER.util.arrayFromVolume(node).copy(), node.GetMTime()
    volumes.write_volume(node, tmp_path / "v.nrrd")
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    np.testing.assert_allclose(file_matrix(image), move @ before, atol=1e-9)
    np.testing.assert_array_equal(matrix_of(node), before)
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), voxels)
    assert node.GetMTime() == changed
    assert node.GetParentTransformNode() is not None


def test_warping_transform_resamples_a_copy(scene, tmp_path):
    import vtk

    node = add_head()
    warp = vtk.vtkThinPlateSplineTransform()
    places = [[0, 0, 0], [60, 0, 0], [0, 60, 0], [0, 0, 60], [30, 30, 30]]
    for setter, shift in ((warp.SetSourceLandmarks, 0.0), (warp.SetTargetLandmarks, 6.0)):
        points = vtk.vtkPoints()
        for place in places:
            points.InsertNextPoint(place[0] + shift * (place[1] > 0), *place[1:])
        setter(points)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())
    voxels = SLICER.util.arrayFromVolume(node).copy()
    volumes.write_volume(node, tmp_path / "v.nrrd")
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), voxels)
    written = volumes.read_array(tmp_path / "v.nrrd")
    result = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "r")
    volumes.fill_node(result, written, node)
    assert result.GetParentTransformNode() is None
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(result), written)


def test_warped_label_map_keeps_its_labels(scene, tmp_path):
    """Linear interpolation would make labels 1 to 9 at the border of label 10."""
    import vtk

    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Atlas")
    SLICER.util.updateVolumeFromArray(labels, np.pad(np.full((10, 10, 10), 10, np.int16), 5))
    labels.SetIJKToRASMatrix(SLICER.util.vtkMatrixFromArray(ijk_to_ras()))
    warp = vtk.vtkThinPlateSplineTransform()
    for setter, shift in ((warp.SetSourceLandmarks, 0.0), (warp.SetTargetLandmarks, 2.7)):
        points = vtk.vtkPoints()
        for place in (*np.eye(4, 3) * 60, (30.0 + shift, 30.0, 30.0 + shift)):
            points.InsertNextPoint(*place)
        setter(points)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    transform.SetAndObserveTransformToParent(warp)
    labels.SetAndObserveTransformNodeID(transform.GetID())
    volumes.write_volume(labels, tmp_path / "labels.nrrd")
    assert set(np.unique(volumes.read_array(tmp_path / "labels.nrrd"))) == {0, 10}


def test_segments_lie_in_the_world_where_a_warp_moves_the_pet(scene, tmp_path):
    """A warp that moves the middle by four voxels and leaves the sides where they are: the grid keeps its size."""
    import vtk
    from vtk.util import numpy_support

    pet = add_head(shape=(20, 22, 24))
    shift = np.zeros((20, 22, 24, 3))
    shift[..., 0] = 8.0 * np.minimum(1.0, np.minimum(np.arange(24), np.arange(24)[::-1]) / 6)
    field = vtk.vtkImageData()
    field.SetDimensions(24, 22, 20)
    field.SetSpacing(pet.GetSpacing())
    field.SetOrigin(pet.GetOrigin())
    field.GetPointData().SetScalars(numpy_support.numpy_to_vtk(shift.reshape(-1, 3), deep=True))
    warp = SLICER.vtkOrientedGridTransform()
    warp.SetDisplacementGridData(field)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    transform.SetAndObserveTransformToParent(warp)
    pet.SetAndObserveTransformNodeID(transform.GetID())
    inside = np.zeros((20, 22, 24), np.uint8)
    inside[6:12, 7:14, 11:16] = 1
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Inside")
    SLICER.util.updateVolumeFromArray(labels, inside)
    labels.CopyOrientation(pet)
    segments = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segments")
    segments.CreateDefaultDisplayNodes()
    SLICER.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, segments)
    for _step in job.writing_region(segments, pet, tmp_path / "region.nrrd"):
        pass
    image = sitk.ReadImage(str(tmp_path / "region.nrrd"))
    np.testing.assert_allclose(file_matrix(image), matrix_of(pet), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), inside)
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(full_dose.labels_of(segments, pet).volume), inside)


def test_another_warp_is_another_pet(scene):
    import vtk

    node, move = add_head(), scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    linear, unwarped = add_transform(ijk_to_ras(oblique())), nodes.content_of(node)
    node.SetAndObserveTransformNodeID(linear.GetID())
    # a result follows the PET under a linear transform
    assert nodes.content_of(node) == unwarped
    node.SetAndObserveTransformNodeID(move.GetID())
    contents, times = set(), []
    for bend in (2.0, 4.0, 8.0):
        warp = vtk.vtkThinPlateSplineTransform()
        for setter, shift in ((warp.SetSourceLandmarks, 0.0), (warp.SetTargetLandmarks, bend)):
            points = vtk.vtkPoints()
            for place in (*np.eye(4, 3) * 60, (30.0 + shift, 30.0, 30.0)):
                points.InsertNextPoint(*place)
            setter(points)
        move.SetAndObserveTransformToParent(warp)
        contents.add(nodes.content_of(node))
        times.append(nodes.image_time(node))
    assert len(contents) == 3 and times == sorted(set(times))


def test_warping_transform_that_moves_far_cuts_nothing_off(scene, tmp_path):
    """The grid that is resampled holds all of the moved volume; its former extent would lose two thirds here."""
    import vtk

    node = add_head()
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    shift_mm = 0.7 * (bounds[1] - bounds[0])
    warp = vtk.vtkThinPlateSplineTransform()
    places = [np.zeros(3), *(np.diag([200.0, 200.0, 200.0])), np.full(3, 90.0)]
    for setter, shift in ((warp.SetSourceLandmarks, 0.0), (warp.SetTargetLandmarks, shift_mm)):
        points = vtk.vtkPoints()
        for number, place in enumerate(places):
            points.InsertNextPoint(place[0] + shift + (number == 4) * (shift > 0), place[1], place[2])
        setter(points)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Far")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())
    nodes = scene.GetNumberOfNodes()
    volumes.write_volume(node, tmp_path / "v.nrrd")
    total, before = volumes.read_array(tmp_path / "v.nrrd").sum(), SLICER.util.arrayFromVolume(node).sum()
    assert total == pytest.approx(before, rel=0.05)
    assert scene.GetNumberOfNodes() == nodes and node.GetParentTransformNode() is transform


@pytest.mark.parametrize("name", GEOMETRIES)
def test_result_takes_the_grid_and_the_transform_of_the_pet(scene, name):
    pet = add_head(matrix=GEOMETRIES[name])
    pet.SetAndObserveTransformNodeID(add_transform(ijk_to_ras(oblique())).GetID())
    values = SLICER.util.arrayFromVolume(pet) * np.float32(0.5)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "r")
    volumes.fill_node(node, values, pet)
    np.testing.assert_array_equal(SLICER.util.arrayFromVolume(node), values)
    np.testing.assert_array_equal(matrix_of(node), matrix_of(pet))
    assert node.GetParentTransformNode() is pet.GetParentTransformNode()


def test_result_of_another_shape_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "r")
    with pytest.raises(InputError, match=r"\(3, 3, 3\).*\(24, 28, 26\)"):
        volumes.fill_node(node, np.zeros((3, 3, 3)), add_head())


def test_empty_and_sheared_volumes_are_refused(scene, tmp_path):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(InputError, match="'nothing' holds no image"):
        volumes.write_volume(empty, tmp_path / "v.nrrd")
    sheared = add_head("skew")
    shear = np.eye(4)
    shear[0, 1] = 0.2
    sheared.SetAndObserveTransformNodeID(add_transform(shear).GetID())
    with pytest.raises(InputError, match=r"'skew' cannot.*not perpendicular"):
        volumes.write_volume(sheared, tmp_path / "v.nrrd")


def suv(volume) -> None:
    entry = SLICER.vtkCodedEntry()
    entry.SetValueSchemeMeaning("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
    volume.SetVoxelValueUnits(entry)


def test_nodes_of_another_kind_are_refused_before_the_work(logic, scene):
    pet, segments = add_head(), scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segments")
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    for given in ((segments,), (pet, segments), (add_transform(np.eye(4)),)):
        with raises_named("InputError", "holds no image"):
            logic.start(*given, device="cpu")
    for kind, node in (
        ("denoised", labels),
        ("uncertainty", labels),
        ("difference", segments),
        ("support", add_volume("own", np.ones((4, 4, 4)))),
    ):
        with raises_named("InputError", f"'{node.GetName()}' must be"):
            logic.start(pet, None, outputs=nodes.Outputs(**{f"{kind}Volume": node}), device="cpu")


@pytest.mark.parametrize("given", ["PET", np.ones((4, 4, 4)), 3], ids=["name", "array", "number"])
def test_what_is_no_node_is_refused_by_its_argument(logic, scene, given):
    """As from the Python console."""
    pet = add_head("PET")
    denoised = add_result(pet, SLICER.util.arrayFromVolume(pet))[0]
    calls = {
        "petVolume": lambda: logic.start(given),
        "mrVolume": lambda: logic.start(pet, given),
        "fullDoseReferenceVolume": lambda: logic.start(pet, fullDoseReferenceVolume=given),
        "regionNode": lambda: logic.start(pet, regionNode=given),
        "outputs": lambda: logic.start(pet, outputs=given),
        "supportVolume": lambda: logic.start(pet, outputs=nodes.Outputs(supportVolume=given)),
        "denoisedVolume": lambda: logic.startReport(given),
        "uncertaintyVolume": lambda: logic.startReport(denoised, given),
        "labelVolume": lambda: logic.startReport(denoised, None, given),
        "differenceVolume": lambda: logic.startKeep(denoised, 8.0, given),
        "volume": lambda: logic.startInspect(given),
        "full": lambda: full_dose.start_comparison(logic, denoised, given),
        "regions": lambda: full_dose.start_comparison(logic, denoised, pet, given),
    }
    for name, call in calls.items():
        with raises_named("InputError", f"^{name} is"):
            call()
    for call in (lambda: logic.startSequence(given), lambda: logic.denoise(None), lambda: logic.startKeep(None, 8.0)):
        with raises_named("InputError", "getNode"):
            call()
    with raises_named("InputError", "^denoisedVolume is"):
        logic.start(pet, outputs=nodes.Outputs(denoisedVolume=given))


def test_a_result_stays_in_the_folder_it_was_put_into_and_not_with_another_patient(scene):
    pet, result = add_head("PET"), add_head("PET denoised")
    hierarchy = SLICER.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    whole, item = hierarchy.GetSceneItemID(), hierarchy.GetItemByDataNode(result)
    inputs, results = (hierarchy.CreateFolderItem(whole, name) for name in ("Inputs", "Results"))
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(whole, "A^B"), "Study")
    for of_pet, before, after in (
        (inputs, whole, inputs),
        (inputs, results, results),
        (whole, results, results),
        (inputs, study, inputs),
        (study, results, study),
        (study, hierarchy.CreateFolderItem(study, "Results"), None),
    ):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(pet), of_pet)
        hierarchy.SetItemParent(item, before)
        nodes.place_beside(pet, result, "output")
        assert hierarchy.GetItemParent(item) == (after or before)


@pytest.mark.parametrize("degrees", [0, 30, 89])
def test_a_pet_that_is_turned_has_the_voxel_size_of_its_run(scene, degrees):
    """4.0625 mm lies between two roundings to four digits."""
    pet = add_volume("PET", np.ones((4, 4, 4), np.float32), ijk_to_ras(oblique(7), (4.0625, 4.0625, 4.0625)))
    pet.SetAndObserveTransformNodeID(add_transform(ijk_to_ras(oblique(degrees), (1, 1, 1))).GetID())
    record = {"inputs": {"pet": {"spacing_mm": [4.0625, 4.0625, 4.0625]}}}
    volumes.check_spacing(pet, record)
    pet.SetSpacing(4.0625, 4.0625, 4.1)
    with raises_named("InputError", "4.1 mm"):
        volumes.check_spacing(pet, record)


@pytest.mark.slow
def test_a_pet_whose_voxel_size_changes_during_its_run_gets_no_result(logic, scene, small_model):
    pet = add_head("PET")
    before = identities(scene)
    job = logic.start(pet, None, model=small_model, device="cpu", steps=2, samples=2)
    assert wait_until(lambda: job._sent)
    pet.SetSpacing(3.0, 3.0, 3.0)
    with raises_named("InputError", "3 x 3 x 3 mm .* 2 x 2 x 2 mm"):
        job.wait()
    assert identities(scene) == before
    logic.close()


def test_a_model_may_be_given_as_a_path(tmp_path):
    missing = tmp_path / "missing"
    models = [Path("tissue"), missing, tmp_path, "tissue", None]
    assert [job.model_there(model) for model in models] == ["tissue", str(missing), str(tmp_path), "tissue", None]


@pytest.mark.parametrize("given", [{"place": 5}, {"place": ["tls://a:8786"]}, {"stepz": 1}, {"stepz": None}], ids=str)
def test_what_is_no_place_or_no_setting_is_refused_before_the_work(logic, scene, given):
    with raises_named("InputError", next(iter(given))):
        logic.start(add_head("PET"), **given)
    assert not logic.busy


def test_a_model_that_is_no_text_is_not_known(logic, scene):
    with raises_named("ModelError", "'5'"):
        logic.start(add_head("PET"), model=5).wait()


def test_a_map_of_a_result_is_no_image(logic, scene):
    pet = add_head("PET")
    denoised, difference = add_result(pet, SLICER.util.arrayFromVolume(pet))
    calls = {
        "PET": lambda: logic.start(difference),
        "MR": lambda: logic.start(pet, difference),
        "reference": lambda: logic.start(pet, fullDoseReferenceVolume=difference),
        "sequence": lambda: logic.startSequence(difference),
        "full dose": lambda: full_dose.start_comparison(logic, denoised, difference),
    }
    for call in calls.values():
        with raises_named("InputError", f"'{difference.GetName()}' is a map"):
            call()
    assert not logic.busy


def test_a_pet_in_no_scene_is_refused_before_the_work(logic, scene):
    """Its result would lie nowhere."""
    loose = SLICER.vtkMRMLScalarVolumeNode()
    loose.Copy(add_head("PET"))
    with raises_named("InputError", "'PET' is in no scene"):
        logic.start(loose, None, device="cpu")


def test_description_has_size_spacing_unit_and_maximum(scene):
    pet = add_volume("PET", np.full((3, 4, 5), 14.2, np.float32), ijk_to_ras(None, (1.5, 2.0, 3.0)))
    suv(pet)
    assert wording.describe(pet) == "5 x 4 x 3 voxels of 1.5 x 2 x 3 mm, SUVbw max 14.2"


def test_what_looks_wrong_has_a_warning(scene):
    pet, mr = add_head("FDG PET"), add_head("T1 MPRAGE")
    assert wording.pet_warnings(pet) == wording.mr_warnings(pet, mr) == []
    assert "looks like an MR" in wording.pet_warnings(mr)[0]
    assert "looks like a PET" in wording.mr_warnings(add_head("other"), pet)[0]
    assert "the PET itself" in wording.mr_warnings(pet, pet)[0]
    mr.SetAndObserveTransformNodeID(add_transform(ijk_to_ras(None, (1, 1, 1), (0, 0, 500))).GetID())
    hardened, apart = wording.mr_warnings(pet, mr)
    assert "'Move' is not hardened" in hardened
    assert "452 mm apart" in apart


def test_frame_of_a_sequence_is_reported(scene):
    pet = add_head("PET")
    sequence = scene.AddNode(SLICER.vtkMRMLSequenceNode())
    sequence.SetDataNodeAtValue(pet, "0")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(pet, sequence, False)
    assert "sequence (4D)" in wording.pet_warnings(pet)[0]
