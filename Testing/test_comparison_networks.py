"""The networks that ours is compared with: they are called alike, look where they should, and can be trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import tiny_network
from torch import nn

from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.model.bundle import build_network
from CSRDDenoiseLib.model.multiview import with_neighbours
from CSRDDenoiseLib.model.transformer import from_windows, to_windows
from CSRDDenoiseLib.research.evidence.head_to_head import HeadToHead
from CSRDDenoiseLib.research.evidence.short_runs import changed_config
from CSRDDenoiseLib.research.training.readiness import check_network

MULTIVIEW = {"type": "MultiViewUNet2d", "in_channels": 3, "widths": [8, 8], "embedding": 16}
TRANSFORMER = {
    "type": "DiffusionTransformer3d", "in_channels": 3, "width": 16, "blocks": 2, "heads": 2, "window": 2,
    "embedding": 16,
}  # fmt: skip
NAF = {"type": "NafUNet3d", "in_channels": 7, "widths": [8, 8], "blocks": [1, 1], "embedding": 16}
SWIN = {"type": "SwinUNet3d", "in_channels": 3, "width": 12, "window": 2}
SHAPE = (8, 12, 16)
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
both = pytest.mark.parametrize("architecture", [MULTIVIEW, TRANSFORMER], ids=lambda architecture: architecture["type"])


def volume(shape: tuple[int, ...] = SHAPE, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn((batch, 3, *shape), generator=torch.Generator().manual_seed(seed))


@both
def test_network_is_called_as_ours_and_is_born_with_zero(architecture):
    network = build_network(architecture)
    assert all(side % network.multiple == 0 for side in SHAPE) and network.in_channels == 3
    result = network(volume(batch=2), torch.tensor([0.1, -1.0]))
    assert result.shape == (2, 1, *SHAPE) and bool((result == 0).all())


@both
@torch.no_grad()
def test_items_of_a_batch_are_apart_and_each_has_its_noise_level(architecture):
    network = tiny_network(architecture=architecture)
    items, levels = volume(batch=2), torch.tensor([0.1, -1.0])
    together = network(items, levels)
    for index in range(2):
        alone = network(items[index : index + 1], levels[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-5)
    swapped = network(items, levels.flip(0))
    assert float((swapped - together).abs().max()) > 1e-3


@both
def test_every_parameter_is_trained(architecture):
    network = tiny_network(architecture=architecture)
    network(volume(batch=2), torch.tensor([0.1, -1.0])).square().sum().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in network.parameters())


@pytest.mark.slow
@both
def test_it_learns_from_where_it_is_born(architecture):
    torch.manual_seed(0)
    network = build_network(architecture)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    channels, level = volume(batch=2), torch.tensor([0.1, -1.0])
    wanted = channels[:, 1:2] - channels[:, 2:3]
    for _ in range(40):
        loss = (network(channels, level) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.3 * float(wanted.square().mean())


@both
def test_default_size_is_as_small_as_ours(architecture):
    ours, other = (build_network({"type": kind}) for kind in ("ResidualUNet3d", architecture["type"]))
    assert other.in_channels == ours.in_channels
    assert sum(p.numel() for p in other.parameters()) < 1.5 * sum(p.numel() for p in ours.parameters())


# -- 2.5D


def test_slices_come_with_their_neighbours_and_zero_beyond_the_ends():
    slices = torch.arange(1.0, 5.0).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
    assert with_neighbours(slices, 1)[:, :, 0, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


@torch.no_grad()
def test_the_estimate_is_the_mean_of_views_along_the_three_axes():
    network = tiny_network(architecture=MULTIVIEW)
    views, level, channels = list(network.views), torch.tensor([0.1]), volume()
    together = network(channels, level)
    alone = torch.zeros_like(together)
    for axis, view in enumerate(views):
        turned = channels.transpose(2, 2 + axis)
        alone += only(network, view)(turned, level).transpose(2, 2 + axis)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_estimate_depends_on_the_neighbouring_slices_only():
    network = tiny_network(architecture=MULTIVIEW)
    changed = volume()
    changed[:, :, 4] += 1
    only(network, network.views[0])
    difference = (network(changed, torch.tensor([0.1])) - network(volume(), torch.tensor([0.1])))[0, 0]
    touched = difference.abs().amax(dim=(1, 2)) > 1e-6
    assert touched.nonzero().flatten().tolist() == [3, 4, 5]


def only(network: nn.Module, view: nn.Module) -> nn.Module:
    """The network with this one in the place of its first view, and nothing in the two others."""
    network.views = nn.ModuleList([view, _Zero(), _Zero()])
    return network


class _Zero(nn.Module):
    def forward(self, slices: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(slices[:, :1])


# -- transformer


def test_windows_hold_neighbours_and_lead_back():
    tokens = torch.arange(4 * 6 * 8.0).reshape(1, 4, 6, 8, 1)
    windows = to_windows(tokens, 2)
    assert windows.shape == (24, 8, 1)
    assert windows[0, :, 0].tolist() == tokens[0, :2, :2, :2, 0].flatten().tolist()
    assert torch.equal(from_windows(windows, 2, tokens.shape[:-1]), tokens)


@pytest.mark.parametrize(("blocks", "reach"), [(1, range(4, 8)), (2, range(2, 10))])
@torch.no_grad()
def test_attention_stays_in_its_window_and_shifted_windows_lead_on(blocks, reach):
    network = tiny_network(architecture={**TRANSFORMER, "blocks": blocks})
    changed = volume((16, 16, 16))
    changed[:, :, 5, 5, 5] += 1
    level = torch.tensor([0.1])
    difference = (network(changed, level) - network(volume((16, 16, 16)), level))[0, 0].abs() > 1e-7
    inside = torch.zeros(16, dtype=torch.bool)
    inside[list(reach)] = True
    box = inside[:, None, None] & inside[None, :, None] & inside[None, None, :]
    assert bool((difference <= box).all()) and float(difference[box].float().mean()) > 0.9


@torch.no_grad()
def test_a_patch_and_the_whole_agree_far_from_the_border():
    network = tiny_network(architecture=TRANSFORMER)
    whole, level = volume((24, 24, 24)), torch.tensor([0.1])
    patch = network(whole[..., 4:20, 4:20, 4:20], level)
    torch.testing.assert_close(
        patch[..., 4:12, 4:12, 4:12], network(whole, level)[..., 8:16, 8:16, 8:16], rtol=1e-4, atol=1e-5
    )


# -- NAFNet-like, and Swin U-Net


@torch.no_grad()
def test_the_naf_network_is_born_with_zero_and_heeds_voxel_and_noise_level():
    channels, level = (
        torch.randn((2, 7, 8, 8, 8), generator=torch.Generator().manual_seed(0)),
        torch.tensor([0.1, -1.0]),
    )
    assert bool((build_network(NAF)(channels, level) == 0).all())
    network = tiny_network(architecture=NAF)
    together = network(channels, level)
    assert together.shape == (2, 1, 8, 8, 8)
    torch.testing.assert_close(together[1:], network(channels[1:], level[1:]), rtol=1e-4, atol=1e-5)
    assert float((network(channels, level.flip(0)) - together).abs().max()) > 1e-3


@pytest.mark.slow
def test_the_swin_network_is_born_with_zero_and_every_parameter_is_trained():
    pytest.importorskip("einops")
    # its coarsest level, a 32nd, must have more than one voxel
    channels, level = volume((32, 32, 64), batch=2), torch.tensor([0.1, -1.0])
    network = build_network(SWIN)
    assert network.multiple == 32 and network.in_channels == 3
    assert bool((network(channels, level) == 0).all())
    network = tiny_network(architecture=SWIN)
    together = network(channels, level)
    assert float((network(channels, level.flip(0)) - together).detach().abs().max()) > 1e-4
    together.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
def test_every_network_of_the_head_to_head_can_be_trained_with_its_settings():
    pytest.importorskip("einops", reason="MONAI's SwinUNETR needs it")
    config = read_placed(CONFIGS / "head-to-head.yaml", HeadToHead)
    assert len(config.networks) > 5
    for changes in config.networks.values():
        check_network(changed_config(config.training, {**config.common, **changes}))
