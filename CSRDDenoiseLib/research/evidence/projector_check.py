"""The simulator against another projector: one phantom, measured and reconstructed with the one and with the other."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from ...atomic import write_json
from ...scan import Scan
from ..evaluation.markdown import Table, to_markdown
from ..likeness.spectrum import EDGES, band_powers
from ..simulation.anatomy import CSF, GREY, WHITE, deform, load_anatomy, slab_of
from ..simulation.osem import reconstruct
from ..simulation.planes import SquarePlanes
from ..simulation.projector import Projection, make_projectors
from ..simulation.scanner import Scanner, acquire, attenuation_map, expected, thin, to_columns
from ..simulation.tracer import draw_uptake
from ..training.readiness import anatomies
from .blocks import replace_block
from .rotate_and_sum import mean_of_views, rotate_and_sum

logger = logging.getLogger(__name__)

MakeProjectors = Callable[[int, int, int], Sequence[Projection]]
"""From a size, a number of angles and of subsets to the projector of each subset."""
RESULTS, BLOCK = "results.json", "projector"
MEANS_WANTED, NOISE_WANTED = 1.0, 10.0
WORDS = """## The simulator against another projector

Written by `csrd-denoise experiment projector configs/projector.yaml`. The projector of pytomography
(`SPECTSystemMatrix` without attenuation and collimator: rotate and sum; its projectors of PET need parallelproj, which
is not on PyPI) takes the place of the simulator's, in measurement and reconstruction alike; attenuation, counts and
OSEM are the simulator's in both. One head, {draws} draws of the noise with each.

{table}
Standard deviation of the noise in the brain: {deviation:+.1f} %. Noise power by cycles per voxel, with the standard
error of the comparison: {spectrum}.

