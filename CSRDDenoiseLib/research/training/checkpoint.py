"""Checkpoints that a kill cannot damage."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Union

import torch
from torch import nn

from ...atomic import complete_file
from ...errors import InputError
from ...model.bundle import find_model, read_metadata
from ...model.deviation import Unit
from .claim import check_facts
from .config import TrainingConfig

NAME = "checkpoint.pt"
Part = Union[nn.Module, torch.optim.Optimizer]
"""What a checkpoint holds the state of."""
_FACTS = "facts"
_HELD = ("architecture", "normalisation", "target", "model_spacing", "sigma_range", "doses", "dose_range")


@dataclass
class TrainingState:
    """All that a run needs to continue as if it had never stopped.

    Attributes:
        step: steps done.
        phantoms: phantoms of the pool in use.
        seconds: that the steps took so far, without validation and checkpoints.
        sigma_data: measured on the first phantoms.
        unit, removed: of the deviation (:class:`CSRDDenoiseLib.model.deviation.Unit`), fitted to the first phantoms,
            in a run for the draws.
    """

    step: int
    phantoms: int
    seconds: float
    sigma_data: float
    unit: tuple[float, ...] = ()
    removed: float = 0.0

    @property
    def deviation_unit(self) -> Unit:
        """The unit of the deviation."""
        return Unit(self.unit, self.removed)


def held_facts(config: TrainingConfig) -> dict[str, Any]:
    """What a model's metadata state of its training, so that no later call of a run may change it; JSON types."""
    facts = {name: getattr(config, name) for name in _HELD}
    mean = None if config.mean_model is None else read_metadata(find_model(config.mean_model))
    # folders move; the weights are what counts
    facts["mean_model"] = None if mean is None else f"{mean.name} (weights {mean.weights_sha256[:12]})"
    return json.loads(json.dumps(facts))


def check_held(config: TrainingConfig, saved: Mapping[str, Any]) -> None:
    """Compare a configuration with the checkpoint of its run; one of an earlier version has no facts and passes.

    Raises:
        InputError: a fact of :func:`held_facts` is another.
    """
    if _FACTS in saved:
        whose = f"The checkpoint in '{config.output}' was trained with"
        check_facts(saved[_FACTS], held_facts(config), whose, "set it back, or name another folder 'output'")


def save_checkpoint(
    folder: Path,
    state: TrainingState,
    parts: Mapping[str, Part],
    facts: Mapping[str, Any],
) -> None:
    """Write a checkpoint beside the last one, then put it in its place.

    Args:
        folder: of the run.
        state: where it stands.
        parts: ``network``, ``average`` and ``optimiser``.
        facts: of :func:`held_facts`.

    Raises:
        InputError: a weight is not finite; the last checkpoint stays.
    """
    content: dict[str, Any] = {"state": vars(state), _FACTS: dict(facts)}
    for name, part in parts.items():
        content[name] = part.state_dict()
        if isinstance(part, nn.Module):
            check_finite(content[name], f"The weights at step {state.step}")
    with complete_file(folder / NAME) as partial, partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def save_milestone(folder: Path, step: int, average: nn.Module) -> None:
    """Write the averaged weights of a network at a step, in half precision, to ``average-STEP.safetensors``."""
    from safetensors.torch import save_file

    weights = {name: value.half().cpu().contiguous() for name, value in average.state_dict().items()}
    with complete_file(milestone_path(folder, step)) as partial:
        save_file(weights, partial)


def milestone_path(folder: Path, step: int) -> Path:
    """Where :func:`save_milestone` writes."""
    return folder / f"average-{step}.safetensors"


def milestones_in(folder: Path) -> dict[int, Path]:
    """Step -> file of what :func:`save_milestone` has written into a folder, in the order of the steps."""
    steps = (path.stem.rpartition("-")[2] for path in folder.glob(milestone_path(folder, 0).name.replace("0", "*")))
    return {step: milestone_path(folder, step) for step in sorted(int(text) for text in steps if text.isdecimal())}


def check_finite(weights: Mapping[str, torch.Tensor], what: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        InputError: some are.
    """
    bad = next((name for name, value in weights.items() if not bool(value.isfinite().all())), None)
    if bad is not None:
        raise InputError(f"{what} are not finite ('{bad}' has NaN or infinite values); they are not kept.")


def load_checkpoint(folder: Path) -> Optional[dict[str, Any]]:
    """Read the checkpoint of a run, or None if there is none yet.

    Raises:
        InputError: it is damaged, as one whose copy was not completed.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The checkpoint '{path}' cannot be read ({type(error).__name__}); copy it here again, or remove it to "
            "begin anew."
        ) from error
    return saved
