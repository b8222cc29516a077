"""The paper's network and sampler against numbers recorded from the published code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from CSRDDenoiseLib.infer.samplers import sample_heun
from CSRDDenoiseLib.model.ddpmpp import DDPMpp3d
from CSRDDenoiseLib.model.edm import Preconditioned, karras_sigmas

REFERENCE = Path(__file__).parent / "data" / "reference"


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    with np.load(REFERENCE / "ddpmpp3d_tiny_io.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def denoiser() -> Preconditioned:
    wrapped = Preconditioned(DDPMpp3d(model_channels=8), sigma_data=0.5)
    wrapped.load_state_dict(load_file(REFERENCE / "ddpmpp3d_tiny.safetensors"))
    return wrapped.eval()


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


@pytest.mark.parametrize("sigma", ["0.002", "0.05", "0.5", "1.0", "80.0"])
@torch.inference_mode()
def test_denoiser_reproduces_the_published_network(denoiser, recorded, sigma):
    condition = torch.cat([recorded["condition"], recorded["position"]], dim=1)
    denoised = denoiser(recorded[f"noisy_sigma_{sigma}"], torch.full((2,), float(sigma)), condition)
    assert relative_error(denoised, recorded[f"denoised_sigma_{sigma}"]) < 1e-5


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@torch.inference_mode()
def test_memory_layout_does_not_change_the_result(denoiser, recorded, memory_format):
    channels = torch.cat([recorded["latents"], recorded["condition"][:1], recorded["position"][:1]], dim=1)
    level = torch.tensor([-0.4])
    expected = denoiser.model(channels, level)
    assert relative_error(denoiser.model(channels.to(memory_format=memory_format), level), expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 4, 8])
@torch.inference_mode()
def test_heun_reproduces_the_published_sampler(denoiser, recorded, steps):
    condition = torch.cat([recorded["condition"], recorded["position"]], dim=1)[:1]

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return denoiser(x.float(), torch.tensor([sigma]), condition).double()

    sigmas = karras_sigmas(steps, 0.002, 80.0)
    residual = sample_heun(denoise, recorded["latents"].double() * sigmas[0], sigmas)
    assert relative_error(residual, recorded[f"heun_{steps}_steps"]) < 1e-4


def test_every_parameter_of_a_trained_block_receives_a_gradient():
    network = DDPMpp3d(model_channels=4, channel_mult=(1, 2), num_blocks=1, dropout=0.1)
    network(torch.randn(1, 6, 8, 8, 8), torch.zeros(1)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_attention_is_where_it_was_asked_for():
    network = DDPMpp3d(model_channels=4, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(128,))
    attending = {name.split(".")[1] for name in network.state_dict() if "qkv" in name}
    assert attending == {"128x128_block0", "128x128_in0", "128x128_block1"}
    assert network.multiple == 2
