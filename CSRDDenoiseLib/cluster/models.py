"""The model on a worker: found by its checksum, brought along where the worker lacks it, loaded once and kept warm."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional

from distributed import WorkerPlugin

from ..errors import InputError, ModelError, PlaceError
from ..model.bundle import METADATA_FILE, list_models
from .model_key import FILES, ModelKey, digest_of_model
from .resources import CORES

if TYPE_CHECKING:
    from distributed import Worker

    from ..model.bundle import Model

_STORE = "csrd_denoise_models"
_FOLDER = "csrd-denoise-models"


@dataclass
class ModelStore:
    """The models of one worker.

    Attributes:
        folder: where models are kept that came with a task.
        threads: that a scan may use; 0 leaves the libraries as they are.
    """

    folder: Path
    threads: int = 0
    _loaded: dict[tuple[str, str], Model] = field(default_factory=dict)
    _digests: dict[str, Path] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def find(self, key: ModelKey) -> Optional[Path]:
        """Return the folder of a model: the same path (a common file system), bundled, or brought along before."""
        if key.digest not in self._digests:
            brought = [path for path in self.folder.glob("*") if path.is_dir()]
            for place in (Path(key.folder), *list_models(), *brought):
                if (place / METADATA_FILE).is_file() and _digest_or_none(place) == key.digest:
                    self._digests[key.digest] = place
                    break
        return self._digests.get(key.digest)

    def keep(self, key: ModelKey, files: Mapping[str, bytes]) -> None:
        """Write a model that came along, unless it is there.

        Raises:
            PlaceError: the files are not those of the key.
        """
        if self.find(key) is not None:
            return
        place = self.folder / key.digest
        place.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (place / name).write_bytes(files[name])
        if digest_of_model(place) != key.digest:
            shutil.rmtree(place)
            raise PlaceError(f"The model '{key.name}' was damaged on its way to the worker; try again.")
        self._digests[key.digest] = place

    def load(self, key: ModelKey, device: str) -> Model:
        """Return a model ready to run; one is kept at a time.

        Raises:
            PlaceError: this worker does not have it.
            ModelError: it cannot be loaded.
        """
        from ..model.bundle import load_model

        with self._lock:
            known = (key.digest, device)
            if known not in self._loaded:
                folder = self.find(key)
                if folder is None:
                    raise PlaceError(
                        f"This worker has no model with the checksum {key.digest[:12]} ('{key.name}'); run the command "
                        "again, which brings it along."
                    )
                self.use_threads()
                self._loaded.clear()
                # the record names the model where the run was asked for; here it may lie in a temporary folder
                self._loaded[known] = replace(load_model(folder, device), folder=Path(key.folder))
            return self._loaded[known]

    def use_threads(self) -> None:
        """Let torch and ITK use this worker's share of the cores."""
        if self.threads:
            import SimpleITK as sitk
            import torch

            torch.set_num_threads(self.threads)
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(self.threads)


def store_of(worker: Worker) -> ModelStore:
    """Return the models of a worker; it keeps them as long as it lives."""
    store = getattr(worker, _STORE, None)
    if store is None:
        threads = int(worker.state.total_resources.get(CORES, 0)) or 1
        store = ModelStore(Path(worker.local_directory) / _FOLDER, threads)
        setattr(worker, _STORE, store)
    return store


def has_model(key: ModelKey, dask_worker: Optional[Worker] = None) -> bool:
    """Whether the worker that runs this has a model; for ``Client.run``."""
    return dask_worker is not None and store_of(dask_worker).find(key) is not None


async def measure_on_worker(
    key: ModelKey, device: str, name: str, dask_worker: Optional[Worker] = None
) -> dict[str, Any]:
    """Time a model on the worker that runs this, beside its own loop; for ``Client.run``."""
    from ..infer.speed import device_speed

    if dask_worker is None:
        raise RuntimeError("There is no worker.")
    store = store_of(dask_worker)
    return await asyncio.to_thread(lambda: device_speed(store.load(key, device), device, name))


class WarmModel(WorkerPlugin):
    """Loads a model in every worker, also in those that come later or are started again.

    Args:
        key: of the model.
        device: where it is to run.
        files: of the model, for workers that lack it; None where all have it.
    """

    def __init__(self, key: ModelKey, device: str, files: Optional[Mapping[str, bytes]] = None):
        self.name = f"csrd-denoise-{key.digest[:16]}"
        self.key, self.device, self.files = key, device, files

    async def setup(self, worker: Worker) -> None:
        """Bring the model and load it, beside the worker's own loop; a failure shows in the first task."""
        await asyncio.to_thread(self.load, store_of(worker))

    def load(self, store: ModelStore) -> None:
        """Bring the model and load it."""
        try:
            if self.files:
                store.keep(self.key, self.files)
            store.load(self.key, self.device)
        except (InputError, OSError):
            return


def _digest_or_none(folder: Path) -> Optional[str]:
    try:
        return digest_of_model(folder)
    except ModelError:
        return None