Single bins of a projection differ by {bins:.1f} % (root mean square): at 45 degrees the centres of the pixels fall
unevenly into the bins of the simulator's projector, which shares a pixel between two of them.
"""
TISSUES = {"CSF": CSF, "grey matter": GREY, "white matter": WHITE}


@dataclass(frozen=True)
class ProjectorCheck:
    """The keys of a configuration file; paths are relative to it.

    Attributes:
        anatomy: folder of anatomies, the first of which is taken.
        output: folder for ``results.json``.
        page: Markdown page that the table goes into, or None.
        scanner: what measures; its resolution is not modelled in the reconstruction, unless it states so.
        slab_mm: height of the part of the head.
        draws: of the noise, with each projector.
        dose: of the draws.
        seed: of activity and noise.
    """

    anatomy: Path
    output: Path
    page: Optional[Path] = None
    scanner: Scanner = field(default_factory=lambda: Scanner(spacing=3.0, iterations=3, model_resolution=False))
    slab_mm: float = 24.0
    draws: int = 24
    dose: float = 0.1
    seed: int = 0


def run_projector_check(config: ProjectorCheck) -> dict[str, Any]:
    """Compare the simulator's projector with that of pytomography, and write ``results.json`` and the page.

    Raises:
        InputError: pytomography is not installed, or there is no anatomy.
    """
    rng = np.random.default_rng(config.seed)
    anatomy = slab_of(load_anatomy(config.anatomy, anatomies(config.anatomy)[0]), config.slab_mm)
    anatomy = deform(anatomy, config.scanner.spacing, rng, 0.0)
    activity = draw_uptake(anatomy, "fdg", rng)
    results = compare(activity, anatomy.tissue, config)
    write_json(config.output / RESULTS, results, indent=1)
    if config.page is not None:
        replace_block(config.page, BLOCK, projector_page(results))
    return results


def compare(activity: np.ndarray, tissue: np.ndarray, config: ProjectorCheck) -> dict[str, Any]:
    """Measure and reconstruct a head (D, H, W) with each projector; ratios are those of pytomography over ours.

    Returns:
        ``views``, largest deviation in % of the sum of a view of the noise-free projections; ``bins``, root mean square
        deviation of their bins in % of their root mean square; ``means``, deviation in % of each tissue's mean in the
        noise-free image; ``noise``, deviation in % of the noise power of each band, EDGES in cycles per voxel, with its
        standard error ``noise_error``;
        ``deviation``, of the standard deviation of the noise in the brain.
    """
    ours, theirs = (_measure(make, activity, tissue, config) for make in (make_projectors, rotate_and_sum))
    size, scanner = SquarePlanes(activity.shape).side, config.scanner
    angles = [scanner.angles // scanner.subsets] * scanner.subsets
    views = _percent(*(mean_of_views(each.lines, angles, size) for each in (theirs, ours)))
    bins = [torch.cat(each.lines).numpy() for each in (theirs, ours)]
    return {
        "views": round(float(np.abs(views).max()), 3),
        "bins": round(100 * float(np.sqrt(np.mean((bins[0] - bins[1]) ** 2) / np.mean(bins[1] ** 2))), 3),
        "means": {name: round(float(_percent(theirs.means[name], ours.means[name])), 3) for name in TISSUES},
        "noise": [round(float(each), 2) for each in _percent(theirs.spectra.mean(0), ours.spectra.mean(0))],
        "noise_error": [round(float(each), 2) for each in _standard_error([ours.spectra, theirs.spectra])],
        "draws": config.draws,
        "deviation": round(float(_percent(theirs.spread, ours.spread)), 2),
        "edges": list(EDGES),
    }


@dataclass(frozen=True)
class _Measured:
    """A head as one projector measures it.

    Attributes:
        lines: noise-free projections of each subset.
        means: of each tissue in the noise-free image.
        spectra: noise power of each draw by band, (draws, bands).
        spread: standard deviation of the noise in the brain.
    """

    lines: list[Tensor]
    means: dict[str, float]
    spectra: np.ndarray
    spread: float


def _measure(make: MakeProjectors, activity: np.ndarray, tissue: np.ndarray, config: ProjectorCheck) -> _Measured:
    planes, scanner = SquarePlanes(activity.shape), config.scanner
    projectors = make(planes.side, scanner.angles, scanner.subsets)
    square, mu = (planes.pad(each) for each in (activity, attenuation_map(tissue)))
    logger.info("Projector: %s", make.__name__)
    lines = [projector.forward(to_columns(square)) for projector in projectors]
    images = planes.crop(_images(square, mu, projectors, config))
    brain = np.isin(tissue, list(TISSUES.values()))
    means = {name: images[0][tissue == kind].mean() for name, kind in TISSUES.items()}
    spread = float(np.std((images[1:] - images[0])[:, brain]))
    return _Measured(lines, means, _spectrum(images, scanner.spacing), spread)


def projector_page(results: Mapping[str, Any]) -> str:
    """Return the outcome as Markdown."""
    found = {
        "sum of a view, noise-free projections, largest": (results["views"], MEANS_WANTED),
        "mean of a tissue, noise-free image, largest": (max(map(abs, results["means"].values())), MEANS_WANTED),
        "noise power of a band, largest": (max(map(abs, results["noise"])), NOISE_WANTED),
    }
    cells = tuple(
        (what, f"{aim:g} %", f"{value:.2f} %", "reached" if value <= aim else "**not reached**")
        for what, (value, aim) in found.items()
    )
    bands = zip(results["edges"], results["edges"][1:], results["noise"], results["noise_error"])
    spectrum = ", ".join(f"{low:g} to {high:g}: {each:+.1f} ± {error:.1f} %" for low, high, each, error in bands)
    table = to_markdown(Table("Deviation of pytomography from ours", ("measure", "aim", "measured", ""), cells))
    return WORDS.format(table=table, spectrum=spectrum, **results)


def _images(activity: Tensor, mu: Tensor, projectors: Sequence[Projection], config: ProjectorCheck) -> np.ndarray:
    """The noise-free image and draws of the low dose, (1 + draws, D, n, n)."""
    generator = torch.Generator().manual_seed(config.seed)
    full = acquire(activity, mu, config.scanner, projectors, generator)
    scans = [expected(full)]
    for _ in range(config.draws):
        again = replace(full, counts=[torch.poisson(mean, generator=generator) for mean in full.mean])
        scans.append(thin(again, config.dose, generator))
    return np.stack([image.numpy() for image in reconstruct(scans, config.scanner, projectors)])


def _spectrum(images: np.ndarray, side: float) -> np.ndarray:
    """Noise power of each draw by band, (draws, bands), in the squared unit of the images."""
    scan = Scan.of_array(images[0], (side,) * 3)
    return np.stack([band_powers(scan, draw - images[0]) for draw in images[1:]]) * scan.brain_mean**2


def _standard_error(spectra: Sequence[np.ndarray]) -> np.ndarray:
    """Of the ratio of two means over draws, in %."""
    if len(spectra[0]) < 2:
        return np.full(spectra[0].shape[1], np.nan)
    parts = [each.var(0, ddof=1) / len(each) / each.mean(0) ** 2 for each in spectra]
    return 100 * np.sqrt(sum(parts))


def _percent(theirs: Any, ours: Any) -> Any:
    return 100 * (np.asarray(theirs) / np.asarray(ours) - 1)
