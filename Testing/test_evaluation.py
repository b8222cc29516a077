"""Studies, tables, figures and the evaluate command, on a tiny subject and a network with random weights."""

from __future__ import annotations

import csv
import errno
import inspect
import io
import json
import os
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from study_folder import DOSES, write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib import measures
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.report.planes import write_comparison
from CSRDDenoiseLib.research.evaluation.baselines import BASELINES
from CSRDDenoiseLib.research.evaluation.experiments import EXPERIMENTS
from CSRDDenoiseLib.research.evaluation.markdown import to_markdown
from CSRDDenoiseLib.research.evaluation.measure import Measurement, measure, score
from CSRDDenoiseLib.research.evaluation.methods import Outcome, ours, tuned, unchanged
from CSRDDenoiseLib.research.evaluation.run import EvaluationConfig, read_config, run_evaluation
from CSRDDenoiseLib.research.evaluation.study import Study, load_study
from CSRDDenoiseLib.research.evaluation.table import paired_table, score_table, to_csv
from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_preset

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("subjects")
    return [write_study(root / f"subject_{seed}", seed) for seed in range(2)]


@pytest.fixture(scope="module")
def study(folders) -> Study:
    return load_study(folders[0])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", voxel_spacing_mm=4.0)


def record(subject: str, method: str, psnr: float, dose: str = "1/10", **more) -> Measurement:
    return Measurement(subject, "fdg", dose, method, {"psnr": psnr, **more}, 1.0)


# -- studies


def test_study_knows_its_doses_and_where_to_measure(study):
    assert list(study.low_doses) == [Fraction(1, 4), Fraction(1, 10)]
    assert len(study.masks.hot) == len(study.masks.cold) == len(study.masks.mr_only) == 1
    assert len(study.masks.regions) == 2
    assert study.masks.white_matter.any() and (study.masks.white_matter <= study.masks.brain).all()
    assert study.full_dose.shape == study.masks.head.shape == study.noise_free.shape


def test_lesions_of_a_study_have_the_contrast_they_were_given(study):
    assert measures.contrast(study.noise_free, *study.masks.hot[0]) == pytest.approx(1.5, abs=0.01)
    assert measures.contrast(study.noise_free, *study.masks.cold[0]) == pytest.approx(-0.7, abs=0.01)
    assert measures.contrast(study.noise_free, *study.masks.mr_only[0]) == pytest.approx(0, abs=0.01)


def test_folder_without_low_doses_is_refused(tmp_path):
    folder = write_study(tmp_path / "empty")
    for dose in DOSES:
        (folder / f"low_dose_{dose}.nii.gz").unlink()
    with pytest.raises(InputError, match="holds no low dose"):
        load_study(folder)


# -- measuring


def test_measure_applies_every_method_to_every_dose_and_adds_the_ceiling(study):
    found = list(measure(study, None, {"Input": unchanged, "Best Gaussian": tuned("Gaussian")}))
    assert [(m.dose, m.method) for m in found[:3]] == [("1/4", "Input"), ("1/4", "Best Gaussian"), ("1/4", "Ceiling")]
    assert len(found) == 6
    assert found[1].scores["psnr"] >= found[0].scores["psnr"]
    assert found[1].chosen.startswith("FWHM mm = ")
    assert found[0].scores["hot_contrast"] == pytest.approx(1, abs=0.1)
    assert found[2].scores.keys() == {"psnr"}


def test_perfect_method_gets_perfect_scores(study):
    perfect = lambda study, dose: Outcome(study.full_dose, 1.0, std=np.ones_like(study.full_dose))  # noqa: E731
    scores = next(measure(study, [Fraction(1, 10)], {"perfect": perfect})).scores
    assert "psnr" not in scores  # infinite is no number to average
    for name in ("bias", "region_error", "texture", "leakage", "imprint", "nrmse", "mae"):
        assert scores[name] == 0
    for name in ("hot_contrast", "cold_contrast", "coverage_1", "coverage_2"):
        assert scores[name] == 1


@pytest.mark.slow
@pytest.mark.parametrize("target", ["noise-free", "full-dose"])
def test_an_uncertainty_is_held_against_what_the_model_estimates(study, tmp_path, target):
    model = load_model(save_tiny_model(tmp_path / "tiny", target=target), "cpu")
    outcome = ours(model, DenoiseSettings(steps=2, samples=2, device="cpu"))(study, Fraction(1, 10))
    image = study.noise_free if target == "noise-free" else study.full_dose
    found = score(study, replace(outcome, image=image, std=np.full_like(image, 1e-6)))
    assert found["coverage_1"] == 1
    other = study.full_dose if target == "noise-free" else study.noise_free
    assert score(study, replace(outcome, image=other, std=np.full_like(image, 1e-6)))["coverage_1"] < 0.1


