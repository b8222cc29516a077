"""Dynamic PET: frames, times and regional curves survive, and nothing is left of a run that ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dicom_series
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array

from CSRDDenoiseLib import stages
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import denoise, denoise_files
from CSRDDenoiseLib.dynamic import FileRequest, _one_frame, denoise_dynamic
from CSRDDenoiseLib.errors import Cancelled, InputError
from CSRDDenoiseLib.io.frame_file import FrameStore
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.io.read import read_frames
from CSRDDenoiseLib.io.suv import volume_suv
from CSRDDenoiseLib.io.volume import Frame
from CSRDDenoiseLib.model.bundle import Model, load_model
from CSRDDenoiseLib.prepare.frames import chosen_frames, late_frames, mean_frame, named_frames
from CSRDDenoiseLib.prepare.motion import frame_motion
from CSRDDenoiseLib.settings import DenoiseSettings

pytestmark = pytest.mark.slow

MEAN = DenoiseSettings(sampler="mean", samples=1, device="cpu", precision="float32", keep_above_mm=6.0)
DURATIONS = (10.0,) * 4 + (20.0,) * 4 + (60.0,) * 4 + (300.0,) * 12
"""Seconds, 24 frames."""
STARTS = tuple(np.concatenate([[0], np.cumsum(DURATIONS)[:-1]]).tolist())
SHAPE = (24, 28, 26)
K1, K2, K4 = 0.1, 0.15, 0.03
REGIONS = {1: 0.0, 2: 0.03, 3: 0.09}
"""Label -> k3 of the two-tissue model (1/min); 1 is the reference region."""


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder)


def labels() -> np.ndarray:
    """Three parts of an ellipsoid (D, H, W), 0 in air."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    part = np.where(x < -0.25, 1, np.where(x < 0.25, 2, 3))
    return np.where(x**2 + y**2 + z**2 < 0.8, part, 0)


def two_tissue(k3: float) -> np.ndarray:
    """Mean activity of each frame by the two-tissue model, Euler steps of half a second, plasma input of one bolus."""
    step = 0.5 / 60
    times = np.arange(0, sum(DURATIONS) / 60, step)
    plasma = 60 * times * np.exp(-times / 0.8) * 1.5 + 8 * (1 - np.exp(-times)) * np.exp(-times / 60)
    free = bound = 0.0
    total = np.zeros_like(times)
    for index, activity in enumerate(plasma):
        free, bound = (
            free + step * (K1 * activity - (K2 + k3) * free + K4 * bound),
            bound + step * (k3 * free - K4 * bound),
        )
        total[index] = free + bound
    ends = np.array(STARTS) + DURATIONS
    return np.array([total[(times * 60 >= a) & (times * 60 < b)].mean() for a, b in zip(STARTS, ends)])


def kinetic(count: int = 24, noise: float = 1.0) -> np.ndarray:
    """A noisy study (frames, D, H, W) in Bq/mL: the noise falls with counts."""
    curves = {label: two_tissue(k3) for label, k3 in REGIONS.items()}
    places, random = labels(), np.random.default_rng(0)
    frames = []
    for index in range(count):
        clean = sum(2000 * curve[index] * (places == label) for label, curve in curves.items())
        spread = noise * np.sqrt(np.maximum(clean, 1) * 1e4 / DURATIONS[index])
        frames.append(np.maximum(clean + random.normal(0, 1, SHAPE) * spread, 0))
    return np.array(frames, np.float32)


def write_study(path: Path, frames: np.ndarray) -> Path:
    """A 4D NIfTI of frames (n, D, H, W) at 2 mm, with its sidecar."""
    image = nibabel.Nifti1Image(frames.T, np.diag([-2.0, -2.0, 2.0, 1.0]))
    image.header["pixdim"][4] = 10
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    count = len(frames)
    entries = {"Units": "Bq/mL", "FrameTimesStart": STARTS[:count], "FrameDuration": DURATIONS[:count], "Tracer": "X"}
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(entries))
    return path


