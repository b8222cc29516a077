"""Grids: the nearest one to an affine with a shear, the same place, distances of corners, boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CSRDDenoiseLib.io.grid import RAS_FROM_LPS, Grid, disagreement_mm, same_place

SIZE = (11, 21, 31)
TURNED = np.array([[0.0, -2.0, 0.0, 5.0], [1.5, 0.0, 0.0, -7.0], [0.0, 0.0, 3.0, 11.0], [0.0, 0.0, 0.0, 1.0]])
GRID = Grid.from_affine(SIZE, TURNED)


def in_ras(grid: Grid, *index: float) -> np.ndarray:
    return (RAS_FROM_LPS @ [*grid.point(index), 1.0])[:3]


def test_an_affine_without_shear_keeps_every_place():
    assert GRID.spacing == pytest.approx((1.5, 2.0, 3.0))
    for index in ((0, 0, 0), (10, 20, 30), (3, 17, 1)):
        np.testing.assert_allclose(in_ras(GRID, *index), (TURNED @ [*index, 1.0])[:3], atol=1e-9)


def test_what_a_shear_loses_is_spread_evenly_about_the_centre():
    sheared = TURNED.copy()
    sheared[0, 0] = 0.05
    grid = Grid.from_affine(SIZE, sheared)
    axes = np.reshape(grid.direction, (3, 3))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(in_ras(grid, 5, 10, 15), (sheared @ [5, 10, 15, 1.0])[:3], atol=1e-9)
    lost = [np.linalg.norm(in_ras(grid, *end) - (sheared @ [*end, 1.0])[:3]) for end in ((0, 0, 0), (10, 20, 30))]
    assert lost[0] == pytest.approx(lost[1]) and 0.05 < lost[0] < 1.0


def test_the_same_place_is_one_but_for_rounding():
    x, y, z = GRID.origin
    assert same_place(GRID, replace(GRID, origin=(x, y + 0.0014, z)))
    assert not same_place(GRID, replace(GRID, origin=(x, y + 0.0016, z)))
    assert not same_place(GRID, replace(GRID, size=(11, 21, 30)))


def test_affines_disagree_by_the_distance_of_their_furthest_corners():
    longer = TURNED.copy()
    longer[:3, 2] *= 1.01
    assert disagreement_mm(SIZE, TURNED, longer) == pytest.approx(0.03 * 30)
    moved = TURNED.copy()
    moved[:3, 3] += (3, 0, 4)
    assert disagreement_mm(SIZE, TURNED, moved) == pytest.approx(5.0)


def test_a_box_holds_the_voxels_whose_centres_lie_inside():
    box = (slice(4, 20), slice(0, 21), slice(2, 5))
    assert GRID.box_around(GRID.crop(box)) == box
    beyond = replace(GRID, size=(30, 40, 50))
    assert GRID.box_around(beyond) == (slice(0, 31), slice(0, 21), slice(0, 11))
