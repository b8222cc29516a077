"""What a run returns: images on the PET's own grid, and the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Optional

import SimpleITK as sitk

from ..findings import Finding
from ..io.record import Record
from ..sentences import sentences


@dataclass(frozen=True)
class DenoiseResult:
    """What a run gives, on the PET's own grid and in its unit.

    Attributes:
        denoised: the denoised PET.
        difference: denoised - PET.
        uncertainty: expected error (one standard deviation), from the spread of the samples, the distance of the
            result from the posterior mean and, where the model has one for these settings, a calibration. None for the
            sampler ``mean``, for one step, and for one sample that is the estimate itself (``estimate="samples"``).
        support: label map, 1 where structure was added and 2 where it was removed that the PET's counts do not support.
        record: inputs, model, settings, findings, versions and times.
        make_bare: makes :attr:`bare`, which few runs need.
    """

    denoised: sitk.Image
    difference: sitk.Image
    uncertainty: Optional[sitk.Image]
    support: sitk.Image
    record: Record
    make_bare: Callable[[], sitk.Image] = field(compare=False, repr=False)

    @cached_property
    def bare(self) -> sitk.Image:
        """The model's estimate alone, nothing of the measurement kept.

        From it and the PET follows the result for any ``keep_above_mm``
        (:func:`CSRDDenoiseLib.restore.canvas.keep_above`).
        """
        return self.make_bare()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks noticed."""
        return self.record.findings

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings among the findings, as sentences."""
        return sentences(self.findings)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        return self.record.as_dict()
