"""Workers as jobs of a queueing system, by dask-jobqueue: a YAML file names the system, the jobs and their options.

``kind: SLURMCluster`` and ``jobs: 8``; everything else goes to that class of dask-jobqueue as it is.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from ..configuration import read_yaml, unknown_key
from ..errors import InputError
from ..extras import require
from ..limits import shown
from .local import DASK, has_dashboard
from .places import TLS, Place, security_of
from .resources import CORES, MEMORY, SCAN

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

KINDS = ("SLURMCluster", "PBSCluster", "SGECluster", "LSFCluster", "OARCluster", "MoabCluster", "HTCondorCluster")
_OWN = ("kind", "jobs")
_SET_HERE = ("security", "protocol", "processes", "n_workers", "asynchronous", "loop")


@dataclass(frozen=True)
class Queue:
    """A queueing system.

    Attributes:
        kind: class of dask-jobqueue.
        jobs: to be started, each with one worker.
        options: of that class.
    """

    kind: str
    jobs: int
    options: Mapping[str, Any]


def read_queue(path: Path) -> Queue:
    """Read the file of ``--cluster``.

    Raises:
        InputError: it is no such file, or has a key that the class does not take.
    """
    require("distributed", "dask_jobqueue")
    import dask_jobqueue

    values = read_yaml(path, "cluster")
    kind, jobs = values.get("kind"), values.get("jobs")
    if kind not in KINDS:
        raise InputError(f"'{path}': 'kind' is {shown(kind)}; it must be one of {', '.join(KINDS)}.")
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise InputError(f"'{path}': 'jobs' is {shown(jobs)}; it must be a whole number of 1 or more.")
    options = {name: value for name, value in values.items() if name not in _OWN}
    for name in options:
        if name in _SET_HERE:
            raise InputError(f"'{path}': '{name}' is set by csrd-denoise; leave it out.")
        known = sorted(_parameters(getattr(dask_jobqueue, str(kind))))
        if name not in known:
            raise InputError(unknown_key(name, [*_OWN, *known], f"'{path}'"))
    missing = [name for name in ("cores", "memory") if name not in options]
    if missing:
        raise InputError(f"'{path}': '{missing[0]}' is missing; a job needs 'cores' and 'memory'.")
    return Queue(str(kind), jobs, options)


def make_queue(queue: Queue, tls: Optional[Path] = None, insecure: bool = False) -> JobQueueCluster:
    """Return the cluster of a queue, of which no job is started yet.

    Args:
        queue: as read.
        tls: folder of certificates; None has Dask make some that live as long as the cluster.
        insecure: without encryption.
    """
    import dask
    import dask_jobqueue
    from dask.utils import parse_bytes
    from distributed import Security

    options = dict(queue.options)
    resources = {SCAN: 1, CORES: options["cores"], MEMORY: parse_bytes(options["memory"])}
    words = ",".join(f"{name}={value}" for name, value in resources.items())
    options["job_script_prologue"] = [*options.get("job_script_prologue", []), *_worker_environment()]
    options["worker_extra_args"] = [*options.get("worker_extra_args", []), "--resources", words]
    if not insecure:
        own = security_of(Place(f"{TLS}://queue:0", tls)) if tls else None
        if own is None:
            require("cryptography")
        options.update(security=own or Security.temporary(), protocol=f"{TLS}://")
        if own is None:
            # Dask writes the certificates there for the jobs to read
            options.setdefault("shared_temp_directory", options.get("local_directory") or str(Path.cwd()))
    scheduler = {"dashboard": has_dashboard(), **options.pop("scheduler_options", {})}
    with dask.config.set(DASK):
        return getattr(dask_jobqueue, queue.kind)(processes=1, n_workers=0, scheduler_options=scheduler, **options)


@contextmanager
def queue_cluster(queue: Queue, tls: Optional[Path] = None, insecure: bool = False) -> Iterator[JobQueueCluster]:
    """Start a scheduler here and the jobs of a queue; end them at the end."""
    with make_queue(queue, tls, insecure) as cluster:
        cluster.scale(jobs=queue.jobs)
        yield cluster


def submit_again(cluster: JobQueueCluster) -> None:
    """Submit again the jobs whose workers have ended, as at their walltime; leave other jobs unchanged.

    Dask removes a worker that has ended after ``distributed.deploy.lost-worker-timeout``, and starts it with the next
    call of ``scale``. A job that never began to work is left to the queue.
    """
    cluster.scale(jobs=len(cluster.worker_spec))


def _worker_environment() -> list[str]:
    """Return the lines of a job script by which its worker has the configuration of those that are started here."""
    memory = {name: value for name, value in DASK.items() if name.startswith("distributed.worker.memory.")}
    return [f"export DASK_{name.upper().replace('.', '__')}={value}" for name, value in memory.items()]


def _parameters(kind: Any) -> set[str]:
    """Names that a class of dask-jobqueue takes: its own, and those of its jobs."""
    found: set[str] = set()
    for each in (*kind.__mro__, *kind.job_cls.__mro__):
        if each is not object:
            found.update(inspect.signature(each.__init__).parameters)
    return found - {
        "self",
        "kwargs",
        "base_class_kwargs",
        "job_kwargs",
        "job_cls",
        "scheduler",
        "name",
        "workers",
        "worker",
    }
