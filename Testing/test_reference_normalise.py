"""The published model's normalisation, alone and through the whole job."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from published_snapshots import plain_bytes, published_network, snapshot_of, wrapped

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.snapshot import import_snapshot
from CSRDDenoiseLib.prepare.reference_scheme import grid_lines, reference_range
from CSRDDenoiseLib.prepare.scheme import SCHEMES, make_condition
from CSRDDenoiseLib.scan import Scan, spread_positions
from CSRDDenoiseLib.settings import DenoiseSettings


def test_pet_runs_from_minimum_to_maximum():
    pet = np.array([-2.0, 0.0, 8.0])
    assert reference_range(pet) == (-2.0, 10.0)
    low, extent = reference_range(np.zeros(3))
    assert low == 0 and extent > 0


def reference_mr(mr):
    pet = np.zeros((40, 40, 40), np.float32)
    pet[10:30, 10:30, 10:30] = 1
    return SCHEMES["reference"].measure(scan(pet), mr).network_mr(mr)


def test_mr_runs_from_minimum_to_99th_percentile():
    mr = np.arange(1000.0).reshape(10, 10, 10) + 50
    scaled = reference_mr(mr)
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert np.mean(scaled == 1) == pytest.approx(0.01)
    assert scaled.ravel()[500] == pytest.approx(500 / (999 * 0.99))
    assert not reference_mr(np.full((2, 2, 2), 7.0)).any()


def test_positions_run_over_160_voxels_with_the_volume_in_the_middle():
    x, y, z = spread_positions(grid_lines((160, 4, 6)))
    assert (z[0, 0, 0], z[-1, 0, 0]) == (-1.0, 1.0)
    assert y[0, 0, 0] == pytest.approx(2 * 78 / 159 - 1)
    assert x[0, 0, 0] == pytest.approx(2 * 77 / 159 - 1)
    assert grid_lines((2, 2, 200))[2].min() < -1
    for axis, channel in enumerate((z, y, x)):
        steps = np.diff(channel, axis=axis)
        np.testing.assert_allclose(steps, 2 / 159, rtol=1e-3)


def scan(array: np.ndarray) -> Scan:
    return Scan.of_array(array, (2.0, 2.0, 2.0))


def test_condition_scales_residuals_by_the_extent_of_the_pet(pet):
    array = sitk.GetArrayFromImage(pet) - 100.0
    condition = make_condition("reference", scan(array), array**2)
    assert condition.scale == pytest.approx(array.max() - array.min())
    assert (condition.channels[1].min(), condition.channels[1].max()) == (0.0, 1.0)
    scaled = make_condition("reference", scan(1000 * array), array**2)
    np.testing.assert_allclose(scaled.channels, condition.channels, atol=1e-6)
    assert not make_condition("reference", scan(array), None).channels[0].any()


def test_an_imported_snapshot_denoises(tmp_path, pet, mr):
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(plain_bytes(snapshot_of(wrapped(published_network()))))
    import_snapshot(path, tmp_path / "authors", "authors", 2.0)
    settings = DenoiseSettings(sampler="heun", steps=2, samples=1, device="cpu")
    result = denoise(pet, mr, settings, tmp_path / "authors")
    assert result.provenance["model"]["normalisation"] == "reference"
    assert np.isfinite(sitk.GetArrayViewFromImage(result.denoised)).all()
    assert sitk.GetArrayViewFromImage(result.difference).any()
    with pytest.raises(InputError, match="needs an MR"):
        denoise(pet, None, settings, tmp_path / "authors")
