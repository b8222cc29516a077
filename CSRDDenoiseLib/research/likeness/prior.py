"""What noise spectra scanners have: the coarse bands, which structure hides, follow from the fine ones.

In one scan, noise and structure can be separated in fine bands alone. How its spectrum goes on towards coarse bands is
not free: reconstruction, filter and voxels shape all of it. So the logarithms of the bands are taken as normal, with a
mean and a covariance from simulated scans of the scanner families for training, and the bands that were measured
decide the others (conditional normal distribution). The data are ``noise_prior.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Sequence

import numpy as np

_PATH = Path(__file__).with_name("noise_prior.json")
_RIDGE = 1e-4


@dataclass(frozen=True)
class Prior:
    """Normal distribution of the logarithms of the bands' powers.

    Attributes:
        mean: (8,).
        covariance: (8, 8).
        scans: how many it was made of.
    """

    mean: np.ndarray
    covariance: np.ndarray
    scans: int

    def complete(self, logs: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return the expected logarithms of all bands.

        Args:
            logs: those that were measured, (8,).
            errors: their standard deviations, (8,); infinite for a band that was not measured.
        """
        seen = np.isfinite(errors)
        cross = self.covariance[:, seen]
        own = self.covariance[np.ix_(seen, seen)] + np.diag(errors[seen] ** 2)
        return self.mean + cross @ np.linalg.solve(own, (logs - self.mean)[seen])


def fit_prior(spectra: Sequence[np.ndarray]) -> Prior:
    """Make the prior of noise spectra, (8,) each."""
    logs = np.log(np.stack(spectra))
    covariance = np.cov(logs.T) + _RIDGE * np.eye(logs.shape[1])
    return Prior(logs.mean(0), covariance, len(logs))


def save_prior(prior: Prior, path: Path = _PATH) -> None:
    """Write a prior."""
    values: dict[str, Any] = {
        "mean": prior.mean.round(5).tolist(),
        "covariance": prior.covariance.round(6).tolist(),
        "scans": prior.scans,
    }
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


@lru_cache(maxsize=1)
def noise_prior() -> Prior:
    """The prior of this package."""
    values = json.loads(_PATH.read_text(encoding="utf-8"))
    return Prior(np.array(values["mean"]), np.array(values["covariance"]), int(values["scans"]))
