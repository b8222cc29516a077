"""Published snapshots are imported; hostile and broken ones are refused, and nothing of them is run."""

from __future__ import annotations

import functools
import io
import operator
import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_snapshots import (
    Persistent,
    Plain,
    on_cuda,
    plain_bytes,
    published_network,
    snapshot_of,
    torch_bytes,
    wrapped,
)

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import ModelError
from CSRDDenoiseLib.model import safe_pickle
from CSRDDenoiseLib.model.bundle import build_network, load_model
from CSRDDenoiseLib.model.safe_pickle import read_pickle
from CSRDDenoiseLib.model.snapshot import architecture_of, import_snapshot, read_snapshot

NETWORK = published_network()
PLAIN_SNAPSHOT = plain_bytes(snapshot_of(wrapped(NETWORK)))

LAYOUTS: dict[str, Callable[[], bytes]] = {
    "persistent": lambda: PLAIN_SNAPSHOT,
    "protocol 2": lambda: plain_bytes(snapshot_of(wrapped(NETWORK)), protocol=2),
    "protocol 5": lambda: plain_bytes(snapshot_of(wrapped(NETWORK)), protocol=5),
    "plain modules inside": lambda: plain_bytes(snapshot_of(wrapped(NETWORK, inner=Plain))),
    "network by itself": lambda: plain_bytes(wrapped(NETWORK)),
    "training state": lambda: torch_bytes({"net": wrapped(NETWORK), "optimizer_state": {}}, as_zip=True),
    "zip": lambda: torch_bytes(snapshot_of(wrapped(NETWORK)), as_zip=True),
    "legacy": lambda: torch_bytes(snapshot_of(wrapped(NETWORK)), as_zip=False),
    "cuda": lambda: on_cuda(lambda: plain_bytes(snapshot_of(wrapped(NETWORK)))),
    "cuda legacy": lambda: on_cuda(lambda: torch_bytes(snapshot_of(wrapped(NETWORK)), as_zip=False)),
    "state dict": lambda: torch_bytes({"ema": {f"model.{k}": v for k, v in NETWORK.state_dict().items()}}, as_zip=True),
}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "network-snapshot-000001.pkl"
    path.write_bytes(content)
    return path


def assert_same_weights(loaded: torch.nn.Module, expected: torch.nn.Module) -> None:
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.float()), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_model(tmp_path, layout):
    metadata = import_snapshot(write(tmp_path, LAYOUTS[layout]()), tmp_path / "model", "authors", 1.5)
    assert (b"cuda:0" in (tmp_path / "network-snapshot-000001.pkl").read_bytes()) == layout.startswith("cuda")
    model = load_model(tmp_path / "model")
    assert_same_weights(model.denoiser.model, NETWORK)
    assert model.metadata.architecture["channel_mult"] == [1, 2]
    assert (metadata.normalisation, metadata.voxel_spacing_mm) == ("reference", 1.5)
    assert (metadata.sigma_data, metadata.sigma_min, metadata.sigma_max, metadata.rho) == (0.5, 0.002, 80.0, 7.0)
    assert not metadata.mr_optional
    channels = torch.randn(1, 6, 8, 8, 8)
    with torch.inference_mode():
        expected = NETWORK(channels, torch.zeros(1))
        torch.testing.assert_close(model.denoiser.model(channels, torch.zeros(1)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("as_zip", [True, False, None])
def test_half_precision_becomes_float32(tmp_path, as_zip):
    network = published_network().half()
    content = snapshot_of(wrapped(network))
    written = plain_bytes(content) if as_zip is None else torch_bytes(content, as_zip)
    import_snapshot(write(tmp_path, written), tmp_path / "model", "authors", 2.0)
    assert_same_weights(load_model(tmp_path / "model").denoiser.model, network)


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_mult": (1, 2, 2)},
        {"num_blocks": 2, "channel_mult_emb": 2, "channel_mult_noise": 2},
        {"attn_resolutions": (16,), "img_resolution": 32},
        {"resample_filter": (1, 2, 1)},
    ],
)
def test_the_architecture_is_recovered_from_the_tensors(tmp_path, changes):
    network = published_network(**changes)
    snapshot = read_snapshot(write(tmp_path, plain_bytes(wrapped(network))))
    assert snapshot.options["model_type"] == "SongUNet3D"
    import_snapshot(write(tmp_path, plain_bytes(wrapped(network))), tmp_path / "model", "authors", 2.0)
    assert_same_weights(load_model(tmp_path / "model").denoiser.model, network)


