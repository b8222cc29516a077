"""Writing: what a NIfTI input says about itself is kept, names of any kind are written or refused before the work."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io import write as write_module
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read, read_volume
from CSRDDenoiseLib.io.write import (
    all_or_nothing,
    check_output_path,
    output_suffix,
    read_record,
    record_path,
    sidecar_path,
    write_image,
)

IMAGE = as_image(head_array(), (1.1, 2.2, 3.3), direction=rotation(20))
linux = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")


def written(path: Path, image: sitk.Image = IMAGE, **options) -> Path:
    with all_or_nothing([path]) as temporary:
        write_image(image, temporary[path], **options)
    return path


EXTENSIONS = (("comment", b"made by the scanner"), ("afni", b"<AFNI_attributes/>"))


def pet_file(path: Path, kind=nibabel.Nifti1Image, sform_code=4, qform_code=1) -> Path:
    affine = np.array([[-2, 0, 0, 30], [0, 2.5, 0, -40], [0, 0, 3, 50], [0, 0, 0, 1.0]])
    image = kind(head_array().T, affine)
    image.set_sform(affine, sform_code)
    moved = affine.copy()
    moved[:3, 3] += (4, 0, 3)
    image.set_qform(moved, qform_code, update_affine=False)
    header = image.header
    header.set_xyzt_units("mm", "msec")
    header["descrip"], header["intent_name"], header["aux_file"] = b"FBP 5mm", b"FDG", b"study"
    header["toffset"] = 7
    header.extensions.extend(nibabel.nifti1.Nifti1Extension(code, text) for code, text in EXTENSIONS)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("codes", [(4, 1), (1, 0), (0, 1), (2, 2)])
def test_forms_codes_units_and_texts_are_kept(tmp_path, kind, codes):
    volume = read(pet_file(tmp_path / "pet.nii", kind, *codes), "PET")
    path = written(tmp_path / "out.nii.gz", volume.image, like=volume)
    before, after = (nibabel.load(each).header for each in (tmp_path / "pet.nii", path))
    assert type(after) is type(before)
    for name in ("sform_code", "qform_code", "xyzt_units", "descrip", "intent_name", "aux_file", "toffset"):
        assert after[name] == before[name], name
    # padded to a multiple of 16 bytes in the file
    kept = [(each.get_code(), each.get_content().rstrip(b"\0")) for each in after.extensions]
    assert kept == [(6, EXTENSIONS[0][1]), (4, EXTENSIONS[1][1])]
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    np.testing.assert_allclose(after.get_qform(), before.get_qform(), atol=1e-5)
    again = read(path, "PET")
    assert again.findings == volume.findings
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again.image), sitk.GetArrayFromImage(volume.image))


def test_a_map_does_not_take_the_meaning_of_the_pet(tmp_path):
    volume = read(pet_file(tmp_path / "pet.nii"), "PET")
    header = nibabel.load(written(tmp_path / "std.nii", volume.image, like=volume, describes=False)).header
    assert not header.extensions
    assert not header["descrip"].item() and not header["intent_name"].item() and header["sform_code"] == 4


def test_voxel_size_that_was_missing_is_there(tmp_path):
    path = pet_file(tmp_path / "pet.nii", qform_code=0)
    content = bytearray(path.read_bytes())
    content[80:92] = np.array([np.nan, 0, 1], np.float32).tobytes()
    path.write_bytes(content)
    volume = read(path, "PET")
    header = nibabel.load(written(tmp_path / "out.nii", volume.image, like=volume)).header
    assert header.get_zooms() == pytest.approx((2, 2.5, 3))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_every_format_keeps_values_and_place(tmp_path, suffix):
    image = sitk.Cast(IMAGE, sitk.sitkFloat64)
    image[3, 4, 5] = float("nan")
    read_back = read_volume(written(tmp_path / f"out{suffix}", image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_back), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(Grid.of(read_back).corners(), Grid.of(image).corners(), atol=1e-3)


def test_itk_reads_the_same_place(tmp_path):
    path = written(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(Grid.of(sitk.ReadImage(str(path))).corners(), Grid.of(IMAGE).corners(), atol=1e-3)


def test_same_image_gives_the_same_bytes(tmp_path):
    one, other = (written(tmp_path / f"{name}.nii.gz").read_bytes() for name in "ab")
    assert one == other


def test_unit_goes_with_a_nrrd(tmp_path):
    (tmp_path / "pet.json").write_text(json.dumps({"Units": "kBq/mL"}))
    volume = read(pet_file(tmp_path / "pet.nii"), "PET")
    assert read(written(tmp_path / "out.nrrd", volume.image, like=volume), "PET").unit == "kBq/mL"


@pytest.mark.parametrize(
    "name",
    ["x.nii.gz.nii.gz", "x.img.nii.gz", "x.hdr.nii", "x.nii.nrrd", "x.nrrd.mha", "OUT.NII.GZ", "OUT.MHA", "OUT.NRRD"]
    + [f"{'n' * (255 - len(suffix))}{suffix}" for suffix in (".nii.gz", ".nrrd", ".mha")]
    + ["a b%d{x}'.nii", "ä\u4e2d.nii.gz", "[a].mha"],
)
def test_names_of_every_kind_are_written(tmp_path, name):
    path = written(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    content = path.read_bytes()
    expected = {".gz": b"\x1f\x8b", ".nii": b"\\\x01", ".nrrd": b"NRRD", ".mha": b"ObjectType"}[path.suffix.lower()]
    assert content.startswith(expected)
    check_output_path(path, "denoised")


def test_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match="256 bytes"):
        check_output_path(tmp_path / f"{'ü' * 126}.nii", "denoised")
    with pytest.raises(InputError, match="269 bytes"):
        check_output_path(record_path(tmp_path / f"{'n' * 253}.nii"), "record")


@linux
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("where", ["folder", "name"])
def test_path_that_is_not_utf8(tmp_path, suffix, where):
    odd = os.fsdecode(b"caf\xe9")
    folder = tmp_path / (odd if where == "folder" else "plain")
    folder.mkdir()
    sitk.WriteImage(IMAGE, str(tmp_path / f"plain{suffix}"))
    path = folder / f"{odd if where == 'name' else 'pet'}{suffix}"
    os.rename(tmp_path / f"plain{suffix}", path)
    volume = read(path, "PET")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(volume.image), sitk.GetArrayFromImage(IMAGE))
    output = path.with_name(f"{path.name}{suffix}")
    try:
        written(output)
    except InputError as error:
        assert where == "name" and "not UTF-8" in str(error)
    else:
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(output)), sitk.GetArrayFromImage(IMAGE))


@linux
def test_header_and_voxels_of_a_name_that_is_not_utf8(tmp_path):
    sitk.WriteImage(IMAGE, str(tmp_path / "pet.mhd"))
    odd = tmp_path / os.fsdecode(b"\xff.mhd")
    os.rename(tmp_path / "pet.mhd", odd)
    with pytest.raises(InputError, match="not UTF-8"):
        read_volume(odd)


def test_what_reads_back_differently_is_refused(tmp_path, monkeypatch):
    """As from a full disk that reports no error."""
    image = as_image(head_array())
    wrong, moved = sitk.Image(image), sitk.Image(image)
    wrong[3, 4, 5] = -1.0
    moved.SetOrigin((0.0, 0.0, 0.0))
    for found, words in ((wrong, "reads back differently"), (moved, "mm from its place")):
        monkeypatch.setattr(write_module, "write_nifti", lambda *_, found=found: found)
        with pytest.raises(InputError, match=words), all_or_nothing([tmp_path / "out.nii"]) as temporary:
            write_image(image, temporary[tmp_path / "out.nii"])
        assert not list(tmp_path.iterdir())


def test_link_is_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    for target in (tmp_path / "disk" / "old.nii.gz", tmp_path / "disk" / "new.nii.gz"):
        link = tmp_path / f"link_{target.name}"
        link.symlink_to(target)
        if target.name.startswith("old"):
            target.write_bytes(b"old")
        written(link)
        assert link.is_symlink() and not target.is_symlink()
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_volume(target)), sitk.GetArrayFromImage(IMAGE))
    assert len(list(tmp_path.iterdir())) == 3 and len(list((tmp_path / "disk").iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "out.nii.gz").symlink_to(tmp_path / "out.nii.gz")
    with pytest.raises(InputError, match="symbolic links"):
        check_output_path(tmp_path / "out.nii.gz", "denoised")


def test_leftovers_of_a_killed_run_go_also_for_long_names(tmp_path):
    for name in ("out.nii.gz", f"{'n' * 240}.nii.gz"):
        with pytest.raises(KeyError), all_or_nothing([tmp_path / name]) as temporary:
            temporary[tmp_path / name].write_bytes(b"half")
            left = tmp_path / temporary[tmp_path / name].name.replace(str(os.getpid()), "4194305")
            os.rename(temporary[tmp_path / name], left)
            raise KeyError
        assert left.exists()
        written(tmp_path / name)
        assert not left.exists()


def test_outputs_of_which_one_cannot_be_replaced_stay_as_they_were(tmp_path, monkeypatch):
    """As a file that is open in another program on Windows, or is another user's in a shared folder."""
    paths = [tmp_path / name for name in ("new.nii", "old.nii", "locked.json")]
    for path in paths[1:]:
        path.write_text("former")

    def replace(source, target, move=os.replace):
        if Path(target) == paths[2]:
            raise PermissionError(errno.EACCES, "Permission denied")
        move(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(InputError, match="Nothing was written"), all_or_nothing(paths) as temporary:
        for path in paths:
            temporary[path].write_text("result")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("old.nii", "locked.json"), "former"
    )
    monkeypatch.undo()
    with all_or_nothing(paths) as temporary:
        for path in paths:
            temporary[path].write_text("result")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {path.name: "result" for path in paths}


