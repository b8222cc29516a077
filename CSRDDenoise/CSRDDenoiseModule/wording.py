"""What the panel says: chosen volumes and what the worker understands of them, progress, and results."""

import re
from functools import partial
from typing import Any, Callable, Iterable, Mapping, Optional

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate

from CSRDDenoiseLib.errors import Cancelled, CSRDError
from CSRDDenoiseLib.findings import Finding, find
from CSRDDenoiseLib.infer.extent import gap_mm
from CSRDDenoiseLib.report.names import NOISE_NAME
from CSRDDenoiseLib.sentences import SLICER, sentence

from .nodes import Volume, unit_of, world_bounds
from .volumes import PROVENANCE

CATALOGUE = "CSRDDenoiseLib.sentences"
"""Context of the sentences about findings, for Qt's translators."""
MR_NAME = re.compile(r"(^|[^a-z])(mr|mri|t1w?|t2w?|flair|mprage)([^a-z]|$)", re.IGNORECASE)
PET_NAME = re.compile(r"(^|[^a-z])(pet|fdg|suv|amyloid|tau)([^a-z]|$)", re.IGNORECASE)


# Before a run


def described(volume: Optional[slicer.vtkMRMLScalarVolumeNode], inspected: "list[str]", warnings: "list[str]") -> str:
    """Return what stands under the selector of a volume: what it is, if any is chosen, and what looks wrong."""
    about = [] if volume is None else [describe(volume)]
    return "\n".join([*about, *inspected, *warnings])


def inspected_lines(answer: "Mapping[str, Any]") -> "list[str]":
    """Return the worker's answer to ``inspect`` as lines: SUV and head in the words of that command, and findings."""
    found = [finding_text(Finding.from_dict(each)) for each in answer["findings"]]
    broken = answer["not_finite"]
    more = [_("{count} voxels are NaN or infinite.").format(count=broken)] if broken else []
    return [*answer["lines"], *more, *filter(None, found)]


