"""Reading: every format comes back as the same volume in the same place; everything else is one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.cluster.parcels import digest_of, pack_inputs
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read, read_volume, units_of
from CSRDDenoiseLib.io.record import describe_file

SLICES = 6


def write_series(folder: Path, uid: str = "1.2.826.0.1.3680043.2.1", skip: tuple[int, ...] = ()) -> np.ndarray:
    """A DICOM PET series, each slice with a rescale slope of its own as scanners write them; return its values."""
    folder.mkdir(exist_ok=True)
    slopes = np.arange(1, SLICES + 1) * 0.25
    values = np.random.default_rng(0).integers(0, 30000, (SLICES, 8, 10)) * slopes[:, None, None]
    for i in range(SLICES):
        if i in skip:
            continue
        image = sitk.GetImageFromArray(values[i : i + 1])
        image.SetSpacing((2.5, 2.0, 3.0))
        tags = {
            "0008|0060": "PT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.128",
            "0008|0018": f"{uid}.{i + 1}",
            "0020|000d": "1.2.826.0.1.3680043.2.9",
            "0020|000e": uid,
            "0008|103e": f"Brain {uid[-1]}",
            "0020|0032": f"-10\\-20\\{7 + 3 * i}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(SLICES - i),
            "0028|0100": "16",
            "0028|0101": "16",
            "0028|0102": "15",
            "0028|0103": "0",
            "0028|1052": "0",
            "0028|1053": str(slopes[i]),
            "0054|1001": "BQML",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{uid[-1]}_{i}.dcm"))
        writer.Execute(image)
    return values


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_every_format_gives_the_same_volume_in_the_same_place(tmp_path, suffix):
    image = as_image(head_array(), (1.1, 2.2, 3.3), direction=rotation(20))
    sitk.WriteImage(image, str(tmp_path / f"pet{suffix}"))
    read = read_volume(tmp_path / f"pet{suffix}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    corners = Grid.of(read).corners(), Grid.of(image).corners()
    np.testing.assert_allclose(*corners, atol=1e-3)


def test_integers_become_float32_and_float64_stays(tmp_path):
    for stored, read_as in ((sitk.sitkInt16, sitk.sitkFloat32), (sitk.sitkFloat64, sitk.sitkFloat64)):
        sitk.WriteImage(sitk.Cast(as_image(head_array()), stored), str(tmp_path / "pet.nrrd"))
        assert read_volume(tmp_path / "pet.nrrd").GetPixelID() == read_as


def test_fourth_dimension_of_one_is_no_dimension(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([as_image(head_array())]), str(tmp_path / "pet.nrrd"))
    assert read_volume(tmp_path / "pet.nrrd").GetSize() == as_image(head_array()).GetSize()


def test_dicom_series_in_position_order_with_its_own_slopes_and_unit(tmp_path):
    values = write_series(tmp_path / "series")
    image = read_volume(tmp_path / "series")
    assert image.GetOrigin() == pytest.approx((-10, -20, 7))
    assert image.GetSpacing() == pytest.approx((2.5, 2, 3))
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), values, rtol=1e-6)
    assert units_of(image) == "Bq/mL"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: None, ["does not exist"]),
        (lambda f: f.mkdir(), ["no DICOM series"]),
        (lambda f: (f.mkdir(), (f / "note.txt").write_text("hello")), ["no DICOM series"]),
        (lambda f: write_series(f, skip=(2, 3)), ["lacks about 2", "9.00 mm"]),
        (lambda f: (write_series(f), write_series(f, "1.2.826.0.1.3680043.2.2")), ["2 DICOM series", "'Brain 1'"]),
    ],
    ids=["missing", "empty", "no dicom", "missing slices", "two series"],
)
def test_folder_that_cannot_be_used_is_reported(tmp_path, make, words):
    make(tmp_path / "folder")
    with pytest.raises(InputError) as error:
        read_volume(tmp_path / "folder", "PET")
    assert all(word in str(error.value) for word in ["PET", *words]), str(error.value)


def test_doubled_slices_are_reported(tmp_path):
    write_series(tmp_path / "series")
    name = tmp_path / "series" / "1_3.dcm"
    copy = sitk.ReadImage(str(name))
    copy.SetMetaData("0008|0018", "1.2.826.0.1.3680043.2.77")
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(tmp_path / "series" / "again.dcm"))
    writer.Execute(copy)
    with pytest.raises(InputError, match="1 of 7 slices"):
        read_volume(tmp_path / "series")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (sitk.Image(8, 8, sitk.sitkFloat32), ["2 dimensions", "8 x 8"]),
        (sitk.Image([8, 8, 1], sitk.sitkFloat32), ["single slice", "8 x 8 x 1"]),
        (sitk.Image([8, 8, 8, 3], sitk.sitkFloat32), ["4 dimensions", "8 x 8 x 8 x 3"]),
        (sitk.Image([8, 8, 8], sitk.sitkVectorFloat32, 3), ["3 values per voxel"]),
    ],
    ids=["2D", "slice", "4D", "vector"],
)
def test_what_is_no_volume_is_reported(tmp_path, image, words):
    sitk.WriteImage(image, str(tmp_path / "pet.nrrd"))
    with pytest.raises(InputError) as error:
        read_volume(tmp_path / "pet.nrrd")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_file_cut_short_is_reported(tmp_path, suffix, share):
    path = tmp_path / f"pet{suffix}"
    sitk.WriteImage(as_image(head_array()), str(path), True)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cannot be read|cut short"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkFloat64])
def test_nan_and_infinity_are_not_lost(tmp_path, suffix, kind):
    array = head_array()
    array[3, 4, 5], array[6, 7, 8] = np.nan, np.inf
    image = sitk.Cast(as_image(array), kind)
    sitk.WriteImage(image, str(tmp_path / f"pet{suffix}"))
    read = read_volume(tmp_path / f"pet{suffix}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), array)
    assert Grid.of(read).size == Grid.of(image).size


def test_nan_in_a_big_endian_nifti_is_not_lost(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    array = head_array()
    array[3, 4, 5] = np.nan
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4), header), tmp_path / "pet.nii")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(tmp_path / "pet.nii")), array)


NRRD = "NRRD0004\ntype: int16\ndimension: 3\nsizes: 6 5 4\nendian: little\nencoding: raw\n{}\n"
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{}DimSize = 6 5 4\n"
    "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)
DIRECTIONS = "space directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (1,2,3)\n"
TURNED = "TransformMatrix = 0 1 0 -1 0 0 0 0 1\n"
COUNTED = np.arange(120, dtype=np.int16).reshape(4, 5, 6)


def write_header(path: Path, header: str) -> Path:
    path.write_bytes((NRRD if path.suffix == ".nrrd" else META).format(header).encode() + COUNTED.tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "header", "codes"),
    [
        ("pet.nrrd", f"space: left-posterior-superior\n{DIRECTIONS}", []),
        ("pet.nrrd", f"space: RAS\n{DIRECTIONS}", []),
        ("pet.nrrd", f"Space: RAS\n{DIRECTIONS}", []),
        ("pet.nrrd", f"space: RAS\n{DIRECTIONS.splitlines()[0]}\n", ["orientation.none"]),
        ("pet.nrrd", f"space: scanner-xyz\n{DIRECTIONS}", ["orientation.none"]),
        ("pet.nrrd", f"space dimension: 3\n{DIRECTIONS}", ["orientation.none"]),
        ("pet.nrrd", "spacings: 1 1 2\n", ["orientation.none"]),
        ("pet.nrrd", "spacings: nan nan nan\n", ["orientation.none", "orientation.no_spacing"]),
        ("pet.nrrd", "", ["orientation.none", "orientation.no_spacing"]),
        ("pet.mha", f"{TURNED}ElementSpacing = 1 1 2\nOffset = 1 2 3\n", []),
        ("pet.mha", f"{TURNED}ElementSpacing = 1 1 2\n", ["orientation.none"]),
        ("pet.mha", "ElementSpacing = 1 1 2\n", ["orientation.none"]),
        ("pet.mha", "", ["orientation.none", "orientation.no_spacing"]),
    ],
)
def test_what_a_header_does_not_say_is_reported(tmp_path, name, header, codes):
    volume = read(write_header(tmp_path / name, header), "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), COUNTED)
    assert [finding.code for finding in volume.findings] == codes


@pytest.mark.parametrize(
    ("name", "header", "words"),
    [
        ("pet.mha", "ElementToIntensityFunctionSlope = 2\nElementSpacing = 1 1 2\n", "Slope = 2"),
        ("pet.mha", "  elementToIntensityFunctionSlope : 2\nElementSpacing = 1 1 2\n", "scaled"),
        ("pet.mha", "ElementSpacing = 1 1 2\nDistanceUnits = cm\n", "lengths in cm"),
        ("pet.mha", f"{TURNED}ElementSpacing = 1 1 2\nOffset = nan 2 3\n", "nan 2 3"),
        ("pet.nrrd", f'space: RAS\n{DIRECTIONS}space units: "m" "m" "m"\n', "lengths in m"),
        ("pet.nrrd", f'space: RAS\n{DIRECTIONS}Space Units: "m" "m" "m"\n', "lengths in m"),
        ("pet.nrrd", 'spacings: 1 1 2\nunits: "cm" "cm" "cm"\n', "lengths in cm"),
        ("pet.nrrd", f"space: RAS\n{DIRECTIONS}old min: 0\nold max: 1000\n", "quantised"),
        ("pet.nrrd", "space: RAS\nspace directions: (1,0,0) (0,1,0) none\n", "steps along its axes"),
    ],
)
def test_what_itk_ignores_is_refused(tmp_path, name, header, words):
    with pytest.raises(InputError, match=words):
        read(write_header(tmp_path / name, header), "PET")


@pytest.mark.parametrize("suffix", [".vtk", ".gipl", ".mrc", ".tif"])
def test_formats_that_lose_directions_are_refused(tmp_path, suffix):
    sitk.WriteImage(as_image(head_array(), direction=rotation(20)), str(tmp_path / f"pet{suffix}"))
    with pytest.raises(InputError, match="Convert it to NIfTI"):
        read_volume(tmp_path / f"pet{suffix}")


def test_a_name_without_a_suffix_is_not_the_nifti_beside_it(tmp_path):
    """ITK reads ``pet.nii`` where ``pet`` is given, and follows the qform."""
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii"))
    (tmp_path / "pet").write_bytes((tmp_path / "pet.nii").read_bytes())
    with pytest.raises(InputError, match=r"ends in .nii"):
        read_volume(tmp_path / "pet")


def test_a_list_of_one_value_a_voxel_is_a_volume(tmp_path):
    header = NRRD.format(f"space: LPS\n{DIRECTIONS.replace(': (', ': none (', 1)}kinds: list domain domain domain\n")
    header = header.replace("dimension: 3\nsizes: 6", "dimension: 4\nsizes: 1 6")
    (tmp_path / "pet.nrrd").write_bytes(header.encode() + COUNTED.tobytes())
    volume = read(tmp_path / "pet.nrrd", "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), COUNTED)
    assert volume.image.GetOrigin() == (1, 2, 3) and not volume.findings


def test_unit_of_the_samples_of_nrrd(tmp_path):
    volume = read(write_header(tmp_path / "pet.nrrd", f"space: LPS\n{DIRECTIONS}sample units: Bq/ml\n"), "PET")
    assert volume.unit == units_of(volume.image) == "Bq/ml"


def test_missing_and_short_voxel_files_are_no_missing_header(tmp_path):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.mhd"))
    (tmp_path / "pet.raw").write_bytes((tmp_path / "pet.raw").read_bytes()[:1000])
    for change in ((lambda: None), (tmp_path / "pet.raw").unlink):
        change()
        with pytest.raises(InputError, match=r"cut short or (missing|damaged)"):
            read_volume(tmp_path / "pet.mhd")


def meta_image(folder: Path, suffix: str, compressed: bool) -> tuple[Path, Path]:
    """A MetaImage file, and the file with its voxels."""
    path = folder / f"pet{suffix}"
    sitk.WriteImage(as_image(head_array()), str(path), compressed)
    return path, path if suffix == ".mha" else path.with_suffix(".zraw" if compressed else ".raw")


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_meta_image_that_is_cut_short_is_found_before_it_is_read(tmp_path, monkeypatch, suffix, compressed, share):
    path, voxels = meta_image(tmp_path, suffix, compressed)
    content = voxels.read_bytes()
    voxels.write_bytes(content[: int(len(content) * share)])
    # as SimpleITK up to 2.3 does, which takes what lies in memory for the rest
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", lambda self: as_image(head_array()))
    with pytest.raises(InputError, match=rf"cut short or damaged: its header says {head_array().size} values"):
        read(path, "PET")


def test_damaged_compressed_meta_image_is_refused(tmp_path, monkeypatch):
    path, voxels = meta_image(tmp_path, ".mhd", True)
    content = bytearray(voxels.read_bytes())
    content[len(content) // 2] ^= 0xFF
    voxels.write_bytes(content)
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", lambda self: as_image(head_array()))
    with pytest.raises(InputError, match="cut short or damaged"):
        read(path, "PET")


def test_meta_image_in_text_that_is_cut_short_is_refused(tmp_path):
    header = META.format("").replace("BinaryData = True", "BinaryData = False")
    (tmp_path / "pet.mha").write_text(header + " ".join(map(str, range(100))))
    with pytest.raises(InputError, match="says 120 values, and 100 are in it"):
        read(tmp_path / "pet.mha", "PET")


@pytest.mark.parametrize(
    "named, word", [("%s%n.raw 1 9 1", "pattern"), ("%d%d.raw", "pattern"), ("LIST", "0 files"), (".", "not a file")]
)
def test_meta_image_whose_voxels_are_in_no_file_is_refused(tmp_path, named, word):
    tags = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_FLOAT\n"
    (tmp_path / "pet.mhd").write_text(f"{tags}ElementDataFile = {named}\n")
    with pytest.raises(InputError, match=word):
        read_volume(tmp_path / "pet.mhd")


@pytest.mark.parametrize(
    ("name", "header"), [("pet.mha", "ElementSpacing = 1 1 2\n"), ("pet.nrrd", "spacings: 1 1 2\n")]
)
def test_more_voxels_than_the_header_says_are_reported(tmp_path, name, header):
    path = write_header(tmp_path / name, header)
    assert "voxels.more" not in [finding.code for finding in read(path, "PET").findings]
    path.write_bytes(path.read_bytes() + COUNTED.tobytes())
    (finding,) = (each for each in read(path, "PET").findings if each.code == "voxels.more")
    assert finding.is_warning and (finding.values["needed"], finding.values["there"]) == (120, 240)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_is_not_missing(tmp_path):
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii"))
    (tmp_path / "pet.nii").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read_volume(tmp_path / "pet.nii")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pet.nii")
    with pytest.raises(InputError, match="pipe"):
        read_volume(tmp_path / "pet.nii")


def test_a_path_in_a_file_does_not_exist(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Not a directory"):
        read_volume(tmp_path / "file" / "pet.nii")
    with pytest.raises(InputError, match="too long"):
        read_volume(tmp_path / f"{'x' * 300}.nii")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"/annex/objects/MD5E-s9--00.nii\n", "git annex get"),
    ],
)
def test_a_pointer_to_content_elsewhere_is_named(tmp_path, content, word):
    (tmp_path / "pet.nii").write_bytes(content)
    with pytest.raises(InputError, match=word):
        read_volume(tmp_path / "pet.nii")


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "pet.nii").symlink_to("annex/objects/pet.nii")
    with pytest.raises(InputError, match=r"link to 'annex/objects/pet.nii', which is not there"):
        read_volume(tmp_path / "pet.nii")


def test_slices_that_are_links_to_nothing_are_no_end_of_the_stack(tmp_path):
    write_series(tmp_path / "pet", skip=(0,))
    (tmp_path / "pet" / "1_0.dcm").symlink_to("../annex/1_0.dcm")
    with pytest.raises(InputError, match="1 links to files"):
        read_volume(tmp_path / "pet", "PET")


@pytest.mark.parametrize("named", ["voxels one.raw", "LIST", "v%03d.raw 1 6 1", "nrrd"])
def test_voxels_in_other_files_belong_to_the_checksum(tmp_path, named):
    """Headers of one scanner are all the same; its voxels are not."""
    array = head_array((6, 8, 10))
    if named == "nrrd":
        path, names = tmp_path / "pet.nhdr", ["voxels.raw"]
        sitk.WriteImage(as_image(array), str(path))
        os.rename(tmp_path / "pet.raw", tmp_path / names[0])
        path.write_text(path.read_text().replace("pet.raw", names[0]))
    else:
        path, parts = tmp_path / "pet.mhd", 1 if named.endswith("one.raw") else 6
        names = [named] if parts == 1 else [f"v{number:03d}.raw" for number in range(1, 7)]
        listed = "".join(f"\n{name}" for name in names) if named == "LIST" else ""
        path.write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 10 8 6\nElementType = MET_FLOAT\nElementSpacing = 2 2 2\n"
            f"ElementDataFile = {named}{listed}\n"
        )
        for name, part in zip(names, np.split(array, parts)):
            (tmp_path / name).write_bytes(part.tobytes())
    volume = read(path, "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), array)
    assert volume.header.files == (path, *(tmp_path / name for name in names))
    before = {describe_file(path, volume.header.files).sha256, digest_of(path, "PET")}
    content = bytearray((tmp_path / names[-1]).read_bytes())
    content[-3] ^= 1
    (tmp_path / names[-1]).write_bytes(content)
    assert not before & {describe_file(path, volume.header.files).sha256, digest_of(path, "PET")}
    assert set(names) <= {name.partition("/")[2] for name in pack_inputs({"pet": path}).files}
