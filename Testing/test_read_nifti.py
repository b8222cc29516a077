"""NIfTI, Analyze and MGH: values as nibabel scales them, the place as the sform says, and both checked."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.read import read

SHAPE = (10, 9, 8)
VALUES = np.random.default_rng(0).integers(0, 3000, SHAPE).astype(np.int16)
AFFINE = np.array([[-2, 0, 0, 30], [0, 0, 3, -40], [0, 2.5, 0, 50], [0, 0, 0, 1.0]])


def write(path: Path, values=VALUES, affine=AFFINE, kind=nibabel.Nifti1Image, change=None) -> Path:
    """Write by nibabel, with a change to the header that nibabel does not repair on the way."""
    image = kind(values, affine)
    content = image.to_bytes()
    if change:
        header = kind.from_bytes(content).header
        header["vox_offset"] = len(header.binaryblock) + 4
        change(header)
        content = header.binaryblock + content[len(header.binaryblock) :]
    path.write_bytes(gzip.compress(content) if path.name.lower().endswith((".gz", ".mgz")) else content)
    return path


def forms(sform=None, qform=None, **fields):
    """A change of the header: an affine or None (code 0) for each form, then raw fields."""

    def change(header):
        header.set_sform(sform, 2 if sform is not None else 0)
        header.set_qform(AFFINE if qform is None else qform, 1)
        header["qform_code"] = 0 if qform is None else 1
        for name, value in fields.items():
            header[name] = value

    return change


def pixdim(*sides):
    return {"pixdim": [1, *sides, 0, 0, 0, 0]}


def assert_at(volume, affine, values=VALUES):
    """Every voxel has nibabel's value at nibabel's place."""
    np.testing.assert_allclose(sitk.GetArrayFromImage(volume.image).T, values, rtol=1e-6)
    for index in np.ndindex(2, 2, 2):
        corner = np.multiply(index, np.array(SHAPE) - 1)
        there = (affine @ [*corner, 1])[:3] * (-1, -1, 1)
        here = volume.image.TransformIndexToPhysicalPoint(corner.tolist())
        # nibabel 5.0 turns a quaternion of half a turn by a rounding error of float32
        np.testing.assert_allclose(here, there, atol=1e-2)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["pet.nii", "pet.nii.gz", "PET.NII.GZ"])
def test_both_versions_of_nifti(tmp_path, kind, name):
    volume = read(write(tmp_path / name, kind=kind), "PET")
    assert_at(volume, AFFINE)
    assert volume.header.orientation == "sform" and not volume.findings
    assert volume.header.format == kind.__name__.replace("Nifti", "NIfTI-").replace("Image", "")


def test_scaling_of_the_header_is_applied(tmp_path):
    def change(header):
        header["scl_slope"], header["scl_inter"] = 0.37, 12.5

    volume = read(write(tmp_path / "pet.nii", change=change), "PET")
    path = tmp_path / "pet.nii"
    np.testing.assert_allclose(nibabel.load(path).get_fdata(), VALUES * 0.37 + 12.5, rtol=1e-6)
    assert_at(volume, AFFINE, VALUES * 0.37 + 12.5)


@pytest.mark.parametrize(("name", "reader"), [("pet.nii.gz", "nii"), ("pet.nii", "gz")])
def test_name_that_is_wrong_about_compression(tmp_path, name, reader):
    content = nibabel.Nifti1Image(VALUES, AFFINE).to_bytes()
    (tmp_path / name).write_bytes(content if reader == "nii" else gzip.compress(content))
    assert_at(read(tmp_path / name, "PET"), AFFINE)


MOVED = AFFINE + np.array([[0, 0, 0, 6], [0, 0, 0, 0], [0, 0, 0, 8], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("change", "affine", "orientation", "code"),
    [
        (forms(AFFINE, AFFINE), AFFINE, "sform", None),
        (forms(AFFINE, MOVED), AFFINE, "sform", "orientation.forms_disagree"),
        (forms(None, MOVED), MOVED, "qform", None),
        (forms(AFFINE, None, **pixdim(1, 1, 1)), AFFINE, "sform", "orientation.voxel_size"),
        (forms(AFFINE, None, **pixdim(np.nan, 2.5, 3)), AFFINE, "sform", "orientation.voxel_size"),
        (forms(AFFINE, None, **pixdim(0, 2.5, 3)), AFFINE, "sform", "orientation.voxel_size"),
        (forms(AFFINE, AFFINE, **pixdim(1, 1, 1)), AFFINE, "sform", "orientation.voxel_size"),
        (forms(AFFINE, AFFINE, quatern_b=np.nan), AFFINE, "sform", "orientation.qform_broken"),
    ],
)
def test_sform_before_qform(tmp_path, change, affine, orientation, code):
    path = write(tmp_path / "pet.nii", change=change)
    volume = read(path, "PET")
    assert_at(volume, affine)
    np.testing.assert_allclose(nibabel.load(path).affine, affine, atol=1e-3)
    assert volume.header.orientation == orientation
    codes = [finding.code for finding in volume.findings if finding.is_warning]
    assert codes == ([] if code is None else codes) and (code is None or code in codes)


def test_distance_of_the_forms(tmp_path):
    volume = read(write(tmp_path / "pet.nii", change=forms(AFFINE, MOVED)), "PET")
    assert find(volume.findings, "orientation.forms_disagree").values["distance_mm"] == pytest.approx(10, abs=0.01)


def test_left_right_flip_between_the_forms_is_seen(tmp_path):
    flipped = np.diag([-1, 1, 1, 1.0]) @ AFFINE
    volume = read(write(tmp_path / "pet.nii", change=forms(AFFINE, flipped)), "PET")
    assert find(volume.findings, "orientation.forms_disagree").values["distance_mm"] > 20


@pytest.mark.parametrize("sides", [(0, 2.5, 3), (np.nan, 2.5, 3)])
@pytest.mark.parametrize("qform", [None, AFFINE])
def test_no_voxel_size_anywhere_is_refused(tmp_path, sides, qform):
    with pytest.raises(InputError, match="no voxel size"):
        read(write(tmp_path / "pet.nii", change=forms(None, qform, **pixdim(*sides))), "PET")


def test_no_orientation_is_placed_as_nibabel_does_and_reported(tmp_path):
    path = write(tmp_path / "pet.nii", change=forms(None, None))
    volume = read(path, "PET")
    assert_at(volume, nibabel.load(path).affine)
    assert volume.header.orientation == "none" and find(volume.findings, "orientation.none").is_warning


def test_slight_shear_is_reported_and_a_large_one_refused(tmp_path):
    for shear, limit in ((0.1, None), (0.8, "sheared")):
        affine = AFFINE.copy()
        affine[0, 1] = shear
        path = write(tmp_path / "pet.nii", change=forms(affine, None))
        if limit:
            with pytest.raises(InputError, match=limit):
                read(path, "PET")
        else:
            volume = read(path, "PET")
            assert 0 < find(volume.findings, "orientation.shear").values["distance_mm"] < 1


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
def test_length_in_another_unit_is_converted(tmp_path, unit, factor):
    scaled = AFFINE * factor
    scaled[3, 3] = 1

    def change(header):
        header.set_xyzt_units(unit, "sec")

    volume = read(write(tmp_path / "pet.nii", affine=scaled, change=change), "PET")
    assert_at(volume, AFFINE)
    assert find(volume.findings, "units.length").values["unit"] == unit
    wrong = read(write(tmp_path / "pet.nii", change=change), "PET")
    assert_at(wrong, AFFINE)
    assert find(wrong.findings, "units.length_ignored").is_warning


@pytest.mark.parametrize("suffix", [".img", ".hdr"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage])
def test_pairs_keep_nan(tmp_path, kind, suffix):
    values = VALUES.astype(np.float32)
    values[3, 4, 5], values[0, 0, 0] = np.nan, np.inf
    nibabel.save(
        kind(values, AFFINE if kind is nibabel.Nifti1Pair else np.diag([-2, 2.5, 3, 1.0])), tmp_path / "pet.img"
    )
    if kind is nibabel.AnalyzeImage:
        (tmp_path / "pet.mat").unlink(missing_ok=True)
    volume = read(tmp_path / f"pet{suffix}", "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image).T, values)
    assert (find(volume.findings, "orientation.none") is None) == (kind is not nibabel.AnalyzeImage)
    assert len(volume.header.files) >= 2


def test_half_of_a_pair_is_named(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(VALUES, AFFINE), tmp_path / "pet.img")
    (tmp_path / "pet.img").unlink()
    with pytest.raises(InputError, match=r"pet\.img.*missing"):
        read(tmp_path / "pet.hdr", "PET")


@pytest.mark.parametrize("name", ["mr.mgz", "mr.mgh"])
def test_freesurfer_volume(tmp_path, name):
    volume = read(write(tmp_path / name, VALUES.astype(np.float32), kind=nibabel.MGHImage), "MR")
    assert_at(volume, AFFINE)


@pytest.mark.parametrize("name", ["pet.nii", "pet.nii.gz", "pet.mgz"])
@pytest.mark.parametrize("share", [0.3, 0.999])
def test_cut_short_is_refused(tmp_path, name, share):
    path = write(
        tmp_path / name, VALUES.astype(np.float32), kind=nibabel.MGHImage if "mgz" in name else nibabel.Nifti1Image
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut short|cannot be read"):
        read(path, "PET")


def test_header_of_a_huge_volume_is_refused_before_anything_is_allocated(tmp_path):
    def change(header):
        header["dim"][1:4] = 30000

    with pytest.raises(InputError, match=r"cut short: .*30000 x 30000 x 30000"):
        read(write(tmp_path / "pet.nii", change=change), "PET")


def dynamic(path: Path, count: int = 3) -> tuple[Path, np.ndarray]:
    values = np.stack([VALUES + 10 * index for index in range(count)], axis=-1).astype(np.float32)

    def change(header):
        header["pixdim"][4] = 30
        header.set_xyzt_units("mm", "sec")

    return write(path, values, change=change), values


def test_dynamic_study_names_its_frames_and_gives_one(tmp_path):
    path, values = dynamic(tmp_path / "pet.nii.gz")
    with pytest.raises(InputError, match=r"3 frames \(0 to 90 s\)"):
        read(path, "PET")
    volume = read(path, "PET", frame=2)
    assert_at(volume, AFFINE, values[..., 2])
    assert [each.start_s for each in volume.header.frames] == [0, 30, 60] and volume.header.frame == 2


def test_frame_times_of_the_sidecar(tmp_path):
    path, _ = dynamic(tmp_path / "sub-01_pet.nii.gz")
    entries = {"Units": "Bq/mL", "FrameTimesStart": [0, 10, 40], "FrameDuration": [10, 30, 60]}
    (tmp_path / "sub-01_pet.json").write_text(json.dumps(entries))
    volume = read(path, "PET", frame=0)
    assert [each.duration_s for each in volume.header.frames] == [10, 30, 60]
    assert volume.unit == "Bq/mL"


def test_a_sidecar_of_another_number_of_frames_is_reported(tmp_path):
    path, _ = dynamic(tmp_path / "pet.nii.gz")
    for entries in (
        {"FrameTimesStart": [0, 10, 40, 100], "FrameDuration": [10, 30, 60, 60]},
        {"FrameDuration": [9] * 4},
    ):
        (tmp_path / "pet.json").write_text(json.dumps(entries))
        volume = read(path, "PET", frame=0)
        assert [each.start_s for each in volume.header.frames] == [0, 30, 60]
        assert find(volume.findings, "frames.other_number").values == {"what": "PET", "stated": 4, "count": 3}


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"Units": 3}', "\ud7ff".encode("utf-16").hex(), '{"format": 1}'])
def test_odd_sidecar_is_no_obstacle(tmp_path, text):
    (tmp_path / "pet.json").write_text(text)
    volume = read(write(tmp_path / "pet.nii"), "PET")
    assert volume.unit == "unknown"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_sidecar_that_is_a_link_to_nothing_is_reported(tmp_path):
    (tmp_path / "pet.json").symlink_to("annex/objects/pet.json")
    volume = read(write(tmp_path / "pet.nii"), "PET")
    assert find(volume.findings, "sidecar.unreadable").values == {"what": "PET", "file": "pet.json"}


def test_values_that_float32_cannot_carry_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"3e\+203"):
        read(write(tmp_path / "pet.nii", np.full(SHAPE, 3e203)), "PET")


def test_several_values_a_voxel_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 values per voxel"):
        read(write(tmp_path / "pet.nii", np.zeros((*SHAPE, 1, 3), np.float32)), "PET")
    colour = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(InputError, match="3 values per voxel"):
        read(write(tmp_path / "pet.nii", colour), "PET")


def test_one_frame_in_four_dimensions(tmp_path):
    assert_at(read(write(tmp_path / "pet.nii", VALUES[..., None]), "PET"), AFFINE)


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (72, "h", 16, "16 bits a voxel"),
        (108, "f", 0.0, "begin at byte 0"),
        (112, "f", float("inf"), "scl_slope inf"),
        (112, "f", 1e38, "scl_slope 1e"),
        (112, "f", 1e35, "beyond what is computed with"),
        (112, "f", 1e-38, "beyond what is computed with"),
    ],
    ids=["bitpix", "vox_offset", "infinite slope", "overflowing slope", "huge slope", "tiny slope"],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_entries_that_contradict_the_values_are_refused(tmp_path, offset, form, value, words, suffix):
    path = tmp_path / f"pet{suffix}"
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 8), 100, np.float32), np.eye(4)), path)
    content = bytearray(gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes())
    struct.pack_into(f"<{form}", content, offset, value)
    path.write_bytes(gzip.compress(bytes(content)) if suffix == ".nii.gz" else content)
    with pytest.raises(InputError, match=words):
        read(path, "PET")


@pytest.mark.parametrize("shape", [(8, 8, 7), (8, 8, 4)])
def test_more_voxels_than_the_header_says_are_reported(tmp_path, shape):
    path, values = tmp_path / "pet.nii", np.arange(512, dtype=np.float32).reshape(8, 8, 8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    assert "voxels.more" not in [finding.code for finding in read(path, "PET").findings]
    content = bytearray(path.read_bytes())
    struct.pack_into("<3h", content, 42, *shape)
    path.write_bytes(content)
    (finding,) = (each for each in read(path, "PET").findings if each.code == "voxels.more")
    assert finding.is_warning and (finding.values["needed"], finding.values["there"]) == (int(np.prod(shape)), 512)


@pytest.mark.parametrize("size", [[3, 10, 9, 0, 1, 1, 1, 1], [4, 10, 9, 8, 0, 1, 1, 1], [3, 10, 9, -8, 1, 1, 1, 1]])
def test_a_size_of_no_voxels_is_refused(tmp_path, size):
    path = write(tmp_path / "pet.nii", change=lambda header: header.__setitem__("dim", size))
    with pytest.raises(InputError, match="there are none"):
        read(path, "PET")


@pytest.mark.parametrize("name", ["pet.NII", "pet.Nii.gz", "pet.nii.GZ"])
def test_letters_of_a_suffix_may_be_large(tmp_path, name):
    assert_at(read(write(tmp_path / name), "PET"), AFFINE)


def test_nibabel_says_nothing_on_its_own(tmp_path, caplog, capfd):
    write(tmp_path / "pet.nii", change=forms(AFFINE, datatype=999))
    with pytest.raises(InputError, match="999"):
        read(tmp_path / "pet.nii", "PET")
    assert not caplog.records and not capfd.readouterr().err


def mgh(path: Path, at: int, form: str, value: float) -> Path:
    content = bytearray(nibabel.MGHImage(VALUES.astype(np.float32), AFFINE).to_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(gzip.compress(content) if path.suffix == ".mgz" else content)
    return path


@pytest.mark.parametrize("name", ["pet.mgh", "pet.mgz", "pet.MGZ"])
def test_freesurfer_volume_without_orientation_is_reported(tmp_path, name):
    volume = read(mgh(tmp_path / name, 28, ">h", 0), "PET")
    assert volume.header.orientation == "none" and find(volume.findings, "orientation.none")


@pytest.mark.parametrize(
    ("at", "form", "value", "word"),
    [(42, ">f", 5.0, "contradicts"), (30, ">f", -2.0, "contradicts"), (20, ">i", 99, "type 99")],
    ids=["cosine of 5", "negative voxel", "unknown type"],
)
def test_freesurfer_header_that_contradicts_itself_is_refused(tmp_path, at, form, value, word):
    with pytest.raises(InputError, match=word):
        read(mgh(tmp_path / "pet.mgh", at, form, value), "PET")


def test_scale_of_an_analyze_header_is_reported(tmp_path):
    for slope in (0.0, 0.25):
        image = nibabel.Spm2AnalyzeImage(VALUES, np.diag([2, 2, 2, 1.0]))
        nibabel.save(image, tmp_path / "pet.img")
        content = bytearray((tmp_path / "pet.hdr").read_bytes())
        struct.pack_into("<f", content, 112, slope)
        (tmp_path / "pet.hdr").write_bytes(content)
        volume = read(tmp_path / "pet.img", "PET")
        assert sitk.GetArrayFromImage(volume.image).max() == VALUES.max() * (slope or 1)
        assert bool(find(volume.findings, "values.analyze_scale")) == bool(slope)


@pytest.mark.parametrize(("at", "value"), [(76, 0.0), (80, -2.0)], ids=["pixdim[0]", "pixdim[1]"])
def test_forms_that_agree_whatever_the_sign_of_the_voxels(tmp_path, at, value):
    affine, path = np.diag([2.0, 3.0, 2.5, 1.0]), tmp_path / "pet.nii"
    image = nibabel.Nifti1Image(VALUES, affine)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, at, value)
    path.write_bytes(content)
    assert read(path, "PET").findings == ()


def test_analyze_file_without_a_voxel_size_is_refused(tmp_path):
    nibabel.save(nibabel.AnalyzeImage(VALUES, np.diag([2.0, 3.0, 2.5, 1.0])), tmp_path / "pet.img")
    content = bytearray((tmp_path / "pet.hdr").read_bytes())
    struct.pack_into("<f", content, 80, 0.0)
    (tmp_path / "pet.hdr").write_bytes(content)
    with pytest.raises(InputError, match="no voxel size: its header holds 0, 3"):
        read(tmp_path / "pet.img", "PET")
