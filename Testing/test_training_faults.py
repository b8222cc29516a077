"""A training run that cannot end well stops with a sentence, and keeps what is good."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import write_anatomies
from tiny_model import TINY, save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.model.metadata import CHANNELS
from CSRDDenoiseLib.research.training import loop, readiness, simulators
from CSRDDenoiseLib.research.training.checkpoint import load_checkpoint
from CSRDDenoiseLib.research.training.config import TrainingConfig, load_config
from CSRDDenoiseLib.research.training.export import export_model
from CSRDDenoiseLib.research.training.loop import TrainingRun
from CSRDDenoiseLib.research.training.noise_range import trained_doses
from CSRDDenoiseLib.research.training.split import PARTS, load_split

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="session")
def anatomies(tmp_path_factory) -> Path:
    """Five anatomies of 6 mm voxels."""
    return write_anatomies(tmp_path_factory.mktemp("anatomy"), 5, spacing=6.0)


@pytest.fixture
def config(training_config, anatomies) -> TrainingConfig:
    one = {"doses": (1 / 4,), "pool_size": 1, "pool_start": 1, "batch": 1}
    return replace(training_config, anatomy=anatomies, model_spacing=6.0, steps=2, **one)


def write_config(folder: Path, text: str, anatomy: str = "a") -> Path:
    path = folder / "config.yaml"
    path.write_text(f"name: x\nanatomy: {anatomy}\noutput: out\n{text}")
    return path


# -- anatomies and the split


@pytest.mark.parametrize("folder", ["no-such-folder", "."])
def test_a_folder_without_anatomies_is_refused_and_leaves_no_split(config, tmp_path, folder):
    with pytest.raises(InputError, match="has no anatomies"):
        TrainingRun(replace(config, anatomy=tmp_path / folder))
    assert not config.split_file.exists()


def test_anatomies_without_the_names_of_their_regions_are_refused(config, tmp_path):
    (tmp_path / "ixi").mkdir()
    (tmp_path / "ixi" / "one_T1.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"lacks ixi_labels\.csv"):
        TrainingRun(replace(config, anatomy=tmp_path))
    assert not config.split_file.exists()


def test_few_anatomies_and_the_default_shares_are_refused_before_the_first_step(config, tmp_path):
    folder = tmp_path / "four"
    (folder / "synthseg").mkdir(parents=True)
    for path in sorted(config.anatomy.glob("synthseg/*"))[:4]:
        (folder / "synthseg" / path.name).write_bytes(path.read_bytes())
    few = replace(config, anatomy=folder, subjects=TrainingConfig.subjects)
    with pytest.raises(InputError, match=r"split of 4 subjects .*0\.78, 0\.08, 0\.14 leaves none for 'validation'"):
        TrainingRun(few)
    assert not few.split_file.exists()
    assert TrainingRun(replace(few, validation_phantoms=0)).pool.subjects


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"train": 3, "validation": [], "test": []}'])
def test_a_damaged_split_is_refused(config, text):
    config.split_file.parent.mkdir(parents=True)
    config.split_file.write_text(text)
    with pytest.raises(InputError, match="The split"):
        TrainingRun(config)


def test_a_split_with_an_empty_part_is_refused(config):
    config.split_file.parent.mkdir(parents=True)
    config.split_file.write_text(json.dumps({part: [] for part in PARTS}))
    with pytest.raises(InputError, match="leaves none for 'train'"):
        TrainingRun(config)


# -- simulators


class Reasons(list):
    put = list.append


def test_a_simulator_reports_why_it_ends(config, monkeypatch):
    monkeypatch.setattr(simulators.signal, "signal", lambda *_: None)
    monkeypatch.setattr(simulators.os, "nice", lambda _: None, raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    pool, reasons = TrainingRun(config).pool, Reasons()
    pool.subjects = ["synthseg/none"]
    simulators._fill([(pool, phantom) for phantom in range(3)], "cpu", reasons, 0)
    assert len(reasons) == 1 and reasons[0].startswith("phantom 0: ") and "none" in reasons[0]


@pytest.mark.slow
def test_a_run_whose_simulator_fails_stops_with_the_reason(config, tmp_path):
    folder = tmp_path / "broken"
    (folder / "synthseg").mkdir(parents=True)
    for number in range(5):
        (folder / "synthseg" / f"b{number}.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match="simulation of phantoms failed: phantom 0"):
        TrainingRun(replace(config, anatomy=folder, simulators=1)).run()


# -- gradients


def poison(run: TrainingRun, monkeypatch, first: int) -> None:
    """Make the loss NaN from a step on."""
    honest = loop.denoising_loss

    def loss(*arguments):
        value = honest(*arguments)
        return value * float("nan") if run.state.step >= first else value

    monkeypatch.setattr(loop, "denoising_loss", loss)


@pytest.mark.slow
def test_gradients_that_are_not_finite_never_reach_a_model(config, tmp_path, monkeypatch):
    config = replace(config, steps=100, checkpoint_minutes=0.0, learning_rate=1e-3)
    run = TrainingRun(config)
    poison(run, monkeypatch, first=3)
    with pytest.raises(InputError, match="not finite"):
        run.run()
    saved = load_checkpoint(config.output)
    assert saved["state"]["step"] >= 3
    for part in ("network", "average"):
        assert all(bool(value.isfinite().all()) for value in saved[part].values())
    export_model(config, tmp_path / "model")
    assert all(bool(value.isfinite().all()) for value in load_model(tmp_path / "model").denoiser.parameters())


@pytest.mark.slow
def test_a_single_step_that_is_not_finite_is_left_out(config, monkeypatch):
    honest, seen = loop.denoising_loss, []

    def loss(*arguments):
        seen.append(None)
        return honest(*arguments) * (float("inf") if len(seen) == 2 else 1.0)

    monkeypatch.setattr(loop, "denoising_loss", loss)
    run = TrainingRun(replace(config, steps=4))
    assert run.run().step == 4
    assert all(bool(value.isfinite().all()) for value in run.denoiser.parameters())


@pytest.mark.slow
def test_weights_that_half_precision_cannot_hold_are_not_exported(config, tmp_path):
    run = TrainingRun(config)
    run.run()
    with torch.no_grad():
        next(run.average.model.parameters()).fill_(1e6)
    run._checkpoint([], 1.0)
    with pytest.raises(InputError, match="not finite"):
        export_model(config, tmp_path / "model")
    assert not (tmp_path / "model").exists()


# -- the pool


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "word"),
    [({"model_spacing": 5.0}, "model_spacing"), ({"seed": 3}, "first_seed"), ({"split": "other"}, "subjects")],
)
def test_a_pool_of_other_settings_is_never_used_in_silence(config, tmp_path, changes, word):
    run = TrainingRun(config)
    run.run()
    if "split" in changes:
        split = load_split(config.split_file)
        other = {**split, "train": split["train"][::-1] + split["test"], "test": []}
        (tmp_path / "other.json").write_text(json.dumps(other))
        changes = {"split": tmp_path / "other.json"}
    with pytest.raises(InputError, match=rf"was simulated with {word} .*another folder 'data'"):
        TrainingRun(replace(config, output=tmp_path / "second", data=config.output, **changes)).run()


@pytest.mark.parametrize("name", ["00000_1_4.npy", "00007_1_2.npy"])
def test_a_pool_without_a_record_is_refused_and_stays_as_it_is(config, name):
    pool = config.data_folder / "pool"
    pool.mkdir(parents=True)
    (pool / name).write_bytes(b"a phantom of an earlier version")
    with pytest.raises(InputError, match=rf"{name}.*no pool\.json.*another folder 'data'"):
        TrainingRun(config).run()
    assert [path.name for path in pool.iterdir()] == [name]


def test_the_noise_range_is_of_all_trained_doses(config):
    drawn = TrainingRun(replace(config, doses=(1 / 4, 1 / 10), dose_range=(1 / 30, 1 / 1.6))).pool
    doses = trained_doses(drawn)
    assert (min(doses), max(doses)) == pytest.approx((1 / 30, 1 / 1.6), rel=1e-3) and len(doses) >= 6
    assert {1 / 2, 1 / 16} <= set(doses) and 1 / 40 not in doses
    assert trained_doses(TrainingRun(config).pool) == config.doses


# -- the configuration


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("doses: [0]", ("'doses' is 0", "greater than 0")),
        ("doses: [1/0]", ("'doses[0]' is '1/0'",)),
        ("doses: []", ("'doses' is empty",)),
        ("doses: 1/4", ("'doses' is '1/4'", "a list")),
        ("patch: 0", ("'patch' is 0",)),
        ("patch: 30.5", ("'patch' is 30.5", "a whole number")),
        ("batch: -1", ("'batch' is -1",)),
        ("steps: many", ("'steps' is 'many'",)),
        ("learning_rate: 0", ("'learning_rate' is 0",)),
        ("learning_rate: .nan", ("'learning_rate'", "a finite number")),
        ("learning_rate: true", ("'learning_rate' is True",)),
        ("model_spacing: 0", ("'model_spacing' is 0",)),
        ("subjects: [0, 0, 0]", ("'subjects'",)),
        ("subjects: [1, 1]", ("'subjects'", "3 entries")),
        ("pool_start: 500", ("500", "400")),
        ("architecture: UNet", ("'architecture' is 'UNet'", "a mapping")),
        ("archtecture: {}", ("did you mean 'architecture'",)),
        ("steps: 1\nsteps: 2", ("'steps' appears twice",)),
        ("sigma_range: {a: 1}", ("'sigma_range'", "a list of 2 entries")),
        ("seed: 1e3", ("'seed' is '1e3'", "a whole number")),
        ("\tsteps: 1", ("is not YAML",)),
        ("sigma_range: [40, 0.02]", ("sigma_range is [40.0, 0.02]", "the smallest first")),
        ("repeats: 0", ("'repeats' is 0",)),
        ("start_from: brain\nmean_model: brain", ("'mean_model'", "'start_from'")),
        ("start_from: 3", ("'start_from' is 3", "text or null")),
    ],
)
def test_a_wrong_configuration_is_one_sentence(tmp_path, capsys, text, words):
    assert main(["train", str(write_config(tmp_path, text))]) == 2
    printed = capsys.readouterr().err.strip()
    assert all(word in printed for word in words) and len(printed.splitlines()) == 1, printed
    assert not (tmp_path / "out").exists()


def test_numbers_without_a_point_are_numbers(tmp_path):
    assert load_config(write_config(tmp_path, "learning_rate: 1e-3")).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch": 18}, "multiple of 4"),
        ({"architecture": {"type": "ResidualUNet3d", "in_channels": 9}}, "takes 9 channels"),
        ({"architecture": {"type": "Unet"}}, "'Unet' is not known"),
        ({"architecture": {"type": "ResidualUNet3d", "widths": [10**6]}}, "'widths'"),
        ({"start_from": "nobody"}, "'nobody' is not known"),
        ({"train_only": ("up", "no")}, "'no', .* begin with embedding, entry, down"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_before_anything_is_simulated(config, changes, words):
    run = TrainingRun(replace(config, **changes))
    with pytest.raises(InputError, match=words):
        run.run()
    assert not run.pool.folder.exists()


@pytest.mark.parametrize(
    ("named", "about", "words"),
    [
        ("start_from", {"target": "noise-free"}, "target noise-free, and this run has full-dose"),
        ("start_from", {"voxel_spacing_mm": 2.0}, r"model_spacing 2\.0, and this run has 6\.0"),
        ("start_from", {"normalisation": "reference", "channels": CHANNELS["reference"]}, "normalisation reference"),
        ("start_from", {"architecture": {**TINY, "widths": [8, 16]}}, r"'\w.*' is \(8.*\) here, and \(16.*\) there"),
        ("mean_model", {"target": "noise-free"}, "target noise-free"),
    ],
)
def test_a_model_of_another_kind_is_refused_before_anything_is_simulated(config, tmp_path, named, about, words):
    model = save_tiny_model(tmp_path / "other", **{"voxel_spacing_mm": 6.0, **about})
    channels = 8 if named == "mean_model" else 7
    changed = {named: str(model), "architecture": {**config.architecture, "in_channels": channels}}
    run = TrainingRun(replace(config, **changed))
    with pytest.raises(InputError, match=words):
        run.run()
    assert not run.pool.folder.exists()


def test_an_interrupted_training_says_what_is_kept(anatomies, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = write_config(tmp_path, "simulators: 0\nsubjects: [0.6, 0.2, 0.2]\nmodel_spacing: 6", str(anatomies))
    monkeypatch.setattr(TrainingRun, "_build", interrupted)
    monkeypatch.setattr(TrainingRun, "_wait_for_pool", lambda *_: None)
    assert main(["train", str(path)]) == 3
    printed = capsys.readouterr().err
    assert "no checkpoint yet" in printed and str(tmp_path / "out") in printed


def test_limits_are_those_of_fields():
    assert set(readiness.LIMITS) <= set(TrainingConfig.__dataclass_fields__)
