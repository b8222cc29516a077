"""The choices of one run, and the three presets the command line and the Slicer panel show."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import Annotated, Any, Optional, Union

from .configuration import INFINITE, structure
from .errors import InputError
from .limits import Between, OneOf, check_limits

SAMPLERS = ("dpmpp", "heun", "mean")
ESTIMATES = ("mean", "samples")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SAME, SUV = "same", "suv"
OUTPUT_UNITS = (SAME, SUV)
DICOM = "dicom"
OUTPUT_FORMATS = (DICOM,)
MAPS = ("difference", "uncertainty", "support", "bare")
"""What a run writes beside the denoised PET where it is asked to, as fields of ``run.request.FileRequest``."""
WARN, OFF = "warn", "off"
MOTIONS = (WARN, OFF)
"""What is done about motion between the frames of a dynamic PET."""
MAX_OVERLAP = 0.9
MAX_KEEP_MM = 500.0
"""A head is smaller: what is coarser than this is its mean."""
MAX_STEPS, MAX_SAMPLES, MAX_SIDE = 1000, 1_000_000, 100_000
_WHERE = "The settings"


@dataclass(frozen=True)
class Recipe:
    """Settings on which the spread of the draws depends; see :class:`DenoiseSettings` for the fields.

    A calibration of the uncertainty is valid only for the recipe that it was fitted with.
    """

    sampler: str
    steps: int
    samples: int
    estimate: str = "mean"
    churn: float = 0.0
    keep_above_mm: Optional[Union[float, str]] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class DenoiseSettings:
    """What a run does besides its inputs and its model.

    Attributes:
        sampler: ``mean`` (posterior mean alone), ``dpmpp`` (DPM-Solver++(2M), Lu et al. 2022) or
            ``heun`` (EDM algorithm 2, Karras et al. 2022).
        steps: noise levels the sampler visits, 1 to 1000; ``heun`` evaluates the network 2 steps - 1 times, ``mean``
            once.
        samples: draws K from the posterior, for the uncertainty.
        estimate: what the denoised PET is. ``mean``: the posterior mean, from one evaluation at the largest noise
            level and, of a noisy scan, a second one (:mod:`CSRDDenoiseLib.infer.boosting`); the uncertainty is the
            draws' spread about it. ``samples``: the draws' own mean, as in the paper; its uncertainty is larger by the
            root of 1 + 1/K.
        churn: S_churn of EDM algorithm 2; 0 is deterministic given the starting noise.
        keep_above_mm: width (FWHM of a Gaussian, 0 to 500 mm) above which the measured PET is kept. The narrower it
            is, the closer finer details come to their measured strength. 0 returns the input, infinity the bare
            estimate, None takes the width by the model's rule and the noise of the PET.
        dose: fraction of the full dose that the PET was taken at. A model of the noise-free image then gives the full
            dose to expect, with the share of its noise that the PET has; None gives the noise-free image.
        overlap: share of a patch's side that it has in common with its neighbour, 0 to 0.9.
        patch_size: side of cubic patches, or their (D, H, W), in voxels of the model's grid; None takes the whole
            volume when it fits memory, and the largest patches that do otherwise.
        seed: the only source of randomness.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the network's arithmetic: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for bfloat16 where
            the device computes faster in it and float32 elsewhere.
        nan_to_zero: replace NaN and infinity in the PET by zero instead of refusing it.
        register: move the MR rigidly to where it fits the PET best before it is used.
        whole_field: denoise all that stands out in the PET; otherwise only the head of a longer body.

    Raises:
        InputError: a value is out of range, or two values exclude each other.

    Example:
        >>> settings = DenoiseSettings(sampler="heun", steps=18, samples=4)
        >>> settings.evaluations, settings.has_uncertainty
        (137, True)
    """

    sampler: Annotated[str, OneOf(SAMPLERS)] = "dpmpp"
    steps: Annotated[int, Between(1, MAX_STEPS)] = 5
    samples: Annotated[int, Between(1, MAX_SAMPLES)] = 2
    estimate: Annotated[str, OneOf(ESTIMATES)] = "mean"
    churn: Annotated[float, Between(0, 1e9)] = 0.0
    keep_above_mm: Optional[Annotated[float, Between(0, math.inf)]] = None
    dose: Optional[Annotated[float, Between(0, 1, above=True, below=True)]] = None
    overlap: Annotated[float, Between(0, MAX_OVERLAP)] = 0.25
    patch_size: Annotated[Optional[Union[int, tuple[int, int, int]]], Between(1, MAX_SIDE)] = None
    seed: Annotated[int, Between(0, 2**63 - 1)] = 0
    device: str = "auto"
    precision: Annotated[str, OneOf(PRECISIONS)] = "auto"
    nan_to_zero: bool = False
    register: bool = False
    whole_field: bool = False

    def __post_init__(self) -> None:
        check_limits(self, _WHERE)
        check_keep(self.keep_above_mm, _WHERE)
        if self.sampler == "mean" and self.estimate == "samples":
            raise InputError(
                f"{_WHERE}: the sampler 'mean' (preset 'fast') draws no samples, so the estimate cannot be their mean; "
                "choose the sampler 'dpmpp' or 'heun', or the estimate 'mean'."
            )

    @property
    def patch_sides(self) -> Optional[tuple[int, int, int]]:
        """The (D, H, W) of the patches, or None where they are to follow the memory."""
        size = self.patch_size
        return size if size is None or isinstance(size, tuple) else (size,) * 3

    @property
    def recipe(self) -> Recipe:
        """What the spread of the draws depends on."""
        keep = plain(self.keep_above_mm)
        return Recipe(self.sampler, self.steps, self.samples, self.estimate, float(self.churn), keep)

    @property
    def evaluations(self) -> int:
        """How often the network is evaluated at each place of the volume, once more for a boosted estimate."""
        once = {"mean": 1, "dpmpp": self.steps, "heun": 2 * self.steps - 1}[self.sampler]
        if self.sampler == "mean":
            return 1
        return 1 + self.samples * (once - 1) if self.estimate == "mean" else self.samples * once

    @property
    def has_uncertainty(self) -> bool:
        """Whether there are draws to take a spread over."""
        # the first step of every draw is the posterior mean
        return self.sampler != "mean" and self.steps > 1 and (self.samples > 1 or self.estimate == "mean")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types, which have no infinity: it is the text ``inf``."""
        return {name: plain(value) for name, value in asdict(self).items()}


