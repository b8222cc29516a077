"""Trainings of one budget that are compared: how they are set up, and how they are scored."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import torch

from ...configuration import read_yaml, structure
from ...devices import choose_device, choose_precision, list_devices, precision_name
from ...digests import digest_of_values
from ...model.edm import Preconditioned, Schedule
from ..training.config import TrainingConfig, load_config
from ..training.curves import JUDGED, error_at, make_scene, network_curve
from ..training.loop import TrainingRun, autocast
from ..training.phantom import CLEAN, FIRST_LOW, FULL
from ..training.pool import Example, Pool, pool_of
from ..training.readiness import claim_scored
from ..training.split import load_split
from ..training.validation import draw_residual, estimate_residual

ERRORS_ALONG = "errors along the coarse parts that are kept, details as the network gives them"
SCORES = ("psnr_clean", "psnr_full", *(f"error_{contrast:g}" for contrast in JUDGED))


@dataclass(frozen=True)
class Estimator:
    """A network, and how the residual is taken from it.

    Attributes:
        denoiser: in evaluation mode, on the device of the scoring.
        schedule: its noise levels; one evaluation at the largest is the posterior mean.
        mean_from: what it is shown there, ``zero`` or ``noise``.
        heun_steps: steps of Heun's method to one draw, which is scored instead; 0 scores the posterior mean.
        precision: of the network's arithmetic in a draw; the posterior mean is evaluated in float32.
    """

    denoiser: Preconditioned
    schedule: Schedule
    mean_from: str
    heun_steps: int = 0
    precision: str = "auto"

    @classmethod
    def of(cls, run: TrainingRun, heun_steps: int = 0) -> Estimator:
        """Return that of the averaged weights of a run."""
        return cls(run.average, run.schedule, run.config.mean_from, heun_steps, run.config.precision)

    def residual(self, example: Example, seed: int) -> np.ndarray:
        """Estimate the residual of a whole head, (D, H, W) in the unit of its images; the seed is that of the noise."""
        sigma_max, shape = self.schedule.sigma_max, example.mask.shape
        start = sigma_max * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        if self.heun_steps:
            with autocast(next(self.denoiser.parameters()).device.type, self.precision):
                return draw_residual(self.denoiser, example, start, self.schedule.sigmas(self.heun_steps).tolist())
        if self.mean_from == "zero":
            start = torch.zeros(shape)
        return estimate_residual(self.denoiser, example, start, sigma_max)


def changed_config(path: Path, changes: Mapping[str, Any]) -> TrainingConfig:
    """Read a training configuration and change some of its fields, which are as a file has them.

    Raises:
        InputError: it cannot be read, or a field or value is wrong.
    """
    config, where = load_config(path), f"The changes of '{path}'"
    wanted = structure({**read_yaml(path), **changes}, TrainingConfig, where, text=True)
    return replace(config, **{name: getattr(wanted, name) for name in changes})


def folder_name(name: str) -> str:
    """A name of any letters as that of a folder; a checksum at its end keeps alike names apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{plain[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def recipe_checksum(config: TrainingConfig) -> str:
    """First digits of the SHA-256 of the settings that differ from the usual ones, folders and name aside."""
    usual = TrainingConfig(name=config.name, output=config.output, anatomy=config.output).settings
    own = {name: value for name, value in config.settings.items() if value != usual[name]}
    return digest_of_values(own)[:12]


def report_pool(config: TrainingConfig) -> Pool:
    """The pool of the report families, of the test subjects; where no split is there it can only be read.

    Raises:
        InputError: its phantoms were simulated with other settings.
    """
    if not config.split_file.is_file():
        return pool_of(config, "test")
    pool = pool_of(config, "test", load_split(config.split_file)["test"])
    claim_scored(pool)
    return pool


def score_scans(estimator: Estimator, pool: Pool, phantoms: Iterable[int]) -> list[dict[str, Any]]:
    """:func:`score_scan` at each dose of phantoms."""
    return [score_scan(estimator, pool, phantom, dose) for phantom in phantoms for dose in pool.doses_of(phantom)]


def mean_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of each score over scans."""
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in SCORES}


def hardware(device: str, precision: str = "auto") -> str:
    """What a device and the precision of a training on it are called on a page."""
    where, threads = choose_device(device), torch.get_num_threads()
    name = next(each.description for each in list_devices() if each.name == str(where))
    cores = f"{threads} core{'s' * (threads > 1)} of the processor " if where.type == "cpu" else ""
    return f"{cores}{name} in {precision_name(choose_precision(where, precision))}"


class Joined(Pool):
    """Phantoms of several pools, one pool after the other.

    Args:
        pools: of one scheme and target.
        count: phantoms of each, which are there.
    """

    def __init__(self, pools: Sequence[Pool], count: int):
        first = pools[0]
        self.members = [(pool, number) for number in range(count) for pool in pools]
        super().__init__(
            first.folder, None, (), first.doses, first.spacing, 0, first.normalisation, first.dose_range, first.target
        )

    def available(self) -> int:
        """How many phantoms there are."""
        return len(self.members)

    def doses_of(self, phantom: int) -> tuple[float, ...]:
        """Dose fractions of a phantom."""
        pool, number = self.members[phantom]
        return pool.doses_of(number)

    def path(self, phantom: int) -> Path:
        """The file of one phantom."""
        pool, number = self.members[phantom]
        return pool.path(number)

    def simulate(self, phantom: int, device: str = "cpu") -> None:
        """Simulate one phantom, unless it is there."""
        pool, number = self.members[phantom]
        pool.simulate(number, device)

    def load(self, phantom: int, dose: float) -> Example:
        """Open one example."""
        pool, number = self.members[phantom]
        return pool.load(number, dose)


def score_scan(estimator: Estimator, pool: Pool, phantom: int, dose: float) -> dict[str, Any]:
    """Score a network on one scan, small hot lesions drawn into it.

    Returns:
        ``phantom``, ``dose``, PSNR in dB of the bare estimate or the draw (``psnr_clean``; ``psnr_full`` of the full
        dose that it predicts), and the error in calm brain in % where 0.8 and 0.9
        of the contrast is kept, details as the network gives them.
    """
    example = pool.load(phantom, dose)
    scene = make_scene(example, dose, pool.spacing, phantom)
    rows = {CLEAN: scene.noise_free, FULL: scene.full_dose, FIRST_LOW + example.number: scene.low_dose}
    volumes = np.array(example.phantom.volumes)
    for row, volume in rows.items():
        volumes[row] = volume / example.gain
    lesioned = replace(example, phantom=replace(example.phantom, volumes=volumes))
    estimate = scene.low_dose + estimator.residual(lesioned, phantom)
    curve = network_curve(scene, estimate, pool.target)
    bare = curve[float("inf")]
    errors = {f"error_{contrast:g}": round(error_at(contrast, curve), 4) for contrast in JUDGED}
    scores = {"psnr_clean": round(bare.psnr_clean, 4), "psnr_full": round(bare.psnr_full, 4)}
    return {"phantom": phantom, "dose": dose, **scores, **errors}
