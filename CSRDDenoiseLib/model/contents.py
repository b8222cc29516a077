"""What stands in the files of a model folder, checked before it is used: they may be damaged, or hostile.

Everything ends in a :class:`ModelError` of one sentence. Sizes are limited before anything is read or allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Mapping, Sequence

from ..configuration import number_of, structure
from ..errors import ModelError
from ..limits import Between, Length, Rising, check_limits
from ..settings import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_METADATA_BYTES = 4 << 20
MAX_WEIGHTS_BYTES = 8 << 30
MAX_DEPTH = 32
CALIBRATION, NOISE_RANGE = "calibration", "noise_level_range"
OF_RESULT = "of_result"
"""A calibration that has it was fitted to the spread of results; those of version 0.2 and earlier are not applied."""
_AGAIN = "Get the model again."

_COUNT, _WIDTH, _SIDE = Between(1, 64), Between(1, 4096), Between(1, 63)
_ARGUMENTS = {
    "widths": (True, _WIDTH),
    "width": (False, _WIDTH),
    "model_channels": (False, _WIDTH),
    "embedding": (False, _WIDTH),
    "blocks": (None, _COUNT),
    "num_blocks": (False, _COUNT),
    "in_channels": (False, _COUNT),
    "out_channels": (False, _COUNT),
    "channel_mult": (True, _COUNT),
    "channel_mult_emb": (False, _COUNT),
    "channel_mult_noise": (False, _COUNT),
    "heads": (False, _COUNT),
    "window": (False, _COUNT),
    "neighbours": (False, Between(0, 8)),
    "detail_sizes": (True, _SIDE),
    "guide_sizes": (True, _SIDE),
    "tissue_sizes": (True, _SIDE),
    "size": (False, _SIDE),
    "detail_gain": (False, Between(0, 1000)),
    "dropout": (False, Between(0, 0.99)),
    "img_resolution": (False, Between(1, 65536)),
    "attn_resolutions": (True, Between(1, 65536)),
    "resample_filter": (True, Between(0, 1000)),
}
"""Argument of a network -> whether it is a list (None: either), and the limits of its numbers."""
_CHOICES = {
    "embedding_type": ("positional", "fourier"),
    "encoder_type": ("standard", "residual"),
    "implicit_mlp": (False, True),
}
_FRACTIONS = ("detail_gain", "dropout", "resample_filter")
_MAY_BE_EMPTY = ("attn_resolutions",)
_MAX_ENTRIES = 12
_TEXTURE = 16
"""How many numbers describe the noise of a PET (:func:`CSRDDenoiseLib.checks.noise.texture`)."""


@dataclass(frozen=True)
class _Calibration:
    """The table of a calibration; what else stands beside it is for the record."""

    spread: Annotated[list[float], Length(1, 1000), Between(0, 1e6), Rising()]
    error: Annotated[list[float], Length(1, 1000), Between(0, 1e6), Rising(level=True)]
    smoothing_mm: Annotated[float, Between(0, 50)]

    def __post_init__(self) -> None:
        check_limits(self, "the table", ModelError)
        if len(self.spread) != len(self.error):
            raise ModelError(f"'spread' has {len(self.spread)} entries and 'error' {len(self.error)}; they must agree.")


@dataclass(frozen=True)
class _Keep:
    """The rule of :func:`CSRDDenoiseLib.restore.keeping.default_keep_mm`."""

    weights: Annotated[tuple[float, float, float, float], Between(-100, 100)]
    range_mm: Annotated[tuple[float, float], Between(0, 1000), Rising()]

    def __post_init__(self) -> None:
        check_limits(self, "the rule", ModelError)


@dataclass(frozen=True)
class _NoiseRange:
    """The parts of a noise range that every version has."""

    levels: dict[str, tuple[float, float, float]]
    range: Annotated[tuple[float, float], Between(0, 1e6), Rising()]
    dose_fit: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_limits(self, "the range", ModelError)
        for name in self.levels:
            if not _is_dose(name):
                raise ModelError(f"'levels' has {_line(repr(name))}; it must be a dose fraction such as 1/10.")


@dataclass(frozen=True)
class _DoseFit:
    weights: Annotated[list[float], Length(_TEXTURE, _TEXTURE), Between(-1e6, 1e6)]
    offset: Annotated[float, Between(-1e6, 1e6)]
    answers: Annotated[tuple[float, float], Between(0, 1e6, above=True), Rising(level=True)]
    factor: Annotated[float, Between(1, 1e6)]
    right: Annotated[float, Between(0, 1)]

    def __post_init__(self) -> None:
        check_limits(self, "the fit", ModelError)


def _is_dose(text: str) -> bool:
    try:
        return 0 < number_of(text) <= 1
    except ValueError:
        return False


def is_regular_file(path: Path) -> bool:
    """Whether there is a file, and neither a device nor a pipe that reading would never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_json(path: Path) -> Any:
    """Read a metadata file: JSON of limited size and depth, all of whose numbers are finite.

    Raises:
        ModelError: it is not.
    """
    try:
        if not is_regular_file(path):
            raise ValueError("it is missing or no file")
        size = path.stat().st_size
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"it has {size} bytes and may have {MAX_METADATA_BYTES}")
        values = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=_finite, parse_constant=_finite)
        _check_depth(values)
    except RecursionError as error:
        raise ModelError(f"{path} is damaged or incomplete: it is nested too deeply. {_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged or incomplete: {error}. {_AGAIN}") from error
    return values


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a safetensors file whose checksum is known.

    Raises:
        ModelError: it is missing, too large, damaged, or has numbers that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not is_regular_file(path):
        raise ModelError(f"The model folder {path.parent} has no {path.name}. {_AGAIN}")
    size = path.stat().st_size
    if size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"The weights {path} have {size} bytes; at most {MAX_WEIGHTS_BYTES} are read.")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            f"The weights {path} are damaged: their SHA-256 starts with {found[:12]}, "
            f"the 'weights_sha256' of the metadata with '{sha256[:12]}'. {_AGAIN}"
        )
    try:
        weights = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"The weights {path} are not a safetensors file: {_line(error)}. {_AGAIN}") from error
    # some types, such as those of 8 bits, cannot be asked themselves
    bad = next((name for name, value in weights.items() if not bool(value.float().isfinite().all())), None)
    if bad is not None:
        raise ModelError(f"The weights {path} are not finite: '{bad}' has NaN or infinite values. {_AGAIN}")
    return weights


