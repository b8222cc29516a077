"""Pickles laid out as the published training code writes them, made from our own network with known weights.

The published classes are decorated so that a pickle holds their source code and calls
``torch_utils.persistence._reconstruct_persistent_obj`` with it. Here that module exists only while a pickle is written.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
from typing import Any, Callable, Iterator
from unittest import mock

import numpy as np
import torch
from torch import nn

from CSRDDenoiseLib.model.ddpmpp import DDPMpp3d

CHANNEL_MULT = (1, 2)
OPTIONS = {
    "img_resolution": 64,
    "img_channels": 6,
    "out_channels": 1,
    "model_type": "SongUNet3D",
    "embedding_type": "positional",
    "encoder_type": "standard",
    "decoder_type": "standard",
    "model_channels": 4,
    "channel_mult": list(CHANNEL_MULT),
    "resample_filter": [1, 1, 1],
    "label_dim": 0,
    "use_fp16": True,
}
NAMES = {
    "DDPMpp3d": "SongUNet3D",
    "ResidualBlock": "UNetBlock3D",
    "ResamplingConv3d": "Conv3d",
    "FilteredDown": "Conv3d",
}
"""Our classes -> those that the published 3D training writes."""
SOURCE = "raise RuntimeError('the source code in a snapshot must not be run')"


def published_network(**changes: Any) -> DDPMpp3d:
    """Our network, every weight random, in the shape of a small published one."""
    torch.manual_seed(0)
    arguments = {"model_channels": 4, "channel_mult": CHANNEL_MULT, "num_blocks": 1, "img_resolution": 64, **changes}
    network = DDPMpp3d(**arguments)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.randn_like(parameter))
    return network


class Persistent:
    """Pickled as the published decorator does it: the class's source and the object's state."""

    def __init__(self, class_name: str, state: dict[str, Any]):
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


class Plain:
    """Pickled as an ordinary object of ``training.networks``."""

    def __init__(self, class_name: str, state: dict[str, Any]):
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple:
        return getattr(sys.modules["training.networks"], self.class_name), (), self.state


def wrapped(
    network: DDPMpp3d,
    inner: type = Persistent,
    network_class: str = "SongUNet3D",
    outer_class: str = "Patch_EDMPrecond_3D",
    **options: Any,
) -> Persistent:
    """The preconditioned network around ours, every module of its own class as ``inner`` writes it."""
    names = {**NAMES, "DDPMpp3d": network_class}

    def own(module: nn.Module) -> Any:
        state = {**module.__dict__, "skip_scale": np.sqrt(0.5), "_init_args": (), "_init_kwargs": {}}
        state["_modules"] = {name: child(part) for name, part in module._modules.items() if part is not None}
        return inner(names.get(type(module).__name__, type(module).__name__), state)

    def child(module: nn.Module) -> Any:
        if isinstance(module, nn.ModuleDict):
            copy = nn.ModuleDict()
            copy.__dict__["_modules"] = {name: child(part) for name, part in module._modules.items()}
            return copy
        return own(module)

    state = {"training": False, "_parameters": {}, "_buffers": {}, "_modules": {"model": own(network)}}
    state.update({"sigma_data": 0.5, "sigma_min": 0.0, "sigma_max": float("inf")})
    return Persistent(outer_class, {**state, "_init_args": (), "_init_kwargs": {**OPTIONS, **options}})


def snapshot_of(entry: Any) -> dict[str, Any]:
    return {"ema": entry, "loss_fn": Persistent("EDMLoss", {"P_mean": -1.2}), "dataset_kwargs": {"path": "data"}}


def plain_bytes(content: Any, protocol: int = 4) -> bytes:
    with published_modules():
        return pickle.dumps(content, protocol)


def torch_bytes(content: Any, as_zip: bool) -> bytes:
    stream = io.BytesIO()
    with published_modules():
        torch.save(content, stream, _use_new_zipfile_serialization=as_zip)
    return stream.getvalue()


def on_cuda(write: Callable[[], bytes]) -> bytes:
    """Write as a machine with CUDA does: nothing differs but the named place of the storages."""
    with mock.patch("torch.serialization.location_tag", return_value="cuda:0"):
        return write()


@contextlib.contextmanager
def published_modules() -> Iterator[None]:
    """Let pickle find the names that it writes, by modules that exist for as long as it writes."""
    modules = {name: types.ModuleType(name) for name in ("torch_utils", "torch_utils.persistence", "training")}
    modules["training.networks"] = types.ModuleType("training.networks")

    def _reconstruct_persistent_obj(meta: dict) -> None:
        raise AssertionError("only its name is pickled")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    for name in (*NAMES.values(), "PositionalEmbedding", "Linear", "GroupNorm"):
        setattr(modules["training.networks"], name, type(name, (), {"__module__": "training.networks"}))
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