def plain_study(path: Path, count: int = 4, empty: tuple[int, ...] = ()) -> Path:
    """The small head in each frame; ``empty`` ones hold noise alone."""
    random = np.random.default_rng(5)
    frames = [head_array(seed=index) for index in range(count)]
    for index in empty:
        frames[index] = random.gamma(0.2, 20.0, SHAPE).astype(np.float32)
    return write_study(path, np.array(frames))


def values(path: Path) -> np.ndarray:
    """Frames (n, D, H, W)."""
    return np.asanyarray(nibabel.load(path).dataobj).T


def alone(frame: sitk.Image, index: int, model: Model, settings: DenoiseSettings = MEAN) -> np.ndarray:
    """A frame denoised as a static PET."""
    return sitk.GetArrayFromImage(denoise(frame, None, replace(settings, seed=index), model).denoised)


def test_frames_are_named_as_people_do():
    assert chosen_frames("5-", 6) == (4, 5) and chosen_frames("2,4", 6) == (1, 3)
    assert chosen_frames("3-5, 1", 6) == (0, 2, 3, 4) and chosen_frames(None, 2) == (0, 1)
    assert named_frames([0, 1, 2, 6]) == "1-3, 7"
    for wrong in ("0-", "7", "5-3", "a", "", "3-9", "-2"):
        with pytest.raises(InputError, match=r"frames"):
            chosen_frames(wrong, 6)


def test_late_frames_are_the_second_half_of_the_time_weighted_by_duration():
    frames = [Frame(start, duration) for start, duration in zip(STARTS, DURATIONS)]
    late = late_frames(frames)
    assert late[-1] == 23 and STARTS[late[0]] >= sum(DURATIONS) / 2 > STARTS[late[0] - 1]
    assert late_frames([Frame()] * 5) == (2, 3, 4)
    images = [as_image(np.full((4, 4, 4), value, np.float32)) for value in (1, 4)]
    mean = mean_frame(images.__getitem__, (0, 1), [Frame(0, 10), Frame(10, 20)])
    assert mean[0, 0, 0] == pytest.approx(3)


def test_each_frame_is_what_the_pipeline_makes_of_it_alone(tmp_path, model, mr):
    path = plain_study(tmp_path / "pet.nii.gz")
    request = FileRequest(path, tmp_path / "out.nii.gz", difference=tmp_path / "diff.nii")
    result = denoise_dynamic(request, MEAN, model)
    frames = [volume.image for volume in read_frames(path, "PET")]
    expected = [alone(frame, index, model) for index, frame in enumerate(frames)]
    np.testing.assert_array_equal(values(request.output), expected)
    np.testing.assert_array_equal(values(request.difference), np.array(expected) - values(path))
    assert [outcome.status for outcome in result.frames] == ["denoised"] * 4
    made, source = nibabel.load(request.output), nibabel.load(path)
    np.testing.assert_array_equal(made.affine, source.affine)
    assert made.header["pixdim"][4] == 10 and made.header.get_xyzt_units() == ("mm", "sec")
    entries = json.loads((tmp_path / "out.json").read_text())
    assert entries["FrameTimesStart"] == list(STARTS[:4]) and entries["FrameDuration"] == list(DURATIONS[:4])
    assert entries["Tracer"] == "X" and entries["CSRDDenoise"]["FramesDenoised"] == [1, 2, 3, 4]
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert [each["status"] for each in record["frames"]] == ["denoised"] * 4 and record["late_frames"] == [3, 4]
    assert len(record["inputs"]["pet"]["sha256"]) == 64


def test_mr_is_registered_once_to_the_late_frames(tmp_path, model, mr, monkeypatch):
    path, seen = plain_study(tmp_path / "pet.nii"), []
    original = stages.register_mr
    monkeypatch.setattr(stages, "register_mr", lambda pet, *rest: (seen.append(pet), original(pet, *rest))[1])
    sitk.WriteImage(mr, str(tmp_path / "mr.nii"))
    request = FileRequest(path, tmp_path / "out.nii", mr=tmp_path / "mr.nii")
    result = denoise_dynamic(request, replace(MEAN, register=True), model)
    late = np.mean(values(path)[2:], axis=0)
    assert len(seen) == 1
    np.testing.assert_allclose(sitk.GetArrayFromImage(seen[0]), late, rtol=1e-5)
    assert any(finding.check == "registration" for finding in result.findings)
    assert len(result.frames_with("denoised")) == 4


