"""Dynamic PETs for the tests: kinetic phantoms, plain studies, and what the pipeline makes of a frame alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from conftest import head_array

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.model.bundle import Model
from CSRDDenoiseLib.settings import DenoiseSettings

MEAN = DenoiseSettings(sampler="mean", samples=1, device="cpu", precision="float32", keep_above_mm=6.0)
DURATIONS = (10.0,) * 4 + (20.0,) * 4 + (60.0,) * 4 + (300.0,) * 12
"""Seconds, 24 frames."""
STARTS = tuple(np.concatenate([[0], np.cumsum(DURATIONS)[:-1]]).tolist())
SHAPE = (24, 28, 26)
K1, K2, K4 = 0.1, 0.15, 0.03
REGIONS = {1: 0.0, 2: 0.03, 3: 0.09}
"""Label -> k3 of the two-tissue model (1/min); 1 is the reference region."""


def labels() -> np.ndarray:
    """Three parts of an ellipsoid (D, H, W), 0 in air."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    part = np.where(x < -0.25, 1, np.where(x < 0.25, 2, 3))
    return np.where(x**2 + y**2 + z**2 < 0.8, part, 0)


def two_tissue(k3: float) -> np.ndarray:
    """Mean activity of each frame by the two-tissue model, Euler steps of half a second, plasma input of one bolus."""
    step = 0.5 / 60
    times = np.arange(0, sum(DURATIONS) / 60, step)
    plasma = 60 * times * np.exp(-times / 0.8) * 1.5 + 8 * (1 - np.exp(-times)) * np.exp(-times / 60)
    free = bound = 0.0
    total = np.zeros_like(times)
    for index, activity in enumerate(plasma):
        free, bound = (
            free + step * (K1 * activity - (K2 + k3) * free + K4 * bound),
            bound + step * (k3 * free - K4 * bound),
        )
        total[index] = free + bound
    ends = np.array(STARTS) + DURATIONS
    return np.array([total[(times * 60 >= a) & (times * 60 < b)].mean() for a, b in zip(STARTS, ends)])


def kinetic(count: int = 24, noise: float = 1.0) -> np.ndarray:
    """A noisy study (frames, D, H, W) in Bq/mL: the noise falls with counts."""
    curves = {label: two_tissue(k3) for label, k3 in REGIONS.items()}
    places, random = labels(), np.random.default_rng(0)
    frames = []
    for index in range(count):
        clean = sum(2000 * curve[index] * (places == label) for label, curve in curves.items())
        spread = noise * np.sqrt(np.maximum(clean, 1) * 1e4 / DURATIONS[index])
        frames.append(np.maximum(clean + random.normal(0, 1, SHAPE) * spread, 0))
    return np.array(frames, np.float32)


def write_study(path: Path, frames: np.ndarray) -> Path:
    """A 4D NIfTI of frames (n, D, H, W) at 2 mm, with its sidecar."""
    image = nibabel.Nifti1Image(frames.T, np.diag([-2.0, -2.0, 2.0, 1.0]))
    image.header["pixdim"][4] = 10
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    count = len(frames)
    entries = {"Units": "Bq/mL", "FrameTimesStart": STARTS[:count], "FrameDuration": DURATIONS[:count], "Tracer": "X"}
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(entries))
    return path


def plain_study(path: Path, count: int = 4, empty: tuple[int, ...] = ()) -> Path:
    """The small head in each frame; ``empty`` ones hold noise alone."""
    random = np.random.default_rng(5)
    frames = [head_array(seed=index) for index in range(count)]
    for index in empty:
        frames[index] = random.gamma(0.2, 20.0, SHAPE).astype(np.float32)
    return write_study(path, np.array(frames))


def values(path: Path) -> np.ndarray:
    """Frames (n, D, H, W)."""
    return np.asanyarray(nibabel.load(path).dataobj).T


def alone(frame: sitk.Image, index: int, model: Model, settings: DenoiseSettings = MEAN) -> np.ndarray:
    """A frame denoised as a static PET."""
    return sitk.GetArrayFromImage(denoise(frame, None, replace(settings, seed=index), model).denoised)