@pytest.mark.parametrize("towards", [0.1, -0.1])
def test_imprint_is_positive_when_the_pet_changes_towards_the_mr(study, towards):
    pairs, mr = study.masks.mr_only, study.array(study.mr)
    (inside, _), sign = pairs[0], np.sign(measures.contrast(mr, *pairs[0]))
    assert sign != 0
    changed = study.full_dose * (1 + towards * sign * inside)
    expected = towards * (1 + measures.contrast(study.full_dose, *pairs[0]))
    assert measures.imprint(changed, study.full_dose, mr, pairs) == pytest.approx(expected, rel=1e-4)
    assert measures.leakage(changed, study.full_dose, pairs) == pytest.approx(abs(expected), rel=1e-4)
    assert measures.imprint(changed, study.full_dose, mr, ()) is None


def test_texture_distance_separates_smooth_from_noisy(study):
    mask = study.masks.brain
    blurred = tuned("Gaussian")(study, Fraction(1, 10)).image
    noisy = study.array(study.low_doses[Fraction(1, 10)])
    assert measures.texture_distance(noisy, study.full_dose, mask) > 0.05
    assert measures.texture_distance(blurred, study.full_dose, mask) > 0.05


# -- tables


def test_table_gives_mean_spread_and_sample_size():
    records = [record("a", "Ours", 30.0, hot_contrast=1.0), record("b", "Ours", 32.0)]
    table = score_table("caption", records)
    assert table.header == ("dose", "method", "PSNR (dB)", "hot contrast", "seconds", "n", "tuned")
    assert table.rows == (("1/10", "Ours", "31.00 ± 1.41", "1.000 (n = 1)", "1.00", "2", ""),)
    assert "| 1/10 | Ours | 31.00 ± 1.41 |" in to_markdown(table)


def test_paired_table_compares_with_the_best_baseline_and_states_the_way_to_the_ceiling():
    scores = {
        "Best Gaussian": (28, 29, 30),
        "Best Median": (27, 28, 29),
        "Ours": (29, 30.1, 30.9),
        "Input": (9, 9, 9),
        "Ceiling": (32, 33, 34),
    }
    records = [record(str(i), method, psnr) for method, values in scores.items() for i, psnr in enumerate(values)]
    (row,) = paired_table("caption", records, "Ours", ["Best Gaussian", "Best Median"]).rows
    assert row[:5] == ("1/10", "PSNR (dB)", "Ours", "Best Gaussian", "+1.00 ± 0.10")
    assert float(row[5]) < 0.01 and row[6:] == ("25%", "3")


def test_paired_gain_is_in_the_direction_that_is_better_and_over_common_subjects():
    ours = [record(subject, "Ours", 30.0, truth_nrmse=error) for subject, error in zip("abc", (0.09, 0.11, 0.5))]
    theirs = [record(subject, "Best Median", 30.0, truth_nrmse=0.12) for subject in "ab"]
    worse = [record(subject, "Best Gaussian", 30.0, truth_nrmse=0.20) for subject in "ab"]
    (row,) = paired_table("c", ours + theirs + worse, "Ours", ["Best Gaussian", "Best Median"], ["truth_nrmse"]).rows
    assert row[3:5] == ("Best Median", "+2.00 ± 1.41") and row[-1] == "2"


def test_csv_keeps_every_measurement():
    rows = list(csv.DictReader(io.StringIO(to_csv([record("a", "Ours", 30.0), record("b", "Ours", 32.0, bias=0.01)]))))
    assert [row["psnr"] for row in rows] == ["30.0", "32.0"]
    assert [row["bias"] for row in rows] == ["", "0.01"]


# -- figure


