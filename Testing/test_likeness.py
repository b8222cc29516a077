"""Low doses made of full doses: noise of the right spectrum and amount, and a setting of the simulator like it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pair_folder import NOISE, row_of, write, write_rows, write_subject
from scipy import ndimage
from scipy.spatial.transform import Rotation
from study_folder import SCALE, SPACING

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.checks.counts import count_noise, share_of_counts
from CSRDDenoiseLib.commands.main import _parser, main
from CSRDDenoiseLib.commands.simulate import _settings
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.research.likeness import learn, texture
from CSRDDenoiseLib.research.likeness import scans as like_scans
from CSRDDenoiseLib.research.likeness.learn import ScanNoise, combine, learn_scan
from CSRDDenoiseLib.research.likeness.low_dose import make_low_dose
from CSRDDenoiseLib.research.likeness.regression import (
    Examples,
    Regression,
    features_of,
    fit_regression,
    noise_regression,
)
from CSRDDenoiseLib.research.likeness.regression import noise_of as spectrum_of
from CSRDDenoiseLib.research.likeness.scans import doubts
from CSRDDenoiseLib.research.likeness.setting import find_setting
from CSRDDenoiseLib.research.likeness.spectrum import band_powers
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.subjects.table import Row, read_table

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
    noise = learn_scan(image_of(full), halves=halves)
    known = full + (1 / fraction - 1) ** 0.5 * parts[2]
    made = make_low_dose(full, noise, fraction, seed=3)
    ratio = np.sqrt(band_powers(scan_of(full), made - full) / band_powers(scan_of(full), known - full))
    assert np.abs(ratio - 1).max() < 0.15
    ours, theirs = (count_noise(scan_of(low), SPACING) for low in (made, known))
    assert 1 / 1.25 < share_of_counts(ours, theirs) < 1.25, "the dose that the noise shows"


def test_what_a_mask_set_to_zero_is_zero_in_the_low_dose(truth):
    rng, brain = np.random.default_rng(1), truth > 0.3 * SCALE
    parts = [2**0.5 * noise_of(truth, rng, 0.0) for _ in range(2)]
    full, *halves = ((truth + part) * brain for part in (sum(parts) / 2, *parts))
    noise = learn_scan(image_of(full), halves=tuple(map(image_of, halves)))
    made = make_low_dose(full, noise, 0.25, seed=3)
    assert not made[~brain].any() and (made[brain] != full[brain]).all()


@pytest.mark.parametrize("sides", [(20, 22, 24), (24, 24, 24)])
def test_a_low_dose_lies_where_an_oblique_full_dose_does(monkeypatch, sides):
    """Oblique by 45 degrees about one axis and by 30 about another, where the name of an orientation fits two."""
    monkeypatch.setattr(like_scans, "make_low_dose", lambda full, *_: np.asarray(full, np.float32))
    full = sitk.GetImageFromArray(np.random.default_rng(0).random(sides).astype(np.float32))
    full.SetDirection(Rotation.from_euler("xyz", (45, 30, 0), degrees=True).as_matrix().ravel().tolist())
    made = like_scans._low_dose(full, None, 0.25, (0,))
    assert np.array_equal(sitk.GetArrayFromImage(made), sitk.GetArrayFromImage(full))


@pytest.mark.parametrize("factor", [0.5, 1e-3])
def test_halves_of_another_activity_are_refused(truth, factor):
    rng = np.random.default_rng(1)
    halves = tuple(image_of(factor * (truth + 2**0.5 * noise_of(truth, rng, 0.0))) for _ in range(2))
    with pytest.raises(InputError, match=f"{factor:g}"):
        learn_scan(image_of(truth + noise_of(truth, rng, 0.0)), halves=halves)


def test_what_halves_differ_by_as_a_whole_is_no_noise(truth):
    rng = np.random.default_rng(1)
    parts = [noise_of(truth, rng, 0.8) for _ in range(2)]
    full = image_of(truth + (parts[0] + parts[1]) / 2**0.5)

    def learned(*factors: float) -> ScanNoise:
        halves = [image_of(factor * (truth + 2**0.5 * part)) for factor, part in zip(factors, parts)]
        return learn_scan(full, halves=halves)

    np.testing.assert_allclose(learned(1.1, 0.9).powers, learned(1.0, 1.0).powers, rtol=0.01)
    with pytest.raises(InputError, match=r"1\.29 and 0\.70"):
        learned(1.3, 0.7)


@pytest.mark.parametrize("wrong", ["elsewhere", "of one value", "not a number", "the PET"])
def test_an_mr_that_shows_nothing_of_the_head_is_refused(tmp_path, wrong):
    """Its resolution would be reported, and the table of pairs refused."""
    folder = write_subject(tmp_path, "A")
    mr = sitk.ReadImage(str(folder / ("full_dose.nii.gz" if wrong == "the PET" else "t1.nii.gz")))
    if wrong == "elsewhere":
        mr.SetOrigin((500.0, 0.0, 0.0))
    elif wrong != "the PET":
        mr = mr * 0 + 5 if wrong == "of one value" else mr * float("nan")
    sitk.WriteImage(mr, str(folder / "mr.nii.gz"))
    table = write_rows(tmp_path / "scans.tsv", [{"subject": "A", "full": "A/full_dose.nii.gz", "mr": "A/mr.nii.gz"}])
    assert main(["simulate", "--like", str(table), "--doses", "1/4", "--output", str(tmp_path / "low")]) == 2
    assert not (tmp_path / "low").exists()


def test_a_scan_in_two_rows_is_refused_before_the_work(tmp_path):
    """A table of pairs at two doses: every low dose would be made and named twice."""
    write_subject(tmp_path, "A")
    table = write_rows(tmp_path / "pairs.tsv", [row_of("A", "1/4"), row_of("A", "1/10")])
    assert main(["simulate", "--like", str(table), "--doses", "1/4", "--output", str(tmp_path / "low")]) == 2
    assert not (tmp_path / "low").exists()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_how_noise_goes_with_activity_is_found(exponent):
    axes = np.stack(np.meshgrid(*[np.arange(36) - 17.5] * 3, indexing="ij"))
    activity = np.where(np.linalg.norm(axes, axis=0) < 16, 1 + 0.7 * axes[2] / 16, 0.0)
    noise = 0.05 * activity ** (exponent / 2) * np.random.default_rng(0).standard_normal(activity.shape)
    found = texture.activity_exponent(scan_of(activity + noise), noise)
    assert found == pytest.approx(exponent, abs=0.3)


def known_noise(truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A full dose with noise of a random spectrum and amount, and that noise."""
    own = noise_between(truth, rng, rng.uniform(0, 0.8), np.exp(rng.uniform(-0.7, 0.7)))
    return truth + own, own


