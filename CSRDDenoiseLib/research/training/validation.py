"""How good the model is so far, by dose, on whole heads of subjects and scanners it never sees in training."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

import numpy as np
import torch
from scipy import ndimage

from ...infer.padding import Padding
from ...infer.samplers import sample_heun
from ...measures import psnr
from ...model.edm import Preconditioned
from ...prepare.scheme import assemble, constant
from ...scan import spread_positions
from ...sentences import as_fraction
from ..simulation.anatomy import CSF, GREY, WHITE
from .curves import low_dose_share
from .phantom import CLASSES, HOT
from .pool import Example, Pool


def validate(
    denoiser: Preconditioned, pool: Pool, phantoms: int, sigma_max: float, mean_from: str
) -> dict[str, dict[str, float]]:
    """Score the posterior mean, and the low-dose PET itself (``input``), by dose; means over phantoms.

    Args:
        denoiser: the averaged model in evaluation mode.
        pool: of validation subjects.
        phantoms: how many of its phantoms to use.
        sigma_max: noise level at which D is the posterior mean.
        mean_from: what the network is shown there, ``zero`` or ``noise`` (fixed by the phantom's number).

    Returns:
        ``psnr`` (dB against the pool's target, peak its maximum), ``psnr_full`` (against the full dose; of a noise-free
        estimate E it is that of p low + (1 - p) E, p the dose), ``hot`` (contrast of hot lesions relative to
        noise-free) and ``calm`` (RMS error against noise-free in the brain away from its surface and from lesions, %
        of the mean): name and dose -> value.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for phantom, dose, example in pool.examples(phantoms):
        noise = torch.randn(example.mask.shape, generator=torch.Generator().manual_seed(phantom))
        start = sigma_max * noise if mean_from == "noise" else torch.zeros_like(noise)
        residual = estimate_residual(denoiser, example, start, sigma_max)
        for name, image in (("input", example.low_dose), ("mean", example.low_dose + residual)):
            for score, value in _scores(image, example, dose if name == "mean" else 0.0):
                scores.setdefault(score, {}).setdefault(f"{name} {as_fraction(dose)}", []).append(value)
    return {
        score: {name: round(float(np.mean(values)), 4) for name, values in sorted(table.items())}
        for score, table in scores.items()
    }


@torch.no_grad()
def estimate_residual(denoiser: Preconditioned, example: Example, start: torch.Tensor, sigma_max: float) -> np.ndarray:
    """Posterior mean of the residual of a whole head, D at sigma_max of ``start``: (D, H, W)."""
    device = next(denoiser.parameters()).device
    condition, padding = padded_condition(example, denoiser.model.multiple)
    sigma = torch.full((1,), sigma_max, device=device)
    mean = denoiser(padding.noise(start[None, None]).to(device), sigma, condition.to(device))
    return padding.crop(mean)[0].cpu().numpy() * np.float32(example.terms.unit)


@torch.no_grad()
def draw_residual(
    denoiser: Preconditioned, example: Example, start: torch.Tensor, sigmas: Sequence[float]
) -> np.ndarray:
    """One draw of the residual of a whole head by Heun's method from ``start``, noise of ``sigmas[0]``: (D, H, W)."""
    device = next(denoiser.parameters()).device
    condition, padding = padded_condition(example, denoiser.model.multiple)
    prepared = denoiser.prepare(condition.to(device))

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return denoiser.denoise(x, torch.full((1,), sigma, device=device), prepared)

    drawn = sample_heun(denoise, padding.noise(start[None, None]).to(device), sigmas)
    return padding.crop(drawn)[0].cpu().numpy() * np.float32(example.terms.unit)


def padded_condition(example: Example, multiple: int) -> tuple[torch.Tensor, Padding]:
    """The condition of a whole head, (1, C, D, H, W), its sides multiples, and what was added to the head."""
    shape, terms = example.mask.shape, example.terms
    low, positions = terms.network_pet(example.low_dose), spread_positions(terms.lines)
    constants = (constant(value, shape) for value in terms.constants)
    padding = Padding.to_multiple(shape, multiple)
    return padding.condition(assemble(example.mr, low, positions, constants, tuple(example.maps))), padding


def _scores(image: np.ndarray, example: Example, dose: float) -> Iterator[tuple[str, float]]:
    clean, full, mask = example.noise_free, example.full_dose, example.mask
    known = low_dose_share(example.target, dose)
    yield "psnr", psnr(image, clean if example.target == "noise-free" else full, mask)
    yield "psnr_full", psnr(known * example.low_dose + (1 - known) * image, full, mask)
    classes = np.asarray(example.phantom.volumes[CLASSES])
    brain = np.isin(classes, (CSF, GREY, WHITE))
    calm = ndimage.binary_erosion(brain, iterations=2)
    if not calm.any():
        return
    level = float(clean[calm].mean())
    yield "calm", 100 * float(np.sqrt(np.mean((image - clean)[calm] ** 2))) / level
    contrast = _contrast(image, classes == HOT, calm)
    wanted = _contrast(clean, classes == HOT, calm)
    if contrast is not None and wanted is not None and wanted > 0.2 * level:
        yield "hot", contrast / wanted


def _contrast(image: np.ndarray, lesions: np.ndarray, calm: np.ndarray) -> Optional[float]:
    """Mean over the lesions of their mean less that of the calm brain within 8 voxels."""
    labels, count = ndimage.label(lesions)
    values = []
    for number, box in enumerate(ndimage.find_objects(labels, count), start=1):
        wide = tuple(slice(max(part.start - 8, 0), part.stop + 8) for part in box)
        around = calm[wide]
        if around.any():
            values.append(float(image[wide][labels[wide] == number].mean() - image[wide][around].mean()))
    return float(np.mean(values)) if values else None
