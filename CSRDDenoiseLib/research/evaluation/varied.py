"""Varied heads: what the limits of the checks must not depend on, drawn anew for every head, and scanned cheaply.

They differ in tracer, uptake of scalp, neck and face, length of the neck, family of scanners, dose, and bias and noise
of the MR. The lists of anatomies that limits are chosen on and of those that alarms are counted on stand in
``heads.json``, with the seeds and the parts of the families of scanners.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk
import torch

from ...io.grid import Grid
from ...scan import Scan
from ..simulation.anatomy import AIR, BONE, BRAIN, SOFT, Anatomy, deform, load_anatomy
from ..simulation.families import draw_from_families
from ..simulation.magnetic import draw_mr
from ..simulation.osem import reconstruct
from ..simulation.planes import SquarePlanes
from ..simulation.projector import make_projectors
from ..simulation.scanner import Scanner, acquire, attenuation_map, expected
from ..simulation.tracer import SHARES, TRACERS, draw_uptake
from .faults import scan_uncorrected

NECK_MM = (20.0, 90.0)
AIR_MM = 16.0
SPACING_MM = (2.4, 3.3)
MOST_UPDATES = 30
WIDEST_FILTER_MM = 6.0
COARSE_MM = 4.0
"""Voxels of the scans without correction for attenuation, which hold no detail, and of what is looked at coarsely."""
FAINT_SCALP = 0.08


@dataclass(frozen=True)
class HeadSet:
    """Heads that belong together: to choose limits on, or to count alarms on.

    Attributes:
        seed: of what is drawn.
        scanners: parts of :mod:`..simulation.families`, drawn from with equal chances.
        anatomies: names in the folder of anatomies.
    """

    seed: int
    scanners: tuple[str, ...]
    anatomies: tuple[str, ...]


@dataclass(frozen=True)
class VariedHead:
    """A simulated head; images on the scanner's grid unless stated otherwise.

    Attributes:
        pet: at the drawn dose.
        noise_free: of the expected counts.
        mr: a real T1 with a scanner's imperfections, or one made from labels in any contrast.
        has_t1: whether it is a real T1.
        tissue: (D, H, W), classes of :mod:`..simulation.anatomy`.
        uncorrected: of the same activity without correction for attenuation, on coarse voxels.
        uniform: the same of a brain that takes up the same everywhere, under a faint scalp.
        facts: anatomy, tracer, family, dose.
    """

    pet: sitk.Image
    noise_free: sitk.Image
    mr: sitk.Image
    has_t1: bool
    tissue: np.ndarray
    uncorrected: sitk.Image
    uniform: sitk.Image
    facts: Mapping[str, Any]

    @property
    def tissue_image(self) -> sitk.Image:
        """The tissue classes where they lie."""
        return Grid.of(self.pet).image(self.tissue.astype(np.uint8))


@lru_cache(maxsize=1)
def head_sets() -> Mapping[str, HeadSet]:
    """Name -> set of ``heads.json``."""
    known = json.loads(Path(__file__).with_name("heads.json").read_text(encoding="utf-8"))
    return {
        name: HeadSet(each["seed"], tuple(each["scanners"]), tuple(each["anatomies"])) for name, each in known.items()
    }


def draw_head(folder: Path, heads: HeadSet, number: int, doses: tuple[float, float]) -> VariedHead:
    """Draw one head of a set and scan it.

    Args:
        folder: of anatomies.
        heads: the set.
        number: of the head, which gives its seed; anatomies are taken in turn.
        doses: smallest and largest dose fraction; the dose is drawn from between them, evenly in logarithms.
    """
    rng = np.random.default_rng((heads.seed, number))
    whole = load_anatomy(folder, heads.anatomies[number % len(heads.anatomies)])
    family, scanner, dose = _draw_scanner(heads, doses, rng)
    anatomy = deform(whole, scanner.spacing, rng, 1.0, rng.uniform(*NECK_MM))
    tracer = str(rng.choice(TRACERS, p=SHARES))
    activity = draw_uptake(anatomy, tracer, rng, varied=True)
    mr = draw_mr(anatomy, rng, synthetic_share=0.0)
    seed = int(rng.integers(1 << 31))
    pet, clean = _scan(activity, anatomy, scanner, seed)
    return VariedHead(
        pet=_image(pet, scanner.spacing),
        noise_free=_image(clean, scanner.spacing),
        mr=_image(mr, scanner.spacing),
        has_t1=anatomy.t1 is not None,
        tissue=_with_air(anatomy.tissue, scanner.spacing),
        uncorrected=_uncorrected(activity, anatomy, scanner, seed),
        uniform=_uncorrected(_uniform(anatomy.tissue), anatomy, scanner, seed),
        facts={"anatomy": whole.name, "tracer": tracer, "family": family, "dose": dose},
    )


def _draw_scanner(heads: HeadSet, doses: tuple[float, float], rng: np.random.Generator) -> tuple[str, Scanner, float]:
    """A scanner with the counts of a dose; one whose filter is wider than in any training is drawn again."""
    while True:
        family, scanner = draw_from_families(heads.scanners[int(rng.integers(len(heads.scanners)))], rng)
        if scanner.post_filter_mm <= WIDEST_FILTER_MM:
            break
    dose = float(np.exp(rng.uniform(*np.log(doses))))
    updates = min(scanner.iterations * scanner.subsets, MOST_UPDATES)
    changes: dict[str, Any] = {
        "spacing": float(np.clip(scanner.spacing, *SPACING_MM)),
        "counts": dose * scanner.counts,
        "iterations": max(updates // scanner.subsets, 1),
        "fine_truth": False,
    }
    return family, replace(scanner, **changes), dose


def _uniform(tissue: np.ndarray) -> np.ndarray:
    scalp = np.where(np.isin(tissue, (SOFT, BONE)), FAINT_SCALP, 0.0)
    return np.where(np.isin(tissue, BRAIN), 1.0, scalp).astype(np.float32)


def _uncorrected(activity: np.ndarray, anatomy: Anatomy, scanner: Scanner, seed: int) -> sitk.Image:
    """Reconstruct without correction for attenuation, on coarse voxels and in few steps."""
    coarse = Scanner(spacing=COARSE_MM, resolution_mm=scanner.resolution_mm, counts=scanner.counts)
    found, planes = scan_uncorrected(activity, anatomy.tissue, scanner.spacing, coarse, seed)
    return _image(planes.crop(found).numpy(), COARSE_MM)


def _scan(activity: np.ndarray, anatomy: Anatomy, scanner: Scanner, seed: int) -> list[np.ndarray]:
    """The image, and that of the expected counts."""
    planes = SquarePlanes(activity.shape)
    projectors = make_projectors(planes.side, scanner.angles, scanner.subsets)
    mu = planes.pad(attenuation_map(anatomy.tissue))
    scan = acquire(planes.pad(activity), mu, scanner, projectors, torch.Generator().manual_seed(seed))
    return [planes.crop(image).numpy() for image in reconstruct([scan, expected(scan)], scanner, projectors)]


def _with_air(volume: np.ndarray, spacing: float) -> np.ndarray:
    """Air above and around, as in a field of view wider than a head; the neck continues."""
    margin = int(AIR_MM / spacing)
    return np.pad(volume, ((0, margin), (margin, margin), (margin, margin)), constant_values=AIR)


def _image(volume: np.ndarray, spacing: float) -> sitk.Image:
    padded = _with_air(np.asarray(volume, np.float32), spacing)
    return Scan.of_array(padded, (spacing,) * 3).grid.image(padded)