def test_samples_of_frames_are_independent(tmp_path, model):
    path = write_study(tmp_path / "pet.nii", np.array([head_array()] * 2))
    settings = replace(MEAN, sampler="dpmpp", steps=2, samples=2, estimate="samples")
    request = FileRequest(path, tmp_path / "out.nii", uncertainty=tmp_path / "sd.nii")
    result = denoise_dynamic(request, settings, model)
    first, second = values(request.output)
    assert not np.array_equal(first, second) and [outcome.seed for outcome in result.frames] == [0, 1]
    frame = next(iter(read_frames(path, "PET"))).image
    np.testing.assert_array_equal(second, alone(frame, 1, model, settings))
    assert (values(request.uncertainty) > 0).any()


def test_other_frames_pass_through_unchanged_and_are_named(tmp_path, model, capsys, model_folder):
    path = plain_study(tmp_path / "pet.nii", 5, empty=(0,))
    out = tmp_path / "out.nii"
    options = ["--sampler", "mean", "--device", "cpu", "--model", str(model_folder), "--frames", "1-3,5"]
    assert main(["denoise", "--pet", str(path), "--output", str(out), *options]) == 0
    before, after = values(path), values(out)
    same = [bool(np.array_equal(a, b)) for a, b in zip(before, after)]
    assert same == [True, False, False, True, False]
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    codes = {each["code"]: each["values"] for each in record["findings"]}
    assert codes["frames.unchanged"]["frames"] == "1" and codes["frames.unchanged"]["reason"] == "too_few_counts"
    assert codes["frames.not_chosen"]["frames"] == "4"
    assert "3 of 5" in capsys.readouterr().err


def test_noise_outside_of_the_training_passes_through(tmp_path, model_folder):
    model = load_model(model_folder)
    quiet, loud = head_array(), head_array()
    loud = np.maximum(loud + np.random.default_rng(1).normal(0, 6000, SHAPE) * (loud > 0), 0).astype(np.float32)
    model = replace(
        model, metadata=replace(model.metadata, extra={"noise_level_range": {"levels": {}, "range": [0.005, 0.4]}})
    )
    path = write_study(tmp_path / "pet.nii", np.array([loud, quiet, quiet]))
    result = denoise_dynamic(FileRequest(path, tmp_path / "out.nii"), MEAN, model)
    assert [outcome.reason for outcome in result.frames] == ["noise_outside", "", ""]
    np.testing.assert_array_equal(values(tmp_path / "out.nii")[0], loud)
    assert any("pass through" in text and "noise" in text for text in result.warnings)


def test_study_without_a_usable_frame_is_refused(tmp_path, model):
    path = plain_study(tmp_path / "pet.nii", 4, empty=(0, 1))
    with pytest.raises(InputError, match="None of the 2"):
        denoise_dynamic(FileRequest(path, tmp_path / "out.nii", frames="1-2"), MEAN, model)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pet.json", "pet.nii"]


def test_regional_curves_and_slopes_survive(tmp_path, model):
    path = write_study(tmp_path / "pet.nii", kinetic())
    denoise_dynamic(FileRequest(path, tmp_path / "out.nii"), MEAN, model)
    before, after, places = values(path).astype(float), values(tmp_path / "out.nii").astype(float), labels()
    assert np.abs(after - before).max() > 0.02 * before.max()
    weights = np.array(DURATIONS)
    curves = [{label: study[:, places == label].mean(1) for label in REGIONS} for study in (before, after)]
    for label in REGIONS:
        for first in range(0, 20):
            window = slice(first, first + 5)
            one, other = (np.average(each[label][window], weights=weights[window]) for each in curves)
            assert other == pytest.approx(one, rel=0.01)
    middles = np.array(STARTS) + weights / 2
    late = slice(14, 24)
    for label in (2, 3):
        one, other = (np.polyfit(middles[late], (each[label] / each[1])[late], 1)[0] for each in curves)
        assert other == pytest.approx(one, rel=0.02)


