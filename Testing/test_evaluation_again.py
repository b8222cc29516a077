"""An evaluation that meets what is there already, or what is missing: experiments, subjects, doses."""

from __future__ import annotations

import errno
import json
import re
from fractions import Fraction
from functools import wraps
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError, NotComplete
from CSRDDenoiseLib.research.evaluation.experiments import EXPERIMENTS
from CSRDDenoiseLib.research.evaluation.experiments.dose import our_methods
from CSRDDenoiseLib.research.evaluation.run import EvaluationConfig, run_evaluation
from CSRDDenoiseLib.research.evaluation.study import load_study
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


@pytest.mark.slow
def test_experiments_of_other_subjects_of_the_same_names_are_never_joined(one_alone, folder, tmp_path, capsys):
    again = copytree(folder, tmp_path / "again" / folder.name)
    assert one_alone("trust", subjects=[str(again)]) == 0
    facts = json.loads((again / "subject.json").read_text(encoding="utf-8"))
    (again / "subject.json").write_text(json.dumps({**facts, "seed": 7}), encoding="utf-8")
    capsys.readouterr()
    assert one_alone("protocol", subjects=[str(again)]) == 2
    assert f"subjects_sha256.{folder.name}" in capsys.readouterr().err


@pytest.mark.slow
def test_an_experiment_that_another_run_writes_in_the_meantime_stays(one_alone, tmp_path, monkeypatch):
    protocol = EXPERIMENTS["protocol"]

    @wraps(protocol)
    def beside_another(*arguments, **options):
        assert one_alone("trust") == 0
        return protocol(*arguments, **options)

    monkeypatch.setitem(EXPERIMENTS, "protocol", beside_another)
    assert one_alone("protocol") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert list(results["measurements"]) == list(results["about"]["experiments"]) == ["trust", "protocol"]


# -- options and doses


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("contrast", {"filters": []}, "'filters'"),
        ("contrast", {"filters": ["Gaussian", "Gaussain"]}, "'Gaussain'"),
        ("cost", {"presets": ["fastest"]}, "'fastest'"),
        ("cost", {"steps": [0, 4]}, "'steps'"),
        ("noise", {"steps": 1}, "'steps' is 1"),
        ("counts", {"doses": []}, "'doses'"),
        ("alignment", {"doses": []}, "'doses'"),
        ("alignment", {"offsets": [[2]]}, "'offsets[0]' is [2]"),
        ("signatures", {"subjects": 0}, "'subjects' is 0"),
        ("dose", {"samples": "many"}, "a whole number"),
    ],
)
def test_a_wrong_option_is_refused_before_the_experiments_in_front_of_it(folder, model, tmp_path, name, options, word):
    experiments = {"protocol": {"dose": "1/4"}, name: options}
    with pytest.raises(InputError, match=re.escape(word)):
        run_evaluation(EvaluationConfig((folder,), str(model), tmp_path / "out", experiments=experiments))
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def of_two_doses(folder, tmp_path_factory) -> tuple[Path, Path]:
    """A subject, and one that lacks the dose 1/4."""
    other = write_study(tmp_path_factory.mktemp("without") / "without", seed=1)
    (other / "low_dose_1_4.nii.gz").unlink()
    return folder, other


@pytest.mark.parametrize("name", ["low_dose_1_4", "t1", "noise_free", "labels", "tissue", "activity"])
@pytest.mark.parametrize("change", [lambda image: image[:-5, :, :], lambda image: shifted(image, 8.0)])
def test_an_image_of_a_subject_on_another_grid_is_refused(folder, tmp_path, name, change):
    subject = copytree(folder, tmp_path / "subject")
    path = str(subject / f"{name}.nii.gz")
    sitk.WriteImage(change(sitk.ReadImage(path)), path)
    with pytest.raises(InputError, match=rf"{name}\.nii\.gz' lies on another grid"):
        load_study(subject)


def shifted(image: sitk.Image, mm: float) -> sitk.Image:
    image.SetOrigin([each + mm for each in image.GetOrigin()])
    return image


@pytest.mark.parametrize("name", ["full_dose", "low_dose_1_4", "noise_free"])
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_pet_of_a_subject_that_holds_no_image_is_named(folder, tmp_path, name, value):
    subject = copytree(folder, tmp_path / "subject")
    image = sitk.ReadImage(str(subject / f"{name}.nii.gz"))
    if value == 0:
        image *= 0.0
    else:
        image[18, 18, 18] = value
    sitk.WriteImage(image, str(subject / f"{name}.nii.gz"))
    with pytest.raises(InputError, match=rf"{name}\.nii\.gz' .*(0 everywhere|NaN)"):
        load_study(subject)


@pytest.mark.parametrize("name", ["low_dose_1_4", "noise_free"])
@pytest.mark.parametrize(("factor", "word"), [(0.5, r"0\.(5|49)\S* times"), (1e-3, "0.00"), (None, "identical")])
def test_a_pet_of_a_subject_in_another_unit_is_refused(folder, tmp_path, name, factor, word):
    subject = copytree(folder, tmp_path / "subject")
    path, full = subject / f"{name}.nii.gz", subject / "full_dose.nii.gz"
    image = sitk.ReadImage(str(full)) if factor is None else sitk.ReadImage(str(path)) * factor
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match=word):
        load_study(subject)


