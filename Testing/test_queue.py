"""Jobs of a queueing system: what is written in the file is what dask-jobqueue makes of it, and TLS is on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="the extra 'cluster' is not installed")

from CSRDDenoiseLib.cluster.queues import make_queue, read_queue
from CSRDDenoiseLib.errors import InputError

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