def check_weights(weights: Mapping[str, Tensor], needed: Mapping[str, Tensor], path: Path) -> None:
    """Compare the tensors of a file with those of a model, which may be on the meta device.

    Raises:
        ModelError: one is missing, one too many, or one of another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in needed.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        has, needs = (shapes.get(wrong[0], "absent") for shapes in (found, wanted))
        raise ModelError(
            f"The weights {path} do not fit the architecture in the metadata: {len(wrong)} tensors differ, "
            f"the first is '{_line(wrong[0])}' ({has}; the architecture has {needs})."
        )


def check_channels(network: nn.Module, channels: int, name: str) -> None:
    """Refuse a network that takes another number of channels than the model's scheme gives.

    Raises:
        ModelError: the numbers differ.
    """
    if network.in_channels != channels:
        raise ModelError(
            f"The network of model '{name}' takes {network.in_channels} channels; its scheme gives {channels}."
        )


def check_arguments(kind: str, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a network against limits, before any of it is built.

    Raises:
        ModelError: an argument is not known, of the wrong type, or beyond its limits.
    """
    for name, value in arguments.items():
        if name in _CHOICES:
            if not any(value is choice or (isinstance(value, str) and value == choice) for choice in _CHOICES[name]):
                known = " or ".join(map(str, _CHOICES[name]))
                raise ModelError(f"The architecture {kind} cannot be built: '{name}' must be {known}.")
            continue
        if name not in _ARGUMENTS:
            raise ModelError(f"The architecture {kind} cannot be built: it has no argument '{_line(name)}'.")
        is_list, limits = _ARGUMENTS[name]
        entries = value if isinstance(value, (list, tuple)) else [value]
        if is_list is not None and isinstance(value, (list, tuple)) != is_list:
            wrong = f"must be {'a list' if is_list else 'one number'}"
        elif not (entries or name in _MAY_BE_EMPTY) or len(entries) > _MAX_ENTRIES:
            wrong = f"must have 1 to {_MAX_ENTRIES} entries"
        elif not all(_is_number(entry, name in _FRACTIONS) and limits.holds(entry) for entry in entries):
            wrong = f"{limits}" + ("" if name in _FRACTIONS else " and be whole")
        elif name == "resample_filter" and not sum(entries) > 0:
            wrong = "must not be zero throughout"
        else:
            continue
        raise ModelError(f"The architecture {kind} cannot be built: '{name}' is {_line(repr(value))}; it {wrong}.")


def check_keep(rule: Mapping[str, Any], where: str) -> None:
    """Check the rule of what a result keeps of the measurement against its schema; an empty one is no rule.

    Raises:
        ModelError: a part is missing, of the wrong type, or beyond its limits.
    """
    if rule:
        _check_part(rule, _Keep, f"{where}, 'keep'")


def check_extra(extra: Mapping[str, Any], where: str) -> None:
    """Check the parts of a model's ``extra`` that a run uses against their schema; others are for the record.

    Raises:
        ModelError: a calibration or a noise range is not what it must be.
    """
    if extra.get(CALIBRATION) is not None:
        _check_part(extra[CALIBRATION], _Calibration, f"{where}, '{CALIBRATION}'")
    facts = extra.get(NOISE_RANGE)
    if facts not in (None, {}):
        _check_part(facts, _NoiseRange, f"{where}, '{NOISE_RANGE}'")
        if facts.get("dose_fit"):
            _check_part(facts["dose_fit"], _DoseFit, f"{where}, '{NOISE_RANGE}', 'dose_fit'")


def check_recipes(recipes: Sequence[Any], where: str) -> None:
    """Check a model's recipes against their schema: settings, and the ``calibration`` that was fitted with them.

    Raises:
        ModelError: one is not what it must be.
    """
    for number, recipe in enumerate(recipes, 1):
        place = f"{where}, recipe {number}"
        if not isinstance(recipe, dict):
            raise ModelError(f"{place} is {_line(repr(recipe))}; it must be an object.")
        settings = {name: value for name, value in recipe.items() if name != CALIBRATION}
        structure(settings, Recipe, place, ModelError)
        _check_part(recipe.get(CALIBRATION), _Calibration, f"{place}, '{CALIBRATION}'")


def _check_part(values: Any, kind: type, where: str) -> None:
    """Structure the fields that ``kind`` has; it may leave out what it has no use for."""
    known = {each.name for each in fields(kind)}
    used = {name: value for name, value in values.items() if name in known} if isinstance(values, dict) else values
    structure(used, kind, where, ModelError)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it has {text[:20]}, which is not a finite number")
    return value


def _check_depth(values: Any) -> None:
    waiting = [(values, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]


def _is_number(value: Any, fractions: bool) -> bool:
    return isinstance(value, (int, float) if fractions else int) and not isinstance(value, bool)


def _line(text: Any) -> str:
    return " ".join(str(text).split())[:200]
