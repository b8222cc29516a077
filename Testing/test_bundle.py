"""Model folders: round trip, damage, versions, devices, memory."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_model import TINY, change_metadata, save_tiny_model, tiny_metadata, tiny_network

from CSRDDenoiseLib import devices
from CSRDDenoiseLib.devices import choose_device, choose_precision, list_devices, precision_name, processor_name
from CSRDDenoiseLib.errors import InputError, ModelError
from CSRDDenoiseLib.model import bundle
from CSRDDenoiseLib.model.bundle import add_recipe, build_network, list_models, load_model, read_metadata, save_model
from CSRDDenoiseLib.run.stages import load_checked
from CSRDDenoiseLib.settings import DenoiseSettings, Recipe


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_tiny_model(tmp_path / "tiny")


def test_what_is_saved_is_what_is_loaded(folder):
    model = load_model(folder)
    for name, value in tiny_network().state_dict().items():
        assert torch.equal(model.denoiser.model.state_dict()[name], value)
    assert model.denoiser.sigma_data == model.metadata.sigma_data == 0.3
    assert not model.denoiser.training
    assert model.metadata.spacing_range_mm == (1.0, 4.0)
    assert len(model.metadata.weights_sha256) == 64
    assert model.metadata.bytes_per_voxel > 4 * 7
    assert sorted(path.name for path in folder.iterdir()) == ["metadata.json", "model.safetensors"]


def test_saving_again_keeps_the_other_files(folder):
    (folder / "MODEL_CARD.md").write_text("card")
    save_model(folder, tiny_network(seed=1), tiny_metadata(name="second"))
    assert load_model(folder).metadata.name == "second"
    assert (folder / "MODEL_CARD.md").read_text() == "card"


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    save_model(tmp_path, tiny_network().half(), tiny_metadata())
    assert next(load_model(tmp_path).denoiser.parameters()).dtype == torch.float32


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged: their SHA-256"):
        load_model(folder)
    path.unlink()
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        load_model(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 2}, "written by a newer version.*format 2"),
        ({"sigma_min": 99.0}, "noise levels from 99 to 10"),
        ({"channels": ["mr"]}, "wants the channels"),
        ({"surprise": 1}, "surprise"),
        ({"architecture": {"type": "Transformer"}}, "'Transformer' is not known; known are ResidualUNet3d, DDPMpp3d"),
        ({"architecture": {**TINY, "depth": 3}}, "cannot be built"),
        ({"architecture": {**TINY, "widths": [16, 8]}}, "do not fit the architecture"),
        ({"of_a_later_version": 1}, "of another version: 'of_a_later_version' is not known"),
    ],
)
def test_bad_metadata_is_refused(folder, changes, message):
    change_metadata(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_unreadable_metadata_is_refused(folder, text):
    (folder / "metadata.json").write_text(text)
    with pytest.raises(ModelError, match=r"damaged(,| or) incomplete"):
        read_metadata(folder)


def test_metadata_with_a_byte_order_mark_is_read(folder):
    path, metadata = folder / "metadata.json", read_metadata(folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_metadata(folder) == metadata


def test_metadata_with_a_field_of_before_is_read(folder):
    metadata = read_metadata(folder)
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "position": "head-box"}))
    assert read_metadata(folder) == metadata


def test_models_are_found_by_name_and_by_path(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "resource_folder", lambda: tmp_path)
    save_tiny_model(tmp_path / "Models" / "bundled")
    assert [path.name for path in list_models()] == ["bundled"]
    assert load_model("bundled").folder == tmp_path / "Models" / "bundled"
    assert load_model(str(folder)).folder == folder
    with pytest.raises(ModelError, match="'other' is not known: it is neither a bundled model \\(bundled\\)"):
        load_model("other")


def test_devices_are_checked_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert list_devices()[0].name == str(choose_device("auto"))
    for name in ("cuda:99", "gpu", "", "cpu:1"):
        with pytest.raises(InputError, match=r"is not there; this machine has .*cpu"):
            choose_device(name)


GTX_1080, RTX_3090, RTX_5090 = (6, 1), (8, 6), (12, 0)
OLD_BUILD, NEW_BUILD = ["sm_50", "sm_60", "sm_80", "sm_90"], ["sm_75", "sm_80", "sm_90", "compute_90"]
GPUS = [  # capability of each, what torch was built for -> names
    ([GTX_1080], OLD_BUILD, ["cuda:0", "cpu"]),
    ([GTX_1080], NEW_BUILD, ["cpu"]),
    ([GTX_1080, RTX_3090], NEW_BUILD, ["cuda:1", "cpu"]),
    ([RTX_5090], OLD_BUILD, ["cpu"]),
    ([RTX_5090], NEW_BUILD, ["cuda:0", "cpu"]),
    ([RTX_3090], [], ["cuda:0", "cpu"]),
]


@pytest.mark.parametrize(("capabilities", "built", "names"), GPUS)
def test_a_gpu_that_torch_has_no_code_for_is_no_device(monkeypatch, capabilities, built, names):
    properties = SimpleNamespace(name="GeForce", total_memory=1 << 33)
    answers = {"is_available": True, "device_count": len(capabilities), "get_arch_list": built}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: capabilities[getattr(device, "index", device)]
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [each.name for each in list_devices()] == names
    assert str(choose_device("auto")) == names[0]
    if names == ["cpu"]:
        with pytest.raises(InputError, match=r"no code for GeForce \(compute capability \d+\.\d\)"):
            choose_device("cuda")
    else:
        assert str(choose_device("cuda")) == names[0]


PROCESSORS = [  # AVX-512 bf16, AMX, maker -> auto; None is a torch that cannot say
    (True, True, "GenuineIntel", torch.bfloat16),
    (True, False, "GenuineIntel", torch.float32),
    (True, False, "AuthenticAMD", torch.bfloat16),
    (True, None, "AuthenticAMD", torch.bfloat16),
    (False, False, "AuthenticAMD", torch.float32),
    (None, None, "GenuineIntel", torch.float32),
]


@pytest.mark.parametrize("bf16, amx, maker, auto", PROCESSORS)
def test_precision_follows_the_processor_or_the_wish(monkeypatch, bf16, amx, maker, auto):
    for name, has in (("_is_avx512_bf16_supported", bf16), ("_is_amx_tile_supported", amx)):
        if has is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda has=has: has, raising=False)
    monkeypatch.setattr(devices, "_processor", lambda: maker)
    cpu = torch.device("cpu")
    assert choose_precision(cpu) == auto
    assert list_devices()[-1].precision == precision_name(auto)
    assert choose_precision(cpu, "float32") == torch.float32 and choose_precision(cpu, "bfloat16") == torch.bfloat16
    with pytest.raises(InputError, match="float16 needs a GPU"):
        choose_precision(cpu, "float16")


def test_doses_of_a_model_are_not_rounded_to_whole_numbers():
    assert tiny_metadata(dose_range=(1 / 30, 1 / 1.6)).doses == "1/1.6 to 1/30"
    assert tiny_metadata(dose_range=(0.1, 0.1)).doses == "1/10"


def test_the_processor_is_named_as_the_system_names_it(monkeypatch):
    text = "vendor_id\t: AuthenticAMD\nmodel\t\t: 2\nmodel name\t: AMD EPYC 9654 \nflags\t\t: fpu\n\nmodel name\t: 2\n"
    monkeypatch.setattr(devices, "_processor", lambda: text)
    assert processor_name() == "AMD EPYC 9654"
    assert next(each for each in list_devices() if each.name == "cpu").description == "AMD EPYC 9654"
    monkeypatch.setattr(devices, "_processor", lambda: "model name\t:\nflags\t: fpu")
    assert processor_name() == (platform.processor() or platform.machine())


def test_a_precision_that_the_device_has_not_is_refused_before_the_work(folder, monkeypatch):
    with pytest.raises(InputError, match="float16 needs a GPU"):
        load_checked(folder, DenoiseSettings(device="cpu", precision="float16"), with_mr=True)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("User specified an unsupported autocast device_type 'mps'")  # torch before 2.5

    monkeypatch.setattr(torch, "autocast", refuse)
    with pytest.raises(InputError, match=r"bfloat16 cannot be used on mps.*choose float32"):
        choose_precision(torch.device("mps"), "bfloat16")


def test_reading_metadata_does_not_load_torch(folder):
    program = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from CSRDDenoiseLib.model.bundle import list_models, read_metadata
list_models()
print(read_metadata({str(folder)!r}).name)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


SLOW = ("SwinUNet3d",)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in bundle.ARCHITECTURES]
)
def test_every_architecture_builds_with_its_defaults_and_keeps_the_shape(kind):
    arguments = {"model_channels": 4, "num_blocks": 1} if kind == "DDPMpp3d" else {}
    network = build_network({"type": kind, **arguments})
    side = network.multiple
    volume = torch.zeros(1, network.in_channels, side, side, 2 * side)
    assert network(volume, torch.zeros(1)).shape == (1, 1, side, side, 2 * side)


def test_recipes_that_are_added_at_once_are_all_kept(folder):
    table = {"spread": [0.0, 1.0], "error": [0.0, 1.0], "smoothing_mm": 4.0}
    recipes = [Recipe("dpmpp", steps, samples) for steps in (2, 3, 4) for samples in (2, 3, 4, 5)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda recipe: add_recipe(folder, recipe, table), recipes))
    added = {(each["steps"], each["samples"]) for each in read_metadata(folder).recipes}
    assert added == {(recipe.steps, recipe.samples) for recipe in recipes}
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "metadata.json"}
