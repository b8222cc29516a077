"""Is the PET, or the MR, a label map?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, warning
from ..io.volume import UNKNOWN
from ..scan import neighbours

MANY_VALUES, MOST_VALUES, FEWEST_CLASSES = 12, 1000, 4
EQUAL_NEIGHBOURS, JUMPS = 0.5, 0.35


def check_label_map(values: np.ndarray, unit: str = UNKNOWN, what: str = "PET") -> tuple[Finding, ...]:
    """Look for labels in place of a PET or an MR as it was read, (D, H, W); ``unit`` is the file's, or "unknown".

    A label map has no unit and no negative value, all its values are whole numbers, and there are many of them, or they
    are tissue classes numbered 1, 2, 3, 4 and so on. Neighbours are mostly equal, and where they differ, other values
    often lie between theirs. The limits were chosen on the bundled example, on pairs of neighbours that are not both
    zero: in its label map at 1 to 4 mm 56 to 86 % are equal, and 73 to 76 % of the others jump over a value; in five
    tissue classes 74 and 45 %. PETs rounded to whole numbers exceed one limit at most: with 3 to 20 levels 67 to 94 %
    are equal and 0 to 9 % of the others jump, with 50 levels 44 to 54 % and 23 to 33 %, and with 0.3 to 10 counts a
    voxel at most 16 % are equal. A phantom of a few uptakes, such as 25 and 100, has too few values; a PET whose voxels
    were repeated to make them smaller has too many. Masks are missed, and nested classes (air, CSF, grey and white
    matter as 0 to 3), which a PET rounded to few levels resembles. Measured afterwards: no false alarm on 80 real T1
    (as stored, with 32 and 256 levels, skull-stripped); all of 100 label maps of heads are found.
    """
    if unit != UNKNOWN or values.min() < 0 or (values != np.floor(values)).any():
        return ()
    pairs = sum(int(np.count_nonzero((one != 0) | (other != 0))) for one, other in neighbours(values))
    equal = 1 - sum(int(np.count_nonzero(one != other)) for one, other in neighbours(values)) / max(pairs, 1)
    if not pairs or equal < EQUAL_NEIGHBOURS:
        return ()
    differing = np.concatenate([_differing(one, other) for one, other in neighbours(values)], axis=1)
    levels = np.unique(values)
    ranks = np.searchsorted(levels, differing)
    jumps = float(np.mean(np.abs(ranks[0] - ranks[1]) > 1)) if differing.size else 0.0
    labels = levels[levels > 0]
    are_classes = labels.size >= FEWEST_CLASSES and labels[-1] == labels.size
    if jumps < JUMPS or not (are_classes or MANY_VALUES <= labels.size <= MOST_VALUES):
        return ()
    shares = {"equal": round(equal, 3), "jumps": round(jumps, 3)}
    return (warning("label_map.likely", what=what, count=int(labels.size), largest=int(labels[-1]), **shares),)


def _differing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the pairs whose values differ, (2, n)."""
    differ = one != other
    return np.array([one[differ], other[differ]])
