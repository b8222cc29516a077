"""The command line: exit codes, JSON lines, signals, and no heavy import before it is needed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ENVIRONMENT, as_image, head_array
from full_disk import full_disk

from CSRDDenoiseLib import __version__
from CSRDDenoiseLib.commands import demo
from CSRDDenoiseLib.commands.main import COMMANDS, main
from CSRDDenoiseLib.commands.progress import ProgressBar, describe, describe_seconds, progress_callback
from CSRDDenoiseLib.progress import Progress


@pytest.fixture
def words(tmp_path, pet, mr, model_folder) -> list[str]:
    """A command line that is fine and quick."""
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    sitk.WriteImage(mr, str(tmp_path / "mr.nrrd"))
    files = ["--pet", tmp_path / "pet.nii.gz", "--mr", tmp_path / "mr.nrrd", "--output", tmp_path / "out.nii.gz"]
    return [*map(str, ["denoise", *files, "--model", model_folder]), "--steps", "2", "--samples", "2"]


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_denoise_writes_volumes_and_record(words, tmp_path, capsys):
    extra = ["--difference", str(tmp_path / "d.mha"), "--uncertainty", str(tmp_path / "u.nrrd"), "--seed", "3"]
    assert main([*words, *extra]) == 0
    assert {"out.nii.gz", "out_provenance.json", "d.mha", "u.nrrd"} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "out_provenance.json").read_text())["seed"] == 3
    printed = capsys.readouterr()
    assert printed.out == "" and "Wrote" in printed.err and "sample" in printed.err


def test_json_progress_ends_with_the_result(words, capsys):
    assert main([*words, "--progress", "json"]) == 0
    *reports, last = lines(capsys.readouterr().out)
    assert {"stage", "step", "of", "fraction", "eta_seconds", "message"} <= set(reports[0])
    assert last["result"]["outputs"]["denoised"].endswith("out.nii.gz")


def test_values_beyond_what_is_computed_with_are_refused(words, tmp_path, capsys):
    pet = sitk.GetImageFromArray(head_array().astype(np.float64) * 1e200)
    pet.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    assert main(words) == 2
    assert "1.46e+204" in capsys.readouterr().err and not (tmp_path / "out.nii.gz").exists()


def test_json_progress_ends_with_the_error(words, tmp_path, capsys):
    (tmp_path / "out.nii.gz").write_text("mine")
    assert main([*words, "--progress", "json"]) == 2
    printed = capsys.readouterr()
    last = lines(printed.out)[-1]
    assert last["exit_code"] == 2 and "exists already" in last["error"]
    assert "exists already" in printed.err and "Traceback" not in printed.err
    assert (tmp_path / "out.nii.gz").read_text() == "mine"
    assert main([*words, "--overwrite", "--progress", "none"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--steps", "0"], "'steps' is 0"),
        (["--overlap", "0.95"], "'overlap' is 0.95"),
        (["--samples", "0"], "'samples' is 0"),
        (["--patch-size", "30"], "multiple of 4"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--model", "nobody"], "'nobody'"),
        (["--pet", "nowhere.nii"], "nowhere.nii"),
        (["--sampler", "mean", "--uncertainty", "u.nii"], "mean"),
        (["--mr", "pet.nii.gz"], "same path"),
        (["--output", "series", "--format", "dicom"], "no DICOM series"),
    ],
)
def test_bad_input_is_one_sentence_exit_two_and_nothing_written(words, tmp_path, capsys, monkeypatch, change, word):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([*words, *change, "--progress", "none"]) == 2
    printed = capsys.readouterr().err.strip()
    assert word in printed and len(printed.splitlines()) == 1 and printed.endswith(".")
    assert sorted(tmp_path.iterdir()) == before


def test_a_patch_size_that_the_model_cannot_take_is_refused_before_the_work(words, capsys):
    assert main([*words, "--patch-size", "30", "--progress", "json"]) == 2
    assert {each["stage"] for each in lines(capsys.readouterr().out) if "stage" in each} == {"read"}


@pytest.mark.parametrize("size", ["1", "12", "8x4x12"])
def test_patches_below_what_the_program_would_choose_are_refused_before_the_work(words, capsys, size):
    assert main([*words, "--patch-size", size, "--progress", "json"]) == 2
    printed = lines(capsys.readouterr().out)
    assert "at least 16" in printed[-1]["error"]
    assert {each["stage"] for each in printed if "stage" in each} == {"read"}
    assert main([*words, "--patch-size", "4x4x16", "--device", "nowhere"]) == 2
    assert "at least" not in capsys.readouterr().err


def test_nan_is_refused_or_repaired(words, tmp_path, capsys):
    array = head_array()
    array[0, 0, :5] = np.nan
    sitk.WriteImage(as_image(array), str(tmp_path / "pet.nii.gz"))
    assert main(words) == 2
    assert "5 of 17472" in capsys.readouterr().err
    assert main([*words, "--nan-to-zero"]) == 0
    assert "Warning" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["denoise"], ["nonsense"], ["denoise", "--sampler", "x"]])
def test_bad_usage_is_exit_two(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2 and "usage" in capsys.readouterr().err


def test_internal_error_names_the_file_of_the_details(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("CSRDDenoiseLib.denoise.denoise_files", lambda *_: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(words) == 1
    printed = capsys.readouterr().err.strip()
    (log,) = tmp_path.glob("csrd-denoise-*.log")
    assert str(log) in printed and len(printed.splitlines()) == 1
    assert "ZeroDivisionError" in log.read_text()
    assert main(["--debug", *words]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_details_of_an_internal_error_are_printed_where_no_file_takes_them(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("CSRDDenoiseLib.denoise.denoise_files", lambda *_: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert "ZeroDivisionError" in printed and "Traceback" in printed and "above" in printed.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="a current folder cannot be removed there")
def test_a_current_folder_that_was_removed_is_refused(tmp_path, monkeypatch, capsys):
    """PyTorch's libraries end the process there, and with a code of their own."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["info"]) == 2
    assert "current folder" in capsys.readouterr().err