def test_motion_between_frames_is_measured(tmp_path, model):
    still, late = as_image(head_array(seed=1)), as_image(head_array(seed=2))
    assert frame_motion(still, late).displacement_mm < 2
    moved = as_image(head_array(seed=1), origin=(-14.0, 10.0, 5.0))
    assert frame_motion(sitk.Resample(moved, still), late).displacement_mm == pytest.approx(6, abs=2)
    frames = [np.roll(head_array(seed=0), 3, axis=2), head_array(seed=1), head_array(seed=2), head_array(seed=3)]
    result = denoise_dynamic(
        FileRequest(write_study(tmp_path / "a.nii", np.array(frames)), tmp_path / "b.nii"), MEAN, model
    )
    found = {finding.code: finding.values for finding in result.findings}["motion.between_frames"]
    assert found["frames"] == "1" and found["largest_mm"] == pytest.approx(6, abs=2)
    assert result.frames[0].status == "denoised"
    unmeasured = denoise_dynamic(FileRequest(tmp_path / "a.nii", tmp_path / "c.nii", motion="off"), MEAN, model)
    assert {outcome.motion_mm for outcome in unmeasured.frames} == {None}
    np.testing.assert_array_equal(values(tmp_path / "c.nii"), values(tmp_path / "b.nii"))


@pytest.mark.parametrize("enhanced", [False, True])
def test_dicom_series_comes_back_with_its_frames(tmp_path, enhanced, monkeypatch, model):
    shape = (6, 28, 26)
    monkeypatch.setattr(dicom_series, "SHAPE", shape)
    monkeypatch.setattr(dicom_series, "STEP", (5.0, 2.0, 2.0))
    monkeypatch.setattr(dicom_series, "slopes", lambda: np.full(6, 0.3))
    monkeypatch.setattr(dicom_series, "stored_values", lambda frame=0: (head_array(shape, frame) * 3).astype(np.uint16))
    if enhanced:
        source = dicom_series.save(dicom_series.enhanced(3), tmp_path / "pet.dcm")
    else:
        source = dicom_series.write_series(tmp_path / "pet", frames=3)
    result = denoise_dynamic(FileRequest(source, tmp_path / "out"), MEAN, model)
    again, before = list(read_frames(tmp_path / "out", "PET")), list(read_frames(source, "PET"))
    assert again[0].header.frames == before[0].header.frames and len(again) == 3
    for index, (one, other) in enumerate(zip(again, before)):
        expected = alone(other.image, index, model)
        np.testing.assert_allclose(sitk.GetArrayFromImage(one.image), expected, atol=expected.max() / 32767)
    assert [outcome.status for outcome in result.frames] == ["denoised"] * 3
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert (
        len({data.SeriesInstanceUID for data in headers}) == 1 and len({data.SOPInstanceUID for data in headers}) == 18
    )
    assert [data.ImageIndex for data in headers] == list(range(1, 19))
    if enhanced:
        assert headers[0].SeriesType[0] == "DYNAMIC" and headers[0].NumberOfTimeSlices == 3


def test_dicom_map_has_one_segmentation_a_frame(tmp_path, monkeypatch, model):
    pytest.importorskip("highdicom")
    from CSRDDenoiseLib.io.dicom_labels import read_labels

    monkeypatch.setattr(dicom_series, "SHAPE", (6, 28, 26))
    monkeypatch.setattr(dicom_series, "STEP", (5.0, 2.0, 2.0))
    monkeypatch.setattr(dicom_series, "slopes", lambda: np.full(6, 0.3))
    head = (head_array((6, 28, 26)) * 3).astype(np.uint16)
    monkeypatch.setattr(dicom_series, "stored_values", lambda frame=0: head)
    source = dicom_series.write_series(tmp_path / "pet", frames=2)
    places = {"output": tmp_path / "out.nii", "support": tmp_path / "map"}
    monkeypatch.setattr("CSRDDenoiseLib.dynamic._one_frame", with_map(_one_frame))
    denoise_dynamic(FileRequest(source, **places), MEAN, model)
    files = sorted((tmp_path / "map").iterdir())
    assert [path.name for path in files] == ["SEG0001.dcm", "SEG0002.dcm"]
    for number, path in enumerate(files, 1):
        found, _ = read_labels(path)
        assert np.argwhere(found).tolist() == [[number, 3, 4]] and found[number, 3, 4] == number
    made = [pydicom.dcmread(path) for path in files]
    assert [data.InstanceNumber for data in made] == [1, 2] and len({data.SeriesInstanceUID for data in made}) == 1
    referenced = [str(data.ReferencedSeriesSequence) for data in made]
    assert referenced[0] != referenced[1]


