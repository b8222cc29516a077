"""Which image each output of a dynamic run belongs to, once the means of curves are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Optional

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from dynamic_study import MEAN, values, write_study
from scipy import ndimage

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.dynamic.denoise import FileRequest, denoise_dynamic
from CSRDDenoiseLib.dynamic.outputs import DynamicOutputs
from CSRDDenoiseLib.io.frame_file import FrameStore
from CSRDDenoiseLib.io.read import read_frames
from CSRDDenoiseLib.io.record import Stages
from CSRDDenoiseLib.io.volume import Frame, Header, ReadVolume
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.progress import Reporter

SHAPE, ACTIVITY = (24, 26, 28), np.array([300.0, 500.0, 600.0, 700.0, 800.0, 800.0, 700.0])
SPREAD = 60.0


@pytest.fixture
def frames() -> tuple[np.ndarray, np.ndarray]:
    """Noise of seven frames, as it was measured and what denoising leaves of it, independent of one another."""
    random = np.random.default_rng(0)
    white = random.normal(0, SPREAD, (2, len(ACTIVITY), *SHAPE))
    correlated = np.array([[ndimage.gaussian_filter(frame, 0.8) for frame in each] for each in white])
    correlated *= SPREAD / correlated.std()
    return correlated[0].astype(np.float32), (0.4 * correlated[1]).astype(np.float32)


def settle(tmp_path, noise: np.ndarray, left: np.ndarray, truth: Optional[np.ndarray] = None) -> dict[str, np.ndarray]:
    """What is written of frames with that noise, before and after denoising, around an even activity or ``truth``."""
    truth = np.broadcast_to(ACTIVITY[:, None, None, None], noise.shape) if truth is None else truth
    late = as_image(truth.mean(0).astype(np.float32))
    study = SimpleNamespace(frames=tuple(Frame(60 * index, 60) for index in range(len(noise))))
    place = SimpleNamespace(inputs=SimpleNamespace(pet=late), brain_mean=float(ACTIVITY.mean()))
    writer = SimpleNamespace(in_unit=lambda image, name, volume: image)
    names = ("denoised", "difference", "uncertainty", "support", "bare")
    stores = {name: FrameStore(tmp_path) for name in names}
    outputs = DynamicOutputs(study, place, writer, stores, (FrameStore(tmp_path), FrameStore(tmp_path)))
    for index, (before, after) in enumerate(zip(truth + noise, truth + left)):
        header = Header("NIfTI-1", (), frames=study.frames, frame=index)
        volume = ReadVolume(as_image(before.astype(np.float32)), "Bq/mL", (), header)
        images = {
            "denoised": after,
            "difference": after - before,
            "uncertainty": np.where(after == before, 0, left.std()),
            "support": np.full(SHAPE, index),
            "bare": after,
        }
        outputs.append(volume, {name: as_image(array.astype(np.float32)) for name, array in images.items()})
    outputs.settle(Stages(Reporter(None, {"settle": 1.0})), None)
    written = {name: np.array(list(store.frames())) for name, store in stores.items()}
    assert outputs.window == 5 and not list(tmp_path.iterdir())
    return {**written, "truth": truth}


@pytest.mark.parametrize("is_leftover", [False, True])
def test_difference_and_uncertainty_are_those_of_what_is_written(tmp_path, frames, is_leftover):
    """Whether what denoising leaves is a part of the noise or has nothing to do with it."""
    noise, left = frames
    left = 0.4 * noise if is_leftover else left
    written = settle(tmp_path, noise, left)
    before = written["truth"] + noise
    np.testing.assert_allclose(written["denoised"], before + written["difference"], rtol=1e-5, atol=1e-2)
    for error, stated in zip(written["denoised"] - written["truth"], written["uncertainty"]):
        inner = (slice(4, -4),) * 3
        found, said = float(np.std(error[inner])), float(np.sqrt(np.mean(stated[inner] ** 2)))
        assert said > 1.05 * left.std() and said == pytest.approx(found, rel=0.2)


def test_what_other_frames_take_back_beyond_the_head_of_a_frame_is_uncertain(tmp_path, frames):
    """The head of the first frame ends where that of the others goes on."""
    noise, left = frames
    beyond = (Ellipsis, slice(0, 8))
    left[0][beyond] = noise[0][beyond]
    written = settle(tmp_path, noise, left)
    change, stated = (written[name][0][beyond] for name in ("difference", "uncertainty"))
    assert np.sqrt(np.mean(stated**2)) == pytest.approx(np.sqrt(np.mean(change**2)), rel=0.3) and change.any()


def test_estimate_and_map_are_those_of_each_frame_alone(tmp_path, frames):
    noise, left = frames
    written = settle(tmp_path, noise, left)
    np.testing.assert_array_equal(written["bare"], (written["truth"] + left).astype(np.float32))
    assert [np.unique(each).tolist() for each in written["support"]] == [[index] for index in range(len(noise))]
    assert np.abs(written["denoised"] - written["bare"]).max() > 1


def test_zeros_stay_and_air_does_not_become_negative(tmp_path):
    """Outside of bright tissue: a masked part, and air whose residuals have a negative mean in common."""
    random = np.random.default_rng(1)
    truth = np.zeros((len(ACTIVITY), *SHAPE))
    truth[:, 8:16, 8:16, 8:16] = ACTIVITY[:, None, None, None]
    before = np.where(truth > 0, truth, random.exponential(30, truth.shape))
    before[..., :4] = 0
    after = np.where(truth > 0, truth, 0.2 * before + random.uniform(0, 1, truth.shape))
    after[..., :4] = 0
    written = settle(tmp_path, before - truth, after - truth, truth)
    assert (written["denoised"][..., :4] == 0).all() and (written["difference"][..., :4] == 0).all()
    assert (written["denoised"] >= 0).all() and (written["denoised"] != after)[..., 4:].any()


@pytest.mark.parametrize("times", [1e3, 1e5])
def test_a_broken_voxel_of_a_frame_is_in_no_other(tmp_path, frames, times):
    """What denoising takes from it and from its neighbours stays in its frame; the activity of that frame is known."""
    noise, left = frames
    plain = settle(tmp_path, noise, left)["denoised"]
    place, around = (12, 13, 14), (slice(9, 16), slice(10, 17), slice(11, 18))
    noise[(3, *place)] = times * 700
    left[(3, *around)] = 3000.0
    written = settle(tmp_path, noise, left)["denoised"]
    others = np.arange(len(ACTIVITY)) != 3
    moved = np.abs(written - plain)[others]
    assert moved[:, 12, 13, 14].max() < SPREAD and moved.max() < 5 * SPREAD
    assert np.sqrt(np.mean(moved[..., :3] ** 2)) < 1.0 and written[(3, *place)] > 3000


@pytest.mark.slow
def test_a_run_writes_which_outputs_keep_the_means(tmp_path, model_folder):
    model = load_model(model_folder)
    path = write_study(tmp_path / "pet.nii", np.array([head_array(seed=index) for index in range(5)]))
    places = {name: tmp_path / f"{name}.nii" for name in ("difference", "uncertainty", "support", "bare")}
    settings = replace(MEAN, sampler="dpmpp", steps=2, samples=2, estimate="samples")
    result = denoise_dynamic(FileRequest(path, tmp_path / "out.nii", **places), settings, model)
    assert result.window == 5
    kept = {
        name: json.loads((tmp_path / f"{name}.json").read_text())["CSRDDenoise"]["MeansKeptOverFrames"]
        for name in ("out", *places)
    }
    assert kept == {"out": 5, "difference": 5, "uncertainty": 5, "support": 0, "bare": 0}
    single = [
        denoise(volume.image, None, replace(settings, seed=index), model)
        for index, volume in enumerate(read_frames(path, "PET"))
    ]
    for name in ("bare", "support"):
        alone = [sitk.GetArrayFromImage(getattr(each, name)) for each in single]
        np.testing.assert_array_equal(values(places[name]), alone)
    alone = np.array([sitk.GetArrayFromImage(each.uncertainty) for each in single])
    made = values(places["uncertainty"])
    assert (made[alone > 0] >= alone[alone > 0]).all() and not made[alone == 0].any()
    assert np.mean(made[alone > 0] > alone[alone > 0]) > 0.5
    np.testing.assert_allclose(
        values(tmp_path / "out.nii") - values(path), values(places["difference"]), rtol=1e-4, atol=0.05
    )


@pytest.mark.slow
@pytest.mark.parametrize(("frame", "times"), [(0, 1e-3), (7, 1e4)])
def test_a_frame_of_far_less_or_far_more_activity_than_the_others_changes_no_mean(tmp_path, model_folder, frame, times):
    frames = np.array([head_array(seed=index) for index in range(8)])
    frames[frame] *= times
    path = write_study(tmp_path / "pet.nii", frames)
    denoise_dynamic(FileRequest(path, tmp_path / "out.nii"), MEAN, load_model(model_folder))
    before, after = (values(each).mean((1, 2, 3), dtype=float) for each in (path, tmp_path / "out.nii"))
    np.testing.assert_allclose(after, before, rtol=4e-3)
