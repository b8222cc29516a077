"""The command line where it is interrupted, has no place to print to, or is given what cannot be used."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ENVIRONMENT, ONE_THREAD, as_image, head_array, write_anatomies
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.commands.streams import SteadyStream
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.extras import EXTRAS, require
from CSRDDenoiseLib.research.simulation import subject as simulation

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="descriptors and signals are POSIX")


@pytest.fixture
def words(tmp_path, model_folder) -> list[str]:
    """A command line that is fine and quick."""
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    files = ["--pet", str(tmp_path / "pet.nii.gz"), "--output", str(tmp_path / "out.nii.gz")]
    settings = ["--preset", "fast", "--device", "cpu"]
    return [sys.executable, "-m", "CSRDDenoiseLib", "denoise", *files, "--model", str(model_folder), *settings]


def assert_complete(folder: Path) -> None:
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nii.gz")))).all()
    assert json.loads((folder / "out_provenance.json").read_text())["outputs"]
    assert not list(folder.glob(".*")), "leftovers"


# -- nowhere to print to


@pytest.mark.slow
@POSIX
def test_a_reader_of_the_progress_may_leave(words, tmp_path):
    with subprocess.Popen(
        [*words, "--progress", "json"], env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert '"stage"' in run.stdout.readline()
        run.stdout.close()
        err = run.stderr.read()
    assert run.returncode == 0 and "Traceback" not in err and "BrokenPipe" not in err
    assert_complete(tmp_path)


@POSIX
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "progress", "code"), [("stdout", "json", 1), ("stderr", "json", 0), ("stderr", "bar", 1)]
)
def test_a_full_device_loses_the_words_and_not_the_result(words, tmp_path, stream, progress, code):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with open("/dev/full", "w") as full:
        done = subprocess.run([*words, "--progress", progress], env=ONE_THREAD, **{**pipes, stream: full})
    assert done.returncode == code
    assert "Traceback" not in f"{done.stdout}{done.stderr}"
    if stream == "stdout":
        assert "Standard output is incomplete" in done.stderr
    assert_complete(tmp_path)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("closed", ["1>&-", "0<&- 1>&- 2>&-"])
def test_closed_descriptors_lose_the_words_and_not_the_result(words, tmp_path, closed):
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words, "--progress", "bar"], env=ONE_THREAD)
    assert done.returncode == 0
    assert_complete(tmp_path)


def test_letters_that_the_encoding_lacks_are_escaped():
    content = io.BytesIO()
    stream = SteadyStream(io.TextIOWrapper(content, encoding="ascii"))
    print("a \u2264 b", file=stream)
    stream.flush()
    assert content.getvalue().split() == [b"a", rb"\u2264", b"b"] and stream.failure is None


# -- interrupts


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.15, 0.5, 1.1])
def test_an_interrupt_in_the_first_seconds_ends_the_program(words, tmp_path, delay):
    before = sorted(tmp_path.iterdir())
    # a shell's background jobs ignore Ctrl-C, and hand that down
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    many = ["--sampler", "dpmpp", "--steps", "1000", "--samples", "1000"]
    with subprocess.Popen([*words, *many], env=ONE_THREAD, stderr=subprocess.PIPE, text=True, **heed) as run:
        time.sleep(delay)
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=60)[1]
    # before the program has begun, Python itself ends with the signal
    assert run.returncode in (3, -signal.SIGINT), err
    assert run.returncode != 3 or ("Cancelled" in err and "Traceback" not in err)
    assert sorted(tmp_path.iterdir()) == before


def test_subjects_that_cannot_be_simulated_do_not_stop_the_others(anatomies, tmp_path, capsys):
    folder = tmp_path / "anatomy" / "synthseg"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"ball{2 * number}.nii.gz").write_bytes(
            (anatomies / "synthseg" / f"ball{number}.nii.gz").read_bytes()
        )
    (folder / "ball1.nii.gz").write_bytes(b"no image")
    command = ["simulate", "--anatomy", str(folder.parent), "--output", str(tmp_path / "s"), "--doses", "1/4"]
    assert main([*command, "--spacing", "5", "--scanner", "iterations=1"]) == 4
    assert "synthseg/ball1' in" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["synthseg_ball0", "synthseg_ball2"]


@pytest.fixture(scope="module")
def anatomies(tmp_path_factory) -> Path:
    """Two anatomies of 6 mm voxels."""
    return write_anatomies(tmp_path_factory.mktemp("anatomy"), 2, spacing=6.0)


def test_an_interrupted_simulation_says_what_is_kept_and_goes_on(anatomies, tmp_path, monkeypatch, capsys):
    simulate, made = simulation.simulate_subject, []

    def interrupted(*arguments):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(arguments[2])
        return simulate(*arguments)

    command = ["simulate", "--anatomy", str(anatomies), "--output", str(tmp_path / "s"), "--doses", "1/4"]
    command += ["--spacing", "5", "--draws", "2", "--scanner", "iterations=1"]
    monkeypatch.setattr(simulation, "simulate_subject", interrupted)
    assert main(command) == 3
    assert "1 of 4 subjects are complete" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["synthseg_ball0_0"]
    made.clear()
    monkeypatch.setattr(
        simulation, "simulate_subject", lambda *arguments: (made.append(arguments[2]), simulate(*arguments))[1]
    )
    assert main([*command, "--resume"]) == 0
    assert made == [1, 2, 3] and len(list((tmp_path / "s").iterdir())) == 4
    assert main([*command, "--resume", "--seed", "7"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_an_interrupt_before_anything_was_written_says_so(anatomies, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulation, "simulate_subject", interrupted)
    assert main(["simulate", "--anatomy", str(anatomies), "--output", str(tmp_path / "s")]) == 3
    assert "Nothing was written" in capsys.readouterr().err and not (tmp_path / "s").exists()


# -- packages and other programs


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_reported_with_its_extra(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"csrd-denoise\[{EXTRAS[module][1]}\]"):
        require("json", module)


def test_each_command_that_reads_yaml_names_its_own_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "c.yaml").write_text("{}")
    for command in ("train", "evaluate"):
        assert main([command, str(tmp_path / "c.yaml")]) == 2
        assert f"'csrd-denoise[{command}]'" in capsys.readouterr().err


def test_validate_asks_for_all_its_packages_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert main(["validate", str(tmp_path / "pairs.tsv"), "--output", str(tmp_path / "out")]) == 2
    assert "csrd-denoise[evaluate]" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["skimage", "matplotlib"])
def test_the_demo_asks_for_its_packages_before_the_work(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--output", str(tmp_path / "demo")]) == 2
    assert f"csrd-denoise[{EXTRAS[module][1]}]" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


BACKENDS = ["module://matplotlib_inline.backend_inline", "module://none", "none"]


@pytest.mark.slow
def test_a_backend_of_another_program_does_not_end_the_report(words, tmp_path):
    command = [*words, "--report", str(tmp_path / "report")]
    done = subprocess.run(command, env={**ONE_THREAD, "MPLBACKEND": BACKENDS[0]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "out.html").is_file()


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_backend_of_another_program_gives_way_to_one_for_files(backend, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", backend)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["MPLBACKEND"] == "agg"


# -- what cannot be used


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["calibrate", "m", "--subjects", "s", "--doses", "1/0"], "1/0"),
        (["calibrate", "m", "--subjects", "s", "--doses", "2"], "between 0 and 1"),
        (["calibrate", "m", "--subjects", "s", "--doses", "x"], "'x'"),
        (["simulate", "--anatomy", "a", "--output", "o", "--spacing", "-2"], "-2"),
        (["simulate", "--anatomy", "a", "--output", "o", "--spacing", "nan"], "nan"),
        (["simulate", "--anatomy", "a", "--output", "o", "--draws", "-1"], "-1"),
        (["simulate", "--anatomy", "a", "--output", "o", "--draws", "0"], "0"),
        (["simulate", "--anatomy", "a", "--output", "o", "--seed", "-5"], "-5"),
        (["train", "c.yaml", "--minutes", "-1"], "-1"),
        (["train", "c.yaml", "--minutes", "nan"], "nan"),
        (["import-model", "s.pkl", "--output", "o", "--spacing", "0"], "0"),
        (["benchmark", "--size", "0"], "0"),
        (["benchmark", "--size", "100x"], "''"),
        (["benchmark", "--size", "96x96"], "96x96"),
    ],
)
def test_arguments_out_of_range_are_bad_usage(arguments, word, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    printed = capsys.readouterr().err
    assert exit_.value.code == 2 and word in printed.splitlines()[-1] and "Traceback" not in printed


def test_an_empty_path_is_not_the_current_folder(words, tmp_path, capsys):
    at = words.index("--pet") + 1
    assert main([*words[3:at], "", *words[at + 1 :]]) == 2
    assert "'--pet'" in capsys.readouterr().err and not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--doses", "1/0"], "1/0"),
        (["--doses", "1/4,,1/10"], "''"),
        (["--doses", "3"], "between 0 and 1"),
        (["--scanner", "counts=0"], "counts=0"),
        (["--scanner", "counts=many"], "counts=many"),
        (["--scanner", "counts=nan"], "counts=nan"),
        (["--scanner", "iterations=2.5"], "iterations=2.5"),
        (["--scanner", "subsets=10"], "96 angles cannot be split into 10"),
        (["--scanner", "cuonts=1e8"], "did you mean 'counts'"),
        (["--scanner", "model_resolution=maybe"], "maybe"),
        (["--subject", "synthseg/none"], "synthseg/none"),
        (["--split", "none.json"], "none.json"),
    ],
)
def test_wrong_facts_of_a_simulation_are_one_sentence(anatomies, tmp_path, capsys, arguments, word):
    command = ["simulate", "--anatomy", str(anatomies), "--output", str(tmp_path / "s"), *arguments]
    assert main(command) == 2
    printed = capsys.readouterr().err.strip()
    assert word in printed and len(printed.splitlines()) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("content", ["[1]", "{}", '{"test": 3}', '{"test": [3]}', "\x00", '{"test"'])
def test_a_split_that_is_none_is_one_sentence(anatomies, tmp_path, capsys, content):
    (tmp_path / "split.json").write_text(content)
    command = ["simulate", "--anatomy", str(anatomies), "--output", str(tmp_path / "s")]
    assert main([*command, "--split", str(tmp_path / "split.json")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--output", "no/such/x.json"], "no/such"),
        (["--output", "."], "folder"),
        (["--model", "nobody"], "'nobody'"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_the_benchmark_refuses_before_the_work(arguments, word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("measured"))
    assert main(["benchmark", "--size", "16", "--preset", "fast", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_a_benchmark_that_fails_is_no_success(tmp_path, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nValueError: broken")
    monkeypatch.setattr("CSRDDenoiseLib.research.benchmark.process.subprocess.run", lambda *_, **__: failed)
    model = save_tiny_model(tmp_path / "m")
    assert main(["benchmark", "--size", "16", "--preset", "fast", "--model", str(model), "--device", "cpu"]) == 1
    assert "Failed: network: it failed: ValueError: broken" in capsys.readouterr().err


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("subjects") / "one")


@pytest.mark.parametrize(
    ("experiments", "words"),
    [
        ("dose: {doses: [1/7]}", ("1/7", "1/4, 1/10")),
        ("dose: {doses: [1/0]}", ("1/0",)),
        ("dose: {doses: [3]}", ("between 0 and 1",)),
        ("dose: {doses: 1/4}", ("'doses' is '1/4'", "a list")),
        ("dose: {baselines: [Gaussain]}", ("'Gaussain'", "Gaussian")),
        ("dose: {samples: many}", ("'samples' is 'many'",)),
        ("trust: {dose: 1/7}", ("1/7",)),
        ("trust: {dsoe: 1/4}", ("did you mean 'dose'",)),
        ("turst: {}", ("did you mean 'trust'",)),
        ("protocol: 3", ("'experiments.protocol' is 3",)),
    ],
)
def test_an_experiment_that_cannot_be_run_is_refused_before_the_work(study, tmp_path, capsys, experiments, words):
    model = save_tiny_model(tmp_path / "m", voxel_spacing_mm=4.0)
    text = f"subjects: [{study}]\nmodel: {model}\noutput: out\nexperiments:\n  {experiments}\n"
    (tmp_path / "config.yaml").write_text(text)
    assert main(["evaluate", str(tmp_path / "config.yaml")]) == 2
    printed = capsys.readouterr().err.strip()
    assert all(word in printed.splitlines()[-1] for word in words), printed
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_dose_that_no_subject_has_is_not_calibrated_on(study, tmp_path, capsys):
    model = save_tiny_model(tmp_path / "m", voxel_spacing_mm=4.0)
    assert main(["calibrate", str(model), "--subjects", str(study), "--doses", "1/7"]) == 2
    assert "1/7" in capsys.readouterr().err
    assert main(["calibrate", str(model), "--subjects", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_a_home_that_cannot_be_used_is_no_matter_for_figures(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    program = """
from CSRDDenoiseLib.commands.log import show_log
with show_log():
    import matplotlib
    print(matplotlib.get_cachedir())
"""
    where = {"HOME": str(tmp_path / "file"), "MPLCONFIGDIR": str(tmp_path / "file" / "cache")}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env={**ENVIRONMENT, **where}, capture_output=True, text=True, check=True)
    assert done.stdout and not done.stderr
