"""Simulated full doses whose noise is known, for :mod:`.regression` to learn from.

A scan is simulated once without a filter, with and without noise. Filtered by several widths and with more or less
noise, it represents several scanners: a filter is linear, and noise is proportional to one over the root of the counts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Iterator, Mapping, Sequence

import numpy as np
import torch

from ...atomic import complete_file
from ...digests import digest_of_values
from ...errors import InputError
from ...limits import Between, check_limits
from ...scan import Scan
from ..simulation.anatomy import list_anatomies, load_anatomy, slab_of
from ..simulation.families import draw_scanner_of
from ..simulation.scanner import gaussian_blur
from ..simulation.subject import SimulationSettings, simulate_subject
from ..training.readiness import anatomies
from .regression import Examples, features_of, fit_regression, noise_of

logger = logging.getLogger(__name__)

REGRESSION = "noise_regression.npz"
_UNFILTERED = 0.15
_FIRST_SEED = 70_000
_FEWEST = 10


@dataclass(frozen=True)
class Drawn:
    """Scans of one family of scanners.

    Attributes:
        simulations: how many are simulated.
        scanner: the family, as in ``families.json``, without a filter.
    """

    simulations: Annotated[int, Between(0, 1_000_000)]
    scanner: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_limits(self, "A family of scanners")
        try:
            draw_scanner_of(self.scanner, np.random.default_rng(0))
        except (TypeError, ValueError, LookupError) as error:
            raise InputError(f"A family of scanners cannot be drawn from: {error}.") from error


@dataclass(frozen=True)
class LikeRegression:
    """The keys of a configuration file.

    Attributes:
        anatomy: folder of anatomies, every second of which is used; the others are left to the experiment.
        output: folder for the examples and the regression.
        families: of scanners.
        variants: filters and amounts of noise of each scan.
        filters_mm: least and greatest FWHM of the filters.
        noise: least and greatest factor of the noise.
        slab_mm: height of the part of each head that is simulated; 0 for all of it.
        seed: of the simulation.
    """

    anatomy: Path
    output: Path
    families: Sequence[Drawn]
    variants: Annotated[int, Between(1, 1000)] = 2
    filters_mm: Annotated[tuple[float, float], Between(0, 100)] = (0.8, 6.5)
    noise: Annotated[tuple[float, float], Between(0, 100, above=True)] = (0.5, 1.7)
    slab_mm: Annotated[float, Between(0, 1000)] = 80.0
    seed: Annotated[int, Between(0, 2**31)] = 15

    def __post_init__(self) -> None:
        check_limits(self, "The regression")


def learning_heads(folder: Path) -> list[str]:
    """Heads to learn from."""
    return anatomies(folder)[::2]


def other_heads(folder: Path) -> list[str]:
    """Heads that nothing is learned from."""
    return list_anatomies(folder)[1::2]


def run_like_regression(config: LikeRegression) -> Path:
    """Simulate what is not there yet, learn from all of it, and write ``noise_regression.npz``; return its path.

    Raises:
        InputError: there are fewer than ten simulations.
    """
    families = [each.scanner for each in config.families for _ in range(each.simulations)]
    if len(families) < _FEWEST:
        raise InputError(f"There are {len(families)} simulations; a regression needs {_FEWEST} or more.")
    paths = [_place(config, number, family) for number, family in enumerate(families)]
    for number, (path, family) in enumerate(zip(paths, families)):
        if path.is_file():
            continue
        rows = list(_examples(config, number, family))
        with complete_file(path) as partial, partial.open("wb") as file:
            np.savez(file, shown=[row[0] for row in rows], noise=[row[1] for row in rows])
        logger.info("Simulation %d of %d", number + 1, len(families))
    regression = fit_regression(_load(paths))
    regression.save(config.output / REGRESSION)
    return config.output / REGRESSION


def _place(config: LikeRegression, number: int, family: Mapping[str, Any]) -> Path:
    """Where a simulation lies, so that one of other settings is never taken for it."""
    drawn = config.variants, config.filters_mm, config.noise, config.slab_mm, config.seed
    digest = digest_of_values([learning_heads(config.anatomy), family, drawn])
    return config.output / "examples" / f"{number:04d}-{digest[:8]}.npz"


def _load(paths: Sequence[Path]) -> Examples:
    """Read the examples of :func:`run_like_regression`."""
    shown, noise, heads = [], [], []
    for number, path in enumerate(paths):
        with np.load(path) as values:
            shown.append(values["shown"])
            noise.append(values["noise"])
        heads.append(np.full(len(shown[-1]), number))
    return Examples(*(np.concatenate(parts) for parts in (shown, noise, heads)))


def _examples(
    config: LikeRegression, number: int, family: Mapping[str, Any]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng((config.seed, number))
    scanner = draw_scanner_of(family, rng)
    names = learning_heads(config.anatomy)
    anatomy = slab_of(load_anatomy(config.anatomy, names[int(rng.integers(len(names)))]), config.slab_mm)
    settings = SimulationSettings(doses=(), scanner=scanner, noise_free=True, varied=bool(rng.random() < 0.5))
    subject = simulate_subject(anatomy, settings, _FIRST_SEED + number)
    assert subject.noise_free is not None
    clean, noise = subject.noise_free, subject.full_dose - subject.noise_free
    rng = np.random.default_rng((config.seed + 1, number))
    for _ in range(config.variants):
        width = 0.0 if rng.random() < _UNFILTERED else float(rng.uniform(*config.filters_mm))
        factor = np.float32(np.exp(rng.uniform(*np.log(config.noise))))
        smooth_clean, smooth_noise = (_filtered(each, width / scanner.spacing) for each in (clean, factor * noise))
        scan = Scan.of_array(np.maximum(smooth_clean + smooth_noise, 0), (scanner.spacing,) * 3)
        yield features_of(scan), noise_of(scan, smooth_noise)


def _filtered(volume: np.ndarray, fwhm_voxels: float) -> np.ndarray:
    return gaussian_blur(torch.from_numpy(np.ascontiguousarray(volume)), fwhm_voxels).numpy()