def with_map(run):
    """Frames whose map has one voxel each, at another place with another value."""

    def one_frame(study, volume, callback):
        outcome, images = run(study, volume, callback)
        values = np.zeros(images["support"].GetSize()[::-1], np.uint8)
        values[outcome.index + 1, 3, 4] = outcome.index + 1
        return outcome, {**images, "support": Grid.of(images["support"]).image(values)}

    return one_frame


def label_file(folder: Path, study: Path) -> Path:
    """The labels as a file on the grid of a study."""
    first = next(iter(read_frames(study, "PET"))).image
    sitk.WriteImage(Grid.of(first).image(labels().astype(np.int16)), str(folder / "labels.nii.gz"))
    return folder / "labels.nii.gz"


def test_report_shows_frames_and_time_activity_curves(tmp_path, model_folder, capsys):
    pytest.importorskip("matplotlib")
    path = write_study(tmp_path / "pet.nii", kinetic(7))
    words = ["--pet", path, "--output", tmp_path / "out.nii", "--frames", "2-", "--report", tmp_path / "reports"]
    words += ["--labels", label_file(tmp_path, path), "--model", model_folder, "--sampler", "mean", "--device", "cpu"]
    assert main(["denoise", *map(str, words)]) == 0, capsys.readouterr().err
    page = (tmp_path / "reports" / "out.html").read_text(encoding="utf-8")
    for text in (
        "6 of 7",
        "Time frames",
        "not chosen",
        "Time-activity curves",
        "late frames (6-7)",
        "Before and after",
    ):
        assert text in page, text
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert len(record["inputs"]["labels"]["sha256"]) == 64 and record["outputs"]["report"].endswith("out.html")
    before, after, places = values(path), values(tmp_path / "out.nii"), labels()
    assert [curve["label"] for curve in record["curves"]] == [1, 2, 3]
    for curve in record["curves"]:
        inside = places == curve["label"]
        np.testing.assert_allclose(curve["before"], before[:, inside].mean(1), rtol=1e-5)
        np.testing.assert_allclose(curve["after"], after[:, inside].mean(1), rtol=1e-5)
        assert curve["millilitres"] == pytest.approx(inside.sum() * 0.008)
        assert curve["before"][0] == curve["after"][0] and curve["before"][1] != curve["after"][1]


def test_report_without_labels_and_without_times(tmp_path, model):
    pytest.importorskip("matplotlib")
    path = plain_study(tmp_path / "pet.nii")
    path.with_name("pet.json").unlink()
    request = FileRequest(path, tmp_path / "out.nii", report=tmp_path / "reports")
    denoise_dynamic(request, MEAN, model)
    page = request.page.read_text(encoding="utf-8")
    assert "4 of 4" in page and "Time-activity curves" not in page


def test_label_map_beside_the_study_is_refused_before_the_work(tmp_path, model, pet):
    pytest.importorskip("matplotlib")
    path = plain_study(tmp_path / "pet.nii")
    sitk.WriteImage(pet, str(tmp_path / "image.nii"))
    request = FileRequest(path, tmp_path / "out.nii", report=tmp_path / "reports", labels=tmp_path / "image.nii")
    with pytest.raises(InputError, match="no whole number"):
        denoise_dynamic(request, MEAN, model)
    assert not (tmp_path / "reports").exists()


