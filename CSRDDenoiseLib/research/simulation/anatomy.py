"""Anatomies: a label map of a head, its tissue classes, and a real T1 where there is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Optional

import numpy as np
from scipy import ndimage

from ...errors import InputError
from ...scan import largest_component

AIR, SOFT, BONE, CSF, GREY, WHITE, BRAINSTEM = range(7)
BRAIN = (CSF, GREY, WHITE, BRAINSTEM)
HOT_LABEL, COLD_LABEL, MR_ONLY_LABEL = 1001, 2001, 3001

_FREESURFER = {
    WHITE: (2, 41, 7, 46, 77, 85, 251, 252, 253, 254, 255),
    CSF: (4, 5, 14, 15, 24, 43, 44, 72),
    BRAINSTEM: (16, 28, 60),
}
_MUSE_TISSUE = {"gm": GREY, "wm": WHITE, "csf": CSF, "brainstem": BRAINSTEM, "tissue": GREY}
_CORTEX = (3, 42)
_FIRST_OUTSIDE_LABEL = 500
_SAME = 1e-3
"""Relative difference of voxel sides that are the same."""


@dataclass(frozen=True)
class Anatomy:
    """One head. Arrays are (D, H, W), z to superior, y to posterior, x to left, on an isotropic grid.

    Attributes:
        name: of the subject, the unit of every data split.
        labels: int16 region labels; 0 is outside every region.
        tissue: uint8 tissue classes of this module.
        spacing: voxel side in mm.
        t1: the real T1-weighted MR, or None where the anatomy is a label map only.
    """

    name: str
    labels: np.ndarray
    tissue: np.ndarray
    spacing: float
    t1: Optional[np.ndarray] = None


def list_anatomies(folder: Path) -> list[str]:
    """Names of the subjects below ``folder``: ``ixi/NAME`` (T1 and labels) and ``synthseg/NAME`` (labels)."""
    real = [f"ixi/{path.name[: -len('_T1.nii.gz')]}" for path in folder.glob("ixi/*_T1.nii.gz")]
    maps = [f"synthseg/{path.name[: -len('.nii.gz')]}" for path in folder.glob("synthseg/*.nii.gz")]
    return sorted(real) + sorted(maps)


def load_anatomy(folder: Path, name: str) -> Anatomy:
    """Load one of :func:`list_anatomies`; a label map may also be the ``labels.nii.gz`` of a simulated subject.

    Raises:
        InputError: it is not in ``folder`` or cannot be read, its voxels are no cubes, its T1 has another grid than its
            labels, parcels stand for its cortex, or no label is brain.
    """
    try:
        anatomy = _load(folder, name)
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise InputError(f"The anatomy '{name}' in '{folder}' cannot be loaded: {error}.") from error
    if not np.isin(anatomy.tissue, BRAIN).any():
        raise InputError(
            f"The anatomy '{name}' in '{folder}' has no brain: its labels are {_some(np.unique(anatomy.labels))}; "
            "give labels of FreeSurfer (synthseg/) or those of ixi_labels.csv (ixi/)."
        )
    return anatomy


def _load(folder: Path, name: str) -> Anatomy:
    if name.startswith("ixi/"):
        labels, spacing = _read(folder / f"{name}_labels.nii.gz")
        t1, of_t1 = _read(folder / f"{name}_T1.nii.gz")
        if t1.shape != labels.shape or not np.isclose(of_t1, spacing, rtol=_SAME):
            raise InputError(
                f"The T1 of the anatomy '{name}' has {_grid(t1, of_t1)}, and its labels {_grid(labels, spacing)}; "
                "resample the T1 to the grid of the labels."
            )
        tissue = _tissue_with_t1(labels.astype(np.int16), t1, _muse_classes(folder / "ixi_labels.csv"), spacing)
        return Anatomy(name, labels.astype(np.int16), tissue, spacing, t1.astype(np.float32))
    labels, spacing = _read(folder / f"{name}.nii.gz")
    labels = _without_lesions(labels.astype(np.int16), name)
    return Anatomy(name, labels, _tissue_of_freesurfer(labels), spacing)


def slab_of(anatomy: Anatomy, height_mm: float) -> Anatomy:
    """The part of a head around the middle of its brain, so high, for experiments that must be small; 0 for all."""
    if not height_mm:
        return anatomy
    planes = ndimage.find_objects(np.isin(anatomy.tissue, BRAIN).astype(np.uint8))[0][0]
    middle, half = (planes.start + planes.stop) // 2, max(round(height_mm / anatomy.spacing / 2), 1)
    part = slice(max(middle - half, 0), middle + half)
    t1 = None if anatomy.t1 is None else anatomy.t1[part]
    return replace(anatomy, labels=anatomy.labels[part], tissue=anatomy.tissue[part], t1=t1)


def deform(
    anatomy: Anatomy, spacing: float, rng: np.random.Generator, strength: float = 1.0, below_mm: float = 25.0
) -> Anatomy:
    """Rotate, scale, mirror and warp an anatomy at random while resampling it to ``spacing`` around the brain.

    Args:
        anatomy: the head to change.
        spacing: voxel side of the result in mm.
        rng: source of the change.
        strength: 0 only resamples and crops; 1 is rotations of some 6 degrees and warps of some 3 mm.
        below_mm: how much neck is kept under the brain.
    """
    box = ndimage.find_objects(np.isin(anatomy.tissue, BRAIN).astype(np.uint8))[0]
    head = ndimage.find_objects((anatomy.tissue != AIR).astype(np.uint8))[0]
    margin, below = int(6 / anatomy.spacing), int(below_mm / anatomy.spacing)
    low = np.array([max(box[0].start - below, 0), *(head[a].start - margin for a in (1, 2))], float)
    high = np.array([head[0].stop + margin, *(head[a].stop + margin for a in (1, 2))], float)
    shape = np.ceil((high - low) * anatomy.spacing / spacing).astype(int)
    matrix = _random_matrix(rng, strength) * (spacing / anatomy.spacing)
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    points = (
        np.tensordot(matrix.astype(np.float32), grid, 1)
        + ((low + high - 1) / 2).astype(np.float32)[:, None, None, None]
    )
    if strength > 0:
        points += _smooth_field(shape, rng, 3.0 * strength / anatomy.spacing, spacing)
    take = partial(ndimage.map_coordinates, coordinates=points, mode="constant", cval=0)
    t1 = None if anatomy.t1 is None else take(anatomy.t1, order=1)
    return replace(
        anatomy, labels=take(anatomy.labels, order=0), tissue=take(anatomy.tissue, order=0), spacing=spacing, t1=t1
    )


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, fwhm_voxels: float) -> np.ndarray:
    """A random field of zero mean and unit standard deviation, smooth over about ``fwhm_voxels``."""
    coarse = [max(int(np.ceil(2 * n / fwhm_voxels)), 2) + 2 for n in shape]
    field = rng.standard_normal(coarse).astype(np.float32)
    field = ndimage.zoom(field, [n / c for n, c in zip(shape, coarse)], order=1, mode="nearest")
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _read(path: Path) -> tuple[np.ndarray, float]:
    import nibabel

    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
    except nibabel.filebasedimages.ImageFileError as error:
        raise ValueError(str(error)) from error
    # canonical is R-A-S along (i, j, k); ours is S, P, L along (z, y, x)
    sides = image.header.get_zooms()[:3]
    if not np.allclose(sides, sides[0], rtol=_SAME):
        raise InputError(
            f"The voxels of the anatomy '{path}' are {' x '.join(f'{side:.4g}' for side in sides)} mm; resample it to "
            "cubic voxels."
        )
    array = np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
    return np.ascontiguousarray(array), float(sides[0])


def _some(labels: np.ndarray) -> str:
    return ", ".join(map(str, labels[:10])) + (", ..." if labels.size > 10 else "")


def _grid(array: np.ndarray, spacing: float) -> str:
    return f"{' x '.join(map(str, array.shape[::-1]))} voxels of {spacing:.4g} mm"


def _muse_classes(path: Path) -> dict[int, int]:
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").strip().splitlines()[1:]]
    return {int(row[0]): _MUSE_TISSUE[row[2].strip()] for row in rows} | {1: CSF}


def _tissue_with_t1(labels: np.ndarray, t1: np.ndarray, classes: dict[int, int], spacing: float) -> np.ndarray:
    table = np.full(int(labels.max()) + 1, GREY, np.uint8)
    for label, tissue in classes.items():
        if label < table.size:
            table[label] = tissue
    table[0] = AIR
    tissue = table[labels]
    bright = float(np.median(t1[labels > 0]))
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), max(round(6 / spacing), 1))
    hull = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(labels > 0, 8), ball)[8:-8, 8:-8, 8:-8])
    head = _fill_slices(ndimage.binary_opening(ndimage.gaussian_filter(t1, 1.0) > 0.12 * bright)) | hull
    near = ndimage.distance_transform_edt(~hull, sampling=spacing) < 14
    outside = np.where(near & (t1 < 0.35 * bright), BONE, SOFT)
    outside = np.where(hull, CSF, outside)
    return np.where(tissue > 0, tissue, np.where(head, outside, AIR)).astype(np.uint8)


def _fill_slices(mask: np.ndarray) -> np.ndarray:
    mask = ndimage.binary_closing(largest_component(mask), iterations=3)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def _tissue_of_freesurfer(labels: np.ndarray) -> np.ndarray:
    tissue = np.where(labels > 0, GREY, AIR).astype(np.uint8)
    tissue[labels >= _FIRST_OUTSIDE_LABEL] = SOFT
    for value, members in _FREESURFER.items():
        tissue[np.isin(labels, members)] = value
    return tissue


def _without_lesions(labels: np.ndarray, name: str) -> np.ndarray:
    """Give the lesions of an earlier simulation to the nearest region: its label map is an anatomy like any other."""
    lesions = labels >= HOT_LABEL
    if not lesions.any():
        return labels
    if not np.isin(labels, _CORTEX).any():
        raise InputError(
            f"The anatomy '{name}' has no cortex (labels 3 and 42), and {int(lesions.sum())} voxels of labels from "
            f"{HOT_LABEL} on, as in a cortical parcellation; here these are lesions. Give the parcels the labels 3 "
            "(left) and 42 (right)."
        )
    nearest = ndimage.distance_transform_edt(lesions, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def _random_matrix(rng: np.random.Generator, strength: float) -> np.ndarray:
    angles = np.deg2rad(rng.normal(0, 6, 3)) * strength
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    scale = 1 + strength * rng.normal(0, 0.04, 3)
    if strength > 0 and rng.random() < 0.5:
        scale[2] *= -1  # left and right change places
    return matrix * scale


def _smooth_field(shape: np.ndarray, rng: np.random.Generator, amplitude: float, spacing: float) -> np.ndarray:
    return np.stack([amplitude * 0.6 * smooth_noise(tuple(shape), rng, 50 / spacing) for _ in range(3)])
