"""A dynamic study against one frame of it: time and peak memory as ratios, both measured on files in the same call.

The frame is measured before and after the study, and the means count: on a machine that others use too, even the time
on the processor depends on what runs beside it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import nibabel
import numpy as np
import SimpleITK as sitk

from ...denoise import FileRequest, denoise_files
from ...dynamic.denoise import denoise_dynamic
from ...io.grid import Grid
from ...io.nifti_write import nifti_stream
from ...model.bundle import DEFAULT_MODEL, Model, find_model, load_model, read_metadata
from ...settings import DenoiseSettings, settings_from_preset
from ..evaluation.markdown import Table
from .head import synthetic_head
from .process import forget_peak, measure, peak_since

FRAME_S = 300.0
PET, MR, ONE = "pet.nii.gz", "mr.nii.gz", "frame.nii.gz"
_WARM_UP = (32, 32, 32)

Size = tuple[int, int, int]


@dataclass(frozen=True)
class FramesConfig:
    """What is measured.

    Attributes:
        frames: how many the study has.
        sizes: voxels of a frame along x, y, z, at the model's spacing.
        presets: names of presets.
        model: name of a bundled model, or a model folder.
        device: as in :class:`~CSRDDenoiseLib.settings.DenoiseSettings`.
    """

    frames: int
    sizes: Sequence[Size]
    presets: Sequence[str]
    model: str = DEFAULT_MODEL
    device: str = "auto"


def run_frames(config: FramesConfig) -> dict[str, Any]:
    """Denoise one frame, the whole study and the frame again, each in a process of its own; return plain JSON types."""
    spacing = read_metadata(find_model(config.model)).voxel_spacing_mm
    results: dict[str, Any] = {"model": config.model, "frames": config.frames, "studies": []}
    for size in config.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_study(Path(folder), size, spacing, config.frames)
            for preset in config.presets:
                results["studies"].append(_compared(config, Path(folder), size, preset))
    return results


def _compared(config: FramesConfig, folder: Path, size: Size, preset: str) -> dict[str, Any]:
    request = {"model": config.model, "device": config.device, "folder": str(folder), "preset": preset}
    before, study, after = (measure({**request, "kind": kind}) for kind in ("frame", "study", "frame"))
    failed = next((each for each in (before, after) if "skipped" in each), None)
    one = failed or {name: _mean(before[name], after[name]) for name in before}
    entry: dict[str, Any] = {"size": list(size), "preset": preset, "frame": one, "study": study}
    entry["frame_runs"] = [before, after]
    if failed or "skipped" in study:
        return entry
    for clock in ("seconds", "processor_seconds"):
        entry[f"times_in_{clock}"] = study[clock] / one[clock]
    if one["peak_bytes"] and study["peak_bytes"]:
        entry["times_peak"] = study["peak_bytes"] / one["peak_bytes"]
    return entry


def _mean(before: Optional[float], after: Optional[float]) -> Optional[float]:
    return None if before is None or after is None else (before + after) / 2


def frames_table(results: Mapping[str, Any]) -> Table:
    """Return the results as a table of text."""
    header = (
        *("size", "preset", "frames denoised", "one frame (s, of the processor, GiB)"),
        *("study (s, of the processor, GiB)", "times a frame's time", "of the processor", "times a frame's peak"),
    )
    rows = []
    for entry in results["studies"]:
        where = (" x ".join(map(str, entry["size"])), entry["preset"])
        failed = entry["frame"].get("skipped") or entry["study"].get("skipped")
        if failed:
            rows.append((*where, failed, *[""] * (len(header) - 3)))
            continue
        ratios = (entry["times_in_seconds"], entry["times_in_processor_seconds"], entry.get("times_peak"))
        shown = ("?" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        denoised = f"{entry['study']['frames_denoised']} of {results['frames']}"
        rows.append((*where, denoised, _cost(entry["frame"]), _cost(entry["study"]), *shown))
    return Table("A dynamic study against one frame, from files to files", header, tuple(rows))


def _cost(run: Mapping[str, Any]) -> str:
    peak = "?" if run["peak_bytes"] is None else f"{run['peak_bytes'] / 2**30:.2f}"
    return f"{run['seconds']:.1f}, {run['processor_seconds']:.1f}, {peak}"


def write_study(folder: Path, size: Sequence[int], spacing_mm: float, count: int) -> None:
    """Write a head as a 4D NIfTI of ``count`` frames, each with noise of its own, one of them alone, and the MR."""
    _, mr = synthetic_head(size, spacing_mm)
    sitk.WriteImage(mr, str(folder / MR), True)
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.float32), Grid.of(mr).affine).header
    header.set_xyzt_units("mm", "sec")
    header.set_data_shape((*size, count))
    header["pixdim"][4] = FRAME_S
    with nifti_stream(folder / PET) as stream:
        header.write_to(stream)
        for index in range(count):
            pet, _ = synthetic_head(size, spacing_mm, seed=index)
            stream.write(sitk.GetArrayFromImage(pet).tobytes())
            if index == count - 1:
                sitk.WriteImage(pet, str(folder / ONE), True)


def frame_case(request: Mapping[str, Any]) -> dict[str, Any]:
    """Denoise one frame, from file to file."""

    def run(request: FileRequest, settings: DenoiseSettings, model: Model) -> int:
        denoise_files(request, settings, model)
        return 1

    return _timed(request, ONE, run)


def study_case(request: Mapping[str, Any]) -> dict[str, Any]:
    """Denoise the study, from file to file."""
    return _timed(request, PET, lambda *run: len(denoise_dynamic(*run).frames_with("denoised")))


def _timed(
    request: Mapping[str, Any], pet: str, run: Callable[[FileRequest, DenoiseSettings, Model], int]
) -> dict[str, Any]:
    folder, model = Path(request["folder"]), load_model(request["model"], request["device"])
    settings = settings_from_preset(request["preset"], device=request["device"], whole_field=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        small, out = Path(place, "small"), Path(place, "out.nii.gz")
        small.mkdir()
        write_study(small, _WARM_UP, model.metadata.voxel_spacing_mm, 2)
        run(FileRequest(small / pet, small / "out.nii.gz", small / MR), settings, model)
        forget_peak()
        began, busy = time.perf_counter(), time.process_time()
        denoised = run(FileRequest(folder / pet, out, folder / MR), settings, model)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return {
        "seconds": seconds,
        "processor_seconds": busy,
        "peak_bytes": peak_since(),
        "frames_denoised": denoised,
    }
