"""One phantom of the pool: its volumes on the model's grid, in a file that is mapped, and what was measured on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional, Sequence

import numpy as np
import torch
from scipy import ndimage

from ...atomic import complete_file, write_json
from ...prepare.bands import noise_bands
from ...prepare.tissue import tissue_maps
from ...scan import FWHM_PER_SIGMA, find_head, normalise_mr, smooth
from ..simulation.anatomy import COLD_LABEL, HOT_LABEL, MR_ONLY_LABEL
from ..simulation.subject import Subject

CLEAN, FULL, MR, MASK, CLASSES = range(5)
FIRST_MAP, FIRST_LOW = 5, 8
HOT, COLD, MR_ONLY = 11, 12, 13
NOISE_SCALES = (0.5, 0.7, 1.0, 1.4, 2.0)


@dataclass(frozen=True)
class Phantom:
    """A phantom's volumes, cropped to the head, PET relative to the brain mean of the full dose.

    Attributes:
        volumes: (8 + doses, D, H, W) float16, mapped from a file: noise-free, full dose, MR, head, classes (tissues of
            ``simulation.anatomy``, and :data:`HOT`, :data:`COLD` and :data:`MR_ONLY`), three tissue maps, and each low
            dose.
        doses: fractions, in the order of the low doses.
        facts: ``subject``, ``scanner`` and other facts of the simulation; ``scales``, brain mean of each low dose
            relative to the full dose's; ``noise``, root mean square in the head of each low dose minus noise-free,
            and ``bands``, a row of level, fine, mid for each low dose with its noise times :data:`NOISE_SCALES`, both
            relative to the low dose's brain mean; ``measured`` where it is a pair (:mod:`.measured`), whose noise-free
            image is not known.
    """

    volumes: np.ndarray
    doses: tuple[float, ...]
    facts: dict[str, Any]

    @property
    def blur_mm(self) -> float:
        """Resolution of the images, FWHM: the scanner's and its filter's, less what was modelled."""
        if "blur_mm" in self.facts:
            return float(self.facts["blur_mm"])
        scanner = self.facts["scanner"]
        seen = scanner["resolution_mm"] * (0.5 if scanner["model_resolution"] else 1.0)
        return float(np.hypot(seen, scanner["post_filter_mm"]))


def make_phantom(
    subject: Subject, doses: Sequence[float], spacing: float, displaced: Optional[np.random.Generator] = None
) -> Phantom:
    """Bring a subject to the model's grid and units, as the pipeline does with a user's volumes.

    Args:
        subject: with a noise-free reconstruction.
        doses: which low doses to keep.
        spacing: voxel side of the model's grid in mm.
        displaced: where half of the MRs are moved from, by up to 3 mm and 3 degrees; None moves none.

    Raises:
        ValueError: there is no head in a PET.
    """
    if subject.noise_free is None:
        raise ValueError(f"The phantom of seed {subject.facts['seed']} was simulated without its noise-free PET.")
    pets = [subject.noise_free, subject.full_dose, *(subject.low_doses[dose] for dose in doses)]
    clean, full, *lows = (to_spacing(pet, subject.spacing, spacing) for pet in pets)
    mr = to_spacing(subject.t1, subject.spacing, spacing, order=1)
    if displaced is not None and displaced.random() < 0.5:
        mr = _displace(mr, spacing, displaced)
    heads = [head for head in (find_head(pet, (spacing,) * 3) for pet in (full, *lows)) if head is not None]
    if len(heads) < 1 + len(lows):
        raise ValueError(f"No head was found in a PET of the phantom of seed {subject.facts['seed']}.")
    head, cube = heads[0], (spacing,) * 3
    mr = normalise_mr(mr, head.mask)
    maps = tissue_maps(mr, head.mask, cube)
    scales = [each.brain_mean / head.brain_mean for each in heads[1:]]
    clean, full, *lows = (pet / head.brain_mean for pet in (clean, full, *lows))
    pairs = [(clean / scale, low / scale) for scale, low in zip(scales, lows)]
    rows = (clean, full, mr, head.mask, _classes(subject, spacing), *maps, *lows)
    volumes = np.stack([part[head.box].astype(np.float16) for part in rows])
    about = {
        "scales": scales,
        "noise": [float(np.sqrt(np.mean((low - clean)[head.mask] ** 2))) for clean, low in pairs],
        "bands": [scaled_bands(clean, low, head.mask, cube) for clean, low in pairs],
    }
    return Phantom(volumes, tuple(doses), {**subject.facts, **about, "doses": list(doses)})


def save_phantom(phantom: Phantom, path: Path) -> None:
    """Write ``path`` (.npy) and its facts beside it (.json); both are complete before the volumes take their place."""
    write_json(path.with_suffix(".json"), phantom.facts)
    with complete_file(path) as partial, partial.open("wb") as file:
        np.save(file, phantom.volumes)


def open_phantom(path: Path) -> Phantom:
    """Map a phantom's volumes from its file; nothing is read yet but its facts."""
    facts = json.loads(path.with_suffix(".json").read_text())
    return Phantom(_map(path), tuple(facts["doses"]), facts)


def to_spacing(volume: np.ndarray, old: float, new: float, order: Literal[0, 1, 3] = 3) -> np.ndarray:
    """Resample a (D, H, W) volume to isotropic voxels of ``new`` mm, smoothed first where they are coarser."""
    if abs(old - new) < 1e-3:
        return volume
    if new > old and order:
        # the variance that the wider voxel adds, as prepare.align does
        volume = smooth(volume, (old,) * 3, FWHM_PER_SIGMA * ((new**2 - old**2) / 12) ** 0.5)
    shape = [max(round(n * old / new), 1) for n in volume.shape]
    axes = [
        ((np.arange(m) - (m - 1) / 2) * new / old + (n - 1) / 2).astype(np.float32) for m, n in zip(shape, volume.shape)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(volume, points, order=order, mode="nearest")


def _map(path: Path) -> np.ndarray:
    """Map the array of a .npy file; pages would be copied if they were written to.

    NumPy's map keeps a file descriptor for as long as it lives, and a system allows a process 256 to 1024 of them,
    fewer than a training has examples; torch closes its own.
    """
    header = np.load(path, mmap_mode="r")
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8).numpy()
    return content[header.offset :].view(header.dtype).reshape(header.shape)


def _classes(subject: Subject, spacing: float) -> np.ndarray:
    classes = subject.tissue.astype(np.float32)
    for kind, first in ((HOT, HOT_LABEL), (COLD, COLD_LABEL), (MR_ONLY, MR_ONLY_LABEL)):
        classes[(subject.labels >= first) & (subject.labels < first + 1000)] = kind
    return to_spacing(classes, subject.spacing, spacing, order=0)


def scaled_bands(
    clean: np.ndarray, low: np.ndarray, mask: np.ndarray, cube: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Level, fine and mid band of a low dose, (D, H, W), with its noise times each of :data:`NOISE_SCALES`."""
    scaled = (noise_bands(clean + np.float32(scale) * (low - clean), mask, cube) for scale in NOISE_SCALES)
    return [(bands.level, bands.fine, bands.mid) for bands in scaled]


def _displace(mr: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    way, axis = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(0, 3)) * axis).as_matrix()
    middle = (np.array(mr.shape) - 1) / 2
    offset = middle - turn @ middle + rng.uniform(0, 3) / spacing * way
    return ndimage.affine_transform(mr, turn, offset, order=1, mode="constant")
