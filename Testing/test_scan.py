"""A scan works out head, brain mean, smoothed volume and noise once; everything that needs them shares it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import SPACING, head_array
from scipy import ndimage

from CSRDDenoiseLib import scan as scans
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.infer.extent import head_voxels
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.scan import FWHM_PER_SIGMA, HEAD_SMOOTHING_MM, Scan, find_head, noise_level, smooth
from CSRDDenoiseLib.settings import DenoiseSettings

SAMPLE = Path(__file__).parents[1] / "CSRDDenoise" / "Resources" / "SampleData"
LEAK, STRIATUM = (57, 6, 45), (52, 55, 52)


def scan(array: np.ndarray) -> Scan:
    return Scan.of_array(array, SPACING)


def test_facts_are_those_of_the_functions():
    array = np.pad(head_array(), 6)
    one, head = scan(array), find_head(array, SPACING)
    assert one.brain_mean == head.brain_mean and np.array_equal(one.head.mask, head.mask)
    np.testing.assert_allclose(one.smoothed, smooth(array / head.brain_mean, SPACING, HEAD_SMOOTHING_MM), rtol=1e-4)
    assert one.noise_level == pytest.approx(noise_level(array / head.brain_mean, head.mask, SPACING), rel=1e-4)
    assert one.core.sum() < one.brain.sum() < one.head.mask.sum()


def test_cropping_keeps_what_is_known():
    whole = scan(np.pad(head_array(), 12))
    names = ("relative", "smoothed", "brain", "core")
    box, before = whole.head.box, [getattr(whole, name) for name in names]
    level, part = whole.noise_level, whole.cropped()
    for name, array in zip(names, before):
        np.testing.assert_array_equal(getattr(part, name), array[box])
    assert part.noise_level == level and part.brain_mean == whole.brain_mean
    assert part.grid.point((0, 0, 0)) == pytest.approx(whole.grid.point([side.start for side in box[::-1]]))


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_units_do_not_matter(factor):
    one, other = scan(head_array()), scan((head_array() * factor).astype(np.float32))
    assert other.noise_level == pytest.approx(one.noise_level, rel=1e-3)
    assert other.brain_mean == pytest.approx(factor * one.brain_mean, rel=1e-3)


def test_nothing_that_stands_out_is_no_head():
    with pytest.raises(InputError, match="No head"):
        _ = scan(np.zeros((8, 8, 8), np.float32)).head


def test_a_run_smooths_the_pet_by_8_mm_once(pet, mr, model_folder, monkeypatch):
    array, count = sitk.GetArrayFromImage(pet), 0
    sigma = HEAD_SMOOTHING_MM / FWHM_PER_SIGMA / SPACING[0]

    def counted(volume, width, **options):
        nonlocal count
        if width == pytest.approx([sigma] * 3) and _looks_like(volume, array):
            count += 1
        return ndimage.gaussian_filter(volume, width, **options)

    class Counting:
        def __getattr__(self, name):
            return counted if name == "gaussian_filter" else getattr(ndimage, name)

    monkeypatch.setattr(scans, "ndimage", Counting())
    settings = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32")
    denoise(pet, mr, settings, load_model(model_folder))
    assert count == 1


def _looks_like(volume: np.ndarray, pet: np.ndarray) -> bool:
    """Whether a volume is the PET, or its head's box, in another unit."""
    if volume.dtype == bool or volume.ndim != 3 or not np.std(volume) > 0:
        return False
    for first in np.ndindex(*(1 + whole - part for whole, part in zip(pet.shape, volume.shape))):
        part = pet[tuple(slice(start, start + side) for start, side in zip(first, volume.shape))]
        if abs(np.corrcoef(part.ravel(), volume.ravel())[0, 1]) > 0.9999:
            return True
    return False


