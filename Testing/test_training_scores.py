"""``train --score``: what a model is scored against, on which phantoms, and where its rule goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from phantom_pool import SPACING, write_phantom
from tiny_model import save_tiny_model

from CSRDDenoiseLib.atomic import write_json
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.measures import psnr
from CSRDDenoiseLib.model import bundle
from CSRDDenoiseLib.research.training import scoring
from CSRDDenoiseLib.research.training.config import load_config
from CSRDDenoiseLib.research.training.pool import Pool, pool_of
from CSRDDenoiseLib.research.training.readiness import claim_pool
from CSRDDenoiseLib.research.training.split import load_split

BARE = float("inf")


@pytest.fixture
def pool(tmp_path) -> Pool:
    pool = Pool(tmp_path / "pool", None, (), (1 / 2,), SPACING, 0)
    write_phantom(pool)
    return pool


# -- what a model is scored against


@pytest.mark.parametrize(("target", "known"), [("full-dose", 0.0), ("noise-free", 0.5)])
def test_an_estimate_of_the_full_dose_is_compared_with_it_as_it_is(pool, monkeypatch, target, known):
    seen = []

    def estimate(model, scene):
        # the full dose but for 0.01, or the noise-free image that leads to it
        seen.append(scene)
        return ((scene.full_dose - known * scene.low_dose) / (1 - known) + np.float32(0.01)).astype(np.float32)

    monkeypatch.setattr(scoring, "bare_estimate", estimate)
    model = SimpleNamespace(metadata=SimpleNamespace(target=target))
    (row,) = scoring.score_pool(model, pool, [0])
    (scene,) = seen
    own = psnr(scene.full_dose + np.float32(0.01 * (1 - known)), scene.full_dose, scene.mask)
    assert row.ours[BARE].psnr_full == pytest.approx(own, abs=0.01) and own > 40


# -- on which phantoms, and where its rule goes


@pytest.fixture
def scored(tmp_path, pool_of_part) -> Path:
    """A configuration whose pools for validation and test have one scan, simulated elsewhere."""
    path = tmp_path / "train.yaml"
    path.write_text(
        "name: tiny\nanatomy: anatomy\noutput: run\ndata: data\ndoses: [1/4]\nunseen_doses: []\n", encoding="utf-8"
    )
    split = {"train": ["synthseg/a"], "validation": ["synthseg/b"], "test": ["synthseg/c"]}
    write_json(tmp_path / "data" / "split.json", split)
    for part in ("validation", "test"):
        write_phantom(pool_of_part(path, part))
    return path


@pytest.fixture
def pool_of_part():
    def made(path: Path, part: str, seed: int = 0) -> Pool:
        config = replace(load_config(path), seed=seed)
        return pool_of(config, part, load_split(config.split_file)[part])

    return made


def score(path: Path, part: str, *more: str) -> int:
    return main(["train", str(path), "--score", part, "--phantoms", "1", *more])


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("plan", [(), ("--draws", "3:1")])
def test_phantoms_of_another_seed_are_not_scored(scored, tmp_path, pool_of_part, capsys, part, plan):
    model = save_tiny_model(tmp_path / "run" / "model")
    other = pool_of_part(scored, part, seed=5)
    for path in other.folder.glob("*"):
        path.rename(tmp_path / path.name)
    claim_pool(other)
    for path in tmp_path.glob("00000_*"):
        path.rename(other.folder / path.name)
    assert score(scored, part, "--model", str(model), *plan) == 2
    printed = capsys.readouterr().err
    assert "was simulated with first_seed" in printed and "another folder 'data'" in printed
    assert not list((tmp_path / "run").glob("*.json"))


def test_phantoms_without_a_record_are_scored_only_where_none_can_be_simulated(scored, tmp_path, capsys):
    save_tiny_model(tmp_path / "run" / "model")
    assert score(scored, "test") == 0
    (tmp_path / "anatomy" / "synthseg").mkdir(parents=True)
    (tmp_path / "anatomy" / "synthseg" / "c.nii.gz").write_bytes(b"")
    assert score(scored, "test") == 2
    assert "no pool.json" in capsys.readouterr().err


def test_a_phantom_that_can_be_simulated_of_no_anatomy_is_refused(scored, tmp_path, capsys):
    save_tiny_model(tmp_path / "run" / "model")
    assert main(["train", str(scored), "--score", "test", "--phantoms", "0,1"]) == 2
    assert "'synthseg/c'" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["bundled", "by its folder"])
def test_a_model_of_others_is_scored_and_stays_as_it_is(scored, tmp_path, monkeypatch, capsys, named):
    model = save_tiny_model(tmp_path / "models" / "brain")
    if named == "bundled":
        monkeypatch.setattr(bundle, "list_models", lambda: [model])
    before = (model / "metadata.json").read_bytes()
    assert score(scored, "validation", "--model", "brain" if named == "bundled" else str(model)) == 0
    assert (model / "metadata.json").read_bytes() == before
    assert "only" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "scores-validation.json").read_text())["keep"]["weights"]


def test_the_model_of_the_run_takes_the_rule(scored, tmp_path):
    model = save_tiny_model(tmp_path / "run" / "model")
    assert score(scored, "validation") == 0
    rule = json.loads((tmp_path / "run" / "scores-validation.json").read_text())["keep"]
    assert json.loads((model / "metadata.json").read_text())["keep"] == rule


def test_a_model_that_is_not_there_leaves_no_folder(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: x\noutput: run\nanatomy: none\n", encoding="utf-8")
    assert main(["train", str(path), "--score", "validation"]) == 2
    assert list(tmp_path.iterdir()) == [path]