@pytest.mark.parametrize("moment", range(3))
def test_an_interrupt_right_after_an_output_took_its_place_leaves_all_as_they_were(tmp_path, monkeypatch, moment):
    """A signal may be handled between the return of a system call and the next line."""
    paths = [tmp_path / name for name in ("new.nii", "old.nii", "record.json")]
    paths[1].write_text("former")
    interrupted = []

    def replace(source, target, move=os.replace):
        move(source, target)
        if Path(target) == paths[moment] and not interrupted:
            interrupted.append(target)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt), all_or_nothing(paths) as temporary:
        for path in paths:
            temporary[path].write_text("result")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.nii": "former"}


def test_what_another_run_wrote_in_the_meantime_is_not_replaced(tmp_path):
    paths = [tmp_path / name for name in ("denoised.nii", "record.json")]
    with pytest.raises(InputError, match=r"record\.json"), all_or_nothing(paths, overwrite=False) as temporary:
        for path in paths:
            temporary[path].write_text("mine")
        paths[1].write_text("theirs")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_record_is_not_the_sidecar(tmp_path):
    path = tmp_path / "sub-01_pet.nii.gz"
    assert record_path(path).name == "sub-01_pet_provenance.json" and sidecar_path(path).name == "sub-01_pet.json"
    assert output_suffix(Path("X.NII.GZ")) == ".nii.gz"


def test_record_of_today_and_of_before_is_read(tmp_path):
    path, record = tmp_path / "out.nii.gz", {"format": 1, "inputs": {}, "seed": 3}
    with pytest.raises(InputError, match="no record"):
        read_record(path)
    sidecar_path(path).write_text(json.dumps({"Units": "Bq/mL"}))
    with pytest.raises(InputError, match="no record"):
        read_record(path)
    sidecar_path(path).write_text(json.dumps(record))
    assert read_record(path)["seed"] == 3
    record_path(path).write_text(json.dumps({**record, "seed": 4}))
    assert read_record(path)["seed"] == 4