def test_a_calibration_looks_at_every_subject_before_it_runs(folder, model, tmp_path, monkeypatch, capsys):
    subject = copytree(folder, tmp_path / "last")
    image = sitk.ReadImage(str(subject / "low_dose_1_4.nii.gz"))
    sitk.WriteImage(image * 0.0, str(subject / "low_dose_1_4.nii.gz"))
    monkeypatch.setattr("CSRDDenoiseLib.denoise.denoise", lambda *_: pytest.fail("ran"))
    words = ["calibrate", str(model), "--device", "cpu", "--subjects", str(folder)]
    assert main([*words, str(subject)]) == 2
    assert "low_dose_1_4.nii.gz' is 0" in capsys.readouterr().err
    assert main([*words, str(folder.parent / "." / folder.name)]) == 2
    assert "named twice" in capsys.readouterr().err


@pytest.mark.parametrize("value", [-3, float("nan")])
def test_labels_that_are_none_are_refused(folder, tmp_path, value):
    subject = copytree(folder, tmp_path / "subject")
    labels = sitk.ReadImage(str(subject / "labels.nii.gz"))
    labels[18, 18, 18] = value
    sitk.WriteImage(labels, str(subject / "labels.nii.gz"))
    with pytest.raises(InputError, match="labels below 0"):
        load_study(subject)


def test_axes_that_point_elsewhere_are_no_other_grid(folder, tmp_path):
    subject = copytree(folder, tmp_path / "subject")
    path = str(subject / "low_dose_1_4.nii.gz")
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), "RAS"), path)
    one, other = load_study(folder), load_study(subject)
    dose = Fraction(1, 4)
    np.testing.assert_array_equal(one.array(one.low_doses[dose]), other.array(other.low_doses[dose]))


@pytest.mark.slow
def test_a_subject_that_lacks_the_dose_is_not_counted(of_two_doses, model, tmp_path):
    experiments = {
        "alignment": {"doses": ["1/10", "1/4"], "offsets": [[0, 0]], "registrations": 0},
        "signatures": {"doses": ["1/4"]},
        "protocol": {"dose": "1/4", "facts": ["tracer", "tracer.of", "scanner.spacing"]},
    }
    config = EvaluationConfig(of_two_doses, str(model), tmp_path / "out", experiments=experiments)
    alignment, signatures, protocol = run_evaluation(config)
    assert [row[-2] for row in alignment.tables[0].rows] == ["3"], "n"
    found = {row[0]: row[1] for row in signatures.tables[0].rows}
    assert found["zero-filled slices"].startswith("1 of 1"), "of the one subject that has it"
    assert [(row[0], row[1], row[-1]) for row in protocol.tables[0].rows] == [
        ("tracer", "fdg", "1"),
        ("scanner.spacing", "4", "1"),
    ]


@pytest.mark.parametrize("doses", [["1/4", "1/4"], ["1/4", 0.25]])
def test_a_dose_that_is_named_twice_is_refused(folder, model, tmp_path, doses):
    """Each scan of it would count as two subjects, with no deviation between them."""
    config = EvaluationConfig((folder,), str(model), tmp_path / "out", experiments={"dose": {"doses": doses}})
    with pytest.raises(InputError, match="1/4"):
        run_evaluation(config)
    assert main(["calibrate", str(model), "--subjects", str(folder), "--doses", *map(str, doses)]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_disk_that_becomes_full_leaves_and_names_the_experiments_before(folder, model, tmp_path, monkeypatch):
    protocol, output = EXPERIMENTS["protocol"], tmp_path / "out"

    def full(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    @wraps(protocol)
    def fills_the_disk(*given, **options):
        monkeypatch.setattr(Path, "write_bytes", full)
        return protocol(*given, **options)

    monkeypatch.setitem(EXPERIMENTS, "protocol", fills_the_disk)
    experiments = {"trust": {"samples": 2, "steps": 2, "dose": "1/4"}, "protocol": {"facts": ["tracer"], "dose": "1/4"}}
    with pytest.raises(NotComplete, match=r"'protocol' .*No space left.* Those of trust are kept"):
        run_evaluation(EvaluationConfig((folder,), str(model), output, experiments=experiments))
    assert list(json.loads((output / "results.json").read_text())["sections"]) == ["trust"]
    with pytest.raises(InputError, match="Nothing was written"):
        run_evaluation(
            EvaluationConfig((folder,), str(model), tmp_path / "b", experiments={"protocol": experiments["protocol"]})
        )


@pytest.mark.parametrize("draws", [False, True])
def test_a_model_that_draws_no_samples_has_no_rows_of_draws(draws):
    model = SimpleNamespace(metadata=SimpleNamespace(draws=draws, target="noise-free"))
    bench = SimpleNamespace(model=model, settings=lambda **chosen: DenoiseSettings(**chosen))
    assert len(our_methods(bench, 8)) == (3 if draws else 1)
