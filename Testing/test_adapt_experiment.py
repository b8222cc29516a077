"""The experiment on adaptation: sites are made once, nothing is run twice, and the shares are of what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.adaptation import experiment, sites
from CSRDDenoiseLib.research.adaptation.experiment import Experiment, run_experiment, summarise
from CSRDDenoiseLib.research.adaptation.settings import AdaptSettings
from CSRDDenoiseLib.research.likeness import examples
from CSRDDenoiseLib.research.likeness import experiment as likeness
from CSRDDenoiseLib.research.simulation.families import draw_scanner_of
from CSRDDenoiseLib.research.simulation.scanner import Scanner

pytest.importorskip("nibabel")
CONFIG = """
anatomy: {anatomy}
output: out
model: {model}
steps: 6
variants: {{adapted: {{patch: 16}}}}
own: {{patch: 16}}
counts: {{pairs: 3, held_out: 1, training: 1, stopping: 1}}
sites:
  coarse: {{tracer: fdg, dose: 1/5, scanner: {{spacing: 5.0, counts: 2e7, iterations: 1, subsets: 6}}}}
"""


@pytest.fixture
def config(anatomy_folder, tmp_path, monkeypatch):
    from test_adapt import BANDED

    names = sites.list_anatomies(anatomy_folder)
    monkeypatch.setattr(sites, "list_anatomies", lambda folder: [*names, names[0]])
    model = save_tiny_model(tmp_path / "tiny", **BANDED)
    path = tmp_path / "experiment.yaml"
    path.write_text(CONFIG.format(anatomy=anatomy_folder, model=model))
    return path


@pytest.mark.slow
def test_a_site_is_run_once_and_goes_on(config, monkeypatch, capsys):
    assert main(["experiment", "adapt", str(config)]) == 0
    assert "| coarse | trained on the site |" in capsys.readouterr().out
    path = config.parent / "out" / "results.json"
    results = json.loads(path.read_text())
    models = results["sites"]["coarse"]["models"]
    assert set(models) == {"start", "trained on the site", "adapted"}
    assert all(len(each["subjects"]) == 1 for each in models.values())
    assert models["trained on the site"]["steps"] >= 0 and isinstance(models["adapted"]["refused"], bool)
    monkeypatch.setattr(experiment, "_of_model", None)
    monkeypatch.setattr(sites, "simulate_subject", None)
    assert run_experiment(read_placed(config, Experiment))["coarse"]["models"] == models


def test_results_of_other_settings_are_not_taken_for_those_of_this_run(config):
    run = read_placed(config, Experiment)
    known, done = run.sites["coarse"], {name: {} for name in ("start", "trained on the site", "adapted")}
    run.output.mkdir()
    experiment._save(run, {"coarse": {"site": sites.site_facts(known), "models": done}})
    kept = experiment._load(run)["coarse"]
    assert experiment._load(replace(run, sites={**run.sites, "new": known}))["coarse"] == kept
    for changed in (
        replace(run, steps=7),
        replace(run, variants={"adapted": AdaptSettings(patch=24)}),
        replace(run, sites={"coarse": replace(known, dose=0.1)}),
    ):
        with pytest.raises(InputError, match="choose another output folder"):
            run_experiment(changed)


@pytest.mark.slow
def test_subjects_of_a_site_of_other_settings_are_not_taken_for_those_of_this_run(config, monkeypatch):
    """Those of a run that was stopped while it simulated, so that there are no results yet."""
    run, made = read_placed(config, Experiment), []

    def stopped(*arguments):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        return simulate(*arguments)

    simulate = sites.simulate_subject
    with monkeypatch.context() as patched:
        patched.setattr(sites, "simulate_subject", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(run)
    known = run.sites["coarse"]
    other_scanner = replace(known, scanner=replace(known.scanner, counts=5e7))
    for changed in (replace(run, sites={"coarse": other_scanner}), replace(run, seed=5)):
        with pytest.raises(InputError, match=r"were simulated with (scanner|seed).*choose another output folder"):
            run_experiment(changed)
    (run.output / "sites" / "coarse" / "site.json").unlink()
    with pytest.raises(InputError, match=r"no site\.json"):
        run_experiment(run)


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("tracer: fdg", "tracer: fgd", "'tracer' is 'fgd'; it must be one of fdg"),
        ("dose: 1/5", "dose: 2", "'dose' is 2"),
        ("dose: 1/5", "dose: 1", "'dose' is 1"),
        ("dose: 1/5", "dose: 0.001", "dose 1/1000 cannot be named"),
        ("held_out: 1", "held_out: 0", "'held_out' is 0"),
        ("pairs: 3", "pairs: 2", "'pairs' is 2"),
    ],
)
def test_a_site_that_cannot_be_simulated_is_refused_before_the_work(config, capsys, right, wrong, words):
    config.write_text(config.read_text().replace(right, wrong))
    assert main(["experiment", "adapt", str(config)]) == 2
    assert words in capsys.readouterr().err and not (config.parent / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"), [({"scans": 0}, "'scans' is 0"), ({"dose": 2.0}, "'dose' is 2"), ({"tracer": "fgd"}, "fgd")]
)
def test_low_doses_that_cannot_be_made_are_refused_before_the_work(tmp_path, changes, words):
    site = {"tracer": "fdg", "dose": 0.2, "scanner": {}}
    values = {"anatomy": "a", "output": "out", "sites": {"sharp": {**site, **changes}}}
    if "scans" in changes:
        values = {**values, "sites": {"sharp": site}, **changes}
    (tmp_path / "like.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=words):
        read_placed(tmp_path / "like.json", likeness.LikeExperiment)


def test_a_regression_learns_from_simulations_of_its_own_settings_alone(tmp_path, anatomy_folder, monkeypatch):
    drawn, learned = [], []

    def of_number(config, number, family):
        drawn.append(number)
        yield np.full((3, 2), config.seed, np.float32), np.zeros((3, 2), np.float32)

    monkeypatch.setattr(examples, "_examples", of_number)
    monkeypatch.setattr(examples, "fit_regression", lambda found: learned.append(found) or SimpleNamespace(save=str))
    families = [examples.Drawn(10, {"spacing": 3.0})]
    config = examples.LikeRegression(anatomy_folder, tmp_path / "out", families)
    for run in (config, config, replace(config, seed=16), replace(config, families=[examples.Drawn(12, {})])):
        examples.run_like_regression(run)
    assert len(drawn) == 10 + 0 + 10 + 12, "simulations of the same settings are kept"
    assert [set(np.unique(found.shown)) for found in learned] == [{15}, {15}, {16}, {15}]
    assert [len(set(found.heads)) for found in learned] == [10, 10, 10, 12]
    with pytest.raises(InputError, match="9 simulations"):
        examples.run_like_regression(replace(config, families=[examples.Drawn(9, {})]))


@pytest.mark.parametrize(
    ("scanner", "words"),
    [
        ({"colour": 3}, "colour"),
        ({"counts": {"log_normal": [1e7, 1e8]}}, "log_normal"),
        ({"counts": {"log_uniform": ["few", 1e8]}}, "few"),
        ({"updates": 30}, "subsets"),
    ],
)
def test_a_family_that_cannot_be_drawn_from_is_refused_before_the_work(tmp_path, scanner, words):
    values = {"anatomy": "a", "output": "out", "families": [{"simulations": 10, "scanner": scanner}]}
    (tmp_path / "regression.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=words):
        read_placed(tmp_path / "regression.json", examples.LikeRegression)


def test_numbers_of_a_family_may_be_text():
    counts = {"counts": {"log_uniform": ["2e7", "4e8"]}}, {"counts": {"log_uniform": [2e7, 4e8]}}
    text, number = (draw_scanner_of(each, np.random.default_rng(5)) for each in counts)
    assert text == number


@pytest.mark.parametrize("name", ["projector", "like-regression"])
def test_a_folder_without_anatomies_is_refused(tmp_path, capsys, name):
    families = {"families": [{"simulations": 10, "scanner": {}}]} if name == "like-regression" else {}
    (tmp_path / "experiment.json").write_text(json.dumps({"anatomy": ".", "output": "out", **families}))
    assert main(["experiment", name, str(tmp_path / "experiment.json")]) == 2
    assert "has no anatomies" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_low_doses_of_another_setting_are_not_taken_for_those_of_this_run(tmp_path, monkeypatch):
    monkeypatch.setattr(likeness, "_of_site", lambda *_: {"dose": 0.2})
    site = likeness.LikeSite("fdg", 0.2, Scanner())
    config = likeness.LikeExperiment(tmp_path, tmp_path / "out", {"sharp": site})
    first = likeness.run_like_experiment(config)
    assert likeness.run_like_experiment(config) == json.loads(json.dumps(first))
    for changed in (replace(config, scans=5), replace(config, sites={"sharp": replace(site, dose=0.1)})):
        with pytest.raises(InputError, match="choose another output folder"):
            likeness.run_like_experiment(changed)


def test_the_share_that_is_closed_is_that_of_decibels():
    def model(*values):
        scores = {"result_db": 1.0, "full_db": 1.0, "error_percent": 1.0}
        return {"subjects": [{"estimate_db": value, **scores} for value in values]}

    models = {"start": model(20.0, 22.0), "trained on the site": model(22.0, 24.0), "adapted": model(21.5, 21.5)}
    found = summarise(models)["closed"]["adapted"]
    assert found["estimate_db"] == {"gap_db": 2.0, "closed": 0.25, "worse": 1}
    assert found["result_db"]["closed"] is None, "without a gap there is no share of it"


def test_too_few_anatomies_are_reported(config, monkeypatch):
    monkeypatch.setattr(sites, "list_anatomies", lambda folder: ["synthseg/ball0"])
    with pytest.raises(InputError, match="6 anatomies"):
        run_experiment(read_placed(config, Experiment))


def test_a_scanner_with_an_unknown_fact_is_reported(config):
    config.write_text(config.read_text().replace("subsets", "colour"))
    with pytest.raises(InputError, match="colour"):
        read_placed(config, Experiment)


def test_the_shipped_configuration_is_of_sites_that_can_be_simulated():
    from pathlib import Path

    config = read_placed(Path(__file__).resolve().parent.parent / "configs" / "experiment-adapt.yaml", Experiment)
    assert all(site.scanner.spacing > 2 for site in config.sites.values())
    assert config.counts.pairs == 5 and config.counts.held_out >= 4
