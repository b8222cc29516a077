"""How the panel calls what the program calls by short names, and what it says at the end of a run."""

from typing import Any

from slicer.i18n import tr as _

from CSRDDenoiseLib.checks.dose import dose_sentence

from .estimate import duration
from .job import DenoisedVolumes


def preset_title(name: str) -> str:
    """Return the title of a preset."""
    return {"fast": _("Fast"), "balanced": _("Balanced"), "quality": _("Quality")}.get(name, name)


def sampler_title(name: str) -> str:
    """Return the title of a sampler."""
    titles = {"dpmpp": _("DPM-Solver++ (2M)"), "heun": _("Heun (EDM)"), "mean": _("Posterior mean")}
    return titles.get(name, name)


def stage_title(name: str) -> str:
    """Return the title of a stage of a run."""
    titles = {
        "read": _("Reading"),
        "align": _("Aligning PET and MR"),
        "normalise": _("Normalising"),
        "sample": _("Sampling"),
        "restore": _("Restoring the PET's grid"),
        "write": _("Writing"),
        "report": _("Drawing the report"),
    }
    return titles.get(name, name)


def device_title(device: "dict[str, Any]") -> str:
    """Return the title of a device: its name, what it is, and its memory."""
    title = f"{device['name']}: {device['description']}" if device["description"] else device["name"]
    if device["memory_bytes"]:
        title = f"{title}, {device['memory_bytes'] / 2**30:.0f} GiB"
    return title


def progress_text(progress: "dict[str, Any]") -> str:
    """Return how far a run is: the stage, its step, and what else is told."""
    text = stage_title(progress["stage"])
    if progress["of"] > 1:
        text = _("{stage}: step {step} of {of}").format(stage=text, step=progress["step"], of=progress["of"])
    return f"{text} ({progress['message']})" if progress.get("message") else text


def result_text(result: DenoisedVolumes) -> str:
    """Return what there is to say about a run that ended well: its time, the MR's move, the dose, the warnings."""
    done = _("Done in {time}.").format(time=duration(result.provenance.get("seconds", {}).get("total", 0)))
    about = [done, _move_sentence(result), dose_sentence(result.provenance["quality"]), *result.warnings]
    return " ".join(filter(None, about))


def _move_sentence(result: DenoisedVolumes) -> str:
    if result.registrationTransform is None:
        return ""
    moved = _("The MR was moved by {mm:.1f} mm and {degrees:.1f} degrees; see the transform '{name}'.")
    facts = result.provenance["quality"]["registration"]
    name = result.registrationTransform.GetName()
    return moved.format(mm=facts["offset_mm"], degrees=facts["angle_degrees"], name=name)
