"""The experiment: low doses made of full doses alone, against the known low doses of the simulator."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Iterator, Mapping, Optional

import numpy as np

from ...atomic import read_json, write_json
from ...checks.counts import count_noise, share_of_counts
from ...errors import InputError
from ...io.grid import cubic_image
from ...limits import Between, OneOf, check_limits
from ...scan import Scan, smooth
from ..simulation.anatomy import load_anatomy, slab_of
from ..simulation.scanner import Scanner
from ..simulation.subject import SimulationSettings, Subject, simulate_subject
from ..simulation.tracer import TRACERS
from ..training.claim import check_facts
from .examples import other_heads
from .learn import ScanNoise, at_level_of, combine, learn_scan
from .low_dose import make_low_dose
from .spectrum import band_powers

logger = logging.getLogger(__name__)

RESULTS = "results.json"


@dataclass(frozen=True)
class LikeSite:
    """A scanner, its tracer, and the low dose that is made and known."""

    tracer: Annotated[str, OneOf(TRACERS)]
    dose: Annotated[float, Between(0, 1, above=True, below=True)]
    scanner: Scanner

    def __post_init__(self) -> None:
        check_limits(self, "A site")


@dataclass(frozen=True)
class LikeExperiment:
    """The keys of a configuration file.

    Attributes:
        anatomy: folder of anatomies; none of those that the regression learned from is used.
        output: folder for the results.
        sites: name -> site.
        scans: full doses of each site.
        slab_mm: height of the part of each head that is simulated; 0 for all of it.
        halves: also learn from two halves of the counts.
        seed: of the simulation.
    """

    anatomy: Path
    output: Path
    sites: Mapping[str, LikeSite]
    scans: Annotated[int, Between(1, 10_000)] = 3
    slab_mm: Annotated[float, Between(0, 1000)] = 0.0
    halves: bool = True
    seed: Annotated[int, Between(0, 2**31)] = 0

    def __post_init__(self) -> None:
        check_limits(self, "The experiment")


def run_like_experiment(config: LikeExperiment) -> dict[str, Any]:
    """Run what is not done yet; ``results.json`` is written after each site.

    Raises:
        InputError: that file has results of other settings.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    path = config.output / RESULTS
    results: dict[str, Any] = read_json(path) if path.is_file() else {}
    for number, (name, site) in enumerate(config.sites.items()):
        seed = 1000 * (number + 1) + config.seed
        facts = {
            **asdict(site),
            "scans": config.scans,
            "slab_mm": config.slab_mm,
            "halves": config.halves,
            "seed": seed,
        }
        if name in results:
            had = results[name].get("made_of", {})
            check_facts(had, facts, f"'{path}' has results of '{name}' with", "choose another output folder")
            continue
        logger.info("Site '%s'", name)
        results[name] = {**_of_site(config, site, seed), "made_of": facts}
        write_json(path, results, indent=1)
    return {name: results[name] for name in config.sites}


def _of_site(config: LikeExperiment, site: LikeSite, seed: int) -> dict[str, Any]:
    """Learn the site's noise from all scans together, and compare made and known low doses scan by scan."""
    subjects = list(_subjects(config, site, seed))
    side = site.scanner.spacing
    images = [(cubic_image(each.full_dose, side), cubic_image(each.t1, side)) for each in subjects]
    ways: dict[str, list[ScanNoise]] = {"full doses": [learn_scan(*pair) for pair in images]}
    if config.halves:
        ways["halves"] = [
            learn_scan(pet, halves=tuple(cubic_image(half, side) for half in _halves(each)))
            for (pet, _), each in zip(images, subjects)
        ]
    found: dict[str, Any] = {"dose": site.dose, "resolution_known_mm": _resolution(subjects[0])}
    for way, scans in ways.items():
        scanner = combine(scans)
        levels = [at_level_of(scanner, scan) for scan in scans]
        found[way] = {**scanner.as_dict(), **_compared(subjects, levels, site.dose, side)}
    return found


def _compared(subjects: list[Subject], noises: list[ScanNoise], dose: float, side: float) -> dict[str, Any]:
    """Amplitude of the noise that was added over that of the known low doses, by band; the dose it shows.

    The dose is that which the noise of the made low dose shows where the known one is taken for the reference.
    """
    made_powers, known_powers, doses = [], [], []
    for number, (subject, noise) in enumerate(zip(subjects, noises)):
        full, known = subject.full_dose, subject.low_doses[dose]
        made = make_low_dose(full, noise, dose, number)
        made_powers.append(_powers(full, made - full, side))
        known_powers.append(_powers(full, known - full, side))
        doses.append(_share(made, known, side))
    ratio = np.sqrt(np.mean(made_powers, axis=0) / np.mean(known_powers, axis=0))
    return {
        "amplitude_ratio": [round(float(each), 3) for each in ratio],
        "worst_percent": round(100 * float(np.abs(ratio - 1).max()), 1),
        "dose_over_known": [round(each, 3) for each in doses if each is not None],
    }


def _subjects(config: LikeExperiment, site: LikeSite, seed: int) -> Iterator[Subject]:
    names = other_heads(config.anatomy)
    if len(names) < config.scans:
        raise InputError(
            f"The experiment needs {config.scans} anatomies that nothing was learned from; there are {len(names)} in "
            f"'{config.anatomy}'."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    for number in range(config.scans):
        settings = SimulationSettings(
            doses=(site.dose, 0.5), tracer=site.tracer, scanner=site.scanner, noise_free=True, varied=True
        )
        anatomy = slab_of(load_anatomy(config.anatomy, names[order[number]]), config.slab_mm)
        yield simulate_subject(anatomy, settings, seed + number)


def _halves(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the counts: one that was reconstructed, and what the full dose has beside it."""
    half = subject.low_doses[0.5]
    return half, 2 * subject.full_dose - half


def _known(subject: Subject) -> np.ndarray:
    assert subject.noise_free is not None
    return subject.noise_free


def _powers(pet: np.ndarray, noise: np.ndarray, side: float) -> np.ndarray:
    return band_powers(Scan.of_array(pet, (side,) * 3), noise)


def _share(made: np.ndarray, known: np.ndarray, side: float) -> Optional[float]:
    one, other = (count_noise(Scan.of_array(pet, (side,) * 3), side) for pet in (made, known))
    return None if one is None or other is None else share_of_counts(one, other)


def _resolution(subject: Subject) -> float:
    """FWHM in mm of the Gaussian that brings the activity nearest to its noise-free image."""
    spacing = (subject.spacing,) * 3
    widths = np.arange(2.0, 14.0, 0.5)
    clean = _known(subject)
    errors = [float(np.mean((smooth(subject.activity, spacing, width) - clean) ** 2)) for width in widths]
    return float(widths[int(np.argmin(errors))])
