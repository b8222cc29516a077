"""Whether the draws of a model are samples: their spread about the posterior mean against the error of that mean.

Nothing here is calibrated. A sampler whose draws are samples of the posterior gives a spread as large as the error, and
large where the error is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping

import numpy as np
import torch
from scipy import stats

from ...infer.samplers import sample_dpmpp_2m
from ...model.bundle import Model
from ...model.deviation import Unit, deviation_unit, known_of
from ...model.edm import Preconditioned, Schedule
from ...sentences import as_fraction
from .deviation import posterior_mean_of
from .pool import Example, Pool
from .validation import padded_condition

VALIDATED = {5: 2}
"""Draws by steps of a sampler, for the validation of a training run."""
_SIDE = 4


@dataclass(frozen=True)
class Draws:
    """What draws the deviation from the posterior mean.

    Attributes:
        denoiser: D of the deviation, in evaluation mode.
        unit: of the deviation.
        schedule: noise levels.
    """

    denoiser: Preconditioned
    unit: Unit
    schedule: Schedule


@dataclass(frozen=True)
class Agreement:
    """Spread of draws against the error of the posterior mean, on one head.

    Attributes:
        spread: RMS spread in the head over the RMS error; 1 is right.
        follows: rank correlation of spread and error, both as RMS in cubes of 4 voxels of the head.
        outside: as ``spread``, outside of the head.
    """

    spread: float
    follows: float
    outside: float


@dataclass(frozen=True)
class Row:
    """The agreement of one scan with one number of steps."""

    phantom: int
    dose: float
    family: str
    steps: int
    agreement: Agreement

    def as_dict(self) -> dict[str, object]:
        """Return the row as plain JSON types."""
        about = {name: getattr(self, name) for name in ("phantom", "dose", "family", "steps")}
        return {**about, **{name: round(value, 4) for name, value in vars(self.agreement).items()}}


def draws_of(model: Model) -> Draws:
    """Return what draws the deviation in a model that has one."""
    assert model.deviation is not None and model.metadata.deviation is not None
    own, about = model.of_deviation(), model.metadata.deviation
    return Draws(own.denoiser, Unit(about.unit, about.removed), own.metadata.schedule)


def score_draws(model: Model, pool: Pool, phantoms: Iterable[int], plan: Mapping[int, int]) -> Iterator[Row]:
    """Score the draws of a model at every dose of the pool's phantoms.

    Args:
        model: with a deviation.
        pool: where the phantoms are.
        phantoms: their numbers.
        plan: steps of the sampler -> draws.
    """
    for phantom in phantoms:
        for dose in pool.doses_of(phantom):
            example = pool.load(phantom, dose)
            found = agreements(model, draws_of(model), example, plan, phantom)
            yield from (
                Row(phantom, dose, example.phantom.facts["family"], steps, each) for steps, each in found.items()
            )


@torch.no_grad()
def agreements(mean: Model, draws: Draws, example: Example, plan: Mapping[int, int], seed: int) -> dict[int, Agreement]:
    """Draw deviations from the posterior mean of a whole head and hold their spread against the mean's error.

    Args:
        mean: gives the posterior mean.
        draws: draws the deviation from it.
        example: the head.
        plan: steps of the sampler -> draws.
        seed: of the noise.
    """
    condition, padding = padded_condition(example, draws.denoiser.model.multiple)
    residual = posterior_mean_of(mean, condition)
    prepared = draws.denoiser.prepare(torch.cat([condition, residual], dim=1))
    unit = deviation_unit(known_of(condition, draws.unit.constants), residual, draws.unit)
    error = (torch.from_numpy(example.residual) - padding.crop(residual)[0]).square().numpy()
    found = {}
    for steps, count in plan.items():
        squares = torch.zeros(example.mask.shape)
        for number in range(count):
            noise = torch.randn(residual.shape, generator=torch.Generator().manual_seed(1000 * seed + number))
            squares += padding.crop(unit * _draw(draws, noise, prepared, steps))[0].square()
        found[steps] = _agreement((squares / count).numpy(), error, example.mask)
    return found


def validate_draws(mean: Model, draws: Draws, pool: Pool, phantoms: int) -> dict[str, dict[str, float]]:
    """Return each score of :class:`Agreement` -> dose -> its mean over the first phantoms of a pool."""
    scores: dict[str, dict[str, list[float]]] = {}
    for phantom, dose, example in pool.examples(phantoms):
        for agreement in agreements(mean, draws, example, VALIDATED, phantom).values():
            for name, value in vars(agreement).items():
                scores.setdefault(name, {}).setdefault(as_fraction(dose), []).append(value)
    return {
        score: {name: round(float(np.mean(values)), 4) for name, values in sorted(table.items())}
        for score, table in scores.items()
    }


def _draw(draws: Draws, noise: torch.Tensor, prepared: torch.Tensor, steps: int) -> torch.Tensor:
    """A draw of the deviation, whose mean is zero, so that the first evaluation needs none."""
    denoiser, schedule = draws.denoiser, draws.schedule

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        if sigma >= schedule.sigma_max * (1 - 1e-6):
            return torch.zeros_like(x)
        return denoiser.denoise(x, torch.full((len(x),), sigma), prepared)

    return sample_dpmpp_2m(denoise, schedule.sigma_max * noise, schedule.sigmas(steps).tolist())


def _agreement(spread: np.ndarray, error: np.ndarray, mask: np.ndarray) -> Agreement:
    """Compare variances and squared errors, (D, H, W)."""
    kept = _cubes(mask) == 1
    ratios = (np.sqrt(spread[where].mean() / max(error[where].mean(), 1e-24)) for where in (mask, ~mask))
    inside, outside = (float(ratio) for ratio in ratios)
    follows = stats.spearmanr(_cubes(spread)[kept], _cubes(error)[kept]).statistic
    return Agreement(inside, float(follows), outside)


def _cubes(values: np.ndarray) -> np.ndarray:
    """Mean in cubes of 4 voxels; what does not fill one is left out."""
    sides = [n // _SIDE for n in values.shape]
    cut = np.asarray(values[tuple(slice(0, n * _SIDE) for n in sides)], np.float64)
    return cut.reshape(sides[0], _SIDE, sides[1], _SIDE, sides[2], _SIDE).mean((1, 3, 5))
