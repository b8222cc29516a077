"""Bad input: one sentence with the numbers, before the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ENVIRONMENT, SPACING, as_image, head_array

from CSRDDenoiseLib.checks.overlap import check_gap
from CSRDDenoiseLib.checks.volumes import check_mr, check_pet, check_reference, check_volumes
from CSRDDenoiseLib.checks.voxels import check_spacing
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.run.request import FileRequest, check_request
from CSRDDenoiseLib.sentences import CLI, error_sentence
from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_preset

FAST = settings_from_preset("fast")


def with_value(value: float, share: float) -> sitk.Image:
    array = head_array()
    array.ravel()[: round(share * array.size)] = value
    return as_image(array)


@pytest.mark.parametrize(
    ("pet", "words"),
    [
        (with_value(np.nan, 0.01), ["175 of 17472", "0.01", "--nan-to-zero"]),
        (with_value(np.inf, 0.01), ["175 of 17472"]),
        (as_image(np.zeros((20, 20, 20), np.float32)), ["0 everywhere"]),
        (as_image(np.full((20, 20, 20), 3.5, np.float32)), ["3.5 everywhere"]),
        (as_image(-head_array() - 1), ["100% of the PET", "negative"]),
        (as_image(head_array((5, 20, 20))), ["40.0 x 40.0 x 10.0 mm", "24 mm"]),
        (sitk.Image(20, 20, sitk.sitkFloat32), ["2 dimensions"]),
        (sitk.Image([20, 20, 20], sitk.sitkVectorFloat32, 3), ["3 value(s)"]),
    ],
    ids=["nan", "infinity", "zero", "constant", "negative", "thin", "2D", "vector"],
)
def test_pet_that_cannot_be_used(pet, words):
    with pytest.raises(InputError) as error:
        check_pet(pet, nan_to_zero=False)
    message = error_sentence(error.value, CLI)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "image",
    [
        head_array(),
        "pet.nii.gz",
        sitk.Cast(as_image(head_array()), sitk.sitkComplexFloat32),
        sitk.Cast(as_image(head_array()) > 2500, sitk.sitkLabelUInt8),
        as_image(head_array(), direction=(2, 0, 0, 0, 1, 0, 0, 0, 1)),
        as_image(head_array(), direction=(1, 0.3, 0, 0, 0.954, 0, 0, 0, 1)),
    ],
    ids=["array", "path", "complex", "label map", "scaled", "sheared"],
)
@pytest.mark.parametrize("what", ["pet", "mr", "full_dose_reference", "region"])
def test_an_image_made_by_hand_is_checked_as_a_file_is(image, what):
    with pytest.raises(InputError):
        check_volumes({"pet": as_image(head_array(seed=1)), what: image}, False)


def with_air_noise(share: float) -> sitk.Image:
    """A head in a wide field of view of noise about zero, so that about a share of the voxels is negative."""
    values = np.pad(head_array(), 12)
    noise = np.random.default_rng(0).normal(0, 50, values.shape)
    air = values <= 0
    chosen = np.random.default_rng(1).random(values.shape) < share / air.mean()
    return as_image(np.where(air, np.where(chosen, -1, 1) * abs(noise), values).astype(np.float32))


@pytest.mark.parametrize("share", [0.44, 0.52, 0.7])
def test_air_about_zero_does_not_make_a_pet_a_difference(share):
    pet = with_air_noise(share)
    assert (sitk.GetArrayViewFromImage(pet) < 0).mean() == pytest.approx(share, abs=0.01)
    check_pet(pet, nan_to_zero=False)


def test_a_difference_image_is_refused_with_its_share():
    with pytest.raises(InputError, match=r"(49|50|51)% of the PET's summed absolute values are negative"):
        check_pet(as_image(head_array(seed=1) - head_array(seed=2)), nan_to_zero=False)


def test_nan_is_repaired_on_request_and_reported():
    pet, (finding,) = check_pet(with_value(np.nan, 0.01), nan_to_zero=True)
    assert np.isfinite(sitk.GetArrayFromImage(pet)).all()
    assert finding.code == "values.replaced" and finding.values["count"] == 175


def test_mr_that_is_the_pet(pet):
    with pytest.raises(InputError, match="identical"):
        check_mr(sitk.Image(pet), pet, nan_to_zero=False)


@pytest.mark.parametrize(("check", "word"), [(check_mr, "MR"), (check_reference, "full-dose reference")])
def test_an_image_without_a_positive_value_is_refused(pet, check, word):
    with pytest.raises(InputError, match=f"{word} has no positive value"):
        check(as_image(-head_array(seed=3)), pet, nan_to_zero=False)


def test_full_dose_reference_that_is_the_pet(pet):
    with pytest.raises(InputError, match="full-dose reference is identical to the PET"):
        check_reference(sitk.Image(pet), pet, nan_to_zero=False)


def test_mr_elsewhere_is_rejected_with_the_millimetres(pet):
    far = as_image(head_array(seed=3), origin=(-20 + 152.0, 10.0, 5.0))
    with pytest.raises(InputError, match=r"100 mm between them.* 152 mm"):
        check_gap(pet, far)


def test_mr_that_covers_a_part_of_the_head_warns(pet, zero_model_folder):
    shifted = as_image(head_array(seed=3), origin=(-20.0, 10.0, 5.0 + 28.0))
    finding = find(denoise(pet, shifted, FAST, zero_model_folder).findings, "overlap.partial")
    assert finding.is_warning and 0 < finding.values["covered"] < 0.5


@pytest.mark.parametrize(("slices", "warned"), [(16, True), (20, False)])
def test_mr_that_covers_a_part_of_the_brain_warns(pet, zero_model_folder, slices, warned):
    mr = as_image(head_array(seed=3)[-slices:], origin=(-20.0, 10.0, 5.0 + SPACING[2] * (24 - slices)))
    found = [each for each in denoise(pet, mr, FAST, zero_model_folder).findings if each.code == "overlap.brain"]
    assert [each.is_warning for each in found] == [True] * warned
    assert all(0.5 < each.values["covered"] < 0.9 for each in found)


def test_mr_that_covers_none_of_the_head_is_refused(zero_model_folder):
    array = np.pad(head_array(), ((20, 0), (0, 0), (0, 0)))
    mr = as_image(head_array((10, 28, 26), seed=3))
    with pytest.raises(InputError, match="nothing of the head"):
        denoise(as_image(array), mr, FAST, zero_model_folder)


@pytest.mark.parametrize("factor", [1e36, 1e-38])
def test_values_beyond_what_is_computed_with_are_refused(pet, factor):
    image = sitk.Cast(pet, sitk.sitkFloat64) * factor
    with pytest.raises(InputError, match="beyond what is computed with"):
        check_pet(image, nan_to_zero=True)


def test_unusual_voxels_warn_with_the_range(pet):
    assert check_spacing(pet.GetSpacing(), (1.0, 4.0)) == ()
    (finding,) = check_spacing(pet.GetSpacing(), (2.5, 4.0))
    assert finding.values == {"sides": [2.0] * 3, "low": 2.5, "high": 4.0}


@pytest.fixture
def files(tmp_path, pet, mr) -> dict[str, Path]:
    """PET and MR on disk, and names for the outputs."""
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    return {"pet": tmp_path / "pet.nii.gz", "mr": tmp_path / "mr.nii.gz", "output": tmp_path / "out.nii.gz"}


def refused(files: dict, settings: DenoiseSettings = FAST, **changes) -> str:
    folder = files["pet"].parent
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as error:
        check_request(FileRequest(**{**files, **changes}), settings)
    assert sorted(folder.rglob("*")) == before
    return error_sentence(error.value, CLI)


def test_request_that_is_fine_passes(files):
    check_request(FileRequest(**files), FAST)


def test_a_request_takes_text_for_every_path_and_a_number_for_a_frame():
    request = FileRequest("pet.nii.gz", "out.nii.gz", headers=["a.dcm"], frames=3)
    assert request.headers == (Path("a.dcm"),) and request.frames == "3"


def test_input_that_is_not_there(files, tmp_path):
    assert "MR" in refused(files, mr=tmp_path / "none.nii")


def test_pet_and_mr_of_one_path(files):
    assert "same path" in refused(files, mr=files["pet"])


def test_output_over_an_input(files, tmp_path):
    assert "overwrite an input" in refused(files, output=files["pet"], overwrite=True)
    link = tmp_path / "link.nii.gz"
    link.symlink_to(files["mr"])
    assert "overwrite an input" in refused(files, output=link, overwrite=True)


def test_record_over_the_inputs_own_json(files, tmp_path):
    (tmp_path / "pet_provenance.json").write_text("{}")
    assert "record would overwrite an input" in refused(files, output=tmp_path / "pet.nrrd", overwrite=True)


def test_output_or_its_record_that_exists(files, tmp_path):
    (tmp_path / "out_provenance.json").write_text("{}")
    assert "record" in refused(files) and "--overwrite" in refused(files)
    files["output"].write_bytes(b"")
    assert "denoised" in refused(files)
    check_request(FileRequest(**files, overwrite=True), FAST)


def test_a_page_is_no_folder_for_a_report(files, tmp_path):
    assert "'out.html'" in refused(files, report=tmp_path / "Report.HTML")
    check_request(FileRequest(**files, report=tmp_path / "reports"), FAST)


def test_two_outputs_of_one_path(files):
    assert "would both go to" in refused(files, difference=files["output"])


@pytest.mark.parametrize("name", ["out.img", "out.mhd", "out", ".nii.gz", "out.jpg"])
def test_format_that_is_not_written(files, tmp_path, name):
    assert ".nii.gz" in refused(files, output=tmp_path / name)


def test_folder_that_is_not_there(files, tmp_path):
    assert "does not exist" in refused(files, output=tmp_path / "none" / "out.nii.gz")


def test_output_that_is_a_folder(files, tmp_path):
    (tmp_path / "dir.nii.gz").mkdir()
    assert "is a folder" in refused(files, output=tmp_path / "dir.nii.gz")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")
def test_folder_that_is_read_only_even_for_root(files):
    assert "cannot be written" in refused(files, output=Path("/proc") / "out.nii.gz")


@pytest.mark.parametrize(
    ("settings", "word"),
    [(FAST, "mean"), (DenoiseSettings(samples=1, estimate="samples"), "2 or more")],
    ids=["mean", "one sample"],
)
def test_uncertainty_of_one_sample(files, tmp_path, settings, word):
    assert word in refused(files, settings, uncertainty=tmp_path / "std.nii.gz")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
def test_disk_full_is_reported_and_leaves_nothing(tmp_path):
    script = """
import resource, signal, sys
import numpy as np, SimpleITK as sitk
from pathlib import Path
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.write import all_or_nothing, write_image
image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path(sys.argv[1]) / f"out{sys.argv[2]}"
try:
    with all_or_nothing([path]) as temporary:
        write_image(image, temporary[path])
except InputError as error:
    print(error)
"""
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        command = [sys.executable, "-c", script, str(tmp_path), suffix]
        run = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert "Nothing was written" in run.stdout, run.stdout + run.stderr
        assert list(tmp_path.iterdir()) == []