def in_wide_field(inner: np.ndarray, side_mm: float) -> np.ndarray:
    """An array of cubes of that side in the middle of a field of 300 x 700 x 700 mm of zeros."""
    missing = [round(mm / side_mm) - size for mm, size in zip((300, 700, 700), inner.shape)]
    return np.pad(inner, [(each // 2, each - each // 2) for each in missing])


def head_and_wide_field(side_mm: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A head with scalp, and in a wide field whose air holds a share of the brain mean."""
    inner = np.pad(head_array(), 4)
    brain = ndimage.binary_closing(inner > 0, iterations=2)
    inner[ndimage.binary_dilation(brain, iterations=2) & ~brain] = 1500
    wide = in_wide_field(inner, side_mm)
    noise = np.abs(np.random.default_rng(0).standard_normal(wide.shape))
    # as a reconstruction without negative values leaves it
    return inner, np.where(wide > 0, wide, noise * share * 5000 / noise.mean()).astype(np.float32)


@pytest.mark.parametrize("share", [0.02, 0.04, 0.06])
def test_air_of_a_wide_field_of_view_is_no_head(share):
    side = 6.0
    inner, wide = head_and_wide_field(side, share)
    alone, there = (Scan.of_array(array, (side,) * 3) for array in (inner, wide))
    assert there.brain_mean == pytest.approx(alone.brain_mean, rel=0.01)
    assert there.noise_level == pytest.approx(alone.noise_level, rel=0.05)
    assert there.head.mask.sum() < 1.5 * alone.head.mask.sum()


@pytest.mark.parametrize("share", [0.02, 0.04, 0.06])
def test_the_extent_of_a_head_in_a_wide_field_of_view_leaves_its_air_out(share):
    side = 6.0
    inner, wide = head_and_wide_field(side, share)
    alone, there = (head_voxels(array, (side,) * 3, 2.0) for array in (inner, wide))
    assert there == pytest.approx(alone, rel=0.35)


@pytest.mark.parametrize("stored", [np.int16, np.uint16, np.uint8])
def test_the_extent_of_a_head_is_the_same_in_any_type_of_voxels(stored):
    """Two neighbours together exceed what the type holds."""
    array = np.pad(head_array((40, 44, 42)), 12)
    values = np.where(array > array.mean(), 0.7 * np.iinfo(stored).max, 0).astype(stored)
    sides = (4.0, 4.0, 4.0)
    assert head_voxels(values, sides, 2.0) == head_voxels(values.astype(np.float32), sides, 2.0)


def test_a_small_brain_in_a_wide_empty_field_of_view_is_found():
    side, inner = 5.0, head_array()
    inner = np.pad(np.where(ndimage.binary_closing(inner > 0, iterations=2), inner, 0), 4)
    alone, there = (find_head(array, (side,) * 3) for array in (inner, in_wide_field(inner, side)))
    assert there is not None and there.brain_mean == pytest.approx(alone.brain_mean, rel=0.01)
    assert there.mask.sum() == pytest.approx(alone.mask.sum(), rel=0.1)


def with_spot(factor: float, radius_mm: float, place: tuple[int, int, int]) -> Scan:
    """The bundled example with a spot that is a factor brighter than its brain."""
    image = sitk.ReadImage(str(SAMPLE / "low_dose_1_10.nii.gz"), sitk.sitkFloat32)
    values, sides = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    apart = sum((side * (axis - at)) ** 2 for axis, side, at in zip(np.indices(values.shape), sides, place))
    values[apart < radius_mm**2] = factor * 6700.0
    return Scan.of_array(values, sides)


@pytest.mark.slow
def test_a_leak_on_the_skin_is_no_brain():
    """11 mL of 200 times the brain, at the forehead."""
    usual, leak = with_spot(1.0, 14.0, LEAK), with_spot(200.0, 14.0, LEAK)
    assert leak.brain_mean < 1.25 * usual.brain_mean
    assert leak.noise_level == pytest.approx(usual.noise_level, rel=0.25)
    assert leak.brain.sum() > 0.9 * usual.brain.sum()


@pytest.mark.slow
def test_a_hot_striatum_is_brain(monkeypatch):
    hot = with_spot(6.0, 14.0, STRIATUM).brain_mean
    monkeypatch.setattr(scans, "HOTTEST_BRAIN", np.inf)
    assert hot == with_spot(6.0, 14.0, STRIATUM).brain_mean
