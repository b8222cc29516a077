"""What the checks of an output look at: the PET and what was made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..scan import Scan


@dataclass(frozen=True)
class Output:
    """A result on the model's grid, in the head's box.

    Attributes:
        scan: the input.
        denoised: the output (D, H, W), relative to the brain mean.
    """

    scan: Scan
    denoised: np.ndarray

    @property
    def pet(self) -> np.ndarray:
        """The input relative to the brain mean."""
        return self.scan.relative
