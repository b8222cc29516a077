"""A validation of subjects with several sessions: scans without an MR, repeats in each; and what workers are sent."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from pair_folder import row_of, write_rows

from CSRDDenoiseLib.commands import validate
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.findings import info
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.research.evaluation.measure import CEILING
from CSRDDenoiseLib.research.evaluation.methods import INPUT
from CSRDDenoiseLib.research.validation import run as validation
from CSRDDenoiseLib.research.validation.choice import choose, measurements
from CSRDDenoiseLib.research.validation.comparison import gains_of, splits_of
from CSRDDenoiseLib.research.validation.figures import shown
from CSRDDenoiseLib.research.validation.result import Measured, ScanResult, Split, SubjectResult
from CSRDDenoiseLib.research.validation.subject import Plan, variants
from CSRDDenoiseLib.settings import settings_from_preset

MODEL = "net"


def scan(name: str, **psnr: float) -> ScanResult:
    """A scan with the PSNR of its low dose, and of the model where that was measured."""
    names = {"low": INPUT, "net": MODEL}
    measured = tuple(Measured(names[key], None, {"psnr": value}, (), (), 1.0) for key, value in psnr.items())
    return ScanResult(name, "1/4", (), (), measured, None, ())


@pytest.mark.parametrize("lacks", [0, 1])
def test_a_gain_is_over_the_scans_that_both_methods_have(lacks):
    """A model that needs an MR, and a session without one, whose low dose is far better."""
    scans = [scan("A, session 1", low=30.0, net=33.0), scan("A, session 2", low=50.0)]
    results = [SubjectResult("A", tuple(scans[::-1] if lacks == 0 else scans), ())]
    (gain,) = gains_of(choose(results), [MODEL])
    assert (gain.over, gain.gain.mean, gain.gain.count) == (INPUT, 3.0, 1)


def test_methods_without_a_scan_in_common_have_no_gain():
    results = [SubjectResult("A", (scan("A, session 1", net=33.0), scan("A, session 2", low=50.0)), ())]
    assert not list(gains_of(choose(results), [MODEL]))


def filtered(subject: str, limit: float, **psnr: float) -> SubjectResult:
    """A subject with one scan, its ceiling, and the PSNR of filters."""
    names = {"low": INPUT, "gaussian": "Gaussian", "guided": "MR-guided filter", "net": MODEL}
    setting = {"gaussian": 4.0, "guided": 0.1}
    measured = tuple(Measured(names[k], setting.get(k), {"psnr": value}, (), (), 1.0) for k, value in psnr.items())
    return SubjectResult(subject, (ScanResult(subject, "1/4", (), (), measured, limit, ()),), ())


def test_the_best_filter_is_that_of_the_scans_that_all_filters_have():
    """Subjects without an MR are noisier, and the MR-guided filter is no better for not having them."""
    results = [filtered(name, 40.0, low=30.0, gaussian=35.0, guided=34.0, net=36.0) for name in "AB"]
    results += [filtered(name, 30.0, low=20.0, gaussian=25.0, net=26.0) for name in "CD"]
    _, gain = gains_of(choose(results), [MODEL])
    assert gain.over.startswith("Gaussian") and (gain.gain.mean, gain.gain.count) == (1.0, 4)
    assert shown(choose(results), [MODEL]) == [INPUT, gain.over, MODEL], "the figures"


def test_the_ceiling_of_a_subject_is_the_mean_over_all_its_scans():
    one, other = filtered("A", 40.0, gaussian=35.0, guided=34.0), filtered("A, session 2", 30.0, gaussian=25.0)
    found = measurements(choose([SubjectResult("A", one.scans + other.scans, ())]))
    (limit,) = [each.scores["psnr"] for each in found if each.method == CEILING]
    assert limit == 35.0


def test_every_session_with_repeated_scans_counts():
    splits = (Split("1/4", INPUT, None, 0.01, 0.02, 1), Split("1/4", INPUT, None, 0.03, None, 1))
    (found,) = splits_of(choose([SubjectResult("A", (scan("A", low=30.0),), splits)]), [SubjectResult("A", (), splits)])
    assert found.noise == pytest.approx(np.sqrt(0.02)) and found.bias == pytest.approx(np.sqrt(0.01))
    assert found.total == pytest.approx(np.sqrt(0.02)) and found.count == 1


def test_a_scan_without_an_mr_is_measured_where_the_others_are_registered(model_folder):
    settings = settings_from_preset("fast", device="cpu", precision="float32", register=True)
    pet = as_image(head_array())
    study = SimpleNamespace(low_doses={1: pet}, array=sitk.GetArrayFromImage)
    plan = Plan({MODEL: load_model(model_folder, "cpu")}, settings, ())
    (ours,) = [each for each in variants(plan) if each.method == MODEL]
    assert ours.apply(SimpleNamespace(mr=None, study=study, dose=1)).image.shape == head_array().shape


def test_an_mr_that_was_registered_for_the_filters_is_not_registered_again_in_every_run(model_folder, monkeypatch):
    registered = []
    monkeypatch.setattr(
        "CSRDDenoiseLib.research.validation.subject.ours",
        lambda _model, settings, _mr: lambda *_: registered.append(settings.register),
    )
    plan = Plan({MODEL: load_model(model_folder, "cpu")}, settings_from_preset("fast", register=True), ())
    (net,) = [each for each in variants(plan) if each.method == MODEL]
    for findings in ((info("registration.applied"),), ()):
        net.apply(SimpleNamespace(mr=as_image(head_array()), findings=findings, study=None, dose=1))
    assert registered == [False, True], "of a pair of a table, of a simulated subject"


def test_a_filter_that_is_named_twice_is_measured_once(tmp_path, model_folder):
    settings = settings_from_preset("fast", device="cpu", precision="float32")
    config = validation.ValidationConfig(tmp_path, (str(model_folder),), settings, filters=("Gaussian", "Gaussian"))
    assert validation._plan(config).filters == ("Gaussian",)


def test_workers_with_another_working_folder_are_sent_whole_paths(tmp_path, model_folder, monkeypatch):
    for name in ("low_dose_1_4", "full_dose"):
        (tmp_path / "A").mkdir(exist_ok=True)
        (tmp_path / "A" / f"{name}.nii.gz").touch()
    write_rows(tmp_path / "pairs.tsv", [row_of("A", mr=None, labels=None, lesions=None)])
    shutil.copytree(model_folder, tmp_path / "net")
    sent = []
    monkeypatch.setattr(validate, "spread_of", lambda _args: nullcontext())
    nothing = SimpleNamespace(gains=SimpleNamespace(), results=(), failed={})
    monkeypatch.setattr(validation, "run_validation", lambda config, *_: sent.append(config) or nothing)
    monkeypatch.chdir(tmp_path)
    words = ["validate", "pairs.tsv", "--output", "out", "--model", "net", "--model", "brain", "--progress", "json"]
    assert main([*words, "--scheduler", "tcp://127.0.0.1:1"]) == 0
    (config,) = sent
    (row,) = config.table.rows
    assert (row.low, config.output) == (tmp_path / "A" / "low_dose_1_4.nii.gz", tmp_path / "out")
    assert config.models == (str(tmp_path / "net"), "brain")
