"""The worker as a real process: what it answers, and that nothing makes it hang, lie or outlive its caller."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import SimpleITK as sitk
from tiny_model import save_tiny_model

from CSRDDenoiseLib.worker.engine import Engine
from CSRDDenoiseLib.worker.serve import Worker

ROOT = Path(__file__).resolve().parent.parent
SPARE = 150 << 20


class RealWorker:
    """A worker process and what it said."""

    def __init__(self, *command: str):
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "CSRDDenoiseLib.worker"))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, line: bytes | dict) -> None:
        self.process.stdin.write(json.dumps(line).encode() + b"\n" if isinstance(line, dict) else line)
        self.process.stdin.flush()

    def answer(self, *events: str) -> dict:
        """The next message that is one of these events; its end is an answer too."""
        for line in self.process.stdout:
            message = json.loads(line)
            if message["event"] in events:
                return message
        return {"event": "end", "code": self.process.wait(60), "errors": self.process.stderr.read().decode()}


@pytest.fixture
def worker():
    started = []

    def start(*command: str):
        started.append(RealWorker(*command))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        for pipe in (each.process.stdin, each.process.stdout, each.process.stderr):
            pipe.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("worker") / "tiny"))


@pytest.fixture
def request_of(tmp_path, pet, mr, tiny):
    sitk.WriteImage(pet, str(tmp_path / "pet.nrrd"))
    sitk.WriteImage(mr, str(tmp_path / "mr.nrrd"))

    def make(**changes) -> dict:
        names = ("pet", "mr", "output", "difference", "uncertainty", "support")
        paths = {name: str(tmp_path / f"{name}.nrrd") for name in names}
        settings = {"steps": 2, "samples": 2, "device": "cpu", **changes.pop("settings", {})}
        return {"command": "denoise", "id": 1, "model": tiny, "settings": settings, **paths, **changes}

    return make


@pytest.mark.slow
def test_nonsense_is_answered_and_survived_and_then_it_works(worker, request_of, tmp_path):
    each = worker()
    assert each.answer("ready")["pid"] == each.process.pid
    nonsense = [b"hello\n", b"[1, 2]\n", b"\xff\xfe\x00\n", b"{}\n", b'{"command": "dance"}\n', b"[" * 100_000 + b"\n"]
    for line in nonsense:
        each.send(line)
        answer = each.answer("error")
        assert answer["kind"] == "InputError"
        assert answer["message"].endswith(".")
    bad = [
        (request_of(settings={"step": 2}), "'step' is not known"),
        (request_of(settings={"steps": "many"}), "'settings.steps' is 'many'"),
        (request_of(settings={"steps": 0}), "'steps' is 0"),
        (request_of(pet=None), "'pet' is None"),
        (request_of(pet=str(tmp_path / "none.nrrd")), "does not exist"),
        (request_of(model=str(tmp_path)), "is not known"),
    ]
    for request, sentence in bad:
        each.send(request)
        answer = each.answer("error", "result")
        assert answer["event"] == "error" and sentence in answer["message"], answer
        assert answer["id"] == 1
    assert not (tmp_path / "output.nrrd").exists()
    each.send(request_of(id="good"))
    result = each.answer("error", "result")
    assert result["event"] == "result" and result["id"] == "good", result
    assert {"mean_change", "window", "histogram_counts"} <= set(result["summary"])
    assert result["provenance"]["settings"]["steps"] == 2
    outputs = {"output.nrrd", "difference.nrrd", "uncertainty.nrrd", "support.nrrd"}
    assert {path.name for path in tmp_path.glob("*.nrrd")} >= outputs
    each.process.stdin.close()
    assert each.answer("nothing more")["code"] == 0


@pytest.mark.slow
def test_progress_rises_and_cancel_stops(worker, request_of, tmp_path):
    each = worker()
    each.send(request_of(settings={"steps": 100, "samples": 50}))
    fractions = [each.answer("progress", "error")["fraction"] for _ in range(5)]
    assert fractions == sorted(fractions)
    each.send({"command": "cancel", "id": 1})
    assert each.answer("error", "result")["kind"] == "Cancelled"
    assert not (tmp_path / "output.nrrd").exists()


@pytest.mark.slow
def test_estimate_and_devices(worker, tiny):
    each = worker()
    each.send({"command": "info", "id": "i"})
    assert "cpu" in [device["name"] for device in each.answer("result", "error")["devices"]]
    each.send({"command": "estimate", "id": "c", "model": tiny, "device": "cpu"})
    answer = each.answer("result", "error")
    assert answer["voxels_per_second"] > 0 and answer["bytes_per_voxel"] > 0


@pytest.mark.slow
def test_it_ends_when_its_caller_goes_away_during_a_run(worker, request_of):
    each = worker()
    each.send(request_of(settings={"steps": 1000, "samples": 100}))
    assert each.answer("progress")
    each.process.stdin.close()
    assert each.process.wait(60) == 0  # far less than the steps asked for would take


def test_prints_of_libraries_do_not_reach_the_messages(worker):
    code = (
        "import os, CSRDDenoiseLib.worker.serve as w\n"
        "w.Engine.info = lambda *a: (print('stray'), os.write(1, b'stray'), {'devices': []})[2]\n"
        "w.main()"
    )
    each = worker("-c", code)
    each.send({"command": "info", "id": 7})
    assert each.answer("result", "error") == {"event": "result", "id": 7, "devices": []}
    each.process.stdin.close()
    assert "stray" in each.answer("nothing more")["errors"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the size of the process")
def test_no_memory_is_one_sentence_or_an_end_that_can_be_seen(worker, tmp_path, tiny):
    big = sitk.Image(220, 220, 220, sitk.sitkFloat32) + 1.0
    big[60:160, 60:160, 60:160] = sitk.Image(100, 100, 100, sitk.sitkFloat32) + 100.0
    big.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(big, str(tmp_path / "pet.nrrd"))
    code = (
        "import resource, monai.inferers, CSRDDenoiseLib.denoise, CSRDDenoiseLib.infer.sampling, torch\n"
        "import CSRDDenoiseLib.worker.serve as w\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (size + {SPARE}, size + {SPARE}))\n"
        "w.main()"
    )
    each = worker("-c", code)
    paths = {name: str(tmp_path / f"{name}.nrrd") for name in ("pet", "output")}
    each.send({"command": "denoise", "id": 1, "model": tiny, "settings": {"device": "cpu"}, **paths})
    answer = each.answer("error", "result")
    assert answer["event"] == "end" or answer["kind"] == "OutOfMemoryError", answer
    assert not (tmp_path / "output.nrrd").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_killed_it_leaves_no_half_written_output(worker, request_of, tmp_path):
    each = worker()
    each.send(request_of(settings={"steps": 1000, "samples": 100}))
    each.answer("progress")
    os.kill(each.process.pid, signal.SIGKILL)
    assert each.answer("result")["code"] == -signal.SIGKILL
    assert not (tmp_path / "output.nrrd").exists()


def test_a_worker_that_can_prepare_nothing_goes_on():
    tried, said = threading.Event(), queue.Queue()

    class Unable(Engine):
        def info(self, _values, _report):
            return {}

        def idle(self):
            tried.set()
            raise MemoryError

    each = Worker(said.put, Unable())
    threading.Thread(target=each.work, daemon=True).start()
    for number in (1, 2):
        each._accept(b'{"command": "info", "id": %d}' % number)
        assert said.get(timeout=10)["id"] == number
        assert tried.wait(10)
    each.listen([])


def test_folder_that_holds_another_model_by_now_is_loaded_again(tmp_path):
    engine, folder = Engine(), save_tiny_model(tmp_path / "adapted")
    first = engine._loaded(str(folder), "cpu")
    assert engine._loaded(str(folder), "cpu") is first
    save_tiny_model(folder, seed=1)
    assert engine._loaded(str(folder), "cpu").metadata.weights_sha256 != first.metadata.weights_sha256
