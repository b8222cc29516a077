"""PSNR of a preset, or of the paper's setting, on the bundled example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import SimpleITK as sitk
from torch import Tensor, nn

from ...denoise import denoise
from ...io.grid import Grid
from ...io.read import read_volume
from ...measures import psnr
from ...model.bundle import Model, load_model
from ...resources import FULL_DOSE, LOW_DOSE, MR, SAMPLE_DATA, resource_folder
from ...scan import find_head
from ...settings import DenoiseSettings, settings_from_preset
from .plain import plain_denoiser

PAPER = DenoiseSettings("heun", steps=100, samples=1, estimate="samples")
"""The paper's sampling."""


class WholeEachTime(nn.Module):
    """A network that evaluates its condition at every evaluation, without keeping any part of it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.multiple = network, network.multiple

    def forward(self, channels: Tensor, c_noise: Tensor) -> Tensor:
        """As the network's own."""
        return self.network(channels, c_noise)


def quality_case(request: dict[str, Any]) -> dict[str, Any]:
    """Denoise the bundled example by ``request["preset"]``, None for the paper's setting; return the PSNR.

    The paper's setting is one draw by Heun's method with 100 steps, of the plain network, float32, on the whole head.
    """
    model = load_model(request["model"], request["device"])
    if request["preset"] is None:
        model, settings = as_in_the_paper(model, request["device"])
    else:
        settings = settings_from_preset(request["preset"], device=request["device"])
    folder = resource_folder() / SAMPLE_DATA
    pet, mr, full = (read_volume(folder / name) for name in (LOW_DOSE, MR, FULL_DOSE))
    result = denoise(pet, mr, settings, model)
    truth = sitk.GetArrayFromImage(full)
    head = find_head(truth, Grid.of(full).array_spacing)
    assert head is not None  # the bundled example shows one
    return {
        "psnr_db": psnr(sitk.GetArrayFromImage(result.denoised), truth, head.mask),
        "psnr_of_input_db": psnr(sitk.GetArrayFromImage(pet), truth, head.mask),
        "seconds": result.record.seconds["total"],
        "evaluations": result.record.resolved.evaluations,
    }


def as_in_the_paper(model: Model, device: str) -> tuple[Model, DenoiseSettings]:
    """Return the model's weights in the plain network, and the settings of the paper's sampler."""
    plain = plain_denoiser(model)
    plain.model = WholeEachTime(plain.model)
    return replace(model, denoiser=plain), replace(PAPER, device=device)
