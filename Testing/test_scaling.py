"""The scaling curve: the states that a training kept, and the model, scored in the order of the voxels seen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from phantom_pool import training_file, write_phantom
from safetensors.torch import save_file
from tiny_model import TINY, save_tiny_model, tiny_network

from CSRDDenoiseLib.atomic import write_json
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.metadata import CHANNELS
from CSRDDenoiseLib.research.evidence import scaling
from CSRDDenoiseLib.research.evidence.scaling import Scaling, run_scaling, scaling_page
from CSRDDenoiseLib.research.training.config import load_config
from CSRDDenoiseLib.research.training.pool import pool_of
from CSRDDenoiseLib.research.training.readiness import claim_pool

SCHEME = "noise-bands"
NETWORK = {**TINY, "in_channels": 1 + len(CHANNELS[SCHEME])}


@pytest.fixture
def config(tmp_path):
    training = training_file(tmp_path)
    write_phantom(pool_of(load_config(training), "test"))
    save_tiny_model(
        tmp_path / "run" / "model",
        architecture=NETWORK, normalisation=SCHEME, channels=CHANNELS[SCHEME], target="noise-free", mean_from="zero",
        training={"steps": 40, "settings": {"batch": 2, "patch": 10}},
    )  # fmt: skip
    for step in (10, 20, 30, 40):
        weights = {name: value.half() for name, value in tiny_network(step, NETWORK).state_dict().items()}
        save_file(weights, tmp_path / "run" / f"average-{step}.safetensors")
    path = tmp_path / "scaling.yaml"
    path.write_text(f"training: {training.name}\noutput: out\npage: page.md\nphantoms: [0]\n", encoding="utf-8")
    return path


def results_of(path) -> dict:
    return json.loads((path.parent / "out" / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_state_is_scored_once_and_a_call_goes_on(config, monkeypatch):
    scored, score = [], scaling.score_scan
    monkeypatch.setattr(scaling, "score_scan", lambda *args: scored.append(args[2:]) or score(*args))
    assert main(["experiment", "scaling", str(config)]) == 0
    found = results_of(config)
    assert {step: each["voxels"] for step, each in found["points"].items()} == {
        "10": 20_000, "20": 40_000, "30": 60_000, "40": 80_000,
    }  # fmt: skip
    assert scored == 4 * [(0, 1 / 4), (0, 1 / 10), (0, 1 / 20)]
    psnr = [each["rows"][0]["psnr_clean"] for each in found["points"].values()]
    assert len(set(psnr)) == 4, "each state is a network of its own"
    assert (config.parent / "page.md").read_text(encoding="utf-8").count("| 1/10 |") == 4
    # what is lost is scored again, and so is what is of other weights
    del found["points"]["20"]["rows"][1]
    found["points"]["30"]["weights"] = "of an earlier training"
    (config.parent / "out" / "results.json").write_text(json.dumps(found), encoding="utf-8")
    scored.clear()
    again, complete = run_scaling(read_placed(config, Scaling))
    assert complete and scored == [(0, 1 / 10), (0, 1 / 4), (0, 1 / 10), (0, 1 / 20)]
    assert [each["rows"][0]["psnr_clean"] for each in again["points"].values()] == pytest.approx(psnr, abs=1e-3)


def test_nothing_is_begun_after_the_time(config):
    results, complete = run_scaling(read_placed(config, Scaling), minutes=0)
    assert not complete and list(results["points"]) == ["10", "20", "30", "40"]
    assert "scaling" in scaling_page(read_placed(config, Scaling), results)
    assert not (config.parent / "page.md").exists()


def test_what_is_missing_or_of_another_network_is_named(config):
    run = config.parent / "run"
    save_file(tiny_network(0, {**NETWORK, "widths": [8, 16]}).state_dict(), run / "average-10.safetensors")
    with pytest.raises(InputError, match="average-10"):
        run_scaling(read_placed(config, Scaling))
    for path in run.glob("average-*"):
        path.unlink()
    with pytest.raises(InputError, match="milestones"):
        run_scaling(read_placed(config, Scaling))


def test_no_experiment_scores_phantoms_of_other_settings(config, tmp_path, capsys):
    write_json(tmp_path / "data" / "split.json", {"train": ["synthseg/a"], "validation": [], "test": ["synthseg/c"]})
    training = load_config(tmp_path / "train.yaml")
    pool = pool_of(replace(training, seed=5), "test", ["synthseg/c"])
    for path in pool.folder.glob("*"):
        path.rename(tmp_path / path.name)
    claim_pool(pool)
    networks = {"networks": {"ours": {"architecture": NETWORK}}}
    for name, more in (("evidence", {}), ("scaling", {}), ("head-to-head", networks)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"training": "train.yaml", "output": "out", "phantoms": [0], **more}))
        capsys.readouterr()
        assert main(["experiment", name, str(path)]) == 2
        assert "was simulated with first_seed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
