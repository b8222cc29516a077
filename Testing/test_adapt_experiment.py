"""The experiment on adaptation: sites are made once, nothing is run twice, and the shares are of what was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.adaptation import experiment, sites
from CSRDDenoiseLib.research.adaptation.experiment import Experiment, run_experiment, summarise
from CSRDDenoiseLib.research.adaptation.settings import AdaptSettings
from CSRDDenoiseLib.research.likeness import experiment as likeness
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
