"""The experiment on adaptation: sites are made once, nothing is run twice, and the shares are of what was measured."""

from __future__ import annotations

import json

import pytest
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.adaptation import experiment, sites
from CSRDDenoiseLib.research.adaptation.experiment import Experiment, run_experiment, summarise

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
