"""Heads: how often the checks of an input raise a false alarm on varied heads, and how often they find each fault.

The heads differ in what the limits must not depend on: tracer, uptake of scalp, neck and face, length of the neck,
scanner, noise, bias of the MR. They are simulated on voxels of 4 mm, which takes seconds a head, and need no model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ....checks.attenuation import check_attenuation
from ....checks.contrast import check_contrast
from ....checks.cut import check_cut
from ....errors import InputError
from ....scan import Scan
from ...simulation.anatomy import AIR, BRAIN, list_anatomies, load_anatomy
from ...simulation.anatomy import deform as deformed
from ...simulation.magnetic import draw_mr
from ...simulation.osem import reconstruct
from ...simulation.projector import make_projectors
from ...simulation.scanner import ANGLES, Scanner, acquire, attenuation_map, to_columns
from ...simulation.tracer import SHARES, TRACERS, draw_uptake
from .. import faults
from ..table import Table
from .bench import Bench, Section
from .signatures import Tally

logger = logging.getLogger(__name__)

SPACING_MM = 4.0
NECK_MM = (20.0, 90.0)
COUNTS = (3e6, 1e8)
MOST_CUT, WHOLE = 0.9, 0.998
AIR_MM = 16.0
TEXT = (
    "Heads of real T1 and label anatomies, warped, with any tracer, half of them with scalp, neck and face that take "
    "up as much as brain. A warning where the fault was made is a detection, one without it a false alarm. Brain cut "
    "off: a tenth of its volume lies outside. Field of view round the brain: neck and face leave it, the brain "
    "does not. Not T1-weighted is tried on heads with a real T1 alone."
)


@dataclass(frozen=True)
class VariedHead:
    """A simulated head, (D, H, W) on cubes of 4 mm.

    Attributes:
        pet, uncorrected: reconstructed with and without correction for attenuation.
        mr: T1-weighted, or None where the anatomy has no real T1.
        tissue: classes of :mod:`...simulation.anatomy`.
        tracer: of the uptake.
    """

    pet: np.ndarray
    uncorrected: np.ndarray
    mr: Optional[np.ndarray]
    tissue: np.ndarray
    tracer: str


def draw_head(folder: Path, name: str, rng: np.random.Generator) -> VariedHead:
    """Draw a head from an anatomy of ``folder``; scan it once, reconstruct it twice."""
    anatomy = deformed(load_anatomy(folder, name), SPACING_MM, rng, 1.0, rng.uniform(*NECK_MM))
    tracer = str(rng.choice(TRACERS, p=SHARES))
    activity = draw_uptake(anatomy, tracer, rng, varied=True)
    mr = None if anatomy.t1 is None else _with_air(draw_mr(anatomy, rng, synthetic_share=0.0))
    counts = float(np.exp(rng.uniform(*np.log(COUNTS))))
    scanner = Scanner(spacing=SPACING_MM, resolution_mm=float(rng.uniform(3.5, 7.0)), counts=counts)
    seed = int(rng.integers(1 << 31))
    pet, uncorrected = _scan(_with_air(activity), _with_air(attenuation_map(anatomy.tissue)), scanner, seed)
    return VariedHead(pet, uncorrected, mr, _with_air(anatomy.tissue), tracer)


def run(bench: Bench, anatomy: str, heads: int = 100, seed: int = 0) -> Section:
    """Count false alarms and detections on varied heads.

    Args:
        bench: not asked for anything; the checks know no model.
        anatomy: folder of anatomies, as for ``simulate``.
        heads: how many.
        seed: of what is drawn.
    """
    folder = Path(anatomy)
    names = list_anatomies(folder)
    if not names:
        raise InputError(f"There is no anatomy in '{folder}'.")
    right, wrong = Tally(), Tally()
    for number in range(heads):
        rng = np.random.default_rng((seed, number))
        head = draw_head(folder, names[int(rng.integers(len(names)))], rng)
        _try_attenuation(head, right, wrong)
        _try_cut(head, right, wrong)
        _try_contrast(head, right, wrong, rng)
        logger.info("Head %d of %d (%s) is done", number + 1, heads, head.tracer)
    kinds = list(dict.fromkeys([*right.tried, *wrong.tried]))
    rows = tuple((kind, right.text(kind), wrong.text(kind)) for kind in kinds)
    columns = ("fault", "where it is", "where it is not (false alarm)")
    return Section("Varied heads", TEXT, (Table("Varied heads: with a warning", columns, rows),), (), ())


def _try_attenuation(head: VariedHead, right: Tally, wrong: Tally) -> None:
    for tally, pet in ((right, head.uncorrected), (wrong, head.pet)):
        tally.add("not attenuation-corrected", any(each.is_warning for each in check_attenuation(_scan_of(pet))))


def _try_cut(head: VariedHead, right: Tally, wrong: Tally) -> None:
    brain = np.isin(head.tissue, BRAIN)
    wrong.add("brain cut off: field of view with neck and face", check_cut(_scan_of(head.pet)).is_warning)
    wrong.add("brain cut off: field of view round the brain", check_cut(_scan_of(head.pet[_round(brain)])).is_warning)
    for axis, ends in enumerate((("bottom", "top"), ("front", "back"), ("right", "left"))):
        share = np.cumsum(brain.sum(axis=tuple({0, 1, 2} - {axis}))) / brain.sum()
        low, high = int(np.searchsorted(share, 1 - MOST_CUT)), int(np.searchsorted(share, MOST_CUT))
        for end, part in zip(ends, (slice(low, None), slice(0, high + 1))):
            kept = tuple(part if each == axis else slice(None) for each in range(3))
            right.add(f"brain cut off: {end}", end in check_cut(_scan_of(head.pet[kept])).values["edges_cm2"])


def _try_contrast(head: VariedHead, right: Tally, wrong: Tally, rng: np.random.Generator) -> None:
    if head.mr is None:
        return
    scan = _scan_of(head.pet)
    wrong.add("MR not T1-weighted", any(each.code == "mr.not_t1" for each in check_contrast(scan, head.mr)))
    for name in faults.CONTRASTS:
        other = faults.contrast_of(head.tissue, name, rng)
        right.add(f"MR not T1-weighted: {name}", any(e.code == "mr.not_t1" for e in check_contrast(scan, other)))


def _round(brain: np.ndarray) -> tuple[slice, ...]:
    """The smallest field of view with the brain in it; half a slice of a cut cerebellum is no cut."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    below = np.cumsum(brain.sum(axis=(1, 2))) / brain.sum()
    return slice(int(np.searchsorted(below, 1 - WHOLE)), None), *(
        slice(max(p.start - 2, 0), p.stop + 2) for p in box[1:]
    )


