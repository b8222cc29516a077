"""Grids: the nearest one to an affine with a shear, the same place, distances of corners, boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from CSRDDenoiseLib.io.grid import RAS_FROM_LPS, Grid, corners_apart_mm, disagreement_mm, same_lattice, same_place

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


def test_one_lattice_is_cut_extended_or_stored_another_way():
    part = GRID.crop((slice(4, 20), slice(0, 21), slice(2, 5)))
    assert same_lattice(GRID, part) and same_lattice(part, GRID)
    end = tuple(GRID.point((10, 0, 0)).tolist())
    turned = np.reshape(GRID.direction, (3, 3)) @ np.diag([-1, 1, 1])
    assert same_lattice(GRID, replace(GRID, origin=end, direction=tuple(turned.ravel().tolist())))
    x, y, z = part.origin
    assert same_lattice(GRID, replace(part, origin=(x, y + 0.001, z)))
    assert not same_lattice(GRID, replace(part, origin=(x, y + 0.01, z)))
    # corners on voxels of the other, and none between: every second voxel; 10 steps of 1.1
    assert not same_lattice(GRID, replace(GRID, spacing=(3.0, 2.0, 3.0)))
    assert not same_lattice(GRID, replace(GRID, spacing=(1.65, 2.0, 3.0)))
    assert corners_apart_mm(GRID, replace(GRID, origin=(x, y, z + 3.0), size=GRID.size)) > 0
    assert str(GRID) == "11 x 21 x 31 voxels of 1.5 x 2 x 3 mm"


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
