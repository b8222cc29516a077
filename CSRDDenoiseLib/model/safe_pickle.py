"""Read the data out of a pickle that may be hostile: nothing in it is imported, and none of its code is run.

A pickle is a program whose instructions may call anything importable. Here every name that it asks for is looked up in
a closed list: tensors become records of where their numbers lie, containers become dicts, classes of torch, numpy and
the published training code become inert stand-ins that only store their arguments. Any other name is refused.
Before the pickle is run at all, its instructions are counted and their sizes checked, so that a small file cannot ask
for much memory. Three layouts are read: plain pickles, and the zip and legacy files of ``torch.save``.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional

import torch

from ..errors import ModelError

MAX_FILE_BYTES = 4 << 30
MAX_INSTRUCTIONS = 1_000_000
MAX_MEMO = 1_000_000
MAX_DIMENSIONS = 8

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_REFUSED_INSTRUCTIONS = {"INST", "OBJ", "EXT1", "EXT2", "EXT4"}
_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_STAND_IN_PACKAGES = ("torch.nn.", "training.", "torch_utils.", "dnnlib.")
_STAND_IN_NAMES = {
    *(("torch", name) for name in ("device", "Size", "float16", "float32", "float64", "bfloat16")),
    *(("numpy", name) for name in ("dtype", "ndarray", "float32", "float64")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}
# what a broken or hostile stream makes the unpickler and the readers raise
_BROKEN = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


class StandIn(dict):
    """An object of a class that is not loaded: what it was made with, the state it was given, its items if a dict.

    Attributes:
        origin: ``module.name`` of the class or function.
        arguments: positional arguments of its construction.
        state: what it was to restore itself from.
    """

    origin = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **_: Any) -> StandIn:  # noqa: D102 (unpickling calls this and not __init__)
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *_: Any, **__: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, _: Any) -> None:
        """Take the items of a list subclass, and drop them."""

    def extend(self, _: Any) -> None:
        """Take the items of a list subclass, and drop them."""


@dataclass
class StorageRecord:
    """The numbers of one torch storage; ``data`` is filled once they have been read."""

    dtype: torch.dtype
    count: int
    data: Optional[bytes] = None


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as a view of a storage, not made yet."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the tensor once it is made."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def tensor(self) -> torch.Tensor:
        """Make the tensor, on the CPU, in its own memory.

        Raises:
            ModelError: it reaches beyond its storage.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        sound = all(type(number) is int and number >= 0 for number in numbers)
        if not sound or len(self.shape) != len(self.strides) or len(self.shape) > MAX_DIMENSIONS:
            raise ModelError("The snapshot holds a tensor of impossible shape.")
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if math.prod(self.shape) > self.storage.count or last >= self.storage.count or self.storage.data is None:
            raise ModelError(f"The snapshot holds a tensor of shape {self.shape} that is larger than its data.")
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=self.storage.dtype)
        flat = torch.frombuffer(bytearray(self.storage.data), dtype=self.storage.dtype)
        return flat.as_strided(self.shape, self.strides, self.offset).clone()