def noise_between(truth: np.ndarray, rng: np.random.Generator, blur: float, amount: float) -> np.ndarray:
    return amount * noise_of(truth, rng, blur)


@pytest.fixture(scope="module")
def regression(truth) -> Regression:
    rng, rows = np.random.default_rng(6), []
    for _ in range(24):
        full, own = known_noise(truth, rng)
        rows.append((features_of(scan_of(full)), spectrum_of(scan_of(full), own)))
    return fit_regression(Examples(*(np.stack(part) for part in zip(*rows)), np.arange(len(rows))))


@pytest.mark.slow
def test_noise_of_a_full_dose_is_that_of_examples_that_show_the_same(truth, regression):
    full, own = known_noise(truth, np.random.default_rng(7))
    noise = learn_scan(image_of(full), regression=regression)
    ratio = np.sqrt(noise.powers / band_powers(scan_of(full), own))
    # the coarsest band has too few coefficients in so small a head
    np.testing.assert_allclose(ratio[1:], 1, atol=0.15)
    assert noise.supported and not noise.from_halves
    assert (noise.errors < 0.5).all() and (noise.errors > 0.005).all()
    usual = np.exp(regression.offset[:8])
    off = np.abs(np.sqrt(usual / band_powers(scan_of(full), own)) - 1)
    assert np.abs(ratio - 1)[1:].mean() < off[1:].mean() / 2, "better than the examples' mean"


@pytest.mark.slow
def test_a_scan_unlike_all_examples_is_warned_of(truth, regression):
    rng = np.random.default_rng(8)
    strange = truth + noise_between(truth, rng, 2.0, 6.0)
    assert regression.of(features_of(scan_of(strange))).away > 2
    noise = learn_scan(image_of(strange), regression=regression)
    assert not noise.supported
    (first, *_) = doubts([noise], [Row("A")])
    assert "A" in first and "half_1" in first


@pytest.mark.slow
def test_what_was_learned_is_read_as_it_was_written(truth, regression, tmp_path):
    regression.save(tmp_path / "learned.npz")
    shown = features_of(scan_of(truth + noise_of(truth, np.random.default_rng(9), 0.3)))
    one, other = regression.of(shown), Regression.load(tmp_path / "learned.npz").of(shown)
    np.testing.assert_allclose(one.bands, other.bands, atol=1e-3)
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-2)


def test_errors_are_those_of_examples_that_were_left_out():
    """What is shown says all of one half of the examples and nothing of the other."""
    rng = np.random.default_rng(10)
    shown = rng.standard_normal((120, 5))
    hidden = shown[:, :1] > 0
    noise = np.where(hidden, 0.6 * rng.standard_normal((120, 1)), shown[:, 1:2]) + 0.02 * rng.standard_normal((120, 58))
    found = fit_regression(Examples(shown, noise, np.arange(120)))
    known, unknown = (found.of(np.array([sign * 1.5, 0.2, 0.0, 0.0, 0.0])) for sign in (-1, 1))
    assert known.errors.max() < 0.15 < unknown.errors.min() < unknown.errors.max() < 1
    assert known.inside and not found.of(np.full(5, 9.0)).inside


