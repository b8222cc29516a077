"""One measurement in a process of its own, so that its peak of memory is its own.

``python -m CSRDDenoiseLib.research.benchmark.case REQUEST`` takes a JSON object (``kind``, ``size`` or ``folder``,
``preset``, ``model``, ``device``, optional ``region_mm``) and prints one.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any, Optional

import numpy as np
import torch

from ...denoise import denoise
from ...errors import OutOfMemoryError
from ...infer.memory import free_bytes
from ...io.record import peak_memory_bytes
from ...model.bundle import Model, load_model
from ...prepare.region import box_region
from ...progress import Progress
from ...settings import settings_from_preset
from .dynamic import frame_case, study_case
from .head import synthetic_head
from .keep import keep_case
from .plain import plain_denoiser
from .probe import probe_network
from .process import forget_peak, peak_since
from .quality import PAPER, quality_case

_WARM_UP_SIDE = 32
# the plain way holds a few tensors more than ours at its peak
_PLAIN_OVERHEAD = 1.5


class StageWatch:
    """A progress callback that records the memory and the processor's time of each stage.

    Attributes:
        peak_bytes: stage -> largest resident memory; None where the system does not report it (only Linux does).
        processor_seconds: stage -> time on the processor, over all threads; other programs do not lengthen it.
    """

    def __init__(self) -> None:
        self.peak_bytes: dict[str, Optional[int]] = {}
        self.processor_seconds: dict[str, float] = {}
        self._stage, self._began = "", 0.0

    def __call__(self, progress: Progress) -> None:
        """Start a measurement at the first report of a stage, and update it at every later one."""
        if progress.stage != self._stage:
            self._stage, self._began = progress.stage, time.process_time()
            forget_peak()
        self.peak_bytes[self._stage] = peak_since()
        self.processor_seconds[self._stage] = time.process_time() - self._began


def run_case(request: dict[str, Any]) -> dict[str, Any]:
    """Run the pipeline on a synthetic head, or on a cube of ``region_mm`` in its middle: seconds and peak memory."""
    model = load_model(request["model"], request["device"])
    settings = settings_from_preset(request["preset"], device=request["device"], whole_field=True)
    spacing = model.metadata.voxel_spacing_mm
    denoise(*synthetic_head((_WARM_UP_SIDE,) * 3, spacing), settings_from_preset("fast", device=settings.device), model)
    pet, mr = synthetic_head(request["size"], spacing)
    watch = StageWatch()
    middle = pet.TransformContinuousIndexToPhysicalPoint([(side - 1) / 2 for side in pet.GetSize()])
    sides = [float(request.get("region_mm") or 0)] * 3
    region = box_region(middle, sides, np.eye(3).tolist()) if sides[0] else None
    record = denoise(pet, mr, settings, model, watch, region=region).record
    resolved = record.resolved
    busy, peaks = watch.processor_seconds, watch.peak_bytes
    return {
        "device": resolved.device,
        "precision": resolved.precision,
        "patch_size": None if resolved.in_one_piece else list(resolved.patch_size),
        "evaluations": resolved.evaluations,
        "seconds": dict(record.seconds),
        "processor_seconds": {**busy, "total": sum(busy.values())},
        "peak_bytes": {**peaks, "total": max(filter(None, peaks.values()), default=peak_memory_bytes())},
    }


def paper_case(request: dict[str, Any]) -> dict[str, Any]:
    """Time one evaluation of the paper's setting: the plain network in float32 on the whole volume."""
    model = load_model(request["model"], request["device"])
    multiple = model.denoiser.model.multiple
    shape = [math.ceil(side / multiple) * multiple for side in reversed(request["size"])]
    _check_room(model, math.prod(shape))
    device = next(model.denoiser.parameters()).device
    plain, levels = plain_denoiser(model), torch.ones(1, device=device)
    channels = len(model.metadata.channels)
    with torch.inference_mode():
        for sides in ([_WARM_UP_SIDE] * 3, shape):
            noisy, condition = (torch.zeros((1, count, *sides), device=device) for count in (1, channels))
            forget_peak()
            began, busy = time.perf_counter(), time.process_time()
            float(plain(noisy, levels, condition).sum())
            seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return {
        "evaluation_seconds": seconds,
        "processor_seconds": busy,
        "evaluations": PAPER.evaluations,
        "peak_bytes": peak_since(),
    }


def network_case(request: dict[str, Any]) -> dict[str, Any]:
    """Time the parts of one evaluation on a cube."""
    model = load_model(request["model"], request["device"])
    multiple = model.denoiser.model.multiple
    return probe_network(model, max(min(request["size"]) // multiple, 1) * multiple)


CASES = {
    "keep": keep_case,
    **{"run": run_case, "paper": paper_case, "network": network_case, "quality": quality_case},
    **{"frame": frame_case, "study": study_case},
}


def _check_room(model: Model, voxels: int) -> None:
    device = next(model.denoiser.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
    need = _PLAIN_OVERHEAD * model.metadata.bytes_per_voxel * voxels
    if free is not None and need > free:
        raise OutOfMemoryError(f"it needs about {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free")


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.argv[1])
    try:
        answer = CASES[request["kind"]](request)
    except OutOfMemoryError as error:
        answer = {"skipped": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