def _scan_of(pet: np.ndarray) -> Scan:
    return Scan.of_array(np.asarray(pet, np.float32), (SPACING_MM,) * 3)


def _with_air(volume: np.ndarray) -> np.ndarray:
    """Air above and around, as in a field of view wider than a head; the neck goes on."""
    margin = int(AIR_MM / SPACING_MM)
    return np.pad(volume, ((0, margin), (margin, margin), (margin, margin)), constant_values=AIR)


def _scan(activity: np.ndarray, mu: np.ndarray, scanner: Scanner, seed: int) -> Sequence[np.ndarray]:
    size = -(-max(activity.shape[1:]) // 8) * 8
    room = [((size - n) // 2, size - n - (size - n) // 2) for n in activity.shape[1:]]

    def square(volume: np.ndarray) -> Tensor:
        return torch.from_numpy(np.pad(volume, ((0, 0), *room)).astype(np.float32))

    projectors = make_projectors(size, ANGLES, scanner.subsets)
    attenuation = square(mu)
    corrected = acquire(square(activity), attenuation, scanner, projectors, torch.Generator().manual_seed(seed))
    columns = to_columns(attenuation) * scanner.spacing
    factors = [factor / torch.exp(-p.forward(columns)) for factor, p in zip(corrected.factors, projectors)]
    both = reconstruct([corrected, replace(corrected, factors=factors)], scanner, projectors)
    inner = tuple(slice(before, size - after) for before, after in room)
    return [image[(slice(None), *inner)].cpu().numpy() for image in both]
