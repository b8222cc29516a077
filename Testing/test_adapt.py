"""Adaptation: held out by subject, never worse than the start, nothing half written, nobody named."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from measured_pairs import NOISE, ball, fill_pool, noisy_pair
from pair_folder import row_of, write_rows, write_subject
from tiny_model import TINY, save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model, read_metadata
from CSRDDenoiseLib.model.metadata import CHANNELS, DeviationMetadata
from CSRDDenoiseLib.research.adaptation import adapt as adaptation
from CSRDDenoiseLib.research.adaptation.adapt import Job, adapt
from CSRDDenoiseLib.research.adaptation.calibration import Voxels, fit_table
from CSRDDenoiseLib.research.adaptation.facts import Changes, _trained_doses
from CSRDDenoiseLib.research.adaptation.held_out import clean_squares
from CSRDDenoiseLib.research.adaptation.settings import AdaptSettings
from CSRDDenoiseLib.research.adaptation.start import average_of, with_mean
from CSRDDenoiseLib.research.adaptation.subject_folds import divide_subjects
from CSRDDenoiseLib.research.adaptation.time_plan import Clock, Needs, plan_time
from CSRDDenoiseLib.subjects.table import read_table

BANDED = {
    "architecture": {**TINY, "in_channels": 12, "tissue_sizes": [3]},
    "normalisation": "noise-bands",
    "channels": CHANNELS["noise-bands"],
    "target": "noise-free",
    "mean_from": "zero",
    "sigma_data": 0.9,
    "sigma_max": 36.0,
    "voxel_spacing_mm": 5.0,
}
QUICK = AdaptSettings(minutes=3, patch=16, validations=1, learning_rate=3e-3, pull=1.0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A table of four subjects whose names must not appear in a model."""
    folder = tmp_path_factory.mktemp("clinic of Dr Example")
    names = [f"Muster{letter}" for letter in "ABCD"]
    for number, name in enumerate(names):
        write_subject(folder, name, number)
    return write_rows(folder / "pairs.tsv", [row_of(name, labels=None, lesions=None) for name in names])


@pytest.fixture
def start(tmp_path) -> Path:
    deviation = DeviationMetadata(
        {**TINY, "in_channels": 13}, (0.0, 1.0), sigma_data=0.5, sigma_min=0.05, sigma_max=5.0
    )
    return save_tiny_model(tmp_path / "start", **BANDED, deviation=deviation)


@pytest.fixture(autouse=True)
def fixed_steps(monkeypatch):
    """As many steps a minute on every machine, far fewer than it can do."""
    monkeypatch.setattr("CSRDDenoiseLib.research.adaptation.fold.seconds_per_step", lambda *_: 2.0)


@pytest.fixture
def few_steps(fixed_steps, monkeypatch):
    """A training of a handful of steps, where what it learns is not the point."""
    monkeypatch.setattr("CSRDDenoiseLib.research.adaptation.fold.seconds_per_step", lambda *_: 15.0)


def job_of(scans: Path, start: Path, tmp_path: Path, settings: AdaptSettings = QUICK) -> Job:
    rows = read_table(scans).checked().rows
    return Job(rows, load_model(start), tmp_path / "adapted", tmp_path / "work", settings)


def contents(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix in (".json", ".md"))


# -- who is held out


@pytest.mark.parametrize(("count", "folds"), [(3, 2), (4, 3), (5, 3), (7, 3)])
def test_of_few_subjects_one_is_for_the_check_and_each_other_is_held_out_once(count, folds):
    subjects = [f"s{number}" for number in range(count)]
    division = divide_subjects([*subjects, *subjects], seed=1)
    assert len(division.folds) == folds and len(division.check) == 1
    others = set(subjects) - set(division.check)
    assert sorted(name for fold in division.folds for name in fold.held_out) == sorted(others)
    assert all(set(fold.trained) | set(fold.held_out) == others and fold.trained for fold in division.folds)
    assert not any(set(fold.trained) & set(fold.held_out) for fold in division.folds)
    assert divide_subjects(subjects, 1) == divide_subjects(subjects, 1)
    assert len({divide_subjects(subjects, seed) for seed in range(8)}) > 1


