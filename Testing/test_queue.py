"""Jobs of a queueing system: what is written in the file is what dask-jobqueue makes of it, and TLS is on."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster.queues import Queue, make_queue, queue_cluster, read_queue, submit_again
from CSRDDenoiseLib.errors import InputError

SBATCH = """#!/bin/sh
number=$(ls "$JOBS" | wc -l)
cp "$1" "$JOBS.$number"
setsid sh "$JOBS.$number" >/dev/null 2>&1 </dev/null &
echo $! > "$JOBS/$number"
echo "Submitted batch job $number"
"""
"""Runs the script of a job at once, as the leader of a group of processes whose number it keeps."""
ROOT = Path(__file__).resolve().parent.parent
OPTIONS = {
    "cores": 8,
    "memory": "24GB",
    "queue": "gpu",
    "walltime": "08:00:00",
    "job_extra_directives": ["--gres=gpu:1"],
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "queue.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def queue(tmp_path):
    text = (ROOT / "configs" / "slurm.yaml").read_text(encoding="utf-8")
    return read_queue(written(tmp_path, f"{text}\ninterface: lo\nshared_temp_directory: {tmp_path}\n"))


def without_address(script: str) -> str:
    return re.sub(r"(tcp|tls)://[\d.]+:\d+", "ADDRESS", script)


def test_script_is_that_of_dask_jobqueue(queue):
    from dask_jobqueue import SLURMCluster

    with make_queue(queue, insecure=True) as ours:
        script = without_address(ours.job_script())
    resources = ["--resources", "SCAN=1,CORES=8,MEMORY=24000000000"]
    prologue = [line for line in script.splitlines() if line.startswith("export DASK_DISTRIBUTED__WORKER__MEMORY__")]
    own = {**OPTIONS, "worker_extra_args": resources, "job_script_prologue": prologue, "interface": "lo"}
    with SLURMCluster(processes=1, n_workers=0, **own) as theirs:
        assert script == without_address(theirs.job_script())
    assert "#SBATCH --gres=gpu:1" in script and "#SBATCH -p gpu" in script and "--nthreads 8" in script
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in prologue and queue.jobs == 8


def test_jobs_talk_by_tls(queue, tmp_path):
    with make_queue(queue) as cluster:
        script = cluster.job_script()
        assert "tls://" in script and "--protocol tls://" in script
        files = re.findall(r"--tls-(?:ca-file|cert|key) (\S+)", script)
        assert len(files) == 3 and all(Path(file).parent == tmp_path for file in files)
        assert all(Path(file).stat().st_mode & 0o077 == 0 for file in files if "key" in Path(file).name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs: 2\ncores: 1\nmemory: 1GB", "'kind'"),
        ("kind: os.system\njobs: 2", "'kind'"),
        ("kind: SLURMCluster\njobs: many", "'jobs'"),
        ("kind: SLURMCluster\njobs: 2\ncores: 1", "'memory'"),
        ("kind: SLURMCluster\njobs: 2\ncores: 1\nmemory: 1GB\nwalltme: 1h", "walltime"),
        ("kind: SLURMCluster\njobs: 2\ncores: 1\nmemory: 1GB\nprocesses: 4", "'processes'"),
        ("- a list", "mapping"),
    ],
)
def test_wrong_file_is_a_sentence(text, said, tmp_path):
    with pytest.raises(InputError, match=said):
        read_queue(written(tmp_path, text))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="setsid and the interface lo are of Linux")
def test_a_job_that_ended_is_submitted_again(tmp_path, monkeypatch):
    import dask
    from distributed import Client

    jobs, commands = tmp_path / "jobs", tmp_path / "bin"
    for folder in (jobs, commands):
        folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\n")):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    options = {"cores": 1, "memory": "1GB", "interface": "lo", "local_directory": str(tmp_path)}

    def submitted() -> list[int]:
        return [int(path.read_text(encoding="utf-8")) for path in sorted(jobs.iterdir())]

    def after(seconds: float, count: int) -> int:
        end = time.monotonic() + seconds
        while len(submitted()) < count and time.monotonic() < end:
            submit_again(cluster)
            time.sleep(0.2)
        return len(submitted())

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        try:
            with (
                queue_cluster(Queue("SLURMCluster", 1, options), insecure=True) as cluster,
                Client(cluster, set_as_default=False) as client,
            ):
                client.wait_for_workers(1, timeout=120)
                assert after(2, 2) == 1
                os.killpg(submitted()[0], signal.SIGKILL)
                assert after(60, 2) == 2
        finally:
            for number in submitted():
                try:
                    os.killpg(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
