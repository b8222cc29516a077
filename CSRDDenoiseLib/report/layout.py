"""What stands on the page of a run, and where: the facts at a glance and the sections, declared as tables.

Each entry names one function of the :class:`~CSRDDenoiseLib.report.run.Run`; a function that returns None leaves its
entry out. To add a fact or a part, write its function and add a line to :data:`GLANCE` or :data:`SECTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

from . import parts
from .page import Fact, Part, Section
from .run import Run


@dataclass(frozen=True)
class SectionLayout:
    """A section of the page: its title, the functions that make its parts, and its class in the style sheet."""

    title: str
    parts: tuple[Callable[[Run], Optional[Part]], ...]
    style: str = ""


GLANCE: tuple[Callable[[Run], Optional[Fact]], ...] = (
    parts.warning_count,
    parts.alignment_verdict,
    parts.noise_verdict,
    parts.dose,
    parts.noise_change,
    parts.total_activity,
    parts.median_uncertainty,
)

SECTIONS: tuple[SectionLayout, ...] = (
    SectionLayout("Before and after", (parts.comparison, parts.notes), "comparison"),
    SectionLayout("Alignment of PET and MR", (parts.alignment,), "alignment"),
    SectionLayout("Inputs and provenance", (parts.origin, parts.record), "origin"),
    SectionLayout("Profiles and histograms", (parts.profiles, parts.histograms), "curves"),
    SectionLayout("Noise and activity", (parts.measured_and_checked,), "numbers"),
    SectionLayout("Regions", (parts.regions,), "regions"),
)


def facts_of(run: Run) -> tuple[Fact, ...]:
    """Return the facts at a glance that the run has."""
    return tuple(fact for make in GLANCE if (fact := make(run)) is not None)


def sections_of(run: Run) -> tuple[Section, ...]:
    """Return the sections that the run has something for."""
    made = (
        Section(layout.title, tuple(part for make in layout.parts if (part := make(run)) is not None), layout.style)
        for layout in SECTIONS
    )
    return tuple(section for section in made if section.parts)