def test_many_subjects_are_split_once():
    division = divide_subjects([f"s{number}" for number in range(16)], seed=0)
    (fold,) = division.folds
    assert (len(fold.trained), len(fold.held_out), len(division.check)) == (12, 2, 2)
    assert len({*fold.trained, *fold.held_out, *division.check}) == 16


def test_two_subjects_are_too_few():
    with pytest.raises(InputError, match="2 subject"):
        divide_subjects(["a", "b", "a"], 0)


# -- what the time is spent on


def test_the_time_is_divided_before_the_training():
    clock = Clock(1800.0)
    plan = plan_time(Needs(look=10, held_out=4, checked=1, calibration=60), clock, most_looks=4)
    assert plan.looks == 4 and plan.afterwards == pytest.approx(10 + 450 + 5, abs=1)
    assert 3 * plan.fold_seconds(clock, 3) == pytest.approx(1800 - plan.afterwards, abs=1)
    short = plan_time(Needs(look=5, held_out=4, checked=1, calibration=90), Clock(250.0), most_looks=4)
    assert short.looks == 2 and short.afterwards == pytest.approx(5 + 90 + 5, abs=1)
    without = plan_time(Needs(look=5, held_out=4, checked=1, calibration=0), Clock(240.0), most_looks=4)
    assert without.afterwards == 10


def test_too_little_time_is_a_sentence_with_how_much_is_enough():
    needs = Needs(look=30, held_out=4, checked=1, calibration=200)
    with pytest.raises(InputError, match=r"--minutes \d+") as raised:
        plan_time(needs, Clock(300.0), most_looks=4)
    enough = int(re.search(r"--minutes (\d+)", str(raised.value))[1])
    assert plan_time(needs, Clock(60.0 * enough), most_looks=4).looks >= 1


@pytest.mark.parametrize(("held_out", "check", "better"), [(-0.1, -0.1, True), (-0.1, 0.01, False), (0.0, -1, False)])
def test_both_the_folds_and_what_is_written_must_be_better(held_out, check, better):
    assert Changes(held_out, check).better is better


# -- errors to what is not known


def test_the_error_to_the_noise_free_image_is_estimated_without_it():
    clean, pair = noisy_pair(dose=0.2, seed=4)
    inside = ball() > 0.5
    for estimate in (pair.low, 0.5 * (pair.low + clean), clean + 0.03):
        found = float(np.mean(clean_squares(estimate, pair.low, pair.full, 0.2)[inside]))
        assert found == pytest.approx(float(np.mean((estimate - clean)[inside] ** 2)), rel=0.06, abs=0.08 * NOISE**2)


def test_uncertainty_is_fitted_to_estimates_of_squared_errors_that_may_be_negative():
    rng, scans = np.random.default_rng(0), []
    for subject in "abc":
        spread = rng.uniform(0.2, 1.0, 20_000)
        error, noise = 1.5 * spread * rng.standard_normal(spread.size), rng.standard_normal(spread.size)
        scans.append(Voxels(subject, spread, (error + noise) ** 2 - 1.0))
    table = fit_table(scans)
    assert min(scan.squares.min() for scan in scans) < 0
    np.testing.assert_allclose(np.array(table["error"]) / np.array(table["spread"]), 1.5, rtol=0.2)
    assert table["ratio"][0] == pytest.approx(1, abs=0.05) and table["ratio"][1] == pytest.approx(1, abs=0.05)


# -- the model that comes out


def test_the_mean_is_replaced_and_the_network_of_the_draws_stays(start):
    model = load_model(start)
    mean = {name: value + 1 for name, value in model.denoiser.model.state_dict().items()}
    changed = with_mean(model, mean)
    assert changed.deviation is model.deviation and changed.metadata.draws
    torch.testing.assert_close(changed.denoiser.model.state_dict(), mean, rtol=1e-3, atol=1e-3)
    assert not with_mean(replace(model, deviation=None), mean).metadata.draws
    half = average_of([mean, model.denoiser.model.state_dict()])
    torch.testing.assert_close(half["exit.bias"], mean["exit.bias"] - 0.5)


