"""Did the output lose structure of the size of lesions?"""

from __future__ import annotations

from ..findings import Finding, info, warning
from ..scan import smooth
from .pair import Output

LOST_LIMIT = 0.25
_STRUCTURE_MM = (5.0, 12.0)


def check_lost_structure(output: Output) -> Finding:
    """Judge the share that is lost."""
    share = lost_structure(output)
    if share <= LOST_LIMIT:
        return info("lost_structure.none", share=round(share, 3))
    return warning("lost_structure.found", share=round(share, 3), limit=LOST_LIMIT)


def lost_structure(output: Output) -> float:
    """Share of the structure of 5 to 12 mm that the output lacks, 0 to 1.

    The regression of what was taken away on the output in that band: 0 for an output that what was taken away is
    independent of, as for the full dose; (1 - g) / g where the band is damped by a factor g.
    """
    scan, brain = output.scan, output.scan.brain
    # brain voxels only, taken at once: at whole-body size every volume kept is another half gigabyte
    fine, coarse = (smooth(output.denoised, scan.spacing, width)[brain] for width in _STRUCTURE_MM)
    kept, taken = fine - coarse, output.pet[brain] - output.denoised[brain]
    energy = float(kept @ kept)
    slope = max(float(taken @ kept) / energy, 0.0) if energy > 0 else 0.0
    return slope / (1 + slope)
