"""The one place where randomness comes from: (seed, purpose, index) -> generator."""

from __future__ import annotations

from typing import Callable

import numpy as np
import torch
from torch import Tensor

START = "start"
"""Noise of a draw: where it starts, and what a stochastic sampler adds."""

_PURPOSES = {START: ()}


def generator(seed: int, purpose: str, index: int) -> torch.Generator:
    """Return the generator of the CPU for one purpose; what it draws is the same on every device.

    Args:
        seed: of the run.
        purpose: what is drawn, a key of this module; every purpose has its own stream.
        index: of the draw.
    """
    key = np.random.SeedSequence((seed, index, *_PURPOSES[purpose])).generate_state(1, np.uint64)
    return torch.Generator("cpu").manual_seed(int(key[0]))


def unit_noise(shape: tuple[int, ...], source: torch.Generator) -> Callable[[], Tensor]:
    """Return what draws unit normal noise (1, 1, D, H, W) from a generator, on the CPU."""
    return lambda: torch.randn((1, 1, *shape), generator=source)
