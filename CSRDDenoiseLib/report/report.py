"""The quality report of one run: a single HTML page to look at, to print on two sheets, and to keep."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import SimpleITK as sitk

from ..checks.volumes import INPUT_NAMES
from ..errors import InputError
from ..extras import require
from .layout import facts_of, sections_of
from .page import Page, render
from .run import Run, RunFacts, RunImages

HEADING = "PET denoising report"
NOTICE = "For research, not for clinical use."
# on paper the first picture gives way to many warnings
SHORT_WARNINGS, WARNING_MM, MOST_WARNINGS_MM = 3, 6, 48
UNMOVED = 1e-3


def report_page(images: RunImages, facts: RunFacts) -> str:
    """Return the report of a run as HTML that needs no other file.

    Args:
        images: of the run.
        facts: about the run.

    Raises:
        InputError: matplotlib is not installed.
    """
    require("matplotlib")
    return render(page_of(Run(images, facts)))


def page_of(run: Run) -> Page:
    """Return what stands on the page of a run."""
    facts = run.facts
    model, version = facts.model, facts.versions.get("csrd-denoise", "")
    about = (facts.pet_name, model and f"model {model}", facts.created, version and f"csrd-denoise {version}")
    less = min(max(len(facts.warnings) - SHORT_WARNINGS, 0) * WARNING_MM, MOST_WARNINGS_MM)
    return Page(
        title=f"Denoising report: {facts.pet_name}",
        heading=HEADING,
        sections=sections_of(run),
        subtitle=" · ".join(filter(None, about)),
        notice=NOTICE,
        facts=facts_of(run),
        warnings=facts.warnings,
        print_less_mm=less,
    )


def check_unmoved(images: Mapping[str, sitk.Image], facts: RunFacts) -> None:
    """Refuse to report a run on PET and MR that no longer lie where they lay in the run.

    Args:
        images: by what they are, such as ``pet`` and ``mr``.
        facts: about the run.

    Raises:
        InputError: one was moved, or is another volume.
    """
    inputs = {each.title: each for each in facts.inputs}
    for name, image in images.items():
        title = INPUT_NAMES.get(name, name)
        if title not in inputs:
            continue
        known = inputs[title]
        here = (*image.GetSize(), *image.GetSpacing(), *image.GetOrigin(), *image.GetDirection())
        there = (*known.size, *known.spacing_mm, *known.origin_mm, *known.direction)
        if not np.allclose(here, there, atol=UNMOVED):
            raise InputError(
                f"The {title} is not the volume of the run, or its place changed; undo its transform, or denoise again."
            )