def test_a_dynamic_record_runs_again(tmp_path, model_folder, mr, capsys):
    path = plain_study(tmp_path / "pet.nii.gz")
    sitk.WriteImage(mr, str(tmp_path / "mr.nii"))
    words = ["--pet", path, "--mr", tmp_path / "mr.nii", "--register", "--output", tmp_path / "out.nii.gz"]
    words += ["--uncertainty", tmp_path / "sd.nii", "--frames", "2-3", "--seed", "7", "--model", model_folder]
    words += ["--region", label_file(tmp_path, path), "--motion"]
    words += ["--sampler", "dpmpp", "--steps", "2", "--samples", "2", "--device", "cpu", "--precision", "float32"]
    assert main(["denoise", *map(str, words)]) == 0
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert record["settings"]["register"] and record["settings"]["seed"] == record["seed"] == 7
    assert [frame.get("seed") for frame in record["frames"]] == [None, 8, 9, None]
    words = ["--replay", tmp_path / "out_provenance.json", "--output", tmp_path / "again.nii.gz"]
    words += ["--uncertainty", tmp_path / "again_sd.nii"]
    outside = labels() == 0
    np.testing.assert_array_equal(values(tmp_path / "out.nii.gz")[:, outside], values(path)[:, outside])
    assert main(["denoise", *map(str, words)]) == 0, capsys.readouterr().err
    np.testing.assert_array_equal(values(tmp_path / "again.nii.gz"), values(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(values(tmp_path / "again_sd.nii"), values(tmp_path / "sd.nii"))
    plain_study(path, 3)
    assert main(["denoise", *map(str, words), "--overwrite"]) == 2
    assert "not the one of the run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pet.nrrd", "pet.mha"])
def test_other_formats_are_read_with_the_times_of_their_sidecar(tmp_path, model, name):
    path = plain_study(tmp_path / "source.nii", 2)
    frames = [volume.image for volume in read_frames(path, "PET")]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / name))
    path.with_name("source.json").rename(tmp_path / "pet.json")
    denoise_dynamic(FileRequest(tmp_path / name, tmp_path / "out.nii"), MEAN, model)
    expected = [alone(frame, index, model) for index, frame in enumerate(frames)]
    np.testing.assert_array_equal(values(tmp_path / "out.nii"), expected)
    assert json.loads((tmp_path / "out.json").read_text())["FrameTimesStart"] == list(STARTS[:2])


def test_requests_that_cannot_end_well(tmp_path, model, pet):
    path, out = plain_study(tmp_path / "pet.nii"), tmp_path / "out.nii"
    (tmp_path / "there.json").write_text("{}")
    for words, changes in {
        "dynamic; leave": {"full_dose_reference": path},
        "for the report": {"labels": path},
        ".nii or .nii.gz": {"output": tmp_path / "out.nrrd"},
        "sidecar": {"output": tmp_path / "there.nii"},
        "sidecar.*input": {"output": tmp_path / "pet.nii.gz"},
        "not among 1 to 4": {"frames": "3-9"},
    }.items():
        with pytest.raises(InputError, match=words):
            denoise_dynamic(FileRequest(**{"pet": path, "output": out, **changes}), MEAN, model)
    with pytest.raises(InputError, match="dynamic study of 4"):
        denoise_files(FileRequest(path, out), MEAN, model)
    sitk.WriteImage(pet, str(tmp_path / "static.nii"))
    with pytest.raises(InputError, match="static"):
        denoise_dynamic(FileRequest(tmp_path / "static.nii", out, frames="1"), MEAN, model)
    assert not out.exists()


