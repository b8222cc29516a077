"""Checkpoints that a kill cannot damage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

import torch
from torch import nn

from ...atomic import complete_file
from ...errors import InputError
from ...model.deviation import Unit

NAME = "checkpoint.pt"


@dataclass
class TrainingState:
    """All that a run needs to continue as if it had never stopped.

    Attributes:
        step: steps done.
        phantoms: phantoms of the pool in use.
        seconds: training time so far, without validation.
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


def save_checkpoint(
    folder: Path, state: TrainingState, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint beside the last one, then put it in its place.

    Raises:
        InputError: a weight is not finite; the last checkpoint stays.
    """
    check_finite({**network.state_dict(), **average.state_dict()}, f"The weights at step {state.step}")
    content = {
        "state": vars(state),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
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
    """Read the checkpoint of a run, or None if there is none yet."""
    path = folder / NAME
    return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
