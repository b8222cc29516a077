"""What is compared: every method takes a study and a dose and returns an image, so that all are measured alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Callable, Optional

import numpy as np
import SimpleITK as sitk

from ...settings import DenoiseSettings
from .baselines import Case, baseline, tune
from .study import Study

if TYPE_CHECKING:
    from ...model.bundle import Model

INPUT = "Input"


@dataclass(frozen=True)
class Outcome:
    """What a method made of one scan: arrays (D, H, W) in the head's box, in the PET's unit.

    Attributes:
        image: the denoised PET.
        seconds: wall time of the method itself.
        chosen: the parameter that was oracle-tuned, with its unit; empty where there is none.
        std: voxel-wise standard deviation, where the method gives one.
        std_to_noise_free: whether that is of the error to the noise-free image, and not of that to the full dose.
    """

    image: np.ndarray
    seconds: float
    chosen: str = ""
    std: Optional[np.ndarray] = None
    std_to_noise_free: bool = False


Method = Callable[[Study, Fraction], Outcome]
MrChoice = Callable[[Study], Optional[sitk.Image]]


def unchanged(study: Study, dose: Fraction) -> Outcome:
    """The low dose as it is."""
    return Outcome(study.array(study.low_doses[dose]), 0.0)


def tuned(name: str) -> Method:
    """A baseline of :mod:`baselines`, tuned for each scan against its full dose."""
    chosen = baseline(name)

    def apply(study: Study, dose: Fraction) -> Outcome:
        best = tune(chosen, case_of(study, dose))
        return Outcome(best.image, best.seconds, f"{chosen.parameter} = {best.value:g}")

    return apply


def case_of(study: Study, dose: Fraction) -> Case:
    """What a filter is given of a study, and the answer."""
    mr = None if study.mr is None else study.array(study.mr)
    pet = study.array(study.low_doses[dose])
    return Case(pet, study.full_dose, study.masks.head, study.spacing, study.scale, mr)


def _own_mr(study: Study) -> Optional[sitk.Image]:
    return study.mr


def ours(model: Model, settings: DenoiseSettings, choose_mr: MrChoice = _own_mr) -> Method:
    """This package, with a model that is loaded already.

    Args:
        model: from :func:`CSRDDenoiseLib.model.bundle.load_model`.
        settings: sampler, steps, samples.
        choose_mr: the MR that is used; None leaves it out.
    """
    from ...denoise import denoise

    to_noise_free = model.metadata.target == "noise-free" and not settings.dose

    def apply(study: Study, dose: Fraction) -> Outcome:
        mr = choose_mr(study)
        began = time.perf_counter()
        result = denoise(study.low_doses[dose], mr, settings, model)
        seconds = time.perf_counter() - began
        std = None if result.uncertainty is None else study.array(result.uncertainty)
        return Outcome(study.array(result.denoised), seconds, std=std, std_to_noise_free=to_noise_free)

    return apply
