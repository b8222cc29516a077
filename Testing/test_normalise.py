"""The head in the PET: what saves memory must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CSRDDenoiseLib import scan as normalise
from CSRDDenoiseLib.scan import _grow, head_lines, spread_positions


@pytest.mark.parametrize("seed", range(6))
def test_a_margin_is_what_the_distance_over_the_whole_volume_gives(seed, monkeypatch):
    monkeypatch.setattr(normalise, "_SLAB", 1 + 3 * seed)
    random = np.random.default_rng(seed)
    mask = np.zeros((30, 34, 28), bool)
    mask[tuple(slice(first, first + length) for first, length in zip(random.integers(0, 26, 3), (3, 9, 1)))] = True
    spacing, margin = random.uniform(1, 4, 3), random.uniform(1, 14)
    expected = ndimage.distance_transform_edt(~mask, sampling=spacing) <= margin
    np.testing.assert_array_equal(_grow(mask, spacing, margin), expected)


def test_positions_go_from_minus_one_to_one_across_the_head():
    x, y, z = spread_positions(head_lines((10, 12, 14), (slice(2, 9), slice(0, 12), slice(3, 6))))
    assert (z[2, 5, 5], z[8, 0, 0]) == (-1, 1)
    assert (y[0, 0, 0], y[0, 11, 0]) == (-1, 1)
    assert (x[0, 0, 3], x[9, 9, 5]) == (-1, 1)
