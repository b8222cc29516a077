"""Low doses made of full doses: noise of the right spectrum and amount, and a setting of the simulator like it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pair_folder import NOISE, write, write_rows, write_subject
from scipy import ndimage
from study_folder import SCALE, SPACING

from CSRDDenoiseLib.checks.counts import count_noise, share_of_counts
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.likeness import learn, texture
from CSRDDenoiseLib.research.likeness.learn import ScanNoise, combine, learn_scan
from CSRDDenoiseLib.research.likeness.low_dose import make_low_dose
from CSRDDenoiseLib.research.likeness.prior import fit_prior
from CSRDDenoiseLib.research.likeness.setting import find_setting
from CSRDDenoiseLib.research.likeness.spectrum import band_powers
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.subjects.table import read_table

CUBE = (SPACING,) * 3


def scan_of(values: np.ndarray) -> Scan:
    return Scan.of_array(values, CUBE)


def noise_of(clean: np.ndarray, rng: np.random.Generator, blur: float) -> np.ndarray:
    """Noise of a full dose: variance as the activity, a spectrum of its own."""
    white = ndimage.gaussian_filter(rng.standard_normal(clean.shape), blur)
    return NOISE * SCALE * np.sqrt(clean / SCALE) * white / white.std()


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> np.ndarray:
    folder = write_subject(tmp_path_factory.mktemp("subject"), "A")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "noise_free.nii.gz"))).astype(float)


def image_of(values: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(values, np.float32))
    image.SetSpacing(CUBE)
    return image


@pytest.mark.parametrize(("blur", "fraction"), [(0.0, 0.25), (0.8, 0.1)])
def test_made_low_doses_have_the_noise_of_known_ones(truth, blur, fraction):
    rng = np.random.default_rng(1)
    parts = [noise_of(truth, rng, blur) for _ in range(3)]
    full = truth + (parts[0] + parts[1]) / 2**0.5
    halves = tuple(image_of(truth + 2**0.5 * part) for part in parts[:2])
    noise = learn_scan(image_of(full), None, None, halves)
    known = full + (1 / fraction - 1) ** 0.5 * parts[2]
    made = make_low_dose(full, noise, fraction, seed=3)
    ratio = np.sqrt(band_powers(scan_of(full), made - full) / band_powers(scan_of(full), known - full))
    assert np.abs(ratio - 1).max() < 0.15
    ours, theirs = (count_noise(scan_of(low), SPACING) for low in (made, known))
    assert 1 / 1.25 < share_of_counts(ours, theirs) < 1.25, "the dose that the noise shows"


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_how_noise_goes_with_activity_is_found(exponent):
    axes = np.stack(np.meshgrid(*[np.arange(36) - 17.5] * 3, indexing="ij"))
    activity = np.where(np.linalg.norm(axes, axis=0) < 16, 1 + 0.7 * axes[2] / 16, 0.0)
    noise = 0.05 * activity ** (exponent / 2) * np.random.default_rng(0).standard_normal(activity.shape)
    found = learn.activity_exponent(scan_of(activity + noise), noise, noise)
    assert found == pytest.approx(exponent, abs=0.3)


@pytest.mark.slow
def test_noise_is_separated_from_structure_by_a_conditional_mean(truth, monkeypatch):
    rng = np.random.default_rng(2)
    own = noise_of(truth, rng, 0.0)
    full = truth + own
    monkeypatch.setattr(learn, "_estimate", lambda pet, mr, model: truth)
    own_cells = np.log(texture.noise_by_cell(scan_of(full), own))
    spectra = [own_cells + rng.normal(0, 0.3) + rng.normal(0, 0.1, texture.CELLS) for _ in range(30)]
    noise = learn_scan(image_of(full), None, object(), prior=fit_prior({"plain": spectra}))
    # the coarsest band has too few coefficients in so small a head
    np.testing.assert_allclose(noise.powers[1:], band_powers(scan_of(full), own)[1:], rtol=0.25)
    assert all(noise.measured[-3:])


def test_coarse_noise_follows_from_what_is_fine_along_the_axis():
    """The ramp in the plane is seen where the frequency along the axis is high, and holds where it is low."""
    rng, ramp = np.random.default_rng(0), np.array(texture.CENTRES)

    def cells(level: float, slope: float, filtered: float) -> np.ndarray:
        axial, plane = ramp[:, None], ramp
        return (level + slope * np.log(plane) - filtered * (axial**2 + plane**2)).ravel()

    prior = fit_prior({"plain": [cells(*rng.uniform((-5, 0, 0), (-2, 1.5, 40))) for _ in range(60)]})
    wanted = cells(-3.0, 1.0, 20.0)
    errors = np.full((7, 7), np.inf)
    errors[5:] = 0.1
    logs = np.where(np.isfinite(errors.ravel()), wanted, 99.0)
    np.testing.assert_allclose(prior.complete(logs, errors.ravel()), wanted, atol=0.15)


def test_the_kind_of_reconstruction_is_the_one_that_was_measured():
    rng, slope = np.random.default_rng(1), np.linspace(0, 1, 8)
    kinds = {
        name: [rng.normal(0, 1) + sign * slope + rng.normal(0, 0.05, 8) for _ in range(30)]
        for name, sign in (("falls", -1), ("rises", 1))
    }
    errors = np.where(np.arange(8) < 4, np.inf, 0.1)
    for sign in (-1, 1):
        found = fit_prior(kinds).complete(0.4 + sign * slope, errors)
        np.testing.assert_allclose(found, 0.4 + sign * slope, atol=0.15)


def test_a_cell_is_measured_where_the_model_takes_most_of_it():
    whole = np.full(texture.CELLS, 2.0)
    share = np.full(texture.CELLS, 0.1)
    share[[3, 30, 40, 41, 42]] = 0.9, 0.7, 0.85, 0.85, 0.85
    logs, errors = learn.measured_cells(whole, share * whole)
    assert list(np.flatnonzero(np.isfinite(errors))) == [3, 30, 40, 41, 42]
    assert errors[30] > errors[3] and 0.8 * 2 < np.exp(logs[40]) < 2
    _, errors = learn.measured_cells(whole, 0.1 * whole)
    assert np.isfinite(errors).sum() == 4 and np.nanmin(errors) > 0.5, "a guess, where nothing is measured"


def test_the_power_of_a_cell_does_not_depend_on_its_size(truth):
    white = np.random.default_rng(0).standard_normal(truth.shape) * SCALE
    cells = texture.noise_by_cell(scan_of(truth), white)
    radii = texture.radii()
    mean = [
        float(np.mean(cells[(radii > low) & (radii <= high)])) for low, high in ((0.2, 0.35), (0.35, 0.5), (0.5, 1))
    ]
    np.testing.assert_allclose(mean, np.mean(mean), rtol=0.15)
    np.testing.assert_allclose(texture.noise_by_cell(scan_of(truth), 2 * white), 4 * cells, rtol=1e-5)


def test_noise_with_a_steep_spectrum_has_the_powers_of_its_cells(truth):
    own = noise_of(truth, np.random.default_rng(4), 1.0)
    cells = np.log(texture.noise_by_cell(scan_of(truth), own))
    made = learn.like_cells(scan_of(truth), cells, 1.0, seed=1)
    ratio = np.sqrt(band_powers(scan_of(truth), made) / band_powers(scan_of(truth), own))
    np.testing.assert_allclose(ratio[1:6], 1, atol=0.15)


def test_the_prior_of_the_package_is_of_simulated_scans():
    from CSRDDenoiseLib.research.likeness.prior import noise_prior

    prior = noise_prior()
    assert prior.scans >= 48 and len(prior.kinds) == 2
    for kind in prior.kinds:
        assert kind.mean.shape == (texture.CELLS,) and (np.linalg.eigvalsh(kind.covariance) > 0).all()


def test_a_low_dose_is_not_negative_where_the_full_dose_is_not(truth):
    noise = _noise(np.full(8, 0.5))
    assert truth.min() >= 0 and make_low_dose(truth, noise, 0.05, 0).min() >= 0
    shifted = truth - 1.0
    assert make_low_dose(shifted, noise, 0.05, 0).min() < -1
    np.testing.assert_array_equal(make_low_dose(truth, noise, 0.05, 0), make_low_dose(truth, noise, 0.05, 0))


@pytest.mark.slow
def test_the_setting_has_the_noise_that_was_learned():
    setting, distance = find_setting(_noise(np.geomspace(0.2, 0.002, 8)))
    more, _ = find_setting(_noise(np.geomspace(0.2, 0.002, 8) / 4))
    assert distance < 0.5 and setting.post_filter_mm > 0
    assert more.counts == pytest.approx(4 * setting.counts, rel=0.01)
    assert find_setting(_noise(np.full(8, 0.05)))[0].post_filter_mm < setting.post_filter_mm


def test_each_scan_keeps_its_own_level_of_noise():
    shape = np.geomspace(0.2, 0.02, 8)
    scans = [_noise(shape), _noise(4 * shape)]
    scanner = combine(scans)
    np.testing.assert_allclose(scanner.powers, 2 * shape)
    for scan in scans:
        np.testing.assert_allclose(learn.at_level_of(scanner, scan).powers, scan.powers)


def test_scans_of_two_protocols_are_not_mixed():
    one, other = (_noise(np.ones(8), voxel) for voxel in (2.0, 3.0))
    with pytest.raises(InputError, match="different voxels"):
        combine([one, other])


@pytest.fixture
def scans(tmp_path, truth) -> Path:
    rng, rows = np.random.default_rng(5), []
    for name in ("A", "B"):
        folder = write_subject(tmp_path, name)
        like = sitk.ReadImage(str(folder / "full_dose.nii.gz"))
        parts = [noise_of(truth, rng, 0.5) for _ in range(2)]
        for number, part in enumerate(parts, 1):
            write(folder / f"half_{number}.nii.gz", truth + 2**0.5 * part, like)
        write(folder / "full.nii.gz", truth + sum(parts) / 2**0.5, like)
        rows.append({"subject": name, **{key: f"{name}/{key}.nii.gz" for key in ("full", "half_1", "half_2")}})
    return write_rows(tmp_path / "scans.tsv", rows)


@pytest.mark.slow
def test_the_command_writes_pairs_that_can_be_adapted_to(scans, tmp_path, capsys):
    output = tmp_path / "low"
    assert main(["simulate", "--like", str(scans), "--doses", "1/4,1/8", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "8 of 8 bands" in printed and "Not known" in printed
    table = read_table(output / "pairs.tsv").checked()
    assert len(table.rows) == 4 and {str(row.dose) for row in table.rows} == {"1/4", "1/8"}
    facts = json.loads((output / "scanner.json").read_text())
    assert facts["noise"]["from_halves"] and facts["scanner"]["counts"] > 0 and len(facts["not_known"]) > 2
    low, full = (sitk.ReadImage(str(path)) for path in (table.rows[0].low, table.rows[0].full))
    assert low.GetSize() == full.GetSize() and low.GetDirection() == full.GetDirection()


def test_simulating_needs_heads_or_scans(tmp_path, capsys):
    assert main(["simulate", "--output", str(tmp_path / "out")]) == 2
    assert "--like" in capsys.readouterr().err


def _noise(powers: np.ndarray, voxel: float = SPACING) -> ScanNoise:
    return ScanNoise(powers, (True,) * 8, 1.0, None, (voxel,) * 3, 1500.0, True)


def test_a_slab_is_the_middle_of_the_brain(anatomy_folder):
    from CSRDDenoiseLib.research.simulation.anatomy import BRAIN, list_anatomies, load_anatomy, slab_of

    whole = load_anatomy(anatomy_folder, list_anatomies(anatomy_folder)[0])
    slab = slab_of(whole, 40.0)
    assert slab.labels.shape == (8, *whole.labels.shape[1:]) and slab_of(whole, 0.0) is whole
    assert all(np.isin(plane, BRAIN).any() for plane in slab.tissue)