def check_keep(width: Optional[float], where: str) -> None:
    """Refuse a ``keep_above_mm`` between the largest width and infinity.

    Args:
        width: in mm, or None.
        where: begins the sentence of the error.

    Raises:
        InputError: the width is in that gap.
    """
    if width is not None and MAX_KEEP_MM < width < math.inf:
        raise InputError(
            f"{where}: 'keep_above_mm' is {width:g}; use 0 to {MAX_KEEP_MM:g} mm, or inf for the bare estimate."
        )


def plain(value: Any) -> Any:
    """Return numbers, such as those of NumPy, as JSON has them, infinity as a text; other values as they are."""
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    return INFINITE if value == math.inf else float(value)


PRESETS = {
    "fast": DenoiseSettings(sampler="mean", steps=1, samples=1),
    "balanced": DenoiseSettings(sampler="dpmpp", steps=5, samples=2),
    "quality": DenoiseSettings(sampler="dpmpp", steps=5, samples=16),
}
"""Name -> settings. All give the same denoised PET; they differ in the samples drawn for the uncertainty."""
DEFAULT_PRESET = "balanced"


def settings_from_preset(preset: str = DEFAULT_PRESET, **changes: Any) -> DenoiseSettings:
    """Return a preset with the given fields changed.

    Args:
        preset: ``fast``, ``balanced`` or ``quality``; a key of :data:`PRESETS`.
        changes: fields of :class:`DenoiseSettings`; None keeps the preset's value.

    Raises:
        InputError: the preset or a name is not known, or a value is out of range.

    Example:
        >>> settings_from_preset("quality", seed=1).samples
        16
        >>> settings_from_preset("best")
        Traceback (most recent call last):
        CSRDDenoiseLib.errors.InputError: Preset 'best' is not known; choose one of fast, balanced, quality.
    """
    known = DenoiseSettings.__dataclass_fields__
    if strange := [name for name in changes if name not in known]:
        raise InputError(f"There is no setting {', '.join(map(repr, strange))}; the settings are {', '.join(known)}.")
    if preset not in PRESETS:
        raise InputError(f"Preset '{preset}' is not known; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})


def settings_from_fields(values: Any) -> DenoiseSettings:
    """Return the settings of a message or a record.

    Raises:
        InputError: a name is not known, or a value has the wrong type or is out of range.
    """
    return structure(values, DenoiseSettings, _WHERE)


def checked(settings: Optional[DenoiseSettings]) -> DenoiseSettings:
    """Return settings with every value of the type that its field has; the defaults where none are given.

    Making settings needs no other package, so that the Slicer panel works before packages are installed. A run
    begins with this.

    Raises:
        InputError: a value has the wrong type, or these are no settings.
    """
    if not isinstance(settings, (DenoiseSettings, type(None))):
        raise InputError(
            f"{_WHERE} are of the type {type(settings).__name__}; give DenoiseSettings, such as "
            f"settings_from_preset('{DEFAULT_PRESET}')."
        )
    return settings_from_fields({} if settings is None else settings.as_dict())
