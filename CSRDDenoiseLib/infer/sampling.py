"""Sample: draw the residual of a whole volume from a model.

The sampler's state is always one whole volume; how its denoiser is evaluated is up to :mod:`volume`. The noise is drawn
for the whole volume from the seed alone, whatever the patches, the batch or the device.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from ..devices import choose_device, lacks_operation, precision_name
from ..errors import ModelError
from ..findings import Finding, warning
from ..model.bundle import Model, ModelMetadata
from ..model.edm import karras_sigmas
from ..progress import Reporter
from ..settings import DenoiseSettings
from .memory import Shape
from .randomness import START, generator, unit_noise
from .samplers import Churn, Denoiser, posterior_mean, sample_dpmpp_2m, sample_heun
from .tiling import Counter, VolumeDenoiser

Kept = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ResidualSamples:
    """The residual of a volume, in the model's normalised unit.

    Attributes:
        mean: float32 (D, H, W), the posterior mean, or the mean over the draws.
        std: float32 (D, H, W), the draws' spread about it; None without draws.
        evaluations: evaluations of the network over the whole volume.
        seconds: wall time.
        device: where it ran.
        precision: of the network's arithmetic.
        patch_size: (D, H, W) of the patches, None when the volume was evaluated in one piece.
        patch: (D, H, W) that the network saw at once: of the patches, or of the whole padded volume.
        findings: what the run met.
    """

    mean: np.ndarray
    std: Optional[np.ndarray]
    evaluations: int
    seconds: float
    device: str
    precision: str
    patch_size: Optional[Shape]
    patch: Shape
    findings: tuple[Finding, ...] = ()


def sample_residual(
    model: Model,
    condition: Sequence[np.ndarray],
    head: np.ndarray,
    settings: DenoiseSettings,
    report: Reporter,
    kept: Kept = lambda residual: residual,
) -> ResidualSamples:
    """Draw the residual (full dose - low dose) given the condition.

    With the device ``auto``, an accelerator that lacks an operation of the network (3D convolutions on old MPS) gives
    way to the CPU, and a finding says so.

    Args:
        model: the score model.
        condition: float32 (D, H, W) for each of the model's channels, in their order, normalised.
        head: boolean (D, H, W); patches without any of it are not evaluated.
        settings: sampler, steps, samples, patches, seed, device.
        report: called after every patch as stage ``sample``; may raise to cancel, also within a step.
        kept: linear, from a residual (D, H, W) to what of it the result has; the spread is that of the results.

    Raises:
        InputError: the device is not there, or the patch size does not suit the network.
        OutOfMemoryError: not even the smallest patches fit.
        ModelError: the network gave no numbers.
    """
    device = choose_device(settings.device)
    try:
        return _sample_on(device, model, condition, head, settings, report, kept)
    except (NotImplementedError, RuntimeError) as error:
        if settings.device != "auto" or device.type == "cpu" or not lacks_operation(error):
            raise
        reason = str(error).strip().splitlines()[0][:200].rstrip(".")
    cpu = torch.device("cpu")
    # the caller's model stays where it is
    moved = replace(model, denoiser=copy.deepcopy(model.denoiser).to(cpu))
    samples = _sample_on(cpu, moved, condition, head, settings, report, kept)
    return replace(samples, findings=(warning("device.fallback", device=str(device), reason=reason),))


def _sample_on(
    device: torch.device,
    model: Model,
    condition: Sequence[np.ndarray],
    head: np.ndarray,
    settings: DenoiseSettings,
    report: Reporter,
    kept: Kept,
) -> ResidualSamples:
    began = time.perf_counter()
    volume = VolumeDenoiser(model, condition, head, settings, device, Counter(report, settings.evaluations))
    with torch.inference_mode():
        mean, std = _mean_and_spread(volume, head.shape, model.metadata, settings, kept)
    _check_finite(mean, model.metadata.name)
    return ResidualSamples(
        mean=mean.numpy(),
        std=None if std is None else std.numpy(),
        evaluations=settings.evaluations,
        seconds=time.perf_counter() - began,
        device=str(device),
        precision=precision_name(volume.precision),
        patch_size=volume.patch,
        patch=volume.patch or volume.shape,
    )


def _check_finite(residual: Tensor, name: str) -> None:
    """Refuse what is no number, which nothing can be added to."""
    bad = residual.numel() - int(residual.isfinite().sum())
    if bad:
        raise ModelError(
            f"The model '{name}' gave {bad} of {residual.numel()} voxels that are NaN or infinite. "
            "Try device 'cpu', or get the model again."
        )


def _mean_and_spread(
    volume: VolumeDenoiser, shape: Shape, metadata: ModelMetadata, settings: DenoiseSettings, kept: Kept
) -> tuple[Tensor, Optional[Tensor]]:
    """The estimate and, if there are draws, their spread about it: (D, H, W) each, on the CPU."""

    def draws(denoiser: Denoiser) -> Iterator[Tensor]:
        at_once = volume.draws_at_once(settings.samples)
        for first in range(0, settings.samples, at_once):
            indices = range(first, min(first + at_once, settings.samples))
            sources = [noise_source(shape, settings.seed, index) for index in indices]

            def noise(sources: Sequence[Callable[[], Tensor]] = sources) -> Tensor:
                return volume.pad(torch.cat([source() for source in sources]))

            yield from volume.crop(_sample(denoiser, noise() * metadata.sigma_max, metadata, settings, noise)).cpu()

    if settings.sampler != "mean" and settings.estimate == "samples":
        statistics, total = RunningStatistics(), torch.zeros(shape)
        for draw in draws(volume):
            total += draw
            statistics.add(torch.from_numpy(kept(draw.numpy())))
        return total / settings.samples, statistics.std()
    estimate = _posterior_mean(volume, shape, metadata, settings.seed)
    mean = volume.crop(estimate)[0].cpu()
    if settings.sampler == "mean":
        return mean, None
    squares = torch.zeros_like(mean)
    for draw in draws(_with_first(volume, estimate, metadata.sigma_max)):
        squares += torch.from_numpy(kept((draw - mean).numpy())).square()
    return mean, (squares / settings.samples).sqrt_()


def _posterior_mean(volume: VolumeDenoiser, shape: Shape, metadata: ModelMetadata, seed: int) -> Tensor:
    if metadata.mean_from == "zero":
        return posterior_mean(volume, volume.pad(torch.zeros(1, 1, *shape)), metadata.sigma_max)
    start = volume.pad(noise_source(shape, seed, 0)()) * metadata.sigma_max
    return posterior_mean(volume, start, metadata.sigma_max)


def _with_first(denoiser: Denoiser, first: Tensor, sigma_max: float) -> Denoiser:
    """At sigma_max the state is noise only, so the first evaluation of every draw is the posterior mean."""
    return lambda x, sigma: first.expand_as(x) if sigma >= sigma_max * (1 - 1e-6) else denoiser(x, sigma)


def noise_source(shape: Shape, seed: int, index: int) -> Callable[[], Tensor]:
    """Return what draws unit normal noise (1, 1, D, H, W) for one draw, from (seed, index) alone."""
    return unit_noise(shape, generator(seed, START, index))


class RunningStatistics:
    """Mean and standard deviation of volumes that come one at a time (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self._squares = torch.zeros(())

    def add(self, volume: Tensor) -> None:
        """Take one more volume into account."""
        self.count += 1
        if self.count == 1:
            self.mean, self._squares = volume.clone(), torch.zeros_like(volume)
            return
        before = volume - self.mean
        self.mean += before / self.count
        self._squares += before.mul_(volume - self.mean)

    def std(self) -> Optional[Tensor]:
        """With n - 1 in the denominator; None with fewer than two volumes."""
        return None if self.count < 2 else (self._squares / (self.count - 1)).sqrt_()


def _sample(
    denoiser: Denoiser, start: Tensor, metadata: ModelMetadata, settings: DenoiseSettings, fresh: Callable[[], Tensor]
) -> Tensor:
    sigmas = karras_sigmas(settings.steps, metadata.sigma_min, metadata.sigma_max, metadata.rho).tolist()
    if settings.sampler == "heun":
        return sample_heun(denoiser, start, sigmas, churn=Churn(settings.churn, fresh))
    return sample_dpmpp_2m(denoiser, start, sigmas)
