"""What can be wrong with a scan, made on purpose: volumes with one fault each, from subjects that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor

from ...io.grid import Grid, cubic_image
from ...io.read import read_volume
from ...scan import smooth
from ..simulation.anatomy import BRAIN
from ..simulation.osem import reconstruct
from ..simulation.planes import SquarePlanes
from ..simulation.projector import make_projectors
from ..simulation.scanner import Scanner, acquire, attenuation_map, without_attenuation
from ..training.phantom import to_spacing

UNCORRECTED_SPACING_MM = 4.0
UNCORRECTED_COUNTS = 5e7
# air, soft tissue, bone, CSF, grey matter, white matter, brain stem
CONTRASTS = {
    "T2": (0.0, 0.5, 0.05, 1.0, 0.55, 0.38, 0.42),
    "FLAIR": (0.0, 0.6, 0.05, 0.1, 0.75, 0.55, 0.6),
    "PD": (0.0, 0.7, 0.05, 0.9, 0.8, 0.65, 0.65),
}
_VESSELS, _VESSEL_STEPS = 25, 30


def filtered(pet: sitk.Image, fwhm_mm: float) -> sitk.Image:
    """Smooth with a Gaussian."""
    grid = Grid.of(pet)
    return grid.image(smooth(sitk.GetArrayFromImage(pet), grid.array_spacing, fwhm_mm))


def cut(pet: sitk.Image, box: Sequence[slice], axis: int, share: float) -> sitk.Image:
    """Cut off a share of the head, whose box is given, at the far end of an axis (z, y, x)."""
    part = box[axis]
    kept = [slice(0, n) for n in pet.GetSize()[::-1]]
    kept[axis] = slice(0, part.stop - round(share * (part.stop - part.start)))
    return Grid.of(pet).crop(kept).image(sitk.GetArrayFromImage(pet)[tuple(kept)])


def blanked(pet: sitk.Image, first: int, count: int) -> sitk.Image:
    """Set slices (z) to zero."""
    values = sitk.GetArrayFromImage(pet)
    values[first : first + count] = 0
    return Grid.of(pet).image(values)


def thick(pet: sitk.Image, factor: int) -> sitk.Image:
    """Average every ``factor`` slices (z) into one."""
    return sitk.BinShrink(pet, [1, 1, factor])


def other_contrast(mr: sitk.Image, tissue: np.ndarray, contrast: str, rng: np.random.Generator) -> sitk.Image:
    """Make an MR of another contrast (:data:`CONTRASTS`) from the tissue classes (D, H, W)."""
    return Grid.of(mr).image(contrast_of(tissue, contrast, rng))


def contrast_of(tissue: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Return an MR (D, H, W), float32, of a contrast of :data:`CONTRASTS` from tissue classes."""
    texture = 1 + 0.05 * rng.standard_normal(tissue.shape)
    values = np.array(CONTRASTS[contrast])[tissue] * texture
    return ndimage.gaussian_filter(values, 0.6).astype(np.float32)


def enhanced(mr: sitk.Image, tissue: np.ndarray, rng: np.random.Generator) -> sitk.Image:
    """Draw vessels with contrast agent into a T1: winding lines 1.6 times as bright as bright white matter."""
    values, inside = sitk.GetArrayFromImage(mr), np.isin(tissue, BRAIN)
    vessels, starts = np.zeros(tissue.shape, bool), np.argwhere(inside)
    for start in starts[rng.integers(len(starts), size=_VESSELS)]:
        place, way = start.astype(float), rng.standard_normal(3)
        for _ in range(_VESSEL_STEPS):
            way += 0.5 * rng.standard_normal(3)
            way /= np.linalg.norm(way)
            place += way
            vessels[tuple(np.clip(place.astype(int), 0, np.array(tissue.shape) - 1))] = True
    vessels = ndimage.binary_dilation(vessels) & inside
    values[vessels] = 1.6 * np.quantile(values[inside], 0.9)
    return Grid.of(mr).image(values)


def random_motion(
    centre: Sequence[float], shift_mm: float, degrees: float, rng: np.random.Generator
) -> sitk.VersorRigid3DTransform:
    """Draw a motion so far in a random direction, and so far about a random axis through ``centre`` (mm)."""
    way, axis = rng.normal(size=(2, 3))
    motion = sitk.VersorRigid3DTransform()
    motion.SetCenter(centre)
    motion.SetTranslation((shift_mm * way / np.linalg.norm(way)).tolist())
    motion.SetRotation(axis.tolist(), float(np.deg2rad(degrees)))
    return motion


def uncorrected(folder: Path, dose: float, seed: int) -> sitk.Image:
    """Scan a subject anew, on voxels of 4 mm, and reconstruct it without correction for attenuation."""
    activity, tissue = (read_volume(folder / f"{name}.nii.gz") for name in ("activity", "tissue"))
    classes = np.rint(sitk.GetArrayFromImage(tissue)).astype(int)
    scanner = Scanner(spacing=UNCORRECTED_SPACING_MM, counts=UNCORRECTED_COUNTS * dose)
    spacing = activity.GetSpacing()[0]
    found, _ = scan_uncorrected(sitk.GetArrayFromImage(activity), classes, spacing, scanner, seed, margin=4)
    return cubic_image(found.numpy(), UNCORRECTED_SPACING_MM)


def scan_uncorrected(
    activity: np.ndarray, tissue: np.ndarray, spacing: float, scanner: Scanner, seed: int, margin: int = 0
) -> tuple[Tensor, SquarePlanes]:
    """Scan a head on a scanner's voxels, and reconstruct it without correction for attenuation.

    Args:
        activity, tissue: (D, H, W), the tissue in classes.
        spacing: their voxel side in mm.
        scanner: whose voxels may have another side.
        seed: of the noise.
        margin: as of :class:`SquarePlanes`.

    Returns:
        The image (D, side, side) and the planes that it lies in.
    """
    maps = (activity, attenuation_map(tissue))
    coarse = [to_spacing(each, spacing, scanner.spacing, order=1) for each in maps]
    planes = SquarePlanes(coarse[0].shape, margin)
    emission, mu = (planes.pad(each) for each in coarse)
    projectors = make_projectors(planes.side, scanner.angles, scanner.subsets)
    full = acquire(emission, mu, scanner, projectors, torch.Generator().manual_seed(seed))
    (found,) = reconstruct([without_attenuation(full, mu, scanner, projectors)], scanner, projectors)
    return found, planes
