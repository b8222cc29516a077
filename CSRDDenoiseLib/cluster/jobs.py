"""One scan as a task: what a worker is to do, as plain values that it checks, and the key that distinguishes results.

A worker gets names, paths and settings only, and checks them as the command line would; it takes no code from a client.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from .. import __version__
from ..checks.volumes import INPUT_NAMES
from ..configuration import structure
from ..digests import digest_of_values
from ..errors import InputError
from ..run.request import FileRequest, Origin
from ..sentences import CLI
from ..settings import MAPS, DenoiseSettings, settings_from_fields
from .model_key import ModelKey

_PATHS = (*INPUT_NAMES, "output", *MAPS, "report")
_OPTIONS = ("overwrite", "output_unit", "format", "frames", "motion")
_PREFIX = "csrd-denoise"


@dataclass(frozen=True)
class Job:
    """One run of ``denoise_files`` or ``denoise_dynamic``, as plain values.

    Attributes:
        name: of the scan.
        paths: fields of :class:`~CSRDDenoiseLib.run.request.FileRequest` that are paths, as the asking machine has
            them.
        options: its other fields.
        settings: fields of :class:`~CSRDDenoiseLib.settings.DenoiseSettings`.
        model: by its checksum.
        key: of the result, see :func:`key_of`.
        edge: for which sentences are worded.
        bids: ``root`` of the dataset that the PET is of, and ``folder`` of the derivatives, whose files get sidecars.
        place: the address that the job is sent to, for the record; empty for this machine.
        headers: as in :class:`~CSRDDenoiseLib.run.request.FileRequest`.
    """

    name: str
    paths: Mapping[str, str]
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    model: ModelKey
    key: str = ""
    edge: str = CLI
    bids: Optional[Mapping[str, str]] = None
    place: str = ""
    headers: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, request: FileRequest, settings: DenoiseSettings, model: ModelKey, **more: Any) -> Job:
        """Return the job of a request; its paths are made absolute."""
        given = {each: getattr(request, each) for each in _PATHS if getattr(request, each) is not None}
        paths = {each: str(Path(path).absolute()) for each, path in given.items()}
        options = {each: getattr(request, each) for each in _OPTIONS}
        headers = tuple(str(Path(path).absolute()) for path in request.headers)
        return cls(name, paths, options, settings.as_dict(), model, headers=headers, **more)

    def as_message(self) -> dict[str, Any]:
        """Return the job as plain types, to be sent."""
        return asdict(self)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the paths that are written."""
        return tuple(name for name in self.paths if name not in INPUT_NAMES)

    @property
    def denoise_settings(self) -> DenoiseSettings:
        """The settings, checked.

        Raises:
            InputError: one is unknown or out of range.
        """
        return settings_from_fields(dict(self.settings))

    def request(
        self, paths: Optional[Mapping[str, Path]] = None, place: str = "", headers: Sequence[Path] = ()
    ) -> FileRequest:
        """Return the request.

        Args:
            paths: where the worker has the files; None for where the asking machine has them.
            place: who works, for the record; empty for this machine.
            headers: where the worker has those files, with ``paths``.

        Raises:
            InputError: a value is not one of a request.
        """
        here: Mapping[str, Any] = self.paths if paths is None else paths
        origin = Origin(place, self.paths if paths is not None else {}) if place or paths is not None else None
        read_too = list(self.headers if paths is None else map(str, headers))
        values = {**{name: str(path) for name, path in here.items()}, **self.options, "headers": read_too}
        return replace(structure(values, FileRequest, f"The job '{self.name}'"), origin=origin)


def job_of_message(message: Any) -> Job:
    """Return the job of a message.

    Raises:
        InputError: it is not one.
    """
    job = structure(message, Job, "The job")
    unknown = sorted({*job.paths, *job.options} - {*_PATHS, *_OPTIONS})
    if unknown:
        raise InputError(f"The job has '{unknown[0]}', which no request has.")
    return job


def key_of(digests: Mapping[str, str], job: Job) -> str:
    """Return the checksum of everything that a result follows from: inputs, settings, model, outputs, version.

    Args:
        digests: name of an input -> checksum of its files.
        job: its paths of inputs do not count, only what is in them; those of outputs count by their names.
    """
    outputs = {name: Path(job.paths[name]).name for name in job.output_names}
    options = {name: value for name, value in job.options.items() if name != "overwrite"}
    facts = {
        "version": __version__,
        "inputs": dict(digests),
        "outputs": outputs,
        "options": options,
        "settings": dict(job.settings),
        "model": job.model.digest,
    }
    return f"{_PREFIX}-{digest_of_values(facts)}"
