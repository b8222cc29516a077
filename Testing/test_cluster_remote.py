"""One scan on another worker: the same result as here, cancelled in time, refused without certificates, never lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from certificates import write_certificates
from conftest import ENVIRONMENT, as_image, free_port, head_array
from tiny_model import save_tiny_model

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster import remote
from CSRDDenoiseLib.cluster.held import HeldResults
from CSRDDenoiseLib.cluster.local import WorkerPlan, local_cluster
from CSRDDenoiseLib.cluster.model_key import key_of_model, pack_model
from CSRDDenoiseLib.cluster.models import ModelStore, WarmModel, has_model
from CSRDDenoiseLib.cluster.parcels import Parcel
from CSRDDenoiseLib.cluster.places import Place, connect
from CSRDDenoiseLib.cluster.remote import check_place, denoise_on, estimate_on
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.errors import Cancelled, InputError, PlaceError
from CSRDDenoiseLib.progress import Progress
from CSRDDenoiseLib.settings import DenoiseSettings
from CSRDDenoiseLib.worker.serve import Engine

SETTINGS = DenoiseSettings(sampler="dpmpp", steps=2, samples=2, device="cpu", precision="float32")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place():
    with local_cluster([WorkerPlan(1)]) as cluster:
        yield Place(cluster.scheduler_address)


@pytest.fixture
def request_of(tmp_path):
    """Makes a request into a folder of its own."""
    sitk.WriteImage(as_image(head_array()), str(tmp_path / "pet.nii.gz"))
    (tmp_path / "pet.json").write_text(json.dumps({"Units": "Bq/mL"}))
    sitk.WriteImage(as_image(1000 - head_array(seed=1) / 10), str(tmp_path / "mr.nii.gz"))

    def make(name: str, **more) -> FileRequest:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        paths = {each: folder / f"{each}.nii.gz" for each in ("difference", "uncertainty")}
        return FileRequest(tmp_path / "pet.nii.gz", folder / "den.nii.gz", tmp_path / "mr.nii.gz", **paths, **more)

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.nii.gz")}


def test_result_is_that_of_this_machine_and_the_record_names_the_place(place, request_of, model_folder):
    here, there = request_of("here"), request_of("there")
    denoise_files(here, SETTINGS, model_folder)
    seen = []
    done = denoise_on(place, there, SETTINGS, model_folder, lambda progress: seen.append(progress.stage))
    assert content(there.output.parent) == content(here.output.parent) and len(content(here.output.parent)) == 3
    assert "sample" in seen
    record, other = (json.loads((each.output.parent / "den_provenance.json").read_text()) for each in (there, here))
    assert record["place"].startswith(place.address) and "place" not in other
    assert record["outputs"]["denoised"] == str(there.output) and record["inputs"] == other["inputs"]
    assert record["units"] == "Bq/mL" and done.result.outputs == record["outputs"]
    assert done.summary["window"] > 0


def test_every_output_comes_back(place, request_of, model_folder, tmp_path):
    pytest.importorskip("matplotlib")
    request = request_of("all", report=tmp_path / "all" / "qa", support=tmp_path / "all" / "support.nii.gz")
    denoise_on(place, request, SETTINGS, model_folder)
    names = {path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("*") if path.is_file()}
    volumes = {f"{name}.nii.gz" for name in ("den", "difference", "uncertainty", "support")}
    assert names == volumes | {"den_provenance.json", "qa/den.html"}
    assert str(request.output) in (tmp_path / "all" / "qa" / "den.html").read_text(encoding="utf-8")


def test_dynamic_pet(place, model_folder, tmp_path):
    frames = [as_image(head_array(seed=seed)) for seed in range(2)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "pet.nii.gz"))
    done = denoise_on(place, FileRequest(tmp_path / "pet.nii.gz", tmp_path / "den.nii.gz"), SETTINGS, model_folder)
    assert sitk.ReadImage(str(tmp_path / "den.nii.gz")).GetSize()[3] == 2 and (tmp_path / "den.json").exists()
    assert done.result.place.startswith(place.address)


def test_a_result_that_cannot_be_written_here_is_kept_there_for_the_same_request_alone(
    place, request_of, model_folder, monkeypatch
):
    first, other = request_of("first"), request_of("other")

    def full(*_):
        raise InputError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(remote, "deliver", full)
        with pytest.raises(InputError, match="No space left"):
            denoise_on(place, first, SETTINGS, model_folder)
    for request, runs in ((other, True), (first, False)):
        seen: list[Progress] = []
        done = denoise_on(place, request, SETTINGS, model_folder, seen.append)
        assert any(each.stage == "sample" for each in seen) == runs
        assert done.result.outputs["denoised"] == str(request.output)
    assert content(first.output.parent) == content(other.output.parent)


def test_a_run_that_another_program_cancelled_is_one_sentence():
    job = SimpleNamespace(key="key", place="tcp://there")
    future = SimpleNamespace(done=lambda: True, status="cancelled")
    client = SimpleNamespace(
        status="running",
        subscribe_topic=lambda _topic, _handler: None,
        list_datasets=lambda: ["key"],
        get_dataset=lambda _key: future,
    )
    with pytest.raises(PlaceError, match="tcp://there was cancelled"):
        remote._Run(client, job, lambda _progress: None).finish(None)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_run_wrote_in_the_meantime_is_not_replaced_by_what_comes_back(request_of, overwrite):
    request = request_of("taken", overwrite=overwrite)
    request.output.write_bytes(b"of another run")
    with nullcontext() if overwrite else pytest.raises(InputError):
        remote.receive(Parcel({"output/den.nii.gz": b"came back"}), request)
    assert request.output.read_bytes() == (b"came back" if overwrite else b"of another run")


def test_cancelling_writes_nothing_and_frees_the_worker(place, request_of, model_folder, pet):
    request = request_of("cancelled")
    long = replace(SETTINGS, sampler="heun", steps=900, samples=50)
    with pytest.raises(Cancelled):
        denoise_on(place, request, long, model_folder, lambda progress: progress.stage != "sample")
    assert list(request.output.parent.iterdir()) == []
    # the worker takes the next one at once: 90 000 evaluations would not end within this test's patience
    denoise_on(place, request, SETTINGS, model_folder)


def test_bad_input_is_refused_before_anything_is_sent(place, request_of, model_folder):
    request = request_of("refused")
    request.output.write_bytes(b"kept")
    with pytest.raises(InputError, match="exists"):
        denoise_on(place, request, SETTINGS, model_folder)
    assert request.output.read_bytes() == b"kept"


def test_error_of_the_worker_is_the_sentence_it_would_be_here(place, model_folder, tmp_path):
    sitk.WriteImage(as_image(np.full((24, 28, 26), 7.0, np.float32)), str(tmp_path / "flat.nii.gz"))
    with pytest.raises(InputError, match="everywhere"):
        denoise_on(place, FileRequest(tmp_path / "flat.nii.gz", tmp_path / "out.nii.gz"), SETTINGS, model_folder)


def test_result_of_a_lost_connection_is_picked_up(place, request_of, model_folder):
    """The first client goes without a word in the middle of the run, as when a cable is pulled."""
    request = request_of("lost")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from CSRDDenoiseLib.cluster.remote import Place, denoise_on\n"
        "from CSRDDenoiseLib.denoise import FileRequest\n"
        "from CSRDDenoiseLib.settings import DenoiseSettings\n"
        "folder = Path(sys.argv[2])\n"
        "paths = {name: folder / f'{name}.nii.gz' for name in ('difference', 'uncertainty')}\n"
        "pet, mr = (folder.parent / f'{name}.nii.gz' for name in ('pet', 'mr'))\n"
        "request = FileRequest(pet, folder / 'den.nii.gz', mr, **paths)\n"
        "def end(progress):\n"
        "    if progress.stage == 'sample': os._exit(7)\n"
        f"settings = DenoiseSettings(**{SETTINGS.as_dict()!r})\n"
        "denoise_on(Place(sys.argv[1]), request, settings, sys.argv[3], end)\n"
    )
    words = [sys.executable, "-c", code, place.address, str(request.output.parent), str(model_folder)]
    assert subprocess.run(words, cwd=Path(__file__).parent).returncode == 7
    assert not request.output.exists()
    stages = []
    denoise_on(place, request, SETTINGS, model_folder, lambda progress: stages.append(progress.message))
    assert request.output.exists()
    with connect(place) as client:
        assert client.list_datasets() == ()
        # one that nobody picks up does not stay for ever
        assert HeldResults.name in client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))


def test_place_is_described_and_the_model_timed(place, model_folder):
    facts = check_place(place, 10)
    assert len(facts.workers) == 1 and facts.workers[0].devices[-1]["name"] == "cpu"
    assert "1 worker" in facts.sentence
    speed = estimate_on(place, model_folder, "cpu")
    assert speed["voxels_per_second"] > 0 and speed["voxel_spacing_mm"] == 2.0


def test_model_that_a_worker_lacks_travels_once(place, model_folder, tmp_path):
    key, files = (made := key_of_model(model_folder)), pack_model(made)
    elsewhere = replace(key, folder=str(tmp_path / "not here"))
    store = ModelStore(tmp_path / "store")
    assert store.find(elsewhere) is None
    with pytest.raises(PlaceError, match=key.digest[:12]):
        store.load(elsewhere, "cpu")
    with pytest.raises(PlaceError, match="damaged"):
        store.keep(elsewhere, {**files, "model.safetensors": b"damaged"})
    store.keep(elsewhere, files)
    assert store.load(elsewhere, "cpu") is store.load(elsewhere, "cpu")
    # a model of other content, which no worker has seen
    other = save_tiny_model(tmp_path / "other", sigma_data=0.2)
    key, files = (made := key_of_model(other)), pack_model(made)
    shutil.rmtree(other)
    with connect(place) as client:
        assert not any(client.run(has_model, key).values())
        client.register_plugin(WarmModel(key, "cpu", files))
        assert all(client.run(has_model, key).values())


def test_worker_of_another_version_is_refused(place, monkeypatch):
    monkeypatch.setattr("CSRDDenoiseLib.cluster.reach.__version__", "99.0")
    with pytest.raises(PlaceError, match=r"99\.0"):
        check_place(place, 10)


def test_nothing_at_an_address_is_a_sentence():
    with pytest.raises(PlaceError, match="Nothing answers"):
        check_place(Place("tcp://127.0.0.1:9"), 1)


@pytest.mark.parametrize(
    "address", ["gpu-box", "http://gpu-box:8786", "gpu-box:8786", "tls://gpu-box", "tcp://:1", "tls://h:99999"]
)
def test_address_that_is_none_is_refused(address):
    with pytest.raises(PlaceError, match="not an address"):
        Place(address)


def test_other_machine_without_encryption_is_refused_and_warned_of():
    with pytest.raises(PlaceError, match="not encrypted"):
        Place("tcp://192.0.2.1:8786")
    assert "not encrypted" in Place("tcp://192.0.2.1:8786", insecure=True).warning
    assert Place("tcp://127.0.0.1:8786").warning == Place("tls://gpu-box:8786").warning == ""


def test_encrypted_place_needs_certificates_of_its_authority(tmp_path, request_of, model_folder):
    own, other = write_certificates(tmp_path / "own"), write_certificates(tmp_path / "other")
    with local_cluster([WorkerPlan(1)], Place("tls://127.0.0.1:0", own)) as cluster:
        address = cluster.scheduler_address
        assert len(check_place(Place(address, own), 10).workers) == 1
        denoise_on(Place(address, own), request_of("tls"), SETTINGS, model_folder)
        with pytest.raises(PlaceError, match="certificates"):
            check_place(Place(address), 3)
        with pytest.raises(PlaceError):
            check_place(Place(address, other), 3)
        with pytest.raises(PlaceError):
            check_place(Place(address.replace("tls", "tcp")), 3)
    with pytest.raises(PlaceError, match=r"key\.pem"):
        (own / "key.pem").unlink()
        Place(address, own)


def test_a_sentence_without_dask(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"csrd-denoise\[cluster\]"):
        check_place(Place("tcp://127.0.0.1:8786"), 1)


@contextmanager
def started(*command: str):
    """A process that is interrupted at the end."""
    with subprocess.Popen([sys.executable, *command], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                process.kill()


def test_scheduler_that_ends_in_the_middle_is_a_sentence_and_its_worker_comes_back(request_of, model_folder):
    """The worker of a scheduler that is killed in the middle of its run takes the next one from the new scheduler."""
    long = replace(SETTINGS, sampler="heun", steps=900, samples=50)
    place, request = Place(f"tcp://127.0.0.1:{free_port()}"), request_of("ends")
    code = (
        "import sys, threading\nfrom CSRDDenoiseLib.cluster.local import Place, local_cluster\n"
        f"with local_cluster([], Place({place.address!r})):\n"
        "    print('it listens', file=sys.stderr, flush=True)\n"
        "    threading.Event().wait()"
    )
    words = ["-m", "CSRDDenoiseLib", "worker", place.address, "--model", str(model_folder), "--device", "cpu"]

    with started("-c", code) as first, started(*words) as worker:
        assert any("it listens" in line for line in first.stderr)
        # the worker waits for its scheduler
        assert any("worker(s)" in line for line in worker.stderr)

        def watch(progress):
            if progress.stage == "sample":
                first.kill()

        with pytest.raises(PlaceError, match="lost"):
            denoise_on(place, request, long, model_folder, watch)
        assert list(request.output.parent.iterdir()) == []
        assert "does not answer" in worker.stderr.readline()
        with local_cluster([], place):
            assert any("worker(s)" in line for line in worker.stderr)
            denoise_on(place, request, SETTINGS, model_folder)
    assert request.output.exists()


def test_command_line_denoises_on_another_machine(place, request_of, model_folder, capsys):
    request = request_of("command")
    files = ["--pet", str(request.pet), "--output", str(request.output)]
    words = ["denoise", *files, "--on", place.address, "--model", str(model_folder), "--preset", "fast"]
    assert main([*words, "--device", "cpu", "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["result"]["place"].startswith(place.address) and request.output.exists()
    assert main([*words[:6], "tcp://192.0.2.1:8786"]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_process_of_slicer_denoises_on_another_machine(place, request_of, model_folder):
    request, answers = request_of("slicer"), []
    engine, on = Engine(), {"address": place.address}
    assert len(engine.reach({"on": on}, print)["workers"]) == 1
    assert engine.estimate({"on": on, "model": str(model_folder), "device": "cpu"}, print)["voxels_per_second"] > 0
    values = {"pet": str(request.pet), "output": str(request.output), "model": str(model_folder), "on": on}
    settings = {"sampler": "mean", "steps": 1, "samples": 1, "device": "cpu"}
    answer = engine.denoise({**values, "settings": settings}, answers.append)
    assert answer["provenance"]["place"].startswith(place.address) and answer["summary"]["window"] > 0
    assert answers[-1].stage == "write" and request.output.exists()
