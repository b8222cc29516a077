"""The experiment of contrast against noise, on tiny subjects whose truth is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.research.evaluation.experiments import contrast
from CSRDDenoiseLib.research.evaluation.experiments.contrast import Curves, blobs_per_litre, calm_brain, point
from CSRDDenoiseLib.research.evaluation.run import EvaluationConfig, run_evaluation
from CSRDDenoiseLib.research.evaluation.study import Study, load_study
from CSRDDenoiseLib.research.training.curves import Point


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("subjects") / "one")


@pytest.fixture(scope="module")
def study(folder) -> Study:
    return load_study(folder)


def test_calm_brain_is_away_from_surface_and_lesions(study):
    calm = calm_brain(study)
    assert calm.any() and (calm <= study.masks.brain).all()
    assert not any((calm & structure).any() for structure, _ in (*study.masks.hot, *study.masks.cold))


def test_a_point_is_the_contrast_that_is_kept_and_the_error_in_percent_of_the_mean(study):
    calm, truth = calm_brain(study), study.noise_free
    same = point(truth, truth, study, calm)
    assert (same.contrast, same.error) == (1.0, 0.0)
    raised = point(1.1 * truth, truth, study, calm)
    # the error grows with activity, so its root mean square is 10 % of the activity's
    expected = 10 * np.sqrt(np.mean(truth[calm] ** 2)) / truth[calm].mean()
    assert raised.error == pytest.approx(expected, rel=1e-4) and raised.contrast == pytest.approx(1.0, abs=1e-5)
    half, (lesion, around) = truth.copy(), study.masks.hot[0]
    half[lesion] = (truth[lesion] + truth[around].mean()) / 2
    assert point(half, truth, study, calm).contrast == pytest.approx(0.5, abs=1e-5)


def test_blobs_are_counted_per_litre_of_calm_brain(study):
    calm = np.ones(study.noise_free.shape, bool)
    image = study.noise_free.copy()
    assert blobs_per_litre(image, study, calm, 1.0) == 0
    depth, height, width = image.shape
    image[depth // 2, height // 2, 4] += 1e5
    image[depth // 2, height // 2, width - 5] += 1e5
    litres = calm.size * np.prod(study.spacing) / 1e6
    assert blobs_per_litre(image, study, calm, 100.0) == pytest.approx(2 / litres)
    image[depth // 2, height // 2, width // 2] -= 1e5
    assert blobs_per_litre(image, study, calm, 100.0) == pytest.approx(2 / litres), "a hole is no blob"


def curve(error: float) -> dict[float, Point]:
    return {0.0: Point(1.0, error, 0.0, 0.0), 5.0: Point(0.5, error / 2, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("mine", "gain", "bound"),
    # the filter's error falls with the root of the dose: 20 at 1/16, 10 at 1/4, 5 at 1
    [
        (10.0, 4.0, ""),
        (20.0, 1.0, ""),
        (14.142, 2.0, ""),
        (5.0, 16.0, ""),
        (2.0, 16.0, ">"),
        (40.0, 1.0, "<"),
    ],
)
def test_the_dose_gain_is_the_dose_that_the_filter_needs(mine, gain, bound):
    scans = [
        Curves("one", dose, {"Gaussian": curve(error)}, {})
        for dose, error in ((Fraction(1, 16), 20.0), (Fraction(1, 4), 10.0), (Fraction(1), 5.0))
    ]
    scan = Curves("one", Fraction(1, 16), {"Gaussian": curve(20.0), contrast.MINE: curve(mine)}, {})
    found = contrast._dose_gain(scan, [scan, *scans[1:]], ["Gaussian"], 1.0)
    assert found == (pytest.approx(gain, rel=1e-3), bound)
    assert contrast._median([found] * 2).startswith(bound)


@pytest.mark.slow
def test_the_experiment_writes_its_tables_and_figures(folder, tmp_path):
    model = save_tiny_model(tmp_path / "m", voxel_spacing_mm=4.0)
    options = {"doses": ["1/10"], "filters": ["Gaussian", "Tissue regression"], "kept_mm": [0.0, 8.0]}
    config = EvaluationConfig((folder,), str(model), tmp_path / "out", "cpu", experiments={"contrast": options})
    (section,) = run_evaluation(config)
    errors, gains, blobs = section.tables
    by_method = {row[1]: row for row in errors.rows}
    assert set(by_method) == {"Gaussian", "Tissue regression", "Ours"}
    assert 0 < float(by_method["Gaussian"][2]) <= float(by_method["Gaussian"][4]), "more contrast, more error"
    assert gains.rows[0][0] == "1/10"
    assert {row[1] for row in blobs.rows} == {"Input", "Full dose", "Ours, estimate"}
    assert (tmp_path / "out" / "contrast_1_10.png").is_file() and (tmp_path / "out" / "contrast.md").is_file()