@pytest.mark.slow
def test_figure_shows_every_volume_in_three_planes(study, tmp_path):
    low, full = study.array(study.low_doses[Fraction(1, 10)]), study.full_dose
    volumes = {"PET": low, "difference": full - low, "uncertainty": np.abs(low), "full dose": full}
    write_comparison(volumes, tmp_path / "figure.png", study.spacing, "Bq/mL", {"PET": "24.1 dB"})
    with Image.open(tmp_path / "figure.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[0] > 500 and pixels.shape[1] > 800
    colourful = np.ptp(pixels, axis=2) > 60
    quarter = pixels.shape[1] // 4
    assert colourful[:, quarter : 2 * quarter].any() and colourful[:, 2 * quarter : 3 * quarter].any()
    assert not colourful[:, :quarter].any() and not colourful[:, 3 * quarter :].any()


@pytest.mark.slow
def test_figure_of_an_empty_volume_does_not_fail(tmp_path):
    write_comparison({"PET": np.zeros((8, 8, 8)), "difference": np.zeros((8, 8, 8))}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 0


# -- the command


@pytest.mark.slow
def test_evaluate_writes_the_table_of_the_model_card(folders, model_folder, tmp_path, capsys):
    output = tmp_path / "results"
    subject = str(folders[0])
    assert main(["evaluate", "--subjects", subject, "--model", str(model_folder), "--output", str(output)]) == 0
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    methods = {record["method"] for record in results["measurements"]["dose"]}
    assert methods == {
        "Input", "Best Gaussian", "Best Non-local means", "Ceiling",
        "Ours, posterior mean", "Ours, one draw", "Ours, mean of 8 draws",
    }  # fmt: skip
    assert results["about"]["subjects"] == ["subject_0"]
    table = (output / "dose.md").read_text(encoding="utf-8")
    assert table.startswith("All numbers and pictures on this page are from simulated")
    assert "| 1/10 | Ours, mean of 8 draws |" in table and "| 1/4 | Best Gaussian |" in table
    assert "| 1/10 | Ours, mean of 8 draws |" in capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    assert names == {"results.json", "report.html", "dose.md", "dose.csv", "dose.png", "example.png"}


@pytest.mark.slow
def test_configuration_runs_experiments_into_one_page(folders, model_folder, tmp_path):
    experiments = {
        "modality": {"shifts_mm": [10], "rotations_degrees": [5]},
        "noise": {"samples": 2, "steps": 2},
        "cost": {"presets": ["fast"], "steps": [2], "samples": [2], "averaged_steps": 2},
        "protocol": {"facts": ["tracer", "scanner.spacing", "scanner.missing"]},
        "trust": {"samples": 2, "steps": 2},
    }
    config = {"subjects": [f"{folders[0].parent}/subject_*"], "model": str(model_folder), "output": "out"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "experiments": experiments}))
    assert main(["evaluate", str(path)]) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for title in ("Modality ablation", "Noise sensitivity", "Cost", "Scanners and protocols", "Trust"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("data:image/png;base64,") == 3 and "http" not in page
    assert page.count("mean over n = 2 subjects") == 2 * 3, "every curve states its sample size, in caption and text"
    assert page.index("simulated PET/MR") < page.index("<h1>")
    assert "| tracer | fdg |" in (tmp_path / "out" / "protocol.md").read_text(encoding="utf-8")
    assert re.search(
        r"scanner.spacing \| from 4.5 \|.*\| 1 \|", (tmp_path / "out" / "protocol.md").read_text(encoding="utf-8")
    )
    records = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["measurements"]
    assert {"no MR", "MR of another subject", "MR shifted by 10 mm"} <= {r["method"] for r in records["modality"]}


@pytest.mark.slow
def test_comparison_models_are_measured_and_compared_with(folders, model_folder, tmp_path):
    other = save_tiny_model(tmp_path / "other", name="other", voxel_spacing_mm=4.0)
    config = {
        "subjects": [str(folder) for folder in folders],
        "model": str(model_folder),
        "output": "out",
        "comparison_models": {"Another": {"model": other.name, "sampler": "heun", "steps": 2, "estimate": "samples"}},
        "experiments": {"dose": {"doses": ["1/10"], "baselines": ["Gaussian"], "samples": 0}, "trust": {}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(tmp_path / "config.json"), "--experiment", "dose"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(results["measurements"]) == ["dose"], "one experiment alone"
    assert results["about"]["comparison_models"]["Another"]["name"] == "other"
    assert results["about"]["comparison_models"]["Another"]["settings"]["sampler"] == "heun"
    table = (tmp_path / "out" / "dose.md").read_text(encoding="utf-8")
    assert re.search(r"\| 1/10 \| Another \| -?[\d.]+ ± ", table)
    assert re.search(r"PSNR \(dB\) \| Ours, posterior mean \| Another \| [+-][\d.]+ ± [\d.]+ \| \S+ \|.*\| 2 \|", table)


@pytest.mark.parametrize(
    ("other", "message"),
    [({"steps": 2}, "needs a model"), ("m", "must be a mapping"), ({"model": "brain", "stride": 2}, "stride")],
)
def test_a_wrong_comparison_model_is_reported_before_anything_is_measured(
    other, message, folders, model_folder, tmp_path, capsys
):
    config = {"subjects": [str(folders[0])], "model": str(model_folder), "output": "out", "rivals": {"x": other}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(tmp_path / "config.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def failing_for(suffix):
    """``Path.write_bytes`` of a full disk, for names with a suffix."""
    write_bytes = Path.write_bytes

    def write(path, *args, **options):
        if path.suffix == suffix:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, *args, **options)

    return write


@pytest.mark.slow
def test_results_of_before_stay_whole_when_new_ones_cannot_be_written(folders, model_folder, tmp_path, monkeypatch):
    output = tmp_path / "out"
    config = EvaluationConfig(
        (folders[0],), str(model_folder), output, experiments={"protocol": {"dose": "1/4", "facts": ["tracer"]}}
    )
    run_evaluation(config)
    before = (output / "results.json").read_bytes()
    monkeypatch.setattr(Path, "write_bytes", failing_for(".csv"))
    with pytest.raises(InputError, match="Nothing was written"):
        run_evaluation(config)
    assert (output / "results.json").read_bytes() == before
    assert json.loads(before)["about"]["data"].startswith("All numbers and pictures on this page are from simulated")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subjects: []\nmodel: m\noutput: o", "no subject"),
        ("model: m\noutput: o", "'subjects' is missing"),
        ("subjects: [a]\nmodel: m\noutput: o\ncolour: red", "'colour' is not known"),
        ("subjects: [a]\nmodel: m\noutptu: o", "did you mean 'output'"),
        ("subjects: a\nmodel: m\noutput: o", "'subjects' is 'a'; it must be a list"),
        ("subjects: [3]\nmodel: m\noutput: o", "subjects\\[0\\]"),
        ("subjects: [a]\nmodel: 3\noutput: o", "'model' is 3; it must be text"),
        ("subjects: [a]\nmodel: m\nmodel: n\noutput: o", "'model' appears twice"),
        (
            "subjects: [a]\nmodel: m\noutput: o\nexperiments: [dose]",
            "'experiments' is \\['dose'\\]; it must be a mapping",
        ),
        ("- a", "is a list"),
        ("", "is empty"),
        ("1: 2", "key 1"),
        ("a: \x07", "is not YAML"),
        ("[", "is not YAML"),
    ],
)
def test_bad_configuration_is_rejected_with_a_sentence(text, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(path)


@pytest.mark.parametrize("name", ["evaluate-small.yaml", "evaluate-full.yaml"])
def test_configurations_of_the_repository_fit_the_experiments_and_the_training_runs(name):
    values = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    for experiment, options in values["experiments"].items():
        inspect.signature(EXPERIMENTS[experiment]).bind(None, **(options or {}))
    baselines = values["experiments"]["dose"]["baselines"]
    assert sorted(baselines) == sorted(entry.name for entry in BASELINES if entry.name != "BM4D")
    trained = {
        (CONFIGS / yaml.safe_load(path.read_text(encoding="utf-8"))["output"]).resolve()
        for path in CONFIGS.glob("train-*")
    }
    others = values.get("comparison_models", {}).values()
    assert {(CONFIGS / other.pop("model")).resolve().parent for other in others} <= trained
    for other in others:
        settings_from_preset("fast", **other)
    output = (CONFIGS / values["output"]).resolve().relative_to(CONFIGS.parent)
    assert f"/{output.parts[0]}/" in (CONFIGS.parent / ".gitignore").read_text(encoding="utf-8").split()


def test_unknown_experiment_is_refused(folders):
    with pytest.raises(InputError, match="'speed' is not known"):
        EvaluationConfig(tuple(folders), "m", Path("o"), experiments={"speed": {}})
    assert [*EXPERIMENTS][:6] == ["dose", "modality", "noise", "cost", "protocol", "trust"]
    assert {"alignment", "signatures"} <= set(EXPERIMENTS)


def test_evaluate_wants_a_configuration_or_all_three_options(capsys):
    assert main(["evaluate", "--model", "m"]) == 2
    assert "--subjects, --model and --output together" in capsys.readouterr().err
