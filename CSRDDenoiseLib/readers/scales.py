"""The questions a study can ask, as data."""

from __future__ import annotations

from typing import Sequence

from ..errors import InputError
from .study import PREFERENCE, Scale

LESION, PREFERENCE_SCALE = "lesion", "preference"
LEFT, RIGHT, SAME = 1, 2, 3
BETTER_FOR_QUALITY = "Which image has the better quality?"
RATINGS = {
    scale.name: scale
    for scale in (
        Scale("noise", "How disturbing is the noise?", ("unacceptable", "strong", "moderate", "slight", "none")),
        Scale("sharpness", "How sharp are structures?", ("very blurred", "blurred", "fair", "sharp", "very sharp")),
        Scale("artefacts", "How disturbing are artefacts?", ("unacceptable", "strong", "moderate", "slight", "none")),
        Scale("confidence", "How sure would your diagnosis be?", ("not at all", "little", "fairly", "quite", "very")),
        Scale(
            LESION,
            "Is there a lesion?",
            ("definitely not", "probably not", "undecided", "probably", "definitely"),
        ),
    )
}
"""Five-point scales, worst first; ``lesion`` is the confidence that there is one, for ROC analysis."""

DEFAULT_RATINGS = ("noise", "sharpness", "artefacts", "confidence")


def scales_of(kind: str, names: Sequence[str] = (), question: str = "", ties: bool = False) -> tuple[Scale, ...]:
    """Return the questions of a study.

    Args:
        kind: of the study.
        names: rating scales, keys of :data:`RATINGS`; empty means :data:`DEFAULT_RATINGS`.
        question: of a two-alternative study; empty means that for image quality.
        ties: whether "no difference" is a choice there.

    Raises:
        InputError: a scale is not known, or belongs to the other kind.
    """
    if kind == PREFERENCE:
        if names:
            raise InputError(f"A two-alternative study asks one question; scales ({', '.join(names)}) are for ratings.")
        labels = ("left", "right", "no difference") if ties else ("left", "right")
        return (Scale(PREFERENCE_SCALE, question or BETTER_FOR_QUALITY, labels),)
    if question:
        raise InputError("A rating study asks the questions of its scales; a question of your own is for pairs.")
    unknown = [name for name in names if name not in RATINGS]
    if unknown:
        raise InputError(f"There is no scale '{unknown[0]}'; the scales are {', '.join(RATINGS)}.")
    return tuple(RATINGS[name] for name in names or DEFAULT_RATINGS)
