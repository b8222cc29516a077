"""Two networks under one denoiser: which one answers, and that a run for the draws is exported as the pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import TINY, model_of, tiny_network

from CSRDDenoiseLib.infer.sampling import sample_residual
from CSRDDenoiseLib.model.bundle import build_network
from CSRDDenoiseLib.progress import Reporter
from CSRDDenoiseLib.settings import DenoiseSettings

PAIRED = {**TINY, "type": "PairedUNet3d", "switch": 0.25}


def paired() -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """A pair and its two networks, all weights random."""
    mean, draws, both = tiny_network(1), tiny_network(2), build_network(PAIRED)
    parts = {"mean": mean, "draws": draws}
    both.load_state_dict({f"{name}.{key}": v for name, part in parts.items() for key, v in part.state_dict().items()})
    return both, mean, draws


@pytest.mark.parametrize("c_noise, which", [(0.3, 1), (0.25, 1), (0.2, 2), (-1.0, 2)])
def test_the_noise_level_decides_which_network_answers(c_noise, which):
    networks = paired()
    channels, level = torch.rand(1, 7, 16, 16, 16), torch.tensor([c_noise])
    with torch.no_grad():
        torch.testing.assert_close(networks[0](channels, level), networks[which](channels, level))
        prepared = networks[0].prepare(channels[:, 1:])
        torch.testing.assert_close(
            networks[0].evaluate(channels[:, :1], prepared, level), networks[which](channels, level)
        )
    assert networks[0].reach == networks[1].reach and networks[0].multiple == networks[1].multiple


def test_the_estimate_is_the_first_networks_whatever_the_draws():
    both, mean, _ = paired()
    condition = np.random.default_rng(0).random((6, 24, 24, 24)).astype(np.float32)
    head, report = np.ones((24, 24, 24), bool), Reporter(None, {"sample": 1})
    settings = DenoiseSettings(steps=3, samples=2, device="cpu", precision="float32", patch_size=None)
    facts = {"mean_from": "zero", "sigma_max": 10.0, "sigma_data": 0.3}
    ours, alone = (
        sample_residual(model_of(network, **facts), condition, head, settings, report) for network in (both, mean)
    )
    np.testing.assert_allclose(ours.mean, alone.mean, atol=1e-5)
    assert not np.allclose(ours.std, alone.std)


def test_a_run_without_draws_prepares_the_first_network_alone(monkeypatch):
    both, mean, _ = paired()
    condition = np.random.default_rng(0).random((6, 24, 24, 24)).astype(np.float32)
    head, report = np.ones((24, 24, 24), bool), Reporter(None, {"sample": 1})
    settings = DenoiseSettings(sampler="mean", device="cpu", precision="float32")
    facts = {"mean_from": "zero", "sigma_max": 10.0, "sigma_data": 0.3}
    alone = sample_residual(model_of(mean, **facts), condition, head, settings, report)
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(both.draws, "prepare_detailed", asked.append)
    ours = sample_residual(model_of(both, **facts), condition, head, settings, report)
    np.testing.assert_array_equal(ours.mean, alone.mean)
    assert not asked
