"""A channelised Hotelling observer that reads a study as a person does: images in, answers out, nothing else.

Channels are differences of Gaussians (Abbey and Barrett 2001, JOSA A 18:473) around the place where a lesion may be;
the template is trained on images of its own with both truths. Readers differ by internal noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from reader_study import BEGIN
from scipy import ndimage

from CSRDDenoiseLib.readers.answers import answers_name
from CSRDDenoiseLib.readers.session import Session
from CSRDDenoiseLib.readers.study import IMAGES, Study

SHAPE = (9, 17, 17)
CENTRE = (4, 8, 8)
SPACING = (2.0, 2.0, 2.0)
WIDTHS = (1.0, 1.5, 2.25, 3.4)


@dataclass(frozen=True)
class Look:
    """How a method shows a lesion: its contrast, and the noise around it (correlated over about two voxels)."""

    contrast: float
    noise: float


def draw(look: Look, lesion: bool, rng: np.random.Generator) -> np.ndarray:
    """An image with or without a lesion in the middle, float32."""
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE), 0.8)
    return (10 + look.contrast * lesion * _gaussian(1.5) + look.noise * noise / noise.std()).astype(np.float32)


def write_cases(folder: Path, looks: dict[str, Look], cases: int, seed: int) -> Path:
    """A table of cases, every second with a lesion, each shown by every method with noise of its own."""
    rng = np.random.default_rng(seed)
    rows = ["\t".join(["case", *looks, "lesion", "point"])]
    for case in range(cases):
        cells = []
        for method, look in looks.items():
            image = sitk.GetImageFromArray(draw(look, case % 2 == 1, rng))
            image.SetSpacing(SPACING)
            cells.append(f"{method}_{case}.nii.gz")
            sitk.WriteImage(image, str(folder / cells[-1]))
        point = ",".join(str(index * step) for index, step in zip(CENTRE[::-1], SPACING))
        rows.append("\t".join([f"case{case}", *cells, str(case % 2), point]))
    (folder / "table.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "table.tsv"


class Observer:
    """The observer.

    Args:
        looks: of the images it trains with; it does not know which one it reads.
        internal: its own noise, in units of the spread of its decision variable.
        seed: of its noise; all observers train with the same images.
    """

    def __init__(self, looks: dict[str, Look], internal: float = 0.5, seed: int = 0):
        self._rng, training = np.random.default_rng(seed), np.random.default_rng(0)
        seen = {
            t: np.array([self._channels(draw(look, t, training)) for look in looks.values() for _ in range(100)])
            for t in (False, True)
        }
        spread = (np.cov(seen[False].T) + np.cov(seen[True].T)) / 2
        self._template = np.linalg.solve(spread, seen[True].mean(axis=0) - seen[False].mean(axis=0))
        values = np.concatenate([seen[t] @ self._template for t in seen])
        self._internal = internal * values.std()
        self._edges = np.quantile(values, (0.2, 0.4, 0.6, 0.8))

    def rate(self, image: np.ndarray) -> int:
        """The confidence that there is a lesion, 1 to 5."""
        value = self._channels(image) @ self._template + self._rng.normal(0, self._internal)
        return int(np.digitize(value, self._edges)) + 1

    def read(self, folder: Path, study: Study, reader: str) -> Path:
        """Read a whole study through a session and return the answers file."""
        session = Session(study, reader, folder / answers_name(reader), "model observer")
        while session.trial is not None:
            image = sitk.ReadImage(str(folder / IMAGES / session.trial.images[0]))
            index = image.TransformPhysicalPointToIndex(session.trial.centre)
            assert index == CENTRE[::-1]
            session.record({"lesion": self.rate(sitk.GetArrayFromImage(image))}, 1.0, BEGIN)
        return session.path

    def _channels(self, image: np.ndarray) -> np.ndarray:
        return np.array([(channel * image).sum() for channel in _CHANNELS])


def _gaussian(width: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(SHAPE, CENTRE)), indexing="ij")
    return np.exp(-sum(axis**2 for axis in axes) / (2 * width**2))


def _normal(width: float) -> np.ndarray:
    found = _gaussian(width)
    return found / found.sum()


_CHANNELS = [_normal(narrow) - _normal(1.6 * narrow) for narrow in WIDTHS]
