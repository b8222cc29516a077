"""A model whose draws come from a network of their own: the residual's deviation from its posterior mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny_model import TINY, tiny_metadata, tiny_network

from CSRDDenoiseLib.errors import ModelError
from CSRDDenoiseLib.infer.samplers import sample_dpmpp_2m
from CSRDDenoiseLib.infer.sampling import noise_source, sample_residual
from CSRDDenoiseLib.infer.speed import time_of_draws
from CSRDDenoiseLib.infer.tiling import Counter, VolumeDenoiser
from CSRDDenoiseLib.model.bundle import Model, load_model, save_model
from CSRDDenoiseLib.model.deviation import (
    ACTIVITY_FLOOR,
    NEARBY,
    REMOVED_FLOOR,
    Known,
    Unit,
    activity_of,
    deviation_unit,
)
from CSRDDenoiseLib.model.edm import karras_sigmas
from CSRDDenoiseLib.model.metadata import DeviationMetadata
from CSRDDenoiseLib.progress import Reporter
from CSRDDenoiseLib.settings import DenoiseSettings

SHAPE = (24, 16, 24)
OF_DRAWS = {**TINY, "in_channels": 8, "widths": [8]}
UNIT, REMOVED = (0.1, 0.7, -0.2), 0.4
SETTINGS = DenoiseSettings("dpmpp", steps=3, samples=2, seed=7, overlap=0.25, device="cpu", precision="float32")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    deviation = DeviationMetadata(OF_DRAWS, UNIT, 0.2, 0.02, 2.0, removed=REMOVED)
    metadata = tiny_metadata(mean_from="zero", deviation=deviation)
    save_model(tmp_path, tiny_network(1), metadata, tiny_network(2, OF_DRAWS))
    return load_model(tmp_path)


@pytest.fixture
def condition() -> np.ndarray:
    channels = np.random.default_rng(1).random((6, *SHAPE), dtype=np.float32)
    channels[5] = -1.3  # a constant of the scheme
    return channels


def sampled(model: Model, condition: np.ndarray, **changes: object):
    head, report = np.ones(SHAPE, bool), Reporter(None, {"sample": 1})
    return sample_residual(model, condition, head, replace(SETTINGS, **changes), report)


def test_both_networks_come_back_from_the_folder(model: Model):
    for loaded, seed, architecture in ((model.denoiser, 1, TINY), (model.deviation, 2, OF_DRAWS)):
        for name, value in tiny_network(seed, architecture).state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], value)
    assert model.deviation.sigma_data == 0.2 and model.denoiser.sigma_data == model.metadata.sigma_data
    assert model.of_deviation().metadata.sigma_max == 2.0


def test_a_deviation_that_does_not_fit_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="rise"):
        DeviationMetadata(OF_DRAWS, UNIT, sigma_data=0.2, sigma_min=2.0, sigma_max=2.0)
    with pytest.raises(ModelError, match="unit"):
        tiny_metadata(deviation=DeviationMetadata(OF_DRAWS, (*UNIT, 1.0), 0.2, 0.02, 2.0))
    metadata = tiny_metadata(deviation=DeviationMetadata(TINY, UNIT, 0.2, 0.02, 2.0))
    save_model(tmp_path, tiny_network(1), metadata, tiny_network(2))
    with pytest.raises(ModelError, match="takes 7 channels; its scheme gives 8"):
        load_model(tmp_path)


def test_the_estimate_is_the_first_networks_and_the_spread_that_of_the_draws_about_it(model: Model, condition):
    result, alone = (sampled(model, condition, sampler=sampler) for sampler in ("dpmpp", "mean"))
    np.testing.assert_array_equal(result.mean, alone.mean)
    assert (result.evaluations, alone.evaluations) == (1 + 2 * 2, 1)
    draws = [_draw(model, condition, alone.mean, index) for index in range(2)]
    np.testing.assert_allclose(result.std, np.sqrt(np.mean(np.square(draws), axis=0)), rtol=1e-4, atol=1e-6)


def test_the_mean_of_the_samples_is_the_estimate_and_their_mean_deviation(model: Model, condition):
    result, alone = sampled(model, condition, estimate="samples"), sampled(model, condition, sampler="mean")
    draws = [_draw(model, condition, alone.mean, index) for index in range(2)]
    np.testing.assert_allclose(result.mean, alone.mean + np.mean(draws, axis=0), atol=1e-5)
    np.testing.assert_allclose(result.std, np.std(draws, axis=0, ddof=1) * 1.5**0.5, rtol=1e-3, atol=1e-6)
    assert result.evaluations == 1 + 2 * 2


def test_the_draws_network_may_need_larger_multiples_than_that_of_the_mean(tmp_path: Path, condition):
    deeper = {**OF_DRAWS, "widths": [8, 8, 8], "blocks": [1, 1, 1]}
    deviation = DeviationMetadata(deeper, UNIT, 0.2, 0.02, 2.0)
    save_model(tmp_path, tiny_network(1), tiny_metadata(mean_from="zero", deviation=deviation), tiny_network(2, deeper))
    model, part = load_model(tmp_path), condition[:, :20, :12, :20]
    assert (model.denoiser.model.multiple, model.deviation.model.multiple) == (4, 8)
    found = sample_residual(model, part, np.ones(part.shape[1:], bool), SETTINGS, Reporter(None, {"sample": 1}))
    assert found.patch == (20, 12, 20) and found.std.shape == (20, 12, 20) and (found.std > 0).all()


@pytest.mark.slow
def test_patches_give_about_what_the_whole_gives(model: Model, condition):
    whole = sampled(model, condition)
    parts = sampled(model, condition, patch_size=16, overlap=0.5)
    assert parts.patch == (16, 16, 16)
    assert np.abs(parts.std - whole.std).mean() < 0.1 * whole.std.mean()


def test_the_speed_of_a_draw_is_that_of_its_network(model: Model):
    own, one = time_of_draws(model, 16), time_of_draws(replace(model, deviation=None), 16)
    assert own.preparing > 0 and own.evaluating > 0 and one.preparing == 0 and one.evaluating > 0


def _draw(model: Model, condition: np.ndarray, mean: np.ndarray, index: int) -> np.ndarray:
    """A draw of the deviation without the pipeline; its first evaluation is its mean, zero."""
    channels = torch.from_numpy(np.concatenate([condition, mean[None]]))[None]

    @torch.inference_mode()
    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.zeros_like(x) if sigma > 1.99 else model.deviation(x, torch.tensor([sigma]), channels)

    sigmas = model.metadata.deviation
    levels = karras_sigmas(3, sigmas.sigma_min, sigmas.sigma_max).tolist()
    activity = np.sqrt((condition[1] + np.exp(condition[5]) * mean) ** 2 + ACTIVITY_FLOOR**2)
    unit = np.exp(UNIT[0]) * activity ** UNIT[1] * np.exp(UNIT[2] * condition[5]) * _removed(mean) ** REMOVED
    return unit * sample_dpmpp_2m(denoise, noise_source(SHAPE, 7, index)() * 2.0, levels)[0, 0].numpy()


def _removed(mean: np.ndarray) -> np.ndarray:
    """Root mean square of the mean in the cube of 13 voxels about each voxel, as far as it lies in the volume."""
    inside = ndimage.uniform_filter(np.ones(SHAPE), NEARBY, mode="constant")
    squares = ndimage.uniform_filter(mean.astype(float) ** 2, NEARBY, mode="constant") / inside
    return np.sqrt(squares + REMOVED_FLOOR**2)


def test_a_model_that_does_not_look_at_what_the_mean_removes_has_the_unit_it_had(model: Model):
    known = Known(torch.full((1, 1, 4, 4, 4), 2.0), (torch.full((1, 1, 1, 1, 1), -1.0),))
    mean = torch.full((1, 1, 4, 4, 4), -0.6)
    plain, looks = (deviation_unit(known, mean, Unit(UNIT, removed)) for removed in (0.0, 1.0))
    expected = np.exp(UNIT[0] + UNIT[2] * -1.0) * activity_of(known, mean) ** UNIT[1]
    torch.testing.assert_close(plain, expected)
    torch.testing.assert_close(looks, plain * (0.6**2 + REMOVED_FLOOR**2) ** 0.5)


def test_the_means_prepared_condition_is_freed_before_the_draws(model: Model, condition):
    head = np.ones(SHAPE, bool)
    volume = VolumeDenoiser(
        model, condition, head, SETTINGS, torch.device("cpu"), Counter(Reporter(None, {"sample": 1}), 1)
    )
    held = volume._prepared.untyped_storage().nbytes()
    volume.forget()
    assert held > 1000 and volume._prepared.untyped_storage().nbytes() == 0
