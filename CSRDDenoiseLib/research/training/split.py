"""Which subject is for what: decided once, written down, never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Sequence

import numpy as np

PARTS = ("train", "validation", "test")


def load_or_make_split(path: Path, subjects: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Return the split recorded at ``path``, or draw one by subject and record it.

    Each source (the part of a name before the slash) is split with the same shares.

    Args:
        path: JSON file of the split.
        subjects: names to divide.
        shares: of training, validation and test.
        seed: of the draw.
    """
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    rng = np.random.default_rng(seed)
    split: dict[str, list[str]] = {part: [] for part in PARTS}
    for source in sorted({name.split("/")[0] for name in subjects}):
        names = sorted(name for name in subjects if name.split("/")[0] == source)
        rng.shuffle(names)
        ends = np.round(np.cumsum(shares) / sum(shares) * len(names)).astype(int)
        for part, start, end in zip(PARTS, (0, *ends), ends):
            split[part] += names[start:end]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(split, indent=2) + "\n")
    return split
