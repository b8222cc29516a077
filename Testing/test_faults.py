"""Faults from outside: killed at any moment, no room, no right, no memory. The input stays, no output is half there,
and the next run works.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ENVIRONMENT, as_image, head_array

from CSRDDenoiseLib.commands.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, mounts and limits are POSIX")

SIGNALS = {"SIGKILL": 17, "SIGTERM": 17, "SIGINT": 16}
OUTPUTS = ("out.nii.gz", "difference.nrrd", "out_provenance.json")
SECONDS = 120
SPARE_MEMORY = 60 << 20
# everything is imported before the word that the job may be killed from, so that a case costs a fork and no more
SERVER = """
import os, signal, sys, time
import numpy, monai.inferers, SimpleITK, torch
import CSRDDenoiseLib.infer.sampling
from CSRDDenoiseLib.commands.main import main
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
torch.set_num_threads(1)
arguments = sys.argv[1:]
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(main([*arguments, *line.split()]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def inputs_of(folder: Path) -> Path:
    """A folder with a PET and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(as_image(head_array((14, 16, 15))), str(folder / "pet.nii.gz"))
    return folder


def words(folder: Path, model: Path, output: Path | None = None) -> list[str]:
    """A command line that is fine and quick."""
    output = output or folder
    files = {"pet": folder / "pet.nii.gz", "output": output / OUTPUTS[0], "difference": output / OUTPUTS[1]}
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    options = ["--model", str(model), "--steps", "2", "--samples", "2", "--device", "cpu", "--progress", "none"]
    return ["denoise", *arguments, *options]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - visible(folder)


def is_whole(folder: Path) -> bool:
    """Whether every output can be read and they fit together."""
    pet, denoised, difference = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))) for name in ("pet.nii.gz", *OUTPUTS[:2])
    )
    json.loads((folder / OUTPUTS[2]).read_text())
    return bool(np.array_equal(denoised - pet, difference))


class Server:
    """A process with all libraries loaded that forks one job after the other."""

    def __init__(self, arguments: list[str]):
        command = [sys.executable, "-c", SERVER, *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def job(self, number: int = 0, after: float = 0.0, *options: str) -> tuple[int, float]:
        """Run one job, sending it a signal after some seconds (0: none); return its exit code and its seconds."""
        began = time.monotonic()
        self.process.stdin.write(" ".join(options) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if number:
            time.sleep(after)
            # until it is waited for, a process that has ended keeps its number
            try:
                os.kill(child, number)
            except ProcessLookupError:
                number = 0
        return int(self.process.stdout.readline()), time.monotonic() - began

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return inputs_of(tmp_path_factory.mktemp("server") / "data")


@pytest.fixture(scope="module")
def serving(data, model_folder):
    """It takes longer to start than to do a job."""
    started = Server(words(data, model_folder))
    yield started
    started.close()


@pytest.fixture
def server(serving, data):
    clear(data)
    return serving


def clear(folder: Path) -> None:
    for output in OUTPUTS:
        (folder / output).unlink(missing_ok=True)


@pytest.mark.slow
def test_killed_50_times_at_random_moments(server, data):
    folder = data
    before = digest(folder / "pet.nii.gz")
    code, seconds = server.job()
    assert code == 0 and is_whole(folder)
    moments, codes = random.Random(0), set()
    for name, times in SIGNALS.items():
        for _ in range(times):
            clear(folder)
            killed = hidden(folder)
            code, _ = server.job(getattr(signal, name), moments.uniform(0.01, 1.1) * seconds)
            codes.add(code)
            # a Ctrl-C before the program has begun ends it as it ends any program
            assert code in (0, 3, -signal.SIGKILL, -signal.SIGINT), f"{name}: exit code {code}"
            assert digest(folder / "pet.nii.gz") == before
            left = visible(folder) - {"pet.nii.gz"}
            assert not left or (left == set(OUTPUTS) and is_whole(folder)), f"{name} left {left}"
            if code == 3:
                # it may have been stopped before it came to remove what a killed run left
                assert hidden(folder) <= killed, "temporary files stay"
    assert {3, -signal.SIGKILL} <= codes, "no job was hit while it worked"
    assert server.job(0, 0.0, "--overwrite")[0] == 0
    assert is_whole(folder)
    assert not [path for path in folder.iterdir() if ".partial." in path.name], "a dead run's files stay for ever"


@pytest.mark.slow
def test_outputs_that_exist_are_not_replaced_unasked(server, data):
    folder = data
    assert server.job()[0] == 0
    content = {path.name: digest(path) for path in folder.iterdir()}
    assert server.job()[0] == 2, "outputs that exist are kept"
    assert {path.name: digest(path) for path in folder.iterdir()} == content


# -- no room, no right


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A small disk of its own; where mounting is not permitted the test is skipped."""
    place.mkdir()
    run = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True)
    if run.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {run.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kib", [4, 8, 12])
def test_full_disk_is_reported_and_nothing_is_left_on_it(kib, tmp_path, model_folder, capsys):
    folder = inputs_of(tmp_path / "data")
    before = digest(folder / "pet.nii.gz")
    with mounted(tmp_path / "disk", f"size={kib}k") as disk:
        assert main(words(folder, model_folder, disk)) == 2
        printed = capsys.readouterr().err.strip()
        assert "Nothing was written" in printed.splitlines()[-1] and "Traceback" not in printed
        assert list(disk.iterdir()) == []
    assert digest(folder / "pet.nii.gz") == before
    assert main(words(folder, model_folder)) == 0 and is_whole(folder)


@pytest.mark.slow
def test_full_disk_under_a_report_leaves_nothing_either(tmp_path, model_folder, capsys):
    folder = inputs_of(tmp_path / "data")
    with mounted(tmp_path / "disk", "size=64k") as disk:
        assert main([*words(folder, model_folder), "--report", str(disk)]) == 2
        assert "Nothing was written" in capsys.readouterr().err
        assert list(disk.iterdir()) == [] and visible(folder) == {"pet.nii.gz"}


@contextmanager
def locked(place: Path) -> Iterator[Path]:
    """A folder that cannot be written to, not even by root."""
    if os.geteuid() == 0:
        with mounted(place, "ro"):
            yield place
        return
    place.mkdir(mode=0o500)
    yield place
    place.chmod(0o700)


def test_read_only_folder_is_rejected_before_the_work(tmp_path, model_folder, capsys):
    folder = inputs_of(tmp_path / "data")
    with locked(tmp_path / "locked") as place:
        assert main(words(folder, model_folder, place)) == 2
        printed = capsys.readouterr().err.strip()
        assert "cannot be written to" in printed and len(printed.splitlines()) == 1
        assert main([*words(folder, model_folder), "--report", str(place / "new")]) == 2
        assert "cannot be written to" in capsys.readouterr().err
        assert list(place.iterdir()) == [] and visible(folder) == {"pet.nii.gz"}
    assert main(words(folder, model_folder)) == 0 and is_whole(folder)


# -- no memory


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the size of the process")
@pytest.mark.parametrize("spare", [0, SPARE_MEMORY])
def test_memory_that_runs_out_is_a_sentence_and_leaves_nothing(tmp_path, model_folder, spare):
    folder = tmp_path / "data"
    folder.mkdir()
    big = sitk.Image(150, 150, 150, sitk.sitkFloat32) + 1.0
    big[40:110, 40:110, 40:110] = sitk.Image(70, 70, 70, sitk.sitkFloat32) + 100.0
    big.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(big, str(folder / "pet.nii.gz"))
    before = digest(folder / "pet.nii.gz")
    limited = (
        "import resource, sys, monai.inferers, numpy, CSRDDenoiseLib.denoise, CSRDDenoiseLib.infer.sampling, torch\n"
        # to compile a module without memory is a SyntaxError
        "import CSRDDenoiseLib.commands.denoise\n"
        "from CSRDDenoiseLib.commands.main import main\n"
        # linear algebra takes its buffers at the first product, and ends the process where it cannot
        "numpy.ones((64, 64)) @ numpy.ones((64, 64)); numpy.linalg.solve(numpy.eye(9), numpy.ones(9))\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (size + {spare}, size + {spare}))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, *words(folder, model_folder)]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=5 * SECONDS)
    assert run.returncode == 2, run.stderr[-800:]
    assert "memory" in run.stderr.lower() and "Traceback" not in run.stderr
    assert visible(folder) == {"pet.nii.gz"} and digest(folder / "pet.nii.gz") == before


# -- the same again


def test_same_run_gives_the_same_bytes_and_but_for_times_the_same_record(tmp_path, model_folder):
    folder = inputs_of(tmp_path / "data")
    found = []
    for _ in range(2):
        assert main([*words(folder, model_folder), "--overwrite"]) == 0
        record = json.loads((folder / OUTPUTS[2]).read_text())
        timeless = {
            name: value for name, value in record.items() if name not in ("created", "seconds", "peak_memory_bytes")
        }
        found.append((digest(folder / OUTPUTS[0]), digest(folder / OUTPUTS[1]), timeless))
    assert found[0] == found[1]
