"""Sample: draw the residual of a whole volume from a model.

The sampler's state is always one whole volume; :mod:`.tiling` evaluates its denoiser, in one piece or over patches. The
noise is drawn for the whole volume from the seed alone, whatever the patches, the batch or the device.
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
from ..model.bundle import Model
from ..model.deviation import LOW_DOSE, Known, Unit, deviation_unit
from ..model.edm import Schedule
from ..model.metadata import ModelMetadata
from ..progress import Reporter
from ..settings import DenoiseSettings
from .boosting import boost_weight, boosted_condition
from .memory import Shape
from .randomness import START, generator, unit_noise
from .samplers import Churn, Denoiser, posterior_mean, sample_dpmpp_2m, sample_heun
from .tiling import Counter, VolumeDenoiser


@dataclass(frozen=True)
class ResidualSamples:
    """The residual of a volume, in the model's normalised unit.

    Attributes:
        mean: float32 (D, H, W), the posterior mean, boosted by ``boost``, or the mean over the draws.
        std: float32 (D, H, W), root mean square error of the mean that the draws show: their spread about the posterior
            mean; of K draws about their own mean, that times the root of 1 + 1/K. None without draws.
        evaluations: evaluations of the network over the whole volume.
        seconds: wall time.
        device: where it ran.
        precision: of the network's arithmetic.
        patch_size: (D, H, W) of the patches, None when the volume was evaluated in one piece.
        patch: (D, H, W) that the network saw at once: of the patches, or of the whole padded volume.
        boost: weight of the second evaluation in the posterior mean, 0 where there was none.
        findings: of sampling, such as a change of the device.
    """

    mean: np.ndarray
    std: Optional[np.ndarray]
    evaluations: int
    seconds: float
    device: str
    precision: str
    patch_size: Optional[Shape]
    patch: Shape
    boost: float = 0.0
    findings: tuple[Finding, ...] = ()


def sample_residual(
    model: Model,
    condition: Sequence[np.ndarray],
    head: np.ndarray,
    settings: DenoiseSettings,
    report: Reporter,
) -> ResidualSamples:
    """Draw the residual (full dose - low dose) given the condition.

    With the device ``auto``, an accelerator that lacks an operation of the network (3D convolutions on old MPS) gives
    way to the CPU, and a finding reports it.

    Args:
        model: the score model.
        condition: float32 (D, H, W) for each of the model's channels, in their order, normalised.
        head: boolean (D, H, W); patches without any of it are not evaluated.
        settings: sampler, steps, samples, patches, seed, device.
        report: called after every patch as stage ``sample``; may raise to cancel, also within a step.

    Raises:
        InputError: the device is not there, or the patch size does not suit the network.
        OutOfMemoryError: not even the smallest patches fit.
        ModelError: the network gave no numbers.
    """
    device = choose_device(settings.device)
    boost = 0.0 if _of_draws_alone(model, settings) else boost_weight(condition, model.metadata)
    evaluations = _evaluations(model, settings) + (boost > 0)
    run = _Run(model, condition, head, settings, device, Counter(report, evaluations), boost)
    try:
        return _sample(run)
    except (NotImplementedError, RuntimeError) as error:
        if settings.device != "auto" or device.type == "cpu" or not lacks_operation(error):
            raise
        reason = str(error).strip().splitlines()[0][:200].rstrip(".")
    cpu = torch.device("cpu")
    counter = Counter(report, evaluations)
    # the caller's model stays where it is
    samples = _sample(replace(run, model=_copied(model, cpu), device=cpu, counter=counter))
    return replace(samples, findings=(warning("device.fallback", device=str(device), reason=reason),))


@dataclass(frozen=True)
class _Run:
    model: Model
    condition: Sequence[np.ndarray]
    head: np.ndarray
    settings: DenoiseSettings
    device: torch.device
    counter: Counter
    boost: float

    def volume(self) -> VolumeDenoiser:
        return VolumeDenoiser(self.model, self.condition, self.head, self.settings, self.device, self.counter)

    def of_deviation(self, mean: Tensor, patch: Shape) -> _Run:
        """The run that draws what the residual deviates from its posterior mean (D, H, W)."""
        model = self.model.of_deviation()
        # its network may need other multiples than that of the mean
        multiple = model.denoiser.model.multiple
        depth, height, width = (-(-side // multiple) * multiple for side in patch)
        settings = replace(self.settings, patch_size=(depth, height, width))
        return replace(self, model=model, condition=[*self.condition, mean.numpy()], settings=settings)


@dataclass(frozen=True)
class _Sampled:
    """What the residual is taken to be, (D, H, W), without the draws, and the draws about it, on the CPU."""

    centre: Tensor
    draws: Iterator[Tensor]
    volume: VolumeDenoiser


def _evaluations(model: Model, settings: DenoiseSettings) -> int:
    """How often the networks see the whole volume, boosting aside."""
    # the first evaluation of a deviation is its mean, zero, as that of a residual is the posterior mean: it is known
    counted = settings if model.deviation is None else replace(settings, estimate="mean")
    return counted.evaluations


def _of_draws_alone(model: Model, settings: DenoiseSettings) -> bool:
    """Whether the estimate is the mean of draws of the residual itself, as in the paper."""
    return settings.sampler != "mean" and settings.estimate == "samples" and model.deviation is None


def _sample(run: _Run) -> ResidualSamples:
    began = time.perf_counter()
    with torch.inference_mode():
        sampled = _centre_and_draws(run)
        mean, std = _mean_and_spread(sampled, run.settings)
    for found in (mean, std):
        _check_finite(found, run.model.metadata.name)
    volume = sampled.volume
    return ResidualSamples(
        mean=mean.numpy(),
        std=None if std is None else std.numpy(),
        evaluations=run.counter.evaluations,
        seconds=time.perf_counter() - began,
        device=str(run.device),
        precision=precision_name(volume.precision),
        patch_size=volume.patch,
        patch=volume.patch or volume.shape,
        boost=run.boost,
    )


def _check_finite(residual: Optional[Tensor], name: str) -> None:
    """Refuse what is no number, which nothing can be added to."""
    if residual is None:
        return
    bad = residual.numel() - int(residual.isfinite().sum())
    if bad:
        raise ModelError(
            f"The model '{name}' gave {bad} of {residual.numel()} voxels that are NaN or infinite. "
            "Try device 'cpu', or get the model again."
        )


def _mean_and_spread(sampled: _Sampled, settings: DenoiseSettings) -> tuple[Tensor, Optional[Tensor]]:
    """The estimate and, if there are draws, the error that they show of it: (D, H, W) each, on the CPU."""
    centre = sampled.centre
    if settings.sampler == "mean":
        return centre, None
    if settings.estimate == "samples":
        statistics = RunningStatistics()
        for draw in sampled.draws:
            statistics.add(draw)
        spread = statistics.std()
        # the truth deviates from the mean of K draws by their spread, and that mean from its expectation by 1 / K of it
        error = None if spread is None else spread * (1 + 1 / settings.samples) ** 0.5
        return centre + statistics.mean, error if settings.has_uncertainty else None
    if not settings.has_uncertainty:
        return centre, None
    squares = torch.zeros_like(centre)
    for draw in sampled.draws:
        squares += draw.square()
    return centre, (squares / settings.samples).sqrt_()


def _centre_and_draws(run: _Run) -> _Sampled:
    model, settings, volume = run.model, run.settings, run.volume()
    known = model.metadata.schedule
    if _of_draws_alone(model, settings):
        nothing, draws = torch.zeros(run.head.shape), _draws(run, volume, known)
        return _Sampled(nothing, draws, volume)
    estimate = _posterior_mean(volume, run.head.shape, model.metadata, settings.seed)
    mean, patch = volume.crop(estimate)[0].cpu(), volume.patch or volume.shape
    if model.deviation is None:
        draws = (draw - mean for draw in _draws(run, volume, known, estimate))
    else:
        volume.forget()
        unit = _deviation_unit(model, run.condition, mean)
        draws = (unit * draw for draw in _deviations(run.of_deviation(mean, patch)))
    return _Sampled(_boosted(run, mean, patch), draws, volume)


def _boosted(run: _Run, mean: Tensor, patch: Shape) -> Tensor:
    """The posterior mean (D, H, W), with the weight of the run towards that of a second evaluation."""
    metadata = run.model.metadata
    if run.boost == 0 or metadata.boost is None:
        return mean
    second = boosted_condition(run.condition, mean.numpy(), run.head, metadata)
    volume = replace(run, condition=second.channels, settings=replace(run.settings, patch_size=patch)).volume()
    estimate = _posterior_mean(volume, run.head.shape, metadata, run.settings.seed)
    boosted = metadata.boost.share * mean + second.unit * volume.crop(estimate)[0].cpu()
    return mean + run.boost * (boosted - mean)


def _deviations(run: _Run) -> Iterator[Tensor]:
    """Draws of the deviation (D, H, W) in its unit, whose mean is zero."""
    volume, schedule = run.volume(), run.model.metadata.schedule
    nothing = volume.pad(torch.zeros(1, 1, *run.head.shape))
    yield from _draws(run, volume, schedule, nothing)


def _deviation_unit(model: Model, condition: Sequence[np.ndarray], mean: Tensor) -> Tensor:
    own = model.metadata.deviation
    assert own is not None
    # a constant is the same in every voxel
    constants = [
        channel.flat[0] for name, channel in zip(model.metadata.channels, condition) if name.startswith("log_")
    ]
    known = Known(torch.from_numpy(condition[LOW_DOSE]), tuple(torch.tensor(float(each)) for each in constants))
    return deviation_unit(known, mean, Unit(own.unit, own.removed))


def _draws(run: _Run, volume: VolumeDenoiser, schedule: Schedule, mean: Optional[Tensor] = None) -> Iterator[Tensor]:
    """Draws (D, H, W) of the run, on the CPU; ``mean`` is the first evaluation of each, where it is known."""
    settings, at_once = run.settings, volume.draws_at_once(run.settings.samples)
    for first in range(0, settings.samples, at_once):
        indices = range(first, min(first + at_once, settings.samples))
        sources = [noise_source(run.head.shape, settings.seed, index) for index in indices]

        def noise(sources: Sequence[Callable[[], Tensor]] = sources) -> Tensor:
            return volume.pad(torch.cat([source() for source in sources]))

        denoiser = volume if mean is None else _with_first(volume, mean)
        yield from volume.crop(_run_sampler(denoiser, noise() * schedule.sigma_max, schedule, settings, noise)).cpu()


def _posterior_mean(volume: VolumeDenoiser, shape: Shape, metadata: ModelMetadata, seed: int) -> Tensor:
    if metadata.mean_from == "zero":
        return posterior_mean(volume, volume.pad(torch.zeros(1, 1, *shape)), metadata.sigma_max)
    start = volume.pad(noise_source(shape, seed, 0)()) * metadata.sigma_max
    return posterior_mean(volume, start, metadata.sigma_max)


def _with_first(denoiser: Denoiser, first: Tensor) -> Denoiser:
    """A draw begins with noise only, so its first evaluation is the posterior mean.

    Later ones are not, though churn may raise their noise level to that of the first.
    """
    known = iter((first,))

    def evaluate(x: Tensor, sigma: float) -> Tensor:
        mean = next(known, None)
        return denoiser(x, sigma) if mean is None else mean.expand_as(x)

    return evaluate


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


def _run_sampler(
    denoiser: Denoiser, start: Tensor, schedule: Schedule, settings: DenoiseSettings, fresh: Callable[[], Tensor]
) -> Tensor:
    sigmas = schedule.sigmas(settings.steps).tolist()
    if settings.sampler == "heun":
        return sample_heun(denoiser, start, sigmas, churn=Churn(settings.churn, fresh))
    return sample_dpmpp_2m(denoiser, start, sigmas)


def _copied(model: Model, device: torch.device) -> Model:
    """The model on another device; the one given stays where it is."""
    copied = [None if each is None else copy.deepcopy(each).to(device) for each in (model.denoiser, model.deviation)]
    assert copied[0] is not None
    return replace(model, denoiser=copied[0], deviation=copied[1])
