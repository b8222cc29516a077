"""The record of a run: enough to tell what was done to which data, and to do it again."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import SimpleITK as sitk

from .. import __version__
from ..progress import Reporter
from .volume import units_of

RECORD_FORMAT = 1
_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "safetensors")
_BLOCK = 1 << 20


class Stages:
    """Reports and times the stages of a run.

    Attributes:
        report: receives every step.
        seconds: stage name -> wall time so far, in the order they ran.
    """

    def __init__(self, report: Reporter):
        self.report = report
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, message: str = "") -> Iterator[None]:
        """Time the body as stage ``name`` and report its beginning and its end."""
        self.report(name, 0, 1, message)
        began = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - began, 3)
        self.report(name, 1, 1)

    def summary(self) -> dict[str, float]:
        """Return the seconds of each stage so far, and their total."""
        return {**self.seconds, "total": round(sum(self.seconds.values()), 3)}


def describe_image(image: sitk.Image) -> dict[str, Any]:
    """Return geometry, unit and range of an image as plain JSON types."""
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(image)
    return {
        "size": list(image.GetSize()),
        "spacing_mm": list(image.GetSpacing()),
        "origin_mm": list(image.GetOrigin()),
        "direction": list(image.GetDirection()),
        "pixel_type": image.GetPixelIDTypeAsString(),
        "units": units_of(image),
        "minimum": extremes.GetMinimum(),
        "maximum": extremes.GetMaximum(),
    }


def describe_file(path: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Return the path of an input and the SHA-256 of the files it was read from, one after another."""
    return {"path": str(path.resolve()), "files": len(files), "sha256": _sha256(files)}


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the packages that compute, as far as installed."""
    found = {"csrd-denoise": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> Optional[int]:
    """Return the largest resident memory of this process so far, or None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