def read_pickle(path: Path) -> Any:
    """Return what the file holds, as containers, numbers, strings, :class:`StandIn` and :class:`TensorRecord`.

    Raises:
        ModelError: not such a file, damaged, too large, or it asks for a name that is not on the list.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"'{path}' has {size / 2**30:.1f} GiB; a snapshot has at most {MAX_FILE_BYTES >> 30} GiB.")
        return _read(path.read_bytes(), nested=False)
    except OSError as error:
        raise ModelError(f"The snapshot '{path}' cannot be read: {error.strerror}.") from error
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"'{path}' is damaged, or is not a snapshot of a network: {reason}.") from error


def _read(content: bytes, nested: bool) -> Any:
    if content.startswith(b"PK"):
        return _read_zip(content, nested)
    stream = io.BytesIO(content)
    first = _Unpickler(stream, nested=nested).load_checked()
    return _read_legacy(stream, nested) if first == _LEGACY_MAGIC and type(first) is int else first


def _read_zip(content: bytes, nested: bool) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in entries.values()) > len(content):
            raise ValueError("its entries say that they are larger than the file")
        program = next((name for name in entries if name.endswith("/data.pkl")), None)
        if program is None:
            raise ValueError("it is a zip file without data.pkl")
        folder = program[: -len("data.pkl")]
        if entries.get(f"{folder}byteorder") and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")

        def storage(dtype: torch.dtype, key: str, count: int) -> StorageRecord:
            return StorageRecord(dtype, count, _sized(archive.read(f"{folder}data/{key}"), dtype, count))

        return _Unpickler(io.BytesIO(archive.read(program)), storage, nested).load_checked()


def _read_legacy(stream: BinaryIO, nested: bool) -> Any:
    """Read what follows the magic number: protocol, facts about the machine, the object, then its storages."""
    protocol, machine = (_Unpickler(stream, nested=nested).load_checked() for _ in range(2))
    if protocol != _LEGACY_PROTOCOL or not isinstance(machine, dict) or not machine.get("little_endian"):
        raise ValueError(f"its layout is not known (protocol {protocol!r})")
    storages: dict[str, StorageRecord] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> StorageRecord:
        return storages.setdefault(key, StorageRecord(dtype, count))

    result = _Unpickler(stream, storage, nested).load_checked()
    for key in _Unpickler(stream, nested=nested).load_checked():
        record = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        if count != record.count:
            raise ValueError(f"a storage of {record.count} numbers comes with {count}")
        record.data = _sized(stream.read(count * record.dtype.itemsize), record.dtype, count)
    return result


def _sized(data: bytes, dtype: torch.dtype, count: int) -> bytes:
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"a storage of {count} numbers comes with {len(data)} bytes")
    return data


Storages = Callable[[torch.dtype, str, int], StorageRecord]


class _Unpickler(pickle.Unpickler):
    """Runs one pickle of a stream with nothing but the names of :meth:`find_class` in reach."""

    def __init__(self, stream: BinaryIO, storages: Optional[Storages] = None, nested: bool = False):
        super().__init__(stream)
        self._stream, self._storages, self._nested = stream, storages, nested
        self._stand_ins: dict[tuple[str, str], type[StandIn]] = {}

    def load_checked(self) -> Any:
        """Check the instructions up to this pickle's end, then run them."""
        start = self._stream.tell()
        _check_instructions(self._stream)
        self._stream.seek(start)
        return self.load()

    def find_class(self, module: str, name: str) -> Any:
        """Return our own counterpart of a name, or refuse it."""
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _Function(self._load_from_bytes)
        if name == "_reconstruct_persistent_obj" and f".{module}".endswith(".torch_utils.persistence"):
            return _Function(_persistent)
        if (module, name) in _FUNCTIONS:
            return _Function(_FUNCTIONS[module, name])
        if (module, name) in _STAND_IN_NAMES or module.startswith(_STAND_IN_PACKAGES):
            return self._stand_ins.setdefault(
                (module, name), type("StandIn", (StandIn,), {"origin": f"{module}.{name}"})
            )
        raise ModelError(
            f"The file asks for '{module}.{name}', which no snapshot of a network needs; it may be hostile. "
            "It was refused, and nothing of it was run."
        )

    def persistent_load(self, pid: Any) -> Any:
        """Return what a ``torch.save`` file refers to: a storage, wherever it lay (CPU, CUDA), or a class."""
        kind, content, *rest = pid
        if kind == "module":
            return content
        key, _, count, *views = rest
        if kind != "storage" or any(view is not None for view in views) or self._storages is None:
            raise pickle.UnpicklingError("it refers to data outside of itself")
        if not isinstance(content, _StorageType) or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("it refers to a storage of unknown kind")
        return self._storages(content.dtype, str(key), count)

    def _load_from_bytes(self, content: bytes) -> Any:
        if self._nested or not isinstance(content, bytes):
            raise pickle.UnpicklingError("its storages are nested in one another")
        return _read(content, nested=True)


@dataclass(frozen=True)
class _Function:
    """One of our functions as a pickle sees it: it can be called, not changed."""

    function: Callable[..., Any] = field(repr=False)

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


@dataclass(frozen=True)
class _StorageType:
    dtype: torch.dtype

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a type")


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> TensorRecord:
    if not isinstance(storage, StorageRecord):
        raise pickle.UnpicklingError("it holds a tensor without data")
    return TensorRecord(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _mapping(items: Any = ()) -> StandIn:
    made = StandIn()
    made.update(items)
    return made


def _persistent(meta: Any) -> StandIn:
    """Stand in for an object of a class whose source code is in the pickle: keep its state, forget the code."""
    made = type("StandIn", (StandIn,), {"origin": str(meta.get("class_name", ""))})()
    made.state = meta.get("state")
    return made


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it holds bytes in an unknown encoding")
    return text.encode("latin1")


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("collections", "OrderedDict"): _mapping,
    ("_codecs", "encode"): _latin1,
    ("builtins", "set"): lambda items=(): frozenset(items),
    ("__builtin__", "set"): lambda items=(): frozenset(items),
}


def _check_instructions(stream: BinaryIO) -> None:
    """Count a pickle's instructions and check their arguments against the limits, without running any."""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if instruction.name in _REFUSED_INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it uses the instruction {instruction.name}, which no snapshot needs")
        if instruction.name in _MEMO_WRITES and not 0 <= int(argument or 0) < MAX_MEMO:
            raise pickle.UnpicklingError(f"it remembers more than {MAX_MEMO} objects")
        if count >= MAX_INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has more than {MAX_INSTRUCTIONS} instructions")