def test_an_interrupt_leaves_no_part_of_a_json_line(monkeypatch):
    class Interrupted(io.StringIO):
        def write(self, text):
            super().write(text)
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        progress_callback("json")(Progress("sample", 1, 2, 0.5))
    assert sys.stdout.getvalue().endswith("}\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_cancels_and_leaves_nothing(words, tmp_path, name):
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "CSRDDenoiseLib", *words, "--samples", "100000", "--progress", "json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # a shell's background jobs ignore Ctrl-C, and hand that down
    with subprocess.Popen(command, env=ENVIRONMENT, preexec_fn=_handle_interrupts, **pipes) as run:
        while '"sample"' not in run.stdout.readline():
            pass
        run.send_signal(getattr(signal, name))
        out, err = run.communicate(timeout=60)  # far less than the samples asked for would take
    assert run.returncode == 3
    assert "Cancelled" in err and "Traceback" not in err
    assert lines(out)[-1]["exit_code"] == 3
    assert sorted(tmp_path.iterdir()) == before


def _handle_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_help_and_version_without_any_heavy_import():
    script = "import sys, CSRDDenoiseLib.commands.main as m\ntry: m.main(sys.argv[1:])\nexcept SystemExit: pass\n"
    script += "print(*sorted({'torch', 'monai', 'numpy', 'SimpleITK', 'matplotlib'} & set(sys.modules)))"
    for arguments, word in ((["--help"], "denoise"), (["--version"], __version__)):
        command = [sys.executable, "-c", script, *arguments]
        printed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True).stdout
        assert word in printed and printed.splitlines()[-1] == ""


def test_every_exported_name_is_there():
    import CSRDDenoiseLib

    for name in CSRDDenoiseLib.__all__:
        assert getattr(CSRDDenoiseLib, name) is not None
    with pytest.raises(AttributeError):
        _ = CSRDDenoiseLib.nothing_of_that_name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0 and command in capsys.readouterr().out


def test_info_prints_versions_devices_and_presets(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("torch", "cpu", "float", "balanced", "Models:"))
    cards = [Path(line.partition("card: ")[2]) for line in printed.splitlines() if "card: " in line]
    assert cards and all(card.is_file() for card in cards)


@pytest.mark.slow
def test_demo_compares_with_the_full_dose(tmp_path, monkeypatch, capsys, model_folder):
    data = tmp_path / "resources" / "SampleData"
    data.mkdir(parents=True)
    for seed, name in enumerate((demo.LOW_DOSE, demo.MR, demo.FULL_DOSE)):
        sitk.WriteImage(as_image(head_array(seed=seed)), str(data / name))
    monkeypatch.setattr(demo, "resource_folder", lambda: data.parent)
    output = tmp_path / "demo"
    arguments = ["demo", "--output", str(output), "--model", str(model_folder)]
    assert main([*arguments, "--steps", "2", "--samples", "2"]) == 0
    table = capsys.readouterr().out
    assert "low dose 1/10" in table and "denoised" in table and "PSNR" in table
    assert {path.name for path in output.iterdir()} == {
        "denoised.nii.gz",
        "denoised_provenance.json",
        "difference.nii.gz",
        "uncertainty.nii.gz",
        "comparison.png",
    }
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite", "--preset", "fast"]) == 0
    assert not (output / "uncertainty.nii.gz").exists(), "that of the former run"


def test_bar_in_a_file_is_one_line_a_stage(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        bar = ProgressBar(stream)
        for step in range(3):
            bar(Progress("sample", step, 3, step / 3))
        bar(Progress("write", 1, 1, 1.0))
    assert (tmp_path / "log").read_text().splitlines() == ["sample (0%)", "write (100%)"]


def test_remaining_time_in_words():
    assert [describe_seconds(s) for s in (0.4, 59, 200, 3900)] == ["0 s", "59 s", "3 min 20 s", "1 h 05 min"]
    assert "50% sample 4/8, 1 min 05 s left" in describe(Progress("sample", 4, 8, 0.5, 65.0))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
@pytest.mark.parametrize("library", ["python", "numpy", "torch", "safetensors"])
def test_a_full_disk_is_a_sentence_whichever_library_meets_it(library, tmp_path, capsys, monkeypatch):

    import torch
    from safetensors.torch import save_file

    path = str(tmp_path / "large")
    write = {
        "python": lambda: Path(path).write_bytes(bytes(100_000)),
        "numpy": lambda: np.save(path, np.zeros(20_000)),
        "torch": lambda: torch.save(torch.zeros(50_000), path),
        "safetensors": lambda: save_file({"a": torch.zeros(50_000)}, path),
    }[library]

    def run(_args: object) -> int:
        with full_disk(1000):
            write()
        return 0

    monkeypatch.setattr("CSRDDenoiseLib.commands.info.run", run)
    assert main(["info"]) == 2
    assert "disk is full" in capsys.readouterr().err
