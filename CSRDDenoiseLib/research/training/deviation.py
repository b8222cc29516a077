"""Training of the draws: the residual's deviation from its posterior mean, as in residual corrective diffusion.

A network gives the posterior mean, and a smaller one learns the distribution of the deviation from it (CorrDiff,
Mardani et al. 2023). The second sees the mean as one more channel.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...model.bundle import Model
from ...model.deviation import Unit, activity_of, deviation_unit, known_of, removed_of
from .patches import Batch, PatchSource

_BATCHES_MEASURED, _SIDE, _RIDGE, _LEAST_SPREAD = 40, 8, 0.01, 0.02
_NO_BATCH = Batch(*(torch.empty(0) for _ in range(6)))


class DeviationSource:
    """Batches whose ``residual`` is the deviation from the posterior mean, and whose condition ends with the mean.

    Args:
        source: of the patches and their noise.
        mean: gives the posterior mean of the residual, from zero.
        unit: of the deviation.
        repeats: consecutive steps that see the same patches, each with noise of its own.
    """

    def __init__(self, source: PatchSource, mean: Model, unit: Unit, repeats: int = 1):
        self._source, self._mean, self._unit, self._repeats = source, mean, unit, repeats
        self._first, self._batch = -1, _NO_BATCH

    def batch(self, step: int, phantoms: int) -> Batch:
        """The batch of a step, out of the first ``phantoms`` phantoms of the pool."""
        first = step - step % self._repeats
        if first != self._first:
            self._first, self._batch = first, self._with_mean(self._source.batch(first, phantoms))
        return self._batch if step == first else self._source.renoised(self._batch, step)

    def _with_mean(self, batch: Batch) -> Batch:
        mean = posterior_mean_of(self._mean, batch.condition)
        known = known_of(batch.condition, self._unit.constants)
        deviation = (batch.residual - mean) / deviation_unit(known, mean, self._unit)
        # in its unit every scan counts alike
        weight = batch.weight / batch.weight.amax((1, 2, 3, 4), keepdim=True)
        return replace(batch, residual=deviation, condition=torch.cat([batch.condition, mean], dim=1), weight=weight)


@torch.no_grad()
def posterior_mean_of(model: Model, condition: Tensor) -> Tensor:
    """Posterior mean of the residual of patches, (N, 1, D, H, W), for their condition (N, C, D, H, W)."""
    device = next(model.denoiser.parameters()).device
    nothing = torch.zeros_like(condition[:, :1], device=device)
    sigma = torch.full((len(condition),), model.metadata.sigma_max, device=device)
    return model.denoiser(nothing, sigma, condition.to(device)).to(condition.device)


def fit_unit(source: PatchSource, mean: Model, phantoms: int) -> Unit:
    """Fit the unit of the deviation to that of the first batches, by ridge regression of the logarithm over cubes."""
    rows, wanted = [], []
    for step in range(_BATCHES_MEASURED):
        batch = source.batch(step, phantoms)
        given = posterior_mean_of(mean, batch.condition)
        known = known_of(batch.condition, _constants(mean))
        measured = (activity_of(known, given), removed_of(given), batch.residual - given)
        activity, removed, deviation = (_rms(values).log() for values in measured)
        others = torch.cat(known.constants, dim=1).flatten(2).expand(-1, -1, activity.shape[1])
        rows.append(torch.cat([activity[:, None], others, removed[:, None]], dim=1).movedim(1, -1).flatten(0, 1))
        wanted.append(deviation.flatten())
    *weights, exponent = _ridge(torch.cat(rows).double(), torch.cat(wanted).double())
    return Unit(tuple(weights), exponent)


def _ridge(features: Tensor, wanted: Tensor) -> tuple[float, ...]:
    """Intercept and slopes of ``wanted`` (N,) on ``features`` (N, F), the slopes drawn to 0 a little."""
    centre, spread = features.mean(0), features.std(0) + _LEAST_SPREAD
    standard = (features - centre) / spread
    penalty = _RIDGE * len(features) * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    slopes = torch.linalg.solve(standard.T @ standard + penalty, standard.T @ (wanted - wanted.mean())) / spread
    return tuple(round(float(weight), 5) for weight in (wanted.mean() - centre @ slopes, *slopes))


def measure_deviation(source: DeviationSource, phantoms: int, repeats: int) -> float:
    """Root mean square of the deviation in its unit over the first batches, weighted as the loss is."""
    batches = [source.batch(step * repeats, phantoms) for step in range(_BATCHES_MEASURED)]
    squares = sum(float((batch.weight * batch.residual**2).sum()) for batch in batches)
    return (squares / sum(float(batch.weight.sum()) for batch in batches)) ** 0.5


def _constants(mean: Model) -> int:
    return sum(name.startswith("log_") for name in mean.metadata.channels)


def _rms(values: Tensor) -> Tensor:
    """Root mean square in cubes of 8 voxels: (N, 1, P, P, P) -> (N, cubes)."""
    return nn.functional.avg_pool3d(values**2, _SIDE).flatten(1).clamp(min=1e-12).sqrt()
