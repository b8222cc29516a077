"""Dynamic PET: frames, times and regional curves survive, and nothing is left of a run that ends early."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from dynamic_study import (
    DURATIONS,
    MEAN,
    REGIONS,
    SHAPE,
    STARTS,
    alone,
    kinetic,
    labels,
    plain_study,
    values,
    write_study,
)

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.dynamic.denoise import FileRequest, denoise_dynamic
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read_frames
from CSRDDenoiseLib.io.volume import Frame
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.prepare.frames import chosen_frames, late_frames, mean_frame, named_frames
from CSRDDenoiseLib.prepare.motion import frame_motion
from CSRDDenoiseLib.run import stages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder)


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
    mean, used = mean_frame(images.__getitem__, (0, 1), [Frame(0, 10), Frame(10, 20)])
    assert mean[0, 0, 0] == pytest.approx(3) and used == (0, 1)


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
