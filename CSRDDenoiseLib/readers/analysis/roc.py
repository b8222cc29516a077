"""Areas under empirical ROC curves of many readers and methods, and their covariance over cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Areas:
    """Areas (T, R) of methods and readers and their covariance (T * R, T * R) from drawing other cases."""

    area: np.ndarray
    covariance: np.ndarray


def areas(ratings: np.ndarray, lesion: np.ndarray) -> Areas:
    """Return the areas of ratings, ties counted as halves, with the jackknife covariance over cases.

    Args:
        ratings: (T, R, C) of methods, readers and cases, higher where a lesion seems more likely.
        lesion: boolean (C,), both values at least twice.
    """
    methods, readers, _ = ratings.shape
    flat = ratings.reshape(methods * readers, -1)
    with_lesion, without = flat[:, lesion], flat[:, ~lesion]
    difference = with_lesion[:, :, None] - without[:, None, :]
    better = (difference > 0) + 0.5 * (difference == 0)
    area = better.mean(axis=(1, 2))
    n1, n0 = with_lesion.shape[1], without.shape[1]
    # the area without a case, from the share of that case in it (DeLong's structural components)
    left_out = np.concatenate(
        [
            (n1 * area[:, None] - better.mean(axis=2)) / (n1 - 1),
            (n0 * area[:, None] - better.mean(axis=1)) / (n0 - 1),
        ],
        axis=1,
    )
    spread = left_out - left_out.mean(axis=1, keepdims=True)
    n = n1 + n0
    return Areas(area.reshape(methods, readers), (n - 1) / n * spread @ spread.T)
