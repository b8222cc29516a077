"""Geometry: the model's grid follows the PET, and values stay at their place in space."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation

from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.prepare.align import model_grid, to_grid_of, to_model_grid


def ramp(image: sitk.Image) -> sitk.Image:
    """The image's grid filled with a linear function of the physical point."""
    points = [sitk.PhysicalPointSource(sitk.sitkVectorFloat64, *_of(image))]
    return sum(sitk.VectorIndexSelectionCast(points[0], i) * weight for i, weight in enumerate((1.0, -2.0, 3.0)))


def _of(image: sitk.Image) -> tuple:
    return image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()


def ramp_at(grid: Grid) -> np.ndarray:
    return sitk.GetArrayFromImage(ramp(grid.image(np.zeros(grid.size[::-1], np.float32))))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAI", "RIA", "SPL", "AIR", "PLI"])
def test_axes_in_any_order_give_the_same_array(axes):
    upright = as_image(head_array())
    turned = sitk.DICOMOrient(upright, axes)
    aligned = to_model_grid(turned, turned, 2.0)
    assert aligned.grid == Grid.of(upright)
    np.testing.assert_array_equal(aligned.pet, sitk.GetArrayFromImage(upright))
    np.testing.assert_allclose(aligned.mr, sitk.GetArrayFromImage(upright), rtol=1e-6, atol=1e-6)


def test_an_image_goes_to_another_grid_alike_whatever_the_order_of_its_axes():
    """Its voxels are large along one axis alone, so the low-pass differs between the axes."""
    fine = as_image(np.random.default_rng(0).normal(1, 0.1, (12, 24, 24)).astype(np.float32), (1.0, 1.0, 4.0))
    like = as_image(np.zeros((10, 12, 12), np.float32), (2.0, 2.0, 4.0))
    wanted = sitk.GetArrayFromImage(to_grid_of(fine, like))
    for axes in ("SPL", "AIR"):
        found = sitk.GetArrayFromImage(to_grid_of(sitk.DICOMOrient(fine, axes), like))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    same = to_grid_of(like, as_image(np.ones((10, 12, 12), np.float32), (2.0, 2.0, 4.0)))
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(same), sitk.GetArrayViewFromImage(like))


def test_an_image_goes_to_a_grid_that_is_oblique_by_45_degrees_alike_on_both_sides_of_them():
    """At 45 degrees the axes exchange their names, and the two sides of a voxel here differ by a factor of 3."""

    def found(degrees: float) -> np.ndarray:
        fine = as_image(values, (1.0, 1.0, 1.0), direction=rotation(45.2, upwards))
        like = as_image(coarse, (2.0, 6.0, 2.0), direction=rotation(degrees, upwards))
        return sitk.GetArrayFromImage(to_grid_of(fine, like))

    upwards = (0.0, 0.0, 1.0)
    values = np.random.default_rng(0).normal(1, 0.1, (24, 24, 24)).astype(np.float32)
    coarse = np.zeros((10, 3, 10), np.float32)
    np.testing.assert_allclose(found(44.99), found(45.01), atol=0.005)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 2.6, 4.1), (2.05, 1.2, 2.0), (0.7, 5.0, 2.0)])
@pytest.mark.parametrize("degrees", [0, 25])
def test_values_stay_at_their_place_in_space(spacing, degrees):
    image = ramp(as_image(head_array((20, 24, 22)), spacing, direction=rotation(degrees)))
    aligned = to_model_grid(image, image, 2.0)
    inner = (slice(9, -9),) * 3
    expected = ramp_at(aligned.grid)
    np.testing.assert_allclose(aligned.pet[inner], expected[inner], atol=0.05)
    np.testing.assert_allclose(aligned.mr[inner], expected[inner], atol=0.05)


def test_oblique_mr_follows_in_physical_space():
    pet = as_image(head_array())
    mr = ramp(as_image(np.zeros((60, 60, 60), np.float32), (1.5, 1.4, 1.3), (-30, 0, -10), rotation(15, (0, 0, 1))))
    aligned = to_model_grid(pet, mr, 2.0)
    inside = aligned.covered & np.roll(aligned.covered, 3, 0) & np.roll(aligned.covered, -3, 2)
    assert inside.mean() > 0.5
    error = np.abs(aligned.mr - ramp_at(aligned.grid))[inside]
    assert np.quantile(error, 0.9) < 0.05
    assert (aligned.mr[~aligned.covered] == 0).all()


@pytest.mark.parametrize("size", [(7, 30, 31), (16, 16, 16)])
@pytest.mark.parametrize("spacing", [0.5, 1.3, 1.91, 2.0, 2.09, 3.3])
def test_model_grid_covers_the_pet_about_the_same_centre(size, spacing):
    grid = Grid(size, (spacing,) * 3, (3.0, -4.0, 5.0), rotation(30))
    found = model_grid(grid, 2.0)
    np.testing.assert_allclose(found.corners().mean(0), grid.corners().mean(0), atol=1e-9)
    extent = np.array(found.size) * found.spacing
    assert (extent >= np.array(size) * spacing - 1e-6).all()
    assert (extent < np.array(size) * spacing + np.array(found.spacing)).all()


def test_grid_within_five_percent_is_kept_to_the_bit():
    pet = as_image(head_array(), (2.09, 1.92, 2.0))
    aligned = to_model_grid(pet, None, 2.0)
    assert aligned.grid == Grid.of(pet)
    np.testing.assert_array_equal(aligned.pet, sitk.GetArrayFromImage(pet))


def test_coarser_voxels_are_filtered_not_picked():
    checkers = np.indices((40, 40, 40)).sum(0) % 2 * 2.0 - 1
    aligned = to_model_grid(as_image(checkers.astype(np.float32), (1.0, 1.0, 1.0)), None, 2.0)
    assert np.abs(aligned.pet[4:-4, 4:-4, 4:-4]).max() < 0.05


def test_box_around_is_where_voxel_centres_lie_inside():
    coarse = Grid((10, 12, 14), (2.0, 2.0, 2.0), (1.0, 2.0, 3.0), rotation(10))
    part = coarse.crop((slice(3, 9), slice(2, 8), slice(1, 7)))
    assert coarse.box_around(part) == (slice(3, 9), slice(2, 8), slice(1, 7))
    fine = model_grid(coarse, 1.0)
    assert [s.stop - s.start for s in fine.box_around(part)] == [12, 12, 12]
