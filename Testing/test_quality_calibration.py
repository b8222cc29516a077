"""Calibration: the table rises and predicts, pooling helps, the command stores it and a run uses it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from study_folder import write_study
from tiny_model import save_tiny_model, tiny_metadata

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.model.bundle import load_model, read_metadata
from CSRDDenoiseLib.research.evaluation import calibrate as calibration
from CSRDDenoiseLib.research.evaluation.calibrate import ScanVoxels
from CSRDDenoiseLib.research.evaluation.measure import score
from CSRDDenoiseLib.research.evaluation.methods import Outcome
from CSRDDenoiseLib.research.evaluation.study import load_study
from CSRDDenoiseLib.restore.keeping import Keeping
from CSRDDenoiseLib.restore.uncertainty import (
    KEY,
    calibrate,
    calibration_error,
    fit_calibration,
    pooled_spread,
    predict_error,
    recipe_of,
    spread_of_result,
)
from CSRDDenoiseLib.settings import DenoiseSettings


def voxels(count: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A spread, and errors that are a rising function of it times a unit normal."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.1, 2.0, count)
    return spread, (0.3 + spread**2) * rng.standard_normal(count)


def test_fitted_table_predicts_the_error_of_other_voxels():
    spread, error = voxels()
    table = fit_calibration(spread, error)
    assert np.all(np.diff(table["spread"]) > 0) and np.all(np.diff(table["error"]) >= 0)
    spread, error = voxels(seed=1)
    predicted = predict_error(spread, table)
    assert calibration_error(predicted, error) < 0.03 < 0.2 < calibration_error(spread, error)
    assert np.mean(np.abs(error) <= predicted) == pytest.approx(0.683, abs=0.02)


def test_table_never_falls_even_where_the_errors_do():
    spread = np.linspace(0.1, 1, 4000)
    error = np.where(np.arange(4000) % 2, 1.0, -1.0) * np.where(spread < 0.5, 2.0, 1.0)
    table = fit_calibration(spread, error)
    assert np.all(np.diff(table["error"]) >= 0)
    assert 1 < table["error"][0] < 2


def test_beyond_the_table_the_error_stays_in_proportion():
    table = {"spread": [0.5, 1.0], "error": [3.0, 4.0]}
    assert predict_error(np.array([0.0, 0.25, 0.75, 2.0]), table) == pytest.approx([0, 1.5, 3.5, 8])


def test_too_few_voxels_are_refused():
    with pytest.raises(ValueError, match="3 voxels"):
        fit_calibration(np.ones(3), np.ones(3))


def test_pooling_keeps_an_even_spread_and_calms_a_noisy_one():
    rng = np.random.default_rng(0)
    noisy = np.abs(rng.standard_normal((24, 24, 24)))
    pooled = pooled_spread(noisy, (2.0,) * 3, 8.0)
    assert pooled.std() < 0.3 * noisy.std() and np.median(pooled) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(pooled_spread(np.full((8, 8, 8), 0.7), (2.0,) * 3), 0.7, rtol=1e-5)


def test_model_without_a_table_leaves_the_spread_as_it_is():
    spread = np.random.default_rng(0).random((4, 4, 4), np.float32)
    used = DenoiseSettings().recipe
    same, (finding,) = calibrate(spread, (2.0,) * 3, (), used)
    assert same is spread and finding.values == {"calibrated": False}
    table = {"spread": [1.0], "error": [1.0], "smoothing_mm": 0.0}
    assert calibrate(None, (2.0,) * 3, ({**used.as_dict(), KEY: table},), used)[0] is None


def test_calibration_error_of_the_truth_is_small_and_of_half_of_it_a_half():
    error = np.random.default_rng(0).standard_normal(50_000)
    assert calibration_error(np.ones(50_000), error) < 0.02
    assert calibration_error(np.full(50_000, 0.5), error) == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_command_stores_a_table_that_runs_use(tmp_path, capsys):
    folders = [write_study(tmp_path / f"subject_{seed}", seed) for seed in range(2)]
    model = save_tiny_model(tmp_path / "model", voxel_spacing_mm=4.0, sigma_data=0.1, sigma_max=2.0)
    words = ["calibrate", str(model), "--subjects", *map(str, folders), "--doses", "1/10"]
    assert main([*words, "--dry-run"]) == 0
    assert read_metadata(model).recipes == ()
    assert main(words) == 0
    assert "left out of the fit" in capsys.readouterr().out
    (recipe,) = load_model(model).metadata.recipes
    stored = recipe[KEY]
    assert recipe_of(recipe) == DenoiseSettings().recipe
    assert stored["subjects"] == stored["scans"] == 2
    assert stored["after"]["calibration_error"] < stored["before"]["calibration_error"]
    # a second fit starts from the spread, not from what the first made of it
    assert main(words) == 0
    assert [each[KEY] for each in load_model(model).metadata.recipes] == [stored]


def test_draws_of_one_anatomy_are_never_apart_in_fit_and_score(monkeypatch):
    voxels_of = {seed: voxels(4000, seed) for seed in range(3)}

    def scans(heads):
        return [ScanVoxels(f"subject_{n}", head, s, s, e) for (n, (s, e)), head in zip(voxels_of.items(), heads)]

    fits, fit = [], calibration._fit
    monkeypatch.setattr(calibration, "_fit", lambda scans: fits.append([each.subject for each in scans]) or fit(scans))
    monkeypatch.setattr(calibration, "_check_targets", lambda *args: None)
    monkeypatch.setattr(calibration, "_scans", lambda *args: scans(["synthseg/a"] * 3))
    table, scores = calibration.calibrate_model(None, (), None, DenoiseSettings())
    assert set(scores) == {"before"} and table["subjects"] == 3
    monkeypatch.setattr(calibration, "_scans", lambda *args: scans(["synthseg/a", "synthseg/a", "synthseg/b"]))
    fits.clear()
    assert "after" in calibration.calibrate_model(None, (), None, DenoiseSettings())[1]
    assert fits[:3] == [["subject_2"], ["subject_2"], ["subject_0", "subject_1"]]


@pytest.mark.slow
def test_the_anatomy_of_a_subject_is_its_head(tmp_path):
    folder = write_study(tmp_path / "subject")
    (folder / "subject.json").write_text('{"anatomy": "synthseg/a"}')
    model = load_model(save_tiny_model(tmp_path / "model", voxel_spacing_mm=4.0, sigma_max=2.0))
    (scan,) = calibration._scans(model, [folder], [Fraction(1, 10)], DenoiseSettings())
    assert (scan.subject, scan.head) == ("subject", "synthseg/a")


def test_a_model_of_the_noise_free_image_is_not_calibrated_without_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("CSRDDenoiseLib.denoise.denoise", lambda *args: pytest.fail("a run of the model"))
    folders = [write_study(tmp_path / name, noise_free=name == "with") for name in ("with", "without")]
    model = save_tiny_model(tmp_path / "model", voxel_spacing_mm=4.0, target="noise-free")
    assert main(["calibrate", str(model), "--subjects", *map(str, folders)]) == 2
    message = capsys.readouterr().err
    assert "1 of 2 subject(s)" in message and "without'; simulate them with --noise-free" in message


def test_an_uncertainty_to_noise_free_is_not_scored_without_that_image(tmp_path):
    study = load_study(write_study(tmp_path / "subject", noise_free=False))
    image = study.array(study.low_doses[Fraction(1, 10)])
    spread = Outcome(image, 0.0, std=np.abs(image))
    assert {"coverage_1", "calibration_error"} <= set(score(study, spread))
    to_noise_free = score(study, replace(spread, std_to_noise_free=True))
    assert not [name for name in to_noise_free if name.startswith(("coverage", "calibration"))]


def test_the_spread_of_a_result_is_the_error_of_what_it_keeps_as_well():
    """White signal and noise of known size: the posterior is known, and so is the error of what is kept of the PET."""
    rng = np.random.default_rng(2)
    truth, noise = rng.standard_normal((2, 40, 40, 40)).astype(np.float32) * np.array([[1.0], [2.0]])[..., None, None]
    pet = truth + noise
    residual = 1 / 5 * pet - pet
    spread = np.full(pet.shape, np.sqrt(4 / 5), np.float32)
    for width, share in ((0.0, 0.0), (3.0, 0.0), (6.0, 0.25), (np.inf, 0.25)):
        keeping = Keeping(width, share, (2.0,) * 3, pet)
        # with a share of the PET in what is predicted, that share is in the truth as well
        error = (1 - share) * (truth - pet) - keeping(residual)
        expected = keeping.modelled * spread_of_result(spread, residual - keeping.fine(residual))
        assert np.sqrt(np.mean(expected**2)) == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.02), width
    bare = Keeping(np.inf, 0.25, (2.0,) * 3)
    np.testing.assert_allclose(spread_of_result(spread, residual - bare.fine(residual)), spread, rtol=1e-5)


def test_a_table_of_an_earlier_version_is_not_applied():
    table = {"spread": [0.0, 1.0], "error": [0.0, 3.0], "smoothing_mm": 0.0}
    recipe = DenoiseSettings().recipe.as_dict()
    for earlier, calibrated in ((table, False), ({**table, "of_result": True}, True)):
        metadata = tiny_metadata(recipes=({**recipe, "calibration": earlier},))
        used = DenoiseSettings().recipe
        error, (finding,) = calibrate(np.ones((4, 4, 4)), (2.0,) * 3, metadata.recipes, used)
        assert finding.values["calibrated"] is calibrated
        assert finding.code == f"uncertainty.{'calibrated' if calibrated else 'earlier'}"
        assert np.allclose(error, 3.0 if calibrated else 1.0)
