"""What a report is drawn from: the images of one run and the facts about it, typed, and the arrays they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Mapping, Optional

import numpy as np
import SimpleITK as sitk

from ..findings import Finding
from ..io.grid import Grid, resample
from ..io.suv import SUV_UNITS, in_suv
from ..io.volume import UNKNOWN, Suv
from ..prepare.align import ORIENTATION
from ..prepare.register import moved
from ..scan import HEAD_SMOOTHING_MM, Head, find_head, smooth
from ..thresholds import BRAIN_THRESHOLD
from .regions import labels_on
from .summary import ChangeSummary, head_in, summarise_change


@dataclass(frozen=True)
class RunImages:
    """The images of one run, in the PET's physical space.

    Attributes:
        pet, denoised: before and after, on one grid.
        uncertainty: on the PET's grid, or None.
        mr: as it was given, on any grid, or None; it is shown where the run's registration moved it to.
        labels: regions to measure, on any grid, or None.
    """

    pet: sitk.Image
    denoised: sitk.Image
    uncertainty: Optional[sitk.Image] = None
    mr: Optional[sitk.Image] = None
    labels: Optional[sitk.Image] = None


@dataclass(frozen=True)
class InputFacts:
    """One input of a run.

    Attributes:
        title: what it is: PET, MR, label map.
        name: of its file, or of its volume in Slicer.
        size: voxels along (x, y, z).
        spacing_mm, origin_mm, direction: geometry as ITK has it, L-P-S.
        pixel_type, unit: of the voxels.
        minimum, maximum: of the values.
        sha256: of the file, or nothing.
        suv: how the values become SUV, or why they cannot; None where no header was read.
    """

    title: str
    name: str
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    pixel_type: str
    unit: str
    minimum: float
    maximum: float
    sha256: str = ""
    suv: Optional[Suv] = None


@dataclass(frozen=True)
class RunFacts:
    """What is known about a run besides its images.

    Attributes:
        pet_name: name of the PET for the user.
        unit: of the PET's voxels.
        created: when, as the page shows it.
        model, weights_sha256: name and checksum of the model.
        settings: in words.
        device: where the network ran, and in which precision.
        seconds: of the whole run.
        versions: package -> version.
        inputs: in the order in which the page shows them.
        findings: of the checks.
        warnings: their sentences, for the edge at which the report is made.
        notes: those of the findings that are no warnings.
        motion: from points of the PET to points of the MR, where the run moved the MR.
        record: the whole record as text.
    """

    pet_name: str = "PET"
    unit: str = ""
    created: str = ""
    model: str = ""
    weights_sha256: str = ""
    settings: tuple[str, ...] = ()
    device: str = ""
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputFacts, ...] = ()
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    motion: Optional[sitk.Transform] = None
    record: str = "{}"


@dataclass(frozen=True)
class Run:
    """A run as the parts of a report see it; arrays are (D, H, W) on the PET's grid, axes to superior, posterior, left.

    Attributes:
        images: of the run.
        facts: about it.
    """

    images: RunImages
    facts: RunFacts

    @cached_property
    def grid(self) -> Grid:
        """The PET's grid with its axes in the order of the arrays."""
        return Grid.of(sitk.DICOMOrient(self.images.pet, ORIENTATION))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel spacing in mm along (D, H, W)."""
        return self.grid.array_spacing

    @property
    def unit(self) -> str:
        """Unit of the voxels, or nothing where it is not known."""
        return "" if self.facts.unit == UNKNOWN else self.facts.unit

    @cached_property
    def pet(self) -> np.ndarray:
        """The PET."""
        return _array(self.images.pet)

    @cached_property
    def denoised(self) -> np.ndarray:
        """The result."""
        return _array(self.images.denoised)

    @cached_property
    def difference(self) -> np.ndarray:
        """Denoised - PET."""
        return self.denoised - self.pet

    @cached_property
    def uncertainty(self) -> Optional[np.ndarray]:
        """Standard deviation, or None."""
        return None if self.images.uncertainty is None else _array(self.images.uncertainty)

    @cached_property
    def mr(self) -> Optional[np.ndarray]:
        """The MR where it was used, or None."""
        mr, motion = self.images.mr, self.facts.motion
        if mr is None:
            return None
        placed = resample(mr if motion is None else moved(mr, motion), self.grid, sitk.sitkLinear)
        # turned again, a volume oblique by 45 degrees could get other axes
        return _finite(sitk.GetArrayFromImage(placed))

    @cached_property
    def labels(self) -> Optional[np.ndarray]:
        """The labels, or None."""
        return None if self.images.labels is None else labels_on(self.images.labels, self.grid)

    @cached_property
    def _found(self) -> Optional[Head]:
        return find_head(self.pet, self.spacing)

    @cached_property
    def head(self) -> np.ndarray:
        """Boolean: the head, or everything where none is found."""
        return head_in(self.grid.image(self.pet))

    @property
    def brain_mean(self) -> float:
        """Mean of the head's bright part, in the PET's unit; the largest value where no head is found."""
        return float(np.abs(self.pet).max()) or 1.0 if self._found is None else self._found.brain_mean

    @cached_property
    def brain(self) -> np.ndarray:
        """Boolean: the bright part of the head, or all of the head where nothing is bright."""
        bright = self.head & (smooth(self.pet, self.spacing, HEAD_SMOOTHING_MM) > BRAIN_THRESHOLD * self.brain_mean)
        return bright if bright.any() else self.head

    @cached_property
    def suv(self) -> Optional[Suv]:
        """How the PET becomes SUV, or None where that is not known, or where the PET is in SUV."""
        pet = next((each for each in self.facts.inputs if each.suv is not None), None)
        suv = None if pet is None else pet.suv
        if suv is None or suv.factors is None or self.unit.lower() in SUV_UNITS:
            return None
        return suv if len(suv.factors) in (1, self.images.pet.GetSize()[2]) else None

    @cached_property
    def in_suv(self) -> Optional[tuple[np.ndarray, np.ndarray]]:
        """PET and result in SUV, or None where that is not known."""
        if self.suv is None:
            return None
        return _array(in_suv(self.images.pet, self.suv)), _array(in_suv(self.images.denoised, self.suv))

    @cached_property
    def summary(self) -> ChangeSummary:
        """What the run changed, in numbers."""
        return summarise_change(self.grid.image(self.denoised), self.grid.image(self.difference))


def _array(image: sitk.Image) -> np.ndarray:
    return _finite(sitk.GetArrayFromImage(sitk.DICOMOrient(image, ORIENTATION)))


def _finite(array: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(array), array, 0).astype(array.dtype)