def test_each_frame_becomes_suv_by_its_own_factor(tmp_path, model):
    path = plain_study(tmp_path / "pet.nii", 3)
    entries = {"BodyWeight": 70, "InjectedRadioactivity": 368.08, "InjectedRadioactivityUnits": "MBq"}
    entries.update(TracerRadionuclide="C11", InjectionStart=0, ImageDecayCorrected=False)
    entries.update(json.loads((tmp_path / "pet.json").read_text()))
    entries.update(FrameTimesStart=[0, 600, 1200], FrameDuration=[600] * 3)
    (tmp_path / "pet.json").write_text(json.dumps(entries))
    factors = [volume_suv(volume).factor for volume in read_frames(path, "PET")]
    assert factors[1] / factors[0] == pytest.approx(2 ** (600 / 1221.8), rel=1e-4)
    request = FileRequest(path, tmp_path / "out.nii", difference=tmp_path / "diff.nii", output_unit="suv", frames="2")
    denoise_dynamic(request, MEAN, model)
    before, after, difference = (values(place) for place in (path, request.output, request.difference))
    for index, factor in enumerate(factors):
        np.testing.assert_allclose(after[index] - difference[index], before[index] * factor, rtol=1e-5, atol=1e-5)
    assert np.any(difference[1]) and not np.any(difference[[0, 2]])
    assert json.loads((tmp_path / "out.json").read_text())["Units"] == "g/mL"


def test_a_sequence_of_slicer_is_named(tmp_path, capsys):
    image = sitk.Compose([as_image(head_array(seed=index)) for index in range(3)])
    sitk.WriteImage(image, str(tmp_path / "pet.seq.nrrd"))
    header, _, content = (tmp_path / "pet.seq.nrrd").read_bytes().partition(b"\n\n")
    lines = b"\naxis 0 index type:=numeric\naxis 0 index values:=0 60 120\n\n"
    (tmp_path / "pet.seq.nrrd").write_bytes(header + lines + content)
    assert main(["inspect", str(tmp_path / "pet.seq.nrrd")]) == 2
    assert "sequence of 3D Slicer" in capsys.readouterr().err


def test_progress_counts_frames_and_cancel_leaves_nothing(tmp_path, model):
    path, seen = plain_study(tmp_path / "pet.nii"), []
    denoise_dynamic(FileRequest(path, tmp_path / "a.nii"), MEAN, model, seen.append)
    assert {each.message.partition(":")[0] for each in seen if each.stage == "frames"} >= {
        f"frame {n} of 4" for n in (1, 2, 3, 4)
    }
    fractions = [each.fraction for each in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        denoise_dynamic(
            FileRequest(path, tmp_path / "b.nii"), MEAN, model, lambda each: not each.message.startswith("frame 3")
        )
    assert sorted(tmp_path.iterdir()) == before


KILLED = """
import os, signal, sys
from CSRDDenoiseLib.dynamic import FileRequest, _one_frame, denoise_dynamic
from CSRDDenoiseLib.settings import DenoiseSettings
def stop(progress):
    if progress.message.startswith("frame 3"):
        os.kill(os.getpid(), signal.SIGKILL)
settings = DenoiseSettings(sampler="mean", samples=1, device="cpu")
denoise_dynamic(FileRequest(sys.argv[1], sys.argv[2]), settings, sys.argv[3], stop)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_run_leaves_nothing(tmp_path, model_folder):
    path = plain_study(tmp_path / "pet.nii")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / "out.nii.gz"), str(model_folder)]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -signal.SIGKILL
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pet.json", "pet.nii"]


def test_memory_does_not_grow_with_the_frames(tmp_path, model):
    import tracemalloc

    peaks, shape = [], (40, 44, 42)
    for count in (2, 3, 9):
        path = write_study(tmp_path / f"pet{count}.nii", np.array([head_array(shape, n) for n in range(count)]))
        request = FileRequest(path, tmp_path / f"out{count}.nii", difference=tmp_path / f"diff{count}.nii")
        tracemalloc.start()
        denoise_dynamic(request, MEAN, model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    frame = int(np.prod(shape)) * 4
    assert peaks[1] > frame and peaks[2] - peaks[1] < frame, peaks


def test_store_gives_back_what_it_got(tmp_path):
    store = FrameStore(tmp_path)
    for seed in (1, 2):
        store.append(as_image(head_array(seed=seed)))
    np.testing.assert_array_equal(list(store.frames()), [head_array(seed=1), head_array(seed=2)])
    with pytest.raises(InputError, match="Frame 3"):
        store.append(as_image(head_array((4, 4, 4))))
    store.close()
    assert not list(tmp_path.iterdir())
