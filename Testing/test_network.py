"""The default network: what it prepares once, and what it works out at every noise level."""

from __future__ import annotations

import pytest
import torch
from tiny_model import TINY, tiny_network

from CSRDDenoiseLib.model.details import pet_details
from CSRDDenoiseLib.model.edm import Preconditioned
from CSRDDenoiseLib.model.network import ResidualUNet3d, space_to_depth


@pytest.fixture(scope="module")
def network() -> ResidualUNet3d:
    return tiny_network(architecture={**TINY, "guide_sizes": [3, 5]}).requires_grad_(False)


def channels(*shape: int) -> torch.Tensor:
    values = torch.randn(1, 7, *shape, generator=torch.Generator().manual_seed(0))
    values[:, 6] = -1.5
    return values


def test_the_entry_is_a_convolution_after_space_to_depth(network):
    x = channels(16, 24, 20)
    details = [
        torch.exp(-x[:, 6:]) * detail for detail in pet_details(x[:, 2:3], x[:, 1:2], (3, 7), network.guide_sizes)
    ]
    expected = network.entry(space_to_depth(torch.cat([x, *details], dim=1)))
    zero = torch.zeros_like(x[:, :1])
    noisy = network.entry(space_to_depth(torch.cat([x[:, :1], zero.expand(-1, 11, -1, -1, -1)], dim=1)))
    noisy = noisy - network.entry.bias.view(1, -1, 1, 1, 1)
    torch.testing.assert_close(network.prepare(x[:, 1:]) + noisy, expected, rtol=1e-4, atol=1e-4)


def test_what_is_prepared_serves_every_noise_level(network):
    denoiser, x = Preconditioned(network, 0.5), channels(16, 16, 16)
    prepared = denoiser.prepare(x[:, 1:])
    for sigma in (0.02, 0.5, 30.0):
        levels = torch.tensor([sigma])
        assert torch.equal(denoiser.denoise(x[:, :1], levels, prepared), denoiser(x[:, :1], levels, x[:, 1:]))


def test_what_is_prepared_depends_on_no_voxel_beyond_reach(network):
    x = channels(48, 16, 16)[:, 1:]
    changed = x.clone()
    changed[:, :, 24:] += 1
    difference = (network.prepare(changed) - network.prepare(x)).abs().amax(dim=(0, 1, 3, 4))
    nearest = int(difference.nonzero()[0]) * 2
    assert 24 - network.reach <= nearest < 24
    assert network.reach == 10


def test_any_network_can_be_asked_to_prepare():
    denoiser = Preconditioned(torch.nn.Identity(), 0.5)
    condition = channels(8, 8, 8)[:, 1:]
    assert denoiser.prepare(condition) is condition


def test_a_wrong_number_of_channels_is_an_error(network):
    with pytest.raises(RuntimeError, match="expected input"):
        network(channels(8, 8, 8)[:, :4], torch.zeros(1))
