"""Volume: the denoiser D(x; sigma) of a whole volume, whatever piece of it fits memory.

Where the network cannot take a volume at once, each of its evaluations runs over overlapping patches and is blended
before the next step of the sampler, so that there are no per-patch trajectories and no seams.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from ..devices import arithmetic, choose_precision
from ..errors import OutOfMemoryError, is_out_of_memory
from ..model.activations import activation_bytes_per_voxel
from ..model.bundle import Model
from ..progress import Reporter
from ..settings import DenoiseSettings
from .memory import (
    Shape,
    check_patch,
    choose_patch,
    free_bytes,
    interval_of,
    memory_budget,
    smaller_patch,
)
from .padding import Box, Padding

STAGE = "sample"
_LARGEST_BATCH = 8


class VolumeDenoiser:
    """D(x; sigma) of a whole volume, in one piece when that fits memory, else over patches that are blended.

    Out of memory, it continues with smaller patches; the caller's state is unchanged, so no run is lost.

    Attributes:
        patch: (D, H, W) of the patches, None while the volume is evaluated in one piece.
        precision: of the network's arithmetic.
        shape: (D, H, W) of the padded volume.
    """

    def __init__(
        self,
        model: Model,
        condition: Sequence[np.ndarray],
        head: np.ndarray,
        settings: DenoiseSettings,
        device: torch.device,
        counter: Counter,
    ):
        self._denoiser = model.denoiser.to(device)
        self._multiple = self._denoiser.model.multiple
        self._device, self.precision = device, choose_precision(device, settings.precision)
        self._overlap, self._counter = settings.overlap, counter
        self._padding = Padding.to_multiple(head.shape, self._multiple)
        self._head = np.pad(head, self._padding.margins)
        self.shape = self._padding.shape
        self._voxel_bytes = model.metadata.bytes_per_voxel or activation_bytes_per_voxel(model.denoiser.model)
        self._prepared = self._prepare(condition)
        self._lay_out(self._first_patch(settings.patch_sides))

    def pad(self, volume: Tensor) -> Tensor:
        """Bring noise (N, C, D, H, W) to the device, padded to multiples of what the network needs."""
        return self._padding.noise(volume.to(self._device))

    def crop(self, volume: Tensor) -> Tensor:
        """Undo :meth:`pad`, and drop the channel: (N, 1, D, H, W) -> (N, D, H, W)."""
        return self._padding.crop(volume)

    def draws_at_once(self, most: int) -> int:
        """Return how many draws to carry through the sampler as one batch: what fits on CUDA, else one.

        A processor's cores are busy with one volume, and so is a GPU with a volume cut into patches.
        """
        return 1 if self.patch else min(most, self._batch_of(self.shape))

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Return D(x; sigma) for padded volumes x (N, 1, D, H, W), float32."""
        denoised = self._try(x, sigma)
        while denoised is None:
            self._shrink()
            denoised = self._try(x, sigma)
        self._counter.evaluations_done(len(x))
        return denoised

    def forget(self) -> None:
        """Free the prepared condition, after the last evaluation."""
        # not a part of it, which would hold all of its memory
        self._prepared = torch.empty(0)

    def _try(self, x: Tensor, sigma: float) -> Optional[Tensor]:
        """Evaluate, or return None when memory ran out (and its tensors are gone with this call)."""
        try:
            if self.patch is None:
                self._counter.check()
                return self._evaluate(x, sigma, self._prepared.expand(len(x), -1, -1, -1, -1))
            blended = self._blend(x, sigma)
            return blended if self._coverage is None else blended.div_(self._coverage)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _prepare(self, condition: Sequence[np.ndarray]) -> Tensor:
        """Prepare the condition for the padded volume, in blocks if memory requires it."""
        whole = tuple(slice(0, size) for size in self.shape)
        if not hasattr(self._denoiser.model, "reach"):
            return self._denoiser.prepare(self._part(condition, whole))
        block = choose_patch(self.shape, self._fitting_voxels(), self._multiple, overlap=0.0)
        while True:
            try:
                in_one = block == self.shape
                return self._prepared_block(condition, whole) if in_one else self._prepared_blocks(condition, block)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = smaller_patch(block, self.shape, self._multiple, overlap=0.0)
                if smaller is None:
                    raise self._out_of_memory(f"blocks of {_times(block)} voxels") from error
            block = smaller

    def _prepared_blocks(self, condition: Sequence[np.ndarray], block: Shape) -> Tensor:
        prepared: Optional[Tensor] = None
        for start in product(*(range(0, size, side) for size, side in zip(self.shape, block))):
            box = tuple(slice(low, min(low + side, size)) for low, side, size in zip(start, block, self.shape))
            part = self._prepared_block(condition, box)
            coarser = (box[0].stop - box[0].start) // part.shape[2]
            if prepared is None:
                size = (*part.shape[:2], *(side // coarser for side in self.shape))
                prepared = torch.empty(size, dtype=part.dtype, device=part.device, memory_format=torch.channels_last_3d)
            _in_space(prepared, _coarse(box, coarser)).copy_(part)
        assert prepared is not None  # there is at least one block
        return prepared

    def _prepared_block(self, condition: Sequence[np.ndarray], box: Box) -> Tensor:
        """Prepare a block of the padded volume, seen with as much around it as the network looks at."""
        margin = math.ceil(self._denoiser.model.reach / self._multiple) * self._multiple
        seen = [slice(max(s.start - margin, 0), min(s.stop + margin, size)) for s, size in zip(box, self.shape)]
        with arithmetic(self._device, self.precision):
            prepared = self._denoiser.prepare(self._part(condition, seen))
        coarser = (seen[0].stop - seen[0].start) // prepared.shape[2]
        inner = [slice(part.start - more.start, part.stop - more.start) for part, more in zip(box, seen)]
        return _in_space(prepared, _coarse(inner, coarser))

    def _part(self, condition: Sequence[np.ndarray], box: Box) -> Tensor:
        """The condition (1, C, D, H, W) in a box of the padded volume, on the device."""
        return self._padding.condition(condition, box).to(self._device)

    def _evaluate(self, x: Tensor, sigma: float, prepared: Tensor) -> Tensor:
        levels = torch.full((x.shape[0],), sigma, dtype=torch.float32, device=self._device)
        with arithmetic(self._device, self.precision):
            return self._denoiser.denoise(x, levels, prepared)

    def _evaluate_windows(self, windows: Tensor, sigma: float, where: list[list[slice]]) -> Tensor:
        """Evaluate the windows that have head in them; the others are zero."""
        chosen = [row for row, place in enumerate(where) if _start(place[2:]) in self._windows]
        self._counter.check(len(chosen))
        denoised = torch.zeros_like(windows)
        if chosen:
            prepared = torch.cat([self._prepared_at(where[row]) for row in chosen])
            denoised[chosen] = self._evaluate(windows[chosen], sigma, prepared)
        return denoised

    def _prepared_at(self, place: list[slice]) -> Tensor:
        """The prepared condition of one window, which may be coarser than its voxels."""
        coarser = self.shape[0] // self._prepared.shape[2]
        return _in_space(self._prepared, _coarse(place[2:], coarser))

    def _blend(self, x: Tensor, sigma: float) -> Tensor:
        from monai.inferers.utils import sliding_window_inference

        blended = sliding_window_inference(
            x,
            self.patch or self.shape,
            self._batch,
            lambda windows, where: self._evaluate_windows(windows, sigma, where),
            overlap=self._window_overlap,
            roi_weight_map=self._weights,
            with_coord=True,
        )
        assert isinstance(blended, Tensor)  # as the predictor returns one
        return blended

    def _lay_out(self, patch: Optional[Shape]) -> None:
        """Take this patch: find the windows with head, and the share of each voxel's blending weight that they hold."""
        self.patch, self._coverage = patch, None
        self._windows: set[tuple[int, ...]] = set()
        if patch is None:
            self._counter.lay_out(windows=1)
            return
        # imported here because a volume in one piece must not wait for it
        from monai.data.utils import dense_patch_slices

        self._batch = self._batch_of(patch)
        self._weights = gaussian_weights(patch).to(self._device)
        intervals = [interval_of(side, self._overlap, self._multiple) for side in patch]
        self._window_overlap = [_overlap_of(interval, side) for interval, side in zip(intervals, patch)]
        windows = dense_patch_slices(self.shape, patch, intervals)
        kept = [window for window in windows if self._head[window].any()]
        self._windows = {_start(window) for window in kept}
        if len(kept) < len(windows):
            coverage = self._summed_weights(kept).div_(self._summed_weights(windows))
            # zero only where no evaluated window reaches, and there the blended value is zero too
            self._coverage = coverage.clamp_(min=torch.finfo(torch.float32).tiny)
        self._counter.lay_out(windows=max(len(kept), 1))

    def _summed_weights(self, windows: Sequence[Box]) -> Tensor:
        """Sum of the blending weights of windows, in their order, (1, 1, D, H, W)."""
        total = torch.zeros((1, 1, *self.shape), device=self._device)
        for window in windows:
            _in_space(total, window).add_(self._weights)
        return total

    def _first_patch(self, sides: Optional[Shape]) -> Optional[Shape]:
        check_patch(sides, self._multiple)
        if sides is not None:
            depth, height, width = (min(side, size) for side, size in zip(sides, self.shape))
            patch = depth, height, width
        else:
            patch = choose_patch(self.shape, self._fitting_voxels(), self._multiple, self._overlap)
        return None if patch == self.shape else patch

    def _shrink(self) -> None:
        patch = smaller_patch(self.patch or self.shape, self.shape, self._multiple, self._overlap)
        if patch is None:
            raise self._out_of_memory(f"patches of {_times(self.patch or self.shape)} voxels")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self._lay_out(patch)

    def _out_of_memory(self, smallest: str) -> OutOfMemoryError:
        free = free_bytes()
        available = "" if free is None else f" with {free / 2**30:.1f} GiB free"
        return OutOfMemoryError(
            f"A volume of {_times(self._padding.size)} voxels does not fit into memory{available}: even {smallest} "
            "ran out. Close other programs, or use another device."
        )

    def _batch_of(self, patch: Shape) -> int:
        if self._device.type != "cuda":
            return 1
        fitting = self._fitting_voxels() / float(np.prod(patch))
        return int(min(max(fitting, 1), _LARGEST_BATCH))

    def _fitting_voxels(self) -> float:
        """How many voxels one evaluation may take at once."""
        return memory_budget(self._device, self._head.size) / self._voxel_bytes


class Counter:
    """Turns evaluations and their windows into reports: windows done of windows in all.

    Attributes:
        evaluations: of a whole volume, in all.
    """

    def __init__(self, report: Reporter, evaluations: int):
        self._report, self.evaluations = report, evaluations
        self._done, self._in_this, self._windows = 0, 0, 1

    def lay_out(self, windows: int) -> None:
        """Take the number of windows of an evaluation."""
        self._windows, self._in_this = windows, 0

    def check(self, starting: int = 0) -> None:
        """Report before ``starting`` more windows begin; raises when the run was cancelled."""
        step = self._done * self._windows + self._in_this
        current = min(self._done + 1, self.evaluations)
        self._report(STAGE, step, self.evaluations * self._windows, f"evaluation {current} of {self.evaluations}")
        self._in_this += starting

    def evaluations_done(self, count: int) -> None:
        """Report that this many more evaluations are done."""
        self._done, self._in_this = self._done + count, 0
        self.check()


def gaussian_weights(patch: Shape) -> Tensor:
    """Return blending weights (D, H, W): a Gaussian about the middle, its standard deviation an eighth of each side.

    MONAI's own map is cut off from below at a thousandth, which near a patch's edges and corners weighs good and bad
    voxels alike.
    """
    lines = [torch.exp(-0.5 * ((torch.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) for side in patch]
    return torch.einsum("i,j,k->ijk", *lines)


def _in_space(tensor: Tensor, box: Sequence[slice]) -> Tensor:
    """A view of what lies in a box of the last three axes."""
    depth, height, width = box
    return tensor[..., depth, height, width]


def _coarse(box: Sequence[slice], coarser: int) -> tuple[slice, ...]:
    """The box in a grid that is coarser by this factor."""
    return tuple(slice(part.start // coarser, part.stop // coarser) for part in box)


def _overlap_of(interval: int, side: int) -> float:
    """Return the overlap from which MONAI computes this interval."""
    # half a voxel more, so that rounding cannot turn the interval into one voxel less
    return max(1 - (interval + 0.5) / side, 0.0)


def _start(box: Box) -> tuple[int, ...]:
    return tuple(int(part.start) for part in box)


def _times(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape)
