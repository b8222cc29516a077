"""Measure the size of the code and of a run: ``python .ci/code_size.py [--root CHECKOUT] [--quick]``.

Prints files and lines of pipeline, module, tests and research; for one run of the bundled example, how often which
Gaussian ran on how many images, and how many functions a volume of the PET's size went into and came out of; with
``--quick`` the seconds of ``make quick``.
``--root`` measures another checkout, for a before and after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Sequence

import numpy as np

FWHM_PER_SIGMA = 2.3548
VOXEL_MM = 2.0  # of the bundled example and of the bundled model's grid
RESEARCH = {"research", "readers", "simulation", "training", "evaluation", "benchmark"}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--quick", action="store_true", help="also time make quick")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.root))
    files = {part: list((arguments.root / part).rglob("*.py")) for part in ("CSRDDenoiseLib", "CSRDDenoise", "Testing")}
    research = [path for path in files["CSRDDenoiseLib"] if RESEARCH & set(path.relative_to(arguments.root).parts)]
    files = {"pipeline": [path for path in files.pop("CSRDDenoiseLib") if path not in research], **files}
    measured: dict[str, Any] = {part: size(paths) for part, paths in {**files, "research": research}.items()}
    measured["one run"] = one_run(arguments.root)
    if arguments.quick:
        began = time.monotonic()
        subprocess.run(["make", "quick"], cwd=arguments.root, check=True, stdout=subprocess.DEVNULL)
        measured["seconds of make quick"] = round(time.monotonic() - began)
    print(json.dumps(measured, indent=2))


def size(paths: Sequence[Path]) -> dict[str, int]:
    """Return the number of files, of their lines, and of the lines of the longest one."""
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    return {"files": len(lines), "lines": sum(lines), "longest": max(lines, default=0)}


def one_run(root: Path) -> dict[str, Any]:
    """Denoise the bundled example by the preset ``fast``, and follow it."""
    import SimpleITK as sitk
    from scipy import ndimage

    from CSRDDenoiseLib.denoise import denoise
    from CSRDDenoiseLib.settings import settings_from_preset

    example = root / "CSRDDenoise/Resources/SampleData"
    pet, mr = (sitk.ReadImage(str(example / name)) for name in ("low_dose_1_10.nii.gz", "mr.nii.gz"))
    settings = settings_from_preset("fast", device="cpu")
    denoise(pet, mr, settings)  # so that imports are not counted
    smoothings: dict[str, list[int]] = {}
    plain = ndimage.gaussian_filter
    ndimage.gaussian_filter = _counted(plain, smoothings)
    way = Way(root / "CSRDDenoiseLib", pet.GetNumberOfPixels())
    sys.setprofile(way)
    try:
        denoise(pet, mr, settings)
    finally:
        sys.setprofile(None)
        ndimage.gaussian_filter = plain
    gaussians = {fwhm: {"runs": len(each), "images": len(set(each))} for fwhm, each in sorted(smoothings.items())}
    return {"Gaussians by FWHM": gaussians, **way.counted()}


def _counted(function: Callable[..., Any], counts: dict[str, list[int]]) -> Callable[..., Any]:
    def counting(image: Any, sigma: Any, *arguments: Any, **options: Any) -> Any:
        first = sigma if isinstance(sigma, (int, float)) else next(iter(sigma))
        values = np.asarray(image)
        seen = hash(np.round(values / (values.max() or 1), 3).tobytes())
        counts.setdefault(f"{first * VOXEL_MM * FWHM_PER_SIGMA:.1f} mm", []).append(seen)
        return function(image, sigma, *arguments, **options)

    return counting


class Way:
    """A profile function that notes where in a package volumes of about one size are handed in and returned."""

    def __init__(self, package: Path, voxels: int) -> None:
        self._package, self._least = str(package), voxels / 3
        self._stops: set[tuple[str, str]] = set()
        self._returns: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call or a return."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(self._package) or "<" in code.co_name:
            return
        place = (code.co_filename, code.co_name)
        if event == "return":
            if self._is_volume(argument):
                self._returns.add(place)
        elif any(self._is_volume(frame.f_locals.get(name)) for name in code.co_varnames[: code.co_argcount]):
            self._stops.add(place)

    def counted(self) -> dict[str, int]:
        """Return functions that take a volume, files they are in, functions that return one."""
        return {
            "functions that take a volume": len(self._stops),
            "in files": len({file for file, _ in self._stops}),
            "functions that return a volume": len(self._returns),
        }

    def _is_volume(self, value: Any) -> bool:
        kind = type(value).__name__
        if kind == "ndarray":
            return value.size >= self._least
        if kind == "Tensor":
            return value.numel() >= self._least
        if kind == "Image":
            return value.GetNumberOfPixels() >= self._least
        return isinstance(value, (tuple, list)) and any(self._is_volume(each) for each in value[:4])


if __name__ == "__main__":
    main()
