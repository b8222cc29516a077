"""The outputs of a dynamic run on the disk: frame by frame as they come, then settled among the frames around."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator, Mapping, Optional, Protocol

import numpy as np
import SimpleITK as sitk

from ..io.frame_file import FrameStore, FrameWriter
from ..io.grid import Grid
from ..io.record import Stages
from ..io.study import Study
from ..io.volume import ReadVolume
from ..prepare.frames import numbers_of
from ..prepare.windows import COARSE_MM, WINDOW, Shares, activity_scale, shares_of
from ..restore.uncertainty import SMOOTHING_MM
from ..run.stages import Images, StudyPlace
from ..scan import largest_activity, near_broken, smooth
from ..thresholds import BRAIN_THRESHOLD

SETTLED = frozenset(("denoised", "difference", "uncertainty"))
"""Outputs that depend on the frames around; the others are those of each frame alone."""
_LEAST_BLOCK = 1 << 14


class Watch(Protocol):
    """Sees each frame before and after."""

    def add(self, index: int, before: sitk.Image, after: sitk.Image) -> None:
        """Take a frame in."""


class DynamicOutputs:
    """The outputs of all frames: as they come, then without what their residuals have in common.

    Args:
        study: the PET.
        place: the mean of the late frames.
        writer: converts to the requested unit.
        stores: of the outputs, by name.
        residuals: those of the frames, and the same smoothed, in the PET's unit.
    """

    def __init__(
        self,
        study: Study,
        place: StudyPlace,
        writer: FrameWriter,
        stores: Mapping[str, FrameStore],
        residuals: tuple[FrameStore, FrameStore],
    ):
        self._study, self._writer, self._stores = study, writer, stores
        self._residuals, self._smoothed = residuals
        self._volumes: list[ReadVolume] = []
        self._scales: dict[int, float] = {}
        self._never_negative: set[int] = set()
        late = sitk.GetArrayViewFromImage(place.inputs.pet)
        self._grid, self._brain = Grid.of(place.inputs.pet), late > BRAIN_THRESHOLD * place.brain_mean
        self._late = float(np.minimum(late, largest_activity(late))[self._brain].mean()) if self._brain.any() else 1.0

    @property
    def window(self) -> int:
        """Frames over which means are kept, or 0 where too few are denoised."""
        return WINDOW if len(self._scales) >= WINDOW else 0

    def append(self, volume: ReadVolume, images: Images) -> None:
        """Add a frame; without images it passes through."""
        for name, store in self._stores.items():
            found = images.get(name)
            image = _unchanged(volume.image, name) if found is None else found
            store.append(image if name in SETTLED else self._writer.in_unit(image, name, volume))
        residual = images.get("difference")
        if residual is not None:
            # as they were denoised: a frame with voxels that are no numbers comes here only where these are set to zero
            pet, values = numbers_of(volume.image), sitk.GetArrayViewFromImage(residual)
            limit = largest_activity(pet)
            near = near_broken(pet, self._grid.array_spacing, limit)
            # no other frame is to get a part of what was done about broken voxels
            values = values if near is None else np.where(near, 0, values)
            self._residuals.append(self._grid.image(values.astype(np.float32)))
            # what no frame changes, as a mask's zeros and all outside of a region, stays as it is
            coarse = np.where(values == 0, 0, smooth(values, self._grid.array_spacing, COARSE_MM))
            self._smoothed.append(self._grid.image(coarse.astype(np.float32)))
            self._scales[volume.header.frame] = activity_scale(np.minimum(pet, limit), self._brain, self._late)
            if pet.min() >= 0:
                self._never_negative.add(volume.header.frame)
        self._volumes.append(replace(volume, image=sitk.Image()))

    def settle(self, stages: Stages, watch: Optional[Watch]) -> None:
        """Take back what the residuals of neighbouring frames have in common, and bring the frames to their unit."""
        count = len(self._volumes)
        with stages.stage("settle"):
            shares = shares_of(self._weights(), tuple(self._scales.values()))
            if shares is not None:
                for done in self._take_back(shares):
                    stages.report("settle", 0, 2, part=done)
            places = {frame: place for place, frame in enumerate(self._scales)} if shares is not None else {}
            for index, volume in enumerate(self._volumes):
                stages.report("settle", count + index, 2 * count, f"frame {index + 1} of {count}")
                for name, values in self._settled(index, places.get(index)).items():
                    image = self._grid.image(values)
                    if watch and name == "denoised":
                        watch.add(index, self._study.read(index).image, image)
                    self._stores[name].replace(index, self._writer.in_unit(image, name, volume))

    def _weights(self) -> tuple[float, ...]:
        durations = tuple(self._study.frames[index].duration_s or 0.0 for index in self._scales)
        return durations if all(each > 0 for each in durations) else (1.0,) * len(durations)

    def _take_back(self, shares: Shares) -> Iterator[float]:
        """Put what is taken back, and its variance, in the place of the residuals; yield the share that is done.

        All frames of a block of voxels are in memory at once, together as many voxels as one frame has.
        """
        voxels, frames = int(np.prod(self._grid.size)), len(self._scales)
        step = max(voxels // frames, _LEAST_BLOCK)
        for first in range(0, voxels, step):
            block = slice(first, min(first + step, voxels))
            residuals, smoothed = self._residuals.block(block), self._smoothed.block(block)
            self._residuals.replace_block(block, shares.parts(residuals, smoothed))
            if "uncertainty" in self._stores:
                self._smoothed.replace_block(block, shares.variance(residuals, smoothed))
            yield block.stop / voxels

    def _settled(self, index: int, place: Optional[int]) -> dict[str, np.ndarray]:
        """The outputs of a frame without what is taken back; its place among the denoised frames, or None."""
        found = {name: store.frame(index) for name, store in self._stores.items() if name in SETTLED}
        if place is None:
            return found
        part = self._residuals.frame(place)
        if index in self._never_negative:
            # not in bright tissue: there it would raise the means of early frames, which are mostly noise
            part = np.where(self._brain, part, np.minimum(part, found["denoised"]))
        for name in found.keys() - {"uncertainty"}:
            found[name] = (found[name] - part).astype(found[name].dtype)
        if "uncertainty" in found:
            # the noise that returns is pooled over neighbours, as the spread of samples is, and taken to be
            # independent of the own error of the frame: it adds a little to leftover noise, and less to other errors
            variance, own = self._smoothed.frame(place), found["uncertainty"]
            # the frames around may have a head, or the part of it that was denoised, where this one has none
            changed = (own > 0) | (variance > 0)
            pooled = smooth(variance, self._grid.array_spacing, SMOOTHING_MM)
            found["uncertainty"] = np.where(changed, np.sqrt(own**2 + pooled), own).astype(own.dtype)
        return found


def _unchanged(pet: sitk.Image, name: str) -> sitk.Image:
    """Return an output of a frame that passes through: the PET, no difference, an unknown uncertainty, no map."""
    if name in ("denoised", "bare"):
        return pet
    values = sitk.GetArrayViewFromImage(pet)
    if name == "support":
        return Grid.of(pet).image(np.zeros(values.shape, np.uint8))
    return Grid.of(pet).image(np.full_like(values, np.nan if name == "uncertainty" else 0))
