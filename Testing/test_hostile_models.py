"""Damaged and hostile model folders end in one ModelError sentence, before anything is allocated."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from tiny_model import TINY, change_metadata, save_tiny_model

from CSRDDenoiseLib.errors import ModelError
from CSRDDenoiseLib.model.bundle import load_model, read_metadata

TABLE = {"spread": [0.1, 0.2], "error": [0.1, 0.3], "smoothing_mm": 6.0}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("sound") / "tiny")


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "tiny"))


def write_weights(folder: Path, content: bytes) -> None:
    """Replace the weights, with a checksum that agrees."""
    (folder / "model.safetensors").write_bytes(content)
    change_metadata(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def assert_refused(folder: Path, word: str = "") -> None:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert word in message and "\n" not in message and len(message) < 600, message
    assert message.endswith((".", "?"))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": 3}, "name"),
        ({"name": "../../up"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 500}, "name"),
        ({"description": None}, "description"),
        ({"architecture": "ResidualUNet3d"}, "architecture"),
        ({"architecture": [1]}, "architecture"),
        ({"sigma_data": "0.3"}, "sigma_data"),
        ({"sigma_data": None}, "sigma_data"),
        ({"sigma_data": True}, "sigma_data"),
        ({"sigma_data": 10**400}, "sigma_data"),
        ({"sigma_data": -1}, "sigma_data"),
        ({"sigma_max": [1]}, "sigma_max"),
        ({"sigma_max": 1e30}, "sigma_max"),
        ({"rho": 0}, "rho"),
        ({"rho": -7}, "rho"),
        ({"rho": {}}, "rho"),
        ({"voxel_spacing_mm": 0}, "voxel_spacing_mm"),
        ({"voxel_spacing_mm": -2}, "voxel_spacing_mm"),
        ({"voxel_spacing_mm": 0.01}, "voxel_spacing_mm"),
        ({"voxel_spacing_mm": 1e9}, "voxel_spacing_mm"),
        ({"spacing_range_mm": 2}, "spacing_range_mm"),
        ({"spacing_range_mm": [1]}, "spacing_range_mm"),
        ({"spacing_range_mm": [3, 1]}, "spacing_range_mm"),
        ({"spacing_range_mm": ["1", "3"]}, "spacing_range_mm"),
        ({"dose_range": [0, 1]}, "dose_range"),
        ({"dose_range": [-0.1, 0.5]}, "dose_range"),
        ({"dose_range": None}, "dose_range"),
        ({"normalisation": "none"}, "normalisation"),
        ({"normalisation": 1}, "normalisation"),
        ({"mean_from": "air"}, "mean_from"),
        ({"mr_optional": "yes"}, "mr_optional"),
        ({"channels": None}, "channels"),
        ({"channels": [1, 2]}, "channels"),
        ({"weights_sha256": None}, "weights_sha256"),
        ({"weights_sha256": 12}, "weights_sha256"),
        ({"weights_sha256": "none"}, "weights_sha256"),
        ({"bytes_per_voxel": -1}, "bytes_per_voxel"),
        ({"bytes_per_voxel": 1e300}, "bytes_per_voxel"),
        ({"bytes_per_voxel": "many"}, "bytes_per_voxel"),
        ({"training": []}, "training"),
        ({"extra": 3}, "extra"),
        ({"format": "1"}, "format"),
        ({"format": None}, "format"),
        ({"format": -1}, "format"),
        ({"format": 1.5}, "format"),
        ({"sigma_daat": 0.3}, "sigma_data"),
    ],
)
def test_values_of_wrong_type_or_size_are_refused_by_name(folder, changes, word):
    change_metadata(folder, **changes)
    assert_refused(folder, word)


@pytest.mark.parametrize(
    "architecture",
    [
        {"type": ["ResidualUNet3d"]},
        {"type": None},
        {**TINY, "widths": [10**7, 10**7]},
        {**TINY, "widths": [8] * 1000},
        {**TINY, "widths": []},
        {**TINY, "widths": [0, 8]},
        {**TINY, "widths": ["8", 8]},
        {**TINY, "widths": 8},
        {**TINY, "blocks": [10**9, 1]},
        {**TINY, "blocks": [-1, 1]},
        {**TINY, "embedding": 10**9},
        {**TINY, "embedding": None},
        {**TINY, "in_channels": 0},
        {**TINY, "in_channels": 10**9},
        {**TINY, "in_channels": 8},
        {**TINY, "detail_sizes": [100_001]},
        {**TINY, "detail_sizes": [-3]},
        {**TINY, "guide_sizes": []},
        {**TINY, "guide_sizes": [[5]]},
        {**TINY, "detail_gain": 1e300},
        {**TINY, "detail_gain": "1"},
        {**TINY, "surprise": 1},
        {"type": "DDPMpp3d", "model_channels": 10**6},
        {"type": "DDPMpp3d", "num_blocks": 10**9},
        {"type": "DDPMpp3d", "channel_mult": [1] * 64},
        {"type": "DDPMpp3d", "img_resolution": 10**30},
        {"type": "DDPMpp3d", "resample_filter": [0, 0, 0]},
        {"type": "DDPMpp3d", "dropout": "x"},
        {"type": "DiffusionTransformer3d", "blocks": 10**9},
        {"type": "DiffusionTransformer3d", "heads": 0},
        {"type": "DiffusionTransformer3d", "window": 10**6},
        {"type": "MultiViewUNet2d", "neighbours": 10**9},
    ],
)
def test_an_architecture_beyond_the_limits_is_refused(folder, architecture):
    change_metadata(folder, architecture=architecture)
    assert_refused(folder)


@pytest.mark.parametrize(
    "table",
    [
        "table",
        [1, 2],
        {"spread": [0.1, 0.2]},
        {**TABLE, "error": [0.1]},
        {**TABLE, "spread": [], "error": []},
        {**TABLE, "error": [0.1, -0.3]},
        {**TABLE, "error": [0.3, 0.1]},
        {**TABLE, "error": [0.1, None]},
        {**TABLE, "spread": [-0.1, 0.2]},
        {**TABLE, "spread": [0.2, 0.1]},
        {**TABLE, "spread": [0.2, 0.2]},
        {**TABLE, "spread": ["a", "b"]},
        {**TABLE, "smoothing_mm": 1e9},
        {**TABLE, "smoothing_mm": -1},
        {**TABLE, "smoothing_mm": None},
    ],
)
def test_a_calibration_that_could_give_a_wrong_uncertainty_is_refused(folder, table):
    change_metadata(folder, extra={"calibration": table})
    assert_refused(folder, "calibration")


NOISE = {"levels": {"1/4": [0.1, 0.2, 0.3]}, "range": [0.1, 0.3]}
FIT = {"weights": [0.1] * 16, "offset": 1.0, "answers": [1, 40], "factor": 2.0, "right": 0.5}
RECIPE = {"sampler": "dpmpp", "steps": 3, "samples": 2, "estimate": "mean", "churn": 0.0}


@pytest.mark.parametrize(
    "recipes",
    [
        3,
        {"sampler": "dpmpp"},
        ["dpmpp"],
        [{**RECIPE, "calibration": {**TABLE, "error": [0.1, -0.3]}}],
        [{**RECIPE, "calibration": {**TABLE, "smoothing_mm": 1e9}}],
        [{**RECIPE, "steps": "three", "calibration": TABLE}],
        [{**RECIPE, "surprise": 1, "calibration": TABLE}],
        [{"calibration": TABLE}],
    ],
)
def test_a_recipe_is_held_to_the_same_schema(folder, recipes):
    change_metadata(folder, recipes=recipes)
    assert_refused(folder, "recipe")


@pytest.mark.parametrize(
    "facts",
    [
        3,
        {"range": "wide"},
        {"range": [1]},
        {"range": [-1, 2]},
        {"range": [2, 1]},
        {"levels": {"1/4": "x"}},
        {"levels": {"1/4": [1, "x", 2]}},
        {"dose_fit": [1]},
        {"dose_fit": {"weights": ["a"]}},
        {**NOISE, "dose_fit": {**FIT, "weights": [0.1] * 15}},
        {**NOISE, "dose_fit": {**FIT, "answers": [3, 2]}},
        {**NOISE, "dose_fit": {**FIT, "factor": 0}},
        {**NOISE, "dose_fit": {name: value for name, value in FIT.items() if name != "answers"}},
        *({**NOISE, "levels": {dose: [0.1, 0.2, 0.3]}} for dose in ("1/0", "x", "1e999", "-1/4", "")),
    ],
)
def test_a_noise_range_that_is_none_is_refused(folder, facts):
    change_metadata(folder, extra={"noise_level_range": facts})
    assert_refused(folder, "noise_level_range")


def test_a_whole_noise_range_is_taken(folder):
    change_metadata(folder, extra={"noise_level_range": {**NOISE, "dose_fit": FIT}})
    assert read_metadata(folder).extra


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": 1, "training": ' + '{"a":' * 900 + "1" + "}" * 901,
        '{"format": 1e999}',
        '{"format": 1, "rho": NaN}',
        '{"format": 1, "rho": -Infinity}',
        '{"format": ' + "9" * 5000 + "}",
        '{"format": true}',
        "\ufeff{}",
        "null",
        "\x00",
        "1",
    ],
)
def test_json_that_is_no_metadata_is_refused(folder, text):
    (folder / "metadata.json").write_text(text, encoding="utf-8")
    assert_refused(folder, "metadata.json")


def test_a_number_that_is_none_is_refused_wherever_it_stands(folder):
    text = (folder / "metadata.json").read_text()
    for number in ("NaN", "Infinity", "1e999"):
        (folder / "metadata.json").write_text(text.replace('"extra": {}', f'"extra": {{"note": [{number}]}}'))
        assert_refused(folder, number)


def test_bytes_that_are_no_text_are_refused(folder):
    (folder / "metadata.json").write_bytes(b"\xff\xfe\x00{")
    assert_refused(folder, "metadata.json")


def test_metadata_larger_than_the_limit_is_not_read(folder):
    with (folder / "metadata.json").open("wb") as file:
        file.truncate(1 << 40)
    assert_refused(folder, "metadata.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 64,
        (1 << 60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (9).to_bytes(8, "little") + b"not json!",
        save({"other": torch.zeros(3)}),
    ],
)
def test_weights_that_are_no_safetensors_are_refused_also_with_the_right_checksum(folder, content):
    write_weights(folder, content)
    assert_refused(folder, "model.safetensors")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, number):
    weights = {
        name: value.contiguous().clone() for name, value in load_model(folder).denoiser.model.state_dict().items()
    }
    next(iter(weights.values())).view(-1)[0] = number
    write_weights(folder, save(weights))
    assert_refused(folder, "finite")


@pytest.mark.parametrize("number", [float("nan"), 1e300])
def test_weights_of_other_types_are_finite_in_float32(folder, number):
    """Types of 8 bits cannot be asked whether they are finite; what float32 cannot hold becomes infinite in the run."""
    kind = torch.float64 if number == 1e300 else torch.float8_e4m3fn
    state = load_model(folder).denoiser.model.state_dict()
    weights = {name: value.to(kind, memory_format=torch.contiguous_format) for name, value in state.items()}
    try:
        write_weights(folder, save(weights))
    except KeyError:
        pytest.skip("this version of safetensors has no such type")
    load_model(folder)
    first = next(iter(weights))
    weights[first] = torch.full(state[first].shape, number, dtype=torch.float64).to(kind)
    write_weights(folder, save(weights))
    assert_refused(folder, "finite")


def test_weights_of_another_shape_are_refused(folder):
    weights = {
        name: value.contiguous().clone() for name, value in load_model(folder).denoiser.model.state_dict().items()
    }
    name = next(iter(weights))
    write_weights(folder, save({**weights, name: torch.zeros(2, 3)}))
    assert_refused(folder, name)


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and /dev are POSIX")
@pytest.mark.parametrize("name", ["metadata.json", "model.safetensors"])
def test_devices_and_pipes_are_no_model_files(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert_refused(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert_refused(folder)


@pytest.mark.parametrize("name", ["", ".", "..", "../brain", "brain/../brain", "a\0b", "x" * 5000, "~", "/dev/null"])
def test_names_that_are_no_model_are_refused(name):
    assert_refused(name)


def test_a_sound_folder_still_loads(folder):
    change_metadata(folder, extra={"calibration": {**TABLE, "subjects": 3}, "note": "mine"})
    assert load_model(folder).metadata.extra["note"] == "mine"
    assert read_metadata(folder).voxel_spacing_mm == 2.0