def test_bands_that_may_be_far_off_are_named():
    errors = np.full(8, 0.05)
    errors[0] = 0.24
    (sentence,) = doubts([replace(_noise(np.ones(8)), errors=errors)], [Row("A")])
    assert "0.10-0.15" in sentence and "24 %" in sentence
    assert not list(doubts([_noise(np.ones(8))], [Row("A")]))


def test_the_regression_of_the_package_is_of_many_simulated_scans():
    learned = noise_regression()
    assert len(learned.points) >= 300 and learned.axes.shape[0] == len(texture.CENTRES) ** 2 * 7 + 8 + 1
    assert all(np.isfinite(part).all() for part in (learned.points, learned.weights, learned.axes))


def test_the_power_of_a_cell_does_not_depend_on_its_size(truth):
    white = np.random.default_rng(0).standard_normal(truth.shape) * SCALE
    cells = texture.noise_by_cell(scan_of(truth), white)
    radii = np.hypot(*np.meshgrid(texture.CENTRES, texture.CENTRES)).ravel()
    mean = [
        float(np.mean(cells[(radii > low) & (radii <= high)])) for low, high in ((0.2, 0.35), (0.35, 0.5), (0.5, 1))
    ]
    np.testing.assert_allclose(mean, np.mean(mean), rtol=0.15)
    np.testing.assert_allclose(texture.noise_by_cell(scan_of(truth), 2 * white), 4 * cells, rtol=1e-5)


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
    more = [replace(scan, from_halves=False, detail=detail) for scan, detail in zip(scans, (1.0, 9.0))]
    estimated = combine(more)
    np.testing.assert_allclose(learn.at_level_of(estimated, more[1]).powers, 3 * estimated.powers)


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
        (folder / "full.json").write_text('{"Units": "Bq/mL"}')
        files = {key: f"{name}/{key}.nii.gz" for key in ("full", "half_1", "half_2")}
        rows.append({"subject": "A", **files, "labels": f"{name}/regions.nii.gz", "replicate": name})
    return write_rows(tmp_path / "scans.tsv", rows)


def _voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).ravel()


def _correlation(*rows: Row) -> float:
    """Correlation of what two rows of one scan add to its full dose."""
    assert rows[0].full == rows[1].full and rows[0].dose != rows[1].dose
    added = [_voxels(row.low) - _voxels(row.full) for row in rows]
    return float(np.corrcoef(*added)[0, 1])


@pytest.mark.slow
def test_the_command_writes_pairs_that_can_be_adapted_to(scans, tmp_path, capsys):
    output = tmp_path / "low"
    assert main(["simulate", "--like", str(scans), "--doses", "1/4,1/8", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "two halves" in printed and "3, 3, 3" in printed and "Not known" in printed
    table = read_table(output / "pairs.tsv").checked()
    assert len(table.rows) == 4 and {str(row.dose) for row in table.rows} == {"1/4", "1/8"}
    facts = json.loads((output / "scanner.json").read_text())
    assert facts["noise"]["from_halves"] and facts["scanner"]["counts"] > 0 and len(facts["not_known"]) > 2
    low, full = (sitk.ReadImage(str(path)) for path in (table.rows[0].low, table.rows[0].full))
    assert low.GetSize() == full.GetSize() and low.GetDirection() == full.GetDirection()
    assert facts["seed"] == 0 and abs(_correlation(table.rows[0], table.rows[1])) < 0.1
    assert read(table.rows[0].low, "PET").unit == "Bq/mL"
    assert {row.replicate for row in table.rows} == {"A", "B"} and all(row.labels and row.halves for row in table.rows)
    (options,) = (line for line in printed.splitlines() if line.startswith("Scanner: "))
    words = ["simulate", "--output", "x", *options.split()[1:]]
    assert _settings(_parser(words).parse_args(words))(0).scanner.spacing == pytest.approx(SPACING)
    assert main(["simulate", "--like", str(scans), "--output", str(output)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_low_doses_are_not_made_where_another_process_makes_some(tmp_path):
    with alone(tmp_path / like_scans.LOCK, "Another", tmp_path), pytest.raises(InputError, match="at work"):
        like_scans.simulate_like((), tmp_path, ())


def test_simulating_needs_heads_or_scans(tmp_path, capsys):
    assert main(["simulate", "--output", str(tmp_path / "out")]) == 2
    assert "--like" in capsys.readouterr().err


def _noise(powers: np.ndarray, voxel: float = SPACING) -> ScanNoise:
    return ScanNoise(powers, np.full(8, 0.03), 1.0, None, (voxel,) * 3, 1500.0, True)


def test_a_slab_is_the_middle_of_the_brain(anatomy_folder):
    from CSRDDenoiseLib.research.simulation.anatomy import BRAIN, list_anatomies, load_anatomy, slab_of

    whole = load_anatomy(anatomy_folder, list_anatomies(anatomy_folder)[0])
    slab = slab_of(whole, 40.0)
    assert slab.labels.shape == (8, *whole.labels.shape[1:]) and slab_of(whole, 0.0) is whole
    assert all(np.isin(plane, BRAIN).any() for plane in slab.tissue)
