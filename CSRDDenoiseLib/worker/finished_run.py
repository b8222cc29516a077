"""A finished run that the worker keeps in memory, to answer the slider "keep measured above" at once."""

from __future__ import annotations

from typing import Any, Iterable, Optional

import SimpleITK as sitk

from ..errors import InputError
from ..findings import Finding, find
from ..io.read import read_volume
from ..progress import ProgressCallback, Reporter
from ..report.summary import summarise_change
from ..restore.keeping import Keeping
from ..run.recombine import Afterwards, Quick
from ..settings import plain
from .messages import KeepMessage

CONTRAST = "contrast_kept_percent"


class FinishedRun:
    """A run of this process, or a PET and an estimate that came as files.

    Args:
        run: its name.
        afterwards: what the run left, None where there are files alone.
        quick: made when first asked for, None with ``afterwards``.
    """

    def __init__(self, run: str, afterwards: Optional[Afterwards], quick: Optional[Quick] = None):
        self.run = run
        self._afterwards, self._quick = afterwards, quick

    @classmethod
    def of_files(cls, request: KeepMessage) -> FinishedRun:
        """Return what a request sends.

        Raises:
            InputError: it sends nothing, and names a run that is not known.
        """
        if request.pet is None or request.bare is None:
            raise InputError("The run is not known to this process any more; the PET and its estimate are needed.")
        pet, bare = read_volume(request.pet, "PET"), read_volume(request.bare, "estimate")
        return cls(request.run, None, Quick(pet, bare, request.limited))

    def prepare(self) -> Quick:
        """Return what answers fast, made now if need be."""
        if self._quick is None:
            made = self._afterwards.bare if self._afterwards is not None else None
            if made is None:
                raise InputError("The run has no estimate.")
            self._quick = Quick(*made)
        return self._quick

    def quick(self, request: KeepMessage) -> dict[str, Any]:
        """Write the part of the result that changes; answer with its box and some numbers."""
        part = self.prepare().at(request.keep_above_mm)
        for path, values in ((request.output, part.denoised), (request.difference, part.difference)):
            sitk.WriteImage(sitk.GetImageFromArray(values), str(path), False)
        return {
            "exact": False,
            "box": [[side.start, side.stop] for side in part.box],
            "keep_above_mm": plain(request.keep_above_mm),
            "finding": _finding(request.keep_above_mm),
            "summary": {CONTRAST: None, **part.numbers},
        }

    def exact(self, request: KeepMessage, report: ProgressCallback) -> dict[str, Any]:
        """Write what a run with this width gives, as far as it is known; answer with findings and summary."""
        width = request.keep_above_mm
        answer = {"exact": True, "keep_above_mm": plain(width), "finding": _finding(width)}
        if self._afterwards is None:
            denoised, difference = self.prepare().images(width)
            volumes: dict[str, Optional[sitk.Image]] = {"output": denoised, "difference": difference}
        else:
            step = Reporter(report, {"restore": 1.0})
            result = self._afterwards.at(width, lambda: step("restore", 0, 1))
            denoised, difference = result.denoised, result.difference
            maps = {"uncertainty": result.uncertainty, "support": result.support}
            volumes = {"output": denoised, "difference": difference, **maps}
            answer["findings"] = [finding.as_dict() for finding in result.findings]
        for name, image in volumes.items():
            path = getattr(request, name)
            if path is not None and image is not None:
                # read once by the one who asked: compressing would take the longest
                sitk.WriteImage(image, str(path), False)
        contrast = None if self._afterwards is None else contrast_kept(result.findings)
        return {**answer, "summary": {**summarise_change(denoised, difference).as_dict(), CONTRAST: contrast}}


def contrast_kept(findings: Iterable[Finding]) -> Optional[float]:
    """Return how much of the structure of 5 to 12 mm that the counts show is left, percent; None if not judged."""
    found = find(findings, "lost_structure")
    return None if found is None else round(100 * (1 - found.values["share"]), 1)


def _finding(width: float) -> dict[str, Any]:
    return Keeping(width, 0.0, (1.0, 1.0, 1.0), chosen=True).finding.as_dict()
