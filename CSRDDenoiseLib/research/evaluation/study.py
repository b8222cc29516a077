"""A study to evaluate on: one simulated subject, its scans at several doses, and where to measure what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Optional, Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...atomic import read_json
from ...checks.volumes import check_pet, same_values
from ...digests import digest_of_values
from ...errors import InputError
from ...io.grid import Grid, same_place
from ...io.read import read_volume
from ...measures import contrast, shell
from ...scan import Head, find_head
from ..simulation.anatomy import BRAIN, COLD_LABEL, HOT_LABEL, MR_ONLY_LABEL, WHITE
from ..simulation.subject import FACTS

LABELS_PER_KIND = 1000
VISIBLE_CONTRAST = 0.2
SMALLEST_REGION_ML = 1.0
_OTHER_UNIT = 1.9
"""Factor between two means from which they are in two units; one activity at two doses has nearly one mean."""
NOISE_FREE = "noise_free.nii.gz"
_LOW_DOSE = re.compile(r"low_dose_(\d+)_(\d+)\.nii\.gz")

Pair = tuple[np.ndarray, np.ndarray]
"""Two masks: a structure and its surroundings."""


@dataclass(frozen=True)
class Masks:
    """Where a study is measured; boolean (D, H, W) of the head's box.

    Attributes:
        head: the head with a margin: PSNR, SSIM, NRMSE and MAE.
        brain: brain and CSF: activity bias.
        white_matter: its core, at least two voxels inside and without lesions: noise.
        regions: anatomical regions of 1 mL or more: regional error.
        hot: hot lesions that stand out from the same tissue around them in the true activity, with that tissue.
        cold: cold lesions, likewise.
        mr_only: structures that only the MR shows, with their surroundings: leakage.
        numbers: labels of the regions, in their order.
    """

    head: np.ndarray
    brain: np.ndarray
    white_matter: np.ndarray
    regions: tuple[np.ndarray, ...]
    hot: tuple[Pair, ...]
    cold: tuple[Pair, ...]
    mr_only: tuple[Pair, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Study:
    """Images are whole, in anatomical orientation; arrays (D, H, W) are cut to the head's box.

    Attributes:
        name: of the subject's folder.
        low_doses: dose fraction -> the PET a method is given.
        mr: the MR it may use, or None.
        box: the head's bounding box in the images.
        spacing: voxel spacing in mm along (D, H, W).
        scale: brain mean of the full dose.
        full_dose: the reference.
        noise_free: reconstruction of the expected counts, or None.
        masks: where to measure.
        facts: contents of ``subject.json``.
        full_noise: mean squared noise of the full dose in the head, where repeated scans or halves show it.
    """

    name: str
    low_doses: dict[Fraction, sitk.Image]
    mr: Optional[sitk.Image]
    box: tuple[slice, ...]
    spacing: tuple[float, ...]
    scale: float
    full_dose: np.ndarray
    noise_free: Optional[np.ndarray]
    masks: Masks
    facts: dict
    full_noise: Optional[float] = None

    @property
    def t1(self) -> sitk.Image:
        """The MR, which every simulated subject has.

        Raises:
            InputError: there is none.
        """
        if self.mr is None:
            raise InputError(f"The subject '{self.name}' has no MR.")
        return self.mr

    def array(self, image: sitk.Image) -> np.ndarray:
        """Return the part of an image on the study's grid that lies in the head's box, (D, H, W)."""
        return sitk.GetArrayFromImage(image)[self.box]


def load_study(folder: Path) -> Study:
    """Load a folder written by ``csrd-denoise simulate``.

    Raises:
        InputError: a file is missing or unreadable or lies on another grid than the full dose, there is no low dose,
            a PET holds no image, is in another unit than the full dose or a copy of it, or labels are negative.
    """
    doses = doses_of(folder)
    full = _pet(folder, "full_dose")
    grid = Grid.of(full)
    spacing = full.GetSpacing()[::-1]
    head = _head(full, folder)

    def cut(image: sitk.Image) -> np.ndarray:
        return sitk.GetArrayFromImage(image)[head.box]

    labels, tissue = (_as_labels(cut(_read(folder, name, grid)), folder, name) for name in ("labels", "tissue"))
    noise_free = cut(_pet(folder, "noise_free", full)) if (folder / NOISE_FREE).exists() else None
    return Study(
        name=folder.name,
        low_doses={dose: _pet(folder, f"low_dose_{dose.numerator}_{dose.denominator}", full) for dose in doses},
        mr=_read(folder, "t1", grid),
        box=head.box,
        spacing=spacing,
        scale=head.brain_mean,
        full_dose=cut(full),
        noise_free=noise_free,
        masks=_masks(head.mask[head.box], labels, tissue, cut(_read(folder, "activity", grid)), spacing),
        facts=_read_facts(folder / FACTS),
    )


def doses_of(folder: Path) -> tuple[Fraction, ...]:
    """The low doses of a subject's folder, largest first, by the names of its files alone.

    Raises:
        InputError: it is no folder, or holds no low dose.
    """
    if not folder.is_dir():
        raise InputError(f"The subject folder '{folder}' does not exist.")
    matches = [match for match in map(_LOW_DOSE.fullmatch, (path.name for path in folder.iterdir())) if match]
    doses = {Fraction(int(match[1]), int(match[2])) for match in matches if int(match[2])}
    if not doses:
        raise InputError(f"The subject folder '{folder}' holds no low dose (low_dose_1_10.nii.gz or the like).")
    return tuple(sorted(doses, reverse=True))


def checksum_of(folder: Path) -> str:
    """First digits of the SHA-256 of a subject's facts, which tell it from others of its name.

    Raises:
        InputError: there are none.
    """
    return digest_of_values(_read_facts(folder / FACTS))[:12]


def check_doses(folders: Sequence[Path], doses: Sequence[Fraction]) -> None:
    """Check that every subject can be loaded by its names, and that each dose is there in one of them or more.

    Raises:
        InputError: a folder is no subject, no subject has one of the doses, or one of either is named twice: each scan
            of it would count as two.
    """
    places = [folder.resolve() for folder in folders]
    twice = next((folder for number, folder in enumerate(folders) if places[number] in places[:number]), None)
    if twice is not None:
        raise InputError(f"The subject folder '{twice}' is named twice; name each once.")
    doubled = [dose for number, dose in enumerate(doses) if dose in doses[:number]]
    if doubled:
        raise InputError(f"The dose {doubled[0]} is named twice among {', '.join(map(str, doses))}; name each once.")
    known = {dose for folder in folders for dose in doses_of(folder)}
    missing = [dose for dose in doses if dose not in known]
    if missing:
        raise InputError(
            f"No subject has the dose {missing[0]}; the {len(folders)} subject(s) have "
            f"{', '.join(map(str, sorted(known, reverse=True)))}."
        )


def _read(folder: Path, name: str, grid: Optional[Grid] = None) -> sitk.Image:
    """An image of a subject in anatomical orientation, which must lie on a grid."""
    image = sitk.DICOMOrient(read_volume(folder / f"{name}.nii.gz", name.replace("_", " ")), "LPS")
    if grid is not None and not same_place(Grid.of(image), grid):
        raise InputError(
            f"'{folder / name}.nii.gz' lies on another grid than the full dose beside it: {_words(Grid.of(image))}, "
            f"and not {_words(grid)}; resample it, or simulate the subject again."
        )
    return image


def _pet(folder: Path, name: str, full: Optional[sitk.Image] = None) -> sitk.Image:
    """A PET of a subject, which must be an image of its own, and in the unit of the full dose."""
    image = _read(folder, name, None if full is None else Grid.of(full))
    path = folder / f"{name}.nii.gz"
    try:
        image, _ = check_pet(image, False, f"image '{path}'")
    except InputError as error:
        # without the hint at an option, which these commands have not
        raise InputError(str(error)) from error
    if full is None:
        return image
    same = same_values(image, full)
    if same:
        raise InputError(f"The image '{path}' is {same.format('the full dose beside it')}; simulate the subject again.")
    ratio = float(sitk.GetArrayViewFromImage(image).mean() / sitk.GetArrayViewFromImage(full).mean())
    if not 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
        raise InputError(
            f"The mean of '{path}' is {ratio:.3g} times that of the full dose beside it; bring both to one unit, or "
            "simulate the subject again."
        )
    return image


def _words(grid: Grid) -> str:
    size, origin = ("x".join(map(str, grid.size)), ", ".join(f"{value:.4g}" for value in grid.origin))
    return f"{size} voxels from {origin} mm"


def _as_labels(values: np.ndarray, folder: Path, name: str) -> np.ndarray:
    if not (values >= 0).all():
        raise InputError(f"'{folder / name}.nii.gz' has labels below 0 or that are no numbers; simulate it again.")
    return np.rint(values).astype(int)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"The facts of the subject, '{path}', cannot be read: {error}.") from error
    if not isinstance(facts, dict):
        raise InputError(f"The facts of the subject, '{path}', must be a JSON object.")
    return facts


def _head(full: sitk.Image, folder: Path) -> Head:
    head = find_head(sitk.GetArrayFromImage(full), full.GetSpacing()[::-1])
    if head is None:
        raise InputError(f"No head was found in '{folder / 'full_dose.nii.gz'}': nothing in it stands out.")
    return head


def _masks(
    head: np.ndarray, labels: np.ndarray, tissue: np.ndarray, activity: np.ndarray, spacing: tuple[float, ...]
) -> Masks:
    brain, changed = np.isin(tissue, BRAIN), labels >= HOT_LABEL

    def pairs(first: int) -> tuple[Pair, ...]:
        structures = [labels == label for label in np.unique(labels) if first <= label < first + LABELS_PER_KIND]
        return tuple((part, _same_tissue_around(part, tissue, changed, spacing)) for part in structures)

    def visible(first: int, sign: int) -> tuple[Pair, ...]:
        return tuple(pair for pair in pairs(first) if sign * _safe_contrast(activity, pair) >= VISIBLE_CONTRAST)

    smallest = SMALLEST_REGION_ML * 1000 / np.prod(spacing)
    counts = np.bincount(labels[brain & ~changed])
    numbers = tuple(int(label) for label in np.flatnonzero(counts >= smallest) if label > 0)
    return Masks(
        head=head,
        brain=brain,
        white_matter=ndimage.binary_erosion((tissue == WHITE) & ~changed, iterations=2),
        regions=tuple((labels == label) & brain for label in numbers),
        hot=visible(HOT_LABEL, 1),
        cold=visible(COLD_LABEL, -1),
        mr_only=tuple(pair for pair in pairs(MR_ONLY_LABEL) if pair[1].any()),
        numbers=numbers,
    )


def _same_tissue_around(
    part: np.ndarray, tissue: np.ndarray, changed: np.ndarray, spacing: tuple[float, ...]
) -> np.ndarray:
    own = np.bincount(tissue[part]).argmax()
    return shell(part, spacing, (tissue == own) & ~changed)


def _safe_contrast(activity: np.ndarray, pair: Pair) -> float:
    return contrast(activity, *pair) if pair[1].any() else 0.0
