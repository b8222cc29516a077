"""How good the model is so far, by dose, on whole heads of subjects and scanners it never sees in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

import numpy as np
import torch
from scipy import ndimage, stats
from torch import nn

from ...infer.samplers import sample_dpmpp_2m
from ...measures import psnr
from ...model.bundle import Model
from ...model.deviation import deviation_unit
from ...model.edm import Preconditioned, Schedule
from ...prepare.scheme import assemble
from ...scan import spread_positions
from ..simulation.anatomy import CSF, GREY, WHITE
from .deviation import posterior_mean_of
from .phantom import CLASSES, HOT
from .pool import Example, Pool

_DRAWS, _STEPS, _SIDE = 2, 5, 4


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
                scores.setdefault(score, {}).setdefault(f"{name} 1/{round(1 / dose)}", []).append(value)
    return {
        score: {name: round(float(np.mean(values)), 4) for name, values in sorted(table.items())}
        for score, table in scores.items()
    }


@dataclass(frozen=True)
class Draws:
    """What draws the deviation from the posterior mean.

    Attributes:
        denoiser: D of the deviation, averaged, in evaluation mode.
        unit: weights of its unit.
        schedule: noise levels.
    """

    denoiser: Preconditioned
    unit: Sequence[float]
    schedule: Schedule


@torch.no_grad()
def validate_deviation(mean: Model, draws: Draws, pool: Pool, phantoms: int) -> dict[str, dict[str, float]]:
    """Draw deviations from the posterior mean of whole heads and hold their spread against the mean's error.

    Args:
        mean: gives the posterior mean.
        draws: draws the deviation from it.
        pool: of validation subjects.
        phantoms: how many of its phantoms to use, at each of their doses.

    Returns:
        Dose -> ``spread`` (RMS spread in the head over the RMS error; 1 is right), ``follows`` (rank correlation of
        spread and error, both as RMS in cubes of 4 voxels of the head) and ``outside`` (as ``spread``, outside of it).
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for phantom, dose, example in pool.examples(phantoms):
        condition, inner = padded_condition(example, draws.denoiser.model.multiple)
        residual = posterior_mean_of(mean, condition)
        prepared = draws.denoiser.prepare(torch.cat([condition, residual], dim=1))
        unit, squares = deviation_unit(condition, residual, draws.unit), torch.zeros(example.mask.shape)
        for number in range(_DRAWS):
            source = torch.Generator().manual_seed(1000 * phantom + number)
            drawn = unit * _draw(draws, torch.randn(residual.shape, generator=source), prepared)
            squares += drawn[0, 0][inner].square()
        error = torch.from_numpy(example.residual) - residual[0, 0][inner]
        table = _agreement((squares / _DRAWS).numpy(), error.square().numpy(), example.mask)
        for name, value in table.items():
            scores.setdefault(name, {}).setdefault(f"1/{round(1 / dose)}", []).append(value)
    return {
        score: {name: round(float(np.mean(values)), 4) for name, values in sorted(table.items())}
        for score, table in scores.items()
    }


def _draw(draws: Draws, noise: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
    """A draw of the deviation, whose mean is zero, so that the first evaluation needs none."""
    denoiser, schedule = draws.denoiser, draws.schedule

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        if sigma >= schedule.sigma_max * (1 - 1e-6):
            return torch.zeros_like(x)
        return denoiser.denoise(x, torch.full((len(x),), sigma), prepared)

    return sample_dpmpp_2m(denoise, schedule.sigma_max * noise, schedule.sigmas(_STEPS).tolist())


def _agreement(spread: np.ndarray, error: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Compare variances and squared errors, (D, H, W)."""
    inside, by_place = [float(np.sqrt(each[mask].mean())) for each in (spread, error)], []
    blocks = tuple(n // _SIDE for n in mask.shape)
    for each in (spread, error, mask):
        cut = np.asarray(each[tuple(slice(0, n * _SIDE) for n in blocks)], np.float64)
        by_place.append(cut.reshape(blocks[0], _SIDE, blocks[1], _SIDE, blocks[2], _SIDE).mean((1, 3, 5)))
    kept = by_place[2] == 1
    outside = [float(np.sqrt(each[~mask].mean())) for each in (spread, error)]
    return {
        "spread": inside[0] / inside[1],
        "follows": float(stats.spearmanr(by_place[0][kept], by_place[1][kept]).statistic),
        "outside": outside[0] / max(outside[1], 1e-12),
    }


@torch.no_grad()
def estimate_residual(denoiser: Preconditioned, example: Example, start: torch.Tensor, sigma_max: float) -> np.ndarray:
    """Posterior mean of the residual of a whole head, D at sigma_max of ``start``: (D, H, W)."""
    device = next(denoiser.parameters()).device
    condition, inner = padded_condition(example, denoiser.model.multiple)
    missing = [(0, big - small) for big, small in zip(condition.shape[2:], start.shape)]
    noisy = nn.functional.pad(start[None, None], [side for pair in reversed(missing) for side in pair])
    sigma = torch.full((1,), sigma_max, device=device)
    mean = denoiser(noisy.to(device), sigma, condition.to(device))[0, 0].cpu().numpy()
    return mean[inner] * np.float32(example.terms.unit)


def padded_condition(example: Example, multiple: int) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """The condition of a whole head, (1, C, D, H, W), its sides multiples, and where in them the head lies."""
    shape, terms = example.mask.shape, example.terms
    padding = [amount for n in reversed(shape) for amount in (0, -n % multiple)]
    low, positions = terms.network_pet(example.low_dose), spread_positions(terms.lines)
    condition = np.stack(assemble(example.mr, low, positions, terms.constants, tuple(example.maps)))
    inner = tuple(slice(0, n) for n in shape)
    return nn.functional.pad(torch.from_numpy(condition)[None], padding), inner


def _scores(image: np.ndarray, example: Example, dose: float) -> Iterator[tuple[str, float]]:
    clean, full, mask = example.noise_free, example.full_dose, example.mask
    known = dose if example.target == "noise-free" else 0.0
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
