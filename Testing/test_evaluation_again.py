"""An evaluation that meets what is there already: experiments of before, subjects of one name, draws of one head."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import pytest
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.evaluation.experiments.dose import our_methods
from CSRDDenoiseLib.research.evaluation.run import EvaluationConfig, run_evaluation
from CSRDDenoiseLib.settings import DenoiseSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("subjects") / "subject")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", voxel_spacing_mm=4.0)


def test_two_subjects_of_one_name_are_refused_before_the_work(folder, model, tmp_path, capsys):
    copytree(folder, tmp_path / "b" / folder.name)
    words = ["--subjects", str(folder), str(tmp_path / "b" / folder.name), "--model", str(model)]
    assert main(["evaluate", *words, "--output", str(tmp_path / "out")]) == 2
    assert "have the same name" in capsys.readouterr().err and not (tmp_path / "out").exists()


# -- experiments of before


@pytest.fixture
def one_alone(folder, model, tmp_path):
    """Run one experiment of a configuration of two alone; returns the exit code."""

    def run(name: str, **changes) -> int:
        experiments = {
            "trust": {"samples": 2, "steps": 2, "dose": "1/4"},
            "protocol": {"facts": ["tracer"], "dose": "1/4"},
        }
        config = {"subjects": [str(folder)], "model": str(model), "output": "out", "experiments": experiments}
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        return main(["evaluate", str(tmp_path / "config.json"), "--experiment", name])

    return run


@pytest.mark.slow
def test_an_experiment_that_is_run_alone_leaves_the_others_and_the_page_has_all(one_alone, tmp_path, capsys):
    assert one_alone("trust") == 0
    alone = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert one_alone("protocol") == 0
    capsys.readouterr()
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(results["measurements"]) == list(results["about"]["experiments"]) == ["trust", "protocol"]
    assert results["measurements"]["trust"] == alone["measurements"]["trust"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Trust</h2>" in page and "<h2>Scanners and protocols</h2>" in page
    assert page.count("data:image/png;base64,") == 1 and "Reliability of the uncertainty" in page
    tables = (tmp_path / "out" / "trust.md").read_text(encoding="utf-8")
    assert one_alone("protocol") == 0, "the same again takes the place of the former"
    assert (tmp_path / "out" / "trust.md").read_text(encoding="utf-8") == tables


@pytest.mark.slow
def test_experiments_of_another_model_are_never_joined(one_alone, tmp_path, capsys):
    assert one_alone("trust") == 0
    other = {"model": str(save_tiny_model(tmp_path / "other", seed=5, voxel_spacing_mm=4.0))}
    before = (tmp_path / "out" / "results.json").read_bytes()
    capsys.readouterr()
    assert one_alone("protocol", **other) == 2
    message = capsys.readouterr().err
    assert "has the experiment trust" in message and "weights_sha256" in message and "another output" in message
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    assert one_alone("trust", **other) == 0, "nothing is lost where all are repeated"
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    for damaged, words in (({"sections": {}}, "earlier versions"), ({"about": 3}, "cannot be read")):
        (tmp_path / "out" / "results.json").write_text(json.dumps({**results, **damaged}))
        capsys.readouterr()
        assert one_alone("protocol", **other) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("doses", [["1/4", "1/4"], ["1/4", 0.25]])
def test_a_dose_that_is_named_twice_is_refused(folder, model, tmp_path, doses):
    """Each scan of it would count as two subjects, with no deviation between them."""
    config = EvaluationConfig((folder,), str(model), tmp_path / "out", experiments={"dose": {"doses": doses}})
    with pytest.raises(InputError, match="1/4"):
        run_evaluation(config)
    assert main(["calibrate", str(model), "--subjects", str(folder), "--doses", *map(str, doses)]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("draws", [False, True])
def test_a_model_that_draws_no_samples_has_no_rows_of_draws(draws):
    model = SimpleNamespace(metadata=SimpleNamespace(draws=draws, target="noise-free"))
    bench = SimpleNamespace(model=model, settings=lambda **chosen: DenoiseSettings(**chosen))
    assert len(our_methods(bench, 8)) == (3 if draws else 1)
