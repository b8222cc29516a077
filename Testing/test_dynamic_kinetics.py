"""Time-activity curves of a head with noise, by the bundled model: means and slopes stay, the noise falls."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from kinetic_phantom import DURATIONS, K3, REFERENCE, STARTS, STEP_MIN, TARGET, Phantom, make_phantom, plasma
from scipy import ndimage

from CSRDDenoiseLib.dynamic.denoise import FileRequest, denoise_dynamic
from CSRDDenoiseLib.settings import settings_from_preset

pytestmark = pytest.mark.slow

WEIGHTS = np.array(DURATIONS)
MIDDLES = np.array(STARTS) + WEIGHTS / 2
LATE = slice(14, 24)
QUIET = 4
"""Frames before this one are of ten seconds, and a region's mean in them is noise."""


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom((36, 42, 38), noise=0.35)


@pytest.fixture(scope="module")
def denoised(phantom, tmp_path_factory) -> np.ndarray:
    """The study after denoising with its MR (frames, D, H, W)."""
    folder: Path = tmp_path_factory.mktemp("kinetics")
    sitk.WriteImage(phantom.mr, str(folder / "mr.nii"))
    request = FileRequest(phantom.write(folder / "pet.nii"), folder / "out.nii", folder / "mr.nii", motion="off")
    settings = settings_from_preset("fast", device="cpu", precision="float32")
    result = denoise_dynamic(request, settings, "brain")
    assert len(result.frames_with("denoised")) >= 20 and result.window == 5
    return np.asanyarray(nibabel.load(folder / "out.nii").dataobj).T


def curve(study: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return study[:, inside].mean(1).astype(float)


def regions(phantom: Phantom) -> dict[str, np.ndarray]:
    """The labels, and each of the two targets of 3.4 mL alone."""
    targets, count = ndimage.label(phantom.labels == TARGET)
    alone = {f"target {number}": targets == number for number in range(1, count + 1)}
    assert count == 2 and all(inside.sum() * phantom.spacing**3 < 5000 for inside in alone.values())
    return {**{str(label): phantom.labels == label for label in K3}, **alone}


def test_regional_means_over_five_frames_stay_within_one_percent(phantom, denoised):
    for name, inside in regions(phantom).items():
        before, after = (curve(study, inside) for study in (phantom.noisy, denoised))
        for first in range(20):
            window = slice(first, first + 5)
            one, other = (np.average(each[window], weights=WEIGHTS[window]) for each in (before, after))
            assert other == pytest.approx(one, rel=0.01), (name, first)


def suvr_slope(values: np.ndarray, reference: np.ndarray) -> float:
    return float(np.polyfit(MIDDLES[LATE], (values / reference)[LATE], 1)[0])


def patlak_slope(values: np.ndarray, _reference: np.ndarray) -> float:
    """The slope of tissue over plasma against the plasma's integral over plasma (Patlak 1983), late frames."""
    activity, seconds = plasma(), np.arange(len(plasma())) * STEP_MIN * 60
    integral = np.cumsum(activity) * STEP_MIN
    now, until = (np.interp(MIDDLES[LATE], seconds, each) for each in (activity, integral))
    return float(np.polyfit(until / now, values[LATE] / now, 1)[0])


@pytest.mark.parametrize("slope", [suvr_slope, patlak_slope])
def test_slopes_stay_within_two_percent(phantom, denoised, slope):
    reference = [curve(study, phantom.labels == REFERENCE) for study in (phantom.noisy, denoised)]
    for label in set(K3) - {REFERENCE}:
        curves = (curve(study, phantom.labels == label) for study in (phantom.noisy, denoised))
        one, other = (slope(values, each) for values, each in zip(curves, reference))
        assert other == pytest.approx(one, rel=0.02), label


@pytest.mark.parametrize(("side", "share"), [(1, 0.75), (3, 0.9)])
def test_curves_of_small_regions_are_less_noisy(phantom, denoised, side, share):
    """The error of the curves of single voxels, and of cubes of 6 mm, against the curves without noise."""
    errors = []
    for study in (phantom.noisy, denoised):
        smoothed = np.array([ndimage.uniform_filter(frame.astype(float), side) for frame in study - phantom.clean])
        errors.append(np.sqrt(np.mean(smoothed[QUIET:, phantom.labels > 0] ** 2)))
    assert errors[1] < share * errors[0], errors
