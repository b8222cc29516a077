"""What noise spectra scanners have: the cells that structure hides follow from those that show noise.

In one scan, noise and structure can be separated in some cells of :mod:`.texture` alone. How the spectrum goes on is
not free: reconstruction, filter and voxels shape all of it. So the logarithms of the cells are taken as normal, with a
mean and a covariance from simulated scans of the scanner families for training, one of each for reconstructions that
model the point spread and for those that do not; the cells that were measured decide between the two, and the other
cells (conditional normal distribution). The data are the spectra themselves, ``noise_prior.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

_PATH = Path(__file__).with_name("noise_prior.json")
_OF_ONE_SCAN = 0.1
"""Error of the logarithm of a cell's power in one simulated scan."""


@dataclass(frozen=True)
class Normal:
    """Normal distribution of the logarithms of the cells' powers of one kind of reconstruction.

    Attributes:
        mean: (n,).
        covariance: (n, n).
        scans: how many it was made of.
    """

    mean: np.ndarray
    covariance: np.ndarray
    scans: int

    @classmethod
    def of(cls, spectra: Sequence[np.ndarray]) -> Normal:
        """Fit it to the logarithms of powers, (n,) each."""
        logs = np.stack(spectra)
        return cls(logs.mean(0), np.cov(logs.T) + _OF_ONE_SCAN**2 * np.eye(logs.shape[1]), len(logs))

    def given(self, logs: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the expected logarithms, (n,), and the logarithm of how likely the measured ones are."""
        seen = np.isfinite(errors)
        away = (logs - self.mean)[seen]
        own = self.covariance[np.ix_(seen, seen)] + np.diag(errors[seen] ** 2)
        solved = np.linalg.solve(own, away)
        likely = -0.5 * (float(away @ solved) + float(np.linalg.slogdet(own)[1]))
        return self.mean + self.covariance[:, seen] @ solved, likely


@dataclass(frozen=True)
class Prior:
    """A mixture of normal distributions, each as likely as it has scans."""

    kinds: tuple[Normal, ...]

    @property
    def scans(self) -> int:
        """How many scans it was made of."""
        return sum(kind.scans for kind in self.kinds)

    def complete(self, logs: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return the expected logarithms of all cells.

        Args:
            logs: those that were measured, (n,).
            errors: their standard deviations, (n,); infinite for a cell that was not measured.
        """
        found = [kind.given(logs, errors) for kind in self.kinds]
        likely = np.array([each[1] for each in found]) + np.log([kind.scans for kind in self.kinds])
        weights = np.exp(likely - likely.max())
        return np.average([each[0] for each in found], axis=0, weights=weights)


def fit_prior(spectra: Mapping[str, Sequence[np.ndarray]]) -> Prior:
    """Make the prior of the logarithms of powers, kind -> (n,) each."""
    return Prior(tuple(Normal.of(of_kind) for of_kind in spectra.values()))


def save_spectra(spectra: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """Write the spectra that a prior is made of, kind -> logarithms of powers."""
    lines = [
        f' "{kind}": [\n' + ",\n".join(f"  {json.dumps([round(value, 2) for value in each])}" for each in rows) + "\n ]"
        for kind, rows in spectra.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


@lru_cache(maxsize=1)
def noise_prior() -> Prior:
    """The prior of this package."""
    values = json.loads(_PATH.read_text(encoding="utf-8"))
    return fit_prior({kind: [np.array(each) for each in rows] for kind, rows in values.items()})
