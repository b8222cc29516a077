"""Sampling of a whole volume: patches, noise, cancel, memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import TINY, model_of, save_tiny_model, tiny_metadata, tiny_network
from torch import nn

from CSRDDenoiseLib.errors import Cancelled, InputError, OutOfMemoryError
from CSRDDenoiseLib.infer import tiling as volume
from CSRDDenoiseLib.infer.samplers import sample_dpmpp_2m, sample_heun
from CSRDDenoiseLib.infer.sampling import noise_source, sample_residual
from CSRDDenoiseLib.infer.tiling import Counter, VolumeDenoiser
from CSRDDenoiseLib.model.bundle import Model
from CSRDDenoiseLib.model.edm import Preconditioned, karras_sigmas
from CSRDDenoiseLib.progress import Progress, Reporter
from CSRDDenoiseLib.settings import DenoiseSettings

SHAPE = (40, 42, 37)
SETTINGS = DenoiseSettings(
    "dpmpp", steps=3, samples=2, estimate="samples", seed=7, overlap=0.25, device="cpu", precision="float32"
)
SILENT = Reporter(None, {"sample": 1})


class Pointwise(nn.Module):
    """Looks at one voxel at a time, so that patches must give what the whole volume gives."""

    multiple = 8

    def __init__(self):
        super().__init__()
        self.voxels_seen, self.most_voxels = [], float("inf")

    def forward(self, channels: torch.Tensor, c_noise: torch.Tensor) -> torch.Tensor:
        if channels[0, 0].numel() > self.most_voxels:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        self.voxels_seen += [window.numel() for window in channels[:, 0]]
        return torch.tanh(channels[:, :1] - channels[:, 2:3]) + channels[:, 1:2] * c_noise.view(-1, 1, 1, 1, 1)


class Identity(Preconditioned):
    """A denoiser that leaves everything, so that the result is the starting noise."""

    def __init__(self):
        super().__init__(Pointwise(), sigma_data=1.0)

    def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        return noisy.clone()


@pytest.fixture(scope="module")
def condition() -> np.ndarray:
    return np.random.default_rng(1).random((6, *SHAPE), dtype=np.float32)


@pytest.fixture(scope="module")
def everywhere() -> np.ndarray:
    return np.ones(SHAPE, bool)


@pytest.mark.slow
def test_patches_give_what_the_whole_volume_gives(condition, everywhere):
    whole = sample_residual(model_of(Pointwise()), condition, everywhere, SETTINGS, SILENT)
    assert whole.patch_size is None
    for patch, overlap in ((16, 0.0), (16, 0.5), (24, 0.9), (32, 0.3)):
        settings = replace(SETTINGS, patch_size=patch, overlap=overlap)
        parts = sample_residual(model_of(Pointwise()), condition, everywhere, settings, SILENT)
        assert parts.patch_size == (patch, patch, patch)
        np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-5)
        np.testing.assert_allclose(parts.std, whole.std, atol=1e-5)


def test_patches_of_a_network_with_surroundings_agree_with_the_whole(condition, everywhere):
    model = model_of(tiny_network(architecture={**TINY, "widths": [8], "blocks": [1]}))
    settings = replace(SETTINGS, samples=1, overlap=0.5)
    whole = sample_residual(model, condition, everywhere, settings, SILENT).mean
    parts = sample_residual(model, condition, everywhere, replace(settings, patch_size=32), SILENT).mean
    assert np.sqrt(np.mean((parts - whole) ** 2)) < 0.01 * np.sqrt(np.mean(whole**2))


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.77, 0.9])
def test_windows_start_at_multiples_of_what_the_network_needs(condition, everywhere, overlap):
    network = Pointwise()
    settings = replace(SETTINGS, samples=1, sampler="mean", estimate="mean", patch_size=24, overlap=overlap)
    ramp = np.arange(40, dtype=np.float32)
    condition = np.tile(ramp[:, None, None], (6, 1, 40, 40))
    starts = set()
    network.register_forward_pre_hook(lambda _, inputs: starts.add(float(inputs[0][0, 1, 0, 0, 0])))
    sample_residual(model_of(network), condition, np.ones((40, 40, 40), bool), settings, SILENT)
    assert starts == ({0.0, 16.0} if overlap < 0.5 else {0.0, 8.0, 16.0})


def test_windows_without_head_are_not_evaluated_and_do_not_dilute_the_others(condition):
    head = np.zeros(SHAPE, bool)
    head[:14, :12, :14] = True
    network = Pointwise()
    settings = replace(SETTINGS, samples=1, sampler="mean", estimate="mean", patch_size=16, overlap=0.5)
    parts = sample_residual(model_of(network), condition, head, settings, SILENT).mean
    assert network.voxels_seen == [16**3] * 8
    whole = sample_residual(model_of(Pointwise()), condition, head, replace(settings, patch_size=None), SILENT).mean
    np.testing.assert_allclose(parts[:22, :19, :22], whole[:22, :19, :22], atol=1e-5)
    assert not parts[26:].any()


def test_noise_is_the_same_whatever_the_patches(condition, everywhere):
    metadata = tiny_metadata(bytes_per_voxel=100.0)
    model = Model(metadata, Identity(), None)
    settings = replace(SETTINGS, samples=1)
    expected = metadata.sigma_max * noise_source(SHAPE, settings.seed, 0)()[0, 0].numpy()
    for changes in ({}, {"patch_size": 16}, {"patch_size": 24, "overlap": 0.6}, {"sampler": "heun"}):
        result = sample_residual(model, condition, everywhere, replace(settings, **changes), SILENT)
        np.testing.assert_allclose(result.mean, expected, rtol=1e-5, atol=1e-5)


def test_noise_differs_between_seeds_and_samples():
    draws = [noise_source((8, 8, 8), seed, index)() for seed, index in ((0, 0), (0, 1), (1, 0), (2**62, 0))]
    assert all(abs(float((a * b).mean())) < 0.2 for i, a in enumerate(draws) for b in draws[:i])
    source = noise_source((8, 8, 8), 0, 0)
    assert torch.equal(source(), draws[0])
    assert not torch.equal(source(), draws[0])


@pytest.mark.slow
def test_same_settings_give_the_same_bytes(condition, everywhere):
    settings = replace(SETTINGS, sampler="heun", churn=5.0)
    runs = [sample_residual(model_of(tiny_network()), condition, everywhere, settings, SILENT) for _ in range(2)]
    assert runs[0].mean.tobytes() == runs[1].mean.tobytes()
    assert runs[0].std.tobytes() == runs[1].std.tobytes()
    other = sample_residual(model_of(tiny_network()), condition, everywhere, replace(settings, seed=8), SILENT)
    assert not np.allclose(other.mean, runs[0].mean)


def test_mean_and_deviation_are_those_of_the_single_samples(condition, everywhere):
    metadata = tiny_metadata(bytes_per_voxel=100.0)
    result = sample_residual(
        Model(metadata, Identity(), None), condition, everywhere, replace(SETTINGS, samples=5), SILENT
    )
    draws = np.stack([noise_source(SHAPE, 7, index)()[0, 0].numpy() for index in range(5)]) * metadata.sigma_max
    np.testing.assert_allclose(result.mean, draws.mean(0), atol=1e-4)
    np.testing.assert_allclose(result.std, draws.std(0, ddof=1) * 1.2**0.5, rtol=1e-4)


@pytest.mark.parametrize("samples", [2, 5])
def test_the_error_of_the_mean_of_draws_is_that_to_another_draw(condition, everywhere, samples):
    metadata = tiny_metadata(bytes_per_voxel=100.0)
    settings = replace(SETTINGS, samples=samples)
    result = sample_residual(Model(metadata, Identity(), None), condition, everywhere, settings, SILENT)
    # of a calibrated model the truth is one more draw of the posterior
    truth = noise_source(SHAPE, 7, samples)()[0, 0].numpy() * metadata.sigma_max
    error = np.sqrt(np.mean((truth - result.mean) ** 2))
    assert np.sqrt(np.mean(result.std**2)) == pytest.approx(error, rel=4 / np.sqrt(truth.size))


@pytest.mark.parametrize(
    "sampler, samples, evaluations", [("mean", 4, 1), ("dpmpp", 1, 3), ("dpmpp", 2, 6), ("heun", 2, 10)]
)
def test_evaluations_are_counted_and_one_sample_has_no_deviation(condition, everywhere, sampler, samples, evaluations):
    network = Pointwise()
    estimate = "mean" if sampler == "mean" else "samples"
    settings = replace(SETTINGS, sampler=sampler, samples=samples, estimate=estimate)
    result = sample_residual(model_of(network), condition, everywhere, settings, SILENT)
    assert result.evaluations == len(network.voxels_seen) == evaluations
    assert (result.std is None) == (sampler == "mean" or samples == 1)
    assert result.mean.shape == SHAPE
    assert result.mean.dtype == np.float32
    assert (result.device, result.precision) == ("cpu", "float32")


def test_churn_that_raises_a_later_noise_level_to_the_first_leaves_no_evaluation_out(condition, everywhere):
    network = Pointwise()
    settings = replace(SETTINGS, sampler="heun", steps=30, churn=40.0, samples=1, estimate="mean")
    result = sample_residual(model_of(network, mean_from="zero"), condition, everywhere, settings, SILENT)
    assert result.evaluations == len(network.voxels_seen) == 1 + 2 * 29


@pytest.mark.parametrize("sampler, evaluations", [("dpmpp", 1 + 2 * 2), ("heun", 1 + 2 * 4)])
def test_the_posterior_mean_is_the_estimate_and_the_draws_give_its_uncertainty(
    condition, everywhere, sampler, evaluations
):
    network = Pointwise()
    settings = replace(SETTINGS, sampler=sampler, estimate="mean")
    result = sample_residual(model_of(network, mean_from="zero"), condition, everywhere, settings, SILENT)
    assert result.evaluations == len(network.voxels_seen) == evaluations
    alone = sample_residual(
        model_of(Pointwise(), mean_from="zero"),
        condition,
        everywhere,
        replace(settings, sampler="mean", estimate="mean"),
        SILENT,
    )
    np.testing.assert_array_equal(result.mean, alone.mean)
    draws = [_draw_from(condition, alone.mean, sampler, index) for index in range(2)]
    expected = np.sqrt(np.mean([(draw - alone.mean) ** 2 for draw in draws], axis=0))
    np.testing.assert_allclose(result.std, expected, atol=1e-5)


def _draw_from(condition: np.ndarray, mean: np.ndarray, sampler: str, index: int) -> np.ndarray:
    """A draw of the sampler whose first evaluation is the posterior mean, without the pipeline."""
    model = model_of(Pointwise())
    first = torch.from_numpy(mean)[None, None]

    @torch.inference_mode()
    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        if sigma > 9.99:
            return first
        return model.denoiser(x, torch.tensor([sigma]), torch.from_numpy(condition)[None])

    sample = {"dpmpp": sample_dpmpp_2m, "heun": sample_heun}[sampler]
    return sample(denoise, noise_source(SHAPE, 7, index)() * 10.0, karras_sigmas(3, 0.01, 10.0))[0, 0].numpy()


@pytest.mark.parametrize("source, depends", [("zero", False), ("noise", True)])
def test_the_posterior_mean_depends_on_the_seed_only_where_it_starts_from_noise(condition, everywhere, source, depends):
    settings = replace(SETTINGS, sampler="mean", estimate="mean")
    means = [
        sample_residual(
            model_of(Pointwise(), mean_from=source), condition, everywhere, replace(settings, seed=seed), SILENT
        ).mean
        for seed in (1, 2)
    ]
    assert np.array_equal(*means) != depends


def test_the_whole_volume_is_the_sampler_on_the_padded_volume(condition, everywhere):
    model = model_of(tiny_network())
    settings = replace(SETTINGS, sampler="heun", samples=1)
    result = sample_residual(model, condition, everywhere, settings, SILENT).mean
    margins = (1, 2, 1, 1, 0, 0)
    padded = nn.functional.pad(torch.from_numpy(condition)[None], margins, mode="replicate")
    mirrored = np.pad(noise_source(SHAPE, 7, 0)().numpy(), [(0, 0), (0, 0), (0, 0), (1, 1), (1, 2)], mode="symmetric")
    start = torch.from_numpy(mirrored) * model.metadata.sigma_max

    @torch.inference_mode()
    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return model.denoiser(x, torch.tensor([sigma]), padded)

    expected = sample_heun(denoise, start, karras_sigmas(3, 0.01, 10.0))[0, 0, :, 1:-1, 1:-2]
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("estimate", ["mean", "samples"])
@pytest.mark.parametrize("sampler, churn", [("dpmpp", 0.0), ("heun", 4.0)])
@pytest.mark.parametrize("patch", [None, 24])
def test_draws_in_a_batch_are_the_draws_one_by_one(condition, everywhere, monkeypatch, patch, sampler, churn, estimate):
    settings = replace(SETTINGS, patch_size=patch, sampler=sampler, churn=churn, samples=5, estimate=estimate)
    one_by_one = sample_residual(model_of(tiny_network()), condition, everywhere, settings, SILENT)
    monkeypatch.setattr(VolumeDenoiser, "draws_at_once", lambda _, most: 3)
    reports: list[Progress] = []
    report = Reporter(lambda progress: reports.append(progress), {"sample": 1})
    batched = sample_residual(model_of(tiny_network()), condition, everywhere, settings, report)
    np.testing.assert_allclose(batched.mean, one_by_one.mean, atol=1e-5)
    np.testing.assert_allclose(batched.std, one_by_one.std, atol=1e-4)
    assert (reports[-1].step, reports[-1].fraction) == (reports[-1].of, 1.0)


def test_only_a_gpu_carries_several_draws_at_once(condition, everywhere):
    settings = replace(SETTINGS, samples=4)
    denoiser = model_of(Pointwise()), condition, everywhere, settings
    assert VolumeDenoiser(*denoiser, torch.device("cpu"), Counter(SILENT, 1)).draws_at_once(4) == 1


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_condition_prepared_in_blocks_is_the_one_prepared_at_once(condition, everywhere, monkeypatch, share):
    network = {**TINY, "guide_sizes": [3, 5]}
    settings = replace(SETTINGS, sampler="mean", estimate="mean", patch_size=24)
    expected = sample_residual(model_of(tiny_network(0, network)), condition, everywhere, settings, SILENT)
    prepared = []
    monkeypatch.setattr(volume, "memory_budget", lambda *_: 100.0 * share * 40 * 44 * 40)
    tiny = tiny_network(0, network)
    tiny.prepare = lambda part: (prepared.append(part.shape[2:]), type(tiny).prepare(tiny, part))[1]
    found = sample_residual(model_of(tiny), condition, everywhere, settings, SILENT)
    assert len(prepared) >= 1 / share
    assert any(min(sides) < 40 for sides in prepared)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)


def test_progress_counts_windows_up_to_the_end(condition, everywhere):
    reports: list[Progress] = []
    settings = replace(SETTINGS, patch_size=24, overlap=0.0)
    sample_residual(
        model_of(Pointwise()), condition, everywhere, settings, Reporter(lambda r: reports.append(r), {"sample": 1})
    )
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert (reports[-1].step, reports[-1].of, reports[-1].fraction) == (6 * 8, 6 * 8, 1.0)
    assert reports[-1].message == "evaluation 6 of 6"


@pytest.mark.parametrize("patch, allowed", [(None, 1), (16, 3)])
def test_cancel_stops_at_once_also_inside_a_step(condition, everywhere, patch, allowed):
    network, calls = Pointwise(), []

    def stop_later(report: Progress) -> bool:
        calls.append(report)
        return len(calls) <= allowed

    settings = replace(SETTINGS, patch_size=patch)
    with pytest.raises(Cancelled):
        sample_residual(model_of(network), condition, everywhere, settings, Reporter(stop_later, {"sample": 1}))
    assert len(network.voxels_seen) == allowed


def test_out_of_memory_goes_on_with_smaller_patches_and_loses_nothing(condition, everywhere):
    expected = sample_residual(model_of(Pointwise()), condition, everywhere, SETTINGS, SILENT)
    network = Pointwise()
    network.most_voxels = 33 * 33 * 33
    result = sample_residual(model_of(network), condition, everywhere, SETTINGS, SILENT)
    assert np.prod(result.patch_size) <= network.most_voxels
    np.testing.assert_allclose(result.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(result.std, expected.std, atol=1e-5)


def test_out_of_memory_to_the_end_is_reported(condition, everywhere):
    network = Pointwise()
    network.most_voxels = 0
    with pytest.raises(OutOfMemoryError, match=r"40 x 42 x 37 .*32 x 32 x 32"):
        sample_residual(model_of(network), condition, everywhere, SETTINGS, SILENT)


def test_other_errors_are_not_taken_for_a_lack_of_memory(condition, everywhere):
    with pytest.raises(RuntimeError, match="expected input"):
        sample_residual(model_of(tiny_network()), condition[:3], everywhere, SETTINGS, SILENT)


@pytest.mark.parametrize("side, advice", [(20, "use 16 or 24"), (3, "use 8 or 16")])
def test_patch_size_must_suit_the_network(condition, everywhere, side, advice):
    with pytest.raises(InputError, match=advice):
        sample_residual(model_of(Pointwise()), condition, everywhere, replace(SETTINGS, patch_size=side), SILENT)


@pytest.mark.slow
def test_a_volume_in_one_piece_does_not_load_monai(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    program = f"""
import sys
import numpy as np
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.infer.sampling import sample_residual
from CSRDDenoiseLib.progress import Reporter
from CSRDDenoiseLib.settings import DenoiseSettings
settings = DenoiseSettings(sampler="mean", device="cpu", precision="float32")
condition, head = np.zeros((6, 16, 16, 16), np.float32), np.ones((16, 16, 16), bool)
sample_residual(load_model({str(folder)!r}), condition, head, settings, Reporter(None, {{"sample": 1}}))
assert "monai" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