@pytest.mark.parametrize(
    "network, options, message",
    [
        ({"in_channels": 4}, {}, "takes 4 channels and gives 1; this pipeline needs one that takes 6"),
        ({"out_channels": 2}, {}, "takes 6 channels and gives 2"),
        ({}, {"encoder_type": "skip"}, "encoder_type='skip'; only 'standard' or 'residual'"),
        ({}, {"decoder_type": "skip"}, "decoder_type='skip'; only 'standard'"),
        ({}, {"model_type": "DhariwalUNet3D"}, "model_type='DhariwalUNet3D'; only 'SongUNet3D'"),
        ({}, {"label_dim": 3}, "label_dim=3; only 0"),
        ({}, {"network_class": "UNet3D"}, "class is 'UNet3D'; only SongUNet3D and SongUNet"),
        ({}, {"outer_class": "VPPrecond"}, "preconditioned by 'VPPrecond'; only Patch_EDMPrecond_3D"),
    ],
)
def test_other_networks_are_refused(tmp_path, network, options, message):
    path = write(tmp_path, plain_bytes(wrapped(published_network(**network), **options)))
    with pytest.raises(ModelError, match=message):
        import_snapshot(path, tmp_path / "model", "authors", 2.0)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "content", [{"ema": None}, {"ema": {}}, {"other": 1}, [], "text", {"ema": Persistent("X", {})}]
)
def test_files_without_a_network_are_refused(tmp_path, content):
    with pytest.raises(ModelError, match="holds no network"):
        read_snapshot(write(tmp_path, plain_bytes(content)))


