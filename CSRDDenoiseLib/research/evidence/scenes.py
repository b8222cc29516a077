"""Scenes of a phantom beside that of the contrast curves: without lesions, with every size, with spheres in the MR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional

import numpy as np
from scipy import ndimage

from ...scan import smooth
from ..simulation.anatomy import CSF, GREY, WHITE
from ..training.curves import EDGE_MM, GAP_MM, Scene, calm_part
from ..training.phantom import CLASSES, COLD, HOT
from ..training.pool import Example

RADII_MM = (10.0, 8.0, 6.0, 4.0)
SPHERE_MM = 5.0
REGION_ML = 1.0
_SIDES = (("lower", "upper"), ("front", "back"), ("right", "left"))
"""Of the brain along z, y and x."""
_HOT_EACH, _COLD_EACH = 3, 2
_HOT, _COLD = (0.6, 1.4), (-0.7, -0.4)
_INNER_MM = 6.0
_SPHERES, _SPHERE_GAP_MM = 12, 24.0


@dataclass(frozen=True)
class Brain:
    """Tissues and lesions in a phantom's brain; boolean (D, H, W), its own lesions of the PET left out.

    Attributes:
        whole: CSF, grey and white matter.
        grey, white: grey matter, and white matter away from its surface.
        lesions: the phantom's own.
        spacing: voxel side in mm.
    """

    whole: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    lesions: np.ndarray
    spacing: float

    @cached_property
    def calm(self) -> np.ndarray:
        """The brain 4 mm from its surface and 12 mm from every lesion."""
        return calm_part(self.whole, self.lesions, self.spacing)

    @cached_property
    def regions(self) -> dict[str, np.ndarray]:
        """Grey and white matter in the eight parts of the brain's bounding box, those of 1 mL or more, by name."""
        box = ndimage.find_objects(self.whole.astype(np.uint8))[0]
        middle = [(part.start + part.stop) / 2 for part in box]
        part = sum(
            (2**axis * (np.arange(n) >= middle[axis])).reshape([-1 if a == axis else 1 for a in range(3)])
            for axis, n in enumerate(self.whole.shape)
        )
        tissues = {"grey": self.grey, "white": self.white}
        regions = {
            " ".join((name, *(sides[each >> axis & 1] for axis, sides in enumerate(_SIDES)))): tissue & (part == each)
            for name, tissue in tissues.items()
            for each in range(8)
        }
        return {name: mask for name, mask in regions.items() if mask.sum() * self.spacing**3 >= 1000 * REGION_ML}


@dataclass(frozen=True)
class Lesion:
    """One lesion that was drawn: its label in the scene, radius in mm, and whether it is hot."""

    label: int
    radius_mm: float
    hot: bool


def brain_of(example: Example, spacing: float) -> Brain:
    """Return tissues and lesions in a phantom's brain."""
    classes = np.asarray(example.phantom.volumes[CLASSES])
    white = ndimage.binary_erosion(classes == WHITE)
    return Brain(np.isin(classes, (CSF, GREY, WHITE)), classes == GREY, white, np.isin(classes, (HOT, COLD)), spacing)


def plain_scene(example: Example, dose: float, brain: Brain) -> Scene:
    """Return an example as it is, with no lesions drawn into it."""
    pets = (example.low_dose, example.noise_free, example.full_dose)
    nothing = np.zeros(brain.whole.shape, np.int16)
    return Scene(*pets, nothing, brain.calm, example.mask, example.mr, brain.spacing, dose)


def lesion_scene(example: Example, dose: float, brain: Brain, seed: int) -> tuple[Scene, tuple[Lesion, ...]]:
    """Draw lesions of 10, 8, 6 and 4 mm radius, hot and cold ones, as many as fit, into an example."""
    rng = np.random.default_rng((seed, 1))
    shape, side = brain.whole.shape, brain.spacing
    deep = ndimage.distance_transform_edt(brain.whole) * side > _INNER_MM
    nearest = ndimage.distance_transform_edt(~brain.lesions) * side if brain.lesions.any() else np.full(shape, np.inf)
    change, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int16)
    drawn: list[Lesion] = []
    for radius in RADII_MM:
        for hot in (True,) * _HOT_EACH + (False,) * _COLD_EACH:
            distance = _place(deep & (nearest > radius + GAP_MM), side, rng)
            if distance is None:
                continue
            drawn.append(Lesion(len(drawn) + 1, radius, hot))
            change += np.clip(0.5 + (radius - distance) / side, 0, 1) * rng.uniform(*(_HOT if hot else _COLD))
            labels[distance <= radius] = drawn[-1].label
            nearest = np.minimum(nearest, distance - radius)
    factor = 1 + smooth(change, (side,) * 3, example.phantom.blur_mm)
    plain = plain_scene(example, dose, brain)
    low, clean, full = (factor * pet for pet in (plain.low_dose, plain.noise_free, plain.full_dose))
    return replace(plain, low_dose=low, noise_free=clean, full_dose=full, lesions=labels), tuple(drawn)


def with_spheres(scene: Scene, brain: Brain, seed: int) -> Scene:
    """Draw spheres of 5 mm radius into the MR of a scene alone: as bright as grey matter, in white matter.

    Their labels are the scene's ``lesions``.
    """
    rng, side = np.random.default_rng((seed, 2)), brain.spacing
    free = (ndimage.distance_transform_edt(brain.white) * side > EDGE_MM) & brain.calm
    mr, labels = scene.mr.copy(), np.zeros(scene.mr.shape, np.int16)
    level = np.float32(scene.mr[brain.grey].mean())
    for number in range(1, _SPHERES + 1):
        distance = _place(free, side, rng)
        if distance is None:
            break
        inside = np.clip(0.5 + (SPHERE_MM - distance) / side, 0, 1).astype(np.float32)
        mr += inside * (level - mr)
        labels[distance <= SPHERE_MM] = number
        free &= distance > _SPHERE_GAP_MM
    return replace(scene, mr=mr, lesions=labels)


def _place(free: np.ndarray, side: float, rng: np.random.Generator) -> Optional[np.ndarray]:
    """Distance in mm from a random voxel of ``free``, (D, H, W) float32, or None where nothing is free."""
    places = np.flatnonzero(free)
    if places.size == 0:
        return None
    centre = np.unravel_index(int(rng.choice(places)), free.shape)
    lines = [((np.arange(n) - c) * side).astype(np.float32) ** 2 for n, c in zip(free.shape, centre)]
    return np.sqrt(lines[0][:, None, None] + lines[1][:, None] + lines[2])
