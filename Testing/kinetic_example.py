"""Measure what denoising does to time-activity curves on the anatomy of the bundled example: ``docs/formats.md``.

    python Testing/kinetic_example.py [FOLDER]

Writes a study of 24 frames (two-tissue model, noise that follows the counts) to FOLDER, denoises it frame by frame with
the bundled model (about 90 s of the processor), and prints the changes with and without keeping means over five frames.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nibabel
import numpy as np
from kinetic_phantom import BQ_ML, DURATIONS, STARTS, add_noise, blurred, two_tissue

from CSRDDenoiseLib.dynamic import denoise as dynamic
from CSRDDenoiseLib.dynamic import outputs as dynamic_outputs
from CSRDDenoiseLib.prepare.windows import COARSE_MM, activity_scale, shares_of
from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder
from CSRDDenoiseLib.scan import smooth
from CSRDDenoiseLib.settings import settings_from_preset

KINETICS = {
    **dict.fromkeys((8, 47), (0.0, 1.0)),
    **dict.fromkeys((7, 46, 16, 28, 60), (0.01, 0.5)),
    **dict.fromkeys((2, 41, 85), (0.01, 0.4)),
    **dict.fromkeys((3, 42, 17, 53, 18, 54, 1001, 1002, 1003, 2001), (0.05, 1.0)),
    **dict.fromkeys((10, 49, 11, 50, 12, 51, 13, 52, 26, 58), (0.09, 1.1)),
    **dict.fromkeys((4, 43, 5, 44, 14, 15, 24, 30, 62), (0.0, 0.05)),
}
"""FreeSurfer label -> k3 (1/min) and delivery relative to the cerebellum; other tissue has (0, 0.15)."""
REGIONS = {
    **{"cerebellum": (8, 47), "cortex": (3, 42), "white matter": (2, 41), "thalamus": (10, 49), "caudate": (11, 50)},
    **{"putamen": (12, 51), "pallidum": (13, 52), "hippocampus": (17, 53), "amygdala": (18, 54), "brain stem": (16,)},
}
NOISE, SPACING_MM, WINDOW, FIRST_LATE = 0.3, 2.0, 5, 14
WEIGHTS = np.array(DURATIONS)


def main(folder: Path) -> None:
    """Make, denoise, measure, print."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = resource_folder() / SAMPLE_DATA
    source = nibabel.load(sample / "labels.nii.gz")
    labels = np.asanyarray(source.dataobj)
    clean = clean_study(labels)
    noisy = add_noise(clean, NOISE, SPACING_MM)
    if not (folder / "out.nii").exists():
        denoise(noisy, source.affine, sample / "mr.nii.gz", folder)
    alone = np.moveaxis(np.asanyarray(nibabel.load(folder / "out.nii").dataobj), -1, 0)
    kept = with_means(noisy, alone, np.isin(labels, sum(REGIONS.values(), ())))
    for name, study in (("frames alone", alone), ("means kept", kept)):
        print(name)
        show(labels, clean, noisy, study)


def clean_study(labels: np.ndarray) -> np.ndarray:
    """The study without noise (frames, x, y, z), Bq/mL."""
    study = np.zeros((len(DURATIONS), *labels.shape), np.float32)
    for label in np.unique(labels[labels > 0]):
        study[:, labels == label] = BQ_ML * two_tissue(*KINETICS.get(int(label), (0.0, 0.15)))[:, None]
    return np.array([blurred(frame, SPACING_MM) for frame in study])


def denoise(noisy: np.ndarray, affine: np.ndarray, mr: Path, folder: Path) -> None:
    """Denoise each frame for itself."""
    image = nibabel.Nifti1Image(np.moveaxis(noisy, 0, -1), affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "pet.nii")
    entries = {"Units": "Bq/mL", "FrameTimesStart": STARTS, "FrameDuration": DURATIONS}
    (folder / "pet.json").write_text(json.dumps(entries))
    request = dynamic.FileRequest(folder / "pet.nii", folder / "out.nii", mr)
    with mock.patch.object(dynamic_outputs, "shares_of", return_value=None):
        dynamic.denoise_dynamic(request, settings_from_preset("fast", device="cpu", precision="float32"), "brain")


def with_means(noisy: np.ndarray, alone: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """What a run makes of frames that were denoised each for itself."""
    residuals = alone - noisy
    done = [index for index, residual in enumerate(residuals) if np.any(residual)]
    late = float(noisy[FIRST_LATE:, brain].mean())
    shares = shares_of(
        [DURATIONS[index] for index in done], [activity_scale(noisy[index], brain, late) for index in done]
    )
    assert shares is not None
    smoothed = np.array([smooth(residuals[index], (SPACING_MM,) * 3, COARSE_MM) for index in done])
    parts = shares.parts(*(each.reshape(len(done), -1) for each in (residuals[done], smoothed)))
    kept = alone.copy()
    kept[done] -= parts.reshape(len(done), *alone.shape[1:])
    return kept


def show(labels: np.ndarray, clean: np.ndarray, noisy: np.ndarray, study: np.ndarray) -> None:
    """Print the changes of regional means over five frames and of SUVR slopes, and the noise of voxels."""
    middles = np.array(STARTS) + WEIGHTS / 2
    slopes = {}
    for name, numbers in REGIONS.items():
        inside = np.isin(labels, numbers)
        before, after = (each[:, inside].mean(1).astype(float) for each in (noisy, study))
        starts = range(len(DURATIONS) - WINDOW + 1)
        means = [
            [np.average(each[first : first + WINDOW], weights=WEIGHTS[first : first + WINDOW]) for first in starts]
            for each in (before, after)
        ]
        slopes[name] = before, after
        change = 100 * (np.array(means[1]) / means[0] - 1)
        print(
            f"  {name}, {inside.sum() * SPACING_MM**3 / 1000:.1f} mL: means change by {change[0]:+.2f} % in the first "
            f"window, by up to {np.abs(change[1:]).max():.2f} % in the others",
            end="",
        )
        if name == "cerebellum":
            print()
            continue
        fits = (
            np.polyfit(middles[FIRST_LATE:], (values / reference)[FIRST_LATE:], 1)[0]
            for values, reference in zip(slopes[name], slopes["cerebellum"])
        )
        one, other = fits
        print(f"; the SUVR slope by {100 * (other / one - 1):+.2f} %")
    brain = np.isin(labels, sum(REGIONS.values(), ()))
    for name, each in (("input", noisy), ("result", study)):
        errors = ((each - clean) / clean.mean(0).clip(1))[4:, brain]
        print(
            f"  single voxels, {name}: noise over time {100 * errors.std(0).mean():.1f} %, error "
            f"{100 * np.sqrt(np.mean(errors**2)):.1f} %"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