VARIANTS = [
    f"{kind}_{entry}" for kind in ("positional_standard", "fourier_residual") for entry in ("plain", "implicit")
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_published_3d_training_writes_gives_the_published_numbers(tmp_path, variant):
    with np.load(Path(__file__).parent / "data" / "reference" / "songunet3d_variants.npz") as file:
        start = f"weights/{variant}/"
        weights = {name[len(start) :]: torch.from_numpy(file[name]) for name in file.files if name.startswith(start)}
        noisy, condition, expected = (
            torch.from_numpy(file[name]) for name in ("noisy", "condition", f"denoised/{variant}")
        )
    network = build_network(architecture_of(weights))
    network.load_state_dict(weights)
    fourier = variant.startswith("fourier")
    options = {"encoder_type": "residual", "embedding_type": "fourier"} if fourier else {}
    import_snapshot(write(tmp_path, plain_bytes(snapshot_of(wrapped(network, **options)))), tmp_path / "m", "a", 2.0)
    denoiser = load_model(tmp_path / "m").denoiser
    with torch.inference_mode():
        error = denoiser(noisy, torch.tensor([0.7]), condition) - expected
    assert float(error.norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("name", ["SongUNet", "SongUNet3D"])
@pytest.mark.parametrize("embedding", ["positional", "fourier"])
@pytest.mark.parametrize("encoder", ["standard", "residual"])
@pytest.mark.parametrize("implicit", [False, True])
def test_every_network_of_both_class_names_is_taken(tmp_path, name, embedding, encoder, implicit):
    taps = [1, 3, 3, 1] if encoder == "residual" else [1, 1, 1]
    kinds = {"embedding_type": embedding, "encoder_type": encoder, "resample_filter": taps}
    network = published_network(implicit_mlp=implicit, channel_mult_noise=2, **kinds)
    content = plain_bytes(snapshot_of(wrapped(network, network_class=name, model_type=name, **kinds)))
    metadata = import_snapshot(write(tmp_path, content), tmp_path / "model", "authors", 2.0)
    loaded = load_model(tmp_path / "model").denoiser.model
    assert {**metadata.architecture, "resample_filter": None} == {
        **metadata.architecture,
        "resample_filter": None,
        "embedding_type": embedding,
        "encoder_type": encoder,
        "implicit_mlp": implicit,
    }
    assert_same_weights(loaded, network)
    channels = torch.randn(1, 6, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded(channels, torch.ones(1)), network(channels, torch.ones(1)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", ["SongUNet", "SongUNet3D"])
def test_a_network_of_two_dimensions_is_refused(tmp_path, name):
    network = published_network()
    for module in network.modules():
        for key, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and value.ndim == 5:
                flat = value.detach()[:, :, 0]
                (module._buffers if key in module._buffers else module._parameters)[key] = (
                    flat if key in module._buffers else torch.nn.Parameter(flat)
                )
    path = write(tmp_path, plain_bytes(snapshot_of(wrapped(network, network_class=name, model_type=name))))
    with pytest.raises(ModelError, match="two dimensions"):
        import_snapshot(path, tmp_path / "model", "authors", 2.0)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("parts", "word"),
    [({"map_augment.weight": (16, 9)}, ""), ({"map_label.weight": (16, 3)}, "map_label")],
    ids=["augmentation, which is not used", "labels"],
)
def test_parts_that_training_adds(tmp_path, parts, word):
    state = {f"model.{key}": value for key, value in NETWORK.state_dict().items()}
    state.update({f"model.{key}": torch.zeros(shape) for key, shape in parts.items()})
    path = write(tmp_path, torch_bytes({"ema": state}, as_zip=True))
    if not word:
        import_snapshot(path, tmp_path / "model", "authors", 2.0)
        assert_same_weights(load_model(tmp_path / "model").denoiser.model, NETWORK)
        return
    with pytest.raises(ModelError, match=word):
        import_snapshot(path, tmp_path / "model", "authors", 2.0)


class Calls:
    """Pickled as a call of ``function``, wherever it is put."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def hostile(folder: Path) -> dict[str, Any]:
    """Objects whose unpickling would leave a file behind, by what they would call."""
    command = f"touch {folder / 'was_run'}"
    python = f"open({str(folder / 'was_run')!r}, 'w')"
    return {
        "os.system": Calls(os.system, command),
        "eval": Calls(eval, python),
        "exec": Calls(exec, python),
        "open": Calls(open, str(folder / "was_run"), "w"),
        "__import__": Calls(__import__, "os"),
        "getattr": Calls(getattr, "text", "join"),
        "subprocess": Calls(subprocess.Popen, ["touch", str(folder / "was_run")]),
        "partial": Calls(functools.partial, os.system, command),
        "attrgetter": Calls(operator.attrgetter, "system"),
        "torch.load": Calls(torch.load, str(folder / "other")),
        "numpy.load": Calls(np.load, str(folder / "other"), None, True),
        "nested": Calls(list, Calls(os.system, command)),
        "in a storage": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, command))),
        "pickle in pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, command))),
    }


@pytest.mark.parametrize("name", list(hostile(Path())))
@pytest.mark.parametrize("place", ["alone", "as ema", "in the state", "zip", "legacy"])
def test_hostile_files_are_refused_and_nothing_is_run(tmp_path, name, place, capsys):
    call = hostile(tmp_path)[name]
    content = {
        "alone": lambda: plain_bytes(call, protocol=4),
        "as ema": lambda: plain_bytes(snapshot_of(call), protocol=2),
        "in the state": lambda: plain_bytes(snapshot_of(Persistent("Patch_EDMPrecond_3D", {"_modules": call}))),
        "zip": lambda: torch_bytes(snapshot_of(call), as_zip=True),
        "legacy": lambda: torch_bytes(snapshot_of(call), as_zip=False),
    }[place]()
    path = write(tmp_path, content)
    assert main(["import-model", str(path), "--output", str(tmp_path / "model")]) == 2
    printed = capsys.readouterr().err
    assert "which no snapshot of a network needs" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "was_run").exists()
    assert not (tmp_path / "model").exists()


def tensor_call(shape: tuple, strides: tuple, offset: int = 0, count: int = 4) -> Calls:
    storage = torch.zeros(count).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    return Calls(torch._utils._rebuild_tensor_v2, typed, offset, shape, strides, False, {})


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not a pickle at all",
    "a promise of a terabyte": lambda: b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
    "a huge memo": lambda: b"\x80\x04]r\xff\xff\xff\x7f.",
    "a huge list of marks": lambda: b"(" * (safe_pickle.MAX_INSTRUCTIONS + 1) + b".",
    "old instructions": lambda: b"(ios\nsystem\n.",
    "an extension": lambda: b"\x80\x02\x82\x01.",
    "a changed function": lambda: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00ak\x00sb.",
    "a changed class": lambda: b"\x80\x02ctraining.networks\nSongUNet\n}b.",
    "a storage from elsewhere": lambda: b"\x80\x02X\x01\x00\x00\x00aQ.",
    "storages in storages": lambda: plain_bytes(
        Calls(
            torch.storage._load_from_bytes,
            plain_bytes(Calls(torch.storage._load_from_bytes, plain_bytes({}, 2)), 2),
        )
    ),
    "an empty zip": lambda: zip_of({}),
    "a zip without storages": lambda: zip_of({"archive/data.pkl": LAYOUT_PROGRAM}),
    "a zip bomb": lambda: zip_of({"archive/data.pkl": b"\0" * (50 << 20)}, zipfile.ZIP_DEFLATED),
}


def zip_of(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def program_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


LAYOUT_PROGRAM = program_of(LAYOUTS["zip"]())


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(tmp_path, name):
    with pytest.raises(ModelError, match="is damaged, or is not a snapshot of a network"):
        read_pickle(write(tmp_path, BROKEN[name]()))


@pytest.mark.parametrize(
    "call, message",
    [
        (tensor_call((1 << 20, 1 << 20), (0, 0)), "larger than the file"),
        (tensor_call((10,), (0,)), "larger than its data"),
        (tensor_call((4,), (1,), offset=1), "larger than its data"),
        (tensor_call((2, 2), (4, 1)), "larger than its data"),
        (tensor_call((-1,), (1,)), "impossible shape"),
        (tensor_call((1.5,), (1,)), "impossible shape"),
        (tensor_call((2,), (1, 1)), "impossible shape"),
        (tensor_call((1,) * 20, (1,) * 20), "impossible shape"),
    ],
)
def test_tensors_beyond_their_data_are_refused(tmp_path, call, message):
    with pytest.raises(ModelError, match=message):
        read_snapshot(write(tmp_path, plain_bytes({"ema": {"map_layer0.weight": call}})))


def test_many_views_of_one_storage_cannot_fill_the_memory(tmp_path):
    shared = torch.zeros(1000)
    path = write(tmp_path, torch_bytes({"ema": {f"{i}.map_layer0.weight": shared for i in range(1000)}}, as_zip=True))
    with pytest.raises(ModelError, match="together larger than the file"):
        read_snapshot(path)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_nesting_is_refused(tmp_path, depth):
    module = b"}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00a"
    path = write(tmp_path, b"\x80\x02}X\x03\x00\x00\x00ema" + module * depth + b"}" + b"ss" * depth + b"s.")
    with pytest.raises(ModelError, match="nested too deeply"):
        read_snapshot(path)


def test_files_beyond_the_limit_are_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_pickle, "MAX_FILE_BYTES", 1 << 10)
    with pytest.raises(ModelError, match="a snapshot has at most"):
        read_pickle(write(tmp_path, PLAIN_SNAPSHOT))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_snapshots_give_a_sentence_or_a_network(tmp_path, data):
    content = bytearray(LAYOUTS[data.draw(st.sampled_from(["persistent", "zip", "legacy"]))]())
    end = data.draw(st.integers(0, len(content)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path, bytes(content[:end] if data.draw(st.booleans()) else content))
    try:
        read_snapshot(path)
    except ModelError as error:
        assert str(error)


def test_the_command_imports_and_guards_its_output(tmp_path, capsys):
    path = write(tmp_path, PLAIN_SNAPSHOT)
    command = ["import-model", str(path), "--output", str(tmp_path / "authors")]
    assert main(command) == 0
    assert "DDPMpp3d of width 4, multipliers [1, 2], 1 blocks" in capsys.readouterr().out
    assert load_model(tmp_path / "authors").metadata.name == "authors"
    assert main(command) == 2
    assert "holds a model already" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--name", "paper", "--spacing", "1.2"]) == 0
    assert load_model(tmp_path / "authors").metadata.voxel_spacing_mm == 1.2
    for name, word in (("none.pkl", "exist"), ("", "folder")):
        assert main(["import-model", str(tmp_path / name), "--output", str(tmp_path / "b")]) == 2
        assert word in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*command, "--overwrite", "--spacing", "0"])
    assert ended.value.code == 2
