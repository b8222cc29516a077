"""Simulation, validation and evaluation on workers of a Dask scheduler give what they give here."""

from __future__ import annotations

import json
import os
import sys

import nibabel
import numpy as np
import pytest
from pair_folder import row_of, write_rows, write_subject
from study_folder import write_study

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster.local import WorkerPlan, local_cluster
from CSRDDenoiseLib.cluster.places import Place
from CSRDDenoiseLib.cluster.tasks import spread_over
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    with local_cluster([WorkerPlan(1), WorkerPlan(1)]) as cluster:
        yield cluster.scheduler_address


def test_simulated_subjects_are_the_same(address, anatomy_folder, tmp_path, capsys):
    words = ["simulate", "--anatomy", str(anatomy_folder), "--spacing", "5", "--doses", "1/4", "--seed", "3"]
    chosen = ["--subject", "synthseg/ball0", "--subject", "synthseg/ball1"]
    assert main([*words, *chosen, "--output", str(tmp_path / "here")]) == 0
    assert main([*words, *chosen, "--output", str(tmp_path / "there"), "--scheduler", address]) == 0
    assert capsys.readouterr().out.count("ball1") == 4
    for path in sorted((tmp_path / "here").rglob("*.nii.gz")):
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert np.array_equal(nibabel.load(path).get_fdata(), nibabel.load(other).get_fdata()), path.name


def results_of(folder, name="results.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(each) for key, each in value.items() if key != "seconds"}
    return [without_seconds(each) for each in value] if isinstance(value, list) else value


def test_evaluation_is_the_same(address, model_folder, tmp_path):
    pytest.importorskip("skimage")
    folders = [str(write_study(tmp_path / f"subject{number}", seed=number)) for number in range(2)]
    words = [
        "evaluate",
        "--model",
        str(model_folder),
        "--device",
        "cpu",
        "--experiment",
        "protocol",
        "--subjects",
        *folders,
    ]
    assert main([*words, "--output", str(tmp_path / "here")]) == 0
    assert main([*words, "--output", str(tmp_path / "there"), "--scheduler", address]) == 0
    here, there = (without_seconds(results_of(tmp_path / name)["measurements"]) for name in ("here", "there"))
    assert here == there and len(here["protocol"]) > 0


def test_validation_is_the_same_and_names_the_subject_that_fails(address, model_folder, tmp_path, capsys):
    pytest.importorskip("skimage")
    rows = []
    for number in range(3):
        write_subject(tmp_path, f"s{number}", number)
        rows.append(row_of(f"s{number}"))
    (tmp_path / "s2" / "low_dose_1_4.nii.gz").write_bytes(b"no image")
    table = write_rows(tmp_path / "pairs.tsv", rows)
    words = ["validate", str(table), "--model", str(model_folder), "--filter", "Gaussian", "--preset", "fast"]
    words += ["--device", "cpu", "--progress", "json"]
    assert main([*words, "--output", str(tmp_path / "here")]) == 4
    assert main([*words, "--output", str(tmp_path / "there"), "--scheduler", address]) == 4
    here, there = (without_seconds(results_of(tmp_path / name)) for name in ("here", "there"))
    assert here["measurements"] == there["measurements"] and list(there["about"]["failed"]) == ["s2"]


def double(number):
    if number == 3:
        raise InputError("Three is refused.")
    return 2 * number


def test_each_job_comes_back_with_its_result_or_its_error(address):
    # a module of the tests is not installed on the workers, so the function goes by value
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with spread_over(Place(address)) as spread:
        found = dict(spread(double, range(8)))
    assert "refused" in str(found.pop(3)) and found == {number: 2 * number for number in range(8) if number != 3}


def test_libraries_of_a_worker_have_its_threads_and_those_of_this_process_keep_theirs(monkeypatch):
    from distributed import Client

    names = [f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS")]
    names.append("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with local_cluster([WorkerPlan(3)]) as cluster, Client(cluster) as client:
        (found,) = client.run(lambda: [os.environ.get(name) for name in names]).values()
    assert found == ["3"] * 4
    assert not any(name in os.environ for name in names)