@pytest.mark.slow
def test_adapting_a_poor_start_helps_and_writes_a_whole_model_without_names(scans, start, tmp_path):
    job = job_of(scans, start, tmp_path)
    result = adapt(job)
    assert result.written and result.better and len(result.scans) == 4
    assert [scan.final for scan in result.scans] == [False, False, False, True]
    assert all(scan.after.full < scan.before.full for scan in result.scans)
    metadata = read_metadata(job.output)
    assert (metadata.name, metadata.target, metadata.mean_from) == ("adapted", "noise-free", "zero")
    assert metadata.recipes[0]["calibration"]["scans"] == 4
    assert metadata.training["adapted"]["start"]["weights_sha256"] == job.start.metadata.weights_sha256
    assert "range" in metadata.extra["noise_level_range"]
    text = contents(job.output)
    assert "Muster" not in text and "Dr Example" not in text and str(tmp_path) not in text
    assert len(metadata.training["adapted"]["data_sha256"]) == 4 + 4 + 1, "all have one MR"
    assert not job.work.exists()
    adapted = load_model(job.output)
    draws = [each.deviation.model.state_dict() for each in (adapted, load_model(start))]
    torch.testing.assert_close(*draws, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_model_that_is_no_better_is_not_written_unless_it_is_to_be_kept(few_steps, scans, start, tmp_path):
    settings = replace(QUICK, learning_rate=1e-30, calibrate=False)
    job = job_of(scans, start, tmp_path, settings)
    result = adapt(job)
    assert result.changes.held_out == 0.0 and not result.better
    assert not result.written and not job.output.exists() and job.work.is_dir()
    kept = adapt(job, keep=True)
    assert kept.written and load_model(job.output).metadata.name == "adapted"


@pytest.mark.slow
def test_an_interrupted_adaptation_goes_on_and_leaves_nothing_half_written(
    few_steps, scans, start, tmp_path, monkeypatch
):
    job = job_of(scans, start, tmp_path, replace(QUICK, calibrate=False))
    run_fold, calls = adaptation.run_fold, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_fold(*args)

    monkeypatch.setattr(adaptation, "run_fold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapt(job)
    assert not job.output.exists()
    step = json.loads((job.work / "fold-0" / "held-out.json").read_text())["step"]
    monkeypatch.setattr(adaptation, "run_fold", run_fold)
    monkeypatch.setattr("CSRDDenoiseLib.research.adaptation.prepared.load_pair", None)
    assert adapt(job, keep=True).written
    assert read_metadata(job.output).training["adapted"]["steps"][0] == step


def test_work_of_another_table_is_not_mixed_in(scans, start, tmp_path):
    job = job_of(scans, start, tmp_path)
    adaptation.prepare_pairs(job.rows[:3], job.work, 5.0)
    with pytest.raises(InputError, match="other scans"):
        adaptation.prepare_pairs(job.rows, job.work, 5.0)


def test_work_of_another_start_or_seed_is_not_mixed_in(scans, start, tmp_path, monkeypatch):
    """With another seed other subjects are held out: a fold that is done may have trained on them."""
    job = job_of(scans, start, tmp_path)
    monkeypatch.setattr(adaptation, "_planned", lambda *_: None)
    monkeypatch.setattr(adaptation, "_run_folds", lambda *_: pytest.fail("went on"))

    def begun(job: Job) -> str:
        try:
            adapt(job)
        except InputError as error:
            return str(error)
        except pytest.fail.Exception:
            return "went on"
        return "done"

    assert begun(job) == "went on"
    assert begun(replace(job, settings=replace(QUICK, minutes=5))) == "went on"
    assert "begun with seed 0, and this run has 1" in begun(replace(job, settings=replace(QUICK, seed=1)))
    other = replace(job.start, metadata=replace(job.start.metadata, weights_sha256="0" * 64))
    assert "begun with start " in begun(replace(job, start=other))
    record = job.work / "job.json"
    whole = record.read_text()
    record.write_text(whole[:20])
    assert "cannot be read" in begun(job)
    record.write_text(whole)
    # killed before the start was whole
    (job.work / "start" / "metadata.json").unlink()
    assert begun(job) == "went on" and (job.work / "start" / "metadata.json").is_file()


def test_one_head_under_two_names_is_not_adapted_to(scans, start, tmp_path):
    for name in ("low_dose_1_4", "full_dose"):
        (tmp_path / f"{name}.nii.gz").write_bytes((scans.parent / "MusterA" / f"{name}.nii.gz").read_bytes())
    job = job_of(scans, start, tmp_path)
    copy = replace(
        job.rows[1], low=tmp_path / "low_dose_1_4.nii.gz", full=tmp_path / "full_dose.nii.gz", labels=None, mr=None
    )
    with pytest.raises(InputError, match=r"MusterB.* has the same content as that of MusterA"):
        adaptation.prepare_pairs([job.rows[0], copy], tmp_path / "work", 5.0)


def test_a_pair_whose_doses_are_swapped_is_not_adapted_to(scans, start, tmp_path):
    row = job_of(scans, start, tmp_path).rows[0]
    swapped = replace(row, low=row.full, full=row.low, mr=None)
    with pytest.raises(InputError, match=r"MusterA.*swapped"):
        adaptation.prepare_pairs([swapped], tmp_path / "work", 5.0)


def test_an_mr_that_lies_elsewhere_is_reported_or_registered(scans, start, tmp_path, caplog):
    row = job_of(scans, start, tmp_path).rows[0]
    mr = sitk.ReadImage(str(row.mr))
    mr.SetOrigin([place + shift for place, shift in zip(mr.GetOrigin(), (24.0, 0.0, 18.0))])
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    moved = replace(row, mr=tmp_path / "mr.nii.gz")
    adaptation.prepare_pairs([moved], tmp_path / "as-it-lies", 5.0)
    assert "misaligned" in caplog.text
    caplog.clear()
    adaptation.prepare_pairs([moved], tmp_path / "registered", 5.0, register=True)
    assert "misaligned" not in caplog.text
    true, elsewhere, registered = (
        np.load(adaptation.prepare_pairs([each], tmp_path / name, 5.0, register).folder / "00000.npy")[2]
        for each, name, register in (
            (row, "true", False),
            (moved, "as-it-lies", False),
            (moved, "registered", True),
        )
    )
    assert np.corrcoef(true.ravel(), registered.ravel())[0, 1] > 0.95
    assert np.corrcoef(true.ravel(), elsewhere.ravel())[0, 1] < 0.8


def test_models_that_cannot_be_adapted_are_rejected_before_any_work(scans, tmp_path):
    other = save_tiny_model(tmp_path / "other", **{**BANDED, "mean_from": "noise"})
    with pytest.raises(InputError, match="without noise"):
        adapt(job_of(scans, other, tmp_path))
    assert not (tmp_path / "work").exists()
    with pytest.raises(InputError, match="TissueRegression"):
        adapt(Job((), load_model("tissue"), tmp_path / "out", tmp_path / "work", QUICK))


def test_the_command_refuses_a_folder_with_something_in_it(scans, start, tmp_path, capsys):
    assert main(["adapt", str(scans), "--start", str(start), "--output", str(start), "--minutes", "1"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_folder_with_the_users_files_is_no_folder_of_work_and_stays(scans, start, tmp_path, capsys):
    """What is kept until the model is written is removed then."""
    notes = tmp_path / "scratch" / "notes.txt"
    notes.parent.mkdir()
    notes.touch()
    words = ["adapt", str(scans), "--start", str(start), "--output", str(tmp_path / "mine")]
    assert main([*words, "--work", str(notes.parent)]) == 2
    assert "not empty" in capsys.readouterr().err and notes.exists()
    notes.rename(notes.with_name("job.json"))
    assert adaptation.check_output(tmp_path / "mine", notes.parent) == notes.parent


@pytest.mark.parametrize(("output", "work"), [("mine", "mine"), ("all/mine", "all"), ("mine", "mine/work")])
def test_the_folder_of_work_is_not_that_of_the_model(scans, start, tmp_path, capsys, output, work):
    """It is removed when the model is written, and the model was with it."""
    words = ["adapt", str(scans), "--start", str(start), "--output", str(tmp_path / output)]
    assert main([*words, "--work", str(tmp_path / work)]) == 2
    assert "neither hold" in capsys.readouterr().err and not (tmp_path / Path(output).parts[0]).exists()


@pytest.mark.parametrize("work", ["notes", "notes/work"])
def test_a_folder_of_work_that_cannot_be_made_is_refused(scans, start, tmp_path, work):
    (tmp_path / "notes").write_text("mine")
    words = ["adapt", str(scans), "--start", str(start), "--output", str(tmp_path / "mine")]
    assert main([*words, "--work", str(tmp_path / work)]) == 2
    assert (tmp_path / "notes").read_text() == "mine" and not (tmp_path / "mine").exists()


def test_a_start_that_needs_an_mr_is_not_adapted_to_pairs_without_one(scans, tmp_path):
    """The uncertainty could not be fitted after the training, and then no model was written."""
    job = job_of(scans, save_tiny_model(tmp_path / "start", **BANDED, mr_optional=False), tmp_path)
    rows = [*job.rows[:-1], replace(job.rows[-1], mr=None)]
    with pytest.raises(InputError, match=r"needs an MR, and MusterD.* has none"):
        adapt(replace(job, rows=rows))
    assert not job.work.exists()


@pytest.mark.parametrize(("factor", "begun"), [(0.7, False), (1.4, True)])
def test_a_factor_between_low_and_full_dose_is_not_learned(scans, start, tmp_path, factor, begun):
    """The part of the full dose that is not the low dose would be off by more than that factor."""
    job = job_of(scans, start, tmp_path / "new")
    sitk.WriteImage(sitk.ReadImage(str(job.rows[0].low)) * factor, str(tmp_path / "low.nii.gz"))
    if begun:
        adaptation._claim(job)
    with pytest.raises(InputError, match="MusterA") as refused:
        adapt(replace(job, rows=[replace(job.rows[0], low=tmp_path / "low.nii.gz"), *job.rows[1:]]))
    assert float(str(refused.value).split(" times ")[0].split()[-1]) == pytest.approx(factor, rel=0.01)
    assert job.work.exists() == begun == (tmp_path / "new").exists(), "a folder of a refused call stays"


@pytest.mark.slow
def test_the_command_prints_the_held_out_scans_and_the_model(few_steps, scans, start, tmp_path, capsys):
    words = ["adapt", str(scans), "--start", str(start), "--output", str(tmp_path / "mine"), "--minutes", "3"]
    assert main([*words, "--no-calibration", "--keep", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and "model" in table[0]
    assert printed.count("| 0.25 |") == 4 and "Model 'mine'" in printed and printed.count("| as written |") == 1
    assert not list(tmp_path.glob(".adapting-*"))


@pytest.mark.parametrize("dose", [1 / 4, 1 / 30, 1 / 50, 1 / 100, 1 / 1000])
def test_the_noise_range_has_the_doses_of_the_pairs(dose):
    assert _trained_doses([dose], 1.0) == [dose]
    least, own, most = _trained_doses([dose], 2.0)
    assert own == dose and least == pytest.approx(dose / 4, rel=0.4) and most == pytest.approx(4 * dose, rel=0.5)


def test_pairs_are_distinguished_by_number_in_the_pool(tmp_path):
    from CSRDDenoiseLib.research.training.measured import MeasuredPool

    fill_pool(tmp_path, 3)
    pool = MeasuredPool(tmp_path, (2, 0), 5.0, "noise-bands", "noise-free")
    assert [pool.path(number).name for number in range(pool.available())] == ["00002.npy", "00000.npy"]
    assert math.isclose(pool.doses_of(0)[0], 0.25)
