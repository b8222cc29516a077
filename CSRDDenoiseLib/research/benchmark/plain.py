"""The same network and weights without optimisations, as the reference of the benchmark.

Float32, contiguous tensors before and after every convolution, space-to-depth before the entry, the condition
evaluated at every noise level.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...model.bundle import Model
from ...model.edm import Preconditioned, in_memory_format
from ...model.network import BLOCK, ResidualUNet3d, space_to_depth


class PlainResidualUNet3d(ResidualUNet3d):
    """:class:`ResidualUNet3d` whose entry applies space-to-depth first, as it is defined."""

    def _enter(self, channels: Tensor, part: slice) -> Tensor:
        weight = self.entry.weight.unflatten(1, (BLOCK**3, -1))[:, :, part].flatten(1, 2)
        return F.conv3d(space_to_depth(channels), weight, self.entry.bias if part.start else None, padding=1)


def plain_denoiser(model: Model) -> Preconditioned:
    """Return a denoiser of the same function as the model's, the plain way, on the same device."""
    network: nn.Module = model.denoiser.model
    plain: nn.Module
    if isinstance(network, ResidualUNet3d):
        arguments = dict(model.metadata.architecture)
        del arguments["type"]
        plain = PlainResidualUNet3d(**arguments)
        plain.load_state_dict(network.state_dict())
    else:
        plain = copy.deepcopy(network)
    plain = in_memory_format(plain.to(next(network.parameters()).device), torch.contiguous_format)
    for layer in plain.modules():
        if isinstance(layer, nn.Conv3d):
            layer.register_forward_pre_hook(lambda _, inputs: tuple(value.contiguous() for value in inputs))
    return Preconditioned(plain, model.metadata.sigma_data).eval().requires_grad_(False)