def describe(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return size, spacing, unit and maximum of a volume in one line."""
    image = volume.GetImageData()
    if image is None:
        return _("The volume holds no image.")
    size = " x ".join(str(n) for n in image.GetDimensions())
    spacing = " x ".join(f"{step:.4g}" for step in volume.GetSpacing())
    maximum = f"{unit_of(volume)} max {image.GetScalarRange()[1]:.6g}".strip()
    return _("{size} voxels of {spacing} mm, {maximum}").format(size=size, spacing=spacing, maximum=maximum)


def pet_warnings(pet: Optional[slicer.vtkMRMLScalarVolumeNode]) -> "list[str]":
    """Return what looks wrong with the volume chosen as PET."""
    if pet is None:
        return []
    warnings = _volume_warnings(pet)
    if pet.GetAttribute(PROVENANCE):
        warnings.append(_("This is denoised already; choose the measured PET."))
    if modality_of(pet) == "MR":
        warnings.append(_("This looks like an MR; choose the PET here."))
    elif pet.GetImageData() is not None and pet.GetImageData().GetScalarRange()[1] <= 0:
        warnings.append(_("No voxel is above zero."))
    return warnings


def mr_warnings(
    pet: Optional[slicer.vtkMRMLScalarVolumeNode], mr: Optional[slicer.vtkMRMLScalarVolumeNode]
) -> "list[str]":
    """Return what looks wrong with the volume chosen as MR, also in relation to the PET."""
    if mr is None:
        return []
    warnings = _volume_warnings(mr)
    if mr is pet:
        return [*warnings, _("This is the PET itself; choose the MR, or none.")]
    if modality_of(mr) == "PT":
        warnings.append(_("This looks like a PET; choose the MR here."))
    first, second = (None if node is None else world_bounds(node) for node in (pet, mr))
    gap = 0.0 if first is None or second is None else gap_mm(first, second)
    if gap > 0:
        apart = _("It does not overlap the PET: they are {gap:.0f} mm apart. Tick 'Register MR to PET'.")
        warnings.append(apart.format(gap=gap))
    return warnings


def modality_of(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return ``PT``, ``MR`` or another DICOM modality, from the subject hierarchy or else from the name, or nothing."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) if hierarchy is not None else 0
    modality = hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""
    if modality:
        return modality
    name = volume.GetName() or ""
    if PET_NAME.search(name):
        return "PT"
    return "MR" if MR_NAME.search(name) else ""


class Inspections:
    """What the worker understands of the chosen volumes; each is looked at once, and again when it has changed.

    Args:
        start: starts an inspection, ``start(volume, what, onFinished=, onError=)``.
        onChanged: hears of an answer.
    """

    def __init__(self, start: "Callable[..., Any]", onChanged: "Callable[[], None]"):
        self._start, self._onChanged = start, onChanged
        self._lines: dict[Any, list[str]] = {}
        self._asked: set[Any] = set()

    def lines(self, volume: Optional[Volume], what: str, mayAsk: bool) -> "list[str]":
        """Return what is known of a volume, and ask if that may be and nothing is."""
        if volume is None or volume.GetImageData() is None:
            return []
        key = (volume.GetID(), what, unit_of(volume), volume.GetImageData().GetMTime(), volume.GetSpacing())
        if key in self._lines:
            return self._lines[key]
        if mayAsk and key not in self._asked:
            try:
                self._start(volume, what, onFinished=partial(self._answered, key), onError=partial(self._failed, key))
            except CSRDError:
                # why it cannot be used is said where the run is asked for
                return []
            self._asked.add(key)
        return [_("Looking at the volume...")] if key in self._asked else []

    def forget(self) -> None:
        """The scene closed."""
        self._lines.clear()
        self._asked.clear()

    def _answered(self, key: Any, answer: "dict[str, Any]") -> None:
        self._asked.discard(key)
        self._lines[key] = inspected_lines(answer)
        self._onChanged()

    def _failed(self, key: Any, error: Exception) -> None:
        self._asked.discard(key)
        if not isinstance(error, Cancelled):
            self._lines[key] = [str(error)]
            self._onChanged()


def missing_text(missing: "Iterable[Any]") -> str:
    """Return what stands in place of an estimate while packages are missing."""
    names = ", ".join(requirement.name for requirement in missing)
    return _("No estimate: {names} is not installed. Apply asks before it installs anything.").format(names=names)


def estimate_text(seconds: float, memory_bytes: float) -> str:
    """Return the estimate of a run."""
    memory = memory_bytes / 2**30
    return _("About {time} and {memory:.1f} GiB of memory").format(time=duration(seconds), memory=memory)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``8 s``, ``3 min 20 s``, ``1 h 5 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


# During and after a run


def stage_title(name: str) -> str:
    """Return the title of a stage of a run."""
    titles = {
        "write_inputs": _("Writing the volumes"),
        "read": _("Reading"),
        "align": _("Aligning PET and MR"),
        "normalise": _("Normalising"),
        "sample": _("Sampling"),
        "restore": _("Restoring the PET's grid"),
        "frames": _("Denoising the frames"),
        "settle": _("Keeping the means of frames"),
        "write": _("Writing"),
        "report": _("Drawing the report"),
    }
    return titles.get(name, name)


def severity_title(name: str) -> str:
    """Return the title of a finding's severity."""
    return {"warning": _("Warning"), "info": _("Note")}.get(name, name)


def progress_text(progress: "dict[str, Any]") -> str:
    """Return how far a run is: the stage, its step, and what else there is to say."""
    text = stage_title(progress["stage"])
    if progress["of"] > 1:
        text = _("{stage}: step {step} of {of}").format(stage=text, step=progress["step"], of=progress["of"])
    return f"{text} ({progress['message']})" if progress.get("message") else text


def result_text(result: Any) -> str:
    """Return what there is to say about a run that ended well: its time, the MR's move, an empty map.

    Args:
        result: the :class:`~.volumes.DenoisedVolumes`.
    """
    done = _("Done in {time}.").format(time=duration(result.provenance.get("seconds", {}).get("total", 0)))
    empty = result.supportVolume is not None and result.supportVolume.GetImageData().GetScalarRange()[1] == 0
    judged = find(result.findings, "output.not_judged") is None
    nothing = _("Unsupported structure: nothing found.") if empty and judged else ""
    return " ".join(filter(None, [done, _move_sentence(result), nothing]))


def finding_text(finding: Finding) -> str:
    """Return the sentence of a finding in Slicer's language, in English where a translation lacks a field.

    A finding in a scene of another version may lack one too: then its code stands there.
    """
    for translated in (partial(translate, CATALOGUE), str):
        try:
            return sentence(finding, SLICER, translated)
        except (KeyError, ValueError, IndexError):
            continue
    return finding.code


def finding_rows(findings: Iterable[Finding]) -> "list[tuple[str, str]]":
    """Return findings as rows of a list, severity and sentence; warnings first, those without a sentence left out."""
    ordered = sorted(findings, key=lambda finding: not finding.is_warning)
    rows = [(severity_title(finding.severity.value), finding_text(finding)) for finding in ordered]
    return [row for row in rows if row[1]]


def summary_rows(summary: "Mapping[str, Any]", unit: str) -> "list[tuple[str, str]]":
    """Return the numbers of a result as rows of a table, name and value with unit; named as in the report."""
    if not summary:
        return []
    factor = summary.get("suv_factor")
    mean, largest = summary["mean_change"], summary["max_change"]
    rows = [
        (_("Mean difference in the head"), f"{mean:+.5g} {unit}".strip() + _in_suv(mean, factor, "+.3g")),
        (_("Largest difference"), f"{largest:.5g} {unit}".strip() + _in_suv(largest, factor, ".3g")),
    ]
    if summary["total_change_percent"] is not None:
        rows.append((_("Change of total activity"), f"{summary['total_change_percent']:+.2f} %"))
    kept = summary.get("contrast_kept_percent")
    contrast = [] if kept is None else [(_("Contrast kept, 5 to 12 mm"), f"{kept:.0f} %")]
    before, after = summary.get("noise_before_percent"), summary.get("noise_after_percent")
    if before is not None and after is not None:
        centre = ", ".join(f"{value:.0f}" for value in summary["reference_centre_ras"])
        rows += [
            (NOISE_NAME, f"{before:.1f} → {after:.1f} %"),
            *contrast,
            (_("Centre of the cube"), _("R, A, S = {centre} mm").format(centre=centre)),
        ]
    return rows


def _in_suv(value: float, factor: Optional[float], digits: str) -> str:
    """Return a value in SUV beside its unit, where the factor is known and the unit is not SUV itself."""
    return "" if factor is None or factor == 1 else _(" (SUV {value})").format(value=format(factor * value, digits))


def _move_sentence(result: Any) -> str:
    found = find(result.findings, "registration.applied")
    if found is None or result.registrationTransform is None:
        return ""
    moved = _("The MR was moved by {mm:.1f} mm and {degrees:.1f} degrees; see the transform '{name}'.")
    name = result.registrationTransform.GetName()
    return moved.format(mm=found.values["offset_mm"], degrees=found.values["angle_degrees"], name=name)


def _volume_warnings(volume: slicer.vtkMRMLScalarVolumeNode) -> "list[str]":
    warnings = []
    if _in_sequence(volume):
        warnings.append(
            _("It is one frame of a sequence (4D); Apply uses the frame shown now. 'Several at once' takes all frames.")
        )
    transform = volume.GetParentTransformNode()
    if transform is not None:
        hardened = _("Its transform '{name}' is not hardened; it is applied to a copy for the run.")
        warnings.append(hardened.format(name=transform.GetName()))
    return warnings


def _in_sequence(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return any(browser.IsProxyNodeID(volume.GetID()) for browser in browsers)


# Entries of the lists


def preset_title(name: str) -> str:
    """Return the title of a preset."""
    return {"fast": _("Fast"), "balanced": _("Balanced"), "quality": _("Quality")}.get(name, name)


def sampler_title(name: str) -> str:
    """Return the title of a sampler."""
    titles = {"dpmpp": _("DPM-Solver++ (2M)"), "heun": _("Heun (EDM)"), "mean": _("Posterior mean")}
    return titles.get(name, name)


def precision_title(name: str) -> str:
    """Return the title of a precision."""
    titles = {"auto": _("Automatic"), "float32": _("32 bit"), "bfloat16": _("16 bit (bfloat16)")}
    return {**titles, "float16": _("16 bit (float16)")}.get(name, name)


def device_title(device: "dict[str, Any]") -> str:
    """Return the title of a device: its name, what it is, and its memory."""
    title = f"{device['name']}: {device['description']}" if device["description"] else device["name"]
    if device["memory_bytes"]:
        title = f"{title}, {device['memory_bytes'] / 2**30:.0f} GiB"
    return title
