"""Was the PET masked: is it exactly zero where air, skull or face would be?"""

from __future__ import annotations

import numpy as np

from ..findings import Finding, info

LEAST_SHARE = 0.05


def check_masked(zeros: np.ndarray) -> tuple[Finding, ...]:
    """Report the share of a PET (boolean (D, H, W)) that a mask set to zero, where it is more than a rim."""
    share = float(zeros.mean())
    return (info("masked.zeros", share=round(share, 3)),) if share > LEAST_SHARE else ()
